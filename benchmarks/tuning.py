"""Pivotal tuning: what a step costs, and what presets are worth. Prints tables, as Markdown.

    python benchmarks/tuning.py step                              # the plain loop against ours
    python benchmarks/tuning.py step --sizes 1024 --device cuda
    python benchmarks/tuning.py floor                             # what a step calculates and moves
    python benchmarks/tuning.py presets --pictures 20             # distortion, edits and seconds

A step is timed from end to end, in turn with the plain loop's (benchmarks/plain.py): the same
weights, losses and samples; medians of rounds of four steps, on a GPU of forty. The process keeps
the memory it frees, as the command line does; --usual-memory leaves that to the C library, as
ComfyUI does. The memory of a GPU is that which the process holds of it. The floor is the arithmetic
of the plain step at the speed of one large convolution in float32. Full-size generators have the
published architecture and random weights, which cost the same. `presets` tunes the embedded
generator to portraits outside its domain, whose true edits are known, at their refined pivots.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import mean, median

import plain
import torch
from inference import Traffic, bandwidth, speed
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from cycle_core.bench.measures import Clock, Numbers, Rulers, distortion, editability
from cycle_core.bench.report import put
from cycle_core.bench.sets import open_set
from cycle_core.checkpoints.registry import load_encoder, load_generator
from cycle_core.codes import Code
from cycle_core.invert.refine import refine
from cycle_core.invert.settings import REFINE_PRESETS, TUNE_PRESETS, TuneSettings
from cycle_core.invert.tune import tune
from cycle_core.measure.perceptual import AlexNet, Lpips, load_perceptual
from cycle_core.measure.recognition import load_identity
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config
from cycle_core.runtime.devices import keep_memory, peak_memory
from cycle_core.training.dry_run import gigabytes

STEPS = TuneSettings(threshold=0.0)
OURS = {
    "ours": STEPS,
    "ours, bfloat16": replace(STEPS, dtype=torch.bfloat16),
    "ours, locality every 4 steps": replace(STEPS, locality_every=4),
    "ours, little memory": replace(STEPS, low_memory=True),
}
COMPILED = ("ours", "ours, bfloat16")  # of them with --compile
MEASURES = (  # heading, measure
    ("MSE", "mse"),
    ("LPIPS", "lpips"),
    ("achieved", "achieved"),
    ("unwanted", "unwanted"),
    ("MSE to the true edit", "true_mse"),
    ("LPIPS to the true edit", "true_lpips"),
)
PRESETS = {
    "paper": replace(TUNE_PRESETS["paper"], threshold=0.0),
    "fast": replace(TUNE_PRESETS["fast"], threshold=0.0),
    "embedded": TUNE_PRESETS["embedded"],
    "embedded, L2 of weight 1": replace(TUNE_PRESETS["embedded"], l2=1.0),
    "embedded, L2 of weight 10": replace(TUNE_PRESETS["embedded"], l2=10.0),
    "embedded, no detail": replace(TUNE_PRESETS["embedded"], detail_steps=0),
    "embedded, no detail, 80 steps": replace(TUNE_PRESETS["embedded"], detail_steps=0, steps=80),
    "embedded, detail at 32 px": replace(TUNE_PRESETS["embedded"], detail_size=32),
    "embedded, no locality": replace(TUNE_PRESETS["embedded"], locality=False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="step | floor | presets")
    command = commands.add_parser("step")
    command.add_argument("--sizes", nargs="+", default=["embedded", "256"])
    command.add_argument("--rounds", type=int, default=5, help="of a few steps, of each way")
    command.add_argument("--steps", type=int, help="so many in a whole tuning, in place of one")
    command.add_argument("--usual-memory", action="store_true", help="do not keep freed memory")
    command.add_argument("--compile", action="store_true", help="a compiled step too")
    command.add_argument("--measure", help=argparse.SUPPRESS)  # the memory of one way, here
    command.set_defaults(run=step)
    command = commands.add_parser("floor")
    command.add_argument("--sizes", nargs="+", default=["embedded", "256"])
    command.set_defaults(run=floor)
    command = commands.add_parser("presets")
    command.add_argument("--pictures", type=int, default=20)
    command.add_argument("--presets", nargs="+", default=list(PRESETS), metavar="PRESET",
                         help=f"some of: plain, {', '.join(PRESETS)}")  # fmt: skip
    command.add_argument("--sets", required=True,
                         help="folder of `make sets SPLIT=tuning`")  # fmt: skip
    command.add_argument("--card", help="Markdown file that takes the table")
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
    if not a.usual_memory:
        keep_memory()
    settings = dict(OURS)
    if a.compile:
        settings |= {f"{name}, compiled": replace(OURS[name], compile=True) for name in COMPILED}
    if a.measure:
        ways(a.sizes[0], device, settings)[a.measure](first_steps(device) + 1, lambda *_: None)
        cuda = device.type == "cuda"
        print(torch.cuda.max_memory_reserved(device) if cuda else peak_memory(device))
        return
    what = f"{a.steps} steps" if a.steps else "one step"
    print(f"| {what} | way | time | times faster | peak memory |\n| --- | --- | --- | --- | --- |")
    for size in a.sizes:
        rounds: dict[str, list[float]] = {}
        for _ in range(a.rounds):
            for name, way in ways(size, device, settings).items():
                seconds = whole(way, a.steps, device) if a.steps else timed(way, device)
                rounds.setdefault(name, []).append(seconds)
        flops = work(ways(size, device, {})["plain"])[0] * (a.steps or 1)
        said = f"{flops / 1e9:.3g} GFLOP, floor {told(flops / speed(torch.float32, device))}"
        print(f"| {size} | {said} | | | |", flush=True)
        for name, times in rounds.items():
            seconds, ratio = median(times), median(rounds["plain"]) / median(times)
            memory = gigabytes(memory_of(size, name, a))
            print(f"| {size} | {name} | {told(seconds)} | {ratio:.2f} | {memory} |", flush=True)


def ways(
    size: str, device: torch.device, settings: dict[str, TuneSettings]
) -> dict[str, Callable[..., None]]:
    """name -> way(steps, callback after each) of tuning a generator of a size: the plain one, and
    ours with each of the settings."""
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

    return {"plain": plainly, **{name: ours(one) for name, one in settings.items()}}


def floor(a: argparse.Namespace) -> None:
    device = torch.device(a.device)
    print("| one step | way | arithmetic | at a convolution's speed | moved | at a copy's speed |")
    print("| --- | --- | --- | --- | --- | --- |")
    for size in a.sizes:
        copying = bandwidth(device)
        for name, way in ways(size, device, OURS).items():
            flops, moved = work(way)
            dtype = torch.bfloat16 if "bfloat16" in name else torch.float32
            print(f"| {size} | {name} | {flops / 1e9:.3g} GFLOP | "
                  f"{told(flops / speed(dtype, device))} | {moved / 1e9:.3g} GB | "
                  f"{told(moved / copying)} |", flush=True)  # fmt: skip


def work(way: Callable[..., None], steps: int = 4) -> tuple[int, int]:
    """(floating point operations, bytes that operators read and write) of a step, forwards and
    backwards, the mean of some after the first one."""
    counts: list[tuple[int, int]] = []
    with FlopCounterMode(display=False) as counter, Traffic() as traffic:
        way(steps + 1, lambda *_: counts.append((counter.get_total_flops(), traffic.bytes)))
    (flops, moved), (more_flops, more_moved) = counts[0], counts[-1]
    return (more_flops - flops) // steps, (more_moved - moved) // steps


def memory_of(size: str, way: str, a: argparse.Namespace) -> int:
    """The most bytes that a process needs that does nothing but this."""
    command = [sys.executable, __file__, "step", "--sizes", size, "--measure", way]
    command += ["--device", a.device, "--threads", str(a.threads)]
    command += ["--usual-memory"] * a.usual_memory + ["--compile"] * a.compile
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def timed(way: Callable[..., None], device: torch.device) -> float:
    """Seconds of a step, after the first ones: of a GPU those of the clock, else those that the
    processor worked, so that other programs do not count."""
    first, count = first_steps(device), 40 if device.type == "cuda" else 4
    ends: list[float] = []
    done = 0

    def ended(*_: object) -> None:
        nonlocal done
        done += 1
        if done in (first, first + count):
            ends.append(now(device))

    way(first + count, ended)
    return (ends[1] - ends[0]) / count


def whole(way: Callable[..., None], steps: int, device: torch.device) -> float:
    """Seconds of a whole tuning."""
    began = now(device)
    way(steps, lambda *_: None)
    return now(device) - began


def first_steps(device: torch.device) -> int:
    """Those that prepare the rest: a GPU's libraries choose their ways in the first ones."""
    return 5 if device.type == "cuda" else 1


