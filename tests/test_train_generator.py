"""A generator trained on pictures of which nothing is known: it learns, resumes, and is divided."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torchrun import start

from cycle_core.checkpoints.registry import load_generator
from cycle_core.cli import main
from cycle_core.errors import InputError
from cycle_core.images.io import save_image
from cycle_core.training.generator import train
from cycle_core.training.packing import pack
from cycle_core.training.settings import AdversarialTraining

torch.set_num_threads(1)
SMALL = AdversarialTraining(
    resolution=8,
    channels=(8, 8),
    z_dim=8,
    w_dim=8,
    mapping_layers=2,
    images=160,
    batch=16,
    r1_interval=4,
    log_every=48,
    save_every=48,
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Forty pictures of 8 pixels: a bright disc or square on a dark ground."""
    folder = tmp_path_factory.mktemp("pictures")
    axis = torch.arange(8) - 3.5
    disc = (axis[:, None] ** 2 + axis**2 < 10).float()
    square = (axis.abs() < 2.5).float() * (axis.abs() < 2.5).float()[:, None]
    for i in range(40):
        image = (disc if i % 2 else square) * (1.2 + 0.01 * i) - 0.8
        save_image(image.expand(3, -1, -1), folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def straight(pictures, tmp_path_factory) -> tuple[Path, torch.nn.Module]:
    """A run that nothing interrupted, and its generator."""
    out = tmp_path_factory.mktemp("runs") / "straight"
    return out, train(pictures, out, SMALL)


def test_a_run_that_is_interrupted_anywhere_ends_with_the_same_bits(pictures, straight, tmp_path):
    def stop(seen: int, total: int, preview: object) -> None:
        if seen == 80:  # between two checkpoints: the work since the last one is lost
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(pictures, tmp_path, SMALL, stop)
    assert train(pictures, tmp_path, SMALL).fingerprint == straight[1].fingerprint
    logs = [(out / "log.jsonl").read_text().splitlines() for out in (tmp_path, straight[0])]
    resumed, uninterrupted = ([json.loads(line) | {"seconds": 0} for line in log] for log in logs)
    assert resumed == uninterrupted


def test_a_run_leaves_a_generator_that_opens_and_grids_of_samples(straight):
    out, generator = straight
    opened = load_generator(out / "generator.safetensors")
    assert opened.fingerprint == generator.fingerprint
    assert opened.w_avg.abs().sum() > 0
    assert [path.name for path in sorted((out / "samples").iterdir())] == [
        "00000048.png", "00000096.png", "00000144.png", "00000160.png"]  # fmt: skip
    line = json.loads((out / "log.jsonl").read_text().splitlines()[0])
    assert {"generator", "discriminator", "real", "r1", "path", "path_length"} <= line.keys()


def test_samples_become_like_the_pictures(pictures, tmp_path):
    settings = replace(
        SMALL,
        images=1600,
        log_every=1600,
        save_every=1600,
        path_weight=0.0,
        noise=False,
        half_life=200,
    )
    generator = train(pictures, tmp_path, settings)
    z = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    mean = generator(z).mean((0, 1))  # [8,8]
    middle, corners = mean[2:6, 2:6].mean(), mean[[0, 0, 7, 7], [0, 7, 0, 7]].mean()
    assert middle > corners + 0.5  # of the pictures: 1.4


def test_a_discriminator_that_is_faster_than_the_generator_knows_more(pictures, tmp_path):
    known = []
    for name, rate in (("alike", None), ("faster", 4e-3)):
        settings = replace(
            SMALL, images=320, learning_rate=2e-4, discriminator_learning_rate=rate, log_every=320
        )
        train(pictures, tmp_path / name, settings)
        log = [json.loads(line) for line in (tmp_path / name / "log.jsonl").open()]
        known.append(log[-1]["discriminator"])
    assert known[1] < known[0] - 0.02


def test_two_processes_train_as_one_and_outlive_a_kill(pictures, tmp_path):
    # the noise maps are drawn by each process for itself
    settings = replace(SMALL, noise=False, mirror=True, images=128, learning_rate=2e-4)
    alone = train(pictures, tmp_path / "alone", settings)
    packed = tmp_path / "packed"
    pack(pictures, packed, 8)

    program = Path(__file__).with_name("train_and_die.py")
    job = start(2, program, packed, tmp_path / "two", json.dumps(asdict(settings)), restarts=1)
    _, told = job.communicate(timeout=600)

    assert job.returncode == 0, told
    together = load_generator(tmp_path / "two" / "generator.safetensors")
    for name, value in alone.state_dict().items():
        assert torch.allclose(together.state_dict()[name], value, atol=1e-4), name
    steps = [json.loads(x)["step"] for x in (tmp_path / "two/log.jsonl").read_text().splitlines()]
    assert steps == [48, 96, 128]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"resolution": 12}, "power of two"),
        ({"batch": 12}, "groups of 8"),
        ({"channels": (8, 8, 8)}, "one for each"),
    ],
)
def test_impossible_settings_are_refused(change, told, pictures, tmp_path):
    with pytest.raises(InputError, match=told):
        train(pictures, tmp_path, replace(SMALL, **change))


def test_a_run_is_resumed_with_its_pictures_and_settings_alone(pictures, straight, tmp_path):
    out, _ = straight
    with pytest.raises(InputError, match="started with w_dim=8"):
        train(pictures, out, replace(SMALL, w_dim=12))
    save_image(torch.zeros(3, 8, 8), tmp_path / "other.png")
    with pytest.raises(InputError, match="other pictures"):
        train(tmp_path, out, SMALL)


def test_the_command_trains_on_a_folder(pictures, tmp_path, capsys):
    command = ["train", "generator", str(pictures), "--out", str(tmp_path / "run")]
    options = ["--resolution", "8", "--channels", "8-8", "--z-dim", "8", "--w-dim", "8"]
    options += ["--images", "32", "--batch", "16", "--mirror", "--no-noise", "--device", "cpu"]
    assert main([*command, *options, "--quiet"]) == 0
    generator = load_generator(tmp_path / "run" / "generator.safetensors")
    assert (generator.resolution, generator.w_dim) == (8, 8)
    assert main([*command, *options, "--compile"]) == 2
    assert "unrecognized arguments: --compile" in capsys.readouterr().err
