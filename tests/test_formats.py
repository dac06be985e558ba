"""Generators of other projects open and draw what they drew there; nothing in a file is run."""

from __future__ import annotations

import pickle
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from layouts import (
    nvidia_names,
    rosinality_names,
    tensorflow_network,
    write_nvidia,
    write_pti,
    write_tensorflow,
)
from parity import TOLERANCE, case_names, load_case, relative_error
from safetensors.torch import save_file
from torch import nn
from torch._utils import _rebuild_tensor_v2

from cycle_core.checkpoints.native import save_model
from cycle_core.checkpoints.reading import read_file
from cycle_core.checkpoints.registry import load_generator
from cycle_core.errors import CheckpointError
from cycle_core.models.generator import Generator
from cycle_core.models.layers import modulated_conv
from cycle_core.models.stylegan2 import StyleGAN2Config

FILES = Path(__file__).parent / "fixtures" / "formats"
CONFIG = StyleGAN2Config(16, z_dim=8, w_dim=12, mapping_layers=2, channels=(8, 6, 4))


@pytest.fixture
def generator():
    """A small random one in which every tensor matters."""
    torch.manual_seed(0)
    generator = Generator(CONFIG).eval().requires_grad_(False)
    for tensor in generator.state_dict().values():
        tensor.add_(0.1 * torch.randn_like(tensor))
    return generator


def same(loaded: Generator, original: Generator) -> bool:
    """The same tensors, nearly to the last bit: for TensorFlow 1 is subtracted and added."""
    theirs, ours = loaded.state_dict(), original.state_dict()
    return theirs.keys() == ours.keys() and all(
        torch.allclose(theirs[name], ours[name], atol=1e-6) for name in ours
    )


# ------------------------------------------------------------------ parity
@pytest.mark.parametrize("name", case_names("rosinality"))
def test_reference_networks_of_rosinality_open_from_their_files(name, tmp_path):
    case = load_case(name)
    average = case.expected["w"].mean(0)
    torch.save({"g_ema": case.state_dict(), "latent_avg": average}, tmp_path / "net.pt")
    generator, stride = load_generator(tmp_path / "net.pt"), case.meta["stride"]
    w = generator.mapping(case.inputs["z"])
    assert relative_error(w[:, 0], case.expected["w"]) < TOLERANCE
    assert torch.equal(generator.w_avg, average)
    image = generator.synthesis(case.inputs["wplus"])[:, :, ::stride, ::stride]
    assert relative_error(image, case.expected["image_wplus"]) < TOLERANCE


@pytest.mark.parametrize("write", [write_nvidia, write_pti], ids=["pickle", "PTI"])
@pytest.mark.parametrize("name", case_names("nvidia"))
def test_reference_networks_of_nvidia_open_from_their_files(name, write, tmp_path):
    case = load_case(name)
    generator = load_generator(write(tmp_path / "net", case.state_dict()))
    z, c = case.inputs["z"], case.inputs.get("c")
    assert relative_error(generator.mapping(z, c), case.expected["w"]) < TOLERANCE
    image = generator.synthesis(case.inputs["wplus"])
    assert relative_error(image, case.expected["image_wplus"]) < TOLERANCE


@pytest.mark.parametrize("name", ["nvidia_tiny.pkl", "pti_tuned_tiny.pt"])
def test_real_files_with_a_trap_open_and_draw_what_is_stored(name):
    with np.load(FILES / "nvidia_tiny_expected.npz") as data:
        names = ("in_z", "out_w", "out_image_noise_const")
        z, w, image = (torch.from_numpy(data[name]) for name in names)
    generator = load_generator(FILES / name)
    assert relative_error(generator.mapping(z), w) < TOLERANCE
    assert relative_error(generator.synthesis(w), image) < TOLERANCE


# ------------------------------------------------------------------ round trips
@pytest.mark.parametrize("protocol", range(6))
def test_nvidia_pickles_of_every_protocol(protocol, generator, tmp_path):
    path = write_nvidia(tmp_path / "net.pkl", nvidia_names(generator), protocol=protocol)
    assert same(load_generator(path), generator)


