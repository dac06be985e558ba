"""Little files that ask for much time or memory."""

from __future__ import annotations

import io
import itertools
import math
import struct
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

from .writing import (
    TOUCH,
    Call,
    Name,
    Raw,
    archive,
    code,
    dump,
    persistent,
    storage,
    tensor,
    torch_legacy,
    torch_zip,
)


def bombs() -> Iterator[tuple[str, bytes]]:
    """Little files that ask for much time or memory."""
    deep, many = 100_000, 500_000
    module = {"_parameters": {}, "_buffers": {}, "_modules": {}}
    synthesis = persistent("S", module | {"architecture": laughs()})
    twice = Raw(
        code(persistent("M", module))
        + b"".join(
            b"q\x64"
            + code(persistent("M", {"_modules": {"a" * 9999: Raw(b"h\x64"), "b": Raw(b"h\x64")}}))
            for _ in range(40)
        )
    )
    own = Raw(
        b"}q\x65"
        + code(persistent("M", {"_modules": Raw(b"h\x65")}))
        + b"q\x66"
        + b"0h\x65"
        + code("a")
        + b"h\x66s0h\x66"
    )
    parts = {
        "laughs": laughs(),
        "laughs of text": laughs(code("ha" * 1000)),
        "laughs of dicts": Raw(b"}" + b"".join(b"q\x64}(K\x01h\x64K\x02h\x64u" for _ in range(60))),
        "laughs of tuples": Raw(b")" + b"".join(b"q\x64h\x64h\x64\x86" for _ in range(60))),
        "laughs of modules": twice,
        "a module of itself": own,
        "a list of itself": Raw(b"]q\x64h\x64a"),
        "deep lists": Raw(b"]" * deep + b"a" * (deep - 1)),
        "deep tuples": Raw(b")" + b"\x85" * deep),
        "deep dicts": Raw(b"}" + b"K\x01}" * deep + b"s" * deep),
        "deep keys": Raw(b"})" + b"\x85" * deep + b"Ns"),
        "deep modules": Raw(
            b"N"
            + b"".join(
                b"q\x64" + code(persistent("M", {"_modules": {"a": Raw(b"h\x64")}}))
                for _ in range(2000)
            )
        ),
        "marks": Raw(b"(" * many),
        "marks that match": Raw(b"(" * deep + b"t" * deep),
        "lists": Raw(b"(" + b"]" * many + b"l"),
        "memories": Raw(b"N" + b"\x94" * many),
        "memories that collide": Raw(
            b"N" + b"".join(b"p%d\n" % (i * (2**61 - 1)) for i in range(1, 50_000))
        ),
        "a list of bytes": Raw(
            code(Call(Name("_codecs", "encode"), ("A" * 5_000_000, "latin1")))
            + b"q\x640"
            + code(Name("builtins", "list"))
            + b"h\x64\x85R"
        ),
        "a size of bytes": Raw(
            code(Call(Name("_codecs", "encode"), ("A" * 5_000_000, "latin1")))
            + b"q\x640"
            + code(Name("torch", "Size"))
            + b"h\x64\x85R"
        ),
        "a deep shape of objects": objects(Raw(b")" + b"\x85" * deep)),
        "a shape of objects that laughs": objects(
            Raw(b")" + b"".join(b"q\x64h\x64h\x64\x86" for _ in range(40)))
        ),
        "a shape of other objects": objects((2, 2, 2)),
        "a far memory": Raw(b"Nr\xff\xff\xff\xff"),
        "a far memory of text": Raw(b"Np" + b"9" * 4000 + b"\n"),
        "a lost memory": Raw(b"h\x63"),
        "a negative memory": Raw(b"Np-1\n"),
        "a huge number": Raw(b"\x8b" + struct.pack("<i", 2_000_000) + b"\x7f" * 2_000_000),
        "a claimed number": Raw(b"\x8b\xff\xff\xff\x7f"),
        "digits": Raw(b"L" + b"9" * 2_000_000 + b"L\n"),
        "digits of a float": Raw(b"F" + b"9" * 2_000_000 + b"\n"),
        "claimed text": Raw(b"X\xff\xff\xff\xff"),
        "claimed bytes": Raw(b"\x8e" + b"\xff" * 7 + b"\x7f"),
        "a frame": Raw(b"\x95" + b"\xff" * 8 + b"N"),
        "numbers that collide": keys((2**61 - 1) * i for i in range(50_000)),
        "floats that collide": keys(2.0**e * i for e in range(-900, 900, 61) for i in range(1000)),
        "tuples that collide": keys(((2**61 - 1) * i, "x") for i in range(30_000)),
        "pairs that collide": keys(colliding_pairs(30_000)),
        "a set that collides": Raw(
            b"\x8f(" + b"".join(code((2**61 - 1) * i) for i in range(50_000)) + b"\x90"
        ),
        "a frozen set that collides": Raw(
            b"(" + b"".join(code((2**61 - 1) * i) for i in range(50_000)) + b"\x91"
        ),
        "long names": Raw(
            b"(" + code("n" * 1_000_000) + b"q\x64q\x65" + b"h\x64h\x65\x93" * 50_000 + b"t"
        ),
        "encoded text": Raw(
            b"("
            + code("n" * 1_000_000)
            + b"q\x64"
            + (code(Name("_codecs", "encode")) + b"h\x64\x85R") * 20_000
            + b"t"
        ),
        "copied lists": Raw(
            b"("
            + b"]("
            + b"N" * 10_000
            + b"eq\x64"
            + (code(Name("builtins", "list")) + b"h\x64\x85R") * 20_000
            + b"t"
        ),
        "copied dicts": Raw(
            b"("
            + code({str(i): None for i in range(10_000)})
            + b"q\x64"
            + (code(Name("collections", "OrderedDict")) + b"h\x64\x85R") * 20_000
            + b"t"
        ),
        "copied states": Raw(
            code(Call(Name("argparse", "Namespace")))
            + code({str(i): None for i in range(10_000)})
            + b"q\x64"
            + b"bh\x64" * 20_000
            + b"b"
        ),
        "a nested file again and again": Raw(
            b"("
            + code(torch_zip(dump([0])))
            + b"q\x64"
            + (code(Name("torch.storage", "_load_from_bytes")) + b"h\x64\x85R") * 20_000
            + b"t"
        ),
        "a nested bomb again and again": Raw(
            b"("
            + code(torch_zip(dump(storage()), bombs=[("data/0", 60)]))
            + b"q\x64"
            + (code(Name("torch.storage", "_load_from_bytes")) + b"h\x64\x85R") * 500
            + b"t"
        ),
        "escapes": Raw(b"S'" + b"\\d\\x" * 10 + b"'\n"),
        "a control sequence": Call(Name("\x1b[2J\x1b]0;owned\x07", "a\rb")),
        "a name of many lines": Call(Name("a" * 100_000, "b")),
    }
    state = {"G_ema": persistent("Generator", module | {"img_resolution": laughs()})}
    parts["laughs in a resolution"] = Raw(code(state))
    inner = {"mapping": persistent("M", {"_modules": {"fc0": persistent("F", {})}})}
    inner["synthesis"] = persistent(
        "S",
        {
            "_modules": {
                "b4": persistent("B", {"_modules": {"conv1": synthesis}}),
                "b8": persistent("B", module | {"architecture": laughs()}),
            }
        },
    )
    for name, part in parts.items():
        if name not in ("laughs in a resolution",):
            data = {"comp": part, "mean": [], "std": [], "G_ema": part, "state_dict": part}
            part = data if len(code(part)) < 100_000 else {"G_ema": part}
        yield f"{name}.pkl", dump(part)
    modules = {"img_resolution": 8, "_modules": inner}
    yield "laughs in an architecture.pkl", dump({"G_ema": persistent("Generator", modules)})
    yield (
        "laughs in a number.pkl",
        dump({"G_ema": persistent("Generator", modules | {"img_resolution": laughs()})}),
    )
    options = {"encoder_type": laughs(), "progressive_steps": laughs()}
    heads = {
        f"encoder.{n}": tensor(0, (1, 1, 1, 1), (1, 1, 1, 1))
        for n in ("input_layer.0.weight", "input_layer.2.weight", "styles.0.linear.weight")
    }
    yield "laughs in options.pt", torch_zip(dump({"state_dict": heads, "opts": options}), bytes(16))
    yield "laughs in a key.pt", torch_zip(dump(tensor(0, (4,), (1,), key=laughs())), bytes(16))
    variables = [("4x4/Const/const", 0), ("4x4/Conv/mod_weight", 0)]
    network = Call(
        Name("dnnlib.tflib.network", "Network"),
        (),
        {
            "static_kwargs": {"architecture": laughs()},
            "variables": variables,
            "build_func_name": laughs(),
        },
    )
    yield "laughs in settings.pkl", dump((network, network, network))
    yield "laughs in statistics.pkl", dump([[], laughs()])
    yield "laughs beside components.pkl", dump({"comp": [], "mean": [], "std": [], "x": laughs()})
    nested = dump([])
    for _ in range(50):
        nested = dump(Call(Name("torch.storage", "_load_from_bytes"), (nested,)))
    yield "files in files.pkl", nested
    many_names = b"".join(code(f"n{i}") + b"N" for i in range(150_000))
    yield "many names.pkl", dump(Raw(b"}(" + many_names + b"u"))
    yield (
        "many foreign names.pkl",
        dump(Raw(b"(" + b"".join(f"cm{i}\nx\n".encode() for i in range(150_000)) + b"l")),
    )


