"""Numbers as one writes them: lists such as "-2, 0, 2" and ranges such as "-3:3:7"."""

from __future__ import annotations

import math
import re

from .errors import InputError

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
