"""The folder that a run writes: one folder a picture, whole or not there, and `report.json` above.

    out/report.json           all pictures, the settings, the networks that measured
    out/NAME/report.json      the same for one picture; its presence says that the picture is done
    out/NAME/*.png ...        the pictures of each step, the code, the tuned weights

A folder is filled under a hidden name and renamed when it is whole. A result of other settings,
models or pictures is kept beside it, as NAME.older-1. A folder that this program did not write is
never touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files.disk import write_json
from ..files.json import fits, read_json

REPORT = "report.json"
OLDER = ".older-"  # in the names of results that another took the place of
# what is read again of a report; names of files and folders are checked by `_is_name`, too
_SCHEMA = {
    "cycle_core": str,
    "name?": str,
    "source?": str,
    "inputs?": str,
    "faces?": [str],
    "files?": [str],
    "edits?": [{"edit": str, "name?": str, "image?": str, "photo?": str, "video?": str}],
    "steps?": {str: {}},
    "clip?": {},
    "pictures?": [{}],
}
_STEP = {"lpips": float}
_DONE = {
    "inputs": str, "name": str, "faces": [str], "files": [str],
    "edits": [{"edit": str, "name": str, "image": str, "photo": str}],
    "steps": {"encode": _STEP, "refine": _STEP, "tune": _STEP},
}  # fmt: skip
_PROJECTED = {**_DONE, "steps": {"project": _STEP, "tune": _STEP}}
_CLIP = {"inputs": str, "clip": {}, "files": [str], "edits": [{"edit": str}], "steps": {}}
_made: list[Path] = []  # by `make_folder`, for `no_empty_folders`


def read_report(folder: Path) -> dict[str, Any] | None:
    """The report in `folder`, None where there is none or it is not one of ours."""
    try:
        report = read_json(folder / REPORT, _SCHEMA)
    except (OSError, InputError):
        return None
    edits = [edit.get(part, "x") for edit in report.get("edits", []) for part in _FILES]
    names = [*report.get("faces", []), *report.get("files", []), *edits]
    return report if all(map(_is_name, names)) else None


_FILES = ("image", "photo", "video")


def is_done(report: dict[str, Any]) -> bool:
    """Whether a report is that of a finished picture or video, to which edits can be added."""
    if "clip" in report:
        return fits(report, _CLIP)
    return fits(report, _DONE) or fits(report, _PROJECTED)


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """Write `folder/report.json` atomically. Raises InputError where that is impossible."""
    write_json(folder / REPORT, report)


def _is_name(name: str) -> bool:
    """Whether a text from a report is the name of a file in its folder, and no path out of it."""
    return name not in ("", ".", "..") and not set(name) & {"/", "\\", "\0"}


def make_folder(folder: Path) -> None:
    """Make `folder` if needed and try to write into it, before any long work begins.

    Raises InputError where that is impossible."""
    try:
        _made.extend(path for path in (folder, *folder.parents) if not path.exists())
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x")
    except OSError as error:
        raise InputError(
            f"Nothing can be written to {folder} ({error.strerror or error}): choose another "
            "folder."
        ) from error


@contextlib.contextmanager
def no_empty_folders() -> Iterator[None]:
    """Of the folders that `make_folder` makes in the block, those go that are empty at its end."""
    before = len(_made)
    try:
        yield
    finally:
        for path in sorted(_made[before:], key=lambda path: len(path.parts), reverse=True):
            with contextlib.suppress(OSError):  # it holds results
                path.rmdir()
        del _made[before:]


def check_report(folder: Path) -> None:
    """Raise InputError where the report would take the place of a file that a run did not write."""
    if os.path.lexists(folder / REPORT) and read_report(folder) is None:
        raise InputError(
            f"{folder / REPORT} is there already and was not written by this program: choose "
            "another folder, or move it away."
        )


def check_ours(folder: Path) -> None:
    """Raise InputError where `folder` exists and was not written by a run."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() and read_report(folder) is None:
        raise InputError(
            f"{folder} is there already and was not written by this program: choose another "
            "folder, or move it away."
        )


@contextlib.contextmanager
def whole_folder(
    folder: Path, keep: Iterable[str] = (), older: Path | None = None
) -> Iterator[Path]:
    """Give a folder to fill, which takes the place of `folder` when the block ends.

    It begins with the files of an older result that are named in `keep`, and with whatever is in
    `folder` that the run did not write. older: where the older result goes, as `older_result` says;
    None removes what is not kept. What ends the block early (an error, Ctrl-C) leaves the older
    state. Raises InputError where `folder` is not a run's, or cannot be written."""
    repair(folder)
    check_ours(folder)
    folder = folder.resolve()  # what a link points to is replaced, not the link
    old = read_report(folder) or {}
    leave = set(old.get("files", [])) - set(keep) | {REPORT}
    part = folder.with_name(f".{_tag(folder)}-{os.getpid()}-{uuid.uuid4().hex[:8]}.part")
    aside = folder.with_name(f".{_tag(folder)}.old")
    try:
        part.mkdir()
        if folder.is_dir():
            for path in folder.iterdir():
                if path.name not in leave:
                    _copy(path, part / path.name)
        yield part
        if folder.is_dir():
            os.replace(folder, older or aside)
        try:
            os.replace(part, folder)
        except OSError:
            if older is not None:
                os.replace(older, folder)
            raise
    finally:
        if aside.is_dir() and not folder.is_dir():
            os.replace(aside, folder)
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(part, ignore_errors=True)


def older_result(folder: Path) -> Path | None:
    """Where the result in `folder` is to be kept when another takes its place: a name that is free
    beside it; None where there is none."""
    repair(folder)
    if read_report(folder) is None:
        return None
    folder = folder.resolve() if folder.is_symlink() else folder
    names = (folder.with_name(f"{folder.name}{OLDER}{number}") for number in itertools.count(1))
    return next(path for path in names if not os.path.lexists(path))


def repair(folder: Path) -> None:
    """Put back what a process that was killed left aside, and remove what it had begun."""
    folder = folder.resolve()
    aside = folder.with_name(f".{_tag(folder)}.old")
    with contextlib.suppress(OSError):
        if aside.is_dir() and not folder.exists():
            os.replace(aside, folder)  # killed between two renames
        shutil.rmtree(aside, ignore_errors=True)
        for part in folder.parent.glob(f".{_tag(folder)}-*.part"):
            if not _lives(part.name.split("-")[1]):
                shutil.rmtree(part, ignore_errors=True)


def _tag(folder: Path) -> str:
    """Stands for a folder's name, which may be as long as a disk takes."""
    return hashlib.sha256(os.fsencode(folder.name)).hexdigest()[:12]


def _lives(process: str) -> bool:
    if os.name == "nt" or not process.isdecimal() or len(process) > 9:
        return True  # on Windows asking would end it
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is somebody else's
    return True


def files_of(folder: Path) -> list[str]:
    """Names of the files in `folder`, sorted, the report left out."""
    return sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != REPORT)


def _copy(source: Path, target: Path) -> None:
    """A second name of a file where the disk can do that, else a copy."""
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
        return
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
