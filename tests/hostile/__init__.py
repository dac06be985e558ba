"""Model files that want to do harm, and a program that opens them all.

write_corpus(folder)                              # every file has to end in an error
write_mutations(write_samples(a), b, 2000)        # damaged copies of whole files of all layouts
results = work_through(folder, work)              # in a process of its own, which is watched
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from .bombs import bombs, deep_keys, mappings, zips
from .damage import write_mutations, write_samples
from .gadgets import gadgets
from .headers import arrays, configurations, safetensors
from .watch import Result, work_through
from .wild import wild_tensors
from .writing import PROOF, Call, Name, code

__all__ = ["PROOF", "Result", "work_through", "write_corpus", "write_mutations", "write_samples"]


def write_corpus(folder: Path) -> None:
    """Files of every kind of attack, named for what they do."""
    folder.mkdir(parents=True)
    for group in (
        gadgets,
        wild_tensors,
        bombs,
        deep_keys,
        mappings,
        zips,
        safetensors,
        configurations,
        arrays,
    ):
        for name, content in group():
            (folder / f"{group.__name__}, {name}").write_bytes(content)
    write_special(folder)


def write_special(folder: Path) -> None:
    """What is no ordinary file."""
    (folder / "empty.pt").touch()
    (folder / "empty.safetensors").touch()
    (folder / "a folder.pt").mkdir()
    (folder / "a folder.safetensors").mkdir()
    for end in (".pt", ".safetensors", ".npy"):
        (folder / f"dangling{end}").symlink_to(folder / "nothing")
        (folder / f"loop{end}").symlink_to(folder / f"loop{end}")
        (folder / f"to zeros{end}").symlink_to("/dev/zero")
        (folder / f"to a folder{end}").symlink_to(folder)
        os.mkfifo(folder / f"pipe{end}")
        (folder / f"not readable{end}").write_bytes(b"x")
        (folder / f"not readable{end}").chmod(0)
        (folder / f"text{end}").write_text("hello " * 100)
        (folder / f"zeros{end}").write_bytes(bytes(10_000))
        (folder / f"noise{end}").write_bytes(random.Random(0).randbytes(10_000))
        # holes: terabytes that take no room
        with open(folder / f"holes{end}", "wb") as file:
            file.truncate(1 << 42)
    (folder / "two\nlines\x1b[2J.pt").write_bytes(b"x")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listening, _inside(folder):
        listening.bind("socket.pt")
    f4 = Call(Name("numpy", "dtype"), ("f4", 0, 1))
    huge = 1 << 40
    with open(folder / "a number of terabytes.pkl", "wb") as file:
        start = code(Name("numpy.core.multiarray", "scalar")) + b"(" + code(f4)
        file.write(b"\x80\x02" + start + b"\x8e" + struct.pack("<Q", huge))
        file.seek(huge, os.SEEK_CUR)
        file.write(b"tR.")


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)  # the names of sockets are short
    try:
        yield
    finally:
        os.chdir(before)
