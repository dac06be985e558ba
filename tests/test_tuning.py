"""tune, on networks of the real classes, small and random."""

from __future__ import annotations

from dataclasses import replace

import pytest
import small_networks
import torch
from small_networks import Cramped, Interrupted, code_of, interrupt, same, state

from cycle_core.errors import InputError, MismatchError
from cycle_core.invert.generate import generate
from cycle_core.invert.locality import Locality
from cycle_core.invert.refine import refine
from cycle_core.invert.settings import RefineSettings, TuneSettings
from cycle_core.invert.tune import tune
from cycle_core.measure.selection import Networks
from cycle_core.models import layers
from cycle_core.models.encoder import Encoder, EncoderConfig
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config
from cycle_core.models.stylegan3 import StyleGAN3Config
from cycle_core.runtime.session import trainable_copy

E, G, seeded = small_networks.E, small_networks.G, small_networks.seeded
image, perceptual = small_networks.image, small_networks.perceptual
pytestmark = pytest.mark.usefixtures("seeded")
REFINE = RefineSettings(steps=2, learning_rate=1e-3, identity=0.0, images=2, reg=1.0)
TUNE = TuneSettings(steps=12, learning_rate=1e-2, threshold=0.0)


# ------------------------------------------------------------------ tune
def test_tuning_draws_the_picture_better_and_leaves_the_original_as_it_was(G, perceptual):
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    pivot, before = code_of(G, 1), state(G)
    tuned = tune(G, pivot, image, TUNE, perceptual=perceptual)
    assert tuned.history[tuned.best]["total"] < 0.9 * tuned.history[0]["total"]
    assert torch.allclose(generate(tuned.generator, pivot), tuned.image, atol=1e-5)
    assert same(before, G)
    assert tuned.generator.base_fingerprint == G.fingerprint
    assert tuned.generator.fingerprint != G.fingerprint
    assert all(weight.grad is None for weight in tuned.generator.parameters())


def test_the_mapping_network_and_the_noise_stay(G, perceptual):
    tuned = tune(G, code_of(G, 1), torch.zeros(1, 3, 32, 32), TUNE, perceptual=perceptual)
    assert same(state(G.mapping), tuned.generator.mapping)
    for before, after in zip(
        G.synthesis.buffers(), tuned.generator.synthesis.buffers(), strict=True
    ):
        assert torch.equal(before, after)


def test_the_best_state_is_kept_even_if_tuning_runs_away(G, perceptual):
    wild = replace(TUNE, learning_rate=3.0, steps=6)
    pivot = code_of(G, 1)
    tuned = tune(G, pivot, torch.zeros(1, 3, 32, 32), wild, perceptual=perceptual)
    totals = [entry["total"] for entry in tuned.history]
    assert totals[-1] > totals[tuned.best] == min(totals)
    l2 = float(tuned.generator.synthesis(pivot.w).square().mean())
    assert l2 == pytest.approx(tuned.history[tuned.best]["l2"], rel=1e-4)


def test_tuning_stops_when_lpips_is_small_enough_and_says_so(G, perceptual, caplog):
    pivot = code_of(G, 1)
    steps = []
    settings = replace(TUNE, threshold=0.07)
    tuned = tune(
        G,
        pivot,
        G.synthesis(pivot.w),
        settings,
        callback=lambda step, total, preview: steps.append(step),
        perceptual=perceptual,
    )
    assert steps == []
    assert len(tuned.history) == 1
    assert tuned.summary().startswith("0 steps")
    assert tuned.note in caplog.text
    assert tuned.note.startswith("Tuning took 0 steps")
    assert "threshold of 0.07" in tuned.note
    assert tune(G, pivot, G.synthesis(pivot.w), replace(settings, steps=0)).note == ""


def test_the_threshold_is_that_of_the_network_unless_one_is_given(G, perceptual):
    image, pivot = torch.rand(1, 3, 32, 32) * 2 - 1, code_of(G, 1)
    whole = tune(G, pivot, image, TUNE, perceptual=perceptual).history
    perceptual.threshold = whole[4]["lpips"]
    settings = replace(TUNE, threshold=None)
    stopped = list(tune(G, pivot, image, settings, perceptual=perceptual).history)
    last = len(stopped) - 1  # of which no step follows, and so no locality
    assert stopped[:last] == list(whole)[:last]
    assert stopped[last]["total"] == whole[last]["total"]
    assert last <= 4
    assert stopped[-1]["lpips"] <= perceptual.threshold


class Squares:
    """A distance of the caller's own, which says nothing of thresholds."""

    def features(self, image):
        return image

    def distance(self, a, b):
        return (a - b).square().mean((1, 2, 3))


