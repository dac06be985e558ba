"""JSON that may come from anybody: the one reader of reports, frames, indexes and headers.

    read_json(path, {"size": int, "quad": [[float]], "name?": str})

What is returned has the shape that was asked for. A file that is large, deep, a pipe or a device,
that names a key twice or holds a number which no float64 has, is refused before it costs anything.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from pathlib import Path
from typing import Any

from ..errors import InputError

MAX_BYTES = 32 << 20
MAX_VALUES = 2_000_000
MAX_DEPTH = 64
# to the end where it is not closed, so that no text makes it look twice
_STRING = re.compile(r'"(?:[^"\\]+|\\.|\\\Z)*(?:"|\Z)', re.DOTALL)
_BRACKETS = re.compile(r"[][{}]")


class JsonError(ValueError):
    """Half a sentence on what is wrong with a text."""


def read_json(path: str | Path, schema: Any = dict, max_bytes: int = MAX_BYTES) -> Any:
    """The value in a file. schema: see `fits`. Raises InputError; FileNotFoundError where there is
    no file."""
    path = Path(path)
    try:
        # not blocking: to open a pipe would wait for somebody who writes into it
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(handle, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise JsonError("it is no ordinary file")
            if status.st_size > max_bytes:
                raise JsonError(f"it has {status.st_size} bytes")
            return parse_json(file.read(max_bytes + 1), schema)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except JsonError as error:
        raise InputError(
            f"{path} does not hold what this program writes there ({error}): make it anew, or "
            "take another file."
        ) from error


def parse_json(text: bytes | str, schema: Any = dict) -> Any:
    """The value in a text. Raises JsonError."""
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise JsonError("it is no text") from error
    _check_size(text)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_table,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_whole,
        )
    except JsonError:
        raise
    except (ValueError, RecursionError, MemoryError) as error:
        raise JsonError("it is no JSON") from error
    if not fits(value, schema):
        raise JsonError("it holds something else")
    return value


def fits(value: Any, schema: Any) -> bool:
    """Whether a value has a shape: a type; a tuple of alternatives, with None among them; [one] for
    a list; {str: one} for a table of any names; {"name": one, "other?": one} for a table with these
    entries, of which those with a question mark may be missing, and any others."""
    if isinstance(schema, tuple):
        return any(fits(value, one) for one in schema)
    if isinstance(schema, list):
        return isinstance(value, list) and all(fits(one, schema[0]) for one in value)
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            return False
        if str in schema:
            return all(fits(one, schema[str]) for one in value.values())
        return all(
            fits(value[name.rstrip("?")], one) if name.rstrip("?") in value else name[-1] == "?"
            for name, one in schema.items()
        )
    if schema is None:
        return value is None
    if schema is float:
        return type(value) in (int, float)
    return schema is object or type(value) is schema


def as_tuples(value: Any) -> Any:
    """A value with tuples in the place of its lists, as configurations hold them."""
    if isinstance(value, dict):
        return {name: as_tuples(one) for name, one in value.items()}
    return tuple(map(as_tuples, value)) if isinstance(value, list) else value


def _check_size(text: str) -> None:
    bare = _STRING.sub('""', text)
    if bare.count(",") + bare.count("[") + bare.count("{") > MAX_VALUES:
        raise JsonError("it has too much in it")
    depth = 0
    for match in _BRACKETS.finditer(bare):
        depth += 1 if match[0] in "[{" else -1
        if depth > MAX_DEPTH:
            raise JsonError("it has lists in lists in lists")


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise JsonError("it names something twice")
    return table


def _no_constant(name: str) -> None:
    raise JsonError(f"it holds {name}")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise JsonError("it holds a number that is too large")
    return number


def _whole(digits: str) -> int:
    if len(digits) > 19:
        raise JsonError("it holds a number that is too large")
    return int(digits)