def now(device: torch.device) -> float:
    if device.type != "cuda":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def networks(size: str, device: torch.device) -> tuple[Generator, Lpips]:
    if size == "embedded":
        return load_generator("portraits", device), load_perceptual("loss").to(device)
    torch.manual_seed(0)
    G = Generator(StyleGAN2Config(resolution=int(size))).to(device).eval().requires_grad_(False)
    return G, Lpips(AlexNet(), "random").to(device).eval().requires_grad_(False)


# ------------------------------------------------------------------ presets
def presets(a: argparse.Namespace) -> None:
    bench = Bench(a.sets, a.pictures, torch.device(a.device))
    for name in a.presets:
        bench.row(name, lambda pivot, image, name=name: bench.tuned(name, pivot, image))
    if a.card is not None:
        put("\n".join(bench.lines), a.card, "presets")


class Bench:
    """Portraits outside the domain, their refined pivots, and what is measured of tuning them."""

    def __init__(self, sets: str, pictures: int, device: torch.device):
        self.G, E = load_generator("portraits", device), load_encoder("portraits", device)
        self.perceptual = load_perceptual("loss").to(device)
        self.test = open_set("outside", pictures, sets, split="tuning")
        self.rulers = Rulers.load(self.G, self.test.attributes)
        self.pivots = refine(
            E, self.G, self.test.images, REFINE_PRESETS["embedded"],
            perceptual=self.perceptual, identity=load_identity("loss").to(device),
        ).code  # fmt: skip

        self.lines: list[str] = []
        names = ["tuning", "seconds", *(title for title, _ in MEASURES)]
        self._line(names)
        self._line(["---"] * len(names))

    def row(self, title: str, way: Callable[[Code, Tensor], Generator]) -> None:
        """Tune every picture in a way and print the means, of the seconds the median."""
        seconds: list[float] = []
        numbers: Numbers = {}
        for i in range(len(self.test)):
            image, pivot = self.test.images[i : i + 1].to(self.G.device), self.pivots.one(i)
            with Clock(self.G.device) as clock:
                tuned = way(pivot, image)
            seconds.append(clock.seconds)
            with torch.no_grad():
                rendered = tuned.synthesis(pivot.w, "const").clamp(-1, 1)
            values = distortion(self.rulers, image, rendered)
            values |= editability(self.rulers, tuned, pivot, self.test.part(i, i + 1))
            for measure, value in values.items():
                numbers.setdefault(measure, []).extend(value)
        means = [f"{mean(numbers[measure]):.4f}" for _, measure in MEASURES]
        self._line([title, f"{median(seconds):.2f}", *means])

    def _line(self, cells: list[str]) -> None:
        self.lines.append(f"| {' | '.join(cells)} |")
        print(self.lines[-1], flush=True)

    def tuned(self, name: str, pivot: Code, image: Tensor) -> Generator:
        """By the plain way or by a preset."""
        if name == "plain":
            return plain.tune(self.G, pivot.w, image, self.perceptual).tuned_from(self.G)
        return tune(self.G, pivot, image, PRESETS[name], perceptual=self.perceptual).generator


def told(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


if __name__ == "__main__":
    main()
