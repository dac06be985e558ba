"""Directions that are found without labels, what calibrates them, and the embedded ones."""

from __future__ import annotations

from dataclasses import replace

import known_directions
import pytest
import torch
from known_directions import close
from people_data import TABLE

from cycle_core.codes import Code
from cycle_core.directions.direction import Direction
from cycle_core.directions.discovery import calibrate, fit_directions, ganspace, sefa
from cycle_core.directions.editing import edit
from cycle_core.directions.files import list_directions, load_direction, save_directions
from cycle_core.files.assets import ASSETS
from cycle_core.invert.generate import generate
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config

seeded, G = known_directions.seeded, known_directions.G


# ------------------------------------------------------------------ found without labels
def test_ganspace_finds_the_axes_of_w_in_units_of_their_deviation(G):
    found = ganspace(G, count=3, samples=4000)
    w = G.mapping(torch.randn(4000, 8))
    code = Code(w, "W", G.fingerprint)
    deviations = [float(d.vectors.norm()) for d in found]
    assert deviations == sorted(deviations, reverse=True)
    for direction in found:
        assert float(direction.value(code).std()) == pytest.approx(1, abs=0.1)
        assert abs(float(direction.value(code).mean())) < 0.1
    assert abs(float(found[0].vectors @ found[1].vectors)) < 1e-5


def test_sefa_orders_directions_by_how_much_they_move_the_styles(G):
    found = sefa(G, layers="0-2")
    weights = [
        block.affine.weight
        for block in (
            G.synthesis.blocks[0].conv1,
            G.synthesis.blocks[1].conv0,
            G.synthesis.blocks[1].conv1,
        )
    ]
    moved = [sum(float((w @ d.vectors).square().sum()) for w in weights) for d in found]
    assert moved == sorted(moved, reverse=True)
    best_random = max(
        sum(float((w @ v).square().sum()) for w in weights)
        for v in torch.nn.functional.normalize(torch.randn(200, 8), dim=1)
    )
    assert moved[0] >= best_random
    assert found[0].layers == (0, 1, 2)


# ------------------------------------------------------------------ calibration
def test_calibrated_a_strength_of_one_is_one_deviation_of_the_measured_attribute(G):
    code = Code(G.mapping(torch.randn(64, 8)), "W", G.fingerprint)

    def brightness(image):
        return image.mean((1, 2, 3))

    labels = {"brightness": brightness(generate(G, code))}
    (direction,) = fit_directions(code, labels, ridge=0.1)
    direction = calibrate(G, direction.scaled(3.0), brightness, code, (-0.3, -0.1, 0.1, 0.3))
    (below, down), (above, up) = direction.curve[1:3]
    assert (up - down) / (above - below) == pytest.approx(1, abs=1e-3)
    change = brightness(generate(G, edit(code, direction, above))) - labels["brightness"]
    assert float(change.mean() / labels["brightness"].std()) == pytest.approx(up, abs=1e-4)


def test_a_direction_that_does_nothing_to_the_attribute_stays_uncalibrated(G):
    code = Code(G.mapping(torch.randn(16, 8)), "W", G.fingerprint)
    noise = torch.randn(16)
    direction = calibrate(G, Direction("x", torch.ones(8), unit="sd"), lambda image: noise, code)
    assert direction.unit == "raw"
    assert direction.curve[0] == (-2.0, 0.0)


# ------------------------------------------------------------------ the embedded ones
@pytest.fixture
def portraits():
    config = StyleGAN2Config(
        resolution=16,
        z_dim=len(TABLE),
        w_dim=128,
        mapping_layers=1,
        mapping_lr_multiplier=1.0,
        normalize_z=False,
        channels=(8, 8, 8),
    )
    return Generator(config).eval().requires_grad_(False)


def test_the_directions_of_a_generator_of_portraits_move_one_factor_each(portraits):
    from people.training.directions import DirectionTraining, fit

    found, quality = fit(portraits, TABLE, DirectionTraining(samples=3000))
    assert [d.name for d in found] == list(TABLE.names)
    assert min(quality.values()) > 0.8
    w = portraits.mapping(TABLE.to_z(TABLE.sample(50, seed=3)))
    code = Code(w, "W", portraits.fingerprint)
    smile, others = found[TABLE.index("smile")], [d for d in found if d.name != "smile"]
    moved = edit(code, smile, 1.0)
    assert close(smile.value(moved) - smile.value(code), 1.0)
    for other in others:
        assert close(other.value(moved), other.value(code))


def test_they_are_made_by_one_command_and_refused_for_other_generators(portraits, G, tmp_path):
    from cycle_core.checkpoints.native import save_model
    from cycle_core.cli import main
    from people.training.__main__ import parser

    for name, model in (("portraits", portraits), ("other", G)):
        path = tmp_path / f"{name}.safetensors"
        save_model(path, "generator", model.config, model.state_dict())
    out = tmp_path / "directions.safetensors"
    command = ["directions", str(ASSETS / "perceptual_metrics.safetensors"), "--generator"]
    options = ["--out", str(out), "--samples", "500", "--pictures", "0", "--device", "cpu"]
    assert main([*command, str(tmp_path / "portraits.safetensors"), *options], parser) == 0
    assert load_direction(f"{out}:glasses").generator_id == portraits.fingerprint
    known = tmp_path / "known.safetensors"
    gone = Direction("gone", torch.ones(portraits.config.w_dim), unit="sd")
    save_directions([gone, replace(gone, name="glasses")], known)
    options += ["--known", str(known)]
    assert main([*command, str(tmp_path / "portraits.safetensors"), *options], parser) == 0
    left, glasses = list_directions(out)
    assert isinstance(left, Direction)
    assert torch.equal(left.vectors, gone.vectors)
    assert (left.name, glasses.name) == ("gone", "glasses")
    assert glasses.generator_id == portraits.fingerprint
    out.unlink()
    assert main([*command, str(tmp_path / "other.safetensors"), *options], parser) == 2
    assert not out.exists()


def test_measuring_gives_the_table_of_the_model_card(portraits):
    from cycle_core.measure.perceptual import PortraitNet, PortraitNetConfig
    from cycle_core.models.irse import IdentityConfig, IdentityNet
    from people.training.directions import DirectionTraining, fit, measure, sample, selective

    found, _ = fit(portraits, TABLE, DirectionTraining(samples=1000))
    w, _ = sample(portraits, TABLE, 6, seed=1)
    codes = Code(w[:, None].repeat(1, portraits.num_ws, 1), "W", portraits.fingerprint)
    config = PortraitNetConfig(TABLE.factors, widths=(8, 8), input_size=16, hidden=32)
    attributes = PortraitNet(config).eval().requires_grad_(False)
    config = IdentityConfig((8,) * 5, (1,) * 4, reduction=4, embedding=8, input_size=16, crop=None)
    identity = IdentityNet(config).eval().requires_grad_(False)
    _, row = measure(portraits, found[0], codes, attributes, identity)
    assert len(row["curve"]) == 6
    assert len(row["others"]) == 3
    assert found[0].name not in row["others"]
    assert -1 <= row["identity"] <= 1
    sharp = {"unit": "sd", "others": {"age": -1.0}}
    assert selective(sharp)
    assert not selective({**sharp, "others": {"age": -2.6, "beard": 0.1}})
    assert not selective({**sharp, "unit": "raw"})
