"""What the names in a pickle stand for: a fixed table of functions here that make inert records.

Nothing is ever imported: a name that is not in the table stands for nothing (`Global.make` is
None), and what would be made of it becomes an `OpaqueObject`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .lazy_tensors import (
    MAX_DIMENSIONS,
    NUMPY_TYPES,
    Damaged,
    OpaqueObject,
    PersistentObject,
    Region,
    Storage,
    StoredTensor,
    TFNetwork,
    check_sizes,
    contiguous,
    numpy_storage,
)

MAX_NAME = 200  # characters of a module and a name in it
MAX_KEYS = 2000  # of a dict that are no text


class Global:
    """A name in a pickle: of a class, a function or a torch constant. Never imported."""

    def __init__(self, module: str, name: str):
        self.name = f"{module}.{name}"
        self.make = _find(module, name)


def checked_key(key: Any, among: int) -> Any:
    """A key for a dict that has `among` entries, where it is hashed.

    Text has hashes that nobody can foresee. Numbers can be chosen to collide, so that a dict of a
    million takes hours, and hashing a deep tuple would end the process."""
    if type(key) is str:
        return key
    if type(key) is int and abs(key) >= 2**60:  # would be equal to others modulo 2^61 - 1
        raise Damaged("it holds a dictionary with impossible keys")
    if among < MAX_KEYS:
        if isinstance(key, int | float | bytes) or key is None:
            return key
        if type(key) is tuple and len(key) <= 8 and all(type(part) is str for part in key):
            return key
        if isinstance(key, Global):
            return key.name
    raise Damaged("it holds a dictionary with impossible keys")


def region_of(content: Any) -> Region:
    """The bytes that a value stands for."""
    if isinstance(content, Region):
        return content
    if isinstance(content, str):
        content = content.encode("latin-1")
    if not isinstance(content, bytes):
        raise Damaged("it holds something else where bytes are expected")
    return Region.of(content)


def load_from_bytes(_: Any) -> Any:
    raise AssertionError("the machine opens these")


# ------------------------------------------------------------------ objects whose state follows
class Attributes(dict[str, Any]):
    """A dict whose pickled attributes are items of it: a Namespace or an EasyDict."""


class Module(PersistentObject):
    """A module of torch itself: its state follows after it was made."""


class DType:
    """A numpy dtype."""

    def __init__(self, code: str, align: object = False, copy: object = True):
        if type(code) is not str or len(code) > 20:
            raise Damaged("it holds arrays of an unknown type")
        self.code = code

    def set_state(self, state: Any) -> None:
        order, fields = state[1], state[2:5]
        if any(field is not None for field in fields):
            raise Damaged("it holds arrays of an unknown type")
        if order in ("<", ">", "|", "=") and self.code[:1] not in ("<", ">", "|", "="):
            self.code = order + self.code


class Array(StoredTensor):
    """A numpy array, which its state makes whole."""

    def __init__(self, *_: object):
        super().__init__(None)

    def set_state(self, _: object, shape: Any, dtype: Any, fortran: Any, content: Any) -> None:
        if not isinstance(dtype, DType):
            raise Damaged("it holds arrays of an unknown type")
        if type(content) is list:
            if type(shape) is not tuple or len(shape) > MAX_DIMENSIONS:
                raise Damaged("it holds an impossible shape or size")
            check_sizes(*shape)
            if math.prod(shape) != len(content):
                raise Damaged("it holds an impossible shape or size")
            self.items, self.shape = content, shape
            return
        _place(self, shape, dtype, bool(fortran), region_of(content))


def _place(array: StoredTensor, shape: Any, dtype: DType, fortran: bool, region: Region) -> None:
    shape = (shape,) if type(shape) is int else shape
    if type(shape) is not tuple:
        raise Damaged("it holds an impossible shape or size")
    check_sizes(*shape)
    storage, swapped = numpy_storage(dtype.code, region, shape)
    StoredTensor.__init__(array, storage, 0, shape, contiguous(shape, fortran), swapped=swapped)


def _frombuffer(content: Any, dtype: Any, shape: Any, order: str, *_: object) -> StoredTensor:
    array = Array()
    if not isinstance(dtype, DType):
        raise Damaged("it holds arrays of an unknown type")
    _place(array, shape, dtype, order == "F", region_of(content))
    return array


def _scalar(dtype: Any, content: Any = b"") -> Any:
    if not isinstance(dtype, DType):
        raise Damaged("it holds arrays of an unknown type")
    if dtype.code.lstrip("<>|=") not in NUMPY_TYPES:
        return OpaqueObject("numpy.scalar")
    kind = np.dtype(dtype.code)
    return np.frombuffer(region_of(content).part(0, kind.itemsize).read(), kind)[0].item()


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> StoredTensor:
    if not isinstance(storage, Storage):
        raise Damaged("it holds a tensor without numbers")
    return StoredTensor(storage, offset, shape, strides)


def _tensor_v3(
    storage: Any, offset: Any, shape: Any, strides: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
) -> StoredTensor:
    kind = STORAGE_TYPES.get(dtype.name) if isinstance(dtype, Global) else None
    if not isinstance(storage, Storage) or kind is None:
        raise Damaged("it holds tensors of an unknown type")
    return StoredTensor(storage, offset, shape, strides, dtype=kind)


def _parameter(data: Any, *_: Any) -> StoredTensor:
    if not isinstance(data, StoredTensor):
        raise Damaged("it holds a parameter without numbers")
    return data


def _with_attributes(function: Any, kind: Any, arguments: Any, state: Any) -> Any:
    """A tensor that carries attributes of its own, which are left out."""
    make = function.make if isinstance(function, Global) else None
    if make is None or make not in (_tensor, _tensor_v3, _parameter):
        raise Damaged("it holds a tensor of an unknown kind")
    return make(*arguments)


def _persistent_object(meta: Any) -> PersistentObject:
    name, state = meta["class_name"], meta["state"]
    if type(name) is not str or len(name) > MAX_NAME or type(state) not in (dict, Attributes):
        raise Damaged("it holds a module without a state")
    return PersistentObject(name, state)


def _reconstructor(class_: Any, base: Any, state: Any) -> Any:
    """Objects in the protocols 0 and 1."""
    if not isinstance(class_, Global):
        raise Damaged("it is no whole pickle")
    make = class_.make
    if make is None:
        return OpaqueObject(class_.name)
    return make(state) if state and make in (_mapping, _attributes) else make()


def _mapping(*items: Any) -> dict[Any, Any]:
    pairs = items[-1] if items and not isinstance(items[-1], Global) else ()
    made: dict[Any, Any] = {}
    for key, value in pairs.items() if isinstance(pairs, dict) else pairs:
        made[checked_key(key, len(made))] = value
    return made


def _attributes(*items: Any) -> Attributes:
    return Attributes(_mapping(*items))


def _sequence(kind: type) -> Callable[..., Any]:
    def make(items: Any = ()) -> Any:
        if not isinstance(items, list | tuple | dict):  # bytes would become as many numbers
            raise Damaged("it is no whole pickle")
        return kind(items)

    return make


def _encode(text: Any, encoding: Any = "latin-1") -> bytes:
    if type(text) is not str or encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise Damaged("it is no whole pickle")
    return text.encode(encoding)


def _path(*parts: Any) -> str:
    return "/".join(part for part in parts if type(part) is str)


def _constant(*_: Any) -> None:
    """A device, a layout: things that do not matter here."""


_NAMES: dict[str, Callable[..., Any]] = {
    "collections OrderedDict": _mapping,
    "collections defaultdict": _mapping,
    "dnnlib.tflib.network Network": lambda *_: TFNetwork(),
    "torch_utils.persistence _reconstruct_persistent_obj": _persistent_object,
    "torch._utils _rebuild_tensor": _tensor,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_tensor_v3": _tensor_v3,
    "torch._utils _rebuild_parameter": _parameter,
    "torch._utils _rebuild_parameter_with_state": _parameter,
    "torch._tensor _rebuild_from_type_v2": _with_attributes,
    "torch.storage _load_from_bytes": load_from_bytes,
    "torch Size": _sequence(tuple),
    "torch device": _constant,
    "torch.serialization _get_layout": _constant,
    "numpy dtype": DType,
    "numpy ndarray": Array,
    "_codecs encode": _encode,
}
# tables with their entries as attributes: options of trainings
for _table in (
    "argparse Namespace",
    "types SimpleNamespace",
    "dnnlib.util EasyDict",
    "dnnlib EasyDict",
    "easydict EasyDict",
    "addict.addict Dict",
    "munch Munch",
    "attrdict.dictionary AttrDict",
    "yacs.config CfgNode",
    "fvcore.common.config CfgNode",
    "ml_collections.config_dict.config_dict ConfigDict",
    "mmcv.utils.config ConfigDict",
    "mmengine.config.config ConfigDict",
    "pytorch_lightning.utilities.parsing AttributeDict",
    "lightning_fabric.utilities.data AttributeDict",
    "lightning.fabric.utilities.data AttributeDict",
    "collections Counter",
):
    _NAMES[_table] = _attributes
for _module in ("pathlib", "pathlib._local"):  # the second since Python 3.13
    for _kind in ("Path", "PosixPath", "WindowsPath"):
        _NAMES |= {f"{_module} {_kind}": _path, f"{_module} Pure{_kind}": _path}
for _core in ("numpy.core", "numpy._core"):
    _NAMES |= {
        f"{_core}.multiarray _reconstruct": Array,
        f"{_core}.multiarray scalar": _scalar,
        f"{_core}.numeric _frombuffer": _frombuffer,
    }
for _builtins in ("builtins", "__builtin__"):
    # sets are never looked into: as lists nothing in them is hashed
    _NAMES |= {f"{_builtins} {kind}": _sequence(list) for kind in ("set", "frozenset", "list")}
    _NAMES |= {f"{_builtins} tuple": _sequence(tuple), f"{_builtins} object": _constant}
    _NAMES |= {f"{_builtins} dict": _mapping}
    _NAMES |= {f"{_builtins} bytes": _encode, f"{_builtins} bytearray": _encode}
for _copyreg in ("copyreg", "copy_reg"):
    _NAMES[f"{_copyreg} _reconstructor"] = _reconstructor

# torch's storages and constants, by name: {"torch.FloatStorage": torch.float32, ...}
STORAGE_TYPES: dict[str, torch.dtype] = {
    f"torch.{name}Storage": dtype
    for name, dtype in {
        "Double": torch.float64,
        "Float": torch.float32,
        "Half": torch.float16,
        "BFloat16": torch.bfloat16,
        "Long": torch.int64,
        "Int": torch.int32,
        "Short": torch.int16,
        "Char": torch.int8,
        "Byte": torch.uint8,
        "Bool": torch.bool,
        "Untyped": torch.uint8,
    }.items()
}
STORAGE_TYPES |= {"torch.storage.UntypedStorage": torch.uint8}
STORAGE_TYPES |= {
    str(dtype): dtype
    for dtype in (value for value in vars(torch).values() if isinstance(value, torch.dtype))
    if not str(dtype).startswith(("torch.q", "torch.bits"))
}


def _find(module: str, name: str) -> Callable[..., Any] | None:
    found = _NAMES.get(f"{module} {name}")
    if found is None and f"{module}.{name}" in STORAGE_TYPES:
        return _constant
    if found is None and module.startswith("torch.nn.modules."):
        return lambda *_: Module(name, {})
    return found
