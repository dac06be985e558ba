"""A rendered world: the table of its factors, its people, and the inputs of its generators.

A generator's input is ``z = n @ Q``, with the Gaussian code ``n`` of a person (see
`cycle_core/models/factors.py`) and a fixed rotation ``Q``: no coordinate of ``z`` belongs to one
factor, hence finding a direction for "smile" in a trained generator is a real problem with a known
answer.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from cycle_core.models.factors import FactorTable

_ROTATION_SEED = 2022
_EPS = 1e-6  # keeps the inverse distribution function finite in float32


class World(FactorTable):
    """The table of a rendered world's factors, with its people and their codes.

    N below is the number of factors, also of the coordinates of z."""

    def rows(self) -> list[dict[str, Any]]:
        """The table for JSON."""
        return [asdict(factor) for factor in self.factors]

    def group(self, name: str) -> tuple[int, ...]:
        """Columns of the factors of a group, "identity" or "attribute"."""
        return tuple(i for i, f in enumerate(self.factors) if f.group == name)

    def sample(self, count: int, seed: int) -> Tensor:
        """People of the world: float32 [count, N], the same for the same seed everywhere."""
        rng = torch.Generator().manual_seed(seed)
        return self.to_factors(torch.randn(count, len(self), generator=rng))

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
