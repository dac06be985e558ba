"""The detail of a tuned generator goes where an edit moves what it belongs to."""

from __future__ import annotations

from dataclasses import replace

import pytest
import small_networks
import torch
import torch.nn.functional as F
from small_networks import code_of

from cycle_core.checkpoints.native import read_model, save_model
from cycle_core.checkpoints.registry import load_generator
from cycle_core.errors import CheckpointError
from cycle_core.invert.generate import generate
from cycle_core.invert.settings import TuneSettings
from cycle_core.invert.tune import tune
from cycle_core.invert.tuned_files import load_tuned, save_tuned
from cycle_core.models.flow import flow, moved
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan3 import StyleGAN3Config

G, perceptual, seeded = small_networks.G, small_networks.perceptual, small_networks.seeded
pytestmark = pytest.mark.usefixtures("seeded")
TUNE = TuneSettings(
    steps=3, learning_rate=1e-2, threshold=0.0, detail_steps=10, detail_rate=0.05, detail_size=16
)


@pytest.fixture
def G3():
    config = StyleGAN3Config(
        resolution=32, z_dim=16, w_dim=16, num_layers=6, channel_base=256, channel_max=8
    )
    return Generator(config).eval().requires_grad_(False)


def other(G):
    """A code that is not the first one."""
    return code_of(G, 2).one(1)


def belongs(G, code):
    """Whether the detail of a generator is that of a code."""
    kept = G.synthesis.detail_code
    return kept is not None and torch.equal(kept, code.w)


