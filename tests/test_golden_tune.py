"""Tuning against a reference of a few lines, written from the paper, on tiny networks in float64:
PTI (Roich et al. 2021), section 3. What it is, is here once more, in its own words.

`benchmarks/mutations.py` has the errors that this catches."""

from __future__ import annotations

import copy
from dataclasses import replace

import golden
import pytest
import torch
from golden import LPIPS, Adam, gradients
from torch import Tensor

from cycle_core.codes import Code
from cycle_core.invert.settings import TUNE_PRESETS, TuneSettings
from cycle_core.invert.tune import tune
from cycle_core.measure.perceptual import THRESHOLDS
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config

G, double = golden.G, golden.double
STEPS = 6


def reference(
    G: Generator, w_p: Tensor, x: Tensor, rate: float, alpha: float, every: int
) -> tuple[Generator, list[float], list[float]]:
    """(the best generator, the losses, those of locality)"""
    T = copy.deepcopy(G)
    parameters = list(T.synthesis.requires_grad_(True).parameters())
    adam, rng = Adam(parameters, rate, (0.9, 0.999), 1e-8), torch.Generator().manual_seed(4)
    states, losses, held = [], [], []
    for step in range(STEPS + 1):
        image = T.synthesis(w_p, "const")
        loss = (image - x).square().mean() + LPIPS(image, x)
        states.append(copy.deepcopy(T))
        losses.append(loss.item())
        if step == STEPS:
            break
        if step % every == 0:
            w_z = G.w_avg + 0.5 * (G.mapping(torch.randn(1, 8, generator=rng)) - G.w_avg)
            pivot = w_p[step // every % len(w_p)][None]
            length = (w_z - pivot).square().sum().sqrt()
            w_r = pivot + min(alpha, float(length)) * (w_z - pivot) / length
            now, then = T.synthesis(w_r, "none"), G.synthesis(w_r, "none")
            near = 0.1 * (now - then).square().mean() + 0.1 * LPIPS(now, then)
            held.append(near.item())
            loss = loss + every * near
        adam.step(gradients(loss, parameters))
    return states[losses.index(min(losses))], losses, held


@pytest.mark.parametrize("alpha", [0.5, 30.0])  # on the way, and beyond the sample
@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize(("pictures", "rate"), [(1, 0.2), (3, 0.03)])
def test_every_step_is_the_papers(G, alpha, every, pictures, rate):
    rng = torch.Generator().manual_seed(9)
    w = G.mapping(torch.randn(pictures, 8, generator=rng))
    w = w + 0.3 * torch.randn(w.shape, generator=rng)  # each style another: W+
    x = torch.rand(pictures, 3, 16, 16) * 2 - 1
    best, losses, held = reference(G, w, x, rate, alpha, every)
    settings = TuneSettings(
        steps=STEPS, learning_rate=rate, threshold=0.0, locality_alpha=alpha, locality_every=every,
        batch=2,
    )  # fmt: skip
    tuned = tune(G, Code(w, "W+", G.fingerprint), x, settings, seed=4, perceptual=LPIPS)
    assert [entry["total"] for entry in tuned.history] == pytest.approx(losses, rel=1e-9)
    found = [entry["locality"] for entry in tuned.history if "locality" in entry]
    assert found == pytest.approx(held, rel=1e-9)
    for name, value in tuned.generator.state_dict().items():
        expected = best.state_dict()[name]
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-11, msg=name)
    if rate == 0.2:  # the last state is not the best one, which would hide which of them is given
        assert losses.index(min(losses)) not in (0, STEPS)


def test_it_stops_at_the_threshold(G):
    w = G.mapping(torch.randn(1, 8, generator=torch.Generator().manual_seed(9)))
    x = torch.rand(1, 3, 16, 16) * 2 - 1
    settings = TuneSettings(steps=STEPS, learning_rate=0.03, threshold=0.0)
    whole = tune(G, Code(w, "W"), x, settings, perceptual=LPIPS).history
    threshold = whole[2]["lpips"]
    stopped = tune(G, Code(w, "W"), x, replace(settings, threshold=threshold), perceptual=LPIPS)
    assert len(stopped.history) == 3
    assert min(entry["lpips"] for entry in whole[:2]) > threshold


def test_the_whole_resolution_is_compared(double):
    large = Generator(StyleGAN2Config(512, z_dim=8, w_dim=8, mapping_layers=1, channels=(2,) * 8))
    x = (torch.arange(512) % 2 * 2.0 - 1).expand(1, 3, 512, 512)  # a grid of single pixels
    pivot = Code(large.w_avg.expand(1, large.num_ws, -1), "W")
    settings = TuneSettings(steps=0, lpips=0.0, locality=False)
    image = large.synthesis(pivot.w, "const")
    (start,) = tune(large, pivot, x, settings).history
    assert start["l2"] == pytest.approx((image - x).square().mean().item())


def test_the_threshold_is_that_of_the_network(G):
    w = G.mapping(torch.randn(1, 8, generator=torch.Generator().manual_seed(9)))
    x = torch.rand(1, 3, 16, 16) * 2 - 1
    network = golden.Features(1, cosine=False)
    network.threshold = 0.0
    settings = TuneSettings(steps=STEPS, learning_rate=0.03)
    whole = tune(G, Code(w, "W"), x, settings, perceptual=network).history
    assert len(whole) == STEPS + 1
    network.threshold = whole[3]["lpips"]
    assert len(tune(G, Code(w, "W"), x, settings, perceptual=network).history) == 4
    assert (THRESHOLDS["AlexNet"], TuneSettings().threshold) == (0.07, None)


def test_the_defaults_are_the_published_ones():
    published = TUNE_PRESETS["paper"]
    assert (published.steps, published.learning_rate) == (350, 3e-4)
    assert published.betas == (0.9, 0.999)
    assert (published.l2, published.lpips) == (1.0, 1.0)
    assert (published.locality, published.locality_every) == (True, 1)
    assert (published.locality_alpha, published.locality_truncation) == (30.0, 0.5)
    assert (published.locality_l2, published.locality_lpips) == (0.1, 0.1)
    assert published.detail_steps == 0
