"""What a file's data is made of once it is read: numbers, containers, and these inert records.

A `StoredTensor` knows its shape and where its numbers lie, and reads them only when asked: a file
of a gigabyte is told apart by a few kilobytes of it, and only the network that is needed is loaded.
Everything that a file claims about a tensor is checked when the record is made.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

MAX_DIMENSIONS = 16
MAX_UNFOLDED = 400_000  # values, where each is counted as often as it is referred to
MAX_DEPTH = 100  # of lists in lists


class Damaged(ValueError):
    """A file breaks the rules of its format; the text is half a sentence for the final error."""


class Unsupported(Damaged):
    """A whole file of something that is not opened; the text ends the sentence that begins with its
    name."""


@dataclass(frozen=True)
class FileBytes:
    """A file that is opened anew for every read, so that nothing has to be closed."""

    path: Path
    size: int
    changed: int  # its time of change in ns: a file that changes between two reads is refused

    @classmethod
    def of(cls, path: Path) -> FileBytes:
        status = os.stat(path)
        return cls(path, status.st_size, status.st_mtime_ns)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        with open(self.path, "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if (status.st_size, status.st_mtime_ns) != (self.size, self.changed):
                raise Damaged("it was changed while it was read")
            file.seek(offset)
            done = 0
            while done < len(buffer):
                count = file.readinto(buffer[done:])
                if not count:
                    raise Damaged("it ends too early")
                done += count


@dataclass(frozen=True)
class MemoryBytes:
    """The same for bytes that had to be unpacked."""

    content: bytes = field(repr=False)

    @property
    def size(self) -> int:
        return len(self.content)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        buffer[:] = self.content[offset : offset + len(buffer)]


@dataclass(frozen=True)
class Region:
    """`size` bytes of a source, from `start` on."""

    source: FileBytes | MemoryBytes
    start: int
    size: int

    @classmethod
    def of(cls, content: bytes) -> Region:
        return cls(MemoryBytes(content), 0, len(content))

    def part(self, start: int, size: int) -> Region:
        if start < 0 or size < 0 or start + size > self.size:
            raise Damaged("it ends too early")
        return Region(self.source, self.start + start, size)

    def read(self) -> bytes:
        content = bytearray(self.size)
        self.read_into(0, memoryview(content))
        return bytes(content)

    def read_into(self, start: int, buffer: memoryview) -> None:
        self.part(start, len(buffer))  # checks that it fits
        self.source.read_into(self.start + start, buffer)


@dataclass
class Storage:
    """`count` numbers of one type in a row. `region` may be filled in later (legacy torch files
    hold their numbers at the end)."""

    dtype: torch.dtype
    count: int
    region: Region | None = None

    def __post_init__(self) -> None:
        check_sizes(self.count)
        if self.region is not None:
            self.fill(self.region)

    @property
    def nbytes(self) -> int:
        return self.count * self.dtype.itemsize

    def fill(self, region: Region) -> None:
        if region.size < self.nbytes:
            raise Damaged(f"it claims {self.nbytes} bytes of numbers where {region.size} are")
        self.region = region


class StoredTensor:
    """A tensor or a numpy array in a file.

    shape: tuple of int. dtype: of torch, or None for an array of something else than numbers, whose
    elements are `items` if they were objects."""

    def __init__(
        self,
        storage: Storage | None,
        offset: int = 0,
        shape: tuple[int, ...] = (),
        strides: tuple[int, ...] = (),
        dtype: torch.dtype | None = None,
        swapped: bool = False,
    ):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides
        self.dtype = dtype or (storage.dtype if storage else None)
        self.swapped = swapped  # big-endian
        self.items: list[Any] | None = None
        self._span = 0  # elements from the first to the last
        if storage is not None and self.dtype is not None:
            count = storage.nbytes // self.dtype.itemsize
            self._span = _checked_span(count, offset, shape, strides)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """In memory, after `tensor()`."""
        return self._span * self.dtype.itemsize if self.dtype else 0

    def tensor(self) -> Tensor:
        """Read it: a CPU tensor of its own type that owns its memory."""
        if self.dtype is None or self.storage is None or self.storage.region is None:
            raise Damaged("it holds something else where numbers are expected")
        size = self.dtype.itemsize
        array = np.empty(self._span * size, np.uint8)  # raises MemoryError, unlike torch
        if self._span:
            self.storage.region.read_into(self.offset * size, array.data)
            if self.swapped:
                array.view(f"u{size}").byteswap(inplace=True)
        content = torch.from_numpy(array)
        if self.dtype == torch.bool:
            content = content != 0  # a bool that is neither 0 nor 1 would confuse torch
        return content.view(self.dtype).as_strided(self.shape, self.strides)

    def __repr__(self) -> str:
        return f"StoredTensor({self.dtype}, {list(self.shape)})"


@dataclass(frozen=True)
class PersistentObject:
    """A module as NVIDIA's `persistence` (or torch itself) pickles it; its source is never run."""

    class_name: str
    state: dict[str, Any] = field(repr=False)


