"""What directions and the texts of edits share, without torch: endings, and lists of layers."""

from __future__ import annotations

import re

from ..errors import InputError

ENDINGS = "safetensors|pth?|npy|npz"  # of direction files


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