def test_a_network_without_a_threshold_asks_for_one(G):
    image, pivot = torch.rand(1, 3, 32, 32) * 2 - 1, code_of(G, 1)
    with pytest.raises(InputError, match=r"TuneSettings\.threshold"):
        tune(G, pivot, image, replace(TUNE, threshold=None), perceptual=Squares())
    assert len(tune(G, pivot, image, TUNE, perceptual=Squares()).history) == 13


def test_the_callback_gets_every_step_the_total_and_a_preview(G, perceptual):
    calls = []
    tune(
        G,
        code_of(G, 2),
        torch.zeros(2, 3, 32, 32),
        replace(TUNE, steps=3),
        callback=lambda *call: calls.append(call),
        perceptual=perceptual,
    )
    assert [call[:2] for call in calls] == [(1, 3), (2, 3), (3, 3)]
    assert calls[0][2].shape == (2, 3, 32, 32)


def test_an_interruption_leaves_the_original_as_it_was(G, perceptual):
    before = state(G)
    with pytest.raises(Interrupted):
        tune(G, code_of(G, 1), torch.zeros(1, 3, 32, 32), TUNE, interrupt, perceptual=perceptual)
    assert same(before, G)


def test_locality_keeps_pictures_near_the_pivot_as_they_were(G, perceptual):
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    pivot = code_of(G, 1)
    others = code_of(G, 4, seed=9)
    near = others.with_w(torch.lerp(G.w_avg, others.w, 0.5))

    def drift(weight, every=1):
        settings = replace(TUNE, steps=20, locality_l2=weight, locality_lpips=0.0)
        settings = replace(settings, locality_every=every)
        tuned = tune(G, pivot, image, settings, perceptual=perceptual)
        a, b = (g.synthesis(near.w, "none") for g in (tuned.generator, G))
        assert sum("locality" in entry for entry in tuned.history) == 20 // every
        return float((a - b).square().mean())

    free = drift(0.0)
    assert drift(5.0) < 0.8 * free
    assert drift(5.0, every=4) < 0.8 * free


def test_several_pictures_of_one_person_share_one_tuned_generator(G, perceptual):
    pictures = torch.rand(2, 3, 32, 32) * 2 - 1
    pivots = code_of(G, 2)
    tuned = tune(G, pivots, pictures, replace(TUNE, steps=20), perceptual=perceptual)
    before = (generate(G, pivots) - pictures).square().mean((1, 2, 3))
    after = (generate(tuned.generator, pivots) - pictures).square().mean((1, 2, 3))
    assert bool((after < before).all())


def test_pictures_are_tuned_in_parts_where_memory_is_short_with_the_same_result(G, perceptual):
    pictures = torch.rand(3, 3, 32, 32) * 2 - 1
    settings = replace(TUNE, steps=3, learning_rate=1e-3)
    whole, parts = (
        tune(G, code_of(G, 3), pictures, replace(settings, batch=size), perceptual=perceptual)
        for size in (4, 2)
    )
    assert torch.allclose(whole.image, parts.image, atol=1e-4)
    assert whole.history[-1]["total"] == pytest.approx(parts.history[-1]["total"], rel=1e-3)


def test_convolutions_in_bfloat16_tune_nearly_as_well(G, perceptual):
    image, pivot = torch.rand(1, 3, 32, 32) * 2 - 1, code_of(G, 1)
    whole, half = (
        tune(G, pivot, image, replace(TUNE, dtype=dtype), perceptual=perceptual)
        for dtype in (None, torch.bfloat16)
    )
    before, reached = whole.history[0]["total"], whole.history[whole.best]["total"]
    assert half.history[half.best]["total"] < reached + 0.1 * (before - reached)
    assert half.history[0] != whole.history[0]
    assert {p.dtype for p in half.generator.parameters()} == {torch.float32}
    assert torch.equal(half.image, generate(half.generator, pivot))


def test_less_memory_gives_the_same_generator(G, perceptual):
    image, pivot = torch.rand(1, 3, 32, 32) * 2 - 1, code_of(G, 1)
    whole, saving = (
        tune(G, pivot, image, replace(TUNE, low_memory=low), perceptual=perceptual)
        for low in (False, True)
    )
    assert same(whole.generator.state_dict(), saving.generator)
    assert not saving.generator.synthesis.gradient_checkpointing


