"""Model files open whole or not at all, and nothing that was there before is lost."""

import json

import pytest
import torch
from safetensors.torch import save_file

from cycle_core.checkpoints.native import read_model, save_model
from cycle_core.checkpoints.registry import load_generator
from cycle_core.errors import CheckpointError, InputError, MissingFileError
from cycle_core.files.disk import write_atomically
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config

SMALL = StyleGAN2Config(resolution=8, z_dim=8, w_dim=12, mapping_layers=2, channels=(8, 6))


@pytest.fixture
def generator():
    torch.manual_seed(0)
    return Generator(SMALL).eval().requires_grad_(False)


@pytest.fixture
def file(generator, tmp_path):
    path = tmp_path / "small.safetensors"
    save_model(path, "generator", SMALL, generator.state_dict(), {"seed": "0"})
    return path


def test_a_generator_comes_back_as_it_was(generator, file):
    loaded = load_generator(file)
    assert loaded.config == SMALL
    assert loaded.fingerprint == generator.fingerprint
    assert not any(p.requires_grad for p in loaded.parameters())


def test_half_precision_files_give_float32(generator, tmp_path):
    path = tmp_path / "half.safetensors"
    save_model(path, "generator", SMALL, generator.state_dict(), dtype=torch.float16)
    w = torch.randn(1, 4, 12)
    loaded = load_generator(path)
    assert loaded.synthesis.const.dtype == torch.float32
    assert torch.allclose(loaded.synthesis(w), generator.synthesis(w), atol=0.05)


def test_weights_in_8_bits_are_half_a_step_away_at_most_each_channel_by_its_own_scale(tmp_path):
    weight = torch.randn(3, 4, 3, 3) * torch.tensor([1e-3, 1.0, 0.0]).view(3, 1, 1, 1)
    state = {"weight": weight, "bias": torch.randn(3), "num_batches_tracked": torch.tensor(7)}
    path = tmp_path / "a.safetensors"
    save_model(path, "encoder", {}, state, dtype=torch.int8)
    _, loaded, _ = read_model(path, "encoder")
    assert loaded.keys() == state.keys()
    assert torch.equal(loaded["bias"], state["bias"])
    step = weight.abs().amax((1, 2, 3), keepdim=True) / 127
    assert ((loaded["weight"] - weight).abs() <= 0.501 * step).all()
    save_model(path, "encoder", {}, loaded, dtype=torch.int8)  # once more changes nothing
    _, again, _ = read_model(path, "encoder")
    assert torch.allclose(again["weight"], loaded["weight"], rtol=1e-6)


def test_vectors_beyond_half_precision_are_kept(tmp_path):
    state = {"running_var": torch.tensor([1e6, 1e-9]), "weight": torch.randn(2, 2)}
    save_model(tmp_path / "a.safetensors", "encoder", {}, state, dtype=torch.float16)
    _, loaded, _ = read_model(tmp_path / "a.safetensors", "encoder")
    assert torch.equal(loaded["running_var"], state["running_var"])
    assert torch.allclose(loaded["weight"], state["weight"], rtol=1e-3)


def test_metadata_is_kept(file):
    config, _, metadata = read_model(file, "generator")
    assert config["resolution"] == 8
    assert metadata["seed"] == "0"


def test_a_missing_file_and_an_unknown_name_are_said(tmp_path):
    with pytest.raises(MissingFileError, match="no file"):
        load_generator(tmp_path / "none.safetensors")
    with pytest.raises(MissingFileError, match="embedded"):
        load_generator("nobody")


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="is a folder"):
        load_generator(tmp_path)


def test_a_folder_does_not_hide_an_embedded_model(tmp_path, monkeypatch):
    (tmp_path / "portraits").mkdir()  # of pictures to train on, as in docs/results.md
    monkeypatch.chdir(tmp_path)
    assert load_generator("portraits").resolution == 256


def test_another_kind_is_named(generator, tmp_path):
    path = tmp_path / "encoder.safetensors"
    save_model(path, "encoder", {}, generator.state_dict())
    with pytest.raises(CheckpointError, match="an encoder, but a generator is needed"):
        load_generator(path)


def test_a_foreign_safetensors_file_is_said(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "lora.safetensors")
    with pytest.raises(CheckpointError, match="not one of our model files"):
        load_generator(tmp_path / "lora.safetensors")


@pytest.mark.parametrize("kept", [0, 4, 100, -8])
def test_a_truncated_file_is_said(file, kept):
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="damaged or of another format"):
        load_generator(file)


def test_text_is_no_checkpoint(tmp_path):
    (tmp_path / "a.safetensors").write_text("hello " * 100)
    with pytest.raises(CheckpointError, match="damaged or of another format"):
        load_generator(tmp_path / "a.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(generator, tmp_path, value):
    generator.synthesis.const[0, 0, 0] = value
    path = tmp_path / "bad.safetensors"
    save_model(path, "generator", SMALL, generator.state_dict())
    with pytest.raises(CheckpointError, match=r"not finite numbers \(in synthesis.const\)"):
        load_generator(path)


def test_weights_of_another_size_are_refused(generator, tmp_path):
    path = tmp_path / "bad.safetensors"
    state = generator.state_dict()
    state["synthesis.const"] = torch.zeros(9, 4, 4)
    save_model(path, "generator", SMALL, state)
    with pytest.raises(CheckpointError, match=r"synthesis\.const"):
        load_generator(path)


@pytest.mark.parametrize("change", [{"resolution": 7}, {"depth": 3}, {"channels": [1]}])
def test_an_impossible_configuration_is_refused(generator, tmp_path, change):
    path = tmp_path / "bad.safetensors"
    config = {**json.loads(json.dumps(vars(SMALL))), **change}
    save_model(path, "generator", config, generator.state_dict())
    with pytest.raises(CheckpointError, match="configuration"):
        load_generator(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("old")

    def fail(temporary):
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="No space left on device"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("old")

    def interrupt(temporary):
        temporary.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, interrupt)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", ["n" * 251 + ".txt", "头" * 84 + "txt"])
def test_the_longest_name_that_a_disk_takes_can_be_written(tmp_path, name):
    assert len(name.encode()) == 255
    write_atomically(tmp_path / name, lambda p: p.write_text("whole"))
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_tuned_generator_is_called_that_where_something_else_is_needed(tmp_path):
    save_model(tmp_path / "t.safetensors", "delta", {}, {})
    with pytest.raises(CheckpointError, match="is a tuned generator, but a code is needed"):
        read_model(tmp_path / "t.safetensors", "code")


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(InputError, match="choose a folder that exists"):
        write_atomically(tmp_path / "none" / "a.txt", lambda p: p.write_text("x"))


def test_a_header_whose_length_begins_like_a_pickle_is_still_safetensors(file, generator):
    whole = file.read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    header = whole[8:end].ljust(-(-(end - 8 - 0x80) // 256) * 256 + 0x80)
    file.write_bytes(len(header).to_bytes(8, "little") + header + whole[end:])
    assert file.read_bytes()[:1] == b"\x80"
    assert load_generator(file).fingerprint == generator.fingerprint
