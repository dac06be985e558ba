"""The containers that model files come in, as plain data: see `reading`."""

from __future__ import annotations

import codecs
import io
import math
import re
import struct
import zipfile
from typing import Any

import torch

from ..files.json import JsonError, fits, parse_json
from .lazy_tensors import (
    MAX_DIMENSIONS,
    Damaged,
    Region,
    Storage,
    StoredTensor,
    Unsupported,
    check_sizes,
    contiguous,
    numpy_storage,
)
from .pickle_globals import STORAGE_TYPES, Global
from .unpickling import Limits, Unpickler

MAGIC = 0x1950A86A20F9469CFC6C  # the first object of torch's older format
MAX_HEADER = 4 << 20  # bytes of a safetensors header or a zip directory
MAX_NPY_HEADER = 64 << 10
MAX_PICKLE = 32 << 20  # bytes of the pickle in a zip


def read_container(region: Region, limits: Limits) -> tuple[str, Any, dict[str, str]]:
    """(container, data, metadata)"""
    start = region.part(0, min(region.size, 512)).read()
    if not start:
        raise Damaged("it is empty")
    if start.startswith(b"PK\3\4"):
        return *_read_zip(region, limits), {}
    if start.startswith(b"\x93NUMPY"):
        return "npy", _read_npy(region, limits), {}
    # JSON after a length below 4 GB, which may begin like a pickle: 80 02
    if start[4:9] == b"\0\0\0\0{":
        return "safetensors", *_read_safetensors(region)
    for beginning, name in OTHER_FILES.items():
        if start.lstrip().startswith(beginning):
            raise Damaged(f"it is {name}")
    try:
        return *_read_pickle(region, limits), {}
    except Damaged as error:
        if _is_text(start):
            raise Damaged("it is a text file") from error
        raise


# what is found in the place of a model file, by its first bytes
OTHER_FILES = {
    b"<": "a web page: the download gave a page instead of the file",
    b"version https://git-lfs": "only a pointer of Git LFS to the file",
    b"GGUF": "a GGUF language model",
    b"\x89HDF": "an HDF5 file, as Keras writes",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x1f\x8b": "a gzip archive: unpack it",
    b"7z\xbc\xaf": "a 7z archive: unpack it",
    b"Rar!": "a RAR archive: unpack it",
    b"\x08\x04\x12": "an ONNX model",
    b"\x08\x06\x12": "an ONNX model",
    b"\x08\x07\x12": "an ONNX model",
    b"\x08\x08\x12": "an ONNX model",
}


def _is_text(start: bytes) -> bool:
    """Whether a file that begins so is UTF-8 without control characters."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start)  # its end may cut a character
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter in "\r\n\t" for letter in text)


def _read_pickle(region: Region, limits: Limits) -> tuple[str, Any]:
    """A bare pickle, or torch's older format: five pickles and the numbers of the storages."""
    storages: dict[str, Storage] = {}

    def persistent(identity: Any) -> Any:
        if identity[0] == "module":
            return identity[1]
        kind, key, count = _storage_identity(identity)
        if identity[5:] not in ((), (None,)):
            raise Damaged("it was written by a PyTorch before 0.4")
        return storages.setdefault(key, Storage(kind, count))

    machine = Unpickler(region, limits, lambda nested: _nested(nested, limits), persistent)
    first = machine.load()
    if type(first) is not int or first != MAGIC:
        if storages:
            raise Unsupported(
                "is the data.pkl of a torch file that was unpacked, without the numbers beside it: "
                "take the .pt file itself, which is a zip archive that stays packed"
            )
        return "pickle", first
    machine.load(machine.at)  # the version of the format
    system = machine.load(machine.at)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise Damaged("it was written by a big-endian machine")
    data = machine.load(machine.at)
    keys, at = machine.load(machine.at), machine.at
    # text alone: to look up a deep tuple would end the process
    listed = type(keys) is list and all(type(key) is str for key in keys)
    if not listed or sorted(keys) != sorted(storages):
        raise Damaged("its storages are others than it says")
    for key in keys:
        storage = storages[key]
        (count,) = struct.unpack("<q", region.part(at, 8).read())
        if count != storage.count:
            raise Damaged("its storages have other sizes than it says")
        storage.fill(region.part(at + 8, storage.nbytes))
        at += 8 + storage.nbytes
    return "torch legacy", data


