"""Projection to equal LPIPS: the preset `fast` against the published projector.

    python benchmarks/projection.py [--pictures 20] [--published 20] [--size 128] [--path FILE]
    python benchmarks/projection.py --pictures 10 --size 64 --samples 10000

Projects people of the test set into W of the embedded generator, by the loss of the published
projector, the perceptual distance alone, measured by one network for both. Its noise maps are left
out: those of this generator have strengths below 0.001. Printed are, for each picture, the LPIPS of
both, the first step at which each has reached what the other ends with, and how many times less
seconds of the CPU the preset takes to the published end.

--published: of so many pictures the published projector is run, which takes minutes for each; its
path is kept in the file --path, and taken from there another time. --size: of the pictures, which
the lower blocks of the generator render. --samples: instead, what it is worth to begin at the
nearest of so many random codes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from cycle_core.bench.sets import open_set
from cycle_core.checkpoints.registry import load_generator
from cycle_core.invert.project import project
from cycle_core.invert.settings import PROJECT_PRESETS
from cycle_core.models.blend import lower_blocks
from cycle_core.models.generator import Generator

BATCH = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--published", type=int, default=20)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--path", type=Path)
    parser.add_argument("--samples", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    G = lower_blocks(load_generator("portraits"), arguments.size)
    pictures = open_set("inside", arguments.pictures).resized(arguments.size).images
    if arguments.samples:
        compare_starts(G, pictures, arguments.samples)
        return
    if arguments.path and arguments.path.exists():
        old = json.loads(arguments.path.read_text("utf-8"))
    else:
        old = run(G, pictures[: arguments.published], "paper")
        if arguments.path:
            arguments.path.write_text(json.dumps(old), "utf-8")
    new = run(G, pictures, "fast")
    print("| picture | published | fast | reaches the published end | published reaches its end |")
    print("| --- | --- | --- | --- | --- |")
    seconds = [cost["times"][-1] / len(cost["lpips"]) for cost in (old, new)]
    ratios = []
    for i, ours in enumerate(new["lpips"]):
        row = ["", f"{min(ours):.4f}", "", ""]
        if i < len(old["lpips"]):
            theirs = old["lpips"][i]
            there, beyond = reached(ours, min(theirs)), reached(theirs, min(ours))
            row = [f"{min(theirs):.4f}", row[1], *map(shown, (there, beyond))]
            if there is not None:
                share = there / (len(ours) - 1), seconds[1] / seconds[0]
                ratios.append(1 / (share[0] * share[1]))
        print(f"| {i} | {' | '.join(row)} |")
    steps = [len(cost["lpips"][0]) - 1 for cost in (old, new)]
    print(f"\nSeconds of the CPU a picture: {seconds[0]:.0f} of {steps[0]} steps, ", end="")
    print(f"{seconds[1]:.0f} of {steps[1]}; to the end {seconds[0] / seconds[1]:.1f} times less.")
    mean = sum(map(min, new["lpips"])) / len(new["lpips"])
    print(f"Mean LPIPS of `fast` over {len(new['lpips'])} pictures: {mean:.4f}.")
    if ratios:
        print(f"To equal LPIPS: {min(ratios):.1f} to {max(ratios):.1f} times less.")


def compare_starts(G: Generator, pictures: Tensor, samples: int) -> None:
    """Print the mean LPIPS on the way from either start, and the seconds of the whole."""
    count = len(pictures)
    print("| start | before | 15 steps | 30 | 60 | 120 | 180 | CPU s |\n|" + " --- |" * 8)
    for name, codes in (("the mean code", 0), (f"the nearest of {samples:,}", samples)):
        found = run(G, pictures, "fast", codes)
        at = [sum(path[step] for path in found["lpips"]) / count for step in (0, 15, 30, 60, 120)]
        at.append(sum(map(min, found["lpips"])) / count)
        row = " | ".join(f"{lpips:.4f}" for lpips in at)
        print(f"| {name} | {row} | {found['times'][-1] / count:.1f} |", flush=True)


def run(G: Generator, pictures: Tensor, preset: str, samples: int = 0) -> dict[str, Any]:
    """lpips: of each picture before every step and after the last. times: of the CPU after each
    step of each batch, in seconds."""
    loss = replace(
        PROJECT_PRESETS[preset], l2=0.0, lpips=1.0, identity=0.0, batch=BATCH, samples=samples
    )
    times: list[float] = []
    began = time.process_time()
    found = project(
        G, pictures, loss, callback=lambda *_: times.append(time.process_time() - began)
    )
    return {"lpips": [[entry["lpips"] for entry in log] for log in found.history], "times": times}


def reached(path: list[float], aim: float) -> int | None:
    """The first step at which a path is at the aim."""
    return next((step for step, lpips in enumerate(path) if lpips <= aim), None)


def shown(step: int | None) -> str:
    return "never" if step is None else f"step {step}"


if __name__ == "__main__":
    main()