def zips() -> Iterator[tuple[str, bytes]]:
    """Archives that unpack to much, and directories that lie."""
    yield "a bomb.pt", archive(bombs=[("archive/data.pkl", 1000)])
    many = [(f"data/{i}", 10) for i in range(100)]
    tensors = [tensor(0, (1,), (1,), key=str(i), count=1) for i in range(100)]
    yield "many small bombs.pt", torch_zip(dump(tensors), bombs=many)
    kinds = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
    again = [tensor(0, (1,), (1,), kind=f"{kind}Storage", count=1) for kind in kinds]
    yield "a bomb of all types.pt", torch_zip(dump(again), bombs=[("data/0", 60)])
    yield "a bomb in the order.pt", torch_zip(dump([]), bombs=[("byteorder", 1000)])
    yield "a bomb.npz", archive(bombs=[("comp.npy", 1000), ("mean.npy", 1), ("std.npy", 1)])
    yield "many small bombs.npz", archive(bombs=[(f"w{i}.npy", 10) for i in range(100)])
    for method, name in ((zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "lzma")):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as packed:
            packed.writestr("archive/data.pkl", dump([0]))
        yield f"{name}.pt", file.getvalue()
    good = torch_zip(dump({"a": tensor(0, (4,), (1,))}), bytes(16))
    end = good.rindex(b"PK\5\6")
    directory = good.index(b"PK\1\2")

    def changed(at: int, form: str, value: int) -> bytes:
        content = bytearray(good)
        struct.pack_into(form, content, at, value)
        return bytes(content)

    yield "encrypted.pt", changed(directory + 8, "<H", 1)
    yield "an unknown method.pt", changed(directory + 10, "<H", 99)
    yield "a larger member.pt", changed(directory + 24, "<I", 2**31)
    yield "a member outside.pt", changed(directory + 42, "<I", 2**31)
    yield "a large directory.pt", changed(end + 12, "<I", 2**31)
    yield "a directory outside.pt", changed(end + 16, "<I", 2**31)
    yield "many entries.pt", changed(end + 10, "<H", 65535)
    end64 = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, 2**40, 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    yield "a directory of terabytes.pt", good[:end] + end64 + locator + good[end:]
    names = [f"archive/data/{i}" for i in range(65_000)]
    yield "many members.pt", archive(("archive/data.pkl", dump([0])), *((n, b"") for n in names))
    yield "of something else.pt", archive(("readme.txt", b"hello"))
    yield "a program.pt", archive(("a/data.pkl", dump([0])), ("a/constants.pkl", dump(())))
    yield "two archives.pt", good + torch_zip(dump(Call(Name("os", "system"), (TOUCH,))))
    yield "only a start.pt", b"PK\3\4"
    yield "only an end.pt", b"PK\3\4" + b"PK\5\6" + bytes(18)
    yield "nothing in it.pt", b"PK\5\6" + bytes(18)


