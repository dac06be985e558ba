"""Adaptive augmentation on 300 pictures: people become paintings.

    python benchmarks/ada.py RENDERS OUT [--images 3000] [--ada 0.6]

RENDERS: the folder of `make people`. 300 of them are painted with a few colours, at 32 pixels, and
the embedded generator's blocks up to 32 pixels are fine-tuned on them. Printed are the log's lines
of the probability p; the grids are in OUT/run/samples. The same command resumes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from PIL import ImageFilter, ImageOps

sys.path.insert(0, str(Path(__file__).parents[1]))

from cycle_core.checkpoints.native import save_model
from cycle_core.checkpoints.registry import load_generator
from cycle_core.cli import main as cycle_core
from cycle_core.images.io import to_pil
from cycle_core.models.blend import lower_blocks
from people.training.renders import Renders

SIZE, COUNT, COLOURS = 32, 300, 12
OPTIONS = ["--learning-rate", "3e-4", "--discriminator-learning-rate", "2e-3"]
OPTIONS += ["--ada-images", "8000", "--batch", "8", "--path-weight", "0", "--no-noise"]
OPTIONS += ["--half-life", "1000", "--log-every", "200", "--save-every", "1000", "--device", "cpu"]


def paint(renders: Path, out: Path) -> None:
    data = Renders(renders)
    out.mkdir(parents=True, exist_ok=True)
    for i in range(COUNT):
        photo = to_pil(data.batch([i]).images).filter(ImageFilter.MedianFilter(13))
        picture = ImageOps.posterize(photo, 3).quantize(COLOURS).convert("RGB")
        picture.resize((SIZE, SIZE)).save(out / f"{i:05d}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("renders", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=int, default=3_000)
    parser.add_argument("--ada", type=float, default=0.6)
    arguments = parser.parse_args()
    paintings, start = arguments.out / "paintings", arguments.out / "parent.safetensors"
    if not start.exists():
        paint(arguments.renders, paintings)
        small = lower_blocks(load_generator("portraits"), SIZE)
        save_model(start, "generator", small.config, small.state_dict())
    torch.set_num_threads(1)
    run = arguments.out / "run"
    command = ["train", "generator", str(paintings), "--start", str(start), "--out", str(run)]
    command += ["--images", str(arguments.images), "--ada", str(arguments.ada), *OPTIONS]
    cycle_core(command)
    for line in (run / "log.jsonl").read_text("utf-8").splitlines():
        entry = json.loads(line)
        if "ada_p" in entry:
            print({key: entry[key] for key in ("step", "real", "ada_p", "discriminator")})


if __name__ == "__main__":
    main()
