"""Small folders of people as `make people` writes them, and the table of their factors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from people.training.renders import Renders

FOLDER = Path(__file__).parent / "fixtures" / "people"
TABLE = Renders(FOLDER).table


def replace(factors: Tensor, **values: float) -> Tensor:
    """Factors [B, N] with some of them set."""
    factors = factors.clone()
    for name, value in values.items():
        factors[:, TABLE.index(name)] = value
    return factors


def write(folder: Path, count: int, shard: int, arrays: Mapping[str, Tensor]) -> Renders:
    """A folder of `count` pictures whose shards of `shard` hold parts of `arrays`, [count, ...]
    each; points and masks of a face everywhere where none are given."""
    images = arrays["images"]
    resolution = images.shape[-1]
    recipe = {"count": count, "resolution": resolution, "shard": shard}
    index = {"recipe": recipe, "factors": TABLE.rows()}
    (folder / "index.json").write_text(json.dumps(index))
    arrays = {
        "factors": TABLE.sample(count, seed=5),
        "points": torch.full((count, 5, 2), resolution / 2),
        "masks": torch.full((count, resolution, resolution), 255, dtype=torch.uint8),
        **arrays,
    }
    for kind, array in arrays.items():
        for i, part in enumerate(array.split(shard)):
            np.save(folder / f"{i:05d}-{kind}.npy", part.numpy())
    return Renders(folder)
