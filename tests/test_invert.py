"""encode, generate and refine on networks of the real classes, small and random."""

from __future__ import annotations

from dataclasses import replace

import pytest
import small_networks
import torch
from small_networks import Cramped, Interrupted, code_of, interrupt, same, state

from cycle_core.errors import InputError, MismatchError
from cycle_core.images.io import save_image
from cycle_core.invert.encode import encode
from cycle_core.invert.generate import generate
from cycle_core.invert.refine import refine
from cycle_core.invert.settings import RefineSettings

E, G, seeded = small_networks.E, small_networks.G, small_networks.seeded
image, perceptual = small_networks.image, small_networks.perceptual
pytestmark = pytest.mark.usefixtures("seeded")
REFINE = RefineSettings(steps=3, learning_rate=1e-3, identity=0.0, images=2, reg=1.0)


# ------------------------------------------------------------------ encode
def test_the_code_is_the_encoders_output_around_the_mean(E, image):
    assert torch.equal(encode(E, image).w, E.w_avg + E(image))


def test_the_default_space_is_that_of_the_stage_trained_last(E, image):
    E.stage = 0
    assert (encode(E, image).space, encode(E, image).stage) == ("W", 0)
    E.stage = 3
    code = encode(E, image)
    assert (code.space, code.stage) == ("W+", 3)
    assert torch.equal(code.w[:, 4], code.w[:, 0])
    assert not torch.equal(code.w[:, 3], code.w[:, 0])


def test_in_w_all_styles_are_the_first_of_w_plus(E, image):
    w, plus = encode(E, image, "W").w, encode(E, image, "W+").w
    assert torch.equal(w, plus[:, :1].expand(-1, 8, -1))


def test_w_plus_of_an_encoder_that_ended_in_w_uses_every_head(E, image):
    E.stage = 0
    assert encode(E, image, "W+").stage == 7


def test_pictures_of_any_size_and_a_long_batch_are_encoded(E):
    pictures = torch.rand(9, 3, 50, 40) * 2 - 1
    codes = encode(E, pictures)
    assert codes.w.shape == (9, 8, 16)
    assert torch.allclose(codes.w[8:], encode(E, pictures[8:]).w, atol=1e-5)


def test_encoding_leaves_a_training_encoder_in_training(E, image):
    E.train()
    before = state(E)
    encode(E, image)
    assert E.training
    assert same(before, E)


@pytest.mark.parametrize("bad", [torch.zeros(3, 32, 32), torch.full((1, 3, 32, 32), torch.nan)])
def test_what_is_no_picture_is_refused(E, bad):
    with pytest.raises(InputError):
        encode(E, bad)


def test_an_unknown_space_is_refused(E, image):
    with pytest.raises(InputError, match="'Z'"):
        encode(E, image, "Z")


# ------------------------------------------------------------------ generate
def test_a_generated_picture_is_clamped_and_without_truncation_the_codes_own(G):
    code = code_of(G, 9)
    assert torch.allclose(generate(G, code), G.synthesis(code.w).clamp(-1, 1), atol=1e-5)


def test_truncation_zero_draws_the_mean(G):
    mean = G.synthesis(G.w_avg.expand(1, 8, -1)).clamp(-1, 1)
    assert torch.allclose(generate(G, code_of(G, 2), truncation=0.0)[1:], mean, atol=1e-5)


