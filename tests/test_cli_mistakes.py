"""The command line: a mistake is one sentence and exit code 2."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import code_file, refused, tree
from PIL import Image

from cycle_core.checkpoints.native import read_model, save_model
from cycle_core.cli import main
from cycle_core.files.assets import ASSETS

pytestmark = pytest.mark.usefixtures("only_embedded")


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
        (["align", "{noise}", "--size", "0", "--out", "{tmp}/a.png"], "a whole number from 1"),
        (["align", "{noise}", "--no-face", "centre", "--out", "{tmp}/a.xyz"], "picture format"),
        (["encode", "{noise}", "--device", "abacus", "--out", "{tmp}/a"], "device 'abacus'"),
        (["encode", "{noise}", "--out", "{tmp}"], "is a folder"),
        (["encode", "{noise}", "--out", "{noise}"], "would be lost"),
        (["encode", "{noise}", "--out", "{noise}/a.safetensors"], "Nothing can be written"),
        (["generate", "{noise}", "--out", "{tmp}/a.png"], "cannot be read as a model file"),
        (["edit", "{tmp}/no", "--edit", "smile=1", "--out", "{tmp}/a"], "There is no file"),
        (["paste", "{noise}", "{noise}", "{noise}", "--out", "{tmp}/a.png"], "place of a crop"),
        (["sample", "--truncation", "nan", "--out", "{tmp}/s"], "'nan' is not a number"),
        (["sample", "--count", "0", "--out", "{tmp}/s"], "is not a whole number from 1"),
        (
            ["morph", "a", "b", "--out", "{tmp}/m", "--easing", "bounce"],
            "is not one of linear",
        ),
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
    for command in ("align", "run"):
        sentence = refused(capsys, command, photos / "coffee.png", "--out", tmp_path / "a.png")
        assert "No face was found" in sentence
        assert "--no-face centre" in sentence
    assert not tree(tmp_path)


def test_a_face_that_is_not_there_is_told_with_how_many_there_are(photos, tmp_path, capsys):
    command = ["align", photos / "astronaut.png", "--face", "3", "--out", tmp_path / "a.png"]

    message = refused(capsys, *command)
    assert "There is no face 3: 1 face was found" in message
    assert "The option is --face." in message


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
    code = code_file(tmp_path / "code.safetensors", generator_id="0123456789abcdef")

    told = refused(capsys, "generate", code, "--out", tmp_path / "a.png")

    assert "made for the generator 0123456789abcdef" in told


def test_a_code_of_the_wrong_size_is_refused(tmp_path, capsys):
    code = code_file(tmp_path / "code.safetensors", w=torch.zeros(1, 3, 5), generator_id="")

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

    command = ["refine", noise, "--domain", tmp_path / "domain", "--out", tmp_path / "pivot"]

    assert "80x64, but a crop is square" in refused(capsys, *command)
