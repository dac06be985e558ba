"""Files on disk: written whole or not at all, a folder locked, a file's checksum."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..errors import InputError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`, which takes the place of `path` when the block ends.

    Whatever interrupts it, `path` is either the old file or the whole new one. Raises OSError."""
    # a folder, so that all that is made lies apart; the name's beginning alone: the whole one and
    # what is added may be more than a disk takes
    temporary = path.with_name(f".{path.name[:60]}.{secrets.token_hex(6)}")
    part = temporary / path.name
    try:
        temporary.mkdir()
        # made here, so that the rights follow the umask, which cannot be read without changing it
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield part
        os.replace(part, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Call `write` with the temporary path of `replacing`.

    Raises InputError where the folder is missing, cannot be written or the disk is full."""
    path = Path(path)
    with writing(path), replacing(path) as part:
        write(part)


@contextlib.contextmanager
def writing(path: Path, *others: type[Exception]) -> Iterator[None]:
    """Why a file could not be written, in words that say what to do: an OSError in the block, or
    one of the others, becomes an InputError."""
    try:
        yield
    except (OSError, *others) as error:
        number, why = getattr(error, "errno", None), getattr(error, "strerror", None) or error
        advice = "choose a folder that exists, that you may write to, on a disk with room"
        if number in (errno.ENOSPC, errno.EDQUOT):
            advice = "the disk is full; free some space or choose another folder"
        elif number in (errno.EACCES, errno.EPERM, errno.EROFS):
            advice = "it may not be written to, or a program has it open; choose another folder"
        elif number in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
            advice = "a file is in the way of a folder or the other way round; choose another name"
        elif number == errno.ENAMETOOLONG:
            advice = "choose a shorter name"
        raise InputError(
            f"{path} could not be written ({why}): {advice}. No file was changed."
        ) from error


def remove_unfinished(folder: Path, *names: str) -> None:
    """Remove what `write_atomically` left of files of these names, or patterns of names, where a
    process was killed while it wrote."""
    for path in folder.glob(".*"):
        name, _, token = path.name[1:].rpartition(".")
        if re.fullmatch("[0-9a-f]{12}", token) and any(fnmatchcase(name, one) for one in names):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as JSON, atomically. Raises InputError where that is impossible."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


@contextlib.contextmanager
def locked(folder: Path, wait: bool) -> Iterator[None]:
    """Have a folder for oneself until the block ends, however it ends, even where this process is
    killed: the lock is on the folder itself and leaves no file.

    wait: until whoever has it is done. Raises BlockingIOError where somebody has it and this is
    not to wait. On Windows, and on disks without locks, there is none."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError:
            pass
        yield
    finally:
        os.close(handle)


def sha256(path: str | Path) -> str:
    """Of a file, 64 hexadecimal digits."""
    return digest_of(path).hexdigest()


def digest_of(path: str | Path) -> hashlib._Hash:
    """The same, to which more may be added. The file is never whole in memory."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 18):
            digest.update(chunk)
    return digest
