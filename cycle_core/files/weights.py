"""Where model files are: the folders that are searched, and `fetch`, which downloads known ones.

Nothing is downloaded unless `fetch` is called, and then only what the catalogue lists. Searched, in
this order: the embedded models, the folders in CYCLE_CORE_MODELS (separated as in PATH), folders
that a program registered with `add_folder`, the user cache, the caches of torch and insightface.
CYCLE_CORE_OFFLINE=1 forbids downloads."""

from __future__ import annotations

import contextlib
import http.client
import os
from pathlib import Path

from ..errors import MissingFileError
from .assets import ASSETS
from .catalogue import CATALOGUE, Weight
from .disk import locked
from .download import DownloadProgress, download, reason_of

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
                if weight and weight.is_archive:
                    if place.is_dir() and any(place.glob("*.onnx")):
                        return place
                elif place.is_file():
                    return place
    return None


def fetch(name: str | Path | Weight, progress: bool | DownloadProgress = True) -> Path:
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
    # insightface insists on a folder named models
    folder = cache_folder() / "models" if weight.is_archive else cache_folder()
    path = folder / weight.file
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder, wait=True):
            if (found := find(weight)) is not None:  # another program was quicker
                return found
            download(weight, path, progress)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise MissingFileError(
            f"{weight.file} could not be downloaded from {weight.url} ({reason_of(error)}): try "
            f"again, or get it by hand and put it into {_homes()}."
        ) from error
    return path


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
