"""Projection to equal LPIPS: the published projector against shorter schedules and other starts.

    python benchmarks/projection.py [--pictures 20] [--space W]

Takes people of the test set and projects them into the embedded generator with each of
the settings below. Printed are the mean of the best LPIPS and of the best loss, the seconds of the
CPU, and how many times less that is than the published schedule took.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

from cycle_core.bench.sets import open_set
from cycle_core.checkpoints.registry import load_generator
from cycle_core.invert.project import project
from cycle_core.invert.settings import PROJECT_PRESETS

PAPER = PROJECT_PRESETS["paper"]
TRIED = {
    "published": PAPER,
    "200 steps": replace(PAPER, steps=200),
    "100 steps": replace(PAPER, steps=100),
    "100 steps, no noise on w": replace(PAPER, steps=100, wander=0.0, fall=0.5),
    "100 steps, rate 0.3": replace(PAPER, steps=100, learning_rate=0.3, wander=0.0, fall=0.5),
    "100 steps, nearest of 1,000": replace(PAPER, steps=100, samples=1000, wander=0.0, fall=0.5),
    "fast": PROJECT_PRESETS["fast"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--space", choices=("W", "W+"), default="W")
    arguments = parser.parse_args()
    G = load_generator("portraits")
    pictures = open_set("inside", arguments.pictures).images
    print(f"{arguments.pictures} pictures, {arguments.space}\n")
    print("| settings | LPIPS | loss | seconds of the CPU | times less |")
    print("| --- | --- | --- | --- | --- |")
    published = None
    for name, settings in TRIED.items():
        began = time.process_time()
        found = project(G, pictures, replace(settings, space=arguments.space))
        seconds = time.process_time() - began
        published = published or seconds
        best = [min(log, key=lambda entry: entry["total"]) for log in found.history]
        lpips, loss = (sum(x[key] for x in best) / len(best) for key in ("lpips", "total"))
        print(
            f"| {name} | {lpips:.4f} | {loss:.4f} | {seconds:.0f} | {published / seconds:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
