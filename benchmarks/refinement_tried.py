"""What refinement's pictures of the domain, steps and rate are worth: prints a table, as Markdown.

    python benchmarks/refinement_tried.py --pictures 12

Pivots of the embedded encoder, refined with one setting after the other, for the same portraits of
the domain and outside it; nothing is tuned. Edits are measured at a change of one and of two
standard deviations: what keeps a code near W should show where edits are strong.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from statistics import mean, median
from tempfile import gettempdir

import torch

from cycle_core.bench.measures import (
    Numbers,
    Rulers,
    consistency,
    distance_to_w,
    distortion,
    editability,
)
from cycle_core.bench.page import put
from cycle_core.bench.sets import TestSet, open_set
from cycle_core.checkpoints.registry import load_encoder, load_generator
from cycle_core.invert.refine import REFINE_PRESETS, RefineSettings, refine
from cycle_core.measure.networks import load_identity, load_perceptual

EMBEDDED = REFINE_PRESETS["embedded"]
WAYS = {
    "none": replace(EMBEDDED, steps=0),
    "20 steps, M = 3": EMBEDDED,
    "M = 1": replace(EMBEDDED, images=1),
    "M = 7, weight 7": replace(EMBEDDED, images=7, reg=7.0),
    "M = 0": replace(EMBEDDED, images=0),
    "M = 0, 10 steps": replace(EMBEDDED, images=0, steps=10),
    "40 steps, M = 3": replace(EMBEDDED, steps=40),
    "M = 0, 40 steps": replace(EMBEDDED, images=0, steps=40),
    "paper": REFINE_PRESETS["paper"],
}
MEASURES = (  # heading, measure
    ("LPIPS", "lpips"),
    ("identity", "identity"),
    ("distance to mean W", "to_w"),
    ("LEC", "lec"),
    ("LPIPS to the true edit", "true_lpips"),
    ("unwanted", "unwanted"),
    ("kept", "kept"),
    ("reached at 2", "reached 2"),
    ("unwanted at 2", "unwanted 2"),
    ("kept at 2", "kept 2"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=int, default=12, help="of each set")
    parser.add_argument("--sets", default=gettempdir(), help="folder that keeps the portraits")
    parser.add_argument("--card", help="Markdown file that takes the tables")
    a = parser.parse_args()
    torch.set_num_threads(1)
    bench, lines = Bench(), []
    for name, title in (("inside", "Of the domain"), ("outside", "Outside the domain")):
        test = open_set(Path(a.sets), name, a.pictures, bench.G.resolution, False, lambda *_: None)
        lines += [f"\n| {title} | seconds | {' | '.join(h for h, _ in MEASURES)} |"]
        lines += ["| --- " * (len(MEASURES) + 2) + "|"]
        print("\n".join(lines[-2:]))
        for way, settings in WAYS.items():
            lines.append(bench.row(way, settings, test))
            print(lines[-1], flush=True)
    if a.card is not None:
        put("\n".join(lines), a.card, "refined")


class Bench:
    """The embedded models and what measures them."""

    def __init__(self) -> None:
        self.G, self.E = load_generator("portraits"), load_encoder("portraits")
        self.rulers = Rulers.load(self.G)
        self.perceptual, self.identity = load_perceptual("loss"), load_identity("loss")

    def row(self, title: str, settings: RefineSettings, test: TestSet) -> str:
        """One line: means over the pictures, the median of the seconds of the processor."""
        found: Numbers = {}
        for i in range(len(test)):
            for measure, value in self.measure(settings, test.part(i, i + 1)).items():
                found.setdefault(measure, []).append(value)
        numbers = [f"{mean(found[measure]):.4f}" for _, measure in MEASURES]
        return f"| {title} | {median(found['seconds']):.2f} | {' | '.join(numbers)} |"

    def measure(self, settings: RefineSettings, test: TestSet) -> dict[str, float]:
        began = time.process_time()
        done = refine(
            self.E, self.G, test.images, settings, seed=0,
            perceptual=self.perceptual, faces=self.identity,
        )  # fmt: skip
        spent, code = time.process_time() - began, done.code
        once = editability(self.rulers, self.G, code, test)
        twice = editability(self.rulers, self.G, code, test, wanted=2.0)
        found = {
            **distortion(self.rulers, test.images, done.image),
            **once,
            **{f"{measure} 2": values for measure, values in twice.items()},
            "to_w": distance_to_w(self.rulers, code),
            "lec": consistency(self.rulers, self.G, self.E, code),
            "seconds": [spent],
        }
        return {measure: mean(values) for measure, values in found.items()}


if __name__ == "__main__":
    main()
