"""Widgets of numbers: of settings, with their range or `auto`, and of seeds."""

# pyright: reportMissingImports=false
# (ComfyUI is the host, not a dependency)
from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from comfy_api.latest import io

from ..cycle_core.errors import InputError
from ..cycle_core.runtime.settings import Meaning, field_of
from . import host

AUTO = "auto"


@dataclass(frozen=True)
class NumberOrAuto:
    """A text widget that holds `auto` or a number, with a socket that takes numbers too.

    range: what the number may be; whole: whether it has no fraction.
    legacy: the number that stood for `auto` in workflows of 0.1."""

    name: str
    range: Meaning
    whole: bool
    legacy: float | None = None

    @classmethod
    def of(cls, settings: type, field: str, legacy: float, name: str = "") -> NumberOrAuto:
        """Of a field of a settings class; name: of the widget, the field's if not given."""
        one, what = field_of(settings, field)
        if what.low == legacy:  # which is taken for `auto`
            what = replace(what, low=legacy + 1)
        return cls(name or field, what, "int" in str(one.type), legacy)

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
        if not self.range.accepts(number) or (self.whole and number != int(number)):
            raise InputError(
                f"{self.name} is {text!r}: write auto, or {kind} {self.range.range()}."
            )
        return int(number) if self.whole else number


def checked_numbers(*settings: tuple[NumberOrAuto, str | float | None]) -> bool | str:
    """For `validate_inputs`: True, or the sentence that says what is wrong with one of them.

    The host repeats that sentence for every input that `validate_inputs` takes, whatever is wrong
    with which: it hands over only inputs that are named there, and has one answer for all."""
    for setting, value in settings:
        found = host.checked(setting.read, value)
        if found is not True:
            return found
    return True


def number(settings: type, field: str, tooltip: str, advanced: bool = False, **fields: Any) -> Any:
    """A number widget of a field of a settings class, with its default and its range. fields: what
    differs from those on the node, and what the host wants to know besides, such as the `step`."""
    one, what = field_of(settings, field)
    kind = io.Int if isinstance(one.default, int) else io.Float
    ends = {"min": what.low, "max": what.high}
    known = {name: type(one.default)(end) for name, end in ends.items() if end is not None}
    make = host.advanced if advanced else host.known
    return make(kind.Input, field, **{"default": one.default, **known, **fields}, tooltip=tooltip)


def choice(settings: type, field: str, tooltip: str, or_auto: bool = False) -> Any:
    """A list widget of a field of a settings class. or_auto: the first choice is auto."""
    one, what = field_of(settings, field)
    options = [*([AUTO] if or_auto else []), *(what.choices or ())]
    return io.Combo.Input(
        field, options=options, default=AUTO if or_auto else one.default, tooltip=tooltip
    )


def seed_input(tooltip: str, advanced: bool = False, control_after_generate: bool = False) -> Any:
    """The number that chooses what is random."""
    make = host.advanced if advanced else host.known
    return make(
        io.Int.Input,
        "seed",
        default=0,
        min=0,
        max=2**63 - 1,
        control_after_generate=control_after_generate,
        tooltip=tooltip,
    )
