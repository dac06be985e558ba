"""The command line: a mistake is one sentence and exit code 2, and nothing is half-written."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch._dynamo  # optimisers load it; an interrupt in that would leave half a module
from limits import full_disk, rights_count
from PIL import Image

from cycle_core.checkpoints.latents import load_code, save_code
from cycle_core.checkpoints.native import read_model, save_model
from cycle_core.checkpoints.registry import load_generator
from cycle_core.cli import explain, main
from cycle_core.codes import Code
from cycle_core.files.assets import ASSETS

pytestmark = pytest.mark.usefixtures("only_embedded")
QUICK = ["--refine-steps", "1", "--tune-steps", "2", "--no-face", "centre"]


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too, with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """Run a command that must fail; gives the one sentence that it says."""
    assert main([str(part) for part in argv]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("cycle-core: ")
    assert told.endswith((".", ")"))
    return told


def code_file(path: Path, **changes: object) -> Path:
    """A code of the embedded generator (its mean), with fields changed."""
    generator = load_generator("portraits")
    fields = {
        "w": generator.w_avg.expand(1, generator.num_ws, -1),
        "space": "W",
        "generator": generator.fingerprint,
        **changes,
    }
    save_code(Code(**fields), path)  # type: ignore[arg-type]
    return path


# ------------------------------------------------------------------ mistakes
@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ([], "COMMAND"),
        (["paint"], "invalid choice: 'paint'"),
        (["run", "{noise}"], "--out"),
        (["run", "{tmp}/no.jpg", "--out", "{tmp}/out"], "There is no file"),
        (["run", "", "--out", "{tmp}/out"], "argument is empty"),
        (["run", "{tmp}/nothing", "--out", "{tmp}/out"], "holds no pictures"),
        (["run", "{noise}", "--edit", "smile", "--out", "{tmp}/out"], "NAME=STRENGTH"),
        (["run", "{noise}", "--edit", "laugh=1", "--out", "{tmp}/out"], "no direction named"),
        (["run", "{noise}", "--seed", "-1", "--out", "{tmp}/out"], "whole number"),
        (["run", "{noise}", "--preset", "best", "--out", "{tmp}/out"], "invalid choice"),
        (["run", "{noise}", "--generator", "cats", "--out", "{tmp}/out"], "named 'cats'"),
        (["align", "{noise}", "--detector", "eyes", "--out", "{tmp}/a"], "invalid choice: 'eyes'"),
        (["align", "{noise}", "--face", "second", "--out", "{tmp}/a.png"], "largest"),
        (["align", "{noise}", "--size", "0", "--out", "{tmp}/a.png"], "a number from 1"),
        (["align", "{noise}", "--no-face", "centre", "--out", "{tmp}/a.xyz"], "picture format"),
        (["encode", "{noise}", "--device", "abacus", "--out", "{tmp}/a"], "device 'abacus'"),
        (["encode", "{noise}", "--out", "{tmp}"], "is a folder"),
        (["encode", "{noise}", "--out", "{noise}"], "would be lost"),
        (["encode", "{noise}", "--out", "{noise}/a.safetensors"], "Nothing can be written"),
        (["generate", "{noise}", "--out", "{tmp}/a.png"], "cannot be read as a model file"),
        (["edit", "{tmp}/no", "--edit", "smile=1", "--out", "{tmp}/a"], "There is no file"),
        (["paste", "{noise}", "{noise}", "{noise}", "--out", "{tmp}/a.png"], "place of a crop"),
        (["sample", "--truncation", "nan", "--out", "{tmp}/s"], "'nan' is not a number"),
        (["sample", "--count", "0", "--out", "{tmp}/s"], "is not a number from 1"),
        (["directions", "{noise}"], "cannot be read as a model file"),
        (["models", "--fetch", "everything"], "not one of the known files"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(
    argv: list[str], told: str, noise: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "nothing").mkdir()
    before = tree(tmp_path)

    sentence = refused(capsys, *(part.format(noise=noise, tmp=tmp_path) for part in argv))

    assert told in sentence
    assert tree(tmp_path) == before


def test_a_picture_without_a_face_is_told(photos, tmp_path, capsys):
    assert "No face was found" in refused(
        capsys, "align", photos / "coffee.png", "--out", tmp_path / "a.png"
    )
    assert not tree(tmp_path)


def test_a_face_that_is_not_there_is_told_with_how_many_there_are(photos, tmp_path, capsys):
    command = ["align", photos / "astronaut.png", "--face", "3", "--out", tmp_path / "a.png"]

    assert "There is no face 3: 1 face was found" in refused(capsys, *command)


def write_png_header(path: Path, side: int) -> None:
    """A PNG that says it has side x side pixels and holds none."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, content in ((b"IHDR", header), (b"IDAT", zlib.compress(b""))):
        check = struct.pack(">I", zlib.crc32(name + content))
        parts.append(struct.pack(">I", len(content)) + name + content + check)
    path.write_bytes(b"".join(parts))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:2000]), "damaged or cut off"),
        (lambda path: path.write_bytes(b"a letter, not a picture"), "not a picture"),
        (lambda path: write_png_header(path, 60000), "larger than the 100 million pixels"),
    ],
    ids=["empty", "truncated", "no picture", "absurdly large"],
)
def test_a_picture_that_cannot_be_read_is_told(damage, told, noise, tmp_path, capsys):
    damage(noise)

    assert told in refused(capsys, "run", noise, "--out", tmp_path / "out")
    assert tree(tmp_path).keys() <= {"noise.png", "out/report.json"}


