"""`inspect` and `convert`: what a model file is, and how it becomes one of ours."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .console import Console
from .inventory import table
from .options import add_command, output_file


def add_commands(commands: Any) -> None:
    inspect = add_command(
        commands,
        "inspect",
        run_inspect,
        "tell what a model file is, without running anything in it",
        "inspect stylegan2-ffhq-config-f.pkl",
    )
    inspect.add_argument("file", type=Path, help="a model file of any project")
    inspect.add_argument("--json", action="store_true", help="as JSON, with every number whole")

    convert = add_command(
        commands,
        "convert",
        run_convert,
        "write a generator or an encoder in our layout, which opens faster and holds no code",
        "convert stylegan2-ffhq-config-f.pkl ffhq.safetensors",
    )
    convert.add_argument("file", type=Path, help="a generator or an encoder of any project")
    convert.add_argument("out", type=Path, help="the new file, .safetensors")
    convert.add_argument(
        "--kind",
        choices=("generator", "encoder"),
        help="which one to take of a file that holds both",
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
    from ..checkpoints.inspecting import convert

    out = output_file(arguments.out, [arguments.file])
    kind = convert(arguments.file, out, arguments.kind)
    Console(arguments.quiet).say(f"{out}: {kind}, {out.stat().st_size / 1e6:.1f} MB")


def _shown(name: str, value: Any) -> str:
    if name == "parameters":
        return f"{value / 1e6:.1f} million"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
