"""What a layout of files is: how it is recognised, and how it is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .reading import Contents


@dataclass(frozen=True)
class Format:
    """One layout of one kind of thing."""

    name: str  # as people call it: "NVIDIA StyleGAN2 pickle"
    kind: str  # of what it holds: "generator", "encoder", "direction", "code" ...
    detect: Callable[[Contents], bool]
    load: Callable[..., Any]
    # more lines for `cycle-core inspect`, of what `load` gave: {"tuned from": "0123456789abcdef"}
    describe: Callable[[Any], dict[str, Any]] = lambda loaded: {}


def matching(contents: Contents, formats: Iterable[Format]) -> list[Format]:
    """Those that a file has, at most one of a kind."""
    found: dict[str, Format] = {}
    for one in formats:
        if one.kind not in found and one.detect(contents):
            found[one.kind] = one
    return list(found.values())
