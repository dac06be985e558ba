"""Means with bootstrap intervals, over pictures and training seeds at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_DRAWS = 2000
_COVERED = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean and the interval that covers it in 95 of 100 repetitions."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        digits = 4 if abs(self.mean) < 0.1 else 3
        return f"{self.mean:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def estimate(values: Sequence[Sequence[float]], draws: int = _DRAWS) -> Estimate:
    """The mean of values[seed][picture], and its interval (Efron 1979): seeds and pictures are both
    drawn anew, with replacement; the same pictures for every seed, since they are the same.

    With one seed the interval is of the pictures alone."""
    table = np.asarray(values, dtype=np.float64)  # [S, N]
    random = np.random.default_rng(0)
    seeds, pictures = table.shape
    means = np.empty(draws)
    for k in range(draws):
        rows = random.integers(0, seeds, seeds)
        columns = random.integers(0, pictures, pictures)
        means[k] = table[rows][:, columns].mean()
    low, high = np.quantile(means, [(1 - _COVERED) / 2, (1 + _COVERED) / 2])
    return Estimate(float(table.mean()), float(low), float(high))
