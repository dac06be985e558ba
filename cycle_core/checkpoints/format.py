"""What a module says about a layout of files that it opens.

To add one, write a module with `FORMATS`, a tuple of `Format`s, and name it in `registry.MODULES`.
The functions of a format get the plain `Contents` of a file (see `reading`):

    def detect(contents) -> bool: ...   # looks at names and shapes only; no file may make it fail
    def load(contents, **options): ...  # a whole object on the CPU, in evaluation mode

`load` takes its tensors by `load_tensors(mapping, prefix)`, every hyperparameter from their shapes
and the stored settings, and ends in `native.assemble` (a generator) or `native.build`. Where it
knows what is wrong it raises CheckpointError; anything else is "damaged or of another format".
A file may be of several kinds: a pSp checkpoint is an encoder and a generator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .reading import Contents


@dataclass(frozen=True)
class Format:
    """One layout of one kind of thing."""

    name: str  # as people call it: "NVIDIA StyleGAN2 pickle"
    kind: str  # "generator", "encoder", "direction", "delta", "code", "network"
    detect: Callable[[Contents], bool]
    load: Callable[..., Any]
    # more lines for `cycle-core inspect`, of what `load` gave: {"tuned from": "0123456789abcdef"}
    describe: Callable[[Any], dict[str, Any]] = lambda loaded: {}
