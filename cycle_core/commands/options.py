"""Options that several commands share, with the same name and the same meaning everywhere."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from ..errors import InputError, MissingFileError
from ..faces.settings import AlignSettings
from ..files.json import read_json
from ..runtime.settings import Meaning, field_of, meaning

if TYPE_CHECKING:
    import torch

EDIT_HELP = (
    "NAME=STRENGTH moves by so many standard deviations (smile=2), NAME:=VALUE goes to a value "
    "(smile:=0); then ,keep=NAME leaves an attribute alone, ,layers=0-5 moves only those styles, "
    "and more changes after a comma act together. `cycle-core directions` lists the names"
)


_hints = cache(get_type_hints)  # which evaluates texts: once, and not for every command


def add_command(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace], None],
    summary: str,
    example: str,
    program: str = "cycle-core",
) -> argparse.ArgumentParser:
    """A new command with the options that every command has."""
    command = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"Example: {program} {example}",
    )
    command.set_defaults(command=run)
    command.add_argument("--quiet", action="store_true", help="no progress, no messages but errors")
    command.add_argument("--debug", action="store_true", help="show the trace of an error")
    return command


def add_config(command: argparse.ArgumentParser) -> None:
    """--config, which `with_config` has put its options in the place of before they are parsed."""
    command.add_argument(
        "--config",
        metavar="FILE",
        help="options from a JSON file, {NAME: value, ...}, whose paths are as if given here; "
        "what is given after it wins",
    )


def with_config(argv: Sequence[str]) -> list[str]:
    """Arguments with the options of `--config FILE` in its place.

    A file: {"tuned": 50, "bf16": true, "encoders": ["e4e.pt", "psp.pt"]}; false leaves a flag out.
    Raises MissingFileError, InputError for a file that holds something else."""
    found: list[str] = []
    rest = iter(argv)
    for argument in rest:
        name, _, path = argument.partition("=")
        if name != "--config":
            found.append(argument)
        elif path := path or next(rest, ""):
            found += _options_in(path)
        else:
            raise InputError("--config needs the name of a file.")
    return found


def _options_in(path: str) -> list[str]:
    try:
        options = read_json(path, {str: (str, int, float, bool, [(str, int, float)])})
    except FileNotFoundError as error:
        raise MissingFileError(f"There is no file {path}: --config takes a JSON file.") from error
    arguments = []
    for name, value in options.items():
        if name == "config":
            raise InputError(f"{path} names another configuration: put its options into this one.")
        values = value if isinstance(value, list) else [value]
        if value is not False:
            arguments += [f"--{name}", *(str(one) for one in values if one is not True)]
    return arguments


def add_settings(
    group: argparse._ActionsContainer,
    kind: type,
    names: Iterable[str],
    presets: Mapping[str, Any] | None = None,
    spelling: Mapping[str, str] | None = None,
    step: str = "",
) -> None:
    """Options for some fields of a settings class, with their help, range and default.

    What the user does not give is not in the parsed arguments either: see `given`. presets:
    settings by name, whose values are the defaults. spelling: of options that are not named as
    their field. step: before the name of each, in a command of several steps.
    Old names, of the class's RENAMED, are taken too, which no help tells."""
    for name in names:
        one, what = field_of(kind, name)
        option, hint = "--" + (step + name).replace("_", "-"), _hints(kind)[name]
        option = (spelling or {}).get(name, option)
        help = what.help
        if hint is bool:
            option = option if not one.default else f"--no-{option[2:]}"
            help = f"{help}" if not one.default else f"without {help}"
            reading: dict[str, Any] = {"action": "store_const", "const": not one.default}
        else:
            reading = {"type": _reader(hint, what)}
            if what.several:
                reading["nargs"] = "+"
            if what.choices:
                reading["metavar"] = name.upper()
            known = _shown(one.default, ", " if what.several else "-")
            if presets is not None:
                of_preset = {label: _shown(getattr(one, name)) for label, one in presets.items()}
                same = len(set(of_preset.values())) == 1
                several = [f"{label} {value}" for label, value in of_preset.items() if value]
                known = next(iter(of_preset.values())) if same else ", ".join(several)
            values = f"{what.range()}; " if what.choices else ""
            help += f" ({values}default: {known})" if known else ""
        reading |= {"dest": step + name, "default": argparse.SUPPRESS}
        group.add_argument(option, help=help.replace("%", "%%"), **reading)
        for old, new in getattr(kind, "RENAMED", {}).items():
            if new == name:
                old_option = "--" + old.replace("_", "-")
                group.add_argument(old_option, help=argparse.SUPPRESS, **reading)


def names_of(kind: type, without: Iterable[str] = ()) -> list[str]:
    """The settings of a class that are options, in its order."""
    return [one.name for one in fields(kind) if meaning(one) and one.name not in without]


def add_machine(command: argparse.ArgumentParser, kind: type, names: Iterable[str]) -> None:
    """The group of a training's options that change its speed and its log, not its aim."""
    group = command.add_argument_group("machine")
    add_settings(group, kind, names)
    group.add_argument("--threads", type=positive, default=1, help="of the CPU (default: 1)")


def given(arguments: argparse.Namespace, kind: type, step: str = "") -> dict[str, Any]:
    """What the user gave of the fields of a settings class, lists as tuples. step: of
    `add_settings`."""
    options = vars(arguments)
    values = {
        one.name: options[step + one.name] for one in fields(kind) if step + one.name in options
    }
    return {k: tuple(value) if isinstance(value, list) else value for k, value in values.items()}


