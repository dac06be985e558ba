"""What a run takes of the files and folders that it is given, and what it says of the rest."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cycle_core.cli import main
from cycle_core.errors import InputError
from cycle_core.images import decode
from cycle_core.images.io import list_images, read_photo
from cycle_core.run.inputs import find_pictures, summarise
from cycle_core.run.results import write_report

pytestmark = pytest.mark.usefixtures("only_embedded")
QUICK = ["--refine-steps", "1", "--tune-steps", "1", "--no-face", "centre"]
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)
POINTS = "201.9,104.2,245,103.7,221.7,128.3,203.2,143.5,241.7,143.1"  # of the astronaut


@pytest.fixture
def album(tmp_path: Path, noise: Path) -> Path:
    """Two pictures, one of them in a folder below, and things that are none."""
    folder = tmp_path / "album"
    (folder / "below").mkdir(parents=True)
    shutil.copy(noise, folder / "a.png")
    shutil.copy(noise, folder / "below" / "b.png")
    (folder / "notes.txt").write_text("no picture")
    (folder / "raw.CR2").write_bytes(b"?")
    (folder / "clip.mp4").write_bytes(b"?")
    return folder


@pytest.fixture
def without_heif(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine on which pillow-heif is not installed."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    decode._has_heif.cache_clear()
    yield
    decode._has_heif.cache_clear()


def test_what_is_left_out_of_a_folder_is_told_with_the_reason(album):
    found = find_pictures([album])
    assert list(found.pictures) == ["a"]
    assert set(found.left_out) == {"below/", "raw.CR2", "clip.mp4"}
    assert "1 picture in a folder below, which `recursive` reads" in found.left_out["below/"]
    assert summarise(found.left_out, most=1).startswith("3: ")
    assert summarise(found.left_out, most=1).endswith(", and 2 more")


def test_folders_below_are_taken_where_that_is_asked_for(album):
    assert list(find_pictures([album], recursive=True).pictures) == ["a", "b"]


def test_pictures_of_one_name_in_two_folders_have_their_folders_names(album):
    shutil.copy(album / "a.png", album / "below" / "a.png")
    found = find_pictures([album], recursive=True)
    assert list(found.pictures) == ["a_png", "below_a_png", "b"]


def test_earlier_results_are_no_pictures(album):
    (album / "results" / "a").mkdir(parents=True)
    shutil.copy(album / "a.png", album / "results" / "a" / "crop.png")
    write_report(album / "results", {"cycle_core": "0"})
    assert list(find_pictures([album], recursive=True).pictures) == ["a", "b"]
    assert "results/" not in find_pictures([album]).left_out


def test_a_folder_of_what_is_not_read_says_so(tmp_path, without_heif):
    (tmp_path / "IMG_0001.HEIC").write_bytes(HEIC)
    with pytest.raises(InputError, match=r"IMG_0001.HEIC \(HEIC: install pillow-heif"):
        find_pictures([tmp_path])


@pytest.mark.parametrize("name", ["IMG_0001.HEIC", "IMG_0001.jpg"])
def test_a_phone_s_picture_says_what_to_install(tmp_path, without_heif, name):
    (tmp_path / name).write_bytes(HEIC)
    with pytest.raises(InputError, match=r"is a HEIC picture.*pip install pillow-heif"):
        read_photo(tmp_path / name)


@pytest.mark.parametrize("name", ["a.heic", "a.jpg"])
def test_a_phone_s_picture_is_read_upright_where_pillow_heif_is(tmp_path, name):
    heif = pytest.importorskip("pillow_heif")
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:24] = 200
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = heif.from_pillow(Image.fromarray(pixels))
    picture.save(tmp_path / "a.heic", exif=exif.tobytes(), quality=90)
    (tmp_path / "a.heic").rename(tmp_path / name)
    image = read_photo(tmp_path / name).image
    assert image.shape == (1, 3, 64, 48)
    assert image[..., 30:].mean() > 0.4
    assert image[..., :18].mean() < -0.9
    assert list_images(tmp_path) == [tmp_path / name]


def test_a_run_names_what_it_left_out_at_the_end_and_in_its_report(album, tmp_path, capsys):
    (album / "empty.png").write_bytes(b"")
    assert main(["run", str(album), *QUICK, "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr()
    assert "Left out: 3: " in told.out
    assert "below/ (1 picture in a folder below, which --recursive reads)" in told.out
    assert "1 of 2 pictures could not be done (empty)" in told.err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {one["name"] for one in report["left_out"]} == {"below/", "raw.CR2", "clip.mp4"}
    assert "0 bytes" in report["failed"][0]["error"]


def test_a_picture_without_a_face_is_counted_as_left_out(noise, tmp_path, capsys):
    skip = ["--no-face", "skip", "--out", str(tmp_path / "out")]
    assert main(["run", str(noise), *QUICK[:4], *skip]) == 0
    assert "Left out: 1: noise (no face was found)" in capsys.readouterr().out


def test_points_by_hand_take_the_place_of_a_detector(photos, tmp_path):
    photo, out = str(photos / "astronaut.png"), tmp_path / "crop.png"
    assert main(["align", photo, "--points", POINTS, "--size", "64", "--out", str(out)]) == 0
    frame = json.loads((tmp_path / "crop.frame.json").read_text())
    assert frame["source"] == "manual"
    (tmp_path / "points.txt").write_text(f"astronaut.png {POINTS}\n")
    command = ["run", photo, "--points", str(tmp_path / "points.txt"), *QUICK]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    written = json.loads((tmp_path / "out" / "astronaut" / "crop.frame.json").read_text())
    assert written["quad"] == frame["quad"]


def test_points_of_one_picture_are_not_taken_for_several(album, tmp_path, capsys):
    command = ["run", str(album), "--recursive", "--points", POINTS, "--out", str(tmp_path / "o")]
    assert main(command) == 2
    assert "--points are of one picture, and 2 are given" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_the_same_crop_is_taken_of_another_picture(photos, tmp_path):
    photo = Image.open(photos / "astronaut.png")
    photo.point(lambda level: 255 - level).save(tmp_path / "negative.png")
    sized = ["--size", "64", "--out"]
    assert main(["align", str(photos / "astronaut.png"), *sized, str(tmp_path / "a.png")]) == 0
    frame = ["--frame", str(tmp_path / "a.frame.json")]
    assert (
        main(["align", str(tmp_path / "negative.png"), *frame, *sized, str(tmp_path / "b.png")])
        == 0
    )
    first, second = (read_photo(tmp_path / f"{name}.png").image for name in "ab")
    assert torch.allclose(first, -second, atol=0.02)


@pytest.mark.parametrize("face", ["222,124", "150,50,300,200", "0", "smallest"])
def test_a_face_is_named_by_its_place(photos, tmp_path, face):
    command = ["align", str(photos / "astronaut.png"), "--face", face, "--size", "64"]
    assert main([*command, "--out", str(tmp_path / "a.png")]) == 0


def test_a_place_without_a_face_says_where_faces_are(photos, tmp_path, capsys):
    mask = tmp_path / "mask.png"
    Image.new("L", (512, 512)).save(mask)
    command = ["align", str(photos / "astronaut.png"), "--face-mask", str(mask), "--size", "64"]
    assert main([*command, "--out", str(tmp_path / "a.png")]) == 2
    assert "those that were found are at 22" in capsys.readouterr().err
