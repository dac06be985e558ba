"""The pictures that an encoder is trained on: a data set of portraits, or a folder of pictures."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..errors import InputError
from ..images import list_images, read_crop
from ..resize import resize


@dataclass(frozen=True)
class Pictures:
    """A list of pictures of one size that are read when they are asked for.

    read: int64 [B] of places in the whole set -> float32 [B,3,S,S] in [-1,1].
    places: int64 [n], the ones that belong to this part (training or held out)."""

    read: Callable[[Tensor], Tensor]
    places: Tensor

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


def open_pictures(folder: str | Path, size: int, held_out: int = 200) -> tuple[Pictures, Pictures]:
    """(training pictures, held-out pictures) of a folder, at `size` pixels.

    folder: one that `cycle_core.portraits.dataset` wrote, whose own held-out portraits are kept
    out, or one of square aligned crops, of which `held_out`, but at most a tenth, are kept out
    (evenly spread over the names). No picture is mirrored. Raises InputError for a folder without
    pictures, or with too few, and when a picture is reached that is not square."""
    folder = Path(folder)
    if (folder / "index.json").is_file():
        read, places, held = _portraits(folder, size)
    else:
        paths = list_images(folder)
        count = max(1, min(held_out, len(paths) // 10))
        every = len(paths) // count
        numbers = torch.arange(len(paths))
        out = (numbers % every == 0) & (numbers // every < count)
        read, places, held = _files(paths, size), numbers[~out], numbers[out]
    if len(places) == 0:
        raise InputError(
            f"{folder} holds {len(held)} pictures, all of them kept for validation: training "
            "needs more."
        )
    return Pictures(read, places), Pictures(read, held)


def _files(paths: list[Path], size: int) -> Callable[[Tensor], Tensor]:
    def one(path: Path) -> Tensor:
        return resize(read_crop(path), size)

    def read(places: Tensor) -> Tensor:
        with ThreadPoolExecutor(min(len(places), 8)) as pool:  # decoding releases the GIL
            return torch.cat(list(pool.map(one, [paths[i] for i in places.tolist()])))

    return read


def _portraits(folder: Path, size: int) -> tuple[Callable[[Tensor], Tensor], Tensor, Tensor]:
    from ..portraits.dataset import PortraitData

    data = PortraitData(folder)
    train, held = torch.from_numpy(data.train), torch.from_numpy(data.held_out)
    return lambda places: resize(data.batch(places)[0], size), train, held
