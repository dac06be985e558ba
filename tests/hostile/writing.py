"""Pickles, opcode by opcode, and the archives around them: whatever no library would write."""

from __future__ import annotations

import itertools
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

PROOF = "proof"  # a file that appears in the working folder if something is run
TOUCH, WRITE = f"touch {PROOF}", f"open({PROOF!r}, 'w')"


@dataclass(frozen=True)
class Name:
    """A class or a function, whether it exists or not."""

    module: str
    name: str


@dataclass(frozen=True)
class Call:
    function: Any
    arguments: tuple[Any, ...] = ()
    state: Any = None  # what is then built into the result


@dataclass(frozen=True)
class Stored:
    """A persistent id: a storage beside the pickle."""

    identity: Any


@dataclass(frozen=True)
class Raw:
    """Opcodes as they are."""

    code: bytes


def dump(value: Any) -> bytes:
    """A pickle of plain data and of what is defined above."""
    return b"\x80\x02" + code(value) + b"."


def code(value: Any) -> bytes:
    match value:
        case int() if not isinstance(value, bool):
            size = value.bit_length() // 8 + 1
            return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)
        case Raw():
            return value.code
        case Name():
            return f"c{value.module}\n{value.name}\n".encode()
        case Call():
            made = code(value.function) + code(value.arguments) + b"R"
            return made if value.state is None else made + code(value.state) + b"b"
        case Stored():
            return code(value.identity) + b"Q"
        case dict():
            items = itertools.chain.from_iterable(value.items())
            return b"}(" + b"".join(map(code, items)) + b"u"
        case list():
            return b"](" + b"".join(map(code, value)) + b"e"
        case tuple():
            return b"(" + b"".join(map(code, value)) + b"t"
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case bytes():
            return b"B" + struct.pack("<I", len(value)) + value
    return pickle.dumps(value, 2)[2:-1]


def archive(*members: tuple[str, bytes], bombs: Iterable[tuple[str, int]] = ()) -> bytes:
    """A zip file. bombs: (name, megabytes of zeros), which take a thousandth of that."""
    files, directory, at = [], [], 0
    stored = [(name, zipfile.ZIP_STORED, len(content), content) for name, content in members]
    packed = [(name, zipfile.ZIP_DEFLATED, n << 20, _megabyte() * n + b"\3\0") for name, n in bombs]
    for name, method, size, content in stored + packed:
        sizes = (zlib.crc32(content), len(content), size, len(name))
        entry = struct.pack("<HHHHHIIIHH", 20, 0, method, 0, 0, *sizes, 0)
        place = struct.pack("<HHHII", 0, 0, 0, 0, at)
        directory.append(b"PK\1\2\x14\0" + entry + place + name.encode())
        files.append(b"PK\3\4" + entry + name.encode() + content)
        at += len(files[-1])
    listed = b"".join(directory)
    end = struct.pack("<HHHHIIH", 0, 0, len(files), len(files), len(listed), at, 0)
    return b"".join(files) + listed + b"PK\5\6" + end


def torch_zip(pickled: bytes, *storages: bytes, bombs: Iterable[tuple[str, int]] = ()) -> bytes:
    """As torch.save writes it."""
    members = [("archive/data.pkl", pickled)]
    members += [(f"archive/data/{i}", content) for i, content in enumerate(storages)]
    return archive(*members, bombs=[(f"archive/{name}", size) for name, size in bombs])


def torch_legacy(pickled: bytes, keys: bytes = b"\x80\x02].", storages: bytes = b"") -> bytes:
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    start = [dump(0x1950A86A20F9469CFC6C), dump(1001), dump(system)]
    return b"".join([*start, pickled, keys, storages])


def storage(kind: str = "FloatStorage", key: Any = "0", count: Any = 4, **_: Any) -> Stored:
    return Stored(("storage", Name("torch", kind), key, "cpu", count))


def tensor(*arguments: Any, function: str = "_rebuild_tensor_v2", **stored: Any) -> Call:
    """arguments: offset, shape, strides."""
    after = (False, Call(Name("collections", "OrderedDict"))) if function[-1] == "2" else ()
    return Call(Name("torch._utils", function), (storage(**stored), *arguments, *after))


def persistent(name: Any, state: Any) -> Call:
    meta = {"type": "class", "version": 6, "module_src": "", "class_name": name, "state": state}
    return Call(Name("torch_utils.persistence", "_reconstruct_persistent_obj"), (meta,))


def array(header: bytes, content: bytes = bytes(16), version: bytes = b"\1\0") -> bytes:
    """A .npy file."""
    size = struct.pack("<H" if version[0] == 1 else "<I", len(header))
    return b"\x93NUMPY" + version + size + header + content


@cache
def _megabyte() -> bytes:
    """A megabyte of zeros, deflated so that it can be repeated."""
    zeros = zlib.compressobj(9, zlib.DEFLATED, -15)
    return zeros.compress(bytes(1 << 20)) + zeros.flush(zlib.Z_FULL_FLUSH)
