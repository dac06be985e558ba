"""`directions` and `models`: what there is to use, and where it is looked for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import printable
from .console import Console
from .options import add_command


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


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns as wide as their widest cell; names out of files are shown, not obeyed."""
    rows = [tuple(printable(cell, 1000) for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _size(size: int | None) -> str:
    return "" if size is None else f"{size / 1e6:.1f} MB"
