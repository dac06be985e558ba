"""Videos on the command line: one tuned generator, sound kept, nothing that grows."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction

import numpy as np
import pytest
import torch
from limits import full_disk
from PIL import Image

pytest.importorskip("av")
from sound import seconds_of_sound, write_sound

from cycle_core.cli import main
from cycle_core.files.assets import ASSETS
from cycle_core.images.clips import ClipWriter, open_clip
from cycle_core.run.clips import smoothed_code

FRAMES = 6


def example(count: int) -> list[torch.Tensor]:
    """Pictures of the embedded example clip."""
    images = []
    with Image.open(ASSETS / "example_clip.webp") as clip:
        for index in range(count):
            clip.seek(index)
            pixels = torch.from_numpy(np.array(clip.convert("RGB")))
            images.append(pixels.permute(2, 0, 1)[None].float() / 127.5 - 1)
    return images


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A short video with sound, in which the third picture is shown longer than the others."""
    folder = tmp_path_factory.mktemp("video")
    write_sound(folder / "sound.m4a", 0.5)
    times = [Fraction(k, 25) + (Fraction(1, 5) if k > 2 else 0) for k in range(FRAMES)]
    with ClipWriter(folder / "clip.mp4", 25, sound=folder / "sound.m4a") as writer:
        for image, time in zip(example(FRAMES), times, strict=True):
            writer.write(image, time)
    return folder / "clip.mp4"


OPTIONS = ["--tune-steps", "3", "--key-frames", "2", "--device", "cpu", "--quiet"]


