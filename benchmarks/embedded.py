"""Measures the embedded models; the numbers of docs/embedded-models.md come from here.

    python benchmarks/embedded.py PORTRAITS --tune 200 --pictures docs/images \\
        --card docs/embedded-models.md

PORTRAITS is a folder of `make people`; its first pictures, which no training saw, are the test set.
Every network that measures here was kept out of all losses.
--card writes the tables between the two `measured` marks of a Markdown file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from frechet import pooled
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

import cycle_core as cc
from cycle_core.bench.report import put
from cycle_core.errors import InputError
from cycle_core.images.io import save_image
from cycle_core.images.sheet import contact_sheet
from cycle_core.invert.settings import REFINE_PRESETS, TUNE_PRESETS
from cycle_core.measure import metrics
from cycle_core.measure.metrics import frechet_distance
from cycle_core.measure.perceptual import Lpips, PortraitNet, load_attributes, load_perceptual
from cycle_core.measure.recognition import load_identity
from cycle_core.models.factors import FactorTable
from cycle_core.models.generator import Generator
from people.training.features import REQUIRED
from people.training.renders import Renders

SAMPLES = 1000  # of the generator, and in each half of the renders that they are compared with


@torch.no_grad()
def measure_generator(G: Generator, data: Renders, reader: PortraitNet, perceptual: Lpips) -> dict:
    """PSNR on held-out renders, Frechet distance of samples, and the attributes read back."""
    renders, factors, _, _ = data.batch(data.held_out)
    z = data.table.to_z(factors, torch.Generator().manual_seed(1))
    rendered = _batches(lambda part: G(part), z)
    error = (rendered.clamp(-1, 1) - renders).square().mean((1, 2, 3))
    if len(data.train) < 2 * SAMPLES:  # a smaller half is farther away, which flatters the ratio
        raise InputError(f"Two halves need {2 * SAMPLES} renders beside those held out.")
    real = torch.cat([data.batch(at)[0] for at in _chunks(data.train[: 2 * SAMPLES])])
    z = torch.randn(SAMPLES, len(data.table), generator=torch.Generator().manual_seed(2))
    samples = _batches(lambda part: G(part), z).clamp(-1, 1)
    features, fakes = (_batches(lambda x: pooled(x, perceptual), x) for x in (real, samples))
    halves = frechet_distance(features[:SAMPLES], features[SAMPLES:])
    return {
        "psnr": float(metrics.psnr_of(error).mean()),
        "frechet_samples": frechet_distance(features[:SAMPLES], fakes),
        "frechet_halves": halves,
        "frechet_ratio": frechet_distance(features[:SAMPLES], fakes) / halves,
        "r2_renders": r_squared(data.table, _batches(reader.factors, renders), factors),
        "r2_samples": r_squared(
            data.table, _batches(reader.factors, samples), data.table.from_z(z)
        ),
    }


def r_squared(table: FactorTable, read: Tensor, true: Tensor) -> dict[str, float]:
    """Share of each factor's variance that reading it back explains; read, true: [B, N]."""
    share = 1 - (read - true).square().mean(0) / true.var(0, unbiased=False)
    return {name: float(value) for name, value in zip(table.names, share, strict=True)}


def measure_inversion(data: Renders, encoded: int, tuned: int, workers: int) -> dict:
    """Distortion of the encoder on `encoded` held-out portraits and of refining and tuning on
    `tuned`; seconds for each picture, of one thread."""
    perceptual, person = load_perceptual("metrics"), load_identity("metrics")

    def distortion(rendered: Tensor) -> dict[str, float]:
        against = target[: len(rendered)]
        return {
            "pictures": len(rendered),
            "mse": float(metrics.mse(rendered, against).mean()),
            "psnr": float(metrics.psnr(rendered, against).mean()),
            "ms_ssim": float(metrics.ms_ssim(rendered, against).mean()),
            "lpips": float(metrics.lpips(rendered, against, perceptual).mean()),
            "identity": float(metrics.identity(rendered, against, person).mean()),
        }

    target = data.batch(data.held_out[: max(encoded, tuned)])[0]
    G, E = cc.load_generator("portraits"), cc.load_encoder("portraits")
    report: dict = {"encode": distortion(cc.generate(G, cc.encode(E, target[:encoded])))}
    if tuned:
        with torch.multiprocessing.get_context("spawn").Pool(workers) as pool:
            done = pool.map(_invert, [part.numpy() for part in target[:tuned].split(1)], 1)
        for step in ("refine", "tune"):
            report[step] = distortion(torch.cat([torch.from_numpy(one[step][0]) for one in done]))
            report[step]["seconds"] = float(np.median([one[step][1] for one in done]))
    return report


