"""Edits as one writes them: `smile=2`, `smile:=0`, `age=+1,keep=glasses,layers=0-5,smile=1`.

    change  = NAME=STRENGTH     by so many standard deviations of the attribute
            | NAME:=VALUE       to a value, whatever is there now (0 is the domain's mean)
    option  = keep=NAME[+NAME]  of the change before it: attributes that it must leave alone
            | layers=A-B[+C]    of the change before it: the styles that it moves, from 0 on
    edit    = change or option, joined by commas; the changes of one edit act together

A NAME is an embedded direction (`cycle-core directions`), the path of a direction file, which may
hold commas, colons and equals signs, or a direction in StyleSpace; see `load_direction`.

Lists of numbers ("-2, 0, 2", "-3:3:7") are read here, too, and layers ("0-3+6") in `syntax`.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from .syntax import ENDINGS, read_layers

if TYPE_CHECKING:
    from ..codes import Code, HasCode
    from ..models.generator import Generator
    from .base import BaseDirection
    from .editing import Step

LONGEST = 160  # bytes of an edit's name: with what is put around it, less than a disk takes
FARTHEST = 1000.0  # the largest strength that is followed: useful ones are below 30
MOST_NUMBERS = 1000
MOST_CHARACTERS = 10_000  # of an edit

_PATH = rf"[^=]{{1,4096}}?\.(?:{ENDINGS})(?::[^,=/\\]{{1,99}}?)?"  # which may hold commas
_ANY_PATH = rf".{{1,4096}}?\.(?:{ENDINGS})(?::[^,=/\\]{{1,99}}?)?"  # and equals signs
_VALUE = r"\s*(?P<to>:?)=\s*(?P<value>[+-]?(?:\d|\.\d|nan|inf)[^,=]*)"
_CHANGES = tuple(
    re.compile(rf"\s*(?P<name>{name}){_VALUE}(?:,|$)") for name in ("[^,=]+?", _PATH, _ANY_PATH)
)
_OPTIONS = tuple(
    re.compile(rf"\s*(?P<name>keep|layers)\s*=(?P<value>{value})\s*(?:,|$)")
    for value in ("[^,=]*", _PATH, _ANY_PATH)
)


@dataclass(frozen=True)
class Change:
    """One direction and how far to go along it.

    amount: a strength, or the value to arrive at where `to` is true.
    keep: directions to which this one is made orthogonal first.
    layers: the styles that move; None for those of the direction's file (usually all).
    """

    direction: str
    amount: float
    to: bool = False
    keep: tuple[str, ...] = ()
    layers: tuple[int, ...] | None = None

    def __str__(self) -> str:
        sign = ":=" if self.to else "=" if self.amount < 0 else "=+"
        parts = [f"{self.direction}{sign}{_text(self.amount)}"]
        if self.keep:
            parts.append("keep=" + "+".join(self.keep))
        if self.layers is not None:
            parts.append("layers=" + _ranges(self.layers))
        return ",".join(parts)


@dataclass(frozen=True)
class Edit:
    """Changes that act together and make one picture."""

    changes: tuple[Change, ...]

    def __str__(self) -> str:
        """The edit as one writes it; `parse_edit` gives the same edit back."""
        return ",".join(str(change) for change in self.changes)

    @property
    def name(self) -> str:
        """The same as part of a file name: "smile+2", "smile_to_0", "age+1_keep_glasses". Long ones
        are cut, and end with a digest that keeps them apart."""
        names = []
        for change in self.changes:
            amount = _text(change.amount)
            sign = "_to_" if change.to else "" if change.amount < 0 else "+"
            name = f"{_stem(change.direction)}{sign}{amount}"
            if change.keep:
                name += "_keep_" + "-".join(_stem(kept) for kept in change.keep)
            if change.layers is not None:
                name += "_layers_" + _ranges(change.layers)
            names.append(name)
        name = "_".join(names).encode()
        if len(name) > LONGEST:
            digest = hashlib.sha256(name).hexdigest()[:8]
            return f"{name[: LONGEST - 9].decode(errors='ignore')}_{digest}"
        return name.decode()


def parse_edit(text: str) -> Edit:
    """Read one edit. Raises InputError that says what is wrong with which part."""
    if len(text) > MOST_CHARACTERS:
        raise InputError(
            f"An edit of {len(text)} characters is too long: {MOST_CHARACTERS} at most are read."
        )
    changes: list[Change] = []
    at = 0
    while at < len(text) or not changes or text.endswith(","):
        part = _match(_OPTIONS, "value", text, at)
        if part is None:
            part = _match(_CHANGES, "name", text, at)
            if part is None:
                raise _unreadable(text, at)
            amount = _number(part["value"], text)
            changes.append(Change(part["name"].strip(), amount, bool(part["to"])))
        elif not changes:
            option = part[0].strip(" ,")
            raise InputError(
                f"In the edit {text!r} there is no change before {option!r}: begin with one, such "
                f"as age=1,{option}."
            )
        elif part["name"] == "layers":
            changes[-1] = replace(changes[-1], layers=read_layers(part["value"]))
        elif kept := _names(part["value"]):
            changes[-1] = replace(changes[-1], keep=changes[-1].keep + kept)
        else:
            raise _unreadable(text, at)
        at = part.end()
    return Edit(tuple(changes))


def _match(
    patterns: Sequence[re.Pattern[str]], group: str, text: str, at: int
) -> re.Match[str] | None:
    """What stands there. A path that is a file goes before a name that ends at the first comma."""
    found = [match for pattern in patterns if (match := pattern.match(text, at))]
    files = (match for match in found[1:] if _is_file(match[group].strip()))
    return next(files, found[0] if found else None)


def _unreadable(text: str, at: int) -> InputError:
    part = text[at:].split(",")[0].strip()
    name, sign, value = part.rpartition("=")
    if name.strip(" :") and sign and value.strip(" +") and name.strip() not in ("keep", "layers"):
        return _no_number(value, text)
    return InputError(
        f"The edit {text!r} cannot be read at {part!r}: write NAME=STRENGTH (smile=2) or "
        "NAME:=VALUE (smile:=0), joined by commas."
    )


def _is_file(name: str) -> bool:
    from .files import is_file

    return is_file(re.sub(r":[^:/\\]+$", "", name)) or is_file(name)


def apply_edit(
    code: Code | HasCode,
    edit: Edit,
    generator: Generator | None = None,
    directions: Mapping[str, BaseDirection] | None = None,
) -> Code:
    """The code after all changes of one edit; directions in StyleSpace need the generator.

    directions: by the names that the edit has for them, where they are open already.
    Raises MissingFileError for an unknown direction, InputError and MismatchError for one that
    cannot be followed here."""
    from .editing import edit_many

    return edit_many(code, steps_of(edit, generator, directions))


def check_edit(edit: Edit, generator: Generator) -> None:
    """Try an edit on the generator's mean code, so that what is wrong is reported before long work.

    Raises what `apply_edit` raises, and InputError where the code leaves all numbers."""
    from ..codes import Code

    mean = generator.w_avg.expand(1, generator.num_ws, -1)
    code = apply_edit(Code(mean, "W", generator.base_fingerprint), edit, generator)
    if not all(bool(x.isfinite().all()) for x in (code.w, code.offsets) if x is not None):
        raise InputError(
            f"The edit {str(edit)!r} goes beyond all numbers: give a smaller strength."
        )


def check_names(edits: Iterable[tuple[str, str]]) -> None:
    """Raise InputError where two edits, each with the name that its files have, have one name."""
    by_name: dict[str, str] = {}
    for edit, name in edits:
        other = by_name.setdefault(name, edit)
        if other != edit:
            raise InputError(
                f"The edits {other!r} and {edit!r} would both be written as {name}: give one "
                "direction's file another name, or run them into two folders."
            )


def needs_generator(edit: Edit) -> bool:
    """Whether one of the directions is made for a generator."""
    from .files import needs_generator as needs

    return any(map(needs, names_in(edit)))


def names_in(edit: Edit) -> list[str]:
    """The names of all its directions, those that are kept as well, each once."""
    return list(dict.fromkeys(name for x in edit.changes for name in (x.direction, *x.keep)))


def steps_of(
    edit: Edit,
    generator: Generator | None = None,
    directions: Mapping[str, BaseDirection] | None = None,
) -> list[Step]:
    """The changes with their directions opened. Raises MissingFileError, CheckpointError."""
    from .editing import Step
    from .files import load_direction

    known = directions or {}

    def opened(name: str) -> BaseDirection:
        return known[name] if name in known else load_direction(name, generator=generator)

    return [
        Step(
            opened(change.direction),
            strength=None if change.to else change.amount,
            to=change.amount if change.to else None,
            layers=change.layers,
            keep=[opened(name) for name in change.keep],
        )
        for change in edit.changes
    ]


def parse_numbers(text: str) -> list[float]:
    """ "-2, 0, 2" -> [-2, 0, 2]; "-3:3:7": seven numbers from -3 to 3, both ends among them; both
    kinds may be joined by commas. Nothing gives no numbers.

    Raises InputError that names the part that cannot be read."""
    numbers: list[float] = []
    for part in filter(None, re.split(r"[,;\s]+", text.strip())):
        pieces = part.split(":")
        try:
            if len(pieces) not in (1, 3):
                raise ValueError
            ends = [float(piece) for piece in pieces[:2]]
            count = int(pieces[2]) if len(pieces) == 3 else 1
        except ValueError:
            ends, count = [math.nan], 0
        if not all(map(math.isfinite, ends)) or not 1 <= count <= MOST_NUMBERS - len(numbers):
            raise InputError(
                f"{part!r} in {text!r} cannot be read: write numbers, such as -2, 0, 2, or a range "
                f"with its number of steps, such as -3:3:7; {MOST_NUMBERS} at most."
            )
        first, last = (_near(end, part) for end in (ends[0], ends[-1]))
        step = (last - first) / max(count - 1, 1)
        numbers += [first + step * k for k in range(count - 1)] + [last if count > 1 else first]
    return numbers


def _number(value: str, text: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if number != number or "inf" in value.lower():
        raise _no_number(value, text)
    return _near(number, value)


def _no_number(value: str, text: str) -> InputError:
    return InputError(
        f"In the edit {text!r}, {value.strip()!r} is not a number: give one such as 2, +1 or -0.5."
    )


def _near(number: float, text: str) -> float:
    """A strength that can be followed. Raises InputError for any other."""
    if abs(number) > FARTHEST:
        raise InputError(
            f"A strength of {text.strip()[:20]} leads beyond every picture: give one from "
            f"-{FARTHEST:g} to {FARTHEST:g}; useful ones are between -10 and 10."
        )
    return number


def _text(number: float) -> str:
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def _stem(direction: str) -> str:
    name = re.sub(r"\.(safetensors|pt|pth|npy|npz|txt)(?=:|$)", "", Path(direction).name)
    return re.sub(r"[^\w.-]", "-", name)


def _names(value: str) -> tuple[str, ...]:
    if _is_file(value.strip()):
        return (value.strip(),)
    return tuple(name.strip() for name in value.split("+") if name.strip())


def _ranges(layers: tuple[int, ...]) -> str:
    """(0, 1, 2, 8) -> "0-2+8"."""
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][1] + 1:
            runs[-1][1] = layer
        else:
            runs.append([layer, layer])
    return "+".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)
