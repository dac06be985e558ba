"""The LPIPS of a network at which a tuning is as near to its picture as PTI is when it stops: the
threshold of `TuneSettings` for the embedded networks, found at equal MSE.

    python benchmarks/threshold.py --pictures 8

PTI stops at an LPIPS of 0.06, Cycle Encoding's fork at 0.07, both of AlexNet. The MSE of its
results on CelebA-HQ is .0082 in [-1, 1] as GANInverter measured it, which is what is looked for.
Each portrait outside the domain is tuned at the embedded encoder's code by the preset `embedded`,
weights alone; LPIPS is read off where MSE passes .0082, by linear interpolation.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import replace
from statistics import median

import torch

from cycle_core.bench.sets import open_set
from cycle_core.checkpoints.registry import load_encoder, load_generator
from cycle_core.invert.encode import encode
from cycle_core.invert.settings import TUNE_PRESETS
from cycle_core.invert.tune import tune

MSE = 0.0082


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    G, E = load_generator("portraits"), load_encoder("portraits")
    images = open_set("outside", arguments.pictures).images
    settings = replace(TUNE_PRESETS["embedded"], steps=80, detail_steps=0, locality=False, l2=1.0)
    found, starts = [], []
    for image in images.split(1):
        history = tune(G, encode(E, image), image, settings).history
        starts.append(history[0]["lpips"])
        for before, after in itertools.pairwise(history):
            if after["l2"] <= MSE < before["l2"]:
                share = (before["l2"] - MSE) / (before["l2"] - after["l2"])
                found.append(before["lpips"] + share * (after["lpips"] - before["lpips"]))
                break
    print(f"{len(images)} portraits, LPIPS of their codes: median {median(starts):.4f}")
    print(f"LPIPS at an MSE of {MSE}: median {median(found):.4f}, {min(found):.4f} to "
          f"{max(found):.4f}, of {len(found)}")  # fmt: skip


if __name__ == "__main__":
    main()
