"""What every type of direction can do: turn codes into the codes of edited pictures.

To add a type, write a module with a frozen dataclass that derives from `BaseDirection` and a
`TYPE`, and name that in `files.TYPES`. Its fields are saved and opened there: tensors as
tensors, the others as JSON.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from ..codes import Code
from ..errors import InputError, MismatchError
from ..models.fingerprints import same, short
from ..models.generator import Generator

UNITS = ("sd", "raw")
Layers = str | Sequence[int] | None
Strength = float | Tensor  # one for all codes, or [B]
Same = TypeVar("Same", bound="BaseDirection")


@dataclass(frozen=True)
class BaseDirection(ABC):
    """One way to change a picture, in the latent space of one generator.

    unit: "sd": a strength of 1 is one standard deviation of the attribute (in StyleSpace: of the
        channels) over the domain. "raw": a strength of 1 is the move as it was found, such as
        InterFaceGAN's unit normal.
    range: the strengths, from the domain's mean, between which the domain lies, None if unknown.
    generator_id: fingerprint of the generator whose space it is, "" if unknown.
    curve: measured (strength, change of the attribute in standard deviations), see `calibrate`.
    meaning: what it does, in a few words.
    """

    space: ClassVar[str]  # the type, as direction files name it

    name: str
    _: KW_ONLY
    unit: str = "raw"
    range: tuple[float, float] | None = None
    generator_id: str = ""
    curve: tuple[tuple[float, float], ...] = ()
    meaning: str = ""

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise InputError(f'The unit of a direction is "sd" or "raw", not {self.unit!r}.')

    def __str__(self) -> str:
        what = f": {self.meaning}" if self.meaning else ""
        one = "one standard deviation" if self.unit == "sd" else "the move as it was found"
        return f"The direction {self.name}{what}. A strength of 1 is {one}."

    @abstractmethod
    def __call__(self, code: Code, strength: Strength = 1.0) -> Code:
        """The codes moved by a strength, one for all or one for each: w in the precision of `code`.

        Raises MismatchError for codes that `check` refuses."""

    @abstractmethod
    def scaled(self, factor: float) -> BaseDirection:
        """The same direction with a strength of 1 that goes `factor` times as far."""

    def to(self: Same, device: torch.device | str) -> Same:
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        tensors = {name: x.to(device) for name, x in values.items() if isinstance(x, Tensor)}
        return replace(self, **tensors)

    @abstractmethod
    def check_shape(self, code: Code) -> None:
        """Raise MismatchError where the code has another shape than the direction's generator."""

    def check(self, code: Code) -> None:
        """Raise MismatchError unless the direction lies in the code's latent space."""
        self.check_shape(code)
        spaces = [space for space in (code.generator_id, code.origin) if space]
        if self.generator_id and spaces and not any(same(self.generator_id, one) for one in spaces):
            raise MismatchError(
                f"The direction {self.name!r} belongs to the generator "
                f"{short(self.generator_id)}, but the code to {short(code.generator_id)}: use "
                "directions of the code's generator."
            )

    def value(self, code: Code) -> Tensor:
        """How much of the attribute each code has: [B]. Raises InputError without a readout."""
        raise InputError(
            f"The direction {self.name!r} has no readout, so the value that a code has is not "
            "known: edit by a strength, or fit a direction to labelled codes."
        )

    def conditioned(
        self, num_ws: int, layers: Layers = None, keep: Sequence[BaseDirection] = ()
    ) -> BaseDirection:
        """The same for chosen layers, and without what changes the attributes that are kept.

        Raises InputError for a type that is no vector in W, or where nothing is left."""
        if layers is None and not keep:
            return self
        raise InputError(
            f"For the direction {self.name!r} neither attributes can be kept nor layers be chosen, "
            f"because it {self.lies()}: give a strength alone."
        )

    def probe(self, styles: Sequence[int], num_ws: int) -> Tensor:
        """The linear form on w that reads the attribute off some styles: double [num_ws, w_dim].

        Raises InputError for a type that has none."""
        raise InputError(
            f"The attribute of {self.name!r} cannot be kept, because that direction {self.lies()}: "
            "leave it out."
        )

    @abstractmethod
    def lies(self) -> str:
        """What it is in place of a vector in W, for messages: "lies in StyleSpace"."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Lines for `cycle-core inspect`."""


@dataclass(frozen=True)
class Layout:
    """One way in which another project stores directions of a type.

    fits: whether it is what `read_file` gave; looks at names and shapes only.
    read: all directions of the file, from its path and its content without the numbers.
    """

    fits: Callable[[Any], bool]
    read: Callable[[Path, Any], Sequence[BaseDirection]]


@dataclass(frozen=True)
class DirectionType:
    """What the module of a type of direction says about it.

    kind: the class.
    layouts: files of other projects that hold directions of this type.
    named: whether a name stands for a direction that is made for a generator: "S:6_501".
    made: that direction.
    """

    kind: type[BaseDirection]
    layouts: tuple[Layout, ...] = ()
    named: Callable[[str], bool] = lambda name: False
    made: Callable[[str, Generator], BaseDirection] | None = None


def column(strength: Strength, w: Tensor) -> Tensor:
    """A strength, one or [B], as what rows [B, ...] of the same precision are multiplied by."""
    return torch.as_tensor(strength).to(w).reshape(-1, *[1] * (w.ndim - 1))
