"""Sheets to look at: random people; every factor over seven values (all of them in `all.jpg`).

python -m people.sheet people OUT.png [--seed S] [--rows 6] [--columns 8]
python -m people.sheet factors FOLDER [NAME ...] [NAME=VALUE ...]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from .factors import FACTORS, NAMES, defaults, index, sample_factors
from .person import describe
from .render import Renderer


def grid(pictures: list[np.ndarray], columns: int) -> Image.Image:
    rows = [np.concatenate(pictures[i : i + columns], 1) for i in range(0, len(pictures), columns)]
    return Image.fromarray(np.concatenate(rows, 0))


def people(a: argparse.Namespace) -> None:
    renderer = Renderer(a.resolution)
    rows = sample_factors(a.rows * a.columns, a.seed)
    start = time.time()
    pictures = [renderer.render(describe(f)).image for f in rows]
    print(f"{1000 * (time.time() - start) / len(rows):.0f} ms a picture")
    grid(pictures, a.columns).save(a.out)


def strips(a: argparse.Namespace) -> None:
    renderer = Renderer(a.resolution)
    every = []
    folder = Path(a.out)
    folder.mkdir(parents=True, exist_ok=True)
    base = defaults() if a.base is None else sample_factors(a.base + 1, a.seed)[a.base]
    for setting in (n for n in a.names if "=" in n):
        name, value = setting.split("=")
        base[index(name)] = float(value)
    for name in [n for n in a.names if "=" not in n] or NAMES:
        factor = FACTORS[index(name)]
        pictures = []
        for value in np.linspace(factor.low, factor.high, 7):
            row = base.copy()
            row[index(name)] = value
            pictures.append(renderer.render(describe(row)).image)
        grid(pictures, 7).save(folder / f"{name}.png")
        every += pictures
    grid(every, 7).save(folder / "all.jpg", quality=88)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m people.sheet", description=__doc__)
    parser.add_argument("kind", choices=("people", "factors"))
    parser.add_argument("out")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--base", type=int, help="number of the random person that is varied")
    a = parser.parse_intermixed_args(arguments)
    (people if a.kind == "people" else strips)(a)
    return 0


if __name__ == "__main__":
    sys.exit(main())
