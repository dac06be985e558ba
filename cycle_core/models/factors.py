"""The factors of a rendered world: what each number means, and how a Gaussian code becomes one.

Every factor is a smooth monotone function of one coordinate of a standard Gaussian vector ``n``,
and the coordinates are independent, so the world has known and disentangled causes. A generator's
input is ``z = n @ Q`` with a fixed rotation ``Q``: no coordinate of ``z`` belongs to one factor,
hence finding a direction for "smile" in a trained generator is a real problem with a known answer.

One formula serves all factors (``Phi`` is the normal distribution function)::

    u = Phi(spread * n + shift)              shift places the median person, n = 0, at the default
    u = max(u - absent, 0) / (1 - absent)    only for what a share of the people do not have at all
    value = low + (high - low) * u

The table itself comes with the renders (`people/factors.py` writes it beside them) and is kept in
the networks that read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError

_ROTATION_SEED = 2022
_EPS = 1e-6  # keeps the inverse distribution function finite in float32


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
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> FactorTable:
        """From what `rows` gives. Raises InputError for anything else."""
        try:
            table = cls(tuple(Factor(**row) for row in rows))
            if not all(f.low < f.high and 0 < f.median < 1 and f.spread > 0 for f in table.factors):
                raise ValueError("a range that is empty")
        except (TypeError, ValueError) as error:
            raise InputError(f"This is not a table of factors: {error}.") from error
        return table

    def rows(self) -> list[dict[str, Any]]:
        """The table for JSON."""
        return [asdict(factor) for factor in self.factors]

    def __len__(self) -> int:
        return len(self.factors)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.factors)

    def group(self, name: str) -> tuple[int, ...]:
        """Columns of the factors of a group, "identity" or "attribute"."""
        return tuple(i for i, f in enumerate(self.factors) if f.group == name)

    def index(self, name: str) -> int:
        """Column of the factor ``name``. Raises InputError for an unknown name."""
        if name not in self.names:
            raise InputError(f"Unknown factor '{name}'; use one of: {', '.join(self.names)}.")
        return self.names.index(name)

    def sample(self, count: int, seed: int) -> Tensor:
        """People of the world: float32 [count, N], the same for the same seed everywhere."""
        rng = torch.Generator().manual_seed(seed)
        return self.to_factors(torch.randn(count, len(self), generator=rng))

    def to_factors(self, n: Tensor) -> Tensor:
        """Standard Gaussian codes [B, N] to factors [B, N], each inside its range."""
        self._check(n, "Gaussian codes")
        low, high, spread, absent, shift = self._columns(n)
        u = torch.special.ndtr(spread * n + shift)
        u = (u - absent).clamp(min=0) / (1 - absent)
        return low + (high - low) * u

    def to_gaussian(self, factors: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Factors [B, N] to the Gaussian codes [B, N] that make them.

        Values outside a range become the nearest value inside. A factor that is absent (no glasses)
        says nothing about its code except a bound: the code is then sampled from the part of the
        Gaussian that means "absent", with ``rng`` (of the CPU; None: seeded with 0)."""
        self._check(factors, "factors")
        low, high, spread, absent, shift = self._columns(factors)
        share = ((factors - low) / (high - low)).clamp(0, 1)
        rng = rng or torch.Generator().manual_seed(0)
        fill = torch.rand(factors.shape, generator=rng).to(factors)
        u = absent + (1 - absent) * share
        n = (torch.special.ndtri(u.clamp(_EPS, 1 - _EPS)) - shift) / spread
        bound = (torch.special.ndtri(absent) - shift) / spread
        unseen = torch.special.ndtri((fill * torch.special.ndtr(bound)).clamp(min=_EPS))
        return torch.where((absent > 0) & (share <= 0), unseen, n)

    def to_z(self, factors: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Factors [B, N] to the generator's input z [B, N]; see `to_gaussian`."""
        n = self.to_gaussian(factors, rng)
        return n @ self.rotation(n)

    def from_z(self, z: Tensor) -> Tensor:
        """A generator's input z [B, N] to the factors [B, N] that it stands for."""
        self._check(z, "codes z")
        return self.to_factors(z @ self.rotation(z).T)

    def rotation(self, like: Tensor) -> Tensor:
        """The fixed orthogonal matrix Q [N, N] of ``z = n @ Q``, on the device of ``like``."""
        rng = torch.Generator().manual_seed(_ROTATION_SEED)
        q, r = torch.linalg.qr(torch.randn(len(self), len(self), generator=rng))
        # LAPACK libraries differ in the signs of the columns: a positive diagonal makes Q unique.
        return (q * torch.sign(torch.diagonal(r))).to(like)

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
