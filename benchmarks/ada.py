"""Adaptive augmentation on 300 pictures, beside a training without it.

    python benchmarks/ada.py RENDERS OUT [--images 40000]

RENDERS: the folder of `make people`. Two generators of 64 pixels learn from 300 of them from
nothing, alike but for `--ada`, in turn, 4,000 images each. The table has, for both, the mean sign
of the discriminator's logits of its pictures, ADA's probability p, how far the discriminator knows
its pictures by heart, r_v of the paper (of held-out renders: 0, as the pictures; 1, as samples),
and the Frechet distance of 500 samples to the 500 held-out renders, over that of two halves of
renders. The grids are in OUT/control/samples and OUT/ada/samples. The same command resumes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from frechet import pooled
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from cycle_core.checkpoints.registry import load_generator
from cycle_core.cli import main as cycle_core
from cycle_core.images.io import to_pil
from cycle_core.measure.metrics import frechet_distance
from cycle_core.measure.perceptual import Lpips, load_perceptual
from cycle_core.models.stylegan2 import StyleGAN2Config
from cycle_core.training.discriminator import Discriminator
from people.training.renders import Renders

SIZE, COUNT, SAMPLES, STAGE = 64, 300, 500, 4_000
RUNS = {"control": [], "ada": ["--ada", "0.6", "--ada-images", "20000"]}
OPTIONS = ["--resolution", str(SIZE), "--channels", "64-48-32-24-16", "--w-dim", "128"]
OPTIONS += ["--z-dim", "128", "--mapping-layers", "4", "--batch", "8", "--path-weight", "0"]
OPTIONS += ["--no-noise", "--half-life", "2000", "--log-every", "400", "--save-every", str(STAGE)]
OPTIONS += ["--device", "cpu"]


def write_pictures(data: Renders, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for i in data.train[:COUNT]:
        to_pil(data.batch([i]).images).save(out / f"{i:05d}.png")


@torch.no_grad()
def measure(run: Path, known: Tensor, others: Tensor, perceptual: Lpips) -> tuple[float, float]:
    """r_v, and the Frechet distance to `others`. Both sets: float [N,3,R,R] in [-1,1]."""
    G = load_generator(run / "generator.safetensors")
    z = torch.randn(SAMPLES, G.config.z_dim, generator=torch.Generator().manual_seed(2))
    samples = torch.cat([G(part).clamp(-1, 1) for part in z.split(20)])
    assert isinstance(G.config, StyleGAN2Config)
    D = Discriminator(G.config)
    D.load_state_dict(torch.load(run / "checkpoint.pt", weights_only=True)["discriminator"])
    real, held_out, fake = (
        float(torch.cat([D(part) for part in images[:296].split(8)]).mean())
        for images in (known, others, samples)
    )
    return (real - held_out) / (real - fake), distance(others, samples, perceptual)


def distance(a: Tensor, b: Tensor, perceptual: Lpips) -> float:
    features = (torch.cat([pooled(p, perceptual) for p in x.split(20)]) for x in (a, b))
    return frechet_distance(*features)


def logged(run: Path, first: int) -> tuple[float, float]:
    """The mean sign from an image on, and the last p."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    lines = [line for line in lines if "real" in line and line["step"] > first]
    return sum(line["real"] for line in lines) / len(lines), lines[-1].get("ada_p", 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("renders", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=int, default=40_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data, perceptual = Renders(arguments.renders, SIZE), load_perceptual("metrics")
    pictures = arguments.out / "pictures"
    write_pictures(data, pictures)
    known = data.batch(data.train[:COUNT]).images
    others = data.batch(data.held_out).images
    halves = distance(others, data.batch(data.train[COUNT : COUNT + SAMPLES]).images, perceptual)
    print(
        "| images | run | sign | p | r_v | Frechet ratio |\n| --- | --- | --- | --- | --- | --- |"
    )
    for images in range(STAGE, arguments.images + 1, STAGE):
        for name, options in RUNS.items():
            run = arguments.out / name
            command = ["train", "generator", str(pictures), "--out", str(run), "--quiet"]
            cycle_core([*command, "--images", str(images), *OPTIONS, *options])
            sign, p = logged(run, images - STAGE)
            by_heart, apart = measure(run, known, others, perceptual)
            row = f"{images:,} | {name} | {sign:.2f} | {p:.2f} | {by_heart:.2f}"
            print(f"| {row} | {apart / halves:.2f} |", flush=True)


if __name__ == "__main__":
    main()
