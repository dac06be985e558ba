"""One program and thread at a time in a folder: the one lock."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


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
