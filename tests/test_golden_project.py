"""Projection against a reference of a few lines, written from the paper, on tiny networks in
float64: StyleGAN2 (Karras et al. 2020), appendix D, with the losses of refinement and constant
noise maps. What it is, is here once more, in its own words.

`benchmarks/mutations.py` has the errors that this catches."""

from __future__ import annotations

import math

import golden
import pytest
import torch
from golden import IDENTITY, LPIPS, Adam, gradients
from torch import Tensor

from cycle_core.invert.project import project
from cycle_core.invert.settings import PROJECT_PRESETS, ProjectSettings
from cycle_core.models.generator import Generator

G, double = golden.G, golden.double
STEPS = 24  # the rate rises in the first two, falls in the last six; 18 have noise


def reference(
    G: Generator, x: Tensor, space: str, rng: torch.Generator
) -> tuple[Tensor, list[float]]:
    """(the best code, the losses)"""
    samples = G.mapping(torch.randn(10_000, 8, generator=torch.Generator().manual_seed(0)))[:, 0]
    deviation = (samples - samples.mean(0)).square().sum(1).mean().sqrt()
    free = G.w_avg.expand(1, 1 if space == "W" else 6, -1).clone().requires_grad_()
    adam, codes, losses = Adam([free], 0.0, (0.9, 0.999), 1e-8), [], []
    for step in range(STEPS + 1):
        t = step / STEPS
        noise = 0.05 * deviation * max(0.0, 1 - t / 0.75) ** 2
        w = (free + noise * torch.randn(free.shape[1:], generator=rng)).expand(-1, 6, -1)
        image = G.synthesis(w, "const")
        loss = (image - x).square().mean() + 0.8 * LPIPS(image, x) + 0.1 * IDENTITY(image, x)
        codes.append(w.detach())
        losses.append(loss.item())
        fall = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - t) / 0.25))
        adam.lr = 0.1 * min(1.0, t / 0.05) * fall
        adam.step(gradients(loss, [free]))
    return codes[losses.index(min(losses))], losses


@pytest.mark.parametrize("space", ["W", "W+"])
def test_every_step_is_the_papers(G, space):
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    rng = torch.Generator().manual_seed(4)
    rngs = [
        torch.Generator().manual_seed(int(n)) for n in torch.randint(2**62, (2,), generator=rng)
    ]
    found = project(
        G, x, ProjectSettings(space=space, steps=STEPS), seed=4, perceptual=LPIPS,
        identity=IDENTITY,
    )  # fmt: skip
    for i, (picture, own) in enumerate(zip(x.split(1), rngs, strict=True)):
        w, losses = reference(G, picture, space, own)
        totals = [entry["total"] for entry in found.history[i]]
        assert totals == pytest.approx(losses, rel=1e-9)
        torch.testing.assert_close(found.code.w[i : i + 1], w, rtol=1e-9, atol=1e-11)


def test_the_defaults_are_the_published_ones():
    published = PROJECT_PRESETS["paper"]
    assert (published.steps, published.samples, published.starts) == (1000, 0, 1)
