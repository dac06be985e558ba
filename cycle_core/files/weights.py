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
import logging
import os
import shutil
import time
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from ..errors import CheckpointError, MissingFileError
from .assets import ASSETS
from .catalogue import CATALOGUE, Weight

Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all or None


_CHUNK = 1 << 18
_PATIENCE = 30  # seconds to wait for the next byte
_LONGEST = 4 * 3600  # seconds of one download
# bytes of a file whose size is not known; the largest of the catalogue has 1.2e9
_LARGEST = 8 << 30
_MEMBERS = 1000  # of an archive
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
    except ValueError as error:  # of an address that is none
        raise MissingFileError(_failed(weight, "the server leads to no address")) from error
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
    with only_one(part.with_name(f"{part.name}.lock")):
        if (found := find(weight)) is not None:  # another program was quicker
            return found
        _receive(weight, part, progress)
        part.with_name(f"{part.name}.tag").unlink(missing_ok=True)
        digest = sha256(part)
        if weight.sha256 and not digest.startswith(weight.sha256):
            part.unlink()
            raise CheckpointError(
                f"{weight.file} from {weight.url} has the checksum {digest[:12]}... and "
                f"{weight.sha256[:12]}... was expected, so it was thrown away: try again later, or "
                f"get it by way of {weight.page}."
            )
        if not weight.sha256:
            logging.getLogger(__name__).warning(
                "%s has no published checksum to compare; its SHA-256 is %s", weight.file, digest
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
    headers = {"User-Agent": "cycle-core", "Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": tag.read_text()}
    try:
        response = _opener.open(Request(weight.url, headers=headers), timeout=_PATIENCE)
    except HTTPError as error:
        if error.code != 416:  # all bytes were there already, or more than there are
            raise
        part.unlink()
        return _receive(weight, part, progress)
    with response:
        if "text/html" in response.headers.get("Content-Type", ""):
            raise http.client.HTTPException("the address answers with a web page, not with a file")
        start = start if response.status == 206 else 0
        total = _length(weight, response, start)
        version = response.headers.get("ETag") or response.headers.get("Last-Modified")
        tag.unlink(missing_ok=True)
        if version and not version.startswith("W/") and len(version) < 200 and version.isascii():
            tag.write_text(version)
        ends, most = time.monotonic() + _LONGEST, total or weight.size or _LARGEST
        with (
            open(part, "ab" if start else "wb") as file,
            _bar(weight, start, total, progress) as at,
        ):
            while chunk := response.read1(_CHUNK):
                start += len(chunk)
                if start > most:
                    raise http.client.HTTPException(f"it sends more than the {most} bytes expected")
                if time.monotonic() > ends:
                    raise TimeoutError(f"it took more than {_LONGEST / 3600:g} hours")
                file.write(chunk)
                at(start, total)
    if total is not None and start != total:
        raise http.client.HTTPException(f"the connection ended after {start} of {total} bytes")


def _length(weight: Weight, response: Any, start: int) -> int | None:
    """The whole length in bytes; None where the transfer itself tells its end."""
    stated = response.headers.get("Content-Length")
    if stated is None:
        if response.headers.get("Transfer-Encoding", "").lower() != "chunked" and not weight.sha256:
            raise http.client.HTTPException("the server does not say how long the file is")
        return weight.size
    if not (stated.isascii() and stated.isdecimal()) or len(stated) > 15:
        raise http.client.HTTPException("the server states no length that makes sense")
    total = start + int(stated)
    if total > (weight.size or _LARGEST) or (weight.size and total != weight.size):
        raise http.client.HTTPException(
            f"it has {total} bytes, and {weight.size or f'at most {_LARGEST}'} were expected"
        )
    return total


class _Redirects(HTTPRedirectHandler):
    """From https to https only, and to nothing but the web."""

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str):
        kinds = ("https",) if req.full_url.startswith("https:") else ("http", "https")
        if urlsplit(newurl).scheme not in kinds:
            raise http.client.HTTPException(
                f"it leads to {newurl[:80]!r}, which is not {' or '.join(kinds)}"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_opener = build_opener(_Redirects)


@contextlib.contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """One program and thread at a time; the lock goes with whoever holds it, however it ends."""
    while True:
        with open(lock, "ab") as file:
            _lock(file)
            if not _is(file, lock):  # the one before threw it away: a new one has to be locked
                continue
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    lock.unlink()
            return


def _is(file: Any, path: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _lock(file: Any) -> None:
    """Wait until this open file is the only one that has the lock."""
    if os.name != "nt":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)
        return
    import msvcrt

    locking: Any = getattr(msvcrt, "locking")  # noqa: B009 - there on Windows alone
    while True:
        with contextlib.suppress(OSError):
            locking(file.fileno(), 2, 1)  # LK_NBLCK
            return
        time.sleep(0.2)


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
            _check_members(files, archive.stat().st_size)
            files.extractall(fresh)
        inner = fresh / folder.name  # some archives hold the folder, some its files
        os.replace(inner if inner.is_dir() else fresh, folder)
    except (zipfile.BadZipFile, ValueError, RuntimeError, EOFError, zlib.error) as error:
        raise CheckpointError(
            f"{weight.file} from {weight.url} is no zip archive that can be unpacked, so it was "
            f"thrown away: try again later, or get it by way of {weight.page}."
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        archive.unlink(missing_ok=True)


def _check_members(files: zipfile.ZipFile, size: int) -> None:
    """Raise ValueError for an archive that is no collection of model files."""
    members = files.infolist()
    kinds = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if len(members) > _MEMBERS or sum(member.file_size for member in members) > 4 * size + _CHUNK:
        raise ValueError("it unpacks to far more than it is")
    for member in members:
        name = Path(member.filename)
        odd = name.is_absolute() or ".." in name.parts or not member.filename.isprintable()
        if odd or member.flag_bits & 1 or member.compress_type not in kinds:
            raise ValueError("it is packed as no model file is")


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
