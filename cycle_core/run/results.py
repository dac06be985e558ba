"""The folder that a run writes: one folder a picture, whole or not there, and `report.json` above.

    out/report.json           all pictures, the settings, the networks that measured
    out/NAME/report.json      the same for one picture; its presence says that the picture is done
    out/NAME/*.png ...        the pictures of each step, the code, the tuned weights

A folder is filled under a hidden name and renamed when it is whole. A folder that this program did
not write is never touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError

REPORT = "report.json"
_made: list[Path] = []  # by `make_folder`, for `no_empty_folders`


def read_report(folder: Path) -> dict[str, Any] | None:
    """The report in `folder`, None where there is none or it is not one of ours."""
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return report if isinstance(report, dict) and "cycle_core" in report else None


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """Write `folder/report.json` atomically. Raises InputError where that is impossible."""
    from ..files.atomic import write_atomically

    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(folder / REPORT, lambda path: path.write_text(text, encoding="utf-8"))


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
            "folder with --out."
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
            "another --out, or move it away."
        )


def check_ours(folder: Path) -> None:
    """Raise InputError where `folder` exists and was not written by a run."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() and read_report(folder) is None:
        raise InputError(
            f"{folder} is there already and was not written by this program: choose another --out, "
            "or move it away."
        )


@contextlib.contextmanager
def whole_folder(folder: Path, keep: Iterable[str] = ()) -> Iterator[Path]:
    """Give a folder to fill, which takes the place of `folder` when the block ends.

    It begins with the files of an older result that are named in `keep`, and with whatever is in
    `folder` that the run did not write. What ends the block early (an error, Ctrl-C) leaves the
    older state. Raises InputError where `folder` is not a run's, or cannot be written."""
    check_ours(folder)
    folder = folder.resolve()  # what a link points to is replaced, not the link
    old = read_report(folder) or {}
    leave = set(old.get("files", [])) - set(keep) | {REPORT}
    part = folder.with_name(f".{uuid.uuid4().hex[:12]}.part")
    aside = part.with_suffix(".old")
    try:
        part.mkdir()
        if folder.is_dir():
            for path in folder.iterdir():
                if path.name not in leave:
                    _copy(path, part / path.name)
        yield part
        if folder.is_dir():
            os.replace(folder, aside)
        os.replace(part, folder)
    finally:
        if aside.is_dir() and not folder.is_dir():
            os.replace(aside, folder)
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(part, ignore_errors=True)


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
