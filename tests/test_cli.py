"""The command line: the whole way, its steps alone, and what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from command_line import QUICK, refused, tree
from PIL import Image

from cycle_core.checkpoints.latents import load_code
from cycle_core.cli import explain, main
from cycle_core.directions.files import load_direction, save_directions
from cycle_core.run.inputs import find_pictures
from cycle_core.training.sources import open_source

pytestmark = pytest.mark.usefixtures("only_embedded")


# ------------------------------------------------------------------ what works
def test_the_whole_way_writes_every_step_and_the_report(photos, tmp_path):
    out = tmp_path / "out"
    edits = ["--edit", "smile=1", "--edit", "age:=0,keep=glasses"]

    assert main(["run", str(photos / "astronaut.png"), *edits, *QUICK, "--out", str(out)]) == 0

    report = json.loads((out / "report.json").read_text())
    (picture,) = report["pictures"]
    assert picture["name"] == "astronaut"
    for step in ("encode", "refine", "tune"):
        assert {"mse", "lpips", "identity", "seconds"} <= picture["steps"][step].keys()
        assert (out / "astronaut" / f"{step}.png").is_file()
    assert [edit["edit"] for edit in picture["edits"]] == ["smile=+1", "age:=0,keep=glasses"]
    assert set(picture["files"]) | {"report.json"} == tree(out / "astronaut").keys()
    assert Image.open(out / "astronaut" / "photo_smile+1.png").size == (512, 512)
    assert report["networks"]["lpips"].startswith("LPIPS")


def test_finished_pictures_are_not_done_again_and_new_edits_are_added(noise, tmp_path, capsys):
    out, command = tmp_path / "out", ["run", str(noise), *QUICK, "--out", str(tmp_path / "out")]
    assert main([*command, "--edit", "smile=1"]) == 0
    first = tree(out)

    assert main([*command, "--edit", "smile=1"]) == 0
    assert "finished before" in capsys.readouterr().out
    assert tree(out) == first

    assert main([*command, "--edit", "smile=1", "--edit", "age=1"]) == 0
    new = tree(out)
    changed = {name for name in new if new[name] != first.get(name)}
    assert changed == {
        "report.json",
        "noise/report.json",
        "noise/sheet.png",
        *(f"noise/edit_age+1.{ending}" for ending in ("png", "safetensors")),
        "noise/photo_age+1.png",
    }


def test_other_settings_make_another_result_and_the_older_one_is_kept(noise, tmp_path, capsys):
    out, command = tmp_path / "out", ["run", str(noise), *QUICK, "--out", str(tmp_path / "out")]
    command += ["--seed", "1"]
    assert main([*command, "--edit", "smile=1"]) == 0
    first = tree(out / "noise")
    assert main([*command, "--tune-steps", "4"]) == 0
    assert (out / "noise" / "tune.png").read_bytes() != first["tune.png"]
    older = out / "noise.older-1"
    assert tree(older) == first
    assert f"{older}: what was there before" in capsys.readouterr().out
    assert main([*command, "--tune-steps", "5"]) == 0  # and of that again
    assert tree(older) == first
    assert (out / "noise.older-2").is_dir()
    report = json.loads((out / "report.json").read_text("utf-8"))
    assert [picture["name"] for picture in report["pictures"]] == ["noise"]


def test_two_edits_of_one_file_name_are_refused(noise, tmp_path, capsys):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        save_directions([load_direction("smile")], tmp_path / folder / "mine.safetensors")
    command = ["run", str(noise), *QUICK, "--out", str(tmp_path / "out")]
    first, second = (["--edit", f"{tmp_path / f / 'mine.safetensors'}:smile=1"] for f in "ab")
    assert main([*command, *first, *second]) == 2
    assert "would both be written as mine" in capsys.readouterr().err
    assert main([*command, *first]) == 0
    before = tree(tmp_path / "out" / "noise")
    assert main([*command, *second]) == 2
    assert "would both be written" in capsys.readouterr().err
    assert tree(tmp_path / "out" / "noise") == before


def test_a_picture_of_a_folder_that_fails_does_not_stop_the_others(noise, tmp_path, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"")
    noise.rename(folder / "b.png")

    told = refused(capsys, "run", folder, *QUICK, "--out", tmp_path / "out")

    assert "1 of 2 pictures could not be done (a)" in told
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [picture["name"] for picture in report["pictures"]] == ["b"]
    assert [failed["name"] for failed in report["failed"]] == ["a"]


def test_the_steps_alone_go_the_whole_way_through_files(photos, tmp_path):
    photo, at = photos / "astronaut.png", lambda name: str(tmp_path / name)
    for command in (
        ["align", str(photo), "-o", at("crop.png")],
        ["encode", at("crop.png"), "-o", at("code.safetensors")],
        ["refine", at("crop.png"), "--steps", "1", "-o", at("pivot.safetensors")],
        ["tune", at("crop.png"), at("pivot.safetensors"), "--steps", "2", "-o", at("tuned")],
        ["edit", at("pivot.safetensors"), "--edit", "smile=2", "-o", at("smile.safetensors")],
        ["generate", at("pivot.safetensors"), "--tuned", at("tuned"), "-o", at("tuned.png")],
        ["generate", at("smile.safetensors"), "--tuned", at("tuned"), "-o", at("smile.png")],
        ["paste", str(photo), at("smile.png"), at("crop.frame.json"), "--reference",
         at("tuned.png"), "-o", at("edited.png")],
    ):  # fmt: skip
        assert main(command) == 0, command

    before, after = (np.asarray(Image.open(path)) for path in (photo, at("edited.png")))
    assert before.shape == after.shape
    assert (before != after).any()
    corner = slice(None, 40), slice(None, 40)
    assert (before[corner] == after[corner]).all()


@pytest.mark.parametrize("stream", [1, 2], ids=["stdout", "stderr"])
def test_it_works_with_a_stream_closed(stream, noise, tmp_path):
    command = [sys.executable, "-m", "cycle_core.cli", "align", str(noise), "--no-face", "centre"]
    command += ["--out", str(tmp_path / "a.png")]

    assert subprocess.run(command, preexec_fn=lambda: os.close(stream)).returncode == 0


def test_samples_are_the_same_for_the_same_seed(tmp_path):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        command = ["sample", "--count", "2", "--seed", seed, "--out", str(tmp_path / name)]
        assert main(command) == 0

    a, b, c = ((tmp_path / name / "sheet.png").read_bytes() for name in "abc")
    assert a == b != c
    first, again = (load_code(tmp_path / name / "codes.safetensors").w for name in "ab")
    assert first.shape[0] == 2
    assert torch.equal(first, again)
    pictures = [path.name for path in open_source(tmp_path / "a", 64).paths]  # for a training
    assert pictures == [f"sample-{k:04d}.png" for k in range(2)]
    given = find_pictures([tmp_path / "a"])  # for a run
    assert list(given.pictures) == [name.removesuffix(".png") for name in pictures]
    assert "sheet" in given.left_out["sheet.png"]
    Image.new("RGB", (8, 8)).save(tmp_path / "a" / "sheet.png")  # somebody else's
    assert len(open_source(tmp_path / "a", 64)) == 3


def test_the_lists_name_what_can_be_used(capsys):
    assert main(["directions"]) == 0
    assert "smile" in capsys.readouterr().out
    assert main(["models"]) == 0
    assert "portraits_generator" in capsys.readouterr().out


def test_quiet_says_nothing(noise, tmp_path, capsys):
    command = ["encode", str(noise), "--quiet", "--out", str(tmp_path / "code.safetensors")]

    assert main(command) == 0
    assert capsys.readouterr() == ("", "")


def test_help_and_version_end_well(capsys):
    for argument in ("--help", "--version"):
        with pytest.raises(SystemExit) as end:
            main([argument])
        assert end.value.code == 0
    assert "cycle-core 0." in capsys.readouterr().out


def test_the_command_line_starts_without_torch():
    """So that --help and mistakes answer at once, and Ctrl-C meets our handler early."""
    script = "import sys, cycle_core.cli as c; c.parser(); sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_debug_shows_where_an_error_came_from(noise, tmp_path):
    from cycle_core.errors import InputError

    with pytest.raises(InputError):
        main(["encode", str(noise), "--debug", "--out", str(tmp_path)])


@pytest.mark.parametrize("command", ["sample --generator {tmp}/no.pt", "encode {tmp}/no.png"])
def test_what_comes_to_nothing_leaves_no_empty_folders(command, tmp_path, capsys):
    (tmp_path / "empty").mkdir()  # the user's own
    for out in ("empty/a", "new/b/c"):
        refused(capsys, *command.format(tmp=tmp_path).split(), "--out", tmp_path / out)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_run_that_comes_to_nothing_leaves_no_folder(tmp_path, capsys):
    (tmp_path / "a.png").write_text("no picture")
    arguments = ["run", str(tmp_path / "a.png"), "--edit", "smile=1", "--out", str(tmp_path / "o")]
    assert main(arguments) == 2
    assert "not a picture" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_machine_without_a_compiler_is_told_to_leave_compiling_out():
    from torch._inductor.exc import InvalidCxxCompiler

    sentence = explain(InvalidCxxCompiler())
    assert sentence is not None
    assert "leave --compile out" in sentence
