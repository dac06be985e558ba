"""project: inversion by optimisation alone, on networks of the real classes, small and random."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cycle_core.codes import Code
from cycle_core.errors import InputError, MismatchError
from cycle_core.invert.encode import generate
from cycle_core.invert.project import project
from cycle_core.invert.settings import ProjectSettings
from cycle_core.measure.metrics import mse
from cycle_core.measure.perceptual import Lpips, PortraitNet, PortraitNetConfig
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import GeneratorConfig

SETTINGS = ProjectSettings(steps=12, identity=0.0)


@pytest.fixture(scope="module")
def G():
    torch.manual_seed(0)
    config = GeneratorConfig(
        resolution=32, z_dim=16, w_dim=16, mapping_layers=2, channels=(16, 16, 16, 8)
    )
    return Generator(config).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def perceptual():
    torch.manual_seed(1)
    network = PortraitNet(PortraitNetConfig(names=("smile",), widths=(8, 8), input_size=32))
    return Lpips(network, "test").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def image(G):
    z = torch.randn(3, 16, generator=torch.Generator().manual_seed(5))
    return generate(G, Code(G.mapping(z), "W", G.fingerprint))


def test_a_picture_is_drawn_better_from_its_projection_than_from_the_mean(G, image, perceptual):
    mean = generate(G, Code(G.w_avg.expand(3, G.num_ws, -1).clone(), "W"))
    found = project(G, image, SETTINGS, perceptual=perceptual)
    assert (mse(found.image, image) < mse(mean, image)).all()
    torch.testing.assert_close(generate(G, found.code), found.image)


def test_in_w_all_styles_are_equal_and_in_w_plus_they_are_not(G, image, perceptual):
    for space in ("W", "W+"):
        found = project(G, image[:1], replace(SETTINGS, space=space), perceptual=perceptual)
        w = found.code.w
        assert found.code.space == space
        assert found.code.generator == G.base_fingerprint
        assert torch.equal(w, w[:, :1].expand_as(w)) == (space == "W")


def test_a_picture_is_projected_the_same_whatever_shares_its_batch(G, image, perceptual):
    gentle = replace(SETTINGS, steps=6, learning_rate=0.01)
    together = project(G, image, gentle, perceptual=perceptual)
    apart = project(G, image, replace(gentle, batch=2), perceptual=perceptual)
    # rounding differs with the batch, and Adam makes a step of any gradient, however small
    assert mse(apart.image, together.image).max() < 1e-3 * mse(apart.image, image).min()


def test_the_code_of_the_smallest_loss_is_given_even_if_the_last_is_worse(G, image, perceptual):
    wild = replace(SETTINGS, learning_rate=30.0, rise=0.0, fall=0.0)
    found = project(G, image, wild, perceptual=perceptual)
    for index, log in enumerate(found.history):
        losses = [entry["total"] for entry in log]
        assert len(losses) == wild.steps + 1
        assert min(losses) < losses[-1]
        best = min(log, key=lambda entry: entry["total"])
        error = mse(found.image[index : index + 1], image[index : index + 1])
        assert float(error) <= best["l2"] + 1e-5  # clamping a picture only brings it nearer


def test_it_begins_at_the_codes_that_are_given(G, image, perceptual):
    z = torch.randn(3, 16, generator=torch.Generator().manual_seed(5))
    right = Code(G.mapping(z), "W", G.fingerprint)
    target = G.synthesis(right.w, "const").detach()
    settings = replace(SETTINGS, wander=0.0)
    found = project(G, target, settings, start=right, perceptual=perceptual)
    assert max(log[0]["total"] for log in found.history) < 1e-6
    torch.testing.assert_close(found.code.w, right.w)


def test_the_seed_decides_where_it_wanders(G, image, perceptual):
    codes = [
        project(G, image[:1], SETTINGS, seed=seed, perceptual=perceptual).code.w
        for seed in (3, 3, 4)
    ]
    assert torch.equal(codes[0], codes[1])
    assert not torch.equal(codes[0], codes[2])


def test_it_works_under_inference_mode_and_leaves_the_generator_as_it_was(G, image, perceptual):
    before = {name: tensor.clone() for name, tensor in G.state_dict().items()}
    with torch.inference_mode():
        found = project(G, image[:1], SETTINGS, perceptual=perceptual)
    assert found.history[0][-1]["total"] < found.history[0][0]["total"]
    assert all(torch.equal(before[name], tensor) for name, tensor in G.state_dict().items())


def test_every_step_is_told_and_can_end_it(G, image, perceptual):
    told = []

    def look(step, total, preview):
        told.append((step, total, tuple(preview.shape)))
        if step == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        project(G, image, replace(SETTINGS, batch=2), callback=look, perceptual=perceptual)
    assert told[0] == (1, 24, (2, 3, 32, 32))
    assert told[-1] == (15, 24, (1, 3, 32, 32))


def test_what_cannot_be_projected_is_refused(G, image, perceptual):
    with pytest.raises(InputError, match="one of W"):
        ProjectSettings(space="Z")
    with pytest.raises(InputError, match=r"learning_rate .* 0 was given"):
        ProjectSettings(learning_rate=0)
    two = Code(G.w_avg.expand(2, G.num_ws, -1).clone(), "W")
    with pytest.raises(InputError, match="3 pictures and 2 codes"):
        project(G, image, SETTINGS, start=two, perceptual=perceptual)
    other = Code(G.w_avg.expand(1, G.num_ws, -1).clone(), "W", "0123456789abcdef")
    with pytest.raises(MismatchError):
        project(G, image, SETTINGS, start=other, perceptual=perceptual)
