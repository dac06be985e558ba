"""People on disk: rendered by several processes, read while the folder still grows.

    python -m people.dataset OUT --count 20000 --resolution 64 --seed 0 --workers 1

A folder holds ``index.json`` (the recipe and the table of factors) and shards
``00000-images.npy`` uint8 [n,3,R,R], ``-factors.npy`` float32 [n,COUNT], ``-points.npy`` float32
[n,5,2] in pixels and ``-masks.npy`` uint8 [n,R,R] (255 face, 128 hair, neck and clothes, 0
background). A shard exists once its images
do: they are written last, and every file appears under its name only when it is whole. A shard
being made keeps its pictures in ``00000-part.npy``, so a run that is stopped loses no picture.
The factors depend on the seed and the shard's number alone: any number of workers makes the same
files. Running the same command again continues; another recipe, head file or source is refused.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .factors import FACTORS, sample_factors

KINDS = ("factors", "points", "masks", "images")  # images last: they declare the shard ready
INDEX = "index.json"


class DatasetError(Exception):
    """One sentence that says what is wrong and what to do."""


@dataclass(frozen=True)
class Recipe:
    """What a folder holds. ``look`` is the seed of strands, freckles and iris: 0 in the domain."""

    count: int
    resolution: int = 64
    seed: int = 0
    look: int = 0
    world: str = ""  # fingerprint of the head file and of the source that renders
    shard: int = 500

    @property
    def shards(self) -> int:
        return -(-self.count // self.shard)


def world_id() -> str:
    """Fingerprint of everything that decides what a person looks like: 16 hex digits."""
    from .gl import sources
    from .mesh import HEAD_FILE

    digest = hashlib.sha256()
    for path in [HEAD_FILE, *sources()]:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def shard_factors(recipe: Recipe, number: int) -> np.ndarray:
    """Factors float32 [n,COUNT] of a shard; a longer data set begins with a shorter one."""
    count = min(recipe.shard, recipe.count - number * recipe.shard)
    seed = int(np.random.SeedSequence([recipe.seed, number]).generate_state(1)[0])
    return sample_factors(recipe.shard, seed)[:count]


def shard_path(folder: Path, number: int, kind: str) -> Path:
    return folder / f"{number:05d}-{kind}.npy"


def claim(folder: Path, recipe: Recipe) -> None:
    """Write the recipe into a new folder, or check that the folder holds the same one."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / INDEX
    if not path.exists():
        index = {"recipe": asdict(recipe), "factors": [asdict(factor) for factor in FACTORS]}
        write_file(path, json.dumps(index, indent=1).encode())
        return
    try:
        found = Recipe(**json.loads(path.read_text())["recipe"])
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{path} is not an index of people: {error}.") from error
    if found.world != recipe.world:
        raise DatasetError(
            f"{folder} was rendered from another head file or source (world {found.world}, now "
            f"{recipe.world}); choose another folder, or check out the source that made it."
        )
    if found != recipe:
        raise DatasetError(f"{folder} holds {found}, not {recipe}; choose another folder.")


def write_people(folder: Path, recipe: Recipe, worker: int = 0, workers: int = 1) -> int:
    """Render the shards that are missing; worker k of n makes every n-th. Returns their number."""
    from .person import describe
    from .render import Renderer

    claim(folder, recipe)
    renderer, made = None, 0
    for number in range(worker, recipe.shards, workers):
        if shard_path(folder, number, "images").is_file():
            continue
        renderer = renderer or Renderer(recipe.resolution, recipe.look)
        start = time.time()
        factors = shard_factors(recipe, number)
        part = _Part(folder, number, len(factors), recipe.resolution)
        for i in range(part.done, len(factors)):
            picture = renderer.render(describe(factors[i]))
            part.add(i, picture.image, picture.mask, picture.points)
        arrays = {"factors": factors, **part.arrays()}
        for kind in KINDS:
            write_array(shard_path(folder, number, kind), arrays[kind])
        part.remove()
        made += 1
        rate = 1000 * (time.time() - start) / len(factors)
        print(f"shard {number + 1} of {recipe.shards}: {rate:.0f} ms a picture", flush=True)
    return made


class _Part:
    """The pictures of an unfinished shard on disk, one record each."""

    def __init__(self, folder: Path, number: int, count: int, resolution: int) -> None:
        self._path = folder / f"{number:05d}-part.npy"
        record = np.dtype([
            ("ready", "u1"), ("image", "u1", (3, resolution, resolution)),
            ("mask", "u1", (resolution, resolution)), ("points", "f4", (5, 2)),
        ])  # fmt: skip
        fresh = not self._path.exists()
        if not fresh and self._path.stat().st_size < count * record.itemsize:
            fresh = True  # stopped while the file was made
        mode = "w+" if fresh else "r+"
        self._rows = np.lib.format.open_memmap(self._path, mode, record, (count,)) if fresh else (
            np.lib.format.open_memmap(self._path, mode)
        )  # fmt: skip
        self.done = int(np.argmin(np.append(self._rows["ready"], 0)))

    def add(self, i: int, image: np.ndarray, mask: np.ndarray, points: np.ndarray) -> None:
        row = self._rows[i]
        row["image"], row["mask"], row["points"] = image.transpose(2, 0, 1), mask, points
        row["ready"] = 1

    def arrays(self) -> dict[str, np.ndarray]:
        return {k + "s" if k != "points" else k: np.array(self._rows[k])
                for k in ("image", "mask", "points")}  # fmt: skip

    def remove(self) -> None:
        del self._rows
        self._path.unlink(missing_ok=True)


def write_file(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    temporary.replace(path)


def write_array(path: Path, values: np.ndarray) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.npy")
    np.save(temporary, values)
    temporary.replace(path)


def _work(folder: str, recipe: Recipe, worker: int, workers: int) -> None:
    write_people(Path(folder), recipe, worker, workers)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m people.dataset", description=(
        "Render people into a folder; run it again to continue."))  # fmt: skip
    parser.add_argument("folder")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--look", type=int, default=0, help="seed of strands, freckles and iris")
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    a = parser.parse_args(arguments)
    if a.count < 1 or a.workers < 1 or a.resolution < 16:
        print(
            f"Got --count {a.count} --workers {a.workers} --resolution {a.resolution}; expected "
            "1 or more, 1 or more, 16 or more.", file=sys.stderr,
        )  # fmt: skip
        return 2
    recipe = Recipe(a.count, a.resolution, a.seed, a.look, world_id())
    try:
        claim(Path(a.folder), recipe)
    except DatasetError as error:
        print(error, file=sys.stderr)
        return 1
    if a.workers == 1:
        write_people(Path(a.folder), recipe)
        return 0
    context = multiprocessing.get_context("spawn")
    jobs = [
        context.Process(target=_work, args=(a.folder, recipe, k, a.workers))
        for k in range(a.workers)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    return 0 if all(job.exitcode == 0 for job in jobs) else 1


if __name__ == "__main__":
    sys.exit(main())
