"""The method's absolute numbers in another W: settings with the same multiples of its spread mean
the same there."""

from __future__ import annotations

import copy

import golden
import pytest
import torch

from cycle_core.invert.locality import Locality
from cycle_core.invert.settings import TuneSettings
from cycle_core.invert.w_scale import in_spreads, w_spread
from cycle_core.measure.selection import Networks
from cycle_core.models.generator import Generator
from cycle_core.training.encoder import delta_loss
from cycle_core.training.latent_discriminator import LatentDiscriminator, r1_penalty

G, double = golden.G, golden.double


@pytest.fixture
def wide(G) -> Generator:
    """The same pictures of a W that is twice as wide."""
    twin = copy.deepcopy(G)
    twin.w_avg.mul_(2)
    for name, parameter in twin.named_parameters():
        if name.startswith("mapping.layers.1."):
            parameter.mul_(2)
        elif name.endswith("affine.weight"):
            parameter.div_(2)
    return twin


def test_the_spread_is_the_root_mean_square_distance_from_the_mean(G, wide):
    w = G.mapping(torch.randn(20_000, 8))[:, 0]
    expected = float((w - w.mean(0)).norm(dim=1).square().mean() ** 0.5)
    assert w_spread(G) == pytest.approx(expected, rel=0.05)
    assert w_spread(wide) == pytest.approx(2 * w_spread(G))


def test_the_same_multiples_mean_the_same(G, wide):
    multiples = in_spreads(G, alpha=3.0, delta=2e-4, r1_gamma=10.0)
    assert in_spreads(wide, alpha=6.0, delta=1e-4, r1_gamma=40.0) == pytest.approx(
        {**multiples, "spread": 2 * multiples["spread"]}
    )
    assert multiples["alpha"] == pytest.approx(3.0 / 6**0.5 / multiples["spread"])

    w, networks = G.mapping(torch.randn(1, 8)), Networks(golden.LPIPS)
    losses = []
    for generator, alpha, pivot in ((G, 3.0, w), (wide, 6.0, 2 * w)):
        settings = TuneSettings(locality_alpha=alpha)
        tuned = copy.deepcopy(generator)
        tuned.synthesis.const.mul_(1.1)
        losses.append(float(Locality(generator, pivot, settings, networks, 0)(tuned.synthesis)))
    assert losses[0] == pytest.approx(losses[1])
    assert losses[0] > 1e-6

    rows = torch.randn(4, 6, 8)
    assert 2e-4 * delta_loss(rows, 5) == pytest.approx(1e-4 * delta_loss(2 * rows, 5))

    D = LatentDiscriminator(8).requires_grad_(False)
    slope, wide_slope = r1_penalty(D, w[:, 0]), r1_penalty(lambda v: D(v / 2), 2 * w[:, 0])
    assert 10.0 * slope.item() == pytest.approx(40.0 * wide_slope.item())
