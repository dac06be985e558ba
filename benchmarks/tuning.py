"""Pivotal tuning: what a step costs, and what presets are worth. Prints tables, as Markdown.

    python benchmarks/tuning.py step                              # the plain loop against ours
    python benchmarks/tuning.py step --sizes 1024 --device cuda
    python benchmarks/tuning.py presets --pictures 20             # distortion, edits and seconds

A step is timed from end to end, in turn with the plain loop's (benchmarks/plain.py): the same
weights, losses and samples; medians of rounds of four steps. Full-size generators have the
published architecture and random weights, which cost the same. `presets` tunes the embedded
generator to portraits outside its domain, whose true edits are known, at their refined pivots.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import mean, median
from tempfile import gettempdir

import plain
import torch
from torch import Tensor

from cycle_core import TuneSettings, load_encoder, load_generator, refine, tune
from cycle_core.bench.measures import Rulers, distortion, editability
from cycle_core.bench.sets import open_set
from cycle_core.codes import Code
from cycle_core.generator import Generator, GeneratorConfig
from cycle_core.invert import REFINE_PRESETS, TUNE_PRESETS
from cycle_core.losses import Lpips
from cycle_core.networks import AlexNet, load_identity, load_perceptual
from cycle_core.training.dry_run import gigabytes, peak_memory

STEPS = TuneSettings(threshold=0.0)
OURS = {
    "ours": STEPS,
    "ours, locality every 4 steps": replace(STEPS, locality_every=4),
    "ours, little memory": replace(STEPS, low_memory=True),
}
PRESETS = {
    "paper": replace(TUNE_PRESETS["paper"], threshold=0.0),
    "fast": replace(TUNE_PRESETS["fast"], threshold=0.0),
    "embedded": TUNE_PRESETS["embedded"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="step | presets")
    command = commands.add_parser("step")
    command.add_argument("--sizes", nargs="+", default=["embedded", "256"])
    command.add_argument("--rounds", type=int, default=5, help="of four steps, of each way")
    command.add_argument("--measure", help=argparse.SUPPRESS)  # the memory of one way, here
    command.set_defaults(run=step)
    command = commands.add_parser("presets")
    command.add_argument("--pictures", type=int, default=20)
    command.add_argument("--presets", nargs="+", default=list(PRESETS), metavar="PRESET",
                         help=f"some of: plain, {', '.join(PRESETS)}")  # fmt: skip
    command.add_argument("--sets", default=gettempdir(), help="folder that keeps the portraits")
    command.set_defaults(run=presets)
    for command in commands.choices.values():
        command.add_argument("--device", default="cpu")
        command.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.run(arguments)


# ------------------------------------------------------------------ a step
def step(a: argparse.Namespace) -> None:
    device = torch.device(a.device)
    if a.measure:
        ways(a.sizes[0], device)[a.measure](2, lambda *_: None)
        print(peak_memory(device))
        return
    print("| one step | way | time | times faster | peak memory |\n| --- | --- | --- | --- | --- |")
    for size in a.sizes:
        rounds: dict[str, list[float]] = {}
        for _ in range(a.rounds):
            for name, way in ways(size, device).items():
                rounds.setdefault(name, []).append(mean(timed(way, 4, device)))
        for name, times in rounds.items():
            seconds, ratio = median(times), median(rounds["plain"]) / median(times)
            memory = gigabytes(memory_of(size, name, a))
            print(f"| {size} | {name} | {told(seconds)} | {ratio:.2f} | {memory} |", flush=True)


def ways(size: str, device: torch.device) -> dict[str, Callable[..., None]]:
    """name -> way(steps, callback after each) of tuning a generator of a size."""
    G, perceptual = networks(size, device)
    w = G.mapping(torch.randn(1, G.config.z_dim, device=device))
    image = torch.rand(1, 3, G.resolution, G.resolution, device=device) * 2 - 1

    def plainly(steps: int, ended: Callable[..., object]) -> None:
        plain.tune(G, w, image, perceptual, steps, callback=ended)

    def ours(settings: TuneSettings) -> Callable[..., None]:
        def way(steps: int, ended: Callable[..., object]) -> None:
            tune(G, Code(w, "W"), image, replace(settings, steps=steps), ended,
                 perceptual=perceptual)  # fmt: skip

        return way

    return {"plain": plainly, **{name: ours(settings) for name, settings in OURS.items()}}


def memory_of(size: str, way: str, a: argparse.Namespace) -> int:
    """The most bytes that a process needs that does nothing but this."""
    command = [sys.executable, __file__, "step", "--sizes", size, "--measure", way]
    command += ["--device", a.device, "--threads", str(a.threads)]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def timed(way: Callable[..., None], count: int, device: torch.device) -> list[float]:
    """Seconds of `count` steps, after a first one that is not counted."""
    ends: list[float] = []

    def ended(*_: object) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        ends.append(time.perf_counter())

    way(count + 1, ended)
    return [b - a for a, b in itertools.pairwise(ends)]


def networks(size: str, device: torch.device) -> tuple[Generator, Lpips]:
    if size == "embedded":
        return load_generator("portraits", device), load_perceptual("loss").to(device)
    torch.manual_seed(0)
    G = Generator(GeneratorConfig(resolution=int(size))).to(device).eval().requires_grad_(False)
    return G, Lpips(AlexNet(), "random").to(device).eval().requires_grad_(False)


# ------------------------------------------------------------------ presets
def presets(a: argparse.Namespace) -> None:
    G, E = load_generator("portraits", a.device), load_encoder("portraits", a.device)
    perceptual = load_perceptual("loss").to(a.device)
    rulers = Rulers.load(G)
    test = open_set(a.sets, "outside", None, G.resolution).part(0, a.pictures)
    faces = load_identity("loss").to(a.device)
    pivots = refine(E, G, test.images, REFINE_PRESETS["embedded"],
                    perceptual=perceptual, faces=faces).code  # fmt: skip
    print("| tuning | seconds | MSE | LPIPS | unwanted | MSE to the true edit | "
          "LPIPS to the true edit |\n| --- | --- | --- | --- | --- | --- | --- |")  # fmt: skip
    for name in a.presets:
        seconds, numbers = [], {}
        for i in range(len(test)):
            target, pivot = test.images[i : i + 1].to(G.device), pivots.one(i)
            began = time.perf_counter()
            tuned = tuned_by(name, G, pivot, target, perceptual)
            seconds.append(time.perf_counter() - began)
            drawn = draw(tuned, pivot)
            values = distortion(rulers, target, drawn)
            values |= editability(rulers, tuned, pivot, test.part(i, i + 1))
            for measure, value in values.items():
                numbers.setdefault(measure, []).extend(value)
        means = [mean(numbers[m]) for m in ("mse", "lpips", "unwanted", "true_mse", "true_lpips")]
        print(f"| {name} | {median(seconds):.2f} | {' | '.join(f'{x:.4f}' for x in means)} |",
              flush=True)  # fmt: skip


def tuned_by(name: str, G: Generator, pivot: Code, image: Tensor, perceptual: Lpips) -> Generator:
    if name == "plain":
        return plain.tune(G, pivot.w, image, perceptual).tuned_from(G)
    return tune(G, pivot, image, PRESETS[name], perceptual=perceptual).generator


@torch.no_grad()
def draw(G: Generator, pivot: Code) -> Tensor:
    return G.synthesis(pivot.w, "const").clamp(-1, 1)


def told(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


if __name__ == "__main__":
    main()
