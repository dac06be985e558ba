"""What commands, nodes and the texts of edits know of directions, without a heavy import: endings,
lists of layers, and the settings of finding directions."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import InputError
from ..runtime.settings import setting

ENDINGS = "safetensors|pth?|npy|npz"  # of direction files
METHODS = ("ganspace", "sefa")


@dataclass(frozen=True)
class DiscoverySettings:
    """Of `component_of`."""

    method: str = setting("ganspace", "how components are found", choices=METHODS)
    samples: int = setting(10_000, "random codes that ganspace looks at", low=100, high=1_000_000)


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
