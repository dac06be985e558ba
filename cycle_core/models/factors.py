"""The factors of a rendered world: what each number means, and how a Gaussian code becomes one.

Every factor is a smooth monotone function of one coordinate of a standard Gaussian vector ``n``,
and the coordinates are independent, so the world has known and disentangled causes. One formula
serves all factors (``Phi`` is the normal distribution function)::

    u = Phi(spread * n + shift)              shift places the median person, n = 0, at the default
    u = max(u - absent, 0) / (1 - absent)    only for what a share of the people do not have at all
    value = low + (high - low) * u

The table itself comes with the renders (`people/factors.py` writes it beside them) and is kept in
the networks that read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..errors import InputError

Table = TypeVar("Table", bound="FactorTable")


@dataclass(frozen=True)
class Factor:
    """One row of the table; ``low`` and ``high`` bound what the world samples."""

    name: str
    low: float
    high: float
    default: float  # the value of the median person
    spread: float  # 1 is uniform (for a central default), below 1 favours the default
    group: str  # "identity" or "attribute"
    meaning: str
    absent: float = 0.0  # share of the people that have exactly `low`

    @property
    def median(self) -> float:
        """Of u, in 0..1."""
        return 0.5 if self.absent else (self.default - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class FactorTable:
    """All factors of a world, in order. N below is their number, also of the coordinates of z."""

    factors: tuple[Factor, ...]

    @classmethod
    def of(cls: type[Table], rows: Sequence[Mapping[str, Any]]) -> Table:
        """From a dict for each factor. Raises InputError for anything else."""
        try:
            table = cls(tuple(Factor(**row) for row in rows))
            if not all(f.low < f.high and 0 < f.median < 1 and f.spread > 0 for f in table.factors):
                raise ValueError("a range that is empty")
        except (TypeError, ValueError) as error:
            raise InputError(f"This is not a table of factors: {error}.") from error
        return table

    def __len__(self) -> int:
        return len(self.factors)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.factors)

    def index(self, name: str) -> int:
        """Column of the factor ``name``. Raises InputError for an unknown name."""
        if name not in self.names:
            raise InputError(f"Unknown factor '{name}'; use one of: {', '.join(self.names)}.")
        return self.names.index(name)

    def to_factors(self, n: Tensor) -> Tensor:
        """Standard Gaussian codes [B, N] to factors [B, N], each inside its range."""
        self._check(n, "Gaussian codes")
        low, high, spread, absent, shift = self._columns(n)
        u = torch.special.ndtr(spread * n + shift)
        u = (u - absent).clamp(min=0) / (1 - absent)
        return low + (high - low) * u

    def _columns(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """low, high, spread, absent and shift, [N] each."""
        rows = [(f.low, f.high, f.spread, f.absent, f.median) for f in self.factors]
        low, high, spread, absent, median = torch.tensor(rows).T.to(like)
        return low, high, spread, absent, torch.special.ndtri(median)

    def _check(self, values: Tensor, what: str) -> None:
        if values.ndim != 2 or values.shape[1] != len(self):
            raise InputError(
                f"Got {what} of shape {tuple(values.shape)}; expected [B, {len(self)}]."
            )