def _nested(region: Region, limits: Limits) -> Any:
    """The storage in a torch file inside of a pickle."""
    limits.work(50)  # it takes as long as so many opcodes
    limits.depth -= 1
    if limits.depth < 0:
        raise Damaged("it holds files in files in files")
    is_zip = region.part(0, min(4, region.size)).read() == b"PK\3\4"
    container, data = (_read_zip if is_zip else _read_pickle)(region, limits)
    limits.depth += 1
    if container not in ("torch zip", "torch legacy"):
        raise Damaged("it holds something else where a storage is expected")
    return data


def _storage_identity(identity: Any) -> tuple[torch.dtype, str, int]:
    name, kind, key, _, count = identity[:5]
    if name != "storage" or not isinstance(kind, Global) or kind.name not in STORAGE_TYPES:
        raise Damaged("it holds tensors of an unknown type")
    if type(key) is not str:
        raise Damaged("it holds a tensor without numbers")
    return STORAGE_TYPES[kind.name], key, count


def _read_zip(region: Region, limits: Limits) -> tuple[str, Any]:
    """torch.save's zip, or .npz."""
    members = _Members(region, limits)
    limits.work(len(members.names))
    pickles = [n for n in members.names if n.count("/") == 1 and n.endswith("/data.pkl")]
    if not pickles:
        arrays = {n[:-4]: n for n in members.names if n.endswith(".npy")}
        if not arrays:
            raise Damaged("it is a zip archive without a model: unpack it")
        return "npz", {k: _read_npy(members.region(n), limits) for k, n in arrays.items()}
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}constants.pkl" in members.names:
        raise Damaged("it is a TorchScript program, which would have to be run")
    order = f"{folder}byteorder"
    if order in members.names and members.region(order).part(0, 3).read() != b"lit":
        raise Damaged("it was written by a big-endian machine")
    storages: dict[tuple[str, torch.dtype], Storage] = {}

    def persistent(identity: Any) -> Storage:
        kind, key, count = _storage_identity(identity)
        if (key, kind) not in storages:
            check_sizes(count)
            storages[key, kind] = Storage(kind, count, members.region(f"{folder}data/{key}"))
        if storages[key, kind].count != count:
            raise Damaged("its storages have other sizes than it says")
        return storages[key, kind]

    pickled = members.region(pickles[0])
    if pickled.size > MAX_PICKLE:
        raise Damaged("it has more in it than any model file")
    machine = Unpickler(pickled, limits, lambda nested: _nested(nested, limits), persistent)
    return "torch zip", machine.load()


class _Members:
    """The members of a zip file as regions: in place if stored, unpacked within limits if not."""

    def __init__(self, region: Region, limits: Limits):
        self._whole, self._limits = region, limits
        file: Any = RegionFile(region, MAX_HEADER)
        self._zip = zipfile.ZipFile(file)
        self.names = self._zip.namelist()

    def region(self, name: str) -> Region:
        member = self._zip.getinfo(name)
        if member.compress_type == zipfile.ZIP_STORED:
            header = self._whole.part(member.header_offset, 30).read()
            if header[:4] != b"PK\3\4" or member.file_size != member.compress_size:
                raise Damaged("its directory does not fit its contents")
            name_size, extra_size = struct.unpack("<HH", header[26:30])
            start = member.header_offset + 30 + name_size + extra_size
            return self._whole.part(start, member.file_size)
        if member.compress_type != zipfile.ZIP_DEFLATED:  # some methods take gigabytes to unpack
            raise Damaged("it is packed as no model file is")
        self._limits.unpack(member.file_size)
        with self._zip.open(member) as file:
            return Region.of(b"".join(iter(lambda: file.read(1 << 20), b"")))


