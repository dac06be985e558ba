"""Several pictures and one generator: one step along the mean gradient of all, as `tune` does, or
one Adam step for each picture in turn, as PTI's published code does, at as many renderings.

    python benchmarks/several.py --pictures 4 --rounds 40

One person of the embedded domain many times, at the codes of the embedded encoder; the weights
alone, without locality.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch

from cycle_core.bench.sets import open_set
from cycle_core.checkpoints.registry import load_encoder, load_generator
from cycle_core.invert.encode import encode
from cycle_core.invert.objective import Objective
from cycle_core.invert.settings import TUNE_PRESETS
from cycle_core.invert.tune import tune
from cycle_core.measure.selection import Networks
from cycle_core.runtime.session import trainable_copy


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument(
        "--rounds", type=int, default=40, help="times that each picture is rendered"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    G, E = load_generator("portraits"), load_encoder("portraits")
    images = open_set("person", arguments.pictures).images
    w = encode(E, images, generator=G).w
    objective = Objective(1.0, 1.0, networks=Networks.for_loss(embedded=True))
    print("| preset's rate and betas | way | Adam steps | MSE | LPIPS |")
    print("| --- | --- | --- | --- | --- |")
    for name in ("paper", "embedded"):
        settings = replace(
            TUNE_PRESETS[name],
            steps=arguments.rounds,
            detail_steps=0,
            locality=False,
            threshold=0.0,
        )
        code = encode(E, images, generator=G)
        losses = tune(G, code, images, settings).history[-1]
        row(name, "the mean of all", arguments.rounds, losses["l2"], losses["lpips"])
        T = trainable_copy(G)
        adam = torch.optim.Adam(T.synthesis.parameters(), settings.learning_rate, settings.betas)
        for _ in range(arguments.rounds):
            for i in range(len(images)):
                adam.zero_grad()
                target = objective.target(images[i : i + 1])
                objective(T.synthesis(w[i : i + 1], "const"), target).total.sum().backward()
                adam.step()
        with torch.no_grad():
            terms = objective(T.synthesis(w, "const"), objective.target(images))
        count = arguments.rounds * len(images)
        row(name, "one after the other", count, float(terms.l2.mean()), float(terms.lpips.mean()))


def row(name: str, way: str, steps: int, mse: float, lpips: float) -> None:
    print(f"| {name} | {way} | {steps} | {mse:.4f} | {lpips:.4f} |", flush=True)


if __name__ == "__main__":
    main()