@pytest.mark.parametrize(
    "convert",
    [
        lambda picture: picture.convert("L"),
        lambda picture: picture.convert("RGBA"),
        lambda picture: picture.convert("CMYK"),
        lambda picture: Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257),
    ],
    ids=["grey", "RGBA", "CMYK", "16-bit"],
)
def test_every_kind_of_picture_is_taken(convert, noise, tmp_path):
    path = tmp_path / "photo.tif"
    convert(Image.open(noise)).save(path)

    assert main(["align", str(path), "--no-face", "centre", "-o", str(tmp_path / "crop.png")]) == 0
    assert Image.open(tmp_path / "crop.png").mode == "RGB"


def test_a_photo_is_turned_upright_before_it_is_aligned(photos, tmp_path):
    upright = Image.open(photos / "astronaut.png")
    exif = upright.getexif()
    exif[0x0112] = 6  # to be shown turned by a quarter to the right
    turned = tmp_path / "turned.png"
    upright.transpose(Image.Transpose.ROTATE_90).save(turned, exif=exif)

    for photo, name in ((photos / "astronaut.png", "a.png"), (turned, "b.png")):
        assert main(["align", str(photo), "--out", str(tmp_path / name)]) == 0

    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


# ------------------------------------------------------------------ models that do not fit
def test_a_code_of_another_generator_is_refused(tmp_path, capsys):
    code = code_file(tmp_path / "code.safetensors", generator="0123456789abcdef")

    told = refused(capsys, "generate", code, "--out", tmp_path / "a.png")

    assert "made for the generator 0123456789abcdef" in told


def test_a_code_of_the_wrong_size_is_refused(tmp_path, capsys):
    code = code_file(tmp_path / "code.safetensors", w=torch.zeros(1, 3, 5), generator="")

    assert "3 styles of 5 dimensions" in refused(
        capsys, "generate", code, "--out", tmp_path / "a.png"
    )


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(bad, tmp_path, capsys):
    config, state, metadata = read_model("portraits", "generator")
    state["synthesis.const"][0, 0, 0] = bad
    save_model(tmp_path / "bad.safetensors", "generator", config, state, metadata)

    command = ["sample", "--generator", tmp_path / "bad.safetensors", "--out", tmp_path / "s"]

    assert "not finite numbers (in synthesis.const)" in refused(capsys, *command)


def test_a_damaged_checkpoint_is_refused(tmp_path, capsys):
    whole = (ASSETS / "portraits_generator.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])

    command = ["sample", "--generator", tmp_path / "cut.safetensors", "--out", tmp_path / "s"]

    assert "damaged" in refused(capsys, *command)


def test_an_encoder_is_not_taken_for_a_generator(tmp_path, capsys):
    encoder = ASSETS / "portraits_encoder.safetensors"

    command = ["sample", "--generator", encoder, "--out", tmp_path / "s"]

    assert "is an encoder, but a generator is needed" in refused(capsys, *command)


def test_a_crop_that_is_not_square_is_refused(photos, tmp_path, capsys):
    command = ["encode", photos / "coffee.png", "--out", tmp_path / "code.safetensors"]

    assert "600x400, but a crop is square" in refused(capsys, *command)


def test_pictures_that_hold_the_encoder_in_place_are_crops_too(noise, tmp_path, capsys):
    (tmp_path / "domain").mkdir()
    Image.new("RGB", (80, 64)).save(tmp_path / "domain" / "wide.png")

    command = ["refine", noise, "--images", tmp_path / "domain", "--out", tmp_path / "pivot"]

    assert "80x64, but a crop is square" in refused(capsys, *command)


# ------------------------------------------------------------------ the machine's limits
@pytest.mark.parametrize("room", [0, 2000], ids=["at once", "in the middle"])
def test_a_full_disk_is_told_and_leaves_no_part_of_a_file(room, noise, tmp_path, capsys):
    code_file(tmp_path / "code.safetensors")
    before = tree(tmp_path)

    with full_disk(room):
        for command in (
            ["align", noise, "--no-face", "centre", "--size", "256", "--out", tmp_path / "a.png"],
            ["encode", noise, "--out", tmp_path / "b.safetensors"],
            ["edit", tmp_path / "code.safetensors", "--edit", "smile=1", "-o", tmp_path / "c"],
        ):
            refused(capsys, *command)

    assert tree(tmp_path) == before


def test_a_full_disk_leaves_the_older_result_as_it_was(noise, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["run", str(noise), *QUICK, "--out", str(out)]) == 0
    before = tree(out)

    with full_disk(30_000):  # pictures fit, the tuned weights do not
        refused(capsys, "run", noise, *QUICK, "--seed", "1", "--out", out)

    assert tree(out) == before


def test_a_folder_that_may_not_be_written_is_told_before_the_work(noise, tmp_path, capsys):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)

    with rights_count():
        told = refused(capsys, "run", noise, "--out", locked)

    assert "Nothing can be written" in told
    assert not tree(locked)


