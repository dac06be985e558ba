"""How far two sets of pictures are apart by the features of a network.

    python benchmarks/frechet.py PEOPLE [GENERATOR ...] [--samples 500]

compares generators of people with renders of `make people`: the Frechet distance of samples to
renders over that of two halves of the renders, and, of renders that no generator was trained on,
the LPIPS of what it makes of the same factors.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from cycle_core.checkpoints.registry import load_generator
from cycle_core.measure.metrics import frechet_distance
from cycle_core.measure.perceptual import Lpips, load_perceptual
from people.training.renders import Renders

AT_ONCE = 20  # pictures


def pooled(images: Tensor, perceptual: Lpips) -> Tensor:
    """The features of Frechet distances, [B, C]: those of the perceptual distance, of unit length
    at each place, averaged over the picture, all levels side by side.

    Raw features have tails: one portrait in fifty is twenty times as long as the others, and the
    distance of two halves of the renders then changes threefold with the halves."""
    return torch.cat([level.mean((2, 3)) for level in perceptual.features(images)], dim=1)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description="Compare generators of people with renders.")
    parser.add_argument("people")
    parser.add_argument("generators", nargs="*", default=["portraits"])
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--held-out", type=int, default=60, help="pictures whose LPIPS is measured")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data, perceptual, count = (
        Renders(arguments.people),
        load_perceptual("metrics"),
        arguments.samples,
    )
    known = torch.from_numpy(data.train[: 2 * count])
    parts = [pooled(data.batch(at).images, perceptual) for at in known.split(AT_ONCE)]
    real, other = torch.cat(parts).split(count)
    halves = frechet_distance(real, other)
    held_out = data.batch(data.held_out[: arguments.held_out])
    z = data.table.to_z(held_out.factors, torch.Generator().manual_seed(1))
    random = torch.randn(count, len(data.table), generator=torch.Generator().manual_seed(2))
    print(f"{count} renders and samples; two halves of the renders are {halves:.5f} apart.\n")
    print("| generator | Frechet ratio | LPIPS |\n| --- | --- | --- |")
    for name in arguments.generators:
        G = load_generator(name)
        samples = [pooled(G(part).clamp(-1, 1), perceptual) for part in random.split(AT_ONCE)]
        ratio = frechet_distance(real, torch.cat(samples)) / halves
        rendered = torch.cat([G(part).clamp(-1, 1) for part in z.split(AT_ONCE)])
        lpips = float(perceptual(rendered, held_out.images).mean())
        print(f"| {name} | {ratio:.2f} | {lpips:.4f} |", flush=True)


if __name__ == "__main__":
    main()
