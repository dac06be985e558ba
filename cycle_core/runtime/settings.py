"""Settings that carry their meaning and range: one frozen dataclass for each step of the method.

    @dataclass(frozen=True)
    class RefineSettings:
        steps: int = setting(15, "steps for each picture", low=0)
        learning_rate: float = setting(1e-4, "of all encoder weights", above=0)

        __post_init__ = check

Commands make their options from the fields (`commands/options.py`), nodes the ranges of their
widgets (`nodes/widgets.py`), so that a help text and a range are written once.
"""

from __future__ import annotations

import math
from dataclasses import Field, dataclass, field, fields
from typing import Any

from ..errors import InputError


@dataclass(frozen=True)
class Meaning:
    """What a setting does and which values it takes."""

    help: str  # a phrase: "steps for each picture"
    low: float | None = None  # the smallest value
    above: float | None = None  # the value has to be larger than this
    high: float | None = None  # the largest value
    choices: tuple[Any, ...] | None = None
    several: bool = False  # of a tuple: a command takes its values one after the other

    def accepts(self, value: Any) -> bool:
        """Whether a value, or each of a tuple, may be set; None is left to the type."""
        if value is None:
            return True
        if self.choices is not None:
            return value in self.choices
        if isinstance(value, tuple):
            return all(map(self.accepts, value))
        if isinstance(value, (int, float)) and not math.isfinite(value):
            return False
        return (
            (self.low is None or value >= self.low)
            and (self.above is None or value > self.above)
            and (self.high is None or value <= self.high)
        )

    def range(self) -> str:
        """ "from 0 to 1", "above 0", "one of W, W+", or "" where every finite number will do."""
        if self.choices is not None:
            return "one of " + ", ".join(map(str, self.choices))
        low, above, high = (
            None if end is None else f"{end:g}" if isinstance(end, float) else str(end)
            for end in (self.low, self.above, self.high)
        )
        if above is not None:
            return f"above {above}" + (f", at most {high}" if high else "")
        if low is not None:
            return f"from {low} to {high}" if high else f"at least {low}"
        return f"at most {high}" if high else ""


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    choices: tuple[Any, ...] | None = None,
    several: bool = False,
) -> Any:
    """A field of a dataclass of settings; see the module."""
    what = Meaning(help, low, above, high, choices, several)
    return field(default=default, metadata={"meaning": what})


def meaning(one: Field[Any]) -> Meaning | None:
    """What a field of a settings class means; None for one that was not made by `setting`."""
    return one.metadata.get("meaning")


def field_of(settings: type, name: str) -> tuple[Field[Any], Meaning]:
    """A field of a settings class and what it means; it was made by `setting`."""
    one = settings.__dataclass_fields__[name]
    what = meaning(one)
    assert what is not None, f"{settings.__name__}.{name} was not made by setting()"
    return one, what


def check(settings: Any) -> None:
    """`__post_init__` of a settings class. Raises InputError for a value out of its range."""
    for one in fields(settings):
        what, value = meaning(one), getattr(settings, one.name)
        if what is not None and not what.accepts(value):
            wanted = what.range() or "a finite number"
            raise InputError(
                f"{type(settings).__name__}: {one.name} ({what.help}) is {wanted}, but {value!r} "
                "was given."
            )