def test_a_folder_of_the_users_own_is_not_touched(noise, tmp_path, capsys):
    mine = tmp_path / "out" / "noise" / "letter.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("dear me")

    assert "not written by this program" in refused(
        capsys, "run", noise, *QUICK, "--out", tmp_path / "out"
    )
    assert mine.read_text() == "dear me"


def test_a_report_of_the_users_own_is_not_overwritten(noise, tmp_path, capsys):
    report = tmp_path / "out" / "report.json"
    report.parent.mkdir()
    report.write_text('{"sales": 3}')

    told = refused(capsys, "run", noise, *QUICK, "--out", tmp_path / "out")

    assert "not written by this program" in told
    assert tree(tmp_path).keys() == {"noise.png", "out/report.json"}
    assert report.read_text() == '{"sales": 3}'


@pytest.mark.parametrize("name", [".noise.png", "..png", "report.json.png", "\udcff.png"])
def test_results_have_a_folder_that_is_seen_whatever_the_picture_is_called(name, noise, tmp_path):
    from cycle_core.run.inputs import find_pictures

    noise.rename(tmp_path / name)
    (folder,) = find_pictures([tmp_path / name]).pictures

    assert not folder.startswith(".")
    assert folder not in ("", "report.json")
    assert folder.encode("utf-8")  # reports and terminals are


# ------------------------------------------------------------------ interruption
@pytest.mark.parametrize("seconds", [0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0])
def test_ctrl_c_at_any_moment_leaves_only_what_is_whole(seconds, noise, tmp_path, capsys):
    out = tmp_path / "out"
    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        code = main(["run", str(noise), *QUICK, "--edit", "smile=1", "--out", str(out)])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert code in (130, 0)  # 0: it was faster
    whole = {"sheet.png", "tuned.safetensors", "photo_smile+1.png", "report.json"}
    assert (out / "noise").is_dir() == (code == 0)
    if code == 0:
        assert whole <= {path.name for path in (out / "noise").iterdir()}
    else:
        assert "stopped" in capsys.readouterr().err
        assert not tree(tmp_path).keys() - {"noise.png"}


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_being_stopped_ends_the_program_with_130_and_without_a_trace(number, noise, tmp_path):
    command = [sys.executable, "-m", "cycle_core.cli", "run", str(noise), *QUICK]
    command += ["--tune-steps", "100000", "--out", str(tmp_path / "out")]

    def listen() -> None:  # what the shell that runs the tests ignores would be ignored here, too
        signal.signal(getattr(signal, number), signal.SIG_DFL)

    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=listen)
    assert process.stderr is not None
    for line in process.stderr:  # of the refinement, which is done: now it is tuning
        if line.startswith("refine"):
            break
    time.sleep(0.5)
    for _ in range(3):  # impatience changes nothing
        process.send_signal(getattr(signal, number))
        time.sleep(0.02)
    told = process.stderr.read()

    assert process.wait(60) == 130
    assert "stopped" in told
    assert "Traceback" not in told
    assert not tree(tmp_path / "out")


def test_ctrl_c_while_torch_is_loaded_is_no_crash(tmp_path):
    """Where it is loaded, exceptions meet compiled code that ends the process (SIGABRT)."""
    script = (
        "import signal, sys, cycle_core.cli as cli\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job may have it ignored
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torch._ops': signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        f"code = cli.main(['sample', '--out', {str(tmp_path / 's')!r}])\n"
        "print(code, hasattr(sys.modules['torch'], 'compile'))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert ended.stdout.split() == ["130", "True"]  # only once it was there
    assert not tree(tmp_path)


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


def test_other_settings_make_another_result(noise, tmp_path):
    out, command = tmp_path / "out", ["run", str(noise), *QUICK, "--out", str(tmp_path / "out")]
    assert main([*command, "--seed", "1"]) == 0
    first = (out / "noise" / "tune.png").read_bytes()

    assert main([*command, "--seed", "1", "--tune-steps", "4"]) == 0

    assert (out / "noise" / "tune.png").read_bytes() != first


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
