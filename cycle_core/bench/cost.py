"""Seconds and memory of a piece of work."""

from __future__ import annotations

import time

import torch


class Cost:
    """`with Cost(device) as cost:`, afterwards cost.seconds on the clock, and cost.bytes, by how
    much the memory of a GPU grew at most; None on a CPU, whose processes keep what they had before.
    On a CPU with one thread the seconds are those that the processor worked: the clock's of an idle
    machine, whatever else this one does."""

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds = 0.0
        self.bytes: int | None = None

    def __enter__(self) -> Cost:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            self._before = torch.cuda.memory_allocated(self.device)
        alone = self.device.type == "cpu" and torch.get_num_threads() == 1
        self._clock = time.process_time if alone else time.perf_counter
        self._start = self._clock()
        return self

    def __exit__(self, *_: object) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            self.bytes = torch.cuda.max_memory_allocated(self.device) - self._before
        self.seconds = self._clock() - self._start
