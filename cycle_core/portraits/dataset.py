"""Rendered portraits on disk: written by several processes, read while it still grows.

    python -m cycle_core.portraits.dataset OUT --count 80000 --resolution 64 --workers 2 --compile

A folder holds ``index.json`` (what was asked for) and shards ``00000-images.npy`` uint8 [n,3,R,R],
``-factors.npy`` float32 [n,COUNT], ``-points.npy`` float32 [n,5,2], ``-masks.npy`` uint8 [n,R,R].
A shard exists once its images do: they are written last, and every file appears under its name
only when it is whole. Running the same command again continues. The factors depend on the seed and
the shard's number alone, so any number of workers makes the same files.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ..errors import CheckpointError, InputError, MismatchError, MissingFileError
from ..files.atomic import write_json
from ..files.json import read_json
from ..files.shards import INDEX, shard_path, write_array
from .factors import TABLE, sample_factors, sample_wide
from .renderer import Extras, render

_KINDS = ("factors", "points", "masks", "images")  # images last: they declare the shard ready


@dataclass(frozen=True)
class Recipe:
    """What a folder holds. ``wide`` draws with `sample_wide` and extras, beyond the domain."""

    count: int
    resolution: int = 64
    seed: int = 0
    wide: bool = False
    aligned: bool = True
    shard: int = 500

    @property
    def shards(self) -> int:
        return -(-self.count // self.shard)


def write_portraits(
    folder: str | os.PathLike,
    recipe: Recipe,
    worker: int = 0,
    workers: int = 1,
    compile: bool = False,
    progress: bool = False,
) -> int:
    """Render the shards of ``recipe`` that are missing; worker k of n makes every n-th shard.

    Returns the number of shards made. Raises MismatchError if the folder holds another recipe.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, recipe)
    made, start = 0, time.time()
    for number in range(worker, recipe.shards, workers):
        if _is_ready(folder, number):
            continue
        _write_shard(folder, recipe, number, compile)
        made += 1
        if progress:
            rate = made * recipe.shard / (time.time() - start)
            print(f"shard {number + 1} of {recipe.shards}, {rate:.1f} portraits/s", flush=True)
    return made


def read_recipe(folder: Path) -> Recipe:
    """The recipe of a folder. Raises MissingFileError or CheckpointError."""
    path = folder / INDEX
    if not path.is_file():
        raise MissingFileError(
            f"No portraits in {folder} (index.json is missing); make them with "
            f"`python -m cycle_core.portraits.dataset {folder} --count N`."
        )
    try:
        return Recipe(**read_json(path, {"recipe": {str: (int, float, bool, str, None)}})["recipe"])
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise CheckpointError(f"{path} is not an index of portraits: {error}.") from error


# ---------------------------------------------------------------------------------------- shards


def _write_shard(folder: Path, recipe: Recipe, number: int, compile: bool) -> None:
    count = min(recipe.shard, recipe.count - number * recipe.shard)
    # One seed for each shard, far from its neighbours': torch's generators dislike small seeds.
    seed = int(np.random.SeedSequence([recipe.seed, number]).generate_state(1)[0])
    # The last shard is drawn whole and cut: a longer data set begins with a shorter one.
    factors = (sample_wide if recipe.wide else sample_factors)(recipe.shard, seed)[:count]
    extras = _wide_extras(recipe.shard, seed, count) if recipe.wide else None
    made = render(
        factors, recipe.resolution, extras=extras, aligned=recipe.aligned, compile=compile
    )
    arrays = {
        "factors": factors,
        "points": made.points,
        "masks": (made.mask[:, 0] * 255).round().to(torch.uint8),
        "images": ((made.image + 1) * 127.5).round().clamp(0, 255).to(torch.uint8),
    }
    for kind in _KINDS:
        write_array(shard_path(folder, number, kind), arrays[kind].numpy())


def _wide_extras(total: int, seed: int, count: int) -> Extras:
    """Noses that stand out as far as those of photographs do; now and then a hat and the rest."""
    u = torch.rand(6, total, generator=torch.Generator().manual_seed(seed + 1))[:, :count]
    some = torch.where(u[:5] < 0.12, u[5], torch.zeros(()))
    return Extras(hat=some[0], nose=u[1], paint=some[2], moles=some[3], light=some[4])


def _claim(folder: Path, recipe: Recipe) -> None:
    path = folder / INDEX
    if path.exists():
        found = read_recipe(folder)
        if found != recipe:
            raise MismatchError(
                f"{folder} holds portraits of {found}, not of {recipe}; choose another folder."
            )
        return
    write_json(path, {"recipe": asdict(recipe), "factors": TABLE.rows()})


def _is_ready(folder: Path, number: int) -> bool:
    return shard_path(folder, number).is_file()


def _begun(folder: Path) -> bool:
    return next(folder.glob("*-images.npy"), None) is not None


# --------------------------------------------------------------------------------------- command


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m cycle_core.portraits.dataset", description=(
        "Render portraits into a folder; run it again to continue."))  # fmt: skip
    parser.add_argument("folder")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--compile", action="store_true", help="much faster, slow to start")
    parser.add_argument("--wide", action="store_true", help="beyond the domain, turns to 1 rad")
    parser.add_argument("--unaligned", action="store_true", help="fixed camera, not the FFHQ crop")
    a = parser.parse_args(arguments)
    if a.count < 1 or a.workers < 1:
        raise InputError(f"Got --count {a.count} --workers {a.workers}; expected 1 or more.")
    recipe = Recipe(a.count, a.resolution, a.seed, a.wide, not a.unaligned)
    Path(a.folder).mkdir(parents=True, exist_ok=True)
    _claim(Path(a.folder), recipe)
    # Elementwise work on small tensors: two threads in a process cost more than they bring.
    context = torch.multiprocessing.get_context("spawn")
    jobs = [
        context.Process(target=_work, args=(a.folder, recipe, k, a.workers, a.compile))
        for k in range(a.workers)
    ]
    for job in jobs:
        job.start()
        # The first one compiles; the others find its kernels in the cache instead of compiling too.
        while a.compile and job is jobs[0] and job.is_alive() and not _begun(Path(a.folder)):
            time.sleep(0.5)
    for job in jobs:
        job.join()
    return 0 if all(job.exitcode == 0 for job in jobs) else 1


def _work(folder: str, recipe: Recipe, worker: int, workers: int, compile: bool) -> None:
    torch.set_num_threads(1)
    write_portraits(folder, recipe, worker, workers, compile, progress=True)


if __name__ == "__main__":
    sys.exit(main())
