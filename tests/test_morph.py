"""Ways from code to code, and the video files that hold them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import small_networks
import torch
from limits import full_disk
from PIL import Image
from small_networks import code_of

from cycle_core.checkpoints.latents import save_code
from cycle_core.checkpoints.native import save_model
from cycle_core.cli import main
from cycle_core.codes import Code
from cycle_core.errors import InputError, MismatchError
from cycle_core.images.clips import ClipWriter, open_clip, write_animation
from cycle_core.invert.generate import generate
from cycle_core.invert.settings import TuneSettings
from cycle_core.invert.tune import tune
from cycle_core.invert.tuned_files import save_tuned
from cycle_core.models.generator import Generator
from cycle_core.run.morph import count_of, morph
from cycle_core.run.video_settings import EASINGS, MorphSettings

G, seeded = small_networks.G, small_networks.seeded


# ------------------------------------------------------------------ the way
@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("hold", [0, 2])
def test_a_morph_passes_through_every_code_and_says_how_long_it_is(seeded, G, loop, hold):
    code = code_of(G, 3)
    settings = MorphSettings(frames=4, loop=loop, hold=hold)
    pictures = list(morph(G, code, settings))
    assert len(pictures) == count_of(3, settings)
    for i in range(3):
        at = i * (4 + hold)
        for k in range(hold + 1):
            assert torch.equal(pictures[at + k], generate(G, code.one(i)))
    last = pictures[-1], generate(G, code.one(2))
    assert torch.equal(*last) != loop


def test_a_loop_begins_where_it_would_go_on(seeded, G):
    pictures = list(morph(G, code_of(G, 2), MorphSettings(frames=8, loop=True, easing="linear")))
    steps = [float((a - b).abs().mean()) for a, b in itertools.pairwise(pictures)]
    again = float((pictures[0] - pictures[-1]).abs().mean())
    assert again < 2 * max(steps)
    assert again > 0


@pytest.mark.parametrize("name", EASINGS)
def test_easings_begin_at_one_code_end_at_the_other_and_never_go_back(name):
    values = [EASINGS[name](k / 20) for k in range(21)]
    assert values[0] == 0
    assert values[20] == pytest.approx(1)
    assert values == sorted(values)


def test_the_middle_of_a_straight_way_is_the_mean_and_of_an_arc_is_not(seeded, G):
    code = code_of(G, 2)
    mean = generate(G, Code(code.w.mean(0, keepdim=True), "W"))
    straight, arc = (
        list(morph(G, code, MorphSettings(frames=2, path=path)))[1] for path in ("straight", "arc")
    )
    assert torch.allclose(straight, mean, atol=1e-5)
    assert not torch.allclose(arc, mean, atol=1e-4)


def test_a_morph_of_one_code_or_of_another_generator_is_refused_at_once(seeded, G):
    with pytest.raises(InputError, match="two codes or more"):
        morph(G, code_of(G, 1))
    with pytest.raises(MismatchError):
        morph(G, Code(torch.zeros(2, 18, 512), "W"))
    with pytest.raises(InputError, match="frames"):
        MorphSettings(frames=0)
    with pytest.raises(InputError, match="easing"):
        MorphSettings(easing="bounce")


# ------------------------------------------------------------------ files
def pictures(count: int, size: tuple[int, int] = (48, 64)) -> list[torch.Tensor]:
    across = torch.linspace(-0.8, 0.8, size[1]).expand(1, 3, *size)
    return [(across * (1 - 0.1 * k)) for k in range(count)]


def test_a_video_comes_back_with_its_pictures_and_their_times(tmp_path):
    pytest.importorskip("av")
    images, times = (
        pictures(5),
        [Fraction(0), Fraction(1, 10), Fraction(3, 10), Fraction(1), Fraction(2)],
    )
    with ClipWriter(tmp_path / "a.mp4", 25) as writer:
        for image, time in zip(images, times, strict=True):
            writer.write(image, time)
    clip = open_clip(tmp_path / "a.mp4")
    assert clip.size == (64, 48)
    assert not clip.sound
    frames = list(clip)
    assert [float(frame.time) for frame in frames] == pytest.approx(
        [float(t) for t in times], abs=1e-3
    )
    for frame, image in zip(frames, images, strict=True):
        assert float((frame.image - image).abs().mean()) < 0.03


@pytest.mark.parametrize("size", [(48, 64), (720, 64)])
@pytest.mark.parametrize("colour", [(1.0, -1.0, -1.0), (-1.0, 0.5, -1.0), (0.3, 0.3, 0.3)])
def test_colours_stay_in_both_matrices(size, colour, tmp_path):
    pytest.importorskip("av")
    image = torch.tensor(colour)[None, :, None, None].expand(1, 3, *size)
    with ClipWriter(tmp_path / "a.mp4", 25) as writer:
        writer.write(image, 0)
    (frame,) = open_clip(tmp_path / "a.mp4")
    assert float((frame.image - image).abs().max()) < 0.04


def test_odd_sides_get_one_more_row_and_column(tmp_path):
    pytest.importorskip("av")
    with ClipWriter(tmp_path / "a.mp4", 25) as writer:
        writer.write(pictures(1, (47, 63))[0], 0)
    assert open_clip(tmp_path / "a.mp4").size == (64, 48)


@pytest.mark.parametrize("ending", ["webp", "gif"])
def test_an_animation_holds_all_pictures(ending, tmp_path):
    write_animation(tmp_path / f"a.{ending}", iter(pictures(4)), 10)
    with Image.open(tmp_path / f"a.{ending}") as animation:
        assert getattr(animation, "n_frames", 1) == 4
        assert animation.size == (64, 48)


def _write_and_stop(path):
    with ClipWriter(path, 25) as writer:
        writer.write(pictures(1)[0], 0)
        raise RuntimeError("stopped")


def test_what_cannot_be_written_leaves_the_file_that_was_there(tmp_path):
    pytest.importorskip("av")
    (tmp_path / "a.mp4").write_text("mine")
    with pytest.raises(RuntimeError, match="stopped"):
        _write_and_stop(tmp_path / "a.mp4")
    assert (tmp_path / "a.mp4").read_text() == "mine"
    with pytest.raises(InputError, match="could not be written"):
        _write_and_stop(tmp_path / "no" / "a.mp4")
    with pytest.raises(InputError, match=r"ends in \.mp4"):
        ClipWriter(tmp_path / "a.txt", 25)
    with pytest.raises(InputError, match="at least one picture"):
        write_animation(tmp_path / "a.gif", iter([]), 10)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_disk_that_is_full_when_the_last_bytes_are_written_is_told(tmp_path):
    pytest.importorskip("av")

    def write():
        with ClipWriter(tmp_path / "a.mp4", 25) as writer:
            for k, image in enumerate(pictures(6)):
                writer.write(image, k / 25)

    write()
    size = (tmp_path / "a.mp4").stat().st_size
    (tmp_path / "a.mp4").unlink()
    for room in (size - 1, size // 2, 0):
        with full_disk(room), pytest.raises(InputError, match="on a disk with room"):
            write()
        assert not list(tmp_path.iterdir())


def test_what_is_no_video_is_told(tmp_path):
    pytest.importorskip("av")
    (tmp_path / "a.mp4").write_bytes(b"no video at all" * 99)
    with pytest.raises(InputError, match="cannot be read as a video"):
        open_clip(tmp_path / "a.mp4")
    with pytest.raises(InputError, match="no file"):
        open_clip(tmp_path / "b.mp4")


# ------------------------------------------------------------------ the command line
@pytest.fixture
def files(seeded, G, tmp_path):
    save_model(tmp_path / "G.safetensors", "generator", G.config, G.state_dict())
    for name, seed in (("a", 1), ("b", 2)):
        save_code(code_of(G, 1, seed), tmp_path / f"{name}.safetensors")
    return tmp_path


def test_the_command_line_makes_videos_and_animations(files):
    pytest.importorskip("av")
    generator = ["--generator", str(files / "G.safetensors"), "--device", "cpu", "--quiet"]
    codes = [str(files / f"{name}.safetensors") for name in "ab"]
    options = ["--frames", "3", "--loop", "--hold", "1", "--easing", "sine", "--path", "arc"]
    assert main(["morph", *codes, "--out", str(files / "m.mp4"), *generator, *options]) == 0
    assert len(list(open_clip(files / "m.mp4"))) == 8
    assert main(["morph", *codes, "--out", str(files / "m.webp"), *generator, *options]) == 0
    assert main(["morph", codes[0], "--out", str(files / "m.gif"), *generator]) == 2
    assert main(["morph", *codes, "--out", str(files / "m.txt"), *generator]) == 2
    assert main(["morph", *codes, "--out", str(files / "n.gif"), *generator, "--fps", "0"]) == 2
    assert not (files / "n.gif").exists()


@pytest.mark.parametrize("ending", ["mp4", "gif"])
def test_a_morph_of_grey_pictures_by_another_generator_of_the_shape(files, G, ending):
    pytest.importorskip("av")
    grey = Generator(replace(G.config, img_channels=1))
    save_model(files / "grey.safetensors", "generator", grey.config, grey.state_dict())
    codes = [str(files / f"{name}.safetensors") for name in "ab"]
    command = ["morph", *codes, "--out", str(files / f"m.{ending}"), "--frames", "2", "--quiet"]
    command += ["--generator", str(files / "grey.safetensors"), "--device", "cpu"]
    assert main(command) == 2
    assert main([*command, "--same-space"]) == 0


def test_a_morph_by_a_tuned_generator(files, G):
    code = code_of(G, 1, 1)
    tuned = tune(G, code, generate(G, code), TuneSettings(steps=1, lpips=0.0, locality=False))
    save_tuned(tuned, files / "tuned.safetensors")
    codes = [str(files / f"{name}.safetensors") for name in "ab"]
    command = ["morph", *codes, "--out", str(files / "m.gif"), "--frames", "2", "--device", "cpu"]
    command += ["--generator", str(files / "G.safetensors"), "--quiet"]
    assert main([*command, "--tuned", str(files / "tuned.safetensors")]) == 0


def test_several_pictures_of_one_person_tune_one_generator(files, G):
    rng = np.random.default_rng(0)
    for name, size in (("a", 32), ("b", 48)):
        pixels = rng.integers(0, 255, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(files / f"{name}.png")
    given = [str(files / name) for name in ("a.png", "b.png", "a.safetensors", "b.safetensors")]
    options = ["--generator", str(files / "G.safetensors"), "--device", "cpu", "--steps", "2"]
    options += ["--quiet", "--preset", "embedded"]
    tuned = str(files / "tuned.safetensors")
    assert main(["tune", *given, "--out", tuned, *options]) == 0
    from cycle_core.checkpoints.registry import load_generator
    from cycle_core.invert.tuned_files import load_tuned

    assert load_tuned(tuned, load_generator(files / "G.safetensors")).pivot.batch == 2
    assert main(["tune", *given[:3], "--out", tuned, *options]) == 2  # two crops, one pivot
    assert main(["tune", *given[:2], "--out", tuned, *options]) == 2
