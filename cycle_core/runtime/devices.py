"""What a device cannot do, and what is done instead: it is said once, and gives the same result."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import gc
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import InputError

BATCH = 8  # pictures that pass through a network at once: bounds the memory of a long batch
SMALL_WEIGHTS = 1e7
# of a synthesis: a convolution takes nine times (channels * side) ** 2 multiplications. The
# embedded generator has 6.5e7, one of 256 pixels with the published channels 4e9
SMALL_WORK = 1e8
KINDS = 64  # of calls that are compiled: sizes, settings, with and without gradients
T = TypeVar("T")
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of mallopt(3)


def in_parts(
    run: Callable[..., T], networks: Sequence[nn.Module | None], count: int, batch: int
) -> Iterator[T]:
    """run(*networks, rows) for one slice of range(count) after the other, of at most `batch`.

    Where memory ends, slices are half as long from there on. Where the device lacks an operator,
    copies of the networks go on on the CPU.
    Raises InputError where memory is not enough for one row."""
    device = next(
        tensor.device for net in networks if net is not None for tensor in net.parameters()
    )
    start, moved = 0, False
    while start < count:
        rows = slice(start, min(start + batch, count))
        lacking = False
        try:
            with one_thread_if_small(*networks):
                result = run(*networks, rows)
        except (RuntimeError, MemoryError) as error:
            lacking = isinstance(error, NotImplementedError) and not moved
            if not lacking and not out_of_memory(error):
                raise
        else:
            yield result
            start = rows.stop
            continue
        if lacking:
            say_once(f"{device} lacks an operator: the CPU goes on, which is slower.")
            networks = [None if net is None else copy.deepcopy(net).cpu() for net in networks]
            moved = True
            continue
        batch = (rows.stop - rows.start) // 2
        if batch == 0:
            raise InputError(
                f"The memory of {device} is not enough for one picture: close other programs that "
                "use it, choose a smaller model, or let the CPU do it."
            )
        say_once(f"The memory of {device} is too small for so many pictures at once: fewer follow.")
        release(device)  # here, where the error no longer holds what it was about


def out_of_memory(error: Exception) -> bool:
    """Whether that is what CUDA, MPS or the CPU's allocator say of it."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(
        sign in text for sign in ("out of memory", "can't allocate memory", "not enough memory")
    )


def release(device: torch.device) -> None:
    """Give the memory back that nobody holds any more."""
    gc.collect()
    backend = getattr(torch, device.type, None)  # torch.cuda, torch.mps, torch.xpu
    if backend is not None and hasattr(backend, "empty_cache"):
        backend.empty_cache()


def supported_dtype(dtype: torch.dtype | None, device: torch.device) -> torch.dtype | None:
    """`dtype`, or None, which stands for that of the weights, where the device does not convolve
    in it."""
    if dtype is None or _convolves(dtype, device):
        return dtype
    say_once(f"{device} does not compute in {dtype}: the dtype of the weights is used.")
    return None


def autocast(device: torch.device, bf16: bool) -> torch.autocast:
    """bfloat16 arithmetic where asked for: on CUDA, and on CPUs that multiply it in hardware. Some
    virtual CPUs announce that they do, and trap."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)


def compiled(function: Callable[..., T], **options: Any) -> Callable[..., T]:
    """`torch.compile(function, **options)`, which is compiled when it is called first, or the
    function itself where the machine cannot do that."""
    fast: Callable[..., T] = function

    def call(*given: Any, **named: Any) -> T:
        nonlocal fast
        if fast is not function:
            try:
                # networks of one class share what is compiled, of which torch allows 8 by itself
                with torch._dynamo.config.patch(recompile_limit=KINDS):
                    return fast(*given, **named)
            except Exception as error:
                if not type(error).__module__.startswith(("torch._inductor", "torch._dynamo")):
                    raise
            _not_compiled()
            fast = function
        return function(*given, **named)

    try:
        fast = torch.compile(function, **options)
    except RuntimeError:  # of a Python or an operating system that it does not know
        _not_compiled()
    return call


@contextlib.contextmanager
def one_thread_if_small(*networks: object) -> Iterator[None]:
    """Let this thread work alone with networks that are small and on a CPU; what is no module does
    not count.

    Several threads would wait for each other hundreds of times. On an idle machine they are a
    little faster all the same; but not where they sleep while they wait, and they take twice
    as long as one where other programs, such as a browser, want a core now and then
    (docs/performance.md). The results do not depend on the number of cores, either."""
    if not all(_is_small(network) for network in networks if isinstance(network, nn.Module)):
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def keep_memory() -> bool:
    """Have this process keep the memory that it frees, for it to be taken again at no cost; whether
    the C library can (glibc). For programs of our own: a host such as ComfyUI decides for itself.

    glibc returns tensors of 32 MB and more to the system, whose zeros for the next one cost a
    quarter of the time of rendering 1024 px on a CPU, see docs/performance.md. What is freed helps
    this process alone from then on."""
    try:
        settle = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # another C library, another system
        return False
    return bool(settle(_M_MMAP_MAX, 0)) & bool(settle(_M_TRIM_THRESHOLD, -1))


def peak_memory(device: torch.device) -> int | None:
    """The most bytes that were in use: on a GPU by tensors, else by the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:  # on Linux: getrusage tells what the process that started this one has held, too
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # on Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _is_small(network: nn.Module) -> bool:
    weights = list(network.parameters())
    if (
        any(w.device.type != "cpu" for w in weights)
        or sum(map(torch.numel, weights)) > SMALL_WEIGHTS
    ):
        return False
    synthesis: Any = getattr(network, "synthesis", None)
    shapes = [] if synthesis is None else synthesis.feature_shapes
    return sum(c * c * height * width for c, height, width in shapes) <= SMALL_WORK


@lru_cache(maxsize=256)
def say_once(sentence: str) -> None:
    """For whoever reads the log: on stderr, if nobody set up another one."""
    logging.getLogger(__name__).warning(sentence)


@lru_cache(maxsize=64)
def _convolves(dtype: torch.dtype, device: torch.device) -> bool:
    if device.type == "cuda" and dtype == torch.bfloat16:
        # NVIDIA's before Ampere imitate it, which is slower than float32
        return bool(torch.version.hip) or torch.cuda.get_device_capability(device)[0] >= 8
    try:
        one = torch.ones(1, 1, 1, 1, dtype=dtype, device=device)
        F.conv2d(one, one)
    except (RuntimeError, TypeError):
        return False
    return True


def _not_compiled() -> None:
    say_once("torch.compile does not work on this machine: what it was for runs uncompiled.")
