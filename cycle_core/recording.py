"""Work that a GPU does over and over, recorded once and then repeated without asking for each part.

A step of tuning is thousands of kernels, most of which take a GPU less time than Python takes to
ask for them. A CUDA graph asks for all of them at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
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
    wait for the device nor decide anything by values on it. Where the device cannot record, or
    wanted is false, functions are simply called; the results are the same.
    """

    def __init__(self, device: torch.device, wanted: bool = True):
        self.device = device
        begin = RECORDINGS.get(device.type) if wanted else None
        self.recordings = None if begin is None else begin(device)
        self._within = contextlib.ExitStack()

    def __enter__(self) -> Recorder:
        if self.recordings is not None:
            self._within.enter_context(self.recordings.within())
        return self

    def __exit__(self, *error: object) -> None:
        self._within.close()

    def __call__(self, function: Callable[[], Results]) -> Callable[[], Results]:
        """The function, made repeatable. It gives copies: the next call writes over its results."""
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

    def _record(self, function: Callable[[], Results]):
        if self.recordings is None:
            return None
        try:
            return self.recordings.record(function)
        except RuntimeError as error:
            if out_of_memory(error):
                raise
        say_once(f"{self.device} cannot record what it does: it is asked for part by part.")
        # what is recorded is repeated still; a later recording could miss what this one would move
        self.recordings = None
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
    """Recordings of a GPU of NVIDIA or AMD, on a stream of their own."""

    def __init__(self, device: torch.device):
        self.stream = torch.cuda.Stream(device)
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
        # other threads, such as ComfyUI's, may use the GPU meanwhile
        with torch.cuda.graph(graph, self.pool, self.stream, capture_error_mode="thread_local"):
            results = function()
        return graph.replay, results


RECORDINGS: dict[str, Callable[[torch.device], Recordings]] = {"cuda": CudaGraphs}
