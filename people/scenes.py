"""Pictures with one to four people for the landmark network: nothing is aligned.

    python -m people.scenes OUT --count 1000 --resolution 512 --seed 0

Heads are turned to profiles, rolled by any angle, near and far; faces are 24 pixels to most of the
picture; some wear what the domain does not have. A folder holds ``index.json`` and shards
``00000-images.npy`` uint8 [n,3,R,R], ``-points.npy`` float32 [n,4,5,2] in pixels (picture-left
eye, picture-right eye, nose, mouth corners of the unturned face; NaN where nobody is and for faces
of which more than two points are behind somebody) and
``-sizes.npy`` float32 [n,4], the width in pixels of the FFHQ crop's half at each face.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from .dataset import DatasetError, shard_path, world_id, write_array, write_file
from .extras import NONE, Extras, sample_extras
from .factors import sample_factors
from .person import Person, describe
from .pose import View
from .render import Renderer

MOST = 4
_SMALLEST = 24.0  # pixels of a face's width, about .55 of the view of size 1


@dataclass(frozen=True)
class SceneRecipe:
    count: int
    resolution: int = 512
    seed: int = 0
    world: str = ""
    shard: int = 100


def sample_scene(
    rng: np.random.Generator, resolution: int
) -> list[tuple[Person, View | None, Extras]]:
    """People with their views and extras, the farthest first, apart from each other."""
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


def write_scenes(folder: Path, recipe: SceneRecipe) -> None:
    """Render the missing shards. Raises DatasetError if the folder holds another recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "index.json"
    if not index.exists():
        write_file(index, json.dumps({"recipe": asdict(recipe)}).encode())
    found = json.loads(index.read_text())["recipe"]
    if found != asdict(recipe):
        raise DatasetError(f"{folder} holds {found}, not {asdict(recipe)}; choose another folder.")
    renderer = Renderer(recipe.resolution)
    for number in range(-(-recipe.count // recipe.shard)):
        if shard_path(folder, number, "images").is_file():
            continue
        rng = np.random.default_rng([recipe.seed, number])
        images, points, sizes = [], [], []
        for _ in range(min(recipe.shard, recipe.count - number * recipe.shard)):
            people = sample_scene(rng, recipe.resolution)
            picture = renderer.scene(people)
            images.append(picture.image.transpose(2, 0, 1))
            points.append(np.full((MOST, 5, 2), np.nan, np.float32))
            points[-1][: len(people)] = picture.points
            points[-1][: len(people)][picture.visible.sum(1) < 3] = np.nan
            sizes.append(np.full(MOST, np.nan, np.float32))
            # Of the view of size 1, 2.6 dm wide, the FFHQ crop takes about all.
            sizes[-1][: len(people)] = [v.size * recipe.resolution / 2 for _, v, _ in people]
        write_array(shard_path(folder, number, "points"), np.stack(points))
        write_array(shard_path(folder, number, "sizes"), np.stack(sizes))
        write_array(shard_path(folder, number, "images"), np.stack(images))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m people.scenes", description=(
        "Render scenes into a folder; run it again to continue."))  # fmt: skip
    parser.add_argument("folder")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--resolution", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args(arguments)
    try:
        write_scenes(Path(a.folder), SceneRecipe(a.count, a.resolution, a.seed, world_id()))
    except DatasetError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
