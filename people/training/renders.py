"""Rendered people on disk, whose factors are known: what `make people` writes.

A folder holds ``index.json`` (the recipe and the table of factors) and shards
``00000-images.npy`` uint8 [n,3,R,R], ``-factors.npy`` float32 [n,N], ``-points.npy`` float32
[n,5,2] in pixels, ``-masks.npy`` uint8 [n,R,R] (255 face, 128 hair, neck and clothes, 0 behind).
A shard exists once its images do, so a folder is read while it is still rendered.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cycle_core.errors import CheckpointError, InputError, MissingFileError
from cycle_core.files.json import read_json
from cycle_core.files.shards import INDEX, open_array, read_rows, ready
from cycle_core.images.resize import resize
from cycle_core.training.data import HELD_OUT

from .world import World


class Batch(NamedTuple):
    """images: float32 [B,3,R,R] in [-1,1]; factors: [B,N]; points: [B,5,2] in pixels; masks:
    [B,1,R,R] in 0..1, 1 on the face."""

    images: Tensor
    factors: Tensor
    points: Tensor
    masks: Tensor


class Renders:
    """The pictures of a folder that are ready, in order; ``refresh`` sees what came since.

    resolution: of the batches, a divisor of that of the files, which are averaged; None: as it is.
    Raises MissingFileError without an index, CheckpointError for a damaged one and InputError for
    a resolution that does not divide."""

    def __init__(self, folder: str | os.PathLike, resolution: int | None = None) -> None:
        self.folder = Path(folder)
        path = self.folder / INDEX
        if not path.is_file():
            raise MissingFileError(
                f"No renders in {folder} ({INDEX} is missing); make them with "
                f"`make people PEOPLE={folder}`."
            )
        try:
            index = read_json(path, INDEXED)
            self.recipe = recipe = index["recipe"]
            self.table = World.of(index["factors"])
            self.count, self.shard = int(recipe["count"]), int(recipe["shard"])
            size = int(recipe["resolution"])
        except (KeyError, TypeError, ValueError, InputError) as error:
            raise CheckpointError(f"{path} is not an index of renders: {error}.") from error
        self.resolution = resolution or size
        self._factor = size // self.resolution
        if self._factor * self.resolution != size:
            raise InputError(
                f"{folder} holds pictures of {size} pixels, which do not divide into "
                f"{self.resolution}: give a divisor."
            )
        self.digest = hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()
        self.refresh()

    def refresh(self) -> int:
        """Look for new shards; returns the number of pictures that are ready."""
        self._ready = ready(self.folder)
        return len(self)

    def __len__(self) -> int:
        return min(self._ready * self.shard, self.count)

    @property
    def held_out(self) -> np.ndarray:
        """Indices for tests and gates: the first 1,000 that are ready."""
        return np.arange(min(HELD_OUT, len(self)))

    @property
    def train(self) -> np.ndarray:
        """Indices for training: all others that are ready."""
        return np.arange(min(HELD_OUT, len(self)), len(self))

    def factors(self) -> Tensor:
        """All factors that are ready: float32 [len, N]."""
        parts = [open_array(self.folder, i, "factors") for i in range(self._ready)]
        return torch.from_numpy(np.concatenate(parts or [np.zeros((0, len(self.table)), "f4")]))

    def batch(self, indices: np.ndarray | Tensor | list[int]) -> Batch:
        """indices: int [B]. Raises InputError for an index that is not ready."""
        at = np.asarray(indices, dtype=np.int64)
        if at.size and (at.min() < 0 or at.max() >= len(self)):
            raise InputError(
                f"Got indices {int(at.min())} to {int(at.max())} for {len(self)} pictures in "
                f"{self.folder}; expected 0 to {len(self) - 1}."
            )
        images, factors, points, masks = (
            torch.from_numpy(read_rows(self.folder, kind, at, self.shard))
            for kind in ("images", "factors", "points", "masks")
        )
        images = resize(images.float() / 127.5 - 1, self.resolution)
        face = resize((masks[:, None] == 255).float(), self.resolution)
        return Batch(images, factors, points / self._factor, face)


# of what `people.dataset` writes
INDEXED = {"recipe": {"count": int, "shard": int, "resolution": int}, "factors": [{}]}
