"""What an encoder training will be like: its schedule, and its memory and time by a few real steps.

Nothing is written. Two kinds of steps are measured, at the first stage of the schedule and at its
last one; what lies between costs about as much as its share of heads says.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from statistics import median

import torch
from torch import nn

from ..invert.objective import Distance
from ..models.encoder import EncoderConfig
from ..models.generator import Generator
from ..models.irse import IdentityNet
from ..runtime import distributed
from ..runtime.devices import peak_memory
from .encoder_run import CHUNK, Run
from .encoder_settings import EncoderTraining
from .schedule import Phase

MEASURED = 3  # steps of a kind, after one that is not counted


def dry_run(
    generator: Generator,
    data: str | Path,
    settings: EncoderTraining,
    perceptual: Distance | None,
    identity: Distance | None,
    config: EncoderConfig | None = None,
    body: IdentityNet | None = None,
) -> str:
    """A report of several lines. The arguments are those of `encoder.train`, as are the errors."""
    run = Run(generator, data, settings, perceptual, identity, config, body, known=None)
    run.join()
    parts = list(_parts(run))
    lines = [*_setting(run), "", *_schedule(parts), "", *_costs(run, parts)]
    return "\n".join(lines)


def _parts(run: Run) -> Iterator[tuple[int, int, Phase]]:
    """(first step, number of steps, what holds) of each stretch of the run, in order."""
    first = 0
    for phase, steps in groupby(map(run.phase, range(run.settings.total))):
        count = sum(1 for _ in steps)
        yield first, count, phase
        first += count


def _setting(run: Run) -> list[str]:
    settings, several = run.settings, distributed.world_size()
    at_once = settings.batch // several // settings.accumulate
    return [
        f"{len(run.pictures):,} pictures to train on, {len(run.held_out):,} held out",
        f"{several} {'process' if several == 1 else 'processes'} on {run.device.type}, batch "
        f"{settings.batch}: each has {at_once} at once, {settings.accumulate} times a step",
    ]


def _schedule(parts: list[tuple[int, int, Phase]]) -> list[str]:
    lines = [f"{'phase':<10}{'steps':>21}  {'stages':>8}  {'delta':>17}  {'adv':>17}"]
    for name, group in groupby(parts, lambda part: part[2].name):
        stretch = list(group)
        begin, end = stretch[0], stretch[-1]
        steps = f"{begin[0]:,} - {end[0] + end[1]:,}"
        stages, delta, adv = (
            _span(getattr(begin[2], field), getattr(end[2], field))
            for field in ("stage", "delta", "adv")
        )
        lines.append(f"{name:<10}{steps:>21}  {stages:>8}  {delta:>17}  {adv:>17}")
    return lines


def _costs(run: Run, parts: list[tuple[int, int, Phase]]) -> list[str]:
    """Parameters, memory, time."""
    models = {
        "encoder": run.encoder,
        "generator": run.generator,
        "discriminator": run.adversary.discriminator,
        "LPIPS": run.objective.perceptual,
        "identity": run.objective.faces,
    }
    counts = [
        f"{name} {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M"
        for name, model in models.items()
        if isinstance(model, nn.Module)
    ]
    seconds: dict[tuple[bool, int], float] = {}  # of a step: in the warm-up?, at which stage
    for warm in (True, False):
        kinds = [part for part in parts if (part[2].name == "warmup") == warm]
        for part in {p[2].stage: p for p in sorted(kinds, key=lambda p: -p[2].stage)}.values():
            if part[2].stage in (0, max(p[2].stage for p in kinds)):
                seconds[warm, part[2].stage] = _seconds(run, part[0])
    total = sum(count * _between(seconds, phase) for _, count, phase in parts)
    stages = ", ".join(
        f"{'warm-up' if warm else f'stage {stage}'} {value:.3g} s"
        for (warm, stage), value in seconds.items()
    )
    count = min(CHUNK, len(run.held_out))
    began = time.perf_counter()
    run.validate(count)
    validation = (time.perf_counter() - began) * len(run.held_out) / count
    validation /= distributed.world_size() if count == CHUNK else 1
    saves = -(-run.settings.total // run.settings.save_every)
    state = 4 * sum(p.numel() for p in run.encoder.parameters())
    peak = gigabytes(peak_memory(run.device))
    return [
        f"parameters: {', '.join(counts)}",
        f"memory: {peak} at most in the measured steps, of each process; "
        f"{gigabytes(5 * state)} of it are weights, gradients and optimiser of the encoder",
        f"disk: {gigabytes(5 * state)} for the encoder and the checkpoint",
        f"measured, median of {MEASURED} steps: {stages}; a validation {validation:.3g} s",
        f"estimated from that: {_duration(total)} for {run.settings.total:,} steps, and "
        f"{_duration(saves * validation)} for {saves:,} validations, without writing checkpoints",
    ]


def _seconds(run: Run, step: int) -> float:
    """The median time of a step like step `step`."""
    times = []
    for _ in range(1 + MEASURED):
        run.step = step
        began = time.perf_counter()
        run.advance()
        if run.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return median(times[1:])


def _between(seconds: dict[tuple[bool, int], float], phase: Phase) -> float:
    """The time of a step at any stage, on the line through the stages that were measured."""
    warm = phase.name == "warmup"
    known = sorted((stage, value) for (w, stage), value in seconds.items() if w == warm)
    (low, first), (high, last) = known[0], known[-1]
    return first + (last - first) * (phase.stage - low) / max(high - low, 1)


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
