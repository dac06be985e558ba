"""Work that a GPU does over and over, recorded once and then repeated without asking for each part.

A step of tuning is thousands of kernels, most of which take a GPU less time than Python takes to
ask for them. A CUDA graph asks for all of them at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from .devices import out_of_memory, say_once

Results = TypeVar("Results", bound=tuple[Tensor, ...])
FIRST = 3  # calls before the recording: libraries choose their ways, torch.compile compiles


class Recorder:
    """Makes functions of no arguments repeatable on a device.

        with Recorder(device) as record:
            step = record(step)
            for ...:
                step()

    All that such a function reads and writes has to stay where it is from call to call: inputs are
    tensors that are written to, and nobody but the function takes gradients away. It may neither
    wait for the device nor decide anything by values on it. Recordings share the memory that they
    work in: what one leaves beside its results, such as gradients, is safe from those that were
    recorded after it, not from those before.

    Where the device cannot record, or wanted is false, functions are simply called, with the same
    results. The first recording that fails is the last that is tried.
    """

    def __init__(self, device: torch.device, wanted: bool = True):
        self.device = device
        begin = RECORDINGS.get(device.type) if wanted else None
        self._recordings = None if begin is None else begin(device)
        self._within = contextlib.ExitStack()

    def __enter__(self) -> Recorder:
        if self._recordings is not None:
            self._within.enter_context(self._recordings.within())
        return self

    def __exit__(self, *error: object) -> None:
        self._within.close()

    def __call__(self, function: Callable[[], Results]) -> Callable[[], Results]:
        """The function, made repeatable. It gives copies: the next call writes over its results.

        Raises what the function raises, and an error of memory where that is not enough."""
        calls = 0
        kept: tuple[Callable[[], object], Results] | None = None

        def call() -> Results:
            nonlocal calls, kept
            calls += 1
            if kept is None and calls > FIRST:
                kept = self._record(function)
            if kept is None:
                return function()
            repeat, results = kept
            repeat()
            return type(results)(result.clone() for result in results)

        return call

    def _record(
        self, function: Callable[[], Results]
    ) -> tuple[Callable[[], object], Results] | None:
        if self._recordings is None:
            return None
        try:
            return self._recordings.record(function)
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            _not_recorded(self.device, said)
        # what was recorded is repeated still; another recording could miss what this one would move
        self._recordings = None
        return None


class Recordings(Protocol):
    """What a device records."""

    def within(self) -> contextlib.AbstractContextManager[None]:
        """Around all that is done before, between and after the recordings."""
        ...

    def record(self, function: Callable[[], Results]) -> tuple[Callable[[], object], Results]:
        """What does again what the function did, and the tensors that then hold its results. The
        function's work is not done yet. Raises RuntimeError where it cannot be recorded."""
        ...


class CudaGraphs:
    """Recordings of a GPU, on a stream of their own."""

    def __init__(self, device: torch.device):
        self.stream = _stream(device)
        self.pool = torch.cuda.graph_pool_handle()

    @contextlib.contextmanager
    def within(self) -> Iterator[None]:
        self.stream.wait_stream(torch.cuda.current_stream(self.stream.device))
        try:
            with torch.cuda.stream(self.stream):
                yield
        finally:
            self.stream.synchronize()

    def record(self, function: Callable[[], Results]) -> tuple[Callable[[], object], Results]:
        graph = torch.cuda.CUDAGraph()
        # other threads may use the GPU meanwhile; one that waits for all of it spoils the recording
        with torch.cuda.graph(graph, self.pool, self.stream, capture_error_mode="thread_local"):
            results = function()
        return graph.replay, results


def _cuda_graphs(device: torch.device) -> Recordings | None:
    """None where a recording that fails would leave the process without its memory."""
    if torch.__version__ < "2.13":  # it compares as a version
        _not_recorded(device, "that needs torch 2.13 or newer")
    elif torch.cuda.get_allocator_backend() != "native":
        _not_recorded(device, "that needs torch's own allocator, not cudaMallocAsync")
    else:
        return CudaGraphs(device)
    return None


@lru_cache(maxsize=16)
def _stream(device: torch.device) -> torch.cuda.Stream:
    """One for all recordings of a device: libraries keep working memory for each."""
    return torch.cuda.Stream(device)


def _not_recorded(device: torch.device, why: str) -> None:
    say_once(f"{device} records no steps as CUDA graphs ({why}): they are asked for part by part.")


RECORDINGS: dict[str, Callable[[torch.device], Recordings | None]] = {"cuda": _cuda_graphs}