def _reader(hint: Any, what: Meaning) -> Callable[[str], Any]:
    """Text -> a value of a setting, for argparse."""
    if get_origin(hint) in (Union, UnionType):  # X | None
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is tuple and what.several:
        hint = get_args(hint)[0]
    if get_origin(hint) is tuple:
        return lambda text: tuple(positive(part) for part in text.split("-"))

    def read(text: str) -> Any:
        try:
            value = hint(text)
        except ValueError:
            value = None
        if value is None or not what.accepts(value):
            kind = {int: "a whole number ", float: "a number "}.get(hint, "")
            raise argparse.ArgumentTypeError(f"{text!r} is not {kind}{what.range()}".rstrip())
        return value

    return read


non_negative_int = _reader(int, Meaning("", low=0, high=2**63 - 1))  # what torch and numpy take
positive = _reader(int, Meaning("", low=1, high=2**31 - 1))


def _shown(value: Any, between: str = "-") -> str:
    if isinstance(value, tuple):
        return between.join(map(str, value))
    return "" if value is None else str(value)


def add_out(command: argparse.ArgumentParser, what: str, default: str | None = None) -> None:
    command.add_argument(
        "--out",
        "-o",
        type=Path,
        required=default is None,
        default=None if default is None else Path(default),
        help=what + ("" if default is None else f" (default: {default})"),
    )


def add_encoder(command: argparse.ArgumentParser, needed: bool = True) -> None:
    """needed: whether there is no way without one."""
    where = "" if needed else " for the embedded generator; without one pictures are projected"
    command.add_argument(
        "--encoder",
        default="portraits" if needed else None,
        help=f"path of an encoder, or the name of an embedded one (default: portraits{where})",
    )
    add_options(command, "architecture")


def add_edit(command: argparse.ArgumentParser, repeated: bool) -> None:
    command.add_argument(
        "--edit",
        action="append",
        default=[],
        metavar="EDIT",
        required=not repeated,
        help=EDIT_HELP + ("; may be given several times, one picture for each" if repeated else ""),
    )


OPTIONS: dict[str, dict[str, Any]] = {
    "architecture": {
        "choices": ("e4e", "psp"),
        "help": "of an encoder whose file does not say it (default: as the file says)",
    },
    "class": {
        "dest": "label",
        "type": non_negative_int,
        "help": "number of the class, from 0 on, of a conditional generator (default: random)",
    },
    "detector": {
        "choices": field_of(AlignSettings, "detector")[1].choices,
        "default": AlignSettings.detector,
        "help": "what finds faces (default: auto, the best that is here)",
    },
    "device": {
        "default": "auto",
        "help": "auto (default: a GPU where there is one), cpu, cuda, mps",
    },
    "face": {
        "default": "largest",
        "help": "largest (default), smallest, all, numbers from the left (0, or 0+2), the one at a "
        "point x,y, or those in a box x0,y0,x1,y1, in pixels",
    },
    "generator": {
        "default": "portraits",
        "help": "path of a generator, or the name of an embedded one (default: portraits)",
    },
    "no-face": {
        "choices": field_of(AlignSettings, "no_face")[1].choices,
        "default": AlignSettings.no_face,
        "help": "without a face: stop (default), take the centre of the picture, or leave it out",
    },
    "points": {
        "help": "points by hand in place of a detector: x,y of eye, eye, nose, mouth corner, mouth "
        "corner, or a text or JSON file of them"
    },
    "preset": {
        "choices": ("auto", "paper", "fast", "instant", "embedded"),
        "default": "auto",
        "help": "how long to refine and tune: as the paper does, fast, or as suits the small "
        "embedded models; instant is one pass of a network that predicts what tuning takes steps "
        "for, and theirs alone (default: auto, which is embedded for those and paper for any "
        "other)",
    },
    "same-space": {
        "action": "store_true",
        "help": "take what was made for another generator of the same shape, such as the one that "
        "this generator was fine-tuned from or blended with; codes say so afterwards",
    },
    "seed": {"type": non_negative_int, "default": 0, "help": "of everything random (default: 0)"},
    "space": {
        "choices": ("W", "W+"),
        "help": "of the code (default: the one that the encoder was trained last in)",
    },
    "tuned": {"type": Path, "help": "what `tune` wrote (default: the generator)"},
}
FACE = ("detector", "face", "points", "no-face")


def add_options(command: argparse._ActionsContainer, *names: str) -> None:
    """Some of OPTIONS, in this order."""
    for name in names:
        command.add_argument(f"--{name}", **OPTIONS[name])


def device_of(arguments: argparse.Namespace) -> torch.device:
    """The device that --device names. Raises InputError where this machine has none such."""
    import torch

    name = arguments.device
    if name == "auto":
        mps = getattr(torch.backends, "mps", None)
        name = "cuda" if torch.cuda.is_available() else "cpu"
        name = "mps" if name == "cpu" and mps is not None and mps.is_available() else name
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # "meta" makes tensors without numbers
    except Exception as error:  # each kind of device has its own, down to a missing module
        raise InputError(
            f"The device {name[:60]!r} cannot be used on this machine: choose cpu, or auto."
        ) from error
    return device


def output_file(path: Path, inputs: list[Path]) -> Path:
    """`path`, with its folder made and tried. Raises InputError where it cannot be written or is
    one of the files that are read."""
    from ..run.results import make_folder

    for given in inputs:
        if path.exists() and given.exists() and path.samefile(given):
            raise InputError(
                f"--out {path} is the file that is read, which would be lost: choose another name."
            )
    if path.is_dir():
        raise InputError(f"--out {path} is a folder: give the name of a file in it.")
    make_folder(path.parent)
    return path
