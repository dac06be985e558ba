"""What a training will be like: its phases, and its memory and time by a few real steps.

Nothing is written. Of each kind of steps the cheapest and the most expensive are measured; what
lies between costs about as much as its share says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import groupby
from statistics import median
from typing import Any

import torch
from torch import Tensor

from ..runtime import distributed
from ..runtime.devices import peak_memory
from .loop import Stretch, Trainer
from .validation import CHUNK

MEASURED = 3  # steps of a kind, after one that is not counted


def dry_run(trainer: Trainer) -> str:
    """A report of several lines."""
    trainer.join()
    stretches = list(trainer.stretches())
    settings, several = trainer.settings, distributed.world_size()
    parts = getattr(settings, "accumulate", 1)
    at_once = settings.batch // several // parts
    lines = [
        *trainer.facts(),
        f"{several} {'process' if several == 1 else 'processes'} on {trainer.device.type}, batch "
        f"{settings.batch}: each has {at_once} at once, {parts} times a step",
    ]
    return "\n".join([*lines, "", *_schedule(stretches), "", *_costs(trainer, stretches)])


def _schedule(stretches: list[Stretch]) -> Iterator[str]:
    columns = list(stretches[0].values)
    yield f"{'phase':<12}{'steps':>23}" + "".join(f"  {name:>17}" for name in columns)
    for name, group in groupby(stretches, lambda stretch: stretch.name):
        first, *_, last = [*group] * 2
        steps = f"{first.first:,} - {last.first + last.count:,}"
        spans = (_span(first.values[column], last.values[column]) for column in columns)
        yield f"{name:<12}{steps:>23}" + "".join(f"  {span:>17}" for span in spans)


def _costs(trainer: Trainer, stretches: list[Stretch]) -> list[str]:
    """Parameters, memory, time."""
    counts = [
        f"{name} {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M"
        for name, model in trainer.models().items()
    ]
    seconds: dict[str, dict[float, float]] = {}  # kind -> {share: of a step}
    for kind in dict.fromkeys(stretch.kind for stretch in stretches):
        of_kind = sorted((s for s in stretches if s.kind == kind), key=lambda s: s.share)
        ends = {stretch.share: stretch for stretch in (of_kind[-1], of_kind[0])}
        seconds[kind] = {share: _step_seconds(trainer, s.first) for share, s in ends.items()}
    measured = ", ".join(
        f"{kind}{f' {share:g}' if len(of_kind) > 1 else ''} {value:.3g} s"
        for kind, of_kind in seconds.items()
        for share, value in of_kind.items()
    )
    total = sum(s.count / s.stride * _between(seconds[s.kind], s.share) for s in stretches)
    validation = _validation_seconds(trainer)
    saves = -(-trainer.total // trainer.settings.save_every)
    state = gigabytes(sum(_bytes(trainer.state())))
    return [
        f"parameters: {', '.join(counts)}",
        f"memory: {gigabytes(peak_memory(trainer.device))} at most in the measured steps, of each "
        f"process; {state} of it are the weights and optimisers that a checkpoint holds",
        f"measured, median of {MEASURED} steps: {measured}; a validation {validation:.3g} s",
        f"estimated from that: {_duration(total)} for {trainer.total:,} {trainer.unit}, and "
        f"{_duration(saves * validation)} for {saves:,} validations, without writing checkpoints",
    ]


def _step_seconds(trainer: Trainer, step: int) -> float:
    """The median time of a step like step `step`."""

    def advance() -> None:
        trainer.step = step
        trainer.advance()

    return median([_seconds(trainer, advance) for _ in range(1 + MEASURED)][1:])


def _validation_seconds(trainer: Trainer) -> float:
    """Of all pictures, from some of them."""
    count = min(CHUNK, trainer.validated)
    seconds = _seconds(trainer, lambda: trainer.validate(count)) * trainer.validated / count
    return seconds / (distributed.world_size() if count == CHUNK else 1)


def _seconds(trainer: Trainer, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    if trainer.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _between(seconds: dict[float, float], share: float) -> float:
    """The time of a step at any share, on the line through those that were measured."""
    (low, first), (high, last) = min(seconds.items()), max(seconds.items())
    return first + (last - first) * (share - low) / max(high - low, 1)


def _bytes(state: Any) -> Iterator[int]:
    if isinstance(state, Tensor):
        yield state.numel() * state.element_size()
    elif isinstance(state, dict | list):
        for part in state.values() if isinstance(state, dict) else state:
            yield from _bytes(part)


def gigabytes(count: int | None) -> str:
    return "unknown" if count is None else f"{count / 1e9:.2f} GB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.1f} days"


def _span(first: float, last: float) -> str:
    return f"{first:.3g}" if first == last else f"{first:.3g} - {last:.3g}"
