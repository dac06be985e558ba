"""The training of the embedded generator: it learns, resumes to the bit and leaves a whole file."""

import json
from dataclasses import replace

import pytest
import torch
from people_data import TABLE, write

from cycle_core.checkpoints.registry import load_generator
from cycle_core.cli import main
from cycle_core.errors import InputError
from cycle_core.images.resize import resize
from cycle_core.models.layers import upsample
from people.training.__main__ import parser
from people.training.generator import RegressionTrainer, feature_weights, pyramid_loss, train
from people.training.renders import HELD_OUT, Renders
from people.training.settings import RegressionTraining

SMALL = RegressionTraining(
    channels=(8, 8, 8),
    w_dim=8,
    mapping_layers=2,
    regression_images=320,
    adversarial_images=96,
    batch=8,
    warm_up=16,
    r1_interval=4,
    perceptual_weight=0.0,
    log_every=160,
    save_every=160,
)


def coloured(folder, count) -> Renders:
    """Pictures of 16 px whose colour follows three factors."""
    low, high = torch.tensor([(f.low, f.high) for f in TABLE.factors[:3]]).T
    share = (TABLE.sample(count, seed=5)[:, :3] - low) / (high - low)
    images = (share * 255).to(torch.uint8)[..., None, None].expand(-1, -1, 16, 16)
    return write(folder, count, count, {"images": images})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return coloured(tmp_path_factory.mktemp("data"), HELD_OUT + 400)


def test_a_resumed_run_ends_with_the_same_bits(data, tmp_path):
    straight = train(data, tmp_path / "a", SMALL)
    train(data, tmp_path / "b", replace(SMALL, adversarial_images=0))  # stops between the phases
    resumed = train(data, tmp_path / "b", SMALL)
    assert resumed.fingerprint == straight.fingerprint


def test_training_brings_the_pictures_back_and_exports_them(data, tmp_path):
    settings = replace(SMALL, regression_images=1600, adversarial_images=0)
    generator = train(data, tmp_path, settings)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert log[-1]["psnr"] > log[0]["psnr"] + 3
    exported = load_generator(tmp_path / "generator.safetensors")
    assert exported.fingerprint == generator.fingerprint
    assert exported.w_avg.abs().sum() > 0


def test_the_command_trains_on_renders(data, tmp_path):
    command = ["generator", str(data.folder), "--out", str(tmp_path), "--device", "cpu", "--quiet"]
    options = ["--channels", "8-8-8", "--w-dim", "8", "--mapping-layers", "2", "--batch", "8"]
    options += ["--regression-images", "8", "--adversarial-images", "8", "--perceptual-weight", "0"]
    assert main([*command, *options], make_parser=parser) == 0
    assert load_generator(tmp_path / "generator.safetensors").resolution == 16


def test_another_runs_folder_is_refused(data, tmp_path):
    train(data, tmp_path, replace(SMALL, regression_images=8, adversarial_images=0))
    with pytest.raises(InputError, match="w_dim"):
        train(data, tmp_path, replace(SMALL, w_dim=12))


def test_a_data_set_without_training_portraits_is_refused(tmp_path):
    with pytest.raises(InputError, match="render more"):
        train(coloured(tmp_path, 100), tmp_path / "run", SMALL)


def test_the_pyramid_loss_is_zero_for_equal_pictures_and_heeds_the_weights():
    image, weight = torch.rand(2, 3, 16, 16), torch.ones(2, 1, 16, 16)
    assert pyramid_loss(image, image, weight) == 0
    other = image.clone()
    other[:, :, 4, 4] += 1
    heavy = weight.clone()
    heavy[:, :, 4, 4] = 4
    assert pyramid_loss(image, other, heavy) > 1.5 * pyramid_loss(image, other, weight)


def test_eyes_and_mouth_weigh_more_than_the_corner():
    points = torch.tensor([[[24.0, 30], [40, 30], [32, 38], [26, 44], [38, 44]]])
    face = torch.zeros(1, 1, 64, 64)
    face[..., 16:, 16:48] = 1
    weight = feature_weights(points, face)[0, 0]
    assert weight[30, 24] > 4.5
    assert weight[44, 32] > 4.5
    assert weight[18, 18] == pytest.approx(2, abs=0.2)
    assert weight[2, 2] == pytest.approx(1, abs=0.01)


def test_a_generator_grows_and_renders_at_first_what_it_rendered(data):
    small = RegressionTrainer(Renders(data.folder, 8), replace(SMALL, channels=(8, 8))).average
    large = RegressionTrainer(data, SMALL, small).average
    z = torch.randn(4, len(TABLE), generator=torch.Generator().manual_seed(0))
    assert large.resolution == 16
    torch.testing.assert_close(large(z), upsample(small(z)))
    with pytest.raises(InputError, match="cannot grow"):
        RegressionTrainer(data, replace(SMALL, w_dim=12), small)
    with pytest.raises(InputError, match="cannot grow"):
        RegressionTrainer(Renders(data.folder, 8), replace(SMALL, channels=(8, 8)), large)


def test_a_folder_is_read_at_a_divisor_of_its_size(data):
    whole, half = data.batch([3, 7]), Renders(data.folder, 8).batch([3, 7])
    torch.testing.assert_close(half.images, resize(whole.images, 8))
    assert torch.equal(half.points, whole.points / 2)
    with pytest.raises(InputError, match="divisor"):
        Renders(data.folder, 12)
