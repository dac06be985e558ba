"""How often a comparison calls a difference real that is none, at a nominal 5 %: prints a table.

    python benchmarks/false_positives.py

Numbers of seeds and pictures are simulated whose true mean is 0. Three tests: that of the bench
(seeds and pictures as crossed random effects), Student's t over the means of the seeds, and the
bootstrap over seeds and pictures that the bench had once.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy import stats

from cycle_core.bench.statistics import estimate

CASES = {  # standard deviations of seeds, pictures, and the rest
    "trainings differ": (1, 0, 0.1),
    "pictures differ": (0, 1, 0.1),
    "both, and the rest": (1, 1, 1),
    "the rest alone": (0, 0, 1),
}
DRAWS = 200  # of the bootstrap


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=2000)
    count = parser.parse_args().repetitions
    print("| trainings, pictures | what varies | the bench's | t over trainings | bootstrap |")
    print("| --- | --- | --- | --- | --- |")
    for seeds, pictures in ((10, 10), (3, 20), (10, 20)):
        for name, of in CASES.items():
            rates = wrong(seeds, pictures, of, count)
            cells = " | ".join(f"{100 * rate:.1f} %" for rate in rates)
            print(f"| {seeds}, {pictures} | {name} | {cells} |", flush=True)


def wrong(
    seeds: int, pictures: int, of: tuple[float, float, float], count: int
) -> tuple[float, float, float]:
    rng = np.random.default_rng(0)
    found = np.zeros(3)
    for _ in range(count):
        table = (
            of[0] * rng.standard_normal((seeds, 1))
            + of[1] * rng.standard_normal((1, pictures))
            + of[2] * rng.standard_normal((seeds, pictures))
        )
        by_seed = stats.ttest_1samp(table.mean(1), 0)
        found += (
            estimate(table).p < 0.05,
            by_seed.pvalue < 0.05,  # pyright: ignore[reportAttributeAccessIssue]
            bootstrap_excludes_zero(table, rng),
        )
    crossed, t, bootstrap = found / count
    return crossed, t, bootstrap


def bootstrap_excludes_zero(table: np.ndarray, rng: np.random.Generator) -> bool:
    seeds, pictures = table.shape
    rows = rng.integers(0, seeds, (DRAWS, seeds, 1))
    columns = rng.integers(0, pictures, (DRAWS, 1, pictures))
    low, high = np.quantile(table[rows, columns].mean((1, 2)), (0.025, 0.975))
    return bool(low > 0 or high < 0)


if __name__ == "__main__":
    main()
