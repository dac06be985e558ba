"""Settings that are a number, or `auto`."""

# pyright: reportMissingImports=false
# (ComfyUI is the host, not a dependency)
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from comfy_api.latest import io

from ..cycle_core.errors import InputError
from . import host

AUTO = "auto"


@dataclass(frozen=True)
class NumberOrAuto:
    """A text widget that holds `auto` or a number, with a socket that takes numbers too.

    low, high: the bounds of the number; whole numbers where both are `int`.
    legacy: the number that stood for `auto` in workflows of 0.1."""

    name: str
    low: float
    high: float
    legacy: float | None = None

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int)

    def input(self, tooltip: str, advanced: bool = False) -> Any:
        fields = {"default": AUTO, "tooltip": tooltip}
        if advanced:
            text = host.advanced(io.String.Input, self.name, **fields)
        else:
            text = io.String.Input(self.name, **fields)
        return io.MultiType.Input(text, types=[io.Int] if self.whole else [io.Float, io.Int])

    def read(self, value: str | float) -> Any:
        """The number; None for `auto`. Raises InputError for anything else."""
        text = str(value).strip()
        if text.lower() in (AUTO, ""):
            return None
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if number == self.legacy:
            return None
        kind = "a whole number" if self.whole else "a number"
        if not self.low <= number <= self.high or (self.whole and number != int(number)):
            raise InputError(
                f"{self.name} is {text!r}: write auto, or {kind} from {self.low:g} to "
                f"{self.high:g}."
            )
        return int(number) if self.whole else number


def readable(*settings: tuple[NumberOrAuto, str | float | None]) -> bool | str:
    """For `validate_inputs`: True, or the sentence that says what is wrong with one of them."""
    for setting, value in settings:
        found = host.checked(setting.read, value)
        if found is not True:
            return found
    return True
