"""The whole way for one picture: every step improves on the one before, and an edit edits."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cycle_core.checkpoints.native import resolve
from cycle_core.checkpoints.registry import load_generator
from cycle_core.directions.text import parse_edit
from cycle_core.errors import InputError, MismatchError, NoFaceError
from cycle_core.faces.frame import CENTRE
from cycle_core.images.io import Photo, read_photo
from cycle_core.invert.settings import TuneSettings
from cycle_core.run.pipeline import (
    InvertedPhoto,
    Models,
    RunSettings,
    edit_picture,
    find_targets,
    invert_picture,
    load_models,
    preset,
)

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def models() -> Models:
    return load_models("portraits", "portraits", "cpu")


@pytest.fixture(scope="module")
def settings(models: Models) -> RunSettings:
    refining, tuning = preset("embedded", models.generator)
    refining, tuning = replace(refining, steps=3, images=2), replace(tuning, steps=25)
    return RunSettings(no_face=CENTRE, refine=refining, tune=tuning)


@pytest.fixture(scope="module")
def photo(portrait: Path) -> Photo:
    return read_photo(portrait)


@pytest.fixture(scope="module")
def inversion(photo: Photo, models: Models, settings: RunSettings) -> InvertedPhoto:
    return invert_picture(photo, CENTRE, models, settings)


def test_every_step_is_measured_by_networks_that_no_loss_uses(inversion, models):
    measures = {"mse", "psnr", "ssim", "ms_ssim", "lpips", "identity", "seconds"}
    for step in ("encode", "refine", "tune"):
        assert measures <= inversion.report[step].keys()
    names = models.judge.names(models.losses)
    assert not set(names.values()) & set(models.losses.names().values())
    assert not any("minimised" in name for name in names.values())


def test_each_step_comes_nearer_to_the_picture(inversion):
    mse = {step: inversion.report[step]["mse"] for step in ("encode", "refine", "tune")}

    assert mse["tune"] < 0.7 * mse["refine"]
    assert mse["refine"] < 1.05 * mse["encode"]


def test_an_inversion_is_the_same_for_the_same_seed(inversion, photo, models, settings):
    again = invert_picture(photo, CENTRE, models, settings)

    assert torch.equal(again.pivot.w, inversion.pivot.w)
    assert torch.equal(again.tuned.image, inversion.tuned.image)


def test_an_edit_moves_the_attribute_that_it_names(inversion, models):
    more, less = edit_picture(inversion, [parse_edit("smile=2"), parse_edit("smile=-2")], models)
    smile = models.judge.attributes.config.names.index("smile")
    seen = [float(models.judge.attributes.codes(edited.image)[0, smile]) for edited in (less, more)]

    assert seen[1] - seen[0] > 1.0
    assert 0 < more.report["identity"] <= 1


def test_no_edit_leaves_the_picture_as_the_tuned_generator_draws_it(inversion, models):
    (edited,) = edit_picture(inversion, [parse_edit("smile=0")], models)

    assert torch.equal(edited.image, inversion.tuned.image)
    assert edited.report["attributes"] == {}
    assert (edited.photo.image - inversion.photo.image).abs().max() < 0.02


def test_progress_names_the_steps_and_counts_them(photo, models, settings):
    told: list[tuple[str, int, int]] = []
    tune = replace(settings.tune, steps=2, detail_steps=1)
    short = replace(settings, refine=replace(settings.refine, steps=2), tune=tune)

    def tell(*step):
        told.append(step)

    (target,) = find_targets(photo, short)
    short_inversion = invert_picture(photo, target, models, short, tell)
    edit_picture(short_inversion, [parse_edit("smile=1")], models, tell)

    assert told == [
        ("refine", 1, 2), ("refine", 2, 2), ("tune", 1, 3), ("tune", 2, 3), ("tune", 3, 3),
        ("edit", 1, 1),
    ]  # fmt: skip


def test_the_report_of_a_tuning_that_stopped_before_its_first_step_says_so(
    photo, models, settings, inversion
):
    content = replace(settings, tune=replace(settings.tune, threshold=9.0))
    content = replace(content, refine=replace(settings.refine, steps=0))
    found = invert_picture(photo, CENTRE, models, content).report["tune"]
    assert found["steps"] == 0
    assert found["note"].startswith("Tuning took 0 steps")
    assert "note" not in inversion.report["tune"]


def test_an_exception_from_progress_ends_the_run_and_changes_no_model(photo, models, settings):
    before = models.fingerprint, models.generator.fingerprint

    def stop(name: str, done: int, total: int) -> None:
        if name == "tune" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        invert_picture(photo, find_targets(photo, settings)[0], models, settings, stop)

    fresh = Models(**{name: getattr(models, name) for name in models.__dataclass_fields__})
    assert (fresh.fingerprint, models.generator.fingerprint) == before


def test_nothing_is_found_in_an_empty_picture():
    grey = Photo(torch.zeros(1, 3, 96, 128))

    with pytest.raises(NoFaceError, match="No face"):
        find_targets(grey, RunSettings())
    assert find_targets(grey, RunSettings(no_face="skip")) == []


def test_an_encoder_of_another_generator_is_refused(models, tmp_path):
    from cycle_core.checkpoints.native import read_model, save_model

    config, state, metadata = read_model("portraits", "generator")
    state["synthesis.const"] = state["synthesis.const"] + 0.1
    save_model(tmp_path / "other.safetensors", "generator", config, state, metadata)

    with pytest.raises(MismatchError, match="trained together"):
        load_models(tmp_path / "other.safetensors", "portraits", "cpu")


def test_the_preset_follows_the_generator_and_not_the_name_of_its_file(models, tmp_path):
    G = models.generator
    copied = shutil.copy(resolve("portraits", "generator"), tmp_path / "own.safetensors")
    moved = load_generator(copied)
    other = load_generator("portraits").in_space("")
    with torch.no_grad():
        next(other.parameters()).add_(0.1)
    assert preset("auto", G) == preset("auto", moved) == preset("embedded", G)
    assert preset("auto", other) == preset("paper", G)
    with pytest.raises(InputError, match="paper, fast, instant, embedded"):
        preset("best", G)


def test_settings_are_json_whatever_they_are():
    settings = RunSettings(tune=TuneSettings(dtype=torch.bfloat16))
    assert json.loads(json.dumps(settings.to_json()))["tune"]["dtype"] == "torch.bfloat16"