@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_less_memory_is_had_by_computing_blocks_again(G, gradient_checkpointing):
    synthesis, calls = trainable_copy(G).synthesis, []
    synthesis.get_submodule("blocks.1").register_forward_pre_hook(lambda *_: calls.append(1))
    synthesis.gradient_checkpointing = gradient_checkpointing
    synthesis(code_of(G, 1).w).sum().backward()
    assert len(calls) == 1 + gradient_checkpointing


def test_where_memory_ends_tuning_begins_again_with_less_and_the_same_result(G, perceptual):
    pictures, pivots = torch.rand(3, 3, 32, 32) * 2 - 1, code_of(G, 3)
    expected = tune(G, pivots, pictures, replace(TUNE, batch=1), perceptual=perceptual)
    tuned = tune(G, pivots, pictures, TUNE, perceptual=Cramped(perceptual, pictures=1))
    assert tuned.history == expected.history
    image, pivot = pictures[:1], pivots.one(0)
    expected = tune(G, pivot, image, TUNE, perceptual=perceptual)
    tuned = tune(G, pivot, image, TUNE, perceptual=Cramped(perceptual, 1, from_call=1))
    assert tuned.history == expected.history
    with pytest.raises(InputError, match="not enough to tune"):
        tune(G, pivot, image, TUNE, perceptual=Cramped(perceptual, 0))


DETAIL = replace(TUNE, steps=3, detail_steps=10, detail_rate=0.05, detail_size=16)


def test_a_map_of_features_takes_what_the_weights_have_not_learnt(G, perceptual):
    image, pivot, before = torch.rand(1, 3, 32, 32) * 2 - 1, code_of(G, 1), state(G)
    tuned = tune(G, pivot, image, DETAIL, perceptual=perceptual)
    detail = tuned.generator.synthesis.detail
    assert detail is not None
    assert detail.shape == (1, 16, 16, 16)
    assert len(tuned.history) == 3 + 1 + 10
    assert tuned.best > 3
    weights_alone = min(entry["total"] for entry in tuned.history[:4])
    assert tuned.history[tuned.best]["total"] < 0.95 * weights_alone
    assert torch.equal(generate(tuned.generator, pivot), tuned.image)
    assert G.synthesis.detail is None
    assert same(before, G)


def test_several_pictures_get_steps_of_the_weights_instead_of_a_map(G, perceptual):
    for count in (1, 2):
        seen = []
        images = torch.rand(count, 3, 32, 32) * 2 - 1
        tuned = tune(
            G, code_of(G, count), images, DETAIL,
            lambda step, total, _, seen=seen: seen.append((step, total)), perceptual=perceptual,
        )  # fmt: skip
        assert (tuned.generator.synthesis.detail is None) == (count == 2)
        assert [step for step, _ in seen] == list(range(1, len(seen) + 1))
        assert {total for _, total in seen} == {len(seen)}


@pytest.fixture
def G3():
    config = StyleGAN3Config(
        resolution=32, z_dim=16, w_dim=16, num_layers=6, channel_base=256, channel_max=8
    )
    return Generator(config).eval().requires_grad_(False)


def test_stylegan3_has_maps_too(G3, perceptual):
    tuned = tune(G3, code_of(G3, 1), torch.rand(1, 3, 32, 32), DETAIL, perceptual=perceptual)
    synthesis = tuned.generator.synthesis
    assert synthesis.detail is not None
    assert synthesis.detail_at < G3.config.num_layers  # what that adds is the RGB
    channels, size, _ = synthesis.feature_shapes[synthesis.detail_at]
    assert synthesis.detail.shape == (1, channels, size, size)


@pytest.mark.parametrize("kind", ["G", "G3"])
@pytest.mark.parametrize("size", [1, 8, 64])  # after the first block, one between, the last
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_what_lies_above_the_map_is_drawn_as_the_whole_is(kind, size, dtype, request):
    synthesis = request.getfixturevalue(kind).synthesis
    w = torch.randn(1, synthesis.num_ws, synthesis.w_dim)
    detail = synthesis.add_detail(size)
    below = synthesis.below_detail(w, dtype)
    for _ in range(2):  # as the map then is
        with torch.no_grad():
            detail.normal_()
        gradients = []
        pictures = synthesis(w, "const", dtype), synthesis.above_detail(below, detail)
        for picture in pictures:
            (gradient,) = torch.autograd.grad(picture.square().sum(), detail)
            gradients.append(gradient)
        assert torch.equal(*pictures)
        assert torch.equal(*gradients)
        assert gradients[0].any()


def test_the_result_of_refining_is_a_pivot(E, G, image, perceptual):
    refined = refine(E, G, image, replace(REFINE, steps=1), perceptual=perceptual)
    tuned = tune(G, refined, image, replace(TUNE, steps=1), perceptual=perceptual)
    assert tuned.pivot is refined.code


