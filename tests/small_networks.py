"""Networks of the real classes, small and random, as fixtures; and what tests ask of them.

A test module takes those it uses by `G = small_networks.G`, so that no other module sees them.
"""

from __future__ import annotations

import pytest
import torch

from cycle_core.codes import Code
from cycle_core.invert.generate import generate
from cycle_core.measure.perceptual import Lpips, PortraitNet, PortraitNetConfig
from cycle_core.models.encoder import Encoder, EncoderConfig
from cycle_core.models.factors import Factor
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config


@pytest.fixture
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def G():
    config = StyleGAN2Config(
        resolution=32, z_dim=16, w_dim=16, mapping_layers=2, channels=(16, 16, 16, 8)
    )
    return Generator(config).eval().requires_grad_(False)


@pytest.fixture
def E(G):
    config = EncoderConfig(
        num_ws=8,
        w_dim=16,
        input_size=32,
        widths=(8, 8, 16, 16, 16),
        units=(1, 1, 1, 1),
        reduction=4,
        head_width=16,
    )
    encoder = Encoder(config).eval().requires_grad_(False)
    encoder.generator_id = G.fingerprint
    encoder.w_avg += torch.randn(16)
    return encoder


SMILE = Factor("smile", -1, 1, 0, 0.8, "attribute", "mouth corners down to up")


@pytest.fixture
def perceptual():
    network = PortraitNet(PortraitNetConfig((SMILE,), widths=(8, 8), input_size=32))
    return Lpips(network, "test").eval().requires_grad_(False)


@pytest.fixture
def image(G):
    return generate(G, code_of(G, 1))


def code_of(G, count, seed=5):
    z = torch.randn(count, 16, generator=torch.Generator().manual_seed(seed))
    return Code(G.mapping(z), "W", G.fingerprint)


def state(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(before, module):
    return all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


class Interrupted(Exception):
    pass


def interrupt(step, total, preview):
    if step == 2:
        raise Interrupted


class Cramped:
    """A perceptual distance in a small memory: it has room for some pictures, or after a while."""

    def __init__(self, network, pictures, from_call=0):
        self.network, self.pictures, self.from_call, self.calls = network, pictures, from_call, 0

    def features(self, image):
        self.calls += 1
        if len(image) > self.pictures or self.calls <= self.from_call:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return self.network.features(image)

    def distance(self, a, b):
        return self.network.distance(a, b)
