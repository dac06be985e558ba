"""The detail in one pass: the network, its file, tuning by it, and its training."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import small_networks
import torch
from small_networks import Interrupted, code_of, same, state

from cycle_core.bench.sets import open_set
from cycle_core.checkpoints.native import save_model
from cycle_core.checkpoints.registry import load_detail_encoder, load_encoder, load_generator
from cycle_core.errors import CheckpointError, InputError, MismatchError, MissingFileError
from cycle_core.files.assets import ASSETS
from cycle_core.invert.encode import encode
from cycle_core.invert.generate import generate
from cycle_core.invert.settings import TUNE_PRESETS, TuneSettings
from cycle_core.invert.tune import tune
from cycle_core.measure.perceptual import load_perceptual
from cycle_core.models.detail_encoder import DetailEncoder, DetailEncoderConfig
from people.training import detail
from people.training.settings import DetailTraining

G, seeded, perceptual = small_networks.G, small_networks.seeded, small_networks.perceptual
pytestmark = pytest.mark.usefixtures("seeded")
ONE_PASS = TuneSettings(steps=0, detail_predicted=True, threshold=0.0, locality=False)
IMAGE = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3)) * 2 - 1


@pytest.fixture
def network(G):
    """Of a detail at 16 pixels, whose output is no longer silent."""
    network = DetailEncoder(DetailEncoderConfig(2, 16, 2, width=8, fine=2, coarse=1))
    network.generator_id = G.base_fingerprint
    return network.eval().requires_grad_(False)


def teach(network, G, pivot, steps=60):
    """Let it learn the one picture."""
    synthesis = G.synthesis
    synthesis.put_detail(2, None)
    synthesis.detail = None
    optimizer = torch.optim.Adam(network.requires_grad_(True).parameters(), 1e-2)
    below = synthesis.below_detail(pivot.w)
    rendered = synthesis.above_detail(below, None)
    for _ in range(steps):
        detail = network(IMAGE, rendered, below.features)
        loss = (synthesis.above_detail(below, detail) - IMAGE).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.requires_grad_(False)


def test_a_fresh_network_predicts_nothing_and_the_generator_stays(G, network, perceptual):
    pivot, before = code_of(G, 1), state(G)
    tuned = tune(G, pivot, IMAGE, ONE_PASS, perceptual=perceptual, detail_encoder=network)
    assert torch.equal(generate(tuned.generator, pivot), generate(G, pivot))
    assert tuned.best == 0
    assert same(before, G)


def test_what_it_has_learnt_is_there_after_one_pass(G, network, perceptual):
    pivot, seen = code_of(G, 1), []
    teach(network, G, pivot)
    tuned = tune(
        G, pivot, IMAGE, ONE_PASS, lambda *step: seen.append(step[:2]),
        perceptual=perceptual, detail_encoder=network,
    )  # fmt: skip
    assert len(tuned.history) == 2
    assert tuned.best == 1
    assert tuned.history[1]["l2"] < 0.8 * tuned.history[0]["l2"]
    assert seen == [(1, 1)]
    assert tuned.summary().endswith("in 1 steps")
    kept = tuned.generator.synthesis.detail_code
    assert kept is not None
    assert torch.equal(kept, pivot.w)
    assert torch.allclose(generate(tuned.generator, pivot), tuned.image, atol=1e-6)
    weights = dict(tuned.generator.synthesis.named_parameters())
    del weights["detail"]
    assert all(torch.equal(weights[name], p) for name, p in G.synthesis.named_parameters()
               if name in weights)  # fmt: skip


def test_steps_go_on_from_it(G, network, perceptual):
    pivot = code_of(G, 1)
    teach(network, G, pivot)
    settings = replace(ONE_PASS, steps=2, detail_steps=5, detail_rate=0.05, detail_size=16)
    tuned = tune(G, pivot, IMAGE, settings, perceptual=perceptual, detail_encoder=network)
    assert len(tuned.history) == 1 + 2 + 1 + 5
    assert tuned.history[3]["total"] < 0.9 * tuned.history[2]["total"]  # the pass
    assert tuned.best > 3


def test_a_worse_picture_is_not_kept(G, network, perceptual):
    torch.nn.init.normal_(network.output.bias, std=100.0)
    pivot = code_of(G, 1)
    tuned = tune(G, pivot, IMAGE, ONE_PASS, perceptual=perceptual, detail_encoder=network)
    assert tuned.best == 0
    assert torch.equal(tuned.image, generate(G, pivot))


def test_one_of_another_generator_is_refused_and_where_there_is_none_it_is_said(
    G, network, perceptual
):
    network.generator_id = "0" * 64
    with pytest.raises(MismatchError, match="was trained for the generator"):
        tune(G, code_of(G, 1), IMAGE, ONE_PASS, perceptual=perceptual, detail_encoder=network)
    with pytest.raises(MissingFileError, match="No network predicts the detail"):
        tune(G, code_of(G, 1), IMAGE, ONE_PASS, perceptual=perceptual)


def test_several_pictures_need_steps(G, network, perceptual):
    images, given = IMAGE.expand(2, -1, -1, -1), {"perceptual": perceptual}
    with pytest.raises(InputError, match=r"2 pictures were given .* another preset than"):
        tune(G, code_of(G, 2), images, ONE_PASS, **given, detail_encoder=network)
    stepped = replace(ONE_PASS, steps=1)
    tuned = tune(G, code_of(G, 2), images, stepped, **given, detail_encoder=network)
    assert tuned.generator.synthesis.detail is None
    assert len(tuned.history) == 2


def test_it_is_kept_as_a_file(network, tmp_path):
    path = tmp_path / "detail.safetensors"
    torch.nn.init.normal_(network.output.weight)
    header = {"generator": network.generator_id}
    save_model(path, "detail", network.config, network.state_dict(), header)
    again = load_detail_encoder(path)
    assert again.generator_id == network.generator_id
    assert same(state(network), again)
    config = replace(network.config, fine=10**6)
    save_model(path, "detail", config, network.state_dict(), header)
    with pytest.raises(CheckpointError):
        load_detail_encoder(path)


# ------------------------------------------------------------------ the embedded one
def test_the_embedded_one_brings_a_portrait_back_in_one_pass():
    people = open_set("inside", 2)
    E, G = load_encoder("portraits"), load_generator("portraits")
    lpips = load_perceptual("metrics")
    for i in range(2):
        image = people.images[i : i + 1]
        pivot = encode(E, image)
        tuned = tune(G, pivot, image, TUNE_PRESETS["instant"])
        before, after = (float(lpips(x, image)) for x in (generate(G, pivot), tuned.image))
        assert after < 0.2 * before


def test_its_training_goes_on_where_it_was_stopped(tmp_path):
    for name in ("inside", "outside"):
        shutil.copy(ASSETS / "sets" / f"{name}-test.safetensors",
                    tmp_path / f"{name}-tuning.safetensors")  # fmt: skip
    E, G = load_encoder("portraits"), load_generator("portraits")
    settings = DetailTraining(steps=2, batch=1, squares=1, width=8, save_every=1, log_every=1)

    def stop(step, total, preview):
        raise Interrupted

    straight = detail.train(G, E, tmp_path, tmp_path / "straight", settings)
    with pytest.raises(Interrupted):
        detail.train(G, E, tmp_path, tmp_path / "stopped", settings, stop)
    assert same(state(detail.train(G, E, tmp_path, tmp_path / "stopped", settings)), straight)
    assert straight.output.weight.any()
    made = load_detail_encoder(tmp_path / "straight" / "detail.safetensors")
    assert made.generator_id == G.base_fingerprint
    assert same(state(straight), made)
