"""A second device, played by the CPU: host and device have memories of their own, as with a GPU.

Its tensors say that they are on `THERE`; their numbers are ordinary tensors of the CPU. Operators
that would mix both memories fail, as those of CUDA do, and all that passes from one memory to the
other is written down, because a GPU's queue runs empty there.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from cycle_core.models import layers

THERE = torch.device("meta")  # a name that every build of torch knows; its own kernels do not run

# the host waits for a value, or for the number of the results
READING = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2")
INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_")


@dataclass
class Device:
    """What happened there: the lines of the project at which numbers crossed."""

    into: list[str] = field(default_factory=list)
    back: list[str] = field(default_factory=list)


class There(Tensor):
    """A tensor on the second device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> There:
        tensor = Tensor._make_wrapper_subclass(  # pyright: ignore[reportAttributeAccessIssue]
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, device=THERE,
        )  # fmt: skip
        tensor.held = held
        return tensor

    def __repr__(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return f"There({self.held})"

    @classmethod
    def __torch_dispatch__(cls, operator: Any, types: Any, args: Any = (), kwargs: Any = None):
        raise RuntimeError("The second device is used outside of `other_device`.")


@contextlib.contextmanager
def other_device() -> Iterator[Device]:
    """Within, networks and tensors can go `.to(THERE)`, and back by `.to("cpu")`."""
    device = Device()
    layers._kept_binomial.cache_clear()
    try:
        with _Operators(device), _Functions(), patch.object(torch, "autocast", _autocast):
            yield device
    finally:
        layers._kept_binomial.cache_clear()


def _autocast(device_type: str, *args: Any, **kwargs: Any) -> torch.autocast:
    return _AUTOCAST("cpu" if device_type == THERE.type else device_type, *args, **kwargs)


_AUTOCAST = torch.autocast


class _Functions(TorchFunctionMode):
    """What passes from one memory to the other without an operator that shows it."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        kwargs = kwargs or {}
        if function in (torch.tensor, torch.as_tensor) and _is_there(kwargs.get("device")):
            named = {key: value for key, value in kwargs.items() if key != "device"}
            return function(*args, **named).to(THERE)
        if args and isinstance(args[0], There):
            if function is Tensor.tolist:
                return args[0].to("cpu").tolist()
            if function is Tensor.new_tensor:
                return torch.tensor(args[1], dtype=kwargs.get("dtype", args[0].dtype)).to(THERE)
            if function in (Tensor.__getitem__, Tensor.__setitem__):
                args = (args[0], _index(args[1]), *args[2:])
        return function(*args, **kwargs)


def _index(given: Any) -> Any:
    """Lists of rows are sent there."""
    if isinstance(given, tuple):
        return tuple(map(_index, given))
    return torch.tensor(given).to(THERE) if isinstance(given, list) else given


class _Operators(TorchDispatchMode):
    def __init__(self, device: Device):
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None):
        kwargs = dict(kwargs or {})
        given, structure = tree_flatten((args, kwargs))
        tensors = [x for x in given if isinstance(x, Tensor)]
        gives = self._cross(operator.overloadpacket.__name__, args, kwargs, tensors)
        inner = [x.held if isinstance(x, There) else x for x in given]
        args, kwargs = tree_unflatten(inner, structure)
        if kwargs.get("device") is not None:
            kwargs["device"] = torch.device("cpu")
        result = operator(*args, **kwargs)
        # what works in place gives what it was given
        known = {id(x.held): x for x in tensors if isinstance(x, There)}

        def outside(x: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            if id(x) in known:
                return known[id(x)]
            return There(x) if gives else x

        return tree_map(outside, result)

    def _cross(self, name: str, args: Any, kwargs: Any, tensors: list[Tensor]) -> bool:
        """Whether the result is on the second device; write down what crosses."""
        there = [isinstance(x, There) for x in tensors]
        if any(x.is_meta and not is_there for x, is_there in zip(tensors, there, strict=True)):
            raise NotImplementedError(f"{name} of a tensor that torch made on {THERE} by itself")
        device = kwargs.get("device")
        gives = any(there) if device is None else _is_there(device)
        if name == "copy_":
            gives = there[0]
            self._note(gives, there[1])
        elif name == "_to_copy":
            self._note(gives, any(there))
        elif name in READING and any(there):
            self._note(False, True)
        elif name in INDEXING and there[0]:
            for index, is_there in list(zip(tensors, there, strict=True))[1:]:
                if index.dtype == torch.bool and is_there:
                    self._note(False, True)
                elif not is_there and index.dim():
                    self._note(True, False)
        elif any(there) and any(x.dim() and not isinstance(x, There) for x in tensors):
            raise RuntimeError(f"{name}: expected all tensors to be on the same device.")
        return gives

    def _note(self, gives: bool, comes: bool) -> None:
        if gives == comes:
            return
        (self.device.into if gives else self.device.back).append(_where())


def _is_there(device: Any) -> bool:
    return device is not None and torch.device(device) == THERE


def _where() -> str:
    """The line of the project that is being run."""
    for frame in reversed(traceback.extract_stack()):
        if "cycle_core" in frame.filename:
            return f"{frame.filename.split('cycle_core')[-1]}:{frame.lineno} {frame.line}"
    return "outside"
