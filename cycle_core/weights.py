"""Where model files are: the public ones that are known, the folders that are searched, download."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Weight:
    """One public file: `name` as users write it, kind as in `checkpoints`, address, and what is known.

    size: bytes, None if unknown.  sha256: None where nobody here has computed it."""

    name: str
    kind: str
    file: str
    url: str
    licence: str
    size: int | None = None
    sha256: str | None = None
    note: str = ""


CATALOGUE: dict[str, Weight] = {}


def find(name: str | Path) -> Path | None:
    """The file of that catalogue or file name where it lies on this machine, None if nowhere."""
    raise NotImplementedError


def fetch(name: str | Path) -> Path:
    """`find`, or download the catalogue's file into the user cache; MissingFileError."""
    raise NotImplementedError


def add_folder(kind: str, path: str | Path) -> None:
    """Also search `path` (the nodes register ComfyUI's model folders with this)."""
    raise NotImplementedError
