"""What a step of an encoder training costs, part by part: prints a table, as Markdown.

    python benchmarks/training.py                       # the embedded models
    python benchmarks/training.py --full --device cuda  # FFHQ scale: 1024 px, batch 8
    python benchmarks/training.py --full --accumulate 8 --steps 2  # the same without a GPU

In turn with ours, each step is done the plain way: encoder and generator by benchmarks/plain.py,
all networks in the plain layout, in float32 and not compiled; the rest is shared. At full size the
networks have the architecture of the published ones and random weights, which cost the same. The
process keeps the memory it frees, as the command line does; --usual-memory leaves that to the C
library, as published code does. On a CPU the seconds are those that the processor worked, on one
thread, so that whatever else the machine does counts little; on a GPU they are those of the clock,
after it has finished.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import plain
import torch
from torch import Tensor

from cycle_core.checkpoints.registry import load_generator
from cycle_core.images.io import save_image
from cycle_core.measure.perceptual import AlexNet, Lpips, load_perceptual
from cycle_core.measure.recognition import load_identity
from cycle_core.models.generator import Generator
from cycle_core.models.irse import IdentityNet
from cycle_core.models.stylegan2 import StyleGAN2Config
from cycle_core.runtime.devices import autocast, keep_memory, peak_memory
from cycle_core.runtime.optim import Ranger
from cycle_core.training.data import Order
from cycle_core.training.dry_run import gigabytes
from cycle_core.training.encoder import EncoderTrainer, delta_loss
from cycle_core.training.schedule import Phase, ScheduleSettings
from cycle_core.training.settings import EncoderTraining

PARTS = {
    "read": "pictures read",
    "encoder": "encoder, forwards and backwards",
    "generator": "generator, forwards and backwards",
    "losses": "L2, LPIPS and identity, forwards and backwards",
    "discriminator": "latent discriminator: its loss, and its own update",
    "optimizer": "Ranger",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the published sizes, 1024 px")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--accumulate", type=int, default=1, help="parts in which a batch is seen")
    parser.add_argument("--steps", type=int, default=5, help="of each kind; the median is told")
    parser.add_argument("--usual-memory", action="store_true", help="do not keep freed memory")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--compile", action="store_true")
    a = parser.parse_args()
    torch.set_num_threads(1)
    if not a.usual_memory:
        keep_memory()
    settings = EncoderTraining(
        steps=1000, batch=a.batch, accumulate=a.accumulate, bf16=a.bf16, compile=a.compile
    )
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder), a.full, torch.device(a.device), settings)
        columns = []
        for stage in (0, run.generator.num_ws - 1):
            columns += split(run, stage, a.steps)
    print(f"| seconds of a step, batch {a.batch} | W, plain | W, ours | W+, plain | W+, ours |")
    print("| --- | --- | --- | --- | --- |")
    for part, what in PARTS.items():
        print_row(what, [column[part] for column in columns])
    print_row("together", [sum(column.values()) for column in columns])
    print(f"\nAt most {gigabytes(peak_memory(run.device))} of memory, both.", file=sys.stderr)


def print_row(what: str, numbers: list[float]) -> None:
    print(f"| {what} | {' | '.join(f'{number:.3f}' for number in numbers)} |")


def make_run(
    folder: Path, full: bool, device: torch.device, settings: EncoderTraining
) -> EncoderTrainer:
    if full:
        torch.manual_seed(0)
        generator = Generator(StyleGAN2Config()).to(device)
        perceptual, identity = Lpips(AlexNet(), "random").to(device), IdentityNet().to(device)
    else:
        generator = load_generator("portraits", device)
        perceptual, identity = load_perceptual().to(device), load_identity().to(device)
    size = min(256, generator.resolution)
    for i in range(16):
        save_image(torch.rand(3, size, size) * 2 - 1, folder / f"{i}.png")
    return EncoderTrainer(generator, folder, settings, perceptual, identity, body=identity)


def split(run: EncoderTrainer, stage: int, steps: int) -> list[dict[str, float]]:
    """The median seconds of each part at a stage, by the plain way and by ours, after a first step
    of each that is not counted."""
    weights = ScheduleSettings()
    phase = Phase("", stage, weights.delta, weights.adv)
    times: tuple[list[dict[str, float]], ...] = [], []
    optimizer = Ranger(run.encoder.parameters(), run.settings.learning_rate)
    for _ in range(steps + 1):
        with plainly(run, optimizer):
            times[0].append(step_of(run, phase))
        times[1].append(step_of(run, phase))
        run.step += 1
    return [{part: median(t[part] for t in way[1:]) for part in PARTS} for way in times]


@contextlib.contextmanager
def plainly(run: Any, optimizer: Ranger) -> Iterator[None]:
    """Let a run compute what its networks give in the plain way, in the plain layout; so is what
    its optimiser keeps, which is therefore another one."""
    losses = tuple(run.objective.networks)
    networks = [run.encoder, run.generator, *losses]
    ours = run.render, run.offsets, run.settings, run.optimizer
    run.render = lambda codes: plain.synthesis(run.generator, codes)
    run.offsets = lambda image, stage: plain.encode(run.encoder, image, stage) - run.encoder.w_avg
    run.settings = replace(run.settings, bf16=False)
    run.optimizer = optimizer
    lay_out(networks, torch.contiguous_format)
    try:
        yield
    finally:
        run.render, run.offsets, run.settings, run.optimizer = ours
        lay_out(networks, torch.channels_last)


def lay_out(networks: list[Any], layout: torch.memory_format) -> None:
    for network in networks:
        network.to(memory_format=layout)


def step_of(run: EncoderTrainer, phase: Phase) -> dict[str, float]:
    """One step, as `EncoderTrainer` does it, cut where one model hands over to the next."""
    seconds = dict.fromkeys(PARTS, 0.0)

    @contextlib.contextmanager
    def part(name: str) -> Iterator[None]:
        began = now(run.device)
        with autocast(run.device, run.settings.bf16):
            yield
        seconds[name] += now(run.device) - began

    run.encoder.train()
    run.optimizer.zero_grad(set_to_none=True)
    with part("read"):
        order = Order(len(run.pictures), run.settings.batch)
        images = run.pictures[order(run.step)].to(run.device)
    made_codes = []
    for image in images.chunk(run.settings.accumulate):
        with part("encoder"):
            offsets = run.offsets(run.encoder.resize(image), phase.stage).float()
            codes = run.encoder.w_avg + offsets
        codes_in = codes.detach().requires_grad_()
        with part("generator"):
            made = run.render(codes_in)
        made_in = made.detach().requires_grad_()
        with part("losses"):
            loss = run.objective(made_in, run.objective.target(image)).total.mean()
            gradient: Tensor = torch.autograd.grad(loss, made_in)[0]
        with part("generator"):
            made.backward(gradient)
        with part("discriminator"):
            (phase.adv * run.adversary.loss(codes_in, phase.stage)).backward()
        with part("encoder"):
            # the gradient of this sum is that of all losses but the one that is added
            total = (codes * codes_in.grad).sum()
            if phase.stage:
                total = total + phase.delta * delta_loss(offsets, phase.stage)
            (total / run.settings.accumulate).backward()
        made_codes.append(codes.detach())
    with part("optimizer"):
        run.optimizer.step()
    with part("discriminator"):
        run.adversary.train(torch.cat(made_codes), phase.stage, run.step)
    return seconds


def now(device: torch.device) -> float:
    if device.type != "cuda":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


if __name__ == "__main__":
    main()
