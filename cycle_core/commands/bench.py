"""`bench`: the methods of inversion compared, on the embedded domain or on photographs."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..bench.settings import QUICK, BenchSettings, ComparisonSettings, PhotoSettings
from ..errors import InputError
from .console import Console
from .options import (
    add_command,
    add_config,
    add_options,
    add_out,
    add_settings,
    device_of,
    given,
    names_of,
)

_BOTH = names_of(ComparisonSettings)
_AMOUNTS = names_of(BenchSettings, without=_BOTH)
_DOMAIN = ("quick", "questions", "numbers", "sets", *_AMOUNTS)
_PHOTOS = ("generator", "directions", "preset", *names_of(PhotoSettings, without=_BOTH))


def add_commands(commands: Any) -> None:
    command = add_command(
        commands,
        "bench",
        bench,
        "compare optimisation, e4e and cycle encoding, before and after tuning, on portraits whose "
        "true edits are known, or with --photos your own models on your own pictures",
        "bench --quick --out bench",
    )
    add_out(command, "folder of the results; the same command again goes on", "bench")
    add_config(command)
    command.add_argument("--encoders", nargs="+", metavar="ENCODER",
                         help="folder of trained encoders, see docs/results.md; with --photos, "
                         "files or NAME=FILE of each")  # fmt: skip
    add_settings(command, ComparisonSettings, _BOTH)
    command.add_argument("--card", type=Path, help="Markdown file that takes the tables")
    command.add_argument("--plot", type=Path, help="picture file of the trade-off; matplotlib")
    command.add_argument("--pictures", type=Path, help="folder for pictures side by side")
    add_options(command, "device")

    domain = command.add_argument_group("on the embedded domain")
    domain.add_argument("--quick", action="store_true",
                        help="a few pictures, a tenth of the steps, the embedded encoder alone: "
                        "minutes, and no comparison")  # fmt: skip
    domain.add_argument("--questions", action="store_true",
                        help="only print what the comparison is asked")  # fmt: skip
    domain.add_argument("--numbers", type=Path, metavar="FILE",
                        help="only print the tables of an earlier run's numbers.json")  # fmt: skip
    add_settings(domain, BenchSettings, _AMOUNTS)
    domain.add_argument("--sets", type=Path, metavar="FOLDER",
                        help="of larger test sets than those of the package")  # fmt: skip

    photos = command.add_argument_group("on photographs")
    photos.add_argument("--photos", type=Path, metavar="FOLDER", help="of aligned square pictures")
    add_settings(photos, PhotoSettings, ("count", "strength"))
    add_options(photos, "generator")
    photos.add_argument("--directions", nargs="+", metavar="DIRECTION",
                        help="names or files of edits (default: five of SeFa)")  # fmt: skip
    add_options(photos, "preset")
    command.set_defaults(generator=None, preset=None)  # tells whether they were given


def bench(arguments: argparse.Namespace) -> None:
    needless = _DOMAIN if arguments.photos else _PHOTOS
    for name in needless:
        value = getattr(arguments, name, None)
        if value is not None and value is not False:
            advice = "leave it out" if arguments.photos else "give the folder of pictures, too"
            of = "the embedded domain" if arguments.photos else "--photos"
            raise InputError(f"--{name} belongs to {of}: {advice}.")
    if arguments.photos:
        _on_photographs(arguments)
    else:
        _on_the_domain(arguments)


def _on_the_domain(arguments: argparse.Namespace) -> None:
    from ..bench.questions import asked
    from ..bench.report import DOMAIN, plot, side_by_side, tables
    from ..bench.run import SHOWN, compare, read_numbers
    from ..images.io import save_image

    if arguments.questions:
        _report(asked(DOMAIN.methods), arguments.card, "questions")
        return
    if arguments.numbers is not None:
        _report(tables(read_numbers(arguments.numbers)), arguments.card, "compared")
        return
    encoders = arguments.encoders
    if encoders and len(encoders) > 1:
        raise InputError(
            "--encoders takes one folder of trainings, or with --photos several files: give one."
        )
    settings = replace(
        QUICK if arguments.quick else BenchSettings(),
        **given(arguments, BenchSettings) | {"device": str(device_of(arguments))},
    )
    folder = Path(encoders[0]) if encoders else None
    results = compare(arguments.out, settings, folder, arguments.sets, Console(arguments.quiet).say)
    _report(tables(results), arguments.card, "compared")
    if arguments.plot is not None:
        plot(results, arguments.plot)
    if arguments.pictures is not None:
        for name in dict.fromkeys(result["facts"]["set"] for result in results):
            for number in range(min(SHOWN, settings.tuned)):
                sheet = side_by_side(arguments.out, results, name, number)
                save_image(sheet, arguments.pictures / f"compared-{name}-{number}.jpg")


def _on_photographs(arguments: argparse.Namespace) -> None:
    from ..bench.photos import compare_photos
    from ..bench.report import photo_layout, photo_sheets, photo_tables, plot
    from ..checkpoints.registry import load_generator
    from ..images.io import save_image
    from ..run.pipeline import preset

    arguments.generator = arguments.generator or "portraits"
    arguments.preset = arguments.preset or "auto"
    refining, tuning = preset(arguments.preset, load_generator(arguments.generator))
    own: dict[str, Any] = given(arguments, PhotoSettings) | {"device": str(device_of(arguments))}
    settings = PhotoSettings(refine=refining, tune=tuning, **own)
    console = Console(arguments.quiet)
    try:
        compared = compare_photos(
            arguments.out,
            arguments.photos,
            arguments.generator,
            _named(arguments.encoders or ()),
            arguments.directions or (),
            settings,
            console.progress,
        )
    finally:
        console.close()
    _report(photo_tables(compared), arguments.card, "photographs")
    if arguments.plot is not None:
        plot(compared.results, arguments.plot, photo_layout(compared))
    if arguments.pictures is not None:
        for number, sheet in enumerate(photo_sheets(compared).values()):
            save_image(sheet, arguments.pictures / f"compared-photographs-{number}.jpg")


def _report(text: str, card: Path | None, name: str) -> None:
    from ..bench.report import put

    if card is not None:
        put(text, card, name)
    print(text)


def _named(encoders: Sequence[str]) -> dict[str, str]:
    """{name: file} of NAME=FILE, or of files alone, which are named as they are without ending."""
    found: dict[str, str] = {}
    for text in encoders:
        name, sign, path = text.partition("=")
        if not sign or Path(text).exists():
            name, path = Path(text).stem, text
        if not re.fullmatch(r"\w[\w.+-]*", name) or not path or name in found:
            raise InputError(
                f"The encoder {text!r} needs a name of its own, of letters, digits, dots and "
                "dashes: write NAME=FILE."
            )
        found[name] = path
    return found
