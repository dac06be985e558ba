"""Pictures with one to four people for the landmark network: nothing is aligned.

    python -m people.scenes OUT --count 4000 --resolution 320 --seed 0 --workers 1

Heads are turned to profiles, rolled by any angle, near and far; faces are 24 pixels to most of the
picture; some wear what the domain does not have. A folder is what `dataset.py` writes, without
factors: ``-points.npy`` is float32 [n,4,5,2] in pixels (eyes, nose and mouth corners in the order
of an upright face; NaN where nobody is), and ``-visible.npy`` bool [n,4,5] is False for the points
before which another person stands.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .dataset import Recipe, run, write_shards
from .factors import sample_factors
from .person import Person, describe
from .pose import View

if TYPE_CHECKING:
    from .extras import Extras

MOST = 4
_SMALLEST = 24.0  # pixels of a face's width, about .55 of the view of size 1


@dataclass(frozen=True)
class SceneRecipe(Recipe):
    shard: int = 100
    most: int = MOST  # people in a picture


def sample_scene(rng: np.random.Generator, resolution: int) -> list[tuple[Person, View, Extras]]:
    """People with their views and extras, the farthest first, apart from each other."""
    from .extras import NONE, sample_extras

    count = int(rng.choice([1, 2, 3, MOST], p=[0.45, 0.25, 0.17, 0.13]))
    factors = sample_factors(count, int(rng.integers(2**31)))
    smallest = _SMALLEST / 0.55 / resolution
    largest = (1.5, 0.9, 0.7, 0.55)[count - 1]
    sizes = np.sort(np.exp(rng.uniform(np.log(smallest), np.log(largest), count)))
    places: list[np.ndarray] = []
    out = []
    for row, size in zip(factors, sizes, strict=True):
        for _ in range(30):
            place = rng.uniform(0.1, 0.9, 2) if size < 0.8 else rng.uniform(0.35, 0.65, 2)
            near = [np.abs(place - p).max() < 0.55 * (size + s) / 2
                    for p, s in zip(places, sizes, strict=False)]  # fmt: skip
            if not any(near):
                break
        places.append(place)
        turned = rng.random() < 0.4
        person = describe(row)
        person = replace(
            person,
            yaw=float(np.radians(rng.uniform(-95, 95))) if turned else person.yaw,
            pitch=float(np.radians(rng.uniform(-35, 35))) if turned else person.pitch,
        )
        rolls = rng.uniform(-np.pi, np.pi) if rng.random() < 0.3 else rng.normal(0, 0.25)
        view = View(
            float(place[0]), float(place[1]), float(size), float(rolls),
            float(np.exp(rng.uniform(np.log(4.5), np.log(25)))),
        )  # fmt: skip
        extras = sample_extras(rng) if rng.random() < 0.5 else NONE
        out.append((person, view, extras))
    return out


def write_scenes(folder: Path, recipe: SceneRecipe, worker: int = 0, workers: int = 1) -> int:
    """Render the shards that are missing; worker k of n makes every n-th. Returns their number.

    Scenes depend on the seed and their number alone. Raises DatasetError if the folder holds
    another recipe."""

    def pictures(renderer: Any, number: int, first: int) -> Iterator[Any]:
        for i in range(first, recipe.length(number)):
            rng = np.random.default_rng([recipe.seed, number, i])
            people = sample_scene(rng, recipe.resolution)
            picture = renderer.scene([*people])
            points = np.full((MOST, 5, 2), np.nan, np.float32)
            visible = np.zeros((MOST, 5), bool)
            points[: len(people)], visible[: len(people)] = picture.points, picture.visible
            yield replace(picture, points=points, visible=visible)

    record = [("points", "f4", (MOST, 5, 2)), ("visible", "?", (MOST, 5))]
    return write_shards(folder, recipe, record, pictures, lambda number: {}, worker, workers)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m people.scenes", description=(
        "Render scenes into a folder; run it again to continue."))  # fmt: skip
    return run(parser, SceneRecipe, write_scenes, 320, arguments)


if __name__ == "__main__":
    sys.exit(main())
