"""Where model files are: the folders that are searched, and the download of the known public ones.

Nothing is downloaded unless `fetch` is called, and then only what the catalogue lists. Searched, in
this order: the embedded models, the folders in CYCLE_CORE_MODELS (separated as in PATH), folders
that a program registered with `add_folder`, the user cache, the caches of torch and insightface.
CYCLE_CORE_OFFLINE=1 forbids downloads."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import os
import shutil
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from ..errors import CheckpointError, MissingFileError
from .assets import ASSETS
from .catalogue import CATALOGUE, Weight

__all__ = [
    "CATALOGUE",
    "Weight",
    "add_folder",
    "cache_folder",
    "fetch",
    "find",
    "folders",
    "offline",
    "sha256",
]

Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all or None


_CHUNK = 1 << 18
_PATIENCE = 30  # seconds to wait for the next byte
_registered: list[tuple[str, Path]] = []  # (kind or "", folder), of `add_folder`


def find(name: str | Path | Weight) -> Path | None:
    """The file of a catalogue name, a file name or a path where it lies on this machine, or None.

    For an archive such as "buffalo_l" it is the folder that holds its .onnx files. In every folder
    that is searched a file may also lie one folder deeper."""
    weight = name if isinstance(name, Weight) else CATALOGUE.get(str(name))
    if weight is None and Path(str(name)).is_file():
        return Path(str(name))
    for file in (weight.file, *weight.aliases) if weight else (str(name),):
        if not file or Path(file).is_absolute() or ".." in Path(file).parts:
            continue
        for folder in folders(weight.kind if weight else ""):
            for place in (folder / file, *_deeper(folder, file)):
                if weight and _is_archive(weight):
                    if place.is_dir() and any(place.glob("*.onnx")):
                        return place
                elif place.is_file():
                    return place
    return None


def fetch(name: str | Path | Weight, progress: bool | Progress = True) -> Path:
    """`find`, or download the catalogue's file into the user cache and give its path.

    progress: True for a progress bar, or a function of (bytes so far, bytes in all or None), which
    may raise to interrupt: what has arrived is kept, and the next call goes on from there.
    Raises MissingFileError (the file, its address and where to put it are named) for a file that is
    not in the catalogue, offline, or cannot be downloaded; CheckpointError for a wrong checksum."""
    found = find(name)
    if found is not None:
        return found
    weight = name if isinstance(name, Weight) else CATALOGUE.get(str(name))
    if weight is None:
        raise MissingFileError(
            f"There is no file {name}, and it is not one of the known files "
            f"({', '.join(CATALOGUE)}): check the name, or put it into {_homes()}."
        )
    if not weight.url:
        raise MissingFileError(
            f"{weight.file} has no address that can be downloaded by a program: get it by way of "
            f"{weight.page} and put it into {_homes()}."
        )
    if offline():
        raise MissingFileError(
            f"{weight.file} is not on this machine and CYCLE_CORE_OFFLINE forbids downloads: get "
            f"it from {weight.url} and put it into {_homes()}."
        )
    try:
        return _download(weight, progress)
    except (HTTPError, URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise MissingFileError(_failed(weight, _reason(error))) from error
    except OSError as error:
        raise MissingFileError(
            _failed(
                weight,
                "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error),
            )
        ) from error


def add_folder(kind: str, path: str | Path) -> None:
    """Also search `path`: for files of one kind ("generator", "detector", ...), or "" for all.

    The hook by which a host program, such as ComfyUI, makes its model folders known."""
    entry = (kind, Path(path).expanduser())
    if entry not in _registered:
        _registered.append(entry)


def folders(kind: str = "") -> list[Path]:
    """The folders that are searched for files of a kind, in order; not all of them need exist."""
    named = os.environ.get("CYCLE_CORE_MODELS", "").split(os.pathsep)
    home = Path.home()
    torch_home = Path(os.environ.get("TORCH_HOME", _user_cache() / "torch")).expanduser()
    return [
        ASSETS,
        *(Path(folder).expanduser() for folder in named if folder),
        *(path for of, path in _registered if of in ("", kind) or not kind),
        cache_folder(),
        cache_folder() / "models",
        torch_home / "hub" / "checkpoints",
        home / ".insightface" / "models",
    ]


def cache_folder() -> Path:
    """Where downloads go: ~/.cache/cycle-core, or cycle-core in XDG_CACHE_HOME."""
    return _user_cache() / "cycle-core"


def offline() -> bool:
    """Whether CYCLE_CORE_OFFLINE forbids downloads."""
    return os.environ.get("CYCLE_CORE_OFFLINE", "").lower() not in ("", "0", "false", "no")


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser()


def _deeper(folder: Path, file: str) -> list[Path]:
    with contextlib.suppress(OSError):
        return sorted(folder.glob(f"*/{file}"))
    return []


def _homes() -> str:
    """The folders a user would put a file into."""
    named = [
        folder for folder in os.environ.get("CYCLE_CORE_MODELS", "").split(os.pathsep) if folder
    ]
    return f"{named[0]} or {cache_folder()}" if named else f"{cache_folder()}"


def _is_archive(weight: Weight) -> bool:
    return weight.url.endswith(".zip")


def _download(weight: Weight, progress: bool | Progress) -> Path:
    # insightface insists on a folder named models
    target = cache_folder() / "models" / weight.file if _is_archive(weight) else None
    path = target or cache_folder() / weight.file
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    _receive(weight, part, progress)
    part.with_name(f"{part.name}.tag").unlink(missing_ok=True)
    digest = sha256(part)
    if weight.sha256 and not digest.startswith(weight.sha256):
        part.unlink()
        raise CheckpointError(
            f"{weight.file} from {weight.url} has the checksum {digest[:12]}... and "
            f"{weight.sha256[:12]}... was expected, so it was thrown away: try again later, or get "
            f"it by way of {weight.page}."
        )
    if _is_archive(weight):
        _unpack(weight, part, path)
    else:
        os.replace(part, path)
    return path


def _receive(weight: Weight, part: Path, progress: bool | Progress) -> None:
    """Download into `part`, going on from what an interrupted download left of the same version."""
    tag = part.with_name(f"{part.name}.tag")
    start = part.stat().st_size if part.exists() and tag.exists() else 0
    headers = {"User-Agent": "cycle-core"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": tag.read_text()}
    try:
        response = urlopen(Request(weight.url, headers=headers), timeout=_PATIENCE)
    except HTTPError as error:
        if error.code != 416:  # all bytes were there already, or more than there are
            raise
        part.unlink()
        return _receive(weight, part, progress)
    with response:
        if "text/html" in response.headers.get("Content-Type", ""):
            raise http.client.HTTPException("the address answers with a web page, not with a file")
        start = start if response.status == 206 else 0
        length = response.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        version = response.headers.get("ETag") or response.headers.get("Last-Modified")
        tag.unlink(missing_ok=True)
        if version and not version.startswith("W/"):
            tag.write_text(version)
        with (
            open(part, "ab" if start else "wb") as file,
            _bar(weight, start, total, progress) as at,
        ):
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                start += len(chunk)
                at(start, total)
    if total is not None and start != total:
        raise http.client.HTTPException(f"the connection ended after {start} of {total} bytes")


@contextlib.contextmanager
def _bar(
    weight: Weight, start: int, total: int | None, progress: bool | Progress
) -> Iterator[Progress]:
    if callable(progress):
        yield progress
    elif progress:
        from tqdm import tqdm

        bar: Any = tqdm(
            total=total, initial=start, unit="B", unit_scale=True, desc=weight.file, leave=False
        )
        with bar:
            yield lambda done, total: bar.update(done - bar.n)
    else:
        yield lambda done, total: None


def _unpack(weight: Weight, archive: Path, folder: Path) -> None:
    """The archive's files as `folder`, which appears whole or not at all."""
    fresh = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    try:
        with zipfile.ZipFile(archive) as files:
            files.extractall(fresh)
        inner = fresh / folder.name  # some archives hold the folder, some its files
        os.replace(inner if inner.is_dir() else fresh, folder)
    except zipfile.BadZipFile as error:
        raise CheckpointError(
            f"{weight.file} from {weight.url} is no zip archive, so it was thrown away: try again "
            f"later, or get it by way of {weight.page}."
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        archive.unlink(missing_ok=True)


def sha256(path: str | Path) -> str:
    """Of a file, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _failed(weight: Weight, reason: str) -> str:
    return (
        f"{weight.file} could not be downloaded from {weight.url} ({reason}): try again, or get it "
        f"by hand and put it into {_homes()}."
    )


def _reason(error: Exception) -> str:
    if isinstance(error, HTTPError):
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, URLError):
        return f"no connection: {error.reason}"
    return str(error) or type(error).__name__
