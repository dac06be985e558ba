"""Tiny networks in float64, and Adam as it is published, for the golden steps."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cycle_core.models.encoder import Encoder, EncoderConfig
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config

ENCODER = EncoderConfig(
    num_ws=6, w_dim=8, input_size=16, widths=(4, 4, 4, 4, 8), units=(1, 1, 1, 1), reduction=2,
    coarse=2, middle=4,
)  # fmt: skip


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def G(double) -> Generator:
    config = StyleGAN2Config(resolution=16, z_dim=8, w_dim=8, mapping_layers=2, channels=(6, 6, 6))
    generator = Generator(config).eval()
    with torch.no_grad():
        generator.w_avg.copy_(generator.mapping(torch.randn(1000, 8))[:, 0].mean(0) + 0.5)
        for name, parameter in generator.synthesis.named_parameters():
            if "noise_strength" in name:  # so that noise is seen
                parameter.fill_(0.3)
    return generator.requires_grad_(False)


@pytest.fixture
def E(G) -> Encoder:
    encoder = Encoder(ENCODER)
    with torch.no_grad():
        encoder.w_avg.copy_(G.w_avg.expand_as(encoder.w_avg))
        for _ in range(20):
            encoder(torch.randn(4, 3, 16, 16))  # statistics of batch norms
    encoder.generator_id = G.fingerprint
    return encoder.eval().requires_grad_(False)


class Features:
    """A network that compares pictures by linear features; stands for LPIPS, and for identity."""

    threshold: float  # where tuning stops, for who needs it

    def __init__(self, seed: int, cosine: bool):
        rng = torch.Generator().manual_seed(seed)
        self.weight = torch.randn(3 * 16 * 16, 5, generator=rng, dtype=torch.float64) / 16
        self.cosine = cosine

    def features(self, image: Tensor) -> Tensor:
        flat = image.flatten(1)  # of pictures of 16 pixels or smaller ones
        return flat @ self.weight[: flat.shape[1]]

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return 1 - F.cosine_similarity(a, b) if self.cosine else (a - b).square().mean(1)

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        return self.distance(self.features(a), self.features(b)).mean()


LPIPS, IDENTITY = Features(1, cosine=False), Features(2, cosine=True)


class Adam:
    """Kingma and Ba 2015, algorithm 1."""

    def __init__(self, parameters, lr: float, betas: tuple[float, float], eps: float):
        self.parameters, self.lr, self.betas, self.eps = list(parameters), lr, betas, eps
        self.m = [torch.zeros_like(p) for p in self.parameters]
        self.v = [torch.zeros_like(p) for p in self.parameters]
        self.t = 0

    @torch.no_grad()
    def step(self, gradients) -> None:
        self.t += 1
        (b1, b2), t = self.betas, self.t
        for p, g, m, v in zip(self.parameters, gradients, self.m, self.v, strict=True):
            if g is not None:
                m.copy_(b1 * m + (1 - b1) * g)
                v.copy_(b2 * v + (1 - b2) * g**2)
                p -= self.lr * m / (1 - b1**t) / ((v / (1 - b2**t)).sqrt() + self.eps)


def gradients(loss: Tensor, parameters) -> list[Tensor | None]:
    return list(torch.autograd.grad(loss, list(parameters), allow_unused=True))
