"""Pack a folder of pictures into shards, from which any training reads without decoding.

    cycle-core pack PICTURES --out SHARDS --size 256

Beside each shard (see `files/shards.py`) lies `00000-sources.json` with the names and sizes of
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
from ..files.disk import sha256, write_atomically, write_json
from ..files.shards import INDEX, read_index, shard_path, write_array
from ..images.io import read_crop
from ..images.resize import resize
from ..run.results import make_folder
from .data import Packed, check_headers, in_parallel, refuse, sources_path
from .sources import LABELS, Source, open_source

MAX_SHARD, SHARD_BYTES = 1000, 2**28  # pictures, and bytes, of a shard at most


def pack(
    pictures: str | Path,
    out: str | Path,
    size: int,
    workers: int | None = None,
    callback: Callable[[int, int], object] | None = None,
) -> Packed:
    """Pack the square pictures of a folder, in any nesting, as size x size; gives what was packed.

    pictures: files in a folder, a zip or an LMDB, as `data.open_all` takes them; with labels.
    workers: threads that decode; up to 8 if None. callback(done, total): pictures, after each.
    What can be packed is packed before broken pictures are reported.
    Raises InputError for an impossible size, a folder without pictures or with broken ones, and an
    `out` that holds anything else or cannot be written."""
    if size < 1:
        raise InputError(f"Pictures cannot be packed at {size} pixels: give 1 or more.")
    out = Path(out)
    source = open_source(pictures, size)
    shard = max(1, min(MAX_SHARD, SHARD_BYTES // (3 * size * size)))
    settings = {"resolution": size, "shard": shard}
    _check_ours(out, settings)
    check_headers(source)
    make_folder(out)
    complaints: list[str] = []
    checksums: list[str] = []
    for number, start in enumerate(range(0, len(source), shard)):
        part = range(len(source))[start : start + shard]
        sources = [list(stamp) for stamp in source.stamps[start : start + shard]]
        wanted = {"resolution": size, "sources": sources}
        found = _read_shard(out, number, wanted)
        if found is None:
            (out / INDEX).unlink(missing_ok=True)  # until all is whole again
            images = np.empty((len(part), 3, size, size), np.uint8)
            broken = []
            for row, result in enumerate(
                in_parallel(lambda i: _row(source, i, size), part, workers)
            ):
                if isinstance(result, str):
                    broken.append(result)
                else:
                    images[row] = result
                if callback is not None:
                    callback(start + row + 1, len(source))
            complaints += broken
            if not broken:
                found = _write_shard(out, number, images, wanted)
        if found is not None:
            checksums.append(found)
        if callback is not None:
            callback(start + len(part), len(source))
    refuse(complaints, len(source))
    _write_labels(out, source)
    digest = hashlib.sha256("".join(checksums).encode()).hexdigest()
    index = {"pictures": settings, "count": len(source), "sha256": digest}
    if read_index(out / INDEX) != index:
        (out / INDEX).unlink(missing_ok=True)
        _remove_from(out, len(checksums))
        write_json(out / INDEX, index)
    return Packed(out)


def _write_labels(out: Path, source: Source) -> None:
    """`dataset.json` as it is, by whose names a training knows the labels."""
    text = source.labels()
    if text is None:
        (out / LABELS).unlink(missing_ok=True)
    else:
        write_atomically(out / LABELS, lambda part: part.write_bytes(text))


def _row(source: Source, place: int, size: int) -> np.ndarray | str:
    """uint8 [3,size,size], or what is wrong with the file."""
    try:
        image = resize(read_crop(source.paths[place], source.data(place)), size)[0]
    except InputError as error:
        return str(error)
    return ((image + 1) * 127.5).round().clamp(0, 255).byte().numpy()


def _write_shard(out: Path, number: int, images: np.ndarray, wanted: dict[str, Any]) -> str:
    path = shard_path(out, number)
    write_array(path, images)
    checksum = sha256(path)
    write_json(sources_path(out, number), {**wanted, "sha256": checksum})
    return checksum


def _read_shard(out: Path, number: int, wanted: dict[str, Any]) -> str | None:
    """The checksum of a shard that is whole and of the wanted pictures, None for any other."""
    stored = read_index(sources_path(out, number))
    path = shard_path(out, number)
    checksum = stored.pop("sha256", None)
    complete = stored == wanted and path.is_file() and sha256(path) == checksum
    return checksum if complete else None


def _check_ours(out: Path, settings: dict[str, int]) -> None:
    """Raise InputError for a folder that is not one of packed pictures of this size."""
    index = read_index(out / INDEX)
    packed = index.get("pictures", settings)
    if packed != settings:
        raise InputError(
            f"{out} holds pictures packed at {packed.get('resolution')} pixels, not at "
            f"{settings['resolution']}: choose another folder."
        )
    if (out / INDEX).exists() and "pictures" not in index:
        raise InputError(
            f"{out / INDEX} is there already and is not of packed pictures: choose another folder."
        )


def _remove_from(out: Path, number: int) -> None:
    """Remove the shards from `number` on, of pictures that are no longer there."""
    while sources_path(out, number).exists():
        sources_path(out, number).unlink()
        shard_path(out, number).unlink(missing_ok=True)
        number += 1