def test_nvidia_settings_that_no_tensor_shows(generator, tmp_path):
    attributes = {"synthesis.b4.conv1": {"conv_clamp": 256}, "mapping.fc0": {"bias_gain": 0.1}}
    for write in (write_nvidia, write_pti):
        loaded = load_generator(write(tmp_path / "net", nvidia_names(generator), attributes))
        assert loaded.config.conv_clamp == 256.0
        assert loaded.config.mapping_lr_multiplier == 0.1


def test_nvidia_with_classes(tmp_path):
    torch.manual_seed(0)
    generator = Generator(StyleGAN2Config(**{**vars(CONFIG), "c_dim": 3})).requires_grad_(False)
    loaded = load_generator(write_nvidia(tmp_path / "net.pkl", nvidia_names(generator)))
    assert loaded.config.c_dim == 3
    assert same(loaded, generator)
    loaded = load_generator(write_tensorflow(tmp_path / "tf.pkl", tensorflow_network(generator)))
    assert loaded.config.c_dim == 3
    assert same(loaded, generator)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_tensorflow(protocol, generator, tmp_path):
    path = write_tensorflow(tmp_path / "net.pkl", tensorflow_network(generator), protocol)
    assert same(load_generator(path), generator)


def test_tensorflow_kernels_are_turned_as_its_upsampling_says():
    # TensorFlow documents upsample_conv_2d as upsample_2d followed by an ordinary conv2d
    torch.manual_seed(0)
    x, w = torch.randn(1, 2, 8, 8), torch.randn(3, 3, 2, 4)  # [kkIO]
    taps = torch.tensor([1.0, 3, 3, 1]) / 4
    stuffed = torch.zeros(1, 2, 16, 16)
    stuffed[:, :, ::2, ::2] = x
    kernel = torch.outer(taps, taps).expand(2, 1, 4, 4)
    larger = F.conv2d(F.pad(stuffed, (2, 1, 2, 1)), kernel, groups=2)
    expected = F.conv2d(larger, w.permute(3, 2, 0, 1), padding=1)

    ours = w.permute(3, 2, 0, 1).flip(2, 3)
    mine = modulated_conv(x, ours, torch.ones(1, 2), demodulate=False, upsample=True)
    assert torch.allclose(mine[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-4)


def test_rosinality_files_of_every_kind(generator, tmp_path):
    state, path = rosinality_names(generator), tmp_path / "net.pt"
    average = generator.w_avg.clone()
    for content in (
        {"g_ema": state, "latent_avg": average},
        {"g": {}, "d": {}, "g_ema": state, "latent_avg": average[None]},
    ):
        for zipped in (True, False):
            torch.save(content, path, _use_new_zipfile_serialization=zipped)
            assert same(load_generator(path), generator)


def test_rosinality_without_a_mean_gets_that_of_ten_thousand_samples(generator, tmp_path):
    state = rosinality_names(generator)
    training = {"g_ema": state, "args": Namespace(n_mlp=2), "ada_aug_p": 0.0}
    torch.manual_seed(1)
    expected = generator.mapping(torch.randn(100_000, 8))[:, 0].mean(0)
    for content in (training, {"g_ema": state}, state):
        torch.save(content, tmp_path / "net.pt")
        first, again = (load_generator(tmp_path / "net.pt") for _ in range(2))
        assert torch.allclose(first.w_avg, expected, atol=0.05)
        assert torch.equal(first.w_avg, again.w_avg)


@pytest.mark.parametrize("rows", [(), (1,), (6,)])
def test_the_decoder_in_an_encoder_checkpoint(rows, generator, tmp_path):
    state = {f"decoder.{name}": value for name, value in rosinality_names(generator).items()}
    state["encoder.input_layer.0.weight"] = torch.zeros(1)
    average = generator.w_avg.expand(*rows, -1).clone()
    torch.save({"state_dict": state, "latent_avg": average, "opts": {}}, tmp_path / "net.pt")
    assert same(load_generator(tmp_path / "net.pt"), generator)


# ------------------------------------------------------------------ files for something else
OTHERS = {
    "Stable Diffusion": {"state_dict": {"model.diffusion_model.time_embed.0.weight": 0}},
    "LoRA": {"lora_unet_down_blocks_0.lora_up.weight": 0},
    "ControlNet": {"control_model.input_blocks.0.weight": 0},
    "VAE": {"encoder.down.0.block.0.weight": 0, "decoder.up.0.block.0.weight": 0},
    "CLIP": {"text_model.encoder.layers.0.mlp.fc1.weight": 0},
    "upscaler": {"params_ema": {"conv_first.weight": 0, "body.0.rdb1.conv1.weight": 0}},
    "discriminator": {"d": {"final_conv.0.weight": 0, "final_linear.0.weight": 0}},
    "StyleGAN1": {"generator.progression.0.conv1.conv.weight": 0},
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_for_something_else_is_named(name, tmp_path):
    def filled(content):
        return {
            key: filled(value) if isinstance(value, dict) else torch.zeros(2)
            for key, value in content.items()
        }

    torch.save(filled(OTHERS[name]), tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=rf"{name}.*, but a generator is needed"):
        load_generator(tmp_path / "net.pt")
    if all(isinstance(value, int) for value in OTHERS[name].values()):
        save_file(filled(OTHERS[name]), tmp_path / "net.safetensors")
        with pytest.raises(CheckpointError, match=rf"{name}.*, but a generator is needed"):
            load_generator(tmp_path / "net.safetensors")


def test_a_stylegan1_pickle_is_named(generator, tmp_path):
    network = tensorflow_network(generator)
    network.state["components"]["synthesis"].state["variables"] = [("lod", np.zeros(1))]
    path = write_tensorflow(tmp_path / "net.pkl", network)
    with pytest.raises(CheckpointError, match="a StyleGAN1 generator"):
        load_generator(path)


def test_an_architecture_that_is_not_supported_is_named(generator, tmp_path):
    attributes = {"": {"img_resolution": 16}, "synthesis.b16": {"architecture": "resnet"}}
    path = write_nvidia(tmp_path / "net.pkl", nvidia_names(generator), attributes)
    with pytest.raises(CheckpointError, match="architecture is 'resnet', but only 'skip'"):
        load_generator(path)


def test_what_tuning_changed_names_the_generator_that_it_needs(generator, tmp_path):
    path = tmp_path / "tuned.safetensors"
    save_model(path, "delta", {"original": "0123456789abcdef"}, {"a": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"generator 0123456789abcdef: .*_tuned.*--tuned"):
        load_generator(path)


def test_a_whole_module_of_an_unknown_class_is_refused(tmp_path):
    class Net(nn.Linear):
        pass

    Net.__qualname__ = "Net"
    globals()["Net"] = Net
    torch.save(Net(2, 2), tmp_path / "net.pt")
    del globals()["Net"]
    with pytest.raises(CheckpointError, match=r"class .*Net"):
        load_generator(tmp_path / "net.pt")


# ------------------------------------------------------------------ nothing is run
class Gadget:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", range(6))
def test_a_call_in_a_file_is_refused_and_not_made(protocol, generator, tmp_path):
    proof = tmp_path / "proof"
    gadget = Gadget(eval, f"open({str(proof)!r}, 'w')")
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(gadget, protocol))
    torch.save({"g_ema": rosinality_names(generator), "x": gadget}, tmp_path / "b.pt")
    for name in ("a.pkl", "b.pt"):
        with pytest.raises(CheckpointError, match=r"eval.*"):
            load_generator(tmp_path / name)
        with pytest.raises(CheckpointError, match=r"eval.* nothing in it was run"):
            read_file(tmp_path / name)
    assert not proof.exists()


def test_a_tensor_that_the_file_does_not_hold_is_refused(tmp_path):
    for shape, strides in (((2**40,), (1,)), ((2, 2), (-1, 1)), ((4, 4), (0, 1)), ((2, 2), (1, 1))):
        storage = torch.storage.TypedStorage(
            wrap_storage=torch.zeros(4).untyped_storage(), dtype=torch.float32, _internal=True
        )
        call = Gadget(_rebuild_tensor_v2, storage, 0, shape, strides, False, {})
        torch.save({"a": call}, tmp_path / "a.pt")
        with pytest.raises(CheckpointError, match="damaged or of another format"):
            read_file(tmp_path / "a.pt")
