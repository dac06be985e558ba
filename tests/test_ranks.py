"""The processes of torchrun divide pictures: each is done once, and as one process does it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from hashlib import sha256
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torchrun import start, workers

from cycle_core.bench.sets import open_set
from cycle_core.cli import main
from cycle_core.images.io import save_image

pytestmark = pytest.mark.usefixtures("only_embedded")
QUICK = ["--refine-steps", "1", "--tune-steps", "2", "--no-face", "centre", "--edit", "smile=1"]
NAMES = [f"portrait{i}" for i in range(5)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five portraits, and a file that is none."""
    for name, image in zip(NAMES, open_set("inside", 5).images, strict=True):
        save_image(image, tmp_path / "photos" / f"{name}.png")
    (tmp_path / "photos" / "broken.png").write_bytes(b"a letter")
    return tmp_path / "photos"


def result(folder: Path) -> dict[str, object]:
    """What a picture's folder holds, in short, without what differs from run to run."""
    held: dict[str, object] = {}
    for path in folder.iterdir():
        if path.suffix == ".safetensors":  # whose header comes in any order
            for name, tensor in load_file(path).items():
                held[f"{path.name} {name}"] = sha256(tensor.numpy().tobytes()).hexdigest()
        elif path.name == "report.json":
            report = json.loads(path.read_text())
            for part in (*report["steps"].values(), *report["edits"]):
                part.pop("seconds", None)
            held[path.name] = report
        else:
            held[path.name] = sha256(path.read_bytes()).hexdigest()
    return held


def test_processes_divide_the_pictures_and_outlive_kills(folder, tmp_path):
    alone, out = tmp_path / "alone", tmp_path / "out"
    assert main(["run", str(folder), *QUICK, "--out", str(alone)]) == 2
    shutil.copytree(alone / NAMES[2], out / NAMES[2])  # what another number of processes left

    job = start(2, "-m", "cycle_core.cli", "run", folder, *QUICK, "--out", out, restarts=1)
    while job.poll() is None and len(list(out.glob("*/report.json"))) < 3:
        time.sleep(0.05)
    done = {path: path.stat().st_mtime_ns for path in out.glob("*/report.json")}
    os.kill(workers(job)[0], signal.SIGKILL)  # torchrun starts all of them again
    told, complained = job.communicate(timeout=600)

    assert len(done) < 5, "it was to be killed in the middle"
    assert job.returncode != 0
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())
    assert sum("LPIPS" in line for line in told.splitlines()) <= 4  # one may not have said so
    assert complained.count("1 of 6 pictures could not be done (broken)") == 1
    report = json.loads((out / "report.json").read_text())
    assert [entry["name"] for entry in report["pictures"]] == NAMES
    assert [entry["name"] for entry in report["failed"]] == ["broken"]
    for name in NAMES:
        assert result(out / name) == result(alone / name), name
