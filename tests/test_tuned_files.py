"""Files of tuned generators, on networks of the real classes, small and random."""

from __future__ import annotations

from dataclasses import replace

import pytest
import small_networks
import torch
from small_networks import code_of, same, state

from cycle_core.checkpoints.native import read_model, save_model
from cycle_core.errors import CheckpointError, MismatchError
from cycle_core.invert.settings import TuneSettings
from cycle_core.invert.tune import tune
from cycle_core.invert.tuned_files import load_tuned, save_tuned
from cycle_core.models.generator import Generator

G, perceptual, seeded = small_networks.G, small_networks.perceptual, small_networks.seeded
pytestmark = pytest.mark.usefixtures("seeded")
TUNE = TuneSettings(steps=12, learning_rate=1e-2, threshold=0.0)
DETAIL = replace(TUNE, steps=3, detail_steps=10, detail_rate=0.05, detail_size=16)


@pytest.fixture
def tuned(G, perceptual):
    return tune(G, code_of(G, 1), torch.zeros(1, 3, 32, 32), TUNE, perceptual=perceptual)


def test_a_saved_tuned_generator_comes_back_to_the_bit(G, tuned, tmp_path):
    save_tuned(tuned, tmp_path / "tuned.safetensors")
    before = state(G)
    back = load_tuned(tmp_path / "tuned.safetensors", G)
    assert back.generator.fingerprint == tuned.generator.fingerprint
    assert torch.equal(back.pivot.w, tuned.pivot.w)
    assert back.history == tuned.history
    assert same(before, G)


def test_differences_take_half_the_space_and_give_the_same_pictures_within_a_thousandth(
    G, tuned, tmp_path
):
    save_tuned(tuned, tmp_path / "whole.safetensors")
    save_tuned(tuned, tmp_path / "half.safetensors", original=G)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.65 * sizes[1]
    back = load_tuned(tmp_path / "half.safetensors", G)
    assert float((back.image - tuned.image).abs().max()) < 1e-3


@pytest.mark.parametrize("original", [True, False])
def test_a_map_is_saved_too(G, perceptual, tmp_path, original):
    image, path = torch.rand(1, 3, 32, 32) * 2 - 1, tmp_path / "tuned.safetensors"
    tuned = tune(G, code_of(G, 1), image, DETAIL, perceptual=perceptual)
    save_tuned(tuned, path, original=G if original else None)
    assert float((load_tuned(path, G).image - tuned.image).abs().max()) < 1e-3
    again = tune(tuned.generator, tuned, image, DETAIL, perceptual=perceptual)
    save_tuned(again, path, original=tuned.generator if original else None)
    back = load_tuned(path, tuned.generator)
    assert float((back.image - again.image).abs().max()) < 1e-3


def test_a_map_that_does_not_fit_is_refused(G, perceptual, tmp_path):
    path = tmp_path / "tuned.safetensors"
    tuned = tune(G, code_of(G, 1), torch.rand(1, 3, 32, 32), DETAIL, perceptual=perceptual)
    save_tuned(tuned, path)
    config, tensors, metadata = read_model(path, "delta")
    for at in (99, "2", None):
        rest = {k: v for k, v in metadata.items() if k not in ("kind", "config")}
        save_model(path, "delta", {**config, "detail_at": at}, tensors, rest)
        with pytest.raises(CheckpointError, match="does not hold a whole tuned generator"):
            load_tuned(path, G)


def test_a_weight_of_another_shape_is_refused(G, tuned, tmp_path):
    path = tmp_path / "tuned.safetensors"
    for original in (None, G):
        save_tuned(tuned, path, original)
        config, tensors, metadata = read_model(path, "delta")
        rest = {k: v for k, v in metadata.items() if k not in ("kind", "config")}
        save_model(path, "delta", config, {**tensors, "const": torch.ones(1)}, rest)
        with pytest.raises(CheckpointError, match=r"const has the shape \[1\]"):
            load_tuned(path, G)


def test_a_tuned_file_on_another_generator_is_refused(G, tuned, tmp_path):
    save_tuned(tuned, tmp_path / "tuned.safetensors")
    with pytest.raises(MismatchError, match="tuned from the generator"):
        load_tuned(tmp_path / "tuned.safetensors", Generator(G.config))
    with pytest.raises(MismatchError, match="tuned from the generator"):
        save_tuned(tuned, tmp_path / "other.safetensors", original=Generator(G.config))


def test_a_generator_tuned_twice_is_saved_against_the_one_before(G, tuned, perceptual, tmp_path):
    picture = torch.ones(1, 3, 32, 32)
    again = tune(tuned.generator, tuned, picture, TUNE, perceptual=perceptual)
    save_tuned(again, tmp_path / "again.safetensors", original=tuned.generator)
    back = load_tuned(tmp_path / "again.safetensors", tuned.generator)
    assert back.generator.base_fingerprint == G.fingerprint
    assert float((back.image - again.image).abs().max()) < 1e-3


def test_another_kind_of_file_is_refused(G, tmp_path):
    from cycle_core.checkpoints.latents import save_code

    save_code(code_of(G, 1), tmp_path / "code.safetensors")
    with pytest.raises(CheckpointError, match="a code"):
        load_tuned(tmp_path / "code.safetensors", G)