@pytest.fixture(scope="module")
def done(video, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    edits = ["--edit", "smile=2"]
    assert main(["run", str(video), "--out", str(out), *edits, *OPTIONS]) == 0
    return out


def test_a_video_becomes_videos_of_the_same_size_times_and_sound(video, done):
    source = open_clip(video)
    for name in ("video.mp4", "video_smile+2.mp4"):
        clip = open_clip(done / "clip" / name)
        assert clip.size == source.size
        assert [f.time for f in clip] == pytest.approx([f.time for f in source], abs=1e-3)
        assert seconds_of_sound(done / "clip" / name) == pytest.approx(0.5, abs=0.1)


def test_only_the_face_changes_and_the_edit_shows(video, done):
    source = torch.cat([frame.image for frame in open_clip(video)])
    plain, edited = (
        torch.cat([frame.image for frame in open_clip(done / "clip" / name)])
        for name in ("video.mp4", "video_smile+2.mp4")
    )
    corner = (..., slice(0, 12), slice(0, 12))
    assert float((source[corner] - edited[corner]).abs().mean()) < 0.03
    assert float((plain - edited).abs().amax(1).flatten(1).amax(1).min()) > 0.1  # in every frame


def test_the_report_says_what_was_done_and_files_are_kept_for_more_edits(video, done):
    report = json.loads((done / "clip" / "report.json").read_text("utf-8"))
    assert report["steps"]["find"]["frames"] == FRAMES
    assert report["steps"]["tune"]["key frames"] == [0, FRAMES - 1]
    assert [entry["edit"] for entry in report["edits"]] == ["", "smile=+2"]
    tuned = (done / "clip" / "tuned.safetensors").stat()
    edits = ["--edit", "smile=2", "--edit", "age=1"]
    assert main(["run", str(video), "--out", str(done), *edits, *OPTIONS]) == 0
    again = (done / "clip" / "tuned.safetensors").stat()
    assert (tuned.st_mtime_ns, tuned.st_size) == (again.st_mtime_ns, again.st_size)
    assert len(list(open_clip(done / "clip" / "video_age+1.mp4"))) == FRAMES
    assert (done / "clip" / "video_smile+2.mp4").is_file()


def test_after_a_full_disk_at_the_end_the_inversion_is_there(video, done, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(done, out)
    before = {path.name: path.read_bytes() for path in (out / "clip").iterdir()}
    command = ["run", str(video), "--out", str(out), "--edit", "age=2", *OPTIONS]
    with full_disk(10_000):
        assert main(command) == 2
    assert "on a disk with room" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (out / "clip").iterdir()} == before
    tuned = (out / "clip" / "tuned.safetensors").stat().st_mtime_ns
    assert main(command) == 0
    assert (out / "clip" / "video_age+2.mp4").is_file()
    assert (out / "clip" / "tuned.safetensors").stat().st_mtime_ns == tuned


def test_videos_of_other_settings_are_kept(video, done, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(done, out)
    before = {path.name: path.read_bytes() for path in (out / "clip").iterdir()}
    command = ["run", str(video), "--out", str(out), *OPTIONS, "--key-frames", "1"]
    command.remove("--quiet")
    assert main(command) == 0
    older = out / "clip.older-1"
    assert {path.name: path.read_bytes() for path in older.iterdir()} == before
    assert "video_smile+2.mp4" in before
    assert str(older) in capsys.readouterr().out
    assert (out / "clip" / "video.mp4").read_bytes() != before["video.mp4"]


def test_a_video_without_sound_and_one_that_ends_early_are_done_as_far_as_they_go(
    video, tmp_path, capsys
):
    whole = (tmp_path / "whole.mp4").with_suffix(".mkv")
    with ClipWriter(whole, 25) as writer:
        for k, image in enumerate(example(FRAMES)):
            writer.write(image, Fraction(k, 25))
    content = whole.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(content[: len(content) * 2 // 3])
    out = tmp_path / "out"
    assert main(["run", str(tmp_path / "cut.mkv"), "--out", str(out), *OPTIONS]) == 0
    clip = open_clip(out / "cut" / "video.mp4")
    assert 0 < len(list(clip)) < FRAMES
    assert not clip.sound


def test_frames_without_a_face_are_refused_or_left_as_they_are(tmp_path, capsys):
    images = example(3)
    with ClipWriter(tmp_path / "clip.mp4", 25) as writer:
        for k, image in enumerate([*images, torch.zeros_like(images[0])]):
            writer.write(image, Fraction(k, 25))
    run = ["run", str(tmp_path / "clip.mp4"), "--out", str(tmp_path / "out"), *OPTIONS]
    assert main(run) == 2
    assert "--no-face skip" in capsys.readouterr().err
    assert main([*run, "--no-face", "skip"]) == 0
    last = list(open_clip(tmp_path / "out" / "clip" / "video.mp4"))[-1].image
    assert float(last.abs().mean()) < 0.03
    assert main([*run, "--face", "all"]) == 2
    assert "one face is edited at a time" in capsys.readouterr().err


def test_codes_are_smoothed_over_the_frames_that_show_the_face_without_a_break():
    codes = torch.randn(9, 2, 3, generator=torch.Generator().manual_seed(0)).numpy()
    targets = ["centre"] * 4 + [None] + ["centre"] * 4
    alone = torch.stack([smoothed_code(codes[5:], targets[5:], i, 2.0) for i in range(4)])
    within = torch.stack([smoothed_code(codes, targets, i, 2.0) for i in range(5, 9)])
    assert torch.allclose(alone, within, atol=1e-6)
    even = np.linspace(0, 1, 9, dtype=np.float32)[:, None, None] * np.ones((1, 2, 3), np.float32)
    smooth = torch.stack([smoothed_code(even, ["centre"] * 9, i, 2.0) for i in range(9)])
    assert torch.allclose(smooth, torch.from_numpy(even), atol=1e-5)  # what moves evenly stays
    assert torch.equal(smoothed_code(codes, targets, 0, 0.0), torch.from_numpy(codes[0]))


def test_settings_and_files_that_cannot_be_used_are_told(video, tmp_path, capsys):
    run = ["run", str(video), "--out", str(tmp_path), "--quiet"]
    assert main([*run, "--key-frames", "0"]) == 2
    assert main([*run, "--smoothing", "nan"]) == 2
    (tmp_path / "bad.mp4").write_bytes(b"x" * 1000)
    assert main(["run", str(tmp_path / "bad.mp4"), "--out", str(tmp_path / "o"), "--quiet"]) == 2
    assert "cannot be read as a video" in capsys.readouterr().err