def soft(*shape):
    """Features without edges, of which a part can be taken at any place."""
    return F.interpolate(torch.randn(1, 6, *(n // 8 for n in shape)), size=shape, mode="bicubic")


# ------------------------------------------------------------------ the flow
@pytest.mark.parametrize("move", [(3, 0), (-2, 5), (7, -6)])
def test_the_flow_finds_a_move(move):
    right, down = move
    large = soft(80, 96)
    before = large[:, :, 8:72, 8:88]
    after = large[:, :, 8 + down : 72 + down, 8 + right : 88 + right]
    found, likeness = flow(before, after)
    middle = found[0, :, 12:-12, 12:-12]
    assert float((middle.mean((1, 2)) - torch.tensor(move)).abs().max()) < 0.3
    assert float((moved(before, found) - after)[..., 12:-12, 12:-12].abs().mean()) < 0.1
    assert float(likeness[..., 12:-12, 12:-12].mean()) > 0.9


def test_nothing_flows_between_the_same_features():
    before = soft(32, 32)
    found, likeness = flow(before, before.repeat(2, 1, 1, 1))
    assert float(found.abs().max()) < 1e-5
    assert float(likeness.min()) > 0.999


def test_what_has_no_place_in_the_other_picture_is_unlike():
    before = soft(64, 64)
    after = before.clone()
    after[..., 24:40, 24:40] = 4 * torch.randn(1, 6, 16, 16)
    _, likeness = flow(before, after)
    assert float(likeness[..., 28:36, 28:36].max()) < 0.3
    assert float(likeness[..., :12, :].min()) > 0.6


def test_a_flow_of_whole_pixels_moves_what_it_is_given_by_them():
    x = torch.randn(1, 2, 8, 8)
    right = torch.zeros(2, 2, 8, 8)
    right[1, 0] = 1  # each place shows what lay one to the right
    assert torch.allclose(moved(x, right)[0], x[0], atol=1e-5)
    assert torch.allclose(moved(x, right)[1, :, :, :-1], x[0, :, :, 1:], atol=1e-5)


# ------------------------------------------------------------------ in generators
@pytest.mark.parametrize("kind", ["G", "G3"])
def test_the_map_stays_at_its_code_and_moves_at_others(kind, request, perceptual):
    G = request.getfixturevalue(kind)
    image, pivot = torch.rand(1, 3, 32, 32) * 2 - 1, code_of(G, 1)
    tuned = tune(G, pivot, image, TUNE, perceptual=perceptual).generator
    synthesis = tuned.synthesis
    assert belongs(tuned, pivot)
    codes = torch.cat([pivot.w, code_of(G, 3).w[1:]])
    together = synthesis(codes)
    code, synthesis.detail_code = synthesis.detail_code, None
    still = synthesis(codes)
    alone = synthesis(pivot.w)
    synthesis.detail_code = code
    assert torch.equal(synthesis(pivot.w), alone)  # to the bit
    assert torch.allclose(together[:1], still[:1], atol=1e-3)
    assert float((together[1:] - still[1:]).abs().amax((1, 2, 3)).min()) > 1e-2
    for i in (1, 2):
        assert torch.allclose(synthesis(codes[i : i + 1]), together[i : i + 1], atol=1e-4)


def test_settings_can_leave_the_map_in_its_place(G, perceptual):
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    settings = replace(TUNE, detail_moves=False)
    tuned = tune(G, code_of(G, 1), image, settings, perceptual=perceptual)
    assert tuned.generator.synthesis.detail is not None
    assert tuned.generator.synthesis.detail_code is None


def test_gradients_reach_a_map_that_moves(G):
    detail = G.synthesis.add_detail(16)
    G.synthesis.detail_code = code_of(G, 1).w
    (gradient,) = torch.autograd.grad(G.synthesis(other(G).w).square().sum(), detail)
    assert gradient.any()


def test_an_edit_in_stylespace_moves_it_too(G):
    synthesis, pivot = G.synthesis, code_of(G, 1)
    synthesis.add_detail(16).data.normal_()
    offsets = torch.randn(1, sum(synthesis.style_channels))
    still = synthesis(pivot.w, offsets=offsets)
    synthesis.detail_code = pivot.w
    assert not torch.allclose(synthesis(pivot.w, offsets=offsets), still, atol=1e-2)


def test_a_smaller_picture_needs_no_detail_above_it(G):
    synthesis, w = G.synthesis, other(G).w
    small = synthesis(w, size=8)
    synthesis.add_detail(16).data.normal_()
    synthesis.detail_code = code_of(G, 1).w
    assert torch.equal(synthesis(w, size=8), small)


@pytest.mark.parametrize("kind", ["G", "G3"])
def test_tuning_again_at_another_code_begins_with_the_map_where_it_moved(kind, request, perceptual):
    G = request.getfixturevalue(kind)
    image, there = torch.rand(1, 3, 32, 32) * 2 - 1, other(G)
    first = tune(G, code_of(G, 1), image, TUNE, perceptual=perceptual)
    wanted = first.generator.synthesis(there.w)
    again = tune(first.generator, there, image, replace(TUNE, steps=0), perceptual=perceptual)
    assert belongs(again.generator, there)
    start = float((image - wanted).square().mean())
    assert abs(again.history[0]["l2"] - start) < 1e-3 * start
    assert belongs(first.generator, first.pivot)


# ------------------------------------------------------------------ files
@pytest.mark.parametrize("original", [True, False])
def test_a_file_knows_where_its_map_belongs(G, perceptual, tmp_path, original):
    image, path = torch.rand(1, 3, 32, 32) * 2 - 1, tmp_path / "tuned.safetensors"
    tuned = tune(G, code_of(G, 1), image, TUNE, perceptual=perceptual)
    save_tuned(tuned, path, original=G if original else None)
    back = load_tuned(path, G)
    code = other(G)
    difference = generate(back.generator, code) - generate(tuned.generator, code)
    assert float(difference.abs().max()) < 2e-3
    assert belongs(back.generator, tuned.pivot)


def test_files_of_before_keep_their_map_in_its_place(G, perceptual, tmp_path):
    path = tmp_path / "tuned.safetensors"
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    save_tuned(tune(G, code_of(G, 1), image, TUNE, perceptual=perceptual), path)
    config, tensors, rest = read_model(path, "delta")
    del tensors["detail.code"]
    save_model(path, "delta", config, tensors, rest)
    assert load_tuned(path, G).generator.synthesis.detail_code is None
    tensors["detail.code"] = torch.zeros(1, 2, 3)
    save_model(path, "delta", config, tensors, rest)
    with pytest.raises(CheckpointError, match="tune again"):
        load_tuned(path, G)


# ------------------------------------------------------------------ people
@torch.no_grad()
def test_what_is_drawn_on_the_hair_turns_with_the_head():
    """A spot beside the temple of a person, who turns: it is drawn where the hair went."""
    from cycle_core.codes import Code
    from cycle_core.directions.editing import edit
    from cycle_core.directions.files import load_direction

    G = load_generator("portraits")
    front = Code(G.w_avg.expand(1, G.num_ws, -1).clone(), "W", G.base_fingerprint)
    turned = edit(front, load_direction("yaw"), 1.0)
    synthesis = G.synthesis
    plain = torch.cat([synthesis(front.w), synthesis(turned.w)])
    detail = synthesis.add_detail(64)
    detail.data[..., 22:26, 16:20] = 4 * torch.randn(detail.shape[1])[:, None, None]
    spots = []
    for code in (None, front.w):
        synthesis.detail_code = code
        both = torch.cat([synthesis(front.w), synthesis(turned.w)])
        shown = (both - plain).square().sum(1)
        across = torch.arange(shown.shape[-1])
        spots.append((shown.sum(1) @ across.float()) / shown.sum((1, 2)))
    still, moving = spots
    assert abs(float(still[1] - still[0])) < 2  # pixels
    assert abs(float(moving[1] - moving[0])) > 5
