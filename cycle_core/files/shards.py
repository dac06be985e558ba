"""Many pictures on disk as a few large arrays, of which any row is read at once.

A folder holds `index.json` and for each shard `00000-images.npy`, uint8 [n,3,R,R], all of one n but
the last; other arrays may lie beside it, such as the factors of rendered people. Every file
appears under its name only when it is whole, and nothing is changed in place: any number of
processes may read while others write.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from ..errors import CheckpointError, InputError
from .disk import write_atomically
from .json import read_json

INDEX = "index.json"


def shard_path(folder: Path, number: int, kind: str = "images") -> Path:
    """Where an array of a shard lies."""
    return folder / f"{number:05d}-{kind}.npy"


def ready(folder: Path) -> int:
    """How many shards there are: a shard exists once its images do, and those behind a gap are not
    ready, so that a folder is read while it is still filled."""
    number = 0
    while shard_path(folder, number).is_file():
        number += 1
    return number


def write_array(path: Path, array: np.ndarray) -> None:
    """Write one array atomically. Raises InputError where that is impossible."""

    def write(part: Path) -> None:
        # given a name, np.save would put an ending to it, and given a file that is only written, it
        # would hide why that fails
        with open(part, "wb+") as file:
            np.save(file, array)

    write_atomically(path, write)


def read_index(path: Path) -> dict[str, Any]:
    """An index, empty where the file is missing or is none: then the folder is not one of shards,
    but it may hold plain pictures."""
    try:
        return read_json(path, INDEXED)
    except (OSError, InputError):
        return {}


# of what `pack` and the renderer write; a folder of pictures has no such file
INDEXED = {
    "pictures?": {"resolution": int, "shard": int},
    "count?": int,
    "sha256?": (str, None),
    "recipe?": {},
    "names?": [str],
}


def read_rows(folder: Path, kind: str, places: np.ndarray, shard: int) -> np.ndarray:
    """Rows of an array that is spread over shards of `shard` rows each.

    places: int64 [B], in any order. Gives [B, ...]. Raises CheckpointError for a damaged shard."""
    first = open_array(folder, 0, kind)
    rows = np.empty((len(places), *first.shape[1:]), first.dtype)
    numbers = places // shard
    for number in np.unique(numbers):
        here = numbers == number
        try:
            rows[here] = open_array(folder, int(number), kind)[places[here] % shard]
        except (IndexError, ValueError) as error:  # another length or shape
            raise _damaged(shard_path(folder, int(number), kind), error) from error
    return rows


@lru_cache(maxsize=512)  # an open file each, of which a process may have 1,024
def open_array(folder: Path, number: int, kind: str = "images") -> np.ndarray:
    """One array of a shard, mapped into memory. Raises CheckpointError where it is damaged."""
    path = shard_path(folder, number, kind)
    try:
        return map_array(path)
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def map_array(path: Path) -> np.ndarray:
    """The array of an .npy file, mapped into memory. Raises OSError, and ValueError for another
    file."""
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (EOFError, TypeError, OverflowError, SyntaxError, TokenError) as error:  # of its header
        raise ValueError("it is no array") from error


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} is missing or damaged ({type(error).__name__}): make it anew by the command that "
        "made the folder."
    )
