"""Tensors that do not lie in their numbers."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from .writing import (
    Call,
    Name,
    Raw,
    Stored,
    code,
    dump,
    persistent,
    storage,
    tensor,
    torch_legacy,
    torch_zip,
)


def wild_tensors() -> Iterator[tuple[str, bytes]]:
    """Tensors that do not lie in their numbers; `storage()` has four."""
    huge = 2**62
    ndarray = Call(
        Name("numpy.core.multiarray", "_reconstruct"), (Name("numpy", "ndarray"), (0,), b"b")
    )

    def numpy_array(*state: Any) -> Call:
        return Call(ndarray.function, ndarray.arguments, (1, *state))

    f4 = Call(Name("numpy", "dtype"), ("f4", 0, 1), (3, "<", None, None, None, -1, -1, 0))
    calls = {
        "terabytes": tensor(0, (2**40,), (1,)),
        "terabytes in storage": tensor(0, (2**40,), (1,), count=2**40),
        "more than there is": tensor(0, (huge, huge), (huge, 1), count=huge),
        "a product that wraps": tensor(0, (2**32, 2**32, 2), (2**33, 2, 1)),
        "terabytes out of one": tensor(0, (2**40,), (0,)),
        "negative strides": tensor(3, (4,), (-1,)),
        "overlapping strides": tensor(0, (2, 2), (1, 1)),
        "windows": tensor(0, (3, 2), (1, 1)),
        "a negative offset": tensor(-1, (2,), (1,)),
        "an offset outside": tensor(4, (1,), (1,)),
        "an offset that wraps": tensor(2**63, (1,), (1,)),
        "a negative size": tensor(0, (-1,), (1,)),
        "sizes and strides": tensor(0, (2, 2), (1,)),
        "a size of text": tensor(0, ("2",), (1,)),
        "a size of nothing": tensor(0, (None,), (1,)),
        "a size of truth": tensor(0, (True,), (1,)),
        "a broken size": tensor(0, (1.5,), (1,)),
        "an infinite size": tensor(0, (float("inf"),), (1,)),
        "a shape of text": tensor(0, "22", "11"),
        "a thousand dimensions": tensor(0, (1,) * 1000, (1,) * 1000),
        "a thousand empty dimensions": tensor(0, (0,) * 1000, (1,) * 1000),
        "a negative storage": tensor(0, (1,), (1,), count=-4),
        "a storage of text": tensor(0, (1,), (1,), count="4"),
        "a storage that is not there": tensor(0, (1,), (1,), key="1"),
        "a storage of a list": tensor(0, (1,), (1,), key=["0"]),
        "a storage outside": tensor(0, (1,), (1,), key="../../data.pkl"),
        "a storage of no type": Stored(("storage", Name("os", "system"), "0", "cpu", 4)),
        "a storage too short": Stored(("storage",)),
        "a storage of nothing": Stored(None),
        "two types of one": [
            tensor(0, (4,), (1,)),
            tensor(0, (4,), (1,), kind="DoubleStorage"),
        ],
        "no storage": Call(Name("torch._utils", "_rebuild_tensor_v2"), (None, 0, (4,), (1,))),
        "no arguments": Call(Name("torch._utils", "_rebuild_tensor_v2")),
        "many arguments": Call(Name("torch._utils", "_rebuild_tensor_v2"), tuple(range(1000))),
        "a version 3 without type": Call(
            Name("torch._utils", "_rebuild_tensor_v3"), (storage(), 0, (1,), (1,), False, {}, "f")
        ),
        "a version 3 of a call": Call(
            Name("torch._utils", "_rebuild_tensor_v3"),
            (storage(), 0, (1,), (1,), False, {}, Name("os", "system")),
        ),
        "a parameter of 5": Call(Name("torch._utils", "_rebuild_parameter"), (5, False, {})),
        "a parameter of nothing": Call(Name("torch._utils", "_rebuild_parameter")),
        "quantised": Call(
            Name("torch._utils", "_rebuild_qtensor"), (storage("QInt8Storage"), 0, (4,), (1,), ())
        ),
        "sparse": Call(Name("torch._utils", "_rebuild_sparse_tensor"), (1, ())),
        "on a device": Call(Name("torch._utils", "_rebuild_device_tensor_from_numpy"), (1,)),
        "numpy of a negative size": numpy_array((-1,), f4, False, bytes(16)),
        "numpy of terabytes": numpy_array((2**40,), f4, False, bytes(16)),
        "numpy of text": numpy_array("4", f4, False, bytes(16)),
        "numpy without type": numpy_array((4,), None, False, bytes(16)),
        "numpy of objects without type": numpy_array((1,), None, False, ["a"]),
        "numpy of numbers": numpy_array((4,), f4, False, 16),
        "numpy of itself": Raw(
            code(ndarray) + b"q\x07" + code((1, (1,), f4, False, Raw(b"h\x07"))) + b"b"
        ),
        "numpy of a long type": Call(Name("numpy", "dtype"), ("V" + "9" * 300,)),
        "numpy of fields": Call(
            Name("numpy", "dtype"), ("V8", 0, 1), (3, "|", None, ("a",), {"a": (1, 0)}, 8, 1, 0)
        ),
        "numpy of dates": Call(Name("numpy", "dtype"), ("M8", 0, 1), (4, "<", 1, 2, 3, 4, 5)),
        "a number of nothing": Call(Name("numpy.core.multiarray", "scalar"), (f4, b"")),
        "a number of text": Call(Name("numpy.core.multiarray", "scalar"), (f4, "1234")),
        "a buffer": Call(
            Name("numpy.core.numeric", "_frombuffer"), (bytes(16), f4, (2**50, 2**50), "C")
        ),
        "a size of itself": Call(Name("torch", "Size"), (Call(Name("torch", "Size"), (5,)),)),
        "a dict of text": Call(Name("collections", "OrderedDict"), ("abc",)),
        "a dict of itself": Raw(
            code(Call(Name("collections", "OrderedDict"))) + b"q\x07h\x07h\x07s"
        ),
        "a network of itself": Raw(
            code(Call(Name("dnnlib.tflib.network", "Network")))
            + b"q\x07"
            + code({"components": {"mapping": Raw(b"h\x07")}})
            + b"b"
        ),
        "a module of nothing": persistent("G", None),
        "a module without a name": persistent(None, {}),
    }
    for name, call in calls.items():
        data = {"comp": call, "mean": call, "std": call, "G_ema": call, "g_ema": {"x": call}}
        yield f"{name}.pt", torch_zip(dump(data), bytes(16))
        key = dump(["0"])
        yield f"{name} legacy.pt", torch_legacy(dump(data), key, struct.pack("<q16x", 4))
    nan = np.full(4, np.nan, np.float32).tobytes()
    vector = dump(tensor(0, (4,), (1,)))
    yield "nan.pt", torch_zip(vector, nan)
    yield (
        "infinite.pt",
        torch_zip(
            dump(tensor(0, (2,), (1,), kind="DoubleStorage", count=2)), np.full(2, 1e300).tobytes()
        ),
    )
    yield "whole numbers.pt", torch_zip(dump(tensor(0, (4,), (1,), kind="IntStorage")), nan)
    yield "half a storage.pt", torch_zip(vector, nan[:8])
    yield "another size legacy.pt", torch_legacy(vector, dump(["0"]), struct.pack("<q16x", 5))
    yield "a key twice legacy.pt", torch_legacy(vector, dump(["0", "0"]), struct.pack("<q16x", 4))
    yield "no keys legacy.pt", torch_legacy(vector)
    yield "keys of text legacy.pt", torch_legacy(vector, dump("0" * 100_000))
    zeros = torch_legacy(
        dump(tensor(0, (0,), (1,), count=0)),
        b"\x80\x02(" + code("0") + b"2" * 200_000 + b"t.",
        bytes(8 * 200_001),
    )
    yield "a key again and again legacy.pt", zeros
