"""Where the picture files of a training lie, each read in place: in a folder, in a zip as NVIDIA's
`dataset_tool.py` writes it, or in an LMDB as rosinality's `prepare_data.py` does.

Nothing is unpacked to the disk. Zips and LMDBs may come from anybody: what they claim is bounded
before it costs anything, and every picture goes through the reader of picture files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import threading
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ..checkpoints.containers import RegionFile
from ..checkpoints.lazy_tensors import Damaged, FileBytes, Region
from ..errors import InputError
from ..images.decode import readable
from ..images.io import list_images, natural_order

LABELS = "dataset.json"
MAX_DIRECTORY = 128 << 20  # bytes of a zip's list of contents: two million pictures
MAX_PICTURE = 128 << 20  # bytes of a picture file inside of another file
MAX_LABELS = 64 << 20  # bytes of dataset.json
MAX_RATIO, SMALL = 200, 1 << 20  # times that a member larger than SMALL may shrink when packed
_LMDB = "data.mdb"
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others take gigabytes to unpack


class Source(ABC):
    """Picture files. path: of the whole. paths: of each, inside of an archive as if it were a
    folder. stamps: name, size and what else tells each from another version of it."""

    path: Path
    paths: Sequence[Path]
    stamps: Sequence[tuple[str, ...] | tuple[str | int, ...]]

    def __len__(self) -> int:
        return len(self.paths)

    @abstractmethod
    def data(self, place: int) -> bytes | None:
        """What is in the file number `place`, None where it is a file of its own."""

    @abstractmethod
    def labels(self) -> bytes | None:
        """What is in `dataset.json`, None where there is none."""

    @cached_property
    def digest(self) -> str:
        """64 hex digits that stand for the pictures."""
        return hashlib.sha256(json.dumps(self.stamps).encode()).hexdigest()


def open_source(path: str | Path, size: int) -> Source:
    """The pictures at a path. size: pixels of a side, of which an LMDB may hold several.

    Raises InputError where there are none, or in what cannot be read."""
    path = Path(path)
    if path.is_file():
        return Zip(path)
    return Lmdb(path, size) if (path / _LMDB).is_file() else Folder(path)


class Folder(Source):
    """Picture files in any nesting, by name; with them NVIDIA's `dataset.json`, perhaps."""

    def __init__(self, path: Path):
        self.path, self.paths = path, list_images(path, nested=True)
        self.stamps = [(p.relative_to(path).as_posix(), p.stat().st_size) for p in self.paths]

    def data(self, place: int) -> None:
        return None

    def labels(self) -> bytes | None:
        return read_labels_file(self.path)


def read_labels_file(folder: Path) -> bytes | None:
    """What is in the `dataset.json` of a folder, None where there is none."""
    path = folder / LABELS
    if not path.is_file():
        return None
    if path.stat().st_size > MAX_LABELS:
        raise InputError(f"{path} has more than the {MAX_LABELS >> 20} MB that are read.")
    return path.read_bytes()


# ------------------------------------------------------------------ NVIDIA's zips
class Zip(Source):
    """The pictures in a zip, in the order that they have in a folder. Any number of threads and
    processes may read it: the file is opened anew for every read."""

    def __init__(self, path: Path):
        self.path = path
        with self._reported(path):
            content = FileBytes.of(path)
            file: Any = RegionFile(Region(content, 0, content.size), MAX_DIRECTORY)
            self._zip = zipfile.ZipFile(file)
        members: dict[Path, zipfile.ZipInfo] = {}
        for member in self._zip.infolist():
            name = member.filename.replace("\\", "/")
            parts = name.split("/")
            if name.startswith("/") or ".." in parts:
                raise InputError(f"{path} names files outside of itself ({name}): make it anew.")
            hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
            if hidden or Path(name).suffix.lower() not in readable():
                continue
            if path / name in members:
                raise InputError(f"{path} holds {name} twice: make it anew.")
            members[path / name] = member
        if not members:
            raise InputError(
                f"{path} holds no pictures: a zip with files ending in one of "
                f"{' '.join(readable())} is expected."
            )
        self.paths = natural_order(members, path)
        self._members = [members[one] for one in self.paths]
        self.stamps = [
            (one.relative_to(path).as_posix(), member.file_size, member.CRC)
            for one, member in zip(self.paths, self._members, strict=True)
        ]

    def data(self, place: int) -> bytes:
        return self._read(self._members[place], self.paths[place], MAX_PICTURE)

    def labels(self) -> bytes | None:
        found = [one for one in self._zip.infolist() if one.filename == LABELS]
        if len(found) > 1:
            raise InputError(f"{self.path} holds {LABELS} twice: make it anew.")
        return self._read(found[0], self.path / LABELS, MAX_LABELS) if found else None

    def _read(self, member: zipfile.ZipInfo, path: Path, most: int) -> bytes:
        with self._reported(path):
            if member.compress_type not in _PACKED:
                raise Damaged("it is packed in a way that no such zip is")
            if member.file_size > most:
                raise Damaged(f"it has more than the {most >> 20} MB that are read")
            if member.file_size > max(SMALL, MAX_RATIO * member.compress_size):
                raise Damaged("it claims to be far larger than what is packed")
            with self._zip.open(member) as file:
                content = file.read(member.file_size)
                if len(content) < member.file_size or file.read(1):
                    raise Damaged("it has another size than it claims")
            return content

    @contextlib.contextmanager
    def _reported(self, path: Path) -> Iterator[None]:
        try:
            yield
        except (ValueError, OSError, EOFError, RuntimeError, MemoryError) as error:
            raise _damaged(path, error) from error
        except (zipfile.BadZipFile, zlib.error) as error:
            if path == self.path and not zipfile.is_zipfile(path):
                raise InputError(
                    f"{path} is neither a folder nor a zip: give a folder of pictures, packed "
                    "shards, an LMDB's folder, or a zip."
                ) from error
            raise _damaged(path, error) from error


