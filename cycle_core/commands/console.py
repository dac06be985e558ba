"""What a person sees while a command works: progress bars on stderr, results on stdout."""

from __future__ import annotations

import re
import sys
import time
from typing import Any

from ..errors import CycleError, FaceNumberError, NoFaceError, printable

# what the library calls settings, as options
_SETTINGS = re.compile(
    "`(channels|cond|encoders|freeze|inside|kind|mapping_layers|points|projected|recursive"
    "|resolution|same_space|sets|w_dim|z_dim)`"
)


def with_options(text: str) -> str:
    """A text of the library, its settings as options."""
    return _SETTINGS.sub(lambda found: "--" + found[1].replace("_", "-"), text)


def sentence_of(error: CycleError) -> str:
    """An error in one line, settings as options; where a face is missing, with those that help."""
    sentence = with_options(" ".join(str(error).split()))
    if isinstance(error, FaceNumberError):
        sentence += " The option is --face."
    elif isinstance(error, NoFaceError):
        options = "--face, --no-face centre, --no-face skip, --points and --detector"
        sentence += f" The options are {options}."
    return sentence


class Console:
    """Progress bars where stderr is a terminal, one line a step where it is not."""

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        self._bar: Any = None
        self._name = ""
        self._began = 0.0

    def say(self, text: str) -> None:
        """One line of result on stdout, unless quiet."""
        self.close()
        if not self.quiet:
            lines = with_options(text).split("\n")
            print(*(printable(line, 10_000) for line in lines), sep="\n", flush=True)

    def progress(self, name: str, step: int, total: int) -> None:
        """`step` of `total` of the step `name` is done. A new name begins a new bar."""
        if self.quiet:
            return
        if name != self._name:
            self.close()
            self._open(name, total)
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(step - self._bar.n)

    def callback(self, name: str) -> Any:
        """`callback(step, total, preview)` as the library's functions take it."""
        return lambda step, total, preview=None: self.progress(name, step, total)

    def close(self) -> None:
        """End the bar that is open."""
        if self._bar is not None:
            self._bar.close()
        elif self._name:
            seconds = time.monotonic() - self._began
            print(f"{self._name}: {seconds:.1f} s", file=sys.stderr, flush=True)
        self._bar, self._name = None, ""

    def _open(self, name: str, total: int) -> None:
        self._name, self._began = name, time.monotonic()
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=f"{name:>24}", unit="step", dynamic_ncols=True)
