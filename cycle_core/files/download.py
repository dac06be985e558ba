"""The download of a public model file: resumed, checked, and whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import http.client
import logging
import os
import shutil
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from ..errors import CheckpointError
from .catalogue import Weight
from .disk import sha256

DownloadProgress = Callable[[int, int | None], None]  # bytes so far, bytes in all or None

_CHUNK = 1 << 18
_PATIENCE = 30  # seconds to wait for the next byte
# bytes of a file whose size is not known; the largest of the catalogue has 1.2e9
_LARGEST = 8 << 30
_MEMBERS = 1000  # of an archive


def download(weight: Weight, path: Path, progress: bool | DownloadProgress) -> None:
    """Make `path` by the address of a file: the file itself, or the folder that an archive holds.

    progress: see `weights.fetch`. What an interrupted download leaves is `path` with .part, from
    which the next one goes on. Raises CheckpointError for another checksum, and OSError, ValueError
    and HTTPException as the web does, of which `reason_of` makes half a sentence."""
    part = path.with_name(f"{path.name}.part")
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
    if weight.is_archive:
        _unpack(weight, part, path)
    else:
        os.replace(part, path)


def reason_of(error: Exception) -> str:
    """Why a download failed, half a sentence."""
    if isinstance(error, HTTPError):
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, URLError):
        return f"no connection: {error.reason}"
    if isinstance(error, ValueError):  # of an address that is none
        return "the server leads to no address"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _receive(weight: Weight, part: Path, progress: bool | DownloadProgress) -> None:
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
        most = total or weight.size or _LARGEST
        with (
            open(part, "ab" if start else "wb") as file,
            _bar(weight, start, total, progress) as at,
        ):
            while chunk := response.read1(_CHUNK):
                start += len(chunk)
                if start > most:
                    raise http.client.HTTPException(f"it sends more than the {most} bytes expected")
                file.write(chunk)
                at(start, total)
    if total is not None and start != total:
        raise http.client.HTTPException(f"the connection ended after {start} of {total} bytes")


def _length(weight: Weight, response: http.client.HTTPResponse, start: int) -> int | None:
    """The whole length in bytes; None where the transfer itself tells its end."""
    if response.length is None:
        return weight.size
    total = start + response.length
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
def _bar(
    weight: Weight, start: int, total: int | None, progress: bool | DownloadProgress
) -> Iterator[DownloadProgress]:
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
