"""What is fast gives what the plain way gives: benchmarks/plain.py, written from the formulas."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from cycle_core.checkpoints.registry import load_encoder, load_generator
from cycle_core.invert.encode import encode
from cycle_core.invert.sampling import sample
from cycle_core.invert.settings import TuneSettings
from cycle_core.invert.tune import tune
from cycle_core.measure.perceptual import load_perceptual
from cycle_core.models.encoder import Encoder, EncoderConfig
from cycle_core.models.layers import SpreadingConv, modulated_conv
from cycle_core.runtime.session import trainable_copy

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import plain


@pytest.fixture(scope="module")
def G():
    return load_generator("portraits")


@pytest.mark.parametrize(("stored", "noise"), [(True, "const"), (False, "none")])
@pytest.mark.parametrize("count", [1, 2])
def test_synthesis(G, count, stored, noise):
    w = sample(G, count, seed=1).w
    with torch.no_grad():
        assert (plain.synthesis(G, w, stored) - G.synthesis(w, noise)).abs().max() < 1e-5


@pytest.mark.parametrize("upsample", [False, True])
@pytest.mark.parametrize("side", [4, 48])  # the activations have fewer numbers, or the weight has
@pytest.mark.parametrize("learns", [True, False])  # the weight: in tuning, and in refinement
def test_modulation(side, upsample, learns):
    """Pictures and gradients of one layer, in channels-last as the networks call it."""
    torch.manual_seed(0)
    x, weight = torch.randn(1, 128, side, side), torch.randn(128, 128, 3, 3)
    x = x.contiguous(memory_format=torch.channels_last)
    styles, found = torch.randn(1, 128), []
    for way in (plain.modulated, modulated_conv):
        inputs = [t.clone().requires_grad_(learns or t is not weight) for t in (x, weight, styles)]
        y = way(inputs[0], inputs[1], inputs[2], upsample=upsample)
        (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
        found.append([y.detach(), *(t.grad for t in inputs if t.requires_grad)])
    for expected, given in zip(*found, strict=True):
        assert (given - expected).norm() < 1e-5 * expected.norm()


def test_the_spreading_convolution_has_exact_gradients_of_both_orders():
    """The second order is what the path lengths of a generator's training need."""
    torch.manual_seed(0)
    x, kernel = torch.randn(2, 3, 4, 5).double(), torch.randn(3, 2, 3, 3).double()
    inputs = x.requires_grad_(), kernel.requires_grad_()
    assert torch.equal(SpreadingConv.apply(*inputs), F.conv_transpose2d(*inputs, stride=2))
    assert torch.autograd.gradcheck(SpreadingConv.apply, inputs)
    assert torch.autograd.gradgradcheck(SpreadingConv.apply, inputs)


@pytest.fixture(scope="module", params=["embedded", "full width"])
def encoding(request, G):
    """(encoder, pictures, their codes in W+ as the plain way gives them)"""
    if request.param == "embedded":
        E = load_encoder("portraits")
        pictures = E.resize(G.synthesis(sample(G, 2, seed=1).w).detach())
    else:
        torch.manual_seed(0)
        E = Encoder(EncoderConfig(input_size=128)).eval()
        pictures = torch.rand(1, 3, 128, 128) * 2 - 1
    with torch.no_grad():
        return E, pictures, plain.encode(E, pictures)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(None, 1e-5), (torch.float16, 1e-2), (torch.bfloat16, 3e-2)]
)
def test_encoding(encoding, dtype, tolerance):
    """The distance of the codes, as a part of their distance from the mean code."""
    E, pictures, expected = encoding
    w = encode(E, pictures, "W+", dtype=dtype).w
    assert w.dtype == torch.float32
    distance = (w - expected).flatten(1).norm(dim=1)
    assert (distance < tolerance * (expected - E.w_avg).flatten(1).norm(dim=1)).all()


def test_drawing_in_bfloat16(G):
    """A hundredth of the range of the pictures, at most a grey level on average."""
    w = sample(G, 2, seed=1).w
    with torch.no_grad():
        difference = (plain.synthesis(G, w) - G.synthesis(w, dtype=torch.bfloat16)).abs()
    assert difference.mean() < 1 / 127.5


def test_tuning(G):
    code, perceptual = sample(G, 1, seed=1), load_perceptual("loss")
    picture = sample(G, 1, seed=2)
    with torch.no_grad():
        image = G.synthesis(picture.w).clamp(-1, 1)
    steps = 3
    expected = plain.tune(G, code.w, image, perceptual, steps)
    settings = TuneSettings(steps=steps, threshold=0.0)
    tuned = tune(G, code, image, settings, perceptual=perceptual)
    with torch.no_grad():
        before = G.synthesis(code.w)
        after = plain.synthesis(expected, code.w)
    # a step of Adam is the sign of a gradient where that is tiny: single weights may differ
    assert (tuned.image - after.clamp(-1, 1)).abs().mean() < 0.02 * (after - before).abs().mean()


@pytest.mark.parametrize("noise", ["const", "random"])
def test_what_is_computed_again_gives_the_same_gradients(G, noise):
    w = sample(G, 1, seed=1).w
    gradients = []
    for gradient_checkpointing in (False, True):
        network = trainable_copy(G).synthesis
        for strength in (p for name, p in network.named_parameters() if "noise_strength" in name):
            strength.data.fill_(0.1)
        network.gradient_checkpointing = gradient_checkpointing
        torch.manual_seed(0)
        network(w, noise).square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    assert torch.equal(*gradients)
