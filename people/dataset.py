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
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .factors import FACTORS, sample_factors

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

    def length(self, number: int) -> int:
        """Of a shard: pictures in it."""
        return min(self.shard, self.count - number * self.shard)


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
    seed = int(np.random.SeedSequence([recipe.seed, number]).generate_state(1)[0])
    return sample_factors(recipe.shard, seed)[: recipe.length(number)]


def shard_path(folder: Path, number: int, kind: str) -> Path:
    return folder / f"{number:05d}-{kind}.npy"


def check_renderer() -> None:
    """Raise DatasetError where nothing can be rendered."""
    try:
        from .gl import create_context
    except ModuleNotFoundError as error:
        raise DatasetError(
            f"Rendering needs the package {error.name}: `make people` has an environment with it, "
            "or `pip install -r people/requirements.txt`."
        ) from error
    try:
        create_context().release()
    except Exception as error:  # moderngl's have no class of their own
        raise DatasetError(
            f"OpenGL cannot be used without a window ({error}): install libegl1 and "
            "libgl1-mesa-dri."
        ) from error


def claim(folder: Path, recipe: Recipe) -> None:
    """Write the recipe into a new folder, or check that the folder holds the same one."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / INDEX
    if not path.exists():
        index = {"recipe": asdict(recipe), "factors": [asdict(factor) for factor in FACTORS]}
        write_file(path, json.dumps(index, indent=1).encode())
        return
    try:
        found = type(recipe)(**json.loads(path.read_text())["recipe"])
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{path} is not an index of such pictures: {error}.") from error
    if found.world != recipe.world:
        raise DatasetError(
            f"{folder} was rendered from another head file or source (world {found.world}, now "
            f"{recipe.world}); choose another folder, or check out the source that made it."
        )
    if found != recipe:
        raise DatasetError(f"{folder} holds {found}, not {recipe}; choose another folder.")


Pictures = Callable[[Any, int, int], Iterator[Any]]  # renderer, shard, first picture


def write_people(folder: Path, recipe: Recipe, worker: int = 0, workers: int = 1) -> int:
    """Render the shards that are missing; worker k of n makes every n-th. Returns their number."""
    from .person import describe

    def pictures(renderer: Any, number: int, first: int) -> Iterator[Any]:
        for row in shard_factors(recipe, number)[first:]:
            yield renderer.render(describe(row))

    def factors(number: int) -> dict[str, np.ndarray]:
        return {"factors": shard_factors(recipe, number)}

    record = [("points", "f4", (5, 2))]
    return write_shards(folder, recipe, record, pictures, factors, worker, workers)


def write_shards(
    folder: Path, recipe: Recipe, record: list, pictures: Pictures,
    known: Callable[[int], dict[str, np.ndarray]], worker: int, workers: int,
) -> int:  # fmt: skip
    """Render every n-th of the missing shards; returns their number.

    record: what is kept of a picture beside its image and mask, as fields of numpy. known: further
    arrays of a shard."""
    from .render import Renderer

    claim(folder, recipe)
    renderer, made = None, 0
    for number in range(worker, recipe.shards, workers):
        if shard_path(folder, number, "images").is_file():
            continue
        renderer = renderer or Renderer(recipe.resolution, recipe.look)
        start = time.time()
        part = _Part(folder, number, recipe, record)
        for i, picture in enumerate(pictures(renderer, number, part.done), part.done):
            part.add(i, picture)
        for kind, values in {**known(number), **part.arrays()}.items():
            write_array(shard_path(folder, number, kind), values)
        part.remove()
        made += 1
        rate = 1000 * (time.time() - start) / recipe.length(number)
        print(f"shard {number + 1} of {recipe.shards}: {rate:.0f} ms a picture", flush=True)
    return made


class _Part:
    """The pictures of an unfinished shard on disk, one record each."""

    def __init__(self, folder: Path, number: int, recipe: Recipe, fields: list) -> None:
        self._path = folder / f"{number:05d}-part.npy"
        self._fields = [name for name, *_ in fields]
        side, count = (recipe.resolution, recipe.resolution), recipe.length(number)
        record = np.dtype(
            [("ready", "u1"), ("image", "u1", (3, *side)), ("mask", "u1", side), *fields]
        )
        fresh = not self._path.exists()
        if not fresh and self._path.stat().st_size < count * record.itemsize:
            fresh = True  # stopped while the file was made
        mode = "w+" if fresh else "r+"
        self._rows = np.lib.format.open_memmap(self._path, mode, record, (count,)) if fresh else (
            np.lib.format.open_memmap(self._path, mode)
        )  # fmt: skip
        self.done = int(np.argmin(np.append(self._rows["ready"], 0)))

    def add(self, i: int, picture: Any) -> None:
        row = self._rows[i]
        row["image"] = picture.image.transpose(2, 0, 1)
        for name in ("mask", *self._fields):
            row[name] = getattr(picture, name)
        row["ready"] = 1

    def arrays(self) -> dict[str, np.ndarray]:
        """By kind, the images last: they declare the shard ready."""
        others = {name: np.array(self._rows[name]) for name in self._fields}
        return {**others, **{f"{k}s": np.array(self._rows[k]) for k in ("mask", "image")}}

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


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m people.dataset", description=(
        "Render people into a folder; run it again to continue."))  # fmt: skip
    return run(parser, Recipe, write_people, 64, arguments)


def run(
    parser: argparse.ArgumentParser, kind: type[Recipe], write: Callable[..., int],
    resolution: int, arguments: list[str] | None,
) -> int:  # fmt: skip
    """A command that renders a folder, in several processes; gives its exit status."""
    parser.add_argument("folder")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--resolution", type=int, default=resolution)
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
    folder = Path(a.folder)
    try:
        check_renderer()
        recipe = kind(a.count, a.resolution, a.seed, a.look, world_id())
        claim(folder, recipe)
    except DatasetError as error:
        print(error, file=sys.stderr)
        return 1
    if a.workers == 1:
        write(folder, recipe)
        return 0
    context = multiprocessing.get_context("spawn")
    jobs = [context.Process(target=write, args=(folder, recipe, k, a.workers))
            for k in range(a.workers)]  # fmt: skip
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    return 0 if all(job.exitcode == 0 for job in jobs) else 1


if __name__ == "__main__":
    sys.exit(main())