class RegionFile:
    """A region as an open file for zipfile, which reads directories whole however large they claim
    to be. most: bytes of one read."""

    def __init__(self, region: Region, most: int):
        self._region, self._most, self._at = region, most, 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._region.size}[whence]
        if start + offset < 0:
            raise Damaged("it ends too early")
        self._at = start + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._region.size - self._at)
        size = left if size < 0 else min(size, left)
        if size > self._most:
            raise Damaged("it has more in it than any model file")
        content = self._region.part(self._at, size).read() if size else b""
        self._at += size
        return content


_NPY_TYPE = re.compile(r"'descr': *'([<>|=]?[A-Za-z]\d{0,3})'")
_NPY_ORDER = re.compile(r"'fortran_order': *(True|False)")
_NPY_SHAPE = re.compile(r"'shape': *\(([\dL, ]*)\)")


def _read_npy(region: Region, limits: Limits) -> Any:
    """numpy's own reader would run the header through Python's parser."""
    start = region.part(0, min(region.size, 12)).read()
    if start[6:8] not in (b"\1\0", b"\2\0", b"\3\0"):
        raise Damaged("it is an array of a newer numpy")
    first = start[6] == 1
    (size,) = struct.unpack("<H" if first else "<I", start[8 : 10 if first else 12])
    if size > MAX_NPY_HEADER:
        raise Damaged("it claims a header that is too large")
    at = (10 if first else 12) + size
    header = region.part(at - size, size).read().decode("latin-1")
    kind, order, shape = (p.search(header) for p in (_NPY_TYPE, _NPY_ORDER, _NPY_SHAPE))
    if order is None or shape is None:
        raise Damaged("its header is not that of an array")
    if kind is None:
        raise Damaged("it holds arrays of an unknown type")
    sizes = tuple(_size(part) for part in shape[1].replace("L", "").split(",") if part.strip())
    content = region.part(at, region.size - at)
    if kind[1].lstrip("<>|=") == "O":  # the array itself is a pickle
        return _read_pickle(content, limits)[1]
    check_sizes(*sizes)
    storage, swapped = numpy_storage(kind[1], content, sizes)
    if storage is None:
        raise Damaged("it holds arrays of an unknown type")
    strides = contiguous(sizes, order[1] == "True")
    return StoredTensor(storage, 0, sizes, strides, swapped=swapped)


def _size(digits: str) -> int:
    if not digits.strip().isdecimal() or len(digits) > 20:
        raise Damaged("it holds an impossible shape or size")
    return int(digits)


_ENTRY = {"dtype": str, "shape": [int], "data_offsets": [int]}


def _read_safetensors(region: Region) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """By the rules of its own library: the tensors lie one behind the other, without a gap, an
    overlap or anything behind them, and no name occurs twice."""
    (size,) = struct.unpack("<Q", region.part(0, 8).read())
    if size > MAX_HEADER:
        raise Damaged("it claims a header that is too large")
    try:
        header = parse_json(region.part(8, size).read())
        metadata = header.pop("__metadata__", {})
        if not fits(metadata, {str: str}) or not fits(header, {str: _ENTRY}):
            raise JsonError("it describes no tensors")
    except JsonError as error:
        raise Damaged(f"of its header: {error}") from error
    tensors, end = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        if len(entry["data_offsets"]) != 2 or entry["data_offsets"][0] != end:
            raise Damaged("its tensors overlap or leave gaps")
        start, end = entry["data_offsets"]
        check_sizes(start, end, *entry["shape"])
        shape = tuple(entry["shape"])
        content = region.part(8 + size + start, end - start)
        kind = SAFETENSORS_TYPES.get(entry["dtype"])
        if kind is None:
            raise Damaged("it holds tensors of an unknown type")
        if len(shape) > MAX_DIMENSIONS or math.prod(shape) * kind.itemsize != content.size:
            raise Damaged("it holds an impossible shape or size")
        storage = Storage(kind, math.prod(shape), content)
        tensors[name] = StoredTensor(storage, 0, shape, contiguous(shape))
    if 8 + size + end != region.size:
        raise Damaged("there is something behind its tensors")
    return {name: tensors[name] for name in header}, metadata


SAFETENSORS_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
