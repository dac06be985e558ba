"""What is in use is opened once, however many ask for it: two loaders of one file share its model.

Nothing is kept longer than somebody holds it, so that a host decides about memory. What is shared
must not be changed by anybody; the steps of this library change nothing that they are given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")

_shared: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()
_lock = threading.RLock()


def shared(key: Hashable, make: Callable[[], T]) -> T:
    """What was made for the key and is still in use, or `make()`, which must take weak references.

    What `make` raises is raised, and nothing is remembered."""
    with _lock:
        value = _shared.get(key)
        if value is None:
            value = _shared[key] = make()
        return value


def stamp(path: str | Path) -> tuple[str, int, int]:
    """(path, bytes, time of the last change): another one when the file changes; zeros where there
    is no file, so that it also tells when one appears."""
    try:
        status = Path(path).stat()
    except OSError:
        return str(path), 0, 0
    return str(path), status.st_size, status.st_mtime_ns
