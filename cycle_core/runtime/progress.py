"""How a step reports what it has done, and how long a step took.

An exception from a callback ends the step; it is how a run is interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

# (done, total, preview): done counts from 1; preview is an image [B,3,H,W] in [-1,1], or None
Callback: TypeAlias = "Callable[[int, int, Tensor | None], object]"
# the same of one of several steps: (the step's name, done, total)
StepCallback: TypeAlias = Callable[[str, int, int], object]


class Stopwatch:
    """Seconds of the wall clock since it was made, or last read."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        now = time.perf_counter()
        passed, self._last = now - self._last, now
        return round(passed, 3)
