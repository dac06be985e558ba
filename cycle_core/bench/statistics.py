"""Means over pictures and training seeds, with intervals and tests that hold for new ones of both.

Pictures and seeds are crossed random effects: y[s, p] = mean + seed s + picture p + rest. The
variance of the mean is put together from the mean squares of an analysis of variance, its degrees
of freedom are Satterthwaite's. A bootstrap over few seeds calls differences real that are none:
`benchmarks/false_positives.py` has both rates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError

COVERED = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean, the interval that covers it in 95 of 100 repetitions, and the probability of a mean
    at least as far from 0 where the true one is 0."""

    mean: float
    low: float
    high: float
    p: float = 1.0

    def __str__(self) -> str:
        digits = 4 if abs(self.mean) < 0.1 else 3
        if math.isinf(self.high):  # of a single number
            return f"{self.mean:.{digits}f}"
        return f"{self.mean:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def estimate(values: Sequence[Sequence[float]] | np.ndarray) -> Estimate:
    """Of values[seed][picture], the same pictures for every seed, since they are the same.

    With one seed the interval is of the pictures alone, and says nothing of another training.
    Raises InputError without scipy."""
    table = np.asarray(values, dtype=np.float64)  # [S, N]
    mean, variance, freedom = float(table.mean()), *_variance(table)
    if not freedom:
        return Estimate(mean, -math.inf, math.inf)
    t = _student()
    reach = float(t.ppf((1 + COVERED) / 2, freedom)) * math.sqrt(variance)
    if variance == 0:
        return Estimate(mean, mean, mean, 0.0 if mean else 1.0)
    p = 2 * float(t.sf(abs(mean) / math.sqrt(variance), freedom))
    return Estimate(mean, mean - reach, mean + reach, p)


def holm(ps: Sequence[float]) -> list[float]:
    """p values that hold together for all of them (Holm 1979)."""
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    adjusted, highest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[i]))
        adjusted[i] = highest
    return adjusted


def _variance(table: np.ndarray) -> tuple[float, float]:
    """(variance of the mean of a table [S, N], its degrees of freedom, 0 where nothing tells)."""
    seeds, pictures = table.shape
    mean = table.mean()
    of_seeds, of_pictures = table.mean(1) - mean, table.mean(0) - mean
    rest = table - table.mean(1, keepdims=True) - table.mean(0) + mean
    squares, freedom = [], []
    for total, degrees in (
        (pictures * float((of_seeds**2).sum()), seeds - 1),
        (seeds * float((of_pictures**2).sum()), pictures - 1),
        (float((rest**2).sum()), (seeds - 1) * (pictures - 1)),
    ):
        squares.append(total / degrees if degrees else 0.0)
        freedom.append(max(degrees, 1))
    by_seed, by_picture, by_chance = squares
    # its expectation, and no less than either factor alone
    square = max(by_seed + by_picture - by_chance, by_seed, by_picture)
    if square == 0:
        return 0.0, float(table.size - 1)
    terms = sum(s**2 / f for s, f in zip(squares, freedom, strict=True))
    # where the rest outweighs both factors Satterthwaite's may fall below those of any mean square
    fewest = min(n - 1 for n in table.shape if n > 1)
    return square / table.size, max(square**2 / terms, fewest)


def _student() -> Any:
    try:
        from scipy.stats import t
    except ImportError as error:
        raise InputError("Intervals need scipy: install it with `pip install scipy`.") from error
    return t
