"""A small latent space in which the attributes are known linear forms of w, as fixtures."""

from __future__ import annotations

import pytest
import torch

from cycle_core.codes import Code
from cycle_core.directions.discovery import fit_directions
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config

N, DIM, SAMPLES = 6, 12, 3000


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def world():
    """Correlated codes [K, DIM] around a mean, and three attributes of them: age and glasses go
    together in w, smile stands alone."""
    base = torch.randn(SAMPLES, DIM) @ (torch.randn(DIM, DIM) * 0.5) + torch.randn(DIM)
    forms = torch.randn(DIM, 3)
    forms[:, 1] = forms[:, 0] + 0.5 * forms[:, 1]
    values = base @ forms
    return base, {name: values[:, i] for i, name in enumerate(("age", "glasses", "smile"))}


@pytest.fixture
def fitted(world):
    return {d.name: d for d in fit_directions(*world, ridge=1e-8)}


@pytest.fixture
def code(world):
    return Code(world[0][:4, None].repeat(1, N, 1), "W")


@pytest.fixture
def G():
    config = StyleGAN2Config(resolution=16, z_dim=8, w_dim=8, mapping_layers=2, channels=(8, 8, 8))
    return Generator(config).eval().requires_grad_(False)


def read(world, code):
    """The true attributes of a code in standard deviations over the domain: name -> [B]."""
    base, labels = world
    forms = torch.linalg.lstsq(base - base.mean(0), torch.stack(list(labels.values()), 1)).solution
    values = (code.w.mean(1) - base.mean(0)) @ forms
    return {
        name: values[:, i] / label.std(correction=0)
        for i, (name, label) in enumerate(labels.items())
    }


def unit(*entries):
    vector = torch.zeros(DIM)
    for i, value in entries:
        vector[i] = value
    return vector


def close(a, b, within=2e-3):
    return torch.allclose(a, torch.as_tensor(b, dtype=a.dtype).expand_as(a), atol=within)