def test_it_works_where_everything_was_made_in_inference_mode(perceptual):
    layers._kept_binomial.cache_clear()
    with torch.inference_mode():
        config = StyleGAN2Config(resolution=8, z_dim=8, w_dim=8, mapping_layers=1, channels=(8, 8))
        G = Generator(config).eval()
        E = Encoder(
            EncoderConfig(
                num_ws=4,
                w_dim=8,
                input_size=32,
                widths=(8, 8, 8, 8, 8),
                units=(1, 1, 1, 1),
                reduction=4,
                head_width=8,
            )
        ).eval()
        image = G(torch.randn(1, 8)).clamp(-1, 1)
        refined = refine(E, G, image, REFINE, perceptual=perceptual)
        target = torch.zeros(1, 3, 8, 8)
        tuned = tune(G, refined, target, replace(TUNE, steps=5), perceptual=perceptual)
        assert tuned.history[tuned.best]["total"] < tuned.history[0]["total"]


def test_pictures_and_pivots_must_be_as_many(G, perceptual):
    with pytest.raises(InputError, match="2 pictures and 1 pivots"):
        tune(G, code_of(G, 1), torch.zeros(2, 3, 32, 32), TUNE, perceptual=perceptual)


def test_a_pivot_of_another_generator_is_refused(G, perceptual):
    pivot = replace(code_of(G, 1), generator_id="f" * 16)
    with pytest.raises(MismatchError):
        tune(G, pivot, torch.zeros(1, 3, 32, 32), TUNE, perceptual=perceptual)


def test_a_number_of_steps_below_zero_is_refused():
    with pytest.raises(InputError, match=r"steps .* -1 was given"):
        TuneSettings(steps=-1)


def test_another_number_of_steps_is_shared_by_weights_and_detail():
    settings = TuneSettings(steps=40, detail_steps=80)
    for count, shares in ((3, (1, 2)), (0, (0, 0)), (240, (80, 160))):
        short = settings.in_steps(count)
        assert (short.steps, short.detail_steps) == shares
    assert TuneSettings(steps=350).in_steps(7).steps == 7


def test_pivots_take_turns_in_locality(G, perceptual):
    pivots, drawn = code_of(G, 2), []

    def draw(w, *rest):
        drawn.append(w)
        return G.synthesis(w, *rest)

    alone = TuneSettings(locality_alpha=0.0)
    locality = Locality(G, pivots.w, alone, Networks(perceptual), seed=0)
    for _ in range(3):
        locality(draw)
    assert torch.equal(torch.cat(drawn), pivots.w[[0, 1, 0]])
    settings = replace(TUNE, steps=6, locality_every=2)
    tuned = tune(G, pivots, torch.zeros(2, 3, 32, 32), settings, perceptual=perceptual)
    assert [step for step, losses in enumerate(tuned.history) if "locality" in losses] == [0, 2, 4]


def test_locality_draws_samples_of_all_classes(perceptual):
    config = StyleGAN2Config(8, z_dim=8, w_dim=8, c_dim=3, mapping_layers=1, channels=(8, 8))
    G = Generator(config).eval().requires_grad_(False)
    pivots = G.mapping(*G.draw_inputs(1, torch.Generator().manual_seed(9)))
    far = TuneSettings(locality_alpha=1e6)
    locality = Locality(G, pivots, far, Networks(perceptual), seed=0)
    random, drawn = torch.Generator().manual_seed(0), []
    for _ in range(4):
        locality(lambda w, *rest: drawn.append(w) or G.synthesis(w, *rest))
        sample = G.mapping(*G.draw_inputs(1, random), truncation=0.5)
        assert torch.allclose(drawn[-1], sample, atol=1e-5)


def test_a_generator_that_gives_no_numbers_cannot_be_tuned(G, perceptual):
    with torch.no_grad():
        G.synthesis.const[0, 0, 0] = float("nan")
    with pytest.raises(InputError, match="began with a loss that is not a number"):
        tune(G, code_of(G, 1), torch.zeros(1, 3, 32, 32), TUNE, perceptual=perceptual)


def test_settings_of_adam_and_locality_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match=r"locality_every .* 0 was given"):
        TuneSettings(locality_every=0)
    with pytest.raises(InputError, match=r"detail_steps .* -1 was given"):
        TuneSettings(detail_steps=-1)
    with pytest.raises(InputError, match="take bfloat16"):
        TuneSettings(dtype=torch.float16)
    with pytest.raises(InputError, match="betas"):
        TuneSettings(betas=(0.9, 1.0))
