"""Codes in our files and in those of other projects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cycle_core.checkpoints.latents import load_code, save_code
from cycle_core.cli import main
from cycle_core.codes import Code
from cycle_core.directions.direction import Direction
from cycle_core.directions.editing import edit
from cycle_core.errors import CheckpointError, InputError, MismatchError, MissingFileError
from cycle_core.invert.generate import generate
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config


@pytest.fixture
def code():
    return Code(torch.randn(2, 6, 16), "W+", "0123456789abcdef", 5)


def test_a_saved_code_comes_back_to_the_bit_with_all_that_is_known_about_it(code, tmp_path):
    save_code(code, tmp_path / "code.safetensors")
    back = load_code(tmp_path / "code.safetensors")
    assert torch.equal(back.w, code.w)
    assert (back.space, back.generator_id, back.stage) == (
        code.space,
        code.generator_id,
        code.stage,
    )


def test_one_code_of_a_batch_is_a_batch_of_one(code):
    one = replace(code, offsets=torch.randn(2, 9)).one(1)
    assert torch.equal(one.w, code.w[1:])
    assert one.offsets is not None
    assert one.offsets.shape == (1, 9)
    with pytest.raises(InputError, match="no code number 2: the batch has 2"):
        code.one(2)


def test_a_code_that_no_encoder_made_has_no_stage_after_loading(code, tmp_path):
    save_code(Code(code.w, "W+"), tmp_path / "code.safetensors")
    assert load_code(tmp_path / "code.safetensors").stage is None


def test_a_code_that_is_not_finite_is_refused_and_the_old_file_stays(code, tmp_path):
    path = tmp_path / "code.safetensors"
    save_code(code, path)
    with pytest.raises(InputError, match="not finite"):
        save_code(code.with_w(code.w / 0), path)
    assert torch.equal(load_code(path).w, code.w)


def test_a_missing_and_a_damaged_file_are_told_apart(tmp_path):
    with pytest.raises(MissingFileError):
        load_code(tmp_path / "nothing.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"not a code")
    with pytest.raises(CheckpointError, match="damaged"):
        load_code(tmp_path / "damaged.safetensors")


def test_a_code_needs_the_axis_of_its_styles():
    with pytest.raises(InputError, match="batch, styles, dimensions"):
        Code(torch.randn(2, 16), "W")


def test_a_space_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match="'S'"):
        Code(torch.randn(2, 6, 16), "S")


# ------------------------------------------------------------------ other projects' files
@pytest.fixture
def pivot():
    torch.manual_seed(0)
    return torch.randn(1, 18, 512)


def written(content, path):
    if path.suffix == ".npy":
        np.save(path, content.numpy())
    elif path.suffix == ".npz":
        np.savez(path, w=content.numpy())
    else:
        torch.save(content, path)
    return load_code(path)


@pytest.mark.parametrize("kind", ["pt", "pth", "npy", "npz"])
@pytest.mark.parametrize("shape", [(1, 18, 512), (18, 512), (3, 18, 512)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_latents_are_read_in_every_shape_and_container(kind, shape, dtype, tmp_path):
    latents = torch.randn(shape, dtype=dtype)
    code = written(latents, tmp_path / f"latents.{kind}")
    assert code.w.shape == (shape[0] if len(shape) == 3 else 1, 18, 512)
    assert code.w.dtype == torch.float32
    assert torch.equal(code.w.flatten(), latents.float().flatten())
    assert (code.space, code.generator_id, code.stage) == ("W+", "", None)


def test_latents_whose_styles_are_all_equal_are_in_w(pivot, tmp_path):
    projected = pivot[:, :1].repeat(1, 18, 1)  # NVIDIA's projector and PTI repeat one w
    assert written(projected, tmp_path / "projected_w.npz").space == "W"
    assert written(projected, tmp_path / "0.pt").space == "W"
    both = torch.cat([projected, pivot])
    assert written(both, tmp_path / "latents.pt").space == "W+"


def test_a_pivot_that_was_saved_as_a_parameter_opens(pivot, tmp_path):
    code = written(torch.nn.Parameter(pivot), tmp_path / "0.pt")
    assert torch.equal(code.w, pivot)
    assert not code.w.requires_grad


@pytest.mark.parametrize("pack", [lambda a, b: {"a.jpg": a, "b.jpg": b}, lambda a, b: [a, b]])
def test_several_latents_in_one_file_are_a_batch_in_their_order(pack, pivot, tmp_path):
    code = written(pack(pivot, 2 * pivot[0]), tmp_path / "latents.pt")
    assert torch.equal(code.w, torch.cat([pivot, 2 * pivot]))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (torch.ones(512), "repeated for each style"),
        (torch.ones(1, 512), "repeated for each style"),
        (torch.ones(1, 18, 512, dtype=torch.int64), "and no codes"),
        (torch.ones(1, 18, 512, 1), "and no codes"),
        ({"weight": torch.ones(1, 18, 512), "bias": torch.ones(3)}, "and no codes"),
        (torch.ones(6048, 512), "and no codes"),
        ({}, "and no codes"),
        (
            {"a.lora_up.b": torch.ones(64, 4), "a.lora_down.b": torch.ones(4, 64)},
            "holds a LoRA and no codes",
        ),
        ([torch.ones(1, 18, 512), torch.ones(1, 14, 512)], "all of one generator"),
        (torch.full((1, 18, 512), torch.nan), "not finite"),
    ],
)
def test_what_is_no_code_is_refused(content, told, tmp_path):
    with pytest.raises(CheckpointError, match=told):
        written(content, tmp_path / "latents.pt")


def test_code_that_is_stored_in_a_latent_file_does_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path(tmp_path / "sprung").touch, ()

    torch.save({"w": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(CheckpointError):
        load_code(tmp_path / "trap.pt")
    assert not (tmp_path / "sprung").exists()


def test_a_pivot_is_drawn_and_edited_by_a_generator_that_it_fits_and_refused_by_others(tmp_path):
    config = StyleGAN2Config(resolution=8, z_dim=8, w_dim=12, mapping_layers=1, channels=(4, 4))
    G = Generator(config).eval().requires_grad_(False)
    code = written(torch.randn(1, 4, 12), tmp_path / "0.pt")
    assert generate(G, edit(code, Direction("x", torch.ones(12)), 1.0)).shape == (1, 3, 8, 8)
    foreign = written(torch.randn(1, 18, 512), tmp_path / "1.pt")
    with pytest.raises(MismatchError, match="18 styles of 512 dimensions, but this generator"):
        generate(G, foreign)


def test_the_command_line_takes_pivots_of_other_projects(tmp_path):
    np.savez(tmp_path / "projected_w.npz", w=np.zeros((1, 14, 128), np.float32))
    pivot, out = str(tmp_path / "projected_w.npz"), tmp_path / "out.png"
    moved = tmp_path / "moved.safetensors"
    assert main(["edit", pivot, "--edit", "smile=1", "--out", str(moved)]) == 0
    assert main(["generate", pivot, "--out", str(out), "--device", "cpu"]) == 0
    assert main(["generate", str(moved), "--out", str(out), "--device", "cpu"]) == 0
    assert load_code(moved).space == "W"