def _invert(picture: np.ndarray) -> dict[str, tuple[np.ndarray, float]]:
    """{step: (picture [1,3,R,R], seconds)} of refining and tuning one picture."""
    torch.set_num_threads(1)
    G, E = cc.load_generator("portraits"), cc.load_encoder("portraits")
    image, start = torch.from_numpy(picture), time.perf_counter()
    pivot = cc.refine(E, G, image, REFINE_PRESETS["embedded"], domain="generator").code
    middle = time.perf_counter()
    tuned = cc.tune(G, pivot, image, TUNE_PRESETS["embedded"])
    end = time.perf_counter()
    refined = cc.generate(G, pivot)
    return {
        "refine": (refined.numpy(), middle - start),
        "tune": (tuned.image.numpy(), end - middle),
    }


def pictures(G: Generator, data: Renders, folder: Path) -> None:
    """Sheets to look at: samples, and renders beside G(z) of the same factors."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        z = torch.randn(24, len(data.table), generator=torch.Generator().manual_seed(4))
        samples = G(z).clamp(-1, 1)
        renders, factors, _, _ = data.batch(data.held_out[:16])
        rendered = G(data.table.to_z(factors)).clamp(-1, 1)
    save_image(contact_sheet([[*row.split(1)] for row in samples.split(8)], cell=200),
               folder / "samples.jpg")  # fmt: skip
    rows = []
    for a, b in zip(renders.split(8), rendered.split(8), strict=True):
        rows += [[*a.split(1)], [*b.split(1)]]
    save_image(contact_sheet(rows, cell=200), folder / "renders-and-samples.jpg")


def _batches(function: Callable[[Tensor], Tensor], x: Tensor, size: int = 100) -> Tensor:
    return torch.cat([function(part) for part in x.split(size)])


def _chunks(indices: np.ndarray, size: int = 500) -> list[np.ndarray]:
    return [indices[i : i + size] for i in range(0, len(indices), size)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the embedded models.")
    parser.add_argument("portraits")
    parser.add_argument("--generator", default="portraits")
    parser.add_argument("--json", type=Path, help="write all numbers")
    parser.add_argument("--card", type=Path, help="Markdown file whose tables are replaced")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--encoded", type=int, default=200)
    parser.add_argument("--tune", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that refine and tune")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    data, G = Renders(args.portraits), cc.load_generator(args.generator)
    if args.pictures:
        pictures(G, data, args.pictures)
    report: dict = {
        "generator": measure_generator(G, data, load_attributes(), load_perceptual("metrics"))
    }
    if args.encoded:
        report["inversion"] = measure_inversion(data, args.encoded, args.tune, args.workers)
    text = markdown(report)
    print(text)
    if args.card:
        put(text, args.card, "measured")
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


def markdown(report: dict) -> str:
    """The tables of the model card."""
    generator = report["generator"]
    lines = ["| generator | |", "| --- | --- |"]
    lines += [
        f"| {name.replace('_', ' ')} | {value:.4g} |"
        for name, value in generator.items()
        if not isinstance(value, dict)
    ]
    lines += ["", "| attribute read back, R2 | renders | samples |", "| --- | --- | --- |"]
    for name in sorted(generator["r2_renders"], key=lambda name: name not in REQUIRED):
        pair = [generator[f"r2_{kind}"][name] for kind in ("renders", "samples")]
        shown = f"**{name}**" if name in REQUIRED else name
        lines.append(f"| {shown} | {pair[0]:.3f} | {pair[1]:.3f} |")
    columns = ("pictures", "mse", "psnr", "ms_ssim", "lpips", "identity", "seconds")
    if "inversion" in report:
        lines += ["", "| step | " + " | ".join(columns) + " |", "| --- " * (len(columns) + 1) + "|"]
    for step, values in report.get("inversion", {}).items():
        cells = [f"{values[c]:.4g}" if c in values else "" for c in columns]
        lines.append(f"| {step} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
