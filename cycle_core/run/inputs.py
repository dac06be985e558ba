"""The pictures of a run, by name, and what is left out of the folders that were given."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..images.clips import VIDEOS
from ..images.decode import HEIF, readable
from ..images.io import is_sheet, natural_order
from .results import REPORT, read_report

# endings of pictures that are reported when they are left out; others are no pictures
_NOT_READ = (
    *(".arw", ".cr2", ".cr3", ".dng", ".exr", ".hdr", ".heic", ".heif", ".hif", ".jxl", ".nef"),
    *(".orf", ".pef", ".ppm", ".psd", ".raf", ".raw", ".rw2", ".svg", ".tga", ".xcf"),
)


@dataclass(frozen=True)
class Inputs:
    """pictures: name -> file. left_out: what was passed over in folders -> why."""

    pictures: dict[str, Path]
    left_out: dict[str, str]


def find_pictures(given: Sequence[Path], recursive: bool = False) -> Inputs:
    """Files, and the pictures in folders, by a name for each: the file's without its ending; where
    two agree in that with it, or with the folders below the given one.

    recursive: also the pictures of folders below, results of an earlier run excepted.
    Raises InputError where there is none."""
    files: dict[Path, Path] = {}  # file -> its path below the given folder
    left_out: dict[str, str] = {}
    for one in given:
        if one.is_dir():
            files |= {path: path.relative_to(one) for path in _folder(one, recursive, left_out)}
        else:
            files[one] = Path(one.name)
    if not files:
        named = ", ".join(map(str, given))
        found = f" Left out: {summarise(left_out)}." if left_out else ""
        raise InputError(
            f"{named} holds no pictures: a file ending in one of {' '.join(readable())} is "
            f"expected.{found}"
        )
    pictures: dict[str, Path] = {}
    stems = [_stem(path) for path in files]
    whole = [text(path.name.replace(".", "_")) for path in files]
    for (path, below), stem, name in zip(files.items(), stems, whole, strict=True):
        if stems.count(stem) == 1:
            name = stem
        elif whole.count(name) > 1 and len(below.parts) > 1:
            name = text("_".join(below.parts).replace(".", "_"))
        if name in pictures:
            raise InputError(
                f"{pictures[name]} and {path} have the same name, and so would their results: "
                "run them into two folders, or rename one."
            )
        pictures[name] = path
    return Inputs(pictures, left_out)


def summarise(left_out: dict[str, str], most: int = 5) -> str:
    """How many, and the first of them with the reasons."""
    first = [f"{name} ({why})" for name, why in list(left_out.items())[:most]]
    more = [f"and {len(left_out) - most} more"] if len(left_out) > most else []
    return f"{len(left_out)}: {', '.join(first + more)}"


def text(name: str) -> str:
    """A name as reports can hold it: bytes that are no text (of an old disk) become `?`."""
    return name.encode(errors="replace").decode()


def _folder(folder: Path, recursive: bool, left_out: dict[str, str]) -> list[Path]:
    found: list[Path] = []
    for path in _walk(folder, recursive, left_out):
        ending, name = path.suffix.lower(), text(str(path.relative_to(folder)))
        if is_sheet(path):
            left_out[name] = "a sheet of pictures, written by this program"
        elif ending in readable():
            found.append(path)
        elif ending in HEIF:
            left_out[name] = "HEIC: install pillow-heif, or save it as JPEG"
        elif ending in _NOT_READ:
            left_out[name] = f"{ending} is not read: save it as PNG or JPEG"
        elif ending in VIDEOS:
            left_out[name] = "a video: name it itself"
    return natural_order(found, folder)


def _walk(folder: Path, recursive: bool, left_out: dict[str, str]) -> Iterator[Path]:
    """The files of a folder that are not hidden; those below too, or what they are."""

    def unreadable(error: OSError) -> None:
        if error.filename in (str(folder), folder):
            raise error
        left_out[text(os.path.relpath(error.filename, folder))] = f"{error.strerror}"

    for place, below, names in os.walk(folder, onerror=unreadable):
        here = Path(place)
        below[:] = sorted(name for name in below if not name.startswith("."))
        below[:] = [name for name in below if read_report(here / name) is None]
        if not recursive:
            for name in below:
                if count := sum(1 for _ in _pictures_in(here / name)):
                    pictures = "1 picture" if count == 1 else f"{count} pictures"
                    why = f"{pictures} in a folder below, which `recursive` reads"
                    left_out[f"{text(name)}/"] = why
            below.clear()
        for name in names:
            path = here / name
            if not name.startswith(".") and os.path.isfile(path):
                yield path


def _pictures_in(folder: Path) -> Iterator[str]:
    for _, below, names in os.walk(folder):
        below[:] = [name for name in below if not name.startswith(".")]
        yield from (name for name in names if Path(name).suffix.lower() in (*readable(), *HEIF))


def _stem(path: Path) -> str:
    """The file's name without its ending, as the name of a folder that is seen and our own."""
    stem = path.stem.lstrip(".")
    return text(path.name.replace(".", "_") if stem in ("", REPORT) else stem)
