"""Any model file as plain data, without running code that is stored in it.

    contents = read_file("network.pkl")
    contents.container, contents.data           # "pickle", {"G_ema": PersistentObject(...), ...}
    state = load_tensors(module_state(contents.data["G_ema"]))     # {name: float32 tensor}

The data is made of dict, list, tuple, str, bytes, numbers, None and the records of `lazy_tensors`.
Tensors and numpy arrays are `StoredTensor`s, which stay in the file until `load_tensors` (a state
dict), `load_all` (anything small) or `.tensor()` read them.

Known containers: safetensors, the zip files of torch.save, its older format, bare pickles of the
protocols 0 to 5 (with the torch files nested in them), .npy and .npz. `unpickling` says why they do
not go through torch.load.
"""

from __future__ import annotations

import contextlib
import math
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError, CycleError, MissingFileError
from .containers import read_container
from .lazy_tensors import (
    Damaged,
    FileBytes,
    PersistentObject,
    Region,
    StoredTensor,
    Unsupported,
    check_unfolded,
)
from .unpickling import Limits

MAX_PREFIX = 500  # characters of the names of modules in modules


@dataclass(frozen=True)
class Contents:
    """What is in a file."""

    path: Path
    container: str  # "safetensors", "torch zip", "torch legacy", "pickle", "npy" or "npz"
    data: Any = field(repr=False)
    metadata: dict[str, str] = field(default_factory=dict)  # of safetensors
    unknown: tuple[str, ...] = ()  # names of classes and functions that are not known here
    cache: dict[str, Any] = field(default_factory=dict, repr=False)  # what was found in `data`


@dataclass(frozen=True)
class Format:
    """One layout of one kind of thing."""

    name: str  # as people call it: "NVIDIA StyleGAN2 pickle"
    kind: str  # of what it holds: "generator", "encoder", "direction", "code" ...
    detect: Callable[[Contents], bool]
    load: Callable[..., Any]
    # more lines for `cycle-core inspect`, of what `load` gave: {"tuned from": "0123456789abcdef"}
    describe: Callable[[Any], dict[str, Any]] = lambda loaded: {}


def matching(contents: Contents, formats: Iterable[Format]) -> list[Format]:
    """Those that a file has, at most one of a kind."""
    found: dict[str, Format] = {}
    for one in formats:
        if one.kind not in found and one.detect(contents):
            found[one.kind] = one
    return list(found.values())


def read_file(path: str | Path, strict: bool = True) -> Contents:
    """Read what the file holds; tensors stay in it until they are asked for.

    strict: refuse files that name classes or functions which have no place in a model file. Without
        it they are `OpaqueObject`s, which is enough to tell what a file is.
    Raises MissingFileError; CheckpointError for folders, damaged and unknown files."""
    path = Path(path)
    with reported(path):
        _check_file(path)
        region = Region(source := FileBytes.of(path), 0, source.size)
        limits = Limits(source.size)
        container, data, metadata = read_container(region, limits)
        check_unfolded(data)
    contents = Contents(path, container, data, metadata, tuple(sorted(limits.unknown)))
    if strict and contents.unknown:
        raise CheckpointError(refusal(contents))
    return contents


def refusal(contents: Contents) -> str:
    """The sentence for a file with names that are not known here."""
    return (
        f"{contents.path} asks for {contents.unknown[0]}, which is neither a tensor nor anything "
        "else that a model file needs, so it is not opened and nothing in it was run: get the file "
        "from its authors, or have it saved again as a state dict."
    )


def module_state(module: Any) -> dict[str, StoredTensor]:
    """The tensors of a pickled module by the names that its `state_dict()` would give them.

    Raises Damaged for something that is no module."""
    state: dict[str, StoredTensor] = {}
    parts = [("", module)]
    while parts:
        prefix, module = parts.pop()
        if not isinstance(module, PersistentObject) or len(prefix) > MAX_PREFIX:
            raise Damaged("it holds something else where a module is expected")
        for kind in ("_parameters", "_buffers"):
            for name, value in _items(module.state.get(kind)):
                if isinstance(value, StoredTensor):
                    state[f"{prefix}{name}"] = value
        for name, part in _items(module.state.get("_modules")):
            if part is not None:
                parts.append((f"{prefix}{name}.", part))
    return state


def load_tensors(values: Any, prefix: str = "") -> dict[str, Tensor]:
    """Read the tensors of a state dict whose names begin with `prefix`, which is taken away.

    Gives {name: CPU tensor}; floating ones as float32.
    Raises Damaged where they are not finite numbers."""
    chosen = {
        str(name)[len(prefix) :]: value
        for name, value in _items(values)
        if isinstance(value, StoredTensor) and str(name).startswith(prefix)
    }
    _check_total(list(chosen.values()))
    return {name: _finite(name, value.tensor()) for name, value in chosen.items()}


def load_all(value: Any) -> Any:
    """The same data with every array read: StoredTensor -> CPU tensor of its own type.

    For small files: whatever it takes is bounded. Raises Damaged."""
    tensors: list[StoredTensor] = []

    def walk(value: Any, read: bool) -> Any:
        if isinstance(value, StoredTensor):
            if value.items is not None:  # a numpy array of objects
                items = [walk(item, read) for item in value.items]
                return items if value.shape else items[0]
            if read:
                return value.tensor()
            tensors.append(value)
            return value
        if isinstance(value, dict):
            return {key: walk(item, read) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(walk(item, read) for item in value)
        return value

    walk(value, read=False)
    _check_total(tensors)
    return walk(value, read=True)


@contextlib.contextmanager
def reported(path: str | Path) -> Iterator[None]:
    """Whatever goes wrong while a file is read becomes one sentence about that file."""
    try:
        yield
    except CycleError:
        raise
    except Unsupported as error:
        raise CheckpointError(f"{path} {error}.") from error
    except Exception as error:
        full = isinstance(error, MemoryError)
        if full or (isinstance(error, RuntimeError) and "allocate memory" in str(error)):
            raise CheckpointError(
                f"{path} needs more memory than is free: close other programs, or get a smaller "
                "file."
            ) from error
        reason = "its parts do not fit together"
        if isinstance(error, Damaged):
            reason = str(error)
        elif isinstance(error, OSError):
            reason = error.strerror or reason
        raise CheckpointError(
            f"{path} cannot be read as a model file ({reason}): it is damaged or of another "
            "format; get it again or choose another file."
        ) from error


def is_finite(tensor: Tensor) -> bool:
    """Whether all numbers of a float32 tensor are finite."""
    # a sum is quicker than isfinite, and finite only if all are; a huge one may still overflow
    return math.isfinite(tensor.sum().item()) or bool(torch.isfinite(tensor).all())


# ------------------------------------------------------------------ checks
def _check_file(path: Path) -> None:
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise MissingFileError(f"There is no file {path}: check the path.") from error
    if stat.S_ISDIR(status.st_mode):
        raise CheckpointError(f"{path} is a folder, but a model file is needed.")
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{path} is a device or a pipe, but a model file is needed.")


def _items(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else []


def _check_total(tensors: list[StoredTensor]) -> None:
    """Tensors may share numbers, but not so that a small file fills the memory."""
    sources = {}
    for tensor in tensors:
        if tensor.storage is not None and tensor.storage.region is not None:
            source = tensor.storage.region.source
            sources[id(source)] = source.size
    if sum(tensor.nbytes for tensor in tensors) > 2 * sum(sources.values()):
        raise Damaged("it names the same numbers again and again")


def _finite(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    tensor = tensor.float()
    if not is_finite(tensor):
        raise Damaged(f"it holds values that are not finite numbers, in {name}")
    return tensor
