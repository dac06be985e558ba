"""The pictures of a training: a folder of picture files, packed shards, or rendered portraits; and
the order in which they are seen."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor

from ..errors import CheckpointError, InputError
from ..files.shards import INDEX, read_index, read_rows
from ..images.io import check_square, list_images, read_crop, read_size
from ..images.resize import resize
from ..runtime import distributed
from .renders import HELD_OUT, Renders

T = TypeVar("T")


@dataclass(frozen=True)
class Pictures:
    """A list of pictures of one size that are read when they are asked for.

    read: int64 [B] of places in the whole set -> float32 [B,3,S,S] in [-1,1].
    places: int64 [n], the ones that belong to this part (training or held out).
    digest: 16 hex digits that stand for the whole set, by which a resumed run knows it again."""

    read: Callable[[Tensor], Tensor]
    places: Tensor
    digest: str = ""

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, indices: Tensor) -> Tensor:
        """indices: int64 [B] into this part. Gives float32 [B,3,S,S] in [-1,1]."""
        return self.read(self.places[indices])

    def first(self, count: int) -> Pictures:
        """The first `count` of them: what a run began with, if the folder has grown since."""
        if count > len(self):
            raise InputError(
                f"The run was started with {count} pictures, but {len(self)} are there now: bring "
                "the others back, or start a new run."
            )
        return replace(self, places=self.places[:count])


def open_pictures(
    folder: str | Path, size: int, held_out: int = 200, known: str | None = ""
) -> tuple[Pictures, Pictures]:
    """(training pictures, held-out pictures) of a folder, at `size` pixels.

    folder, known: as `open_all` takes them. Of rendered portraits their own held-out ones are kept
    out, of other pictures `held_out`, but at most a tenth, evenly spread over the names.
    Raises as `open_all`, and InputError where there are too few pictures."""
    pictures = open_all(folder, size, known)
    if is_rendered(folder):
        out = pictures.places < HELD_OUT
    else:
        count = max(1, min(held_out, len(pictures) // 10))
        every = len(pictures) // count
        out = (pictures.places % every == 0) & (pictures.places // every < count)
    train, held = (replace(pictures, places=pictures.places[part]) for part in (~out, out))
    if len(train) == 0:
        raise InputError(
            f"{folder} holds {len(held)} pictures, all of them kept for validation: training "
            "needs more."
        )
    return train, held


def open_all(folder: str | Path, size: int, known: str | None = "") -> Pictures:
    """All pictures of a folder, at `size` pixels. None is mirrored.

    folder: square picture files of any format that is read, in any nesting; or shards that
    `cycle-core pack` made; or people that `make people` rendered.
    known: a digest; files that have it were looked through before and are not again, otherwise
    each is decoded once, divided among the processes of the run; None looks through nothing.
    Raises InputError for a folder without pictures, and for files that are damaged or not square;
    CheckpointError for damaged shards."""
    folder = Path(folder)
    index = read_index(folder / INDEX)
    if is_rendered(folder):
        data = Renders(folder, size)
        read, count, digest = lambda places: data.batch(places).images, len(data), data.digest
    elif "pictures" in index or next(folder.glob("*-sources.json"), None):
        packed = Packed(folder)
        read, count = lambda places: resize(packed.batch(places), size), len(packed)
        digest = packed.digest
    else:
        paths = list_images(folder, nested=True)
        names = [(path.relative_to(folder).as_posix(), path.stat().st_size) for path in paths]
        digest = hashlib.sha256(json.dumps(names).encode()).hexdigest()
        if known is not None and digest[:16] != known:
            with distributed.raise_everywhere():
                check_pictures(distributed.own_items(paths))
        read, count = _files(paths, size), len(paths)
    return Pictures(read, torch.arange(count), digest[:16])


def is_rendered(folder: str | Path) -> bool:
    """Whether a folder holds renders, with their factors."""
    return "recipe" in read_index(Path(folder) / INDEX)


class Packed:
    """The pictures of a folder that `cycle-core pack` made. Raises CheckpointError where it is not
    whole; `digest` stands for the pictures, 64 hex digits."""

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            index = read_index(folder / INDEX)
            settings = index["pictures"]
            self.resolution, self.shard = int(settings["resolution"]), int(settings["shard"])
            self.digest, self._count = str(index["sha256"]), int(index["count"])
            if min(self.resolution, self.shard, self._count + 1) < 1:
                raise ValueError("a number below 1")
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{folder} is not packed completely: run `cycle-core pack` again, which goes on "
                "where it was interrupted."
            ) from error

    def __len__(self) -> int:
        return self._count

    def batch(self, places: Tensor) -> Tensor:
        """places: int64 [B]. Gives float32 [B,3,R,R] in [-1,1]."""
        rows = read_rows(self.folder, "images", places.numpy(), self.shard)
        return torch.from_numpy(rows).float() / 127.5 - 1


# ------------------------------------------------------------------ order
class Order:
    """Endless shuffled indices as a pure function of (seed, step): nothing to save or restore.

    Every epoch is a new permutation of 0..count-1; a batch may span two epochs. The last
    permutations are remembered, which changes nothing but speed."""

    def __init__(self, count: int, batch: int, seed: int = 0):
        if count < 1 or batch < 1:
            raise InputError(
                f"A training needs at least one picture and a batch of at least one, but there "
                f"are {count} pictures and the batch is {batch}."
            )
        self.count, self.batch, self.seed = count, batch, seed
        self._epochs: dict[int, Tensor] = {}

    def __call__(self, step: int) -> Tensor:
        """The indices of the batch of `step` (0, 1, ...), int64 [batch]."""
        places = range(step * self.batch, (step + 1) * self.batch)
        return torch.stack([self._epoch(k // self.count)[k % self.count] for k in places])

    def _epoch(self, epoch: int) -> Tensor:
        if epoch not in self._epochs:
            if len(self._epochs) > 1:
                del self._epochs[min(self._epochs)]
            rng = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._epochs[epoch] = torch.randperm(self.count, generator=rng)
        return self._epochs[epoch]


class Prefetcher(Generic[T]):
    """`read(step)`, a pure function, in a thread of its own: while a step is computed, what the
    next one needs is read. An error comes out of the call that needs what could not be read."""

    def __init__(self, read: Callable[[int], T]):
        self._read, self._thread = read, ThreadPoolExecutor(1)
        self._coming: tuple[int, Future[T]] | None = None

    def __call__(self, step: int) -> T:
        if self._coming is None or self._coming[0] != step:
            self._coming = step, self._thread.submit(self._read, step)
        value = self._coming[1].result()
        self._coming = step + 1, self._thread.submit(self._read, step + 1)
        return value


# ------------------------------------------------------------------ picture files
def check_pictures(paths: Sequence[Path]) -> None:
    """Decode every file. Raises InputError, in one sentence for all, where there are files that are
    broken or not square; at once, where their headers tell."""
    check_headers(paths)
    _check(paths, read_crop)


def check_headers(paths: Sequence[Path]) -> None:
    """Raise InputError for files that are no square pictures by what their headers say."""
    _check(paths, lambda path: check_square(path, *read_size(path)))


def refuse(complaints: Sequence[str], count: int) -> None:
    """Raise InputError where there are complaints about some of `count` pictures."""
    if not complaints:
        return
    if len(complaints) == 1:
        raise InputError(complaints[0])
    few = "; ".join(sentence.rstrip(".") for sentence in complaints[:3])
    more = f"; and {len(complaints) - 3} more" if len(complaints) > 3 else ""
    raise InputError(f"{len(complaints)} of {count} pictures cannot be used ({few}{more}).")


def in_parallel(
    call: Callable[[Path], T], paths: Iterable[Path], workers: int | None = None
) -> Iterator[T]:
    """`call(path)` in the order of the paths, by threads: decoding releases Python's lock."""
    pool = ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1))
    try:
        yield from pool.map(call, paths)
    finally:
        pool.shutdown(cancel_futures=True)  # what has begun ends, also on Ctrl-C


def _files(paths: Sequence[Path], size: int) -> Callable[[Tensor], Tensor]:
    def read(places: Tensor) -> Tensor:
        chosen = [paths[i] for i in places.tolist()]
        return torch.cat(list(in_parallel(lambda path: resize(read_crop(path), size), chosen)))

    return read


def _check(paths: Sequence[Path], look: Callable[[Path], object]) -> None:
    def complaint(path: Path) -> str:
        try:
            look(path)
        except InputError as error:
            return str(error)
        return ""

    refuse([found for found in in_parallel(complaint, paths) if found], len(paths))