@dataclass
class TFNetwork:
    """A `dnnlib.tflib.network.Network` of StyleGAN, StyleGAN2 or PGGAN in TensorFlow."""

    state: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass
class OpaqueObject:
    """An object of a class or the result of a call that is not known here, and was not made."""

    name: str
    arguments: tuple[Any, ...] = field(default=(), repr=False)
    state: Any = field(default=None, repr=False)


def shown(value: Any) -> str:
    """A value out of a file as messages show it: never long, however much it holds."""
    if isinstance(value, str | int | float | bool) or value is None:
        return repr(value if not isinstance(value, str) else value[:60])[:70]
    if isinstance(value, list | tuple) and len(value) <= 8:
        plain = all(isinstance(part, str | int | float) for part in value)
        return f"[{', '.join(map(shown, value))}]" if plain else f"a {type(value).__name__}"
    return f"a {type(value).__name__}"


def is_numbers(value: object) -> TypeGuard[StoredTensor]:
    """Whether a value is one array of floating-point numbers."""
    dtype = value.dtype if isinstance(value, StoredTensor) else None
    return dtype is not None and dtype.is_floating_point


def check_unfolded(data: Any) -> None:
    """Refuse data that hold themselves, or one list so often that to walk through them, to compare
    or to show them would take forever. After this they can be treated as any others."""
    measured: dict[int, tuple[int, int]] = {}  # id -> (values, depth); (0, 0): not all of it yet
    to_do = [data]
    while to_do:
        value = to_do[-1]
        parts = _parts(value)
        known = measured.get(id(value))
        if known is None:
            measured[id(value)] = 0, 0
            for part in parts:
                if measured.get(id(part)) == (0, 0):
                    raise Damaged("it holds a list that is a part of itself")
                if _parts(part) and id(part) not in measured:
                    to_do.append(part)
            continue
        to_do.pop()
        if known == (0, 0):
            inner = [measured.get(id(part), (1, 0)) for part in parts]
            size = 1 + sum(size for size, _ in inner)
            depth = 1 + max((depth for _, depth in inner), default=0)
            if size > MAX_UNFOLDED or depth > MAX_DEPTH:
                raise Damaged("it has more in it than any model file")
            measured[id(value)] = size, depth


def _parts(value: Any) -> Any:
    """What a value holds: an empty tuple for everything that is no container."""
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, PersistentObject | TFNetwork):
        return (value.state,)
    if isinstance(value, OpaqueObject):
        return (*value.arguments, value.state)
    if isinstance(value, StoredTensor):
        return value.items or ()
    return ()


def contiguous(shape: tuple[int, ...], fortran: bool = False) -> tuple[int, ...]:
    """The strides of an array without gaps, in elements."""
    strides, step = [], 1
    for size in shape if fortran else reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(strides) if fortran else tuple(reversed(strides))


def check_sizes(*sizes: object) -> None:
    for size in sizes:
        if type(size) is not int or not 0 <= size < 2**48:
            raise Damaged("it holds an impossible shape or size")


def _checked_span(count: int, offset: int, shape: Any, strides: Any) -> int:
    """The number of elements from the first to the last of a tensor, all inside the storage."""
    if type(shape) is not tuple or type(strides) is not tuple or len(shape) != len(strides):
        raise Damaged("it holds an impossible shape or size")
    if len(shape) > MAX_DIMENSIONS:
        raise Damaged(f"it holds a tensor of {len(shape)} dimensions")
    check_sizes(offset, *shape, *strides)
    if math.prod(shape) == 0:
        return 0
    reach = 1  # elements up to here are taken by the dimensions with smaller strides
    for stride, size in sorted(zip(strides, shape, strict=True)):
        if size > 1 and stride < reach:
            raise Damaged("it holds a tensor whose elements overlap")
        if size > 1:
            reach = stride * (size - 1) + reach
    if offset + reach > count:
        raise Damaged(f"it claims a tensor of {list(shape)} where {count} numbers are stored")
    return reach


def numpy_storage(
    code: str, content: Region, shape: tuple[int, ...]
) -> tuple[Storage | None, bool]:
    """The storage of a numpy array with the dtype `code` such as "<f4", and whether it is swapped;
    None for other types than numbers."""
    order, kind = (code[0], code[1:]) if code[:1] in ("<", ">", "|", "=") else ("=", code)
    if kind not in NUMPY_TYPES:
        return None, False
    dtype = NUMPY_TYPES[kind]
    storage = Storage(dtype, math.prod(shape), content)
    return storage, order == ">" and dtype.itemsize > 1


NUMPY_TYPES: dict[str, torch.dtype] = {
    code: torch.from_numpy(np.empty(0, code)).dtype
    for code in ("b1", "f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
}
