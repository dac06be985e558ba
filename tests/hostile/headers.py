"""Headers that lie: of safetensors, of our own configurations in them, and of numpy's files."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from .damage import models
from .writing import TOUCH, archive, array


def safetensors() -> Iterator[tuple[str, bytes]]:
    """Headers that lie."""

    def file(header: Any, content: bytes = bytes(16), size: int | None = None) -> bytes:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text) if size is None else size) + text + content

    def entry(dtype: Any = "F32", shape: Any = (4,), offsets: Any = (0, 16)) -> dict[str, Any]:
        return {"dtype": dtype, "shape": shape, "data_offsets": offsets}

    ours = {"__metadata__": {"kind": "code", "config": json.dumps({"space": "W"})}}
    headers = {
        "terabytes": entry(shape=[2**40], offsets=[0, 2**42]),
        "a size that lies": entry(shape=[2**40]),
        "a product that wraps": entry(shape=[2**32, 2**32]),
        "outside": entry(offsets=[16, 32]),
        "backwards": entry(offsets=[16, 0]),
        "negative": entry(offsets=[-16, 0]),
        "broken offsets": entry(offsets=[0.5, 16.5]),
        "offsets of text": entry(offsets=["0", "16"]),
        "offsets of truth": entry(shape=[], offsets=[False, True]),
        "one offset": entry(offsets=[0]),
        "another type": entry("F64"),
        "no type": entry("F33"),
        "a type of a list": entry(["F32"]),
        "a negative shape": entry(shape=[-4]),
        "a broken shape": entry(shape=[4.0]),
        "a shape of text": entry(shape="4"),
        "a thousand dimensions": entry(shape=[1] * 1000 + [4]),
        "no entry": {},
        "a list": [],
        "nothing": None,
    }
    for name, header in headers.items():
        yield f"{name}.safetensors", file({**ours, "w": header, "offsets": entry()})
    yield (
        "overlapping.safetensors",
        file({**ours, "w": entry(), "x": entry(shape=[2], offsets=[4, 12])}),
    )
    yield "a gap.safetensors", file({**ours, "w": entry(offsets=[8, 24])}, bytes(24))
    duplicate = json.dumps({"w": entry(), "v": entry("F64", [2])}).replace('"v"', '"w"')
    yield "names twice.safetensors", file(duplicate.encode())
    for name, header, content in (
        ("something behind", {"w": entry()}, bytes(17)),
        ("a hole", {"w": entry(), "x": entry(shape=[1], offsets=[20, 24])}, bytes(24)),
        ("not from the start", {"w": entry(offsets=[4, 20])}, bytes(20)),
        ("the same place", {"w": entry(), "x": entry()}, bytes(16)),
    ):
        yield f"{name}.safetensors", file({**ours, **header}, content)
    inner = b'{"w":{"dtype":"F32","dtype":"F32","shape":[4],"data_offsets":[0,16]}}'
    yield "an entry twice.safetensors", file(inner)
    yield "a huge header.safetensors", file({}, size=2**63)
    yield "a header of all.safetensors", file({}, size=2**40)
    yield "a longer header.safetensors", file({}, size=100)
    yield "an empty header.safetensors", file(b"", size=0) + b"{"
    yield "deep lists.safetensors", file(b'{"a":' + b"[" * 200_000)
    yield "deep tables.safetensors", file(b'{"a":' * 200_000)
    yield (
        "deep metadata.safetensors",
        file({"__metadata__": {"kind": "code", "config": "[" * 200_000}, "w": entry()}),
    )
    yield "digits.safetensors", file(b'{"w":{"shape":[' + b"9" * 1_000_000 + b"]}}")
    yield (
        "not a number.safetensors",
        file(b'{"w":{"dtype":"F32","shape":[NaN],"data_offsets":[0,0]}}'),
    )
    yield "no text.safetensors", file(b'{"\xff\xfe":1}')
    yield "a top of text.safetensors", file(b'{"' + b"a" * 1000 + b'"}')
    yield "metadata of a list.safetensors", file({"__metadata__": [1], "w": entry()})
    yield "metadata of numbers.safetensors", file({"__metadata__": {"kind": 1}, "w": entry()})
    empty = b",".join(
        b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % i for i in range(250_000)
    )
    yield "many tensors.safetensors", file(b"{" + empty + b"}")
    names = {"\x1b[2J\x1b]0;owned\x07\n" * 50: entry()}
    for kind in ("generator", "encoder", "delta", "code", "direction"):
        meta = {"__metadata__": {"kind": kind, "config": "{}"}}
        yield f"control sequences in {kind}.safetensors", file({**meta, **names})
        for config in ("", "[]", "null", "NaN", '"', "1" * 5000, '{"resolution": 8}', "[" * 50_000):
            header = {"__metadata__": {"kind": kind, "config": config}, "w": entry()}
            yield f"{kind} of {zlib.crc32(config.encode()):x}.safetensors", file(header)
    yield (
        "another kind.safetensors",
        file({"__metadata__": {"kind": "\x1b[2Jowned\n", "config": "{}"}, "w": entry()}),
    )


def configurations() -> Iterator[tuple[str, bytes]]:
    """Our own layout with absurd numbers: nothing may be made before it is known to be there."""
    whole = models()
    huge = 10**9
    changes: dict[str, list[dict[str, Any]]] = {
        "generator": [
            {"resolution": 2**20}, {"resolution": 2**60}, {"resolution": 2**4000},
            {"resolution": 2**20, "channels": None}, {"resolution": 2**4000, "channels": None},
            {"resolution": 1e300},
            {"resolution": float("nan")}, {"resolution": "8"}, {"resolution": None},
            {"resolution": [8]}, {"resolution": True}, {"resolution": -8},
            {"channels": [10_000_000, 10_000_000]}, {"channels": [huge**2] * 2},
            {"channels": ["4", "3"]}, {"channels": 5}, {"channels": [-4, -3]}, {"channels": [0, 0]},
            {"channels": None, "channel_base": huge**3, "channel_max": huge**3},
            {"z_dim": huge**2}, {"z_dim": -1}, {"z_dim": 4.0}, {"w_dim": huge}, {"c_dim": huge},
            {"c_dim": -1}, {"c_dim": "1"}, {"mapping_layers": huge}, {"mapping_layers": -huge},
            {"mapping_layers": 0}, {"mapping_layers": "2"}, {"mapping_layers": 1e9},
            {"mapping_lr_multiplier": "1"}, {"conv_clamp": "1"}, {"conv_clamp": [1]},
            {"normalize_z": []}, {"trap": 1}, {"conv_clamp": float("nan")}, {"conv_clamp": -1.0},
            {"conv_clamp": 0.0}, {"mapping_lr_multiplier": float("inf")}, {"img_channels": 10**6},
            {"mapping_lr_multiplier": float("nan")}, {"mapping_lr_multiplier": 10**400},
            {"img_channels": 0}, {"const_size": [10**6, 10**6]}, {"const_size": [0, 4]},
            {"const_size": [4]},
            {"architecture": "stylegan3", "first_cutoff": float("nan"), "resolution": 16},
            {"architecture": "stylegan3", "output_scale": float("inf"), "resolution": 16},
            {"architecture": "stylegan3", "num_layers": huge, "channels": None},
            {"architecture": "stylegan3", "num_layers": huge, "resolution": 1024},
            {"architecture": "stylegan3", "filter_size": huge, "resolution": 64, "channels": None},
            {"architecture": "stylegan3", "margin_size": huge, "resolution": 64, "channels": None},
            {"architecture": "stylegan3", "conv_kernel": huge, "resolution": 64, "channels": None},
            {"architecture": "stylegan3", "resolution": 2**1000, "channels": None},
            {"architecture": "stylegan3", "num_critical": "1"},
        ],
        "encoder": [
            {"num_ws": huge}, {"num_ws": -1}, {"num_ws": "8"}, {"num_ws": 8.0}, {"w_dim": huge},
            {"units": [huge, 1, 1, 1]}, {"units": [1] * 100}, {"units": ["1"] * 4},
            {"widths": [huge] * 5}, {"widths": [-1] * 5}, {"widths": None}, {"input_size": 2**40},
            {"input_size": 2**4000}, {"input_size": 0}, {"input_size": -16}, {"input_size": "32"},
            {"reduction": huge}, {"reduction": -1}, {"reduction": 0.5}, {"head_width": huge},
            {"head_width": -1}, {"stem_stride": huge}, {"iterations": huge}, {"iterations": "x"},
            {"stage": huge}, {"stage": "x"}, {"rows": [5, 1]}, {"rows": [0, huge]}, {"rows": 5},
            {"coarse": -1}, {"coarse": "x"}, {"middle": huge, "coarse": huge}, {"deltas": "x"},
        ],
        "code": [
            {"space": "Z"}, {"space": ["W"]}, {"space": None}, {"generator": [1]}, {"stage": "x"},
            {"generator": None},
        ],
        "direction": [
            {"directions": None}, {"directions": [None]}, {"directions": [{}]},
            {"directions": [{}] * 100_000}, {"directions": {"a": 1}}, {"directions": "x" * 10_000},
        ],
        "delta": [
            {"original": huge}, {"original": None}, {"history": None}, {"history": 5},
            {"best": "x"}, {"best": None}, {"space": "Z"},
            {"history": ["x"]}, {"history": [{"total": 10**400}]}, {"history": []},
            {"best": float("inf")}, {"best": huge}, {"best": -1},
        ],
    }  # fmt: skip
    for kind, configs in changes.items():
        state, metadata = whole[kind]
        config = json.loads(metadata["config"])
        for i, change in enumerate(configs):
            changed = {**metadata, "config": json.dumps({**config, **change})}
            yield f"{kind} {i} {next(iter(change))}.safetensors", save(state, changed)
    state, metadata = whole["generator"]
    for dtype in (torch.int8, torch.int64, torch.bool, torch.uint8):
        whole_numbers = {name: value.to(dtype) for name, value in state.items()}
        yield f"generator of {dtype}.safetensors", save(whole_numbers, metadata)
    for kind in ("generator", "encoder", "code", "delta", "direction"):
        state, metadata = whole[kind]
        name = "synthesis.const" if "synthesis.const" in state else next(iter(state))
        for value in (float("nan"), float("inf")):
            bad = {**state, name: state[name].float().clone()}
            bad[name].view(-1)[-1] = value
            yield f"{kind} with {value}.safetensors", save(bad, metadata)
            checked = {**metadata, "finite": "checked", "fingerprint": "0" * 16}
            yield f"{kind} with {value}, checked.safetensors", save(bad, checked)
        bad = {k: v.to(torch.int64) for k, v in state.items()}
        yield f"{kind} of whole numbers.safetensors", save(bad, metadata)
        yield (
            f"{kind} of dimensions.safetensors",
            save({k: v.view(*[1] * 20, *v.shape) for k, v in state.items()}, metadata),
        )
        yield f"{kind} without tensors.safetensors", save({}, metadata)
        yield (
            f"{kind} without numbers.safetensors",
            save({k: v.flatten()[:0] for k, v in state.items()}, metadata),
        )


def arrays() -> Iterator[tuple[str, bytes]]:
    """numpy's files."""

    def described(kind: str = "'<f4'", shape: str = "(4,)", order: str = "False") -> bytes:
        return f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}}}\n".encode()

    headers = {
        "terabytes": described(shape="(1099511627776,)"),
        "a product that wraps": described(shape="(4294967296, 4294967296)"),
        "negative": described(shape="(-4,)"),
        "truth": described(shape="(True,)"),
        "text": described(shape="'4'"),
        "digits": described(shape=f"({'9' * 5000},)"),
        "a thousand dimensions": described(shape=str((1,) * 1000)),
        "objects": described("'|O'"),
        "fields": described("[('a', '<f4'), ('b', '|O')]"),
        "deep fields": described("[('a', " * 50 + "'<f4'" + ")]" * 50),
        "a large type": described("'|V999999999999'"),
        "text of terabytes": described("'<U999999999'"),
        "dates": described("'<M8[s]'"),
        "a complex type": described("'<c8'"),
        "a type of a call": described("__import__('trap')"),
        "a call": b"__import__('os').system('" + TOUCH.encode() + b"')",
        "deep": b"(" * 9000,
        "deep signs": b"-" * 9000 + b"1",
        "deep lists": b"{'descr': " + b"[" * 90 + b"]" * 90 + b"}",
        "no text": b"\xff" * 100,
        "nothing": b"",
        "not all": b"{'descr': '<f4'}",
        "Python 2": described(shape="(4L,)").replace(b"4L", b"9L"),
    }
    for name, header in headers.items():
        yield f"{name}.npy", array(header)
        yield f"{name} version 2.npy", array(header, version=b"\2\0")
    yield "a long header.npy", b"\x93NUMPY\2\0\xff\xff\xff\xff" + b"{" * 100
    yield "version 9.npy", array(described(), version=b"\x09\0")
    yield "only a start.npy", b"\x93NUMPY"
    yield "all of them.npz", archive(*((f"{n}.npy", array(h)) for n, h in headers.items()))
    for value in (float("nan"), float("inf"), 0.0):
        file = io.BytesIO()
        np.save(file, np.full((1, 512), value, np.float32))
        yield f"a boundary of {value}.npy", file.getvalue()
    yield "code.npy", array(described(shape="(18, 512)"), np.full(18 * 512, np.nan, "f4").tobytes())
