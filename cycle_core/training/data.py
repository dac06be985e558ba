"""The pictures of a training: picture files in a folder, a zip or an LMDB, packed shards, or
rendered people; their labels; and the order in which they are seen."""

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
from ..files.json import read_json
from ..files.shards import INDEX, read_index, read_rows, ready
from ..images.io import check_square, read_crop, read_size
from ..images.resize import resize
from ..runtime import distributed
from .labels import Labels, read_labels
from .sources import Folder, Source, open_source, read_labels_file

T = TypeVar("T")
HELD_OUT = 500  # the first pictures of a folder of rendered people never train


@dataclass(frozen=True)
class Pictures:
    """A list of pictures of one size that are read when they are asked for.

    read: int64 [B] of places in the whole set -> float32 [B,3,S,S] in [-1,1].
    places: int64 [n], the ones that belong to this part (training or held out).
    digest: 16 hex digits that stand for the whole set, by which a resumed run knows it again.
    labels: of the whole set, None where they are not asked for."""

    read: Callable[[Tensor], Tensor]
    places: Tensor
    digest: str = ""
    labels: Labels | None = None

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

    folder, known: as `open_all` takes them. Of rendered people their own held-out ones are kept
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


def open_all(folder: str | Path, size: int, known: str | None = "", cond: bool = False) -> Pictures:
    """All pictures of a folder, at `size` pixels. None is mirrored.

    folder: square picture files of any format that is read, in any nesting; or a zip of them; or
    the LMDB of rosinality's prepare_data.py that holds this size; or shards that `cycle-core pack`
    made; or people that `make people` rendered.
    cond: with the labels of NVIDIA's `dataset.json`, which lies among the files or the shards.
    known: a digest; files that have it were looked through before and are not again, otherwise
    each is decoded once, divided among the processes of the run; None looks through nothing.
    Raises InputError for a folder without pictures, for files that are damaged or not square, and
    for labels that are missing or out of range; CheckpointError for damaged shards."""
    folder = Path(folder)
    index = read_index(folder / INDEX)
    source = labels = None
    if index.keys() & {"pictures", "recipe"} or next(folder.glob("*-sources.json"), None):
        packed = Packed(folder)
        read, count = lambda places: resize(packed.batch(places), size), len(packed)
        digest = packed.digest
        labels = read_labels(read_labels_file(folder), packed.names(), folder) if cond else None
    else:
        source = open_source(folder, size)
        read, count, digest = _reader(source, size), len(source), source.digest
        if cond:
            labels = read_labels(source.labels(), [str(one[0]) for one in source.stamps], folder)
    if labels is not None:
        digest = hashlib.sha256(digest.encode() + labels.values.numpy().tobytes()).hexdigest()
    if source is not None and known is not None and digest[:16] != known:
        with distributed.raise_everywhere():
            check_pictures(source)
    return Pictures(read, torch.arange(count), digest[:16], labels)


def is_rendered(folder: str | Path) -> bool:
    """Whether a folder holds renders, with their factors."""
    return "recipe" in read_index(Path(folder) / INDEX)


class Packed:
    """The pictures of a folder that `cycle-core pack` made, or those that `make people` rendered
    so far. Raises CheckpointError where it is not whole; `digest` stands for the pictures, 64 hex
    digits."""

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            index = read_index(folder / INDEX)
            self.rendered = "recipe" in index
            settings = index["recipe" if self.rendered else "pictures"]
            self.resolution, self.shard = int(settings["resolution"]), int(settings["shard"])
            if self.rendered:
                self.digest = hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()
                self._count = min(ready(folder) * self.shard, int(settings["count"]))
            else:
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

    def names(self) -> list[str]:
        """Of the files that were packed; renders have none. Raises CheckpointError where they are
        not written."""
        names: list[str] = []
        if self.rendered:
            return names
        for number in range(-(-len(self) // self.shard)):
            path = sources_path(self.folder, number)
            try:
                names += [
                    str(name) for name, *_ in read_json(path, {"sources": [[object]]})["sources"]
                ]
            except (OSError, InputError, ValueError) as error:
                raise CheckpointError(f"{path} is missing or damaged: pack again.") from error
        if len(names) != len(self):
            raise CheckpointError(f"{self.folder} is not packed completely: pack again.")
        return names

    def batch(self, places: Tensor) -> Tensor:
        """places: int64 [B]. Gives float32 [B,3,R,R] in [-1,1]."""
        rows = read_rows(self.folder, "images", places.numpy(), self.shard)
        return torch.from_numpy(rows).float() / 127.5 - 1


def sources_path(folder: Path, number: int) -> Path:
    """Where the names of the files of a shard are written."""
    return folder / f"{number:05d}-sources.json"


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
def check_pictures(source: Source) -> None:
    """Decode every file, divided among the processes. Raises InputError, in one sentence for all,
    where there are files that are broken or not square; at once, where their headers tell."""
    own = distributed.own_items(range(len(source)))
    check_headers(source, own)
    _check(source, lambda place: read_crop(source.paths[place], source.data(place)), own)


def check_headers(source: Source, places: Sequence[int] | None = None) -> None:
    """Raise InputError for files that are no square pictures by what their headers say. Those in an
    archive, which would be read whole for that, are left to who decodes them."""
    if not isinstance(source, Folder):
        return

    def look(place: int) -> None:
        check_square(source.paths[place], *read_size(source.paths[place]))

    _check(source, look, range(len(source)) if places is None else places)


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
    call: Callable[[int], T], places: Iterable[int], workers: int | None = None
) -> Iterator[T]:
    """`call(place)` in the order of the places, by threads: decoding releases Python's lock."""
    pool = ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1))
    try:
        yield from pool.map(call, places)
    finally:
        pool.shutdown(cancel_futures=True)  # what has begun ends, also on Ctrl-C


def _reader(source: Source, size: int) -> Callable[[Tensor], Tensor]:
    def crop(place: int) -> Tensor:
        return resize(read_crop(source.paths[place], source.data(place)), size)

    return lambda places: torch.cat(list(in_parallel(crop, places.tolist())))


def _check(source: Source, look: Callable[[int], object], places: Sequence[int]) -> None:
    def complaint(place: int) -> str:
        try:
            look(place)
        except InputError as error:
            return str(error)
        return ""

    refuse([found for found in in_parallel(complaint, places) if found], len(places))