# ------------------------------------------------------------------ rosinality's LMDB
class Lmdb(Source):
    """The pictures of one size in an LMDB, whose keys are "256-00000" and, for their number,
    "length". It is opened once in a process; the library does not like it twice."""

    def __init__(self, path: Path, size: int):
        self.path = path
        with _lmdb(path) as reader:
            digits = bytes(reader.get(b"length") or b"")
            if not re.fullmatch(rb"\d{1,9}", digits) or int(digits) == 0:
                raise InputError(
                    f"{path} does not say how many pictures it holds: give an LMDB that "
                    "rosinality's prepare_data.py wrote."
                )
            self._keys, self.paths, self.stamps = [], [], []
            for number in range(int(digits)):
                key = f"{size}-{number:05d}"
                content = reader.get(key.encode())
                if content is None and number == 0:
                    raise InputError(_other_sizes(path, size, reader))
                if content is None:
                    raise InputError(
                        f"{path} says that it holds {int(digits)} pictures, but {key} is missing: "
                        "make it anew."
                    )
                self._keys.append(key.encode())
                self.paths.append(path / key)
                self.stamps.append((key, len(content)))

    def data(self, place: int) -> bytes:
        with _lmdb(self.path) as reader:
            content = reader.get(self._keys[place])
            if content is None or len(content) > MAX_PICTURE:
                raise _damaged(self.paths[place], Damaged("it is gone or far too large"))
            return bytes(content)

    def labels(self) -> None:
        return None


def _other_sizes(path: Path, size: int, reader: Any) -> str:
    """The sentence for an LMDB without pictures of a size."""
    sizes: list[int] = []
    cursor = reader.cursor()
    cursor.first()
    for _ in range(20):
        found = re.match(rb"(\d{1,6})-\d", bytes(cursor.key()))
        if found is not None:
            sizes.append(int(found[1]))
        # a dot is what follows the dash
        if not (cursor.next() if found is None else cursor.set_range(found[1] + b".")):
            break
    if not sizes:
        return f"{path} holds no pictures of rosinality's prepare_data.py: give another LMDB."
    known = ", ".join(map(str, sorted(sizes)))
    return (
        f"{path} holds pictures of {known} pixels and not of {size}: give another resolution, or "
        "make the LMDB with this size."
    )


_opened: dict[Path, tuple[tuple[int, ...], Any]] = {}  # (what it was opened as, environment)
_opening = threading.Lock()


@contextlib.contextmanager
def _lmdb(path: Path) -> Iterator[Any]:
    """A transaction that reads, of which the values are views that end with the block."""
    try:
        import lmdb
    except ImportError as error:
        raise InputError(
            f"{path} is an LMDB, which needs a package to be read: `pip install lmdb`."
        ) from error
    try:
        with _environment(path, lmdb).begin(buffers=True) as reader:
            yield reader
    except (lmdb.Error, OSError, MemoryError, ValueError) as error:
        raise _damaged(path, error) from error


def _environment(path: Path, lmdb: Any) -> Any:
    file = path / _LMDB
    with _opening:
        status = file.stat()
        stamp = (os.getpid(), status.st_ino, status.st_size, status.st_mtime_ns)
        known = _opened.get(path.resolve())
        if known is not None and known[0] == stamp:
            return known[1]
        if known is not None:
            known[1].close()
        # without a lock file, so that it may lie where nothing can be written
        found = lmdb.open(str(path), readonly=True, lock=False, create=False, readahead=False)
        pages = (found.info()["last_pgno"] + 1) * found.stat()["psize"]
        if pages > status.st_size:  # to read on would end the process
            found.close()
            raise Damaged("it is cut off")
        _opened[path.resolve()] = stamp, found
        return found


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} cannot be read ({error or 'memory'}): take another copy of it.")
