"""The checksum of a file."""

from __future__ import annotations

import hashlib
from pathlib import Path


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
