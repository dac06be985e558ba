"""The command that trains encoders, in real processes: two are as good as one, kills lose little,
and nobody waits for a process that has failed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torchrun import start, workers

from cycle_core.checkpoints.native import save_model
from cycle_core.cli import main
from cycle_core.images.io import save_image
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config
from cycle_core.training.log import LOG
from cycle_core.training.loop import CHECKPOINT, load_checkpoint

pytestmark = pytest.mark.usefixtures("only_embedded")
COMMAND = "-m", "cycle_core.cli", "train", "encoder"


@pytest.fixture(scope="module")
def command(tmp_path_factory) -> list[str]:
    """The options of a tiny run of 25 steps: every phase, a warm-up, batches seen in two parts."""
    folder = tmp_path_factory.mktemp("command")
    torch.manual_seed(0)
    config = StyleGAN2Config(
        resolution=32, z_dim=8, w_dim=16, mapping_layers=2, channels=(8, 8, 8, 8)
    )
    generator = Generator(config).eval()
    save_model(folder / "g.safetensors", "generator", config, generator.state_dict())
    with torch.no_grad():
        for i, picture in enumerate(generator(torch.randn(23, 8)).clamp(-1, 1)):
            save_image(picture, folder / "pictures" / f"{i}.png")
    options = {
        "generator": folder / "g.safetensors", "data": folder / "pictures", "device": "cpu",
        "steps": 22, "batch": 8, "accumulate": 2, "learning-rate": 1e-3, "pool": 10,
        # Muon and Adam make steps of the learning rate even of gradients that are rounding alone
        "r1-interval": 4, "warmup-steps": 3, "warmup-batch": 8, "warmup-learning-rate": 1e-5,
        "held-out": 20, "log-every": 5, "save-every": 6,
    }  # fmt: skip
    return [part for name, value in options.items() for part in (f"--{name}", str(value))]


@pytest.fixture(scope="module")
def alone(command, tmp_path_factory) -> Path:
    """The run of one process, which nothing disturbed."""
    out = tmp_path_factory.mktemp("alone")
    assert main(["train", "encoder", *command, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def both(command, tmp_path_factory) -> Path:
    """The same run of two processes, which nothing disturbed."""
    out = tmp_path_factory.mktemp("both")
    job = start(2, *COMMAND, *command, "--out", out)
    _, said = job.communicate(timeout=600)
    assert job.returncode == 0, said
    return out


def kill_when(there: Path, job: subprocess.Popen[str], victims: Callable[[], list[int]]) -> None:
    """Kill processes without warning as soon as the file is there."""
    while job.poll() is None and not there.exists():
        time.sleep(0.02)
    assert job.poll() is None, "it was to be killed in the middle"
    for victim in victims():
        os.kill(victim, signal.SIGKILL)


def checkpoint(out: Path) -> dict[str, Any]:
    state = load_checkpoint(out)
    assert state is not None
    return state


def assert_same_bits(a: Path, b: Path) -> None:
    first, second = checkpoint(a), checkpoint(b)
    for state in (first, second):
        del state["random"]["cpu"]  # which a training neither uses nor changes
    assert_equal(first, second, "checkpoint")
    first, second = (load_file(out / "encoder.safetensors") for out in (a, b))
    assert_equal(first, second, "encoder")
    assert not list(b.glob(".*")), "something half-written is left"


def assert_equal(a: Any, b: Any, name: str) -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys(), name
        for key in a:
            assert_equal(a[key], b[key], f"{name}/{key}")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), name
    elif isinstance(a, list):
        assert len(a) == len(b), name
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{name}/{i}")
    else:
        assert a == b, name


def test_two_processes_train_what_one_does(alone, both):
    one, two = (load_file(out / "encoder.safetensors") for out in (alone, both))
    for name, weights in one.items():
        scale = max(1.0, float(weights.abs().max()))  # of running statistics up to hundreds
        assert (weights - two[name]).abs().max() < 2e-4 * scale, name
    logs = [(out / LOG).read_text().splitlines() for out in (alone, both)]
    assert len(logs[0]) == len(logs[1])  # the second process wrote nothing
    pools = [checkpoint(out)["adversary"]["pools"] for out in (alone, both)]
    for kind in ("real", "fake"):
        one, two = pools[0][kind], pools[1][kind]
        assert torch.allclose(
            one["vectors"], two["vectors"], rtol=0, atol=2e-2
        )  # codes are about 1
        assert torch.equal(one["random"], two["random"])


def test_killed_process_resumes_to_the_same_bits(command, alone, tmp_path):
    program = [sys.executable, *COMMAND, *command, "--out", str(tmp_path)]
    with subprocess.Popen(program, text=True) as job:
        kill_when(tmp_path / "samples" / "00000012.png", job, lambda: [job.pid])
    assert main(["train", "encoder", *command, "--out", str(tmp_path)]) == 0
    assert_same_bits(alone, tmp_path)


def test_two_processes_outlive_kills_of_all_and_of_one(command, both, tmp_path):
    samples = tmp_path / "samples"
    arguments = [*COMMAND, *command, "--out", tmp_path]
    job = start(2, *arguments)
    kill_when(tmp_path / CHECKPOINT, job, lambda: [job.pid, *workers(job)])
    job.communicate()
    first = samples / "00000006.png"
    written = first.stat().st_mtime_ns

    job = start(2, *arguments, restarts=1)
    kill_when(samples / "00000012.png", job, lambda: workers(job)[-1:])
    _, said = job.communicate(timeout=600)  # torchrun starts both of them again

    assert job.returncode == 0, said
    assert first.stat().st_mtime_ns == written, "work before the last checkpoint was done again"
    assert_same_bits(both, tmp_path)


def test_a_picture_that_one_process_cannot_read_ends_all_with_one_sentence(command, tmp_path):
    pictures = Path(command[command.index("--data") + 1])
    data = tmp_path / "pictures"
    shutil.copytree(pictures, data)
    whole = (data / "7.png").read_bytes()
    (data / "7.png").write_bytes(whole[: len(whole) // 2])
    arguments = [str(data) if part == str(pictures) else part for part in command]
    job = start(2, *COMMAND, *arguments, "--out", tmp_path / "run")
    _, said = job.communicate(timeout=600)
    assert job.returncode != 0
    told = [line for line in said.splitlines() if line.startswith("cycle-core: ")]
    assert len(told) == 1, said
    assert "7.png" in told[0]


def test_dry_run_tells_schedule_memory_and_time_and_writes_nothing(command, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "encoder", *command, "--out", str(out), "--dry-run"]) == 0
    said = capsys.readouterr().out
    phases = [line.split() for line in said.splitlines()]
    assert ["w", "24", "-", "25", "0", "0", "3.05e-06"] in phases
    assert ["grow", "4", "-", "5", "3", "0.0002", "0.1"] in phases
    assert "W has a spread of " in said
    for part in ("parameters: encoder 1.80 M", "GB at most", "estimated from that", "for 25 steps"):
        assert part in said, said
    assert not out.exists()


def test_the_body_of_another_encoder_is_taken_or_refused(command, tmp_path, capsys):
    dry = ["train", "encoder", *command, "--out", str(tmp_path), "--dry-run"]
    assert main([*dry, "--body", "portraits"]) == 0
    assert main([*dry, "--body", str(tmp_path / "e.pt")]) == 2
    assert "e.pt" in capsys.readouterr().err
    assert main([*dry, "--body", "portraits", "--random-body"]) == 2
    assert "not allowed" in capsys.readouterr().err


def test_a_batch_that_does_not_divide_is_refused(command, tmp_path, capsys):
    options = [*command, "--batch", "7", "--out", str(tmp_path)]
    assert main(["train", "encoder", *options]) == 2
    assert "a multiple of 2" in capsys.readouterr().err


def test_full_size_needs_the_published_networks_or_a_word(tmp_path, capsys):
    config = StyleGAN2Config(256, z_dim=8, mapping_layers=1, channels=(1,) * 7)
    generator = Generator(config)
    save_model(tmp_path / "g.safetensors", "generator", config, generator.state_dict())
    options = ["--generator", str(tmp_path / "g.safetensors"), "--data", "x", "--out", "y"]
    assert main(["train", "encoder", *options]) == 2
    assert "cycle-core models" in capsys.readouterr().err
