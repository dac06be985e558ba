"""What each number of pivot refinement is worth, on the embedded people. Prints a table.

    python benchmarks/refinement.py
    python benchmarks/refinement.py --card docs/results.md

Portraits inside the domain and outside of it are refined in several ways, nothing is tuned; then
every attribute is moved by a strength of 1, and what comes of it is compared with the render of the
true edit. The numbers of the preset `embedded` were chosen on other people (`make sets
SPLIT=tuning`, with --sets and --split).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from statistics import mean

import torch
from detail import edits

from cycle_core.bench.measures import Rulers, consistency, distance_to_w
from cycle_core.bench.report import put
from cycle_core.bench.sets import SPLITS, open_set
from cycle_core.checkpoints.registry import load_encoder, load_generator
from cycle_core.invert.generate import generate
from cycle_core.invert.refine import refine
from cycle_core.invert.settings import REFINE_PRESETS, RefineSettings
from cycle_core.measure import metrics

_NOW = REFINE_PRESETS["embedded"]
_BEFORE = RefineSettings(steps=20, learning_rate=1e-3, images=3, reg=3.0)
WAYS = {
    "none": replace(_NOW, steps=0),
    "20 steps of 1e-3, M = 3, whole pictures": _BEFORE,
    "the same, pictures of 128 px": replace(_BEFORE, size=128),
    "40 steps of 1e-3, M = 1, whole pictures": replace(_BEFORE, steps=40, images=1, reg=1.0),
    "30 steps of 3e-3, M = 1, pictures of 128 px": replace(
        _BEFORE, steps=30, learning_rate=3e-3, images=1, reg=1.0, size=128
    ),
    "the same, M = 0": replace(_BEFORE, steps=30, learning_rate=3e-3, images=0, size=128),
}
COLUMNS = (  # heading, key
    ("seconds", "seconds"),
    ("LPIPS", "lpips"),
    ("identity", "identity"),
    ("distance to mean W", "distance"),
    ("LEC", "lec"),
    ("LPIPS to the true edit", "true_lpips"),
    ("achieved", "achieved"),
    ("unwanted", "unwanted"),
    ("identity kept", "kept"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=4, help="of each set")
    parser.add_argument("--sets", type=Path, help="a folder of `make sets`; else the embedded ones")
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--card", type=Path, help="a Markdown file that the tables go into")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    G, E = load_generator("portraits"), load_encoder("portraits")
    lines: list[str] = []
    for name in ("inside", "outside"):
        people = open_set(name, a.pictures, a.sets, a.split)
        rulers = Rulers.load(G, people.attributes)
        lines += [
            f"| {name} the domain | {' | '.join(heading for heading, _ in COLUMNS)} |",
            "| --- " * (1 + len(COLUMNS)) + "|",
        ]
        for way, settings in WAYS.items():
            found: list[dict[str, float]] = []
            for i in range(len(people)):
                one = people.part(i, i + 1)
                began = time.process_time()
                pivot = refine(E, G, one.images, settings).code
                seconds = time.process_time() - began
                image = generate(G, pivot)
                found.append(
                    {
                        key: float(values.mean())
                        for key, values in edits(rulers, G, pivot, one).items()
                    }
                    | {
                        "seconds": seconds,
                        "lpips": float(
                            metrics.lpips(one.images, image, rulers.networks.perceptual)
                        ),
                        "identity": float(
                            metrics.identity(one.images, image, rulers.networks.identity)
                        ),
                        "distance": distance_to_w(rulers, pivot)[0],
                        "lec": consistency(rulers, G, E, pivot)[0],
                    }
                )
            cells = (f"{mean(one[key] for one in found):.4g}" for _, key in COLUMNS)
            lines.append(f"| {way} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
        lines.append("")
    if a.card is not None:
        put("\n".join(lines), a.card, "refined")


if __name__ == "__main__":
    main()
