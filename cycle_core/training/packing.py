"""Pack a folder of pictures into shards, from which any training reads without decoding.

    cycle-core pack PICTURES --out SHARDS --size 256

Beside each shard (see `cycle_core.shards`) lies `00000-sources.json` with the names and sizes of
its files and its SHA-256; it is written after the shard and declares it whole. `index.json` is
written last, and without it nothing opens: {"pictures": {resolution, shard}, "count": pictures,
"sha256": of the checksums of all shards}. The same command again packs what is missing, what has
changed since, and shards that no longer have their checksum.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files.atomic import write_json
from ..files.shards import INDEX, read_index, shard_path, write_array
from ..files.weights import sha256
from ..images.io import list_images, read_crop
from ..images.resize import resize
from ..run.results import make_folder
from .data import Packed, check_headers, in_parallel, refuse

MAX_SHARD, SHARD_BYTES = 1000, 2**28  # pictures, and bytes, of a shard at most


def pack(
    pictures: str | Path,
    out: str | Path,
    size: int,
    workers: int | None = None,
    callback: Callable[[int, int], object] | None = None,
) -> Packed:
    """Pack the square pictures of a folder, in any nesting, as size x size; gives what was packed.

    workers: threads that decode; up to 8 if None. callback(done, total): pictures, after each.
    What can be packed is packed before broken pictures are reported.
    Raises InputError for an impossible size, a folder without pictures or with broken ones, and an
    `out` that holds anything else or cannot be written."""
    if size < 1:
        raise InputError(f"Pictures cannot be packed at {size} pixels: give 1 or more.")
    pictures, out = Path(pictures), Path(out)
    paths = list_images(pictures, nested=True)
    shard = max(1, min(MAX_SHARD, SHARD_BYTES // (3 * size * size)))
    settings = {"resolution": size, "shard": shard}
    _check_ours(out, settings)
    check_headers(paths)
    make_folder(out)
    complaints: list[str] = []
    checksums: list[str] = []
    for number, start in enumerate(range(0, len(paths), shard)):
        part = paths[start : start + shard]
        sources = [[p.relative_to(pictures).as_posix(), p.stat().st_size] for p in part]
        wanted = {"resolution": size, "sources": sources}
        found = _read_shard(out, number, wanted)
        if found is None:
            (out / INDEX).unlink(missing_ok=True)  # until all is whole again
            images = np.empty((len(part), 3, size, size), np.uint8)
            broken = []
            for row, result in enumerate(in_parallel(lambda p: _row(p, size), part, workers)):
                if isinstance(result, str):
                    broken.append(result)
                else:
                    images[row] = result
                if callback is not None:
                    callback(start + row + 1, len(paths))
            complaints += broken
            if not broken:
                found = _write_shard(out, number, images, wanted)
        if found is not None:
            checksums.append(found)
        if callback is not None:
            callback(start + len(part), len(paths))
    refuse(complaints, len(paths))
    digest = hashlib.sha256("".join(checksums).encode()).hexdigest()
    index = {"pictures": settings, "count": len(paths), "sha256": digest}
    if read_index(out / INDEX) != index:
        (out / INDEX).unlink(missing_ok=True)
        _remove_from(out, len(checksums))
        write_json(out / INDEX, index)
    return Packed(out)


def _row(path: Path, size: int) -> np.ndarray | str:
    """uint8 [3,size,size], or what is wrong with the file."""
    try:
        image = resize(read_crop(path), size)[0]
    except InputError as error:
        return str(error)
    return ((image + 1) * 127.5).round().clamp(0, 255).byte().numpy()


def _write_shard(out: Path, number: int, images: np.ndarray, wanted: dict[str, Any]) -> str:
    path = shard_path(out, number)
    write_array(path, images)
    checksum = sha256(path)
    write_json(_sources_path(out, number), {**wanted, "sha256": checksum})
    return checksum


def _read_shard(out: Path, number: int, wanted: dict[str, Any]) -> str | None:
    """The checksum of a shard that is whole and of the wanted pictures, None for any other."""
    stored = read_index(_sources_path(out, number))
    path = shard_path(out, number)
    checksum = stored.pop("sha256", None)
    complete = stored == wanted and path.is_file() and sha256(path) == checksum
    return checksum if complete else None


def _sources_path(out: Path, number: int) -> Path:
    return out / f"{number:05d}-sources.json"


def _check_ours(out: Path, settings: dict[str, int]) -> None:
    """Raise InputError for a folder that is not one of packed pictures of this size."""
    index = read_index(out / INDEX)
    packed = index.get("pictures", settings)
    if packed != settings:
        raise InputError(
            f"{out} holds pictures packed at {packed.get('resolution')} pixels, not at "
            f"{settings['resolution']}: choose another --out."
        )
    if (out / INDEX).exists() and "pictures" not in index:
        raise InputError(
            f"{out / INDEX} is there already and is not of packed pictures: choose another --out."
        )


def _remove_from(out: Path, number: int) -> None:
    """Remove the shards from `number` on, of pictures that are no longer there."""
    while _sources_path(out, number).exists():
        _sources_path(out, number).unlink()
        shard_path(out, number).unlink(missing_ok=True)
        number += 1
