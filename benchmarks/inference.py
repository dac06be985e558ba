"""Encoding and generating: the plain way (benchmarks/plain.py) against ours. Prints a table.

    python benchmarks/inference.py                                # embedded models
    python benchmarks/inference.py --sizes full --threads 1       # published architectures
    python benchmarks/inference.py --sizes full --device cuda --compile

All ways work in turn in one process on the same weights and inputs; medians of rounds, after one
that is not counted. Full-size networks have random weights, which cost the same. On a CPU the time
is that of the processor in all threads, so that other programs do not count. "plain" on a GPU is
told twice, because torch convolves in TF32 by default: so, and in true float32. The floor is the
arithmetic at the speed of one large convolution in the way's dtype; the bytes are those that the
operators of the plain way read and write.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import plain
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from cycle_core.checkpoints.registry import load_encoder, load_generator
from cycle_core.codes import Code
from cycle_core.invert.encode import encode
from cycle_core.invert.generate import generate
from cycle_core.models.encoder import Encoder, EncoderConfig
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config
from cycle_core.runtime.devices import peak_memory
from cycle_core.training.dry_run import gigabytes

Way = tuple[torch.dtype, Callable[[], Tensor]]  # what it multiplies in, and what it does
HALF = {"cpu": torch.bfloat16}  # the one that is fast; of encoding on a GPU it is float16


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["embedded"], choices=["embedded", "full"])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--batch", type=int, default=16, help="of encoding; one picture is rendered"
    )
    parser.add_argument("--compile", action="store_true", help="with torch.compile, too")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--measure", help=argparse.SUPPRESS)  # the memory of one way, here
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    if a.measure:
        TASKS[a.tasks[0]](a.sizes[0], a)[a.measure][1]()
        print(peak_memory(a.device))
        return
    print("| what | way | time of a picture | times faster | floor | differs by | peak memory |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for size in a.sizes:
        for task in a.tasks:
            compare(task, size, a)


def compare(task: str, size: str, a: argparse.Namespace) -> None:
    ways = TASKS[task](size, a)
    with FlopCounterMode(display=False) as counter, Traffic() as traffic:
        expected = ways["plain"][1]()
    arithmetic, moved = counter.get_total_flops() / len(expected), traffic.bytes / len(expected)
    amount = f"{moved / 1e9:.3g} GB" if moved >= 1e9 else f"{moved / 1e6:.3g} MB"
    what = f"{task}, {size}, {arithmetic / 1e9:.3g} GFLOP, {amount}"
    differs = {name: distance(way(), expected) for name, (_, way) in ways.items()}
    rounds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(a.rounds):
        for name, (_, way) in ways.items():
            rounds[name].append(seconds(way, a.device) / len(expected))
    for name, (dtype, _) in ways.items():
        spent = median(rounds[name])
        floor = arithmetic / speed(dtype, a.device)
        print(f"| {what} | {name} | {told(spent)} | {median(rounds['plain']) / spent:.2f} | "
              f"{told(floor)} | {differs[name]:.2g} | "
              f"{gigabytes(memory_of(task, size, name, a))} |", flush=True)  # fmt: skip


def encoding(size: str, a: argparse.Namespace) -> dict[str, Way]:
    if size == "full":
        torch.manual_seed(0)
        E = Encoder(EncoderConfig()).to(a.device).eval().requires_grad_(False)
    else:
        E = load_encoder("portraits", a.device)
    side = E.config.input_size
    image = torch.rand(a.batch, 3, side, side, device=a.device) * 2 - 1

    def ours(dtype: torch.dtype | None, compile: bool) -> Tensor:
        return encode(E, image, "W+", batch=a.batch, dtype=dtype, compile=compile).w - E.w_avg

    half = HALF.get(a.device.type, torch.float16)
    return plainly(lambda: plain.encode(E, image) - E.w_avg, a.device) | both(ours, half, a.compile)


def generating(size: str, a: argparse.Namespace) -> dict[str, Way]:
    if size == "full":
        torch.manual_seed(0)
        G = Generator(StyleGAN2Config()).to(a.device).eval().requires_grad_(False)
    else:
        G = load_generator("portraits", a.device)
    code = Code(G.mapping(torch.randn(1, G.config.z_dim, device=a.device)).detach(), "W")

    def ours(dtype: torch.dtype | None, compile: bool) -> Tensor:
        return generate(G, code, dtype=dtype, compile=compile)

    rendered = plainly(lambda: plain.synthesis(G, code.w).clamp(-1, 1), a.device)
    return rendered | both(ours, torch.bfloat16, a.compile)


TASKS = {"encode": encoding, "generate": generating}


def both(
    ours: Callable[[torch.dtype | None, bool], Tensor], half: torch.dtype, compile: bool
) -> dict[str, Way]:
    """Our way in float32 and in a half precision, and `compile`d ones, too."""
    ways: dict[str, Way] = {}
    for compiled in (False, True)[: 1 + compile]:
        name = "ours" + ", compiled" * compiled
        ways[name] = (torch.float32, partial(ours, None, compiled))
        ways[f"{name}, {named(half)}"] = (half, partial(ours, half, compiled))
    return ways


def plainly(way: Callable[[], Tensor], device: torch.device) -> dict[str, Way]:
    """The plain way as torch is set by default, and without TF32 where it would take that."""

    def exactly() -> Tensor:
        convolutions = torch.backends.cudnn
        before, convolutions.allow_tf32 = convolutions.allow_tf32, False
        try:
            return quiet()
        finally:
            convolutions.allow_tf32 = before

    quiet = torch.no_grad()(way)
    if device.type != "cuda":
        return {"plain": (torch.float32, quiet)}
    return {"plain": (torch.float32, exactly), "plain, TF32": (torch.float32, quiet)}


def seconds(way: Callable[[], object], device: torch.device) -> float:
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    synchronize(device)
    began = clock()
    way()
    synchronize(device)
    return clock() - began


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def speed(dtype: torch.dtype, device: torch.device) -> float:
    """Operations in a second of a large convolution, the best of a few."""
    layout, width, side = torch.channels_last, 512, 64
    x = torch.randn(2, width, side, side, device=device).to(dtype, memory_format=layout)
    kernel = torch.randn(width, width, 3, 3, device=device).to(dtype, memory_format=layout)
    times = [seconds(lambda: F.conv2d(x, kernel, padding=1), device) for _ in range(6)]
    return 2 * x.numel() * kernel.shape[0] * 9 / min(times)


def bandwidth(device: torch.device) -> float:
    """Bytes in a second that a large copy reads and writes, the best of a few."""
    x = torch.zeros(2**26, device=device)
    y = torch.zeros_like(x)
    return 2 * x.nbytes / min(seconds(lambda: y.copy_(x), device) for _ in range(6))


class Traffic(TorchDispatchMode):
    """`with Traffic() as traffic:`, afterwards traffic.bytes: what the operators read and wrote, as
    if nothing stayed in a cache between two of them."""

    bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        result = func(*args, **(kwargs or {}))
        returns = func._schema.returns
        view = returns and all(x.alias_info and not x.alias_info.is_write for x in returns)
        if not view and func is not torch.ops.aten._unsafe_view.default:
            tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, Tensor)]
            self.bytes += sum(min(x.nbytes, x.untyped_storage().nbytes()) for x in tensors)
        return result


def distance(given: Tensor, expected: Tensor) -> float:
    """|given - expected| / |expected|: of codes without the mean, of pictures in [-1, 1]."""
    return float((given - expected).norm() / expected.norm())


def memory_of(task: str, size: str, way: str, a: argparse.Namespace) -> int:
    """The most bytes that a process needs that does nothing but this."""
    command = [sys.executable, __file__, "--measure", way, "--tasks", task, "--sizes", size]
    command += ["--device", str(a.device), "--threads", str(a.threads), "--batch", str(a.batch)]
    command += ["--compile"] * a.compile
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def told(time: float) -> str:
    return f"{time * 1000:.3g} ms" if time < 1 else f"{time:.2f} s"


if __name__ == "__main__":
    main()
