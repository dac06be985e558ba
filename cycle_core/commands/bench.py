"""`bench`: the methods of inversion compared on the embedded domain."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from .console import Console
from .options import add_command, add_device, add_out, device_of, whole


def add_commands(commands: Any) -> None:
    command = add_command(
        commands,
        "bench",
        bench,
        "compare optimisation, e4e and cycle encoding, before and after tuning, on portraits whose "
        "true edits are known",
        "bench --quick --out bench",
    )
    add_out(command, "folder of the results; the same command again goes on", "bench")
    command.add_argument("--quick", action="store_true",
                         help="a few pictures and the embedded encoder, in minutes")  # fmt: skip
    command.add_argument("--encoders", type=Path,
                         help="folder of trained encoders, see docs/results.md")  # fmt: skip
    command.add_argument("--methods", nargs="+", metavar="METHOD", help="only these")
    command.add_argument("--seeds", nargs="+", type=whole, metavar="SEED",
                         help="of the trainings (default: 0 1 2)")  # fmt: skip
    for name, what in (
        ("inside", "portraits of the domain"),
        ("outside", "portraits outside the domain"),
        ("person", "portraits of one person"),
        ("edited", "of these that are edited"),
        ("tuned", "of these that are tuned"),
        ("projected", "of these that are optimised"),
    ):
        command.add_argument(f"--{name}", type=whole, metavar="N", help=f"number of {what}")
    command.add_argument("--compile", action="store_true",
                         help="compile the renderer: faster for many portraits")  # fmt: skip
    command.add_argument("--card", type=Path, help="Markdown file that takes the tables")
    command.add_argument("--plot", type=Path, help="picture file of the trade-off; matplotlib")
    command.add_argument("--pictures", type=Path, help="folder for pictures side by side")
    add_device(command)


def bench(arguments: argparse.Namespace) -> None:
    from ..bench.page import put
    from ..bench.report import plot, side_by_side, tables
    from ..bench.run import QUICK, SHOWN, BenchSettings, compare
    from ..images import save_image

    settings = QUICK if arguments.quick else BenchSettings()
    given = {
        name: getattr(arguments, name)
        for name in ("inside", "outside", "person", "edited", "tuned", "projected")
        if getattr(arguments, name) is not None
    }
    for name in ("methods", "seeds"):
        if getattr(arguments, name) is not None:
            given[name] = tuple(getattr(arguments, name))
    device = str(device_of(arguments))
    settings = replace(settings, **given, device=device, compile=arguments.compile)
    console = Console(arguments.quiet)
    results = compare(arguments.out, settings, arguments.encoders, console.say)
    text = tables(results)
    if arguments.card is not None:
        put(text, arguments.card, "compared")
    print(text)
    if arguments.plot is not None:
        plot(results, arguments.plot)
    if arguments.pictures is not None:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
        for name in dict.fromkeys(result["facts"]["set"] for result in results):
            for number in range(min(SHOWN, settings.tuned)):
                sheet = side_by_side(arguments.out, results, name, number)
                save_image(sheet, arguments.pictures / f"compared-{name}-{number}.jpg")
