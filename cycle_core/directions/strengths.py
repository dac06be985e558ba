"""Numbers as one writes them: strengths such as "-2, 0, 2" or "-3:3:7", layers such as "0-3+6"."""

from __future__ import annotations

import math
import re

from ..errors import InputError

MOST = 1000


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
        if not all(map(math.isfinite, ends)) or not 1 <= count <= MOST - len(numbers):
            raise InputError(
                f"{part!r} in {text!r} cannot be read: write numbers, such as -2, 0, 2, or a range "
                f"with its number of steps, such as -3:3:7; {MOST} at most."
            )
        first, last = ends[0], ends[-1]
        step = (last - first) / max(count - 1, 1)
        numbers += [first + step * k for k in range(count - 1)] + [last if count > 1 else first]
    return numbers


def read_layers(text: str) -> tuple[int, ...]:
    """ "0-3+6" -> (0, 1, 2, 3, 6). Where no comma separates edits, "0-3, 6" is the same.

    Raises InputError for what cannot be read, and where there is none."""
    layers: set[int] = set()
    for part in re.split(r"[,+\s]+", text.strip()):
        match = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise InputError(
                f"The layers {text!r} cannot be read: write numbers and ranges from 0 on, joined "
                "by +, such as 0-3 or 0-3+6."
            )
        layers.update(range(first, last + 1))
    return tuple(sorted(layers))
