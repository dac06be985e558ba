"""`directions` and `models`, what there is to use; `inspect`, `convert` and `blend`: what a model
file is, the same in another layout, and a generator of two."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, printable
from ..models.settings import BlendSettings
from .console import Console
from .options import add_command, add_options, add_out, add_settings, given, output_file, positive


def add_commands(commands: Any) -> None:
    directions = add_command(
        commands, "directions", run_directions, "list the edit directions", "directions"
    )
    directions.add_argument(
        "file", nargs="?", type=Path, help="of this file (default: the embedded ones)"
    )
    models = add_command(
        commands,
        "models",
        run_models,
        "list the model files: where they are looked for, which are here, where to get others",
        "models --fetch yunet",
    )
    models.add_argument(
        "--fetch",
        metavar="NAME",
        action="append",
        default=[],
        help="download this file of the list; its licence is shown there",
    )

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

    blend = add_command(
        commands,
        "blend",
        run_blend,
        "mix two generators of one shape, as a rule one and its fine-tuned child",
        "blend ffhq.pkl cartoons.pkl --from 64 --out mixed.safetensors",
    )
    blend.add_argument("first", type=Path, help="a generator, whose codes fit the result")
    blend.add_argument("second", type=Path, help="another of the same shape")
    add_out(blend, "the mixed generator, .safetensors")
    add_settings(blend, BlendSettings, ("amount",))
    which = blend.add_mutually_exclusive_group()
    which.add_argument(
        "--from",
        dest="above",
        type=positive,
        metavar="PIXELS",
        help="blend the layers from this resolution on: look and colours of the second",
    )
    which.add_argument(
        "--below",
        type=positive,
        metavar="PIXELS",
        help="blend the layers below this resolution: pose and shape of the second",
    )
    which.add_argument("--layers", help="blend these, such as 0-3+6 (default: all)")


def run_directions(arguments: argparse.Namespace) -> None:
    from ..directions.files import SPOKEN, list_directions

    words = {name: f" ({word})" for word, name in SPOKEN.items()} if not arguments.file else {}
    rows = [("name", "strengths of the domain", "a strength of 1 is", "what it does")]
    units = {"sd": "1 standard deviation", "raw": "the vector of the file"}
    for direction in list_directions(arguments.file):
        span = (
            ""
            if direction.range is None
            else f"{direction.range[0]:+.1f} to {direction.range[1]:+.1f}"
        )
        name = direction.name + words.get(direction.name, "")
        rows.append((name, span, units[direction.unit], direction.meaning))
    print(table(rows))


def run_models(arguments: argparse.Namespace) -> None:
    from ..files.assets import ASSETS
    from ..files.catalogue import CATALOGUE
    from ..files.weights import fetch, find, folders

    console = Console(arguments.quiet)
    for name in arguments.fetch:
        console.say(f"{name}: {fetch(name, progress=not arguments.quiet)}")
    if arguments.fetch:
        return
    print("Looked for in (set CYCLE_CORE_MODELS for folders of your own):")
    for folder in folders():
        print(f"  {folder}{'' if folder.is_dir() else '  (not there)'}")
    print("\nEmbedded:")
    files = sorted(ASSETS.glob("*.safetensors"))
    print(table([(f"  {file.stem}", _size(file.stat().st_size)) for file in files]) or "  none")
    print("\nPublic files that are known (`--fetch NAME` downloads one):")
    rows = [("  name", "kind", "size", "here", "licence")]
    for weight in CATALOGUE.values():
        path = find(weight)
        here = str(path) if path else "by hand" if not weight.url else "no"
        rows.append((f"  {weight.name}", weight.kind, _size(weight.size), here, weight.licence))
    print(table(rows))


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


def run_blend(arguments: argparse.Namespace) -> None:
    from ..checkpoints.native import save_model, tensors_in_place
    from ..checkpoints.registry import load_generator
    from ..directions.direction import parse_layers
    from ..files.disk import write_atomically
    from ..models.blend import blend_into, layers_from

    out = output_file(arguments.out, [arguments.first, arguments.second])
    if out.suffix != ".safetensors":
        raise InputError(f"{out}: the name of a generator's file ends in .safetensors.")
    first = load_generator(arguments.first)
    if arguments.above is not None:
        layers = layers_from(first, arguments.above)
    elif arguments.below is not None:
        layers = layers_from(first, arguments.below, below=True)
    else:
        layers = parse_layers(arguments.layers, first.num_ws)
    amount = BlendSettings(**given(arguments, BlendSettings)).amount
    header = {
        "source": f"{arguments.first.name} blended with {arguments.second.name}",
        "space": first.base_fingerprint,
    }

    def write(part: Path) -> None:  # one generator after the other, for the memory of one
        save_model(part, "generator", first.config, first.state_dict(), header)
        first.to("meta")
        second = load_generator(arguments.second)
        mixed = tensors_in_place(part)
        blend_into(lambda name: mixed(f"synthesis.{name}"), first, second, amount, layers)

    write_atomically(out, write)
    named = "all layers" if layers is None else f"the layers {', '.join(map(str, layers))}"
    Console(arguments.quiet).say(
        f"{out}: {first.name} with {amount:g} of {arguments.second.stem} in {named}"
    )


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns as wide as their widest cell; names out of files are shown, not obeyed."""
    rows = [tuple(printable(cell, 1000) for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _size(size: int | None) -> str:
    return "" if size is None else f"{size / 1e6:.1f} MB"


def _shown(name: str, value: Any) -> str:
    if name == "parameters":
        return f"{value / 1e6:.1f} million"
    if name in ("fingerprint", "generator", "original", "made for") and isinstance(value, str):
        return value.partition("-")[0]  # the rest is for programs
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
