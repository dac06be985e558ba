import pytest
import torch

from cycle_core.codes import Code, load_code, save_code
from cycle_core.errors import CheckpointError, InputError, MissingFileError


@pytest.fixture
def code():
    return Code(torch.randn(2, 6, 16), "W+", "0123456789abcdef", 5)


def test_a_saved_code_comes_back_to_the_bit_with_all_that_is_known_about_it(code, tmp_path):
    save_code(code, tmp_path / "code.safetensors")
    back = load_code(tmp_path / "code.safetensors")
    assert torch.equal(back.w, code.w)
    assert (back.space, back.generator, back.stage) == (code.space, code.generator, code.stage)


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