def objects(shape: Any) -> Call:
    """A numpy array of two objects."""
    made = Call(
        Name("numpy.core.multiarray", "_reconstruct"), (Name("numpy", "ndarray"), (0,), b"b")
    )
    kind = Call(Name("numpy", "dtype"), ("O8", 0, 1))
    return Call(made.function, made.arguments, (1, shape, kind, False, [1, 2]))


def deep_keys() -> Iterator[tuple[str, bytes]]:
    """Legacy files whose list of storages holds what it takes a stack to hash."""
    for depth in (1000, 390_000):
        keys = b"\x80\x02](" + b")" + b"\x85" * depth + b"e."
        data = dump(tensor(0, (4,), (1,)))
        yield f"{depth} deep keys legacy.pt", torch_legacy(data, keys, struct.pack("<q16x", 4))


def mappings() -> Iterator[tuple[str, bytes]]:
    """Generators without a mean of w, whose mapping network would have to be run for it."""
    for name, width, layers in (("wide", 3600, 4), ("long", 2, 2000)):
        shapes: dict[str, tuple[int, ...]] = {
            "input.input": (1, 2, 4, 4), "conv1.conv.weight": (1, 2, 2, 3, 3),
            "conv1.conv.modulation.weight": (2, width), "conv1.conv.modulation.bias": (2,),
            "conv1.activate.bias": (2,), "conv1.noise.weight": (1,),
            "to_rgb1.conv.weight": (1, 3, 2, 1, 1), "to_rgb1.conv.modulation.weight": (2, width),
            "to_rgb1.conv.modulation.bias": (2,), "to_rgb1.bias": (1, 3, 1, 1),
        }  # fmt: skip
        for i in range(1, layers + 1):
            shapes[f"style.{i}.weight"], shapes[f"style.{i}.bias"] = (width, width), (width,)
        sizes = sorted({math.prod(shape) for shape in shapes.values()})
        state = {
            key: tensor(0, shape, _strides(shape), key=str(sizes.index(math.prod(shape))),
                        count=math.prod(shape))
            for key, shape in shapes.items()
        }  # fmt: skip
        bombs = [(f"data/{i}", -(-4 * size >> 20) or 1) for i, size in enumerate(sizes)]
        yield f"a {name} mapping network.pt", torch_zip(dump({"g_ema": state}), bombs=bombs)


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def laughs(leaf: bytes = b"]", levels: int = 60) -> Raw:
    """A list of two lists of two lists ...: a few bytes that unfold to 2^levels."""
    return Raw(leaf + b"".join(b"q\x64](h\x64h\x64e" for _ in range(levels)))


def keys(keys: Iterable[Any]) -> Raw:
    """A dict of these keys. (It is not made here, where it would take as long.)"""
    return Raw(b"}(" + b"".join(code(key) + b"N" for key in keys) + b"u")


def colliding_pairs(count: int) -> Iterator[tuple[int, int]]:
    """Pairs with one hash: in CPython's the second can undo what the first did."""
    mask, (p1, p2, p5) = 2**64 - 1, (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x27D4EB2F165667C5)
    undo = pow(p2, -1, 2**64)
    found = 0
    for a in itertools.count(1):
        acc = (p5 + a * p2) & mask
        acc = ((acc << 31 | acc >> 33) * p1) & mask
        b = ((0x0123456789ABCDEF - acc) * undo) & mask
        if b < 2**60:
            yield a, b
            found += 1
            if found == count:
                return
