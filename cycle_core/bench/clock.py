"""Seconds of a piece of work."""

from __future__ import annotations

import time

import torch


class Clock:
    """`with Clock(device) as clock:`, afterwards clock.seconds. On a CPU with one thread they are
    those that the processor worked: the clock's of an idle machine, whatever else this one does."""

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds = 0.0

    def __enter__(self) -> Clock:
        self._wait()
        alone = self.device.type == "cpu" and torch.get_num_threads() == 1
        self._clock = time.process_time if alone else time.perf_counter
        self._start = self._clock()
        return self

    def __exit__(self, *_: object) -> None:
        self._wait()
        self.seconds = self._clock() - self._start

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
