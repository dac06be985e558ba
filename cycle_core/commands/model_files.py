"""`inspect` and `convert`: what a model file is, and the same in another layout."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..errors import InputError
from .console import Console
from .inventory import table
from .options import add_command, add_options, output_file


def add_commands(commands: Any) -> None:
    inspect = add_command(
        commands,
        "inspect",
        run_inspect,
        "report what a model file is, without running anything in it",
        "inspect stylegan2-ffhq-config-f.pkl",
    )
    inspect.add_argument("file", type=Path, help="a model file of any project")
    inspect.add_argument("--json", action="store_true", help="as JSON, with every number whole")

    convert = add_command(
        commands,
        "convert",
        run_convert,
        "write a generator, an encoder or codes in our layout, which holds no code and opens "
        "faster, or in that of another project",
        "convert stylegan2-ffhq-config-f.pkl ffhq.safetensors",
    )
    convert.add_argument("file", type=Path, help="a generator, an encoder or codes of any project")
    convert.add_argument(
        "out",
        type=Path,
        help="the new file: .safetensors is ours, .pt rosinality's or NVIDIA's, .onnx the "
        "synthesis network; codes become .npz or .pt",
    )
    convert.add_argument(
        "--layout",
        choices=("rosinality", "nvidia", "onnx"),
        help="of a generator for another project (default: .onnx says it; .pt is rosinality's for "
        "a StyleGAN2 without classes, else NVIDIA's)",
    )
    convert.add_argument(
        "--tuned", type=Path, help="what `tune` wrote: the generator with what it changed"
    )
    convert.add_argument(
        "--kind",
        choices=("generator", "encoder"),
        help="which one to take of a file that holds both",
    )
    add_options(convert, "architecture")
    convert.add_argument(
        "--generator", help="of an encoder whose file lacks the mean code or the number of styles"
    )


def run_inspect(arguments: argparse.Namespace) -> None:
    from ..checkpoints.inspecting import inspect

    facts = inspect(arguments.file)
    if arguments.json:
        print(json.dumps(facts, indent=2))
        return
    size = facts["bytes"]
    shown = f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
    rows = [("file", facts["file"]), ("size", shown), ("container", facts["container"])]
    for part in facts["holds"]:
        rows += [("", "")] + [(name, _shown(name, value)) for name, value in part.items()]
    print(table(rows))


def run_convert(arguments: argparse.Namespace) -> None:
    from ..checkpoints.exporting import export
    from ..checkpoints.inspecting import convert
    from ..checkpoints.registry import load_generator

    out = output_file(arguments.out, [arguments.file])
    if arguments.tuned is not None:
        what = _convert_tuned(arguments, out)
    elif out.suffix == ".safetensors" and arguments.layout is None:
        given = load_generator(arguments.generator) if arguments.generator else None
        what = convert(
            arguments.file,
            out,
            arguments.kind,
            generator=given,
            architecture=arguments.architecture,
        )
    elif arguments.kind or arguments.architecture or arguments.generator:
        raise InputError(
            "--kind, --architecture and --generator are for converting to .safetensors, without "
            "--layout: other layouts are written of generators alone."
        )
    else:
        what = export(arguments.file, out, arguments.layout)
    Console(arguments.quiet).say(f"{out}: {what}, {out.stat().st_size / 1e6:.1f} MB")


def _convert_tuned(arguments: argparse.Namespace, out: Path) -> str:
    from ..checkpoints.exporting import export_generator
    from ..checkpoints.native import save_model
    from ..checkpoints.registry import load_generator
    from ..invert.tuned_files import load_tuned

    G = load_tuned(arguments.tuned, load_generator(arguments.file)).generator
    if out.suffix != ".safetensors" or arguments.layout is not None:
        return export_generator(G, out, arguments.layout)
    if G.synthesis.detail is not None:
        raise InputError(
            f"{arguments.tuned} holds a map of detail, which belongs to one picture and has no "
            "place in a generator's file: keep it as it is, or tune with --preset paper."
        )
    header = {"source": arguments.tuned.name, "space": G.base_fingerprint}
    save_model(out, "generator", G.config, G.state_dict(), header)
    return "generator"


def _shown(name: str, value: Any) -> str:
    if name == "parameters":
        return f"{value / 1e6:.1f} million"
    if name in ("fingerprint", "generator", "original", "made for") and isinstance(value, str):
        return value.partition("-")[0]  # the rest is for programs
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