def test_random_noise_is_repeated_by_its_seed_and_leaves_torchs_own_as_it_was(G):
    for block in G.synthesis.blocks:
        block.conv1.noise_strength += 0.5
    before = torch.random.get_rng_state()
    first, second, third = (generate(G, code_of(G, 2), "random", seed=s) for s in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_long_batches_tell_how_far_they_are_and_can_be_ended(E, G, image):
    calls = []
    pictures = torch.cat([image] * 5)
    code = encode(E, pictures, batch=2, callback=lambda *call: calls.append(call))
    generate(G, code, batch=2, callback=lambda *call: calls.append(call))
    assert [call[:2] for call in calls] == [(2, 5), (4, 5), (5, 5)] * 2
    with pytest.raises(Interrupted):
        generate(G, code, batch=1, callback=interrupt)


def test_convolutions_in_bfloat16_draw_nearly_the_same(G):
    drawn = generate(G, code_of(G, 2), dtype=torch.bfloat16)
    assert drawn.dtype == torch.float32
    assert float((drawn - generate(G, code_of(G, 2))).abs().mean()) < 0.05


def test_a_code_of_another_generator_is_not_drawn(G):
    with pytest.raises(MismatchError, match="made for"):
        generate(G, replace(code_of(G, 1), generator_id="f" * 16))


# ------------------------------------------------------------------ refine
def test_refining_brings_the_picture_nearer(E, G, image, perceptual):
    refined = refine(E, G, image, REFINE, perceptual=perceptual)
    losses = [entry["total"] for entry in refined.history[0]]
    assert len(losses) == REFINE.steps + 1
    assert min(losses) < losses[0]
    drawn = G.synthesis(refined.code.w)
    assert torch.allclose(drawn.clamp(-1, 1), refined.image, atol=1e-5)
    l2 = (drawn - image).square().mean()
    best = min(refined.history[0], key=lambda entry: entry["total"])
    assert float(l2) == pytest.approx(best["l2"], rel=1e-4)


def test_refining_changes_neither_encoder_nor_generator(E, G, image, perceptual):
    E.train()
    before = state(E), state(G)
    refine(E, G, image, REFINE, perceptual=perceptual)
    assert same(before[0], E)
    assert same(before[1], G)
    assert E.training
    assert not any(p.requires_grad for p in [*E.parameters(), *G.parameters()])


def test_no_steps_give_the_encoders_own_code(E, G, image, perceptual):
    refined = refine(E, G, image, replace(REFINE, steps=0), perceptual=perceptual)
    assert torch.allclose(refined.code.w, encode(E, image).w, atol=1e-6)


def test_the_pivot_of_a_picture_does_not_depend_on_the_others_in_the_batch(E, G, image, perceptual):
    other = torch.rand(1, 3, 32, 32) * 2 - 1
    settings = replace(REFINE, images=0)
    both = refine(E, G, torch.cat([image, other]), settings, perceptual=perceptual)
    alone = refine(E, G, other, settings, perceptual=perceptual)
    assert torch.allclose(both.code.w[1:], alone.code.w, atol=1e-5)


def test_the_batch_size_changes_memory_and_not_the_result(E, G, image, perceptual):
    whole = refine(E, G, image, REFINE, perceptual=perceptual)
    parts = refine(E, G, image, replace(REFINE, batch=1), perceptual=perceptual)
    assert torch.allclose(whole.code.w, parts.code.w, atol=1e-4)


def test_where_memory_ends_refinement_begins_again_with_less_and_the_same_result(
    E, G, image, perceptual
):
    expected = refine(E, G, image, replace(REFINE, batch=1), perceptual=perceptual)
    refined = refine(E, G, image, REFINE, perceptual=Cramped(perceptual, pictures=1))
    assert torch.equal(refined.code.w, expected.code.w)
    with pytest.raises(InputError, match="not enough to refine"):
        refine(E, G, image, REFINE, perceptual=Cramped(perceptual, pictures=0))


def test_a_heavy_domain_holds_the_encoder_back_from_the_picture(E, G, image, perceptual):
    domain = torch.rand(2, 3, 32, 32) * 2 - 1

    def loss(reg):
        settings = replace(REFINE, reg=reg, steps=8)
        refined = refine(E, G, image, settings, domain=domain, perceptual=perceptual)
        return min(entry["total"] for entry in refined.history[0])

    assert loss(0.0) < loss(100.0)


def test_the_domain_may_be_a_folder_with_fewer_pictures_than_are_drawn(
    E, G, image, perceptual, tmp_path
):
    save_image(image, tmp_path / "only.png")
    settings = replace(REFINE, images=7)
    refined = refine(E, G, image, settings, domain=tmp_path, perceptual=perceptual)
    assert torch.isfinite(refined.code.w).all()


def test_an_empty_domain_folder_is_refused(E, G, image, perceptual, tmp_path):
    with pytest.raises(InputError, match="no pictures"):
        refine(E, G, image, REFINE, domain=tmp_path, perceptual=perceptual)


def test_the_same_seed_gives_the_same_pivot_and_another_seed_another(E, G, image, perceptual):
    first, second, third = (
        refine(E, G, image, REFINE, seed=seed, perceptual=perceptual).code.w for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_an_interrupted_refinement_leaves_everything_as_it_was(E, G, image, perceptual):
    before = state(E), state(G)
    with pytest.raises(Interrupted):
        refine(E, G, image, REFINE, callback=interrupt, perceptual=perceptual)
    assert same(before[0], E)
    assert same(before[1], G)


def test_an_encoder_of_another_generator_is_refused(E, G, image, perceptual):
    E.generator_id = "f" * 16
    with pytest.raises(MismatchError, match="trained for"):
        refine(E, G, image, REFINE, perceptual=perceptual)
