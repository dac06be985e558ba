"""StyleGAN3 computes what the reference computes, and does whatever a StyleGAN2 does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from layouts import nvidia_names, write_nvidia, write_pti
from parity import TOLERANCE, case_names, load_case, relative_error

from cycle_core.checkpoints.native import save_model
from cycle_core.checkpoints.registry import load_generator
from cycle_core.checkpoints.stylegan3 import from_stylegan3
from cycle_core.codes import Code
from cycle_core.directions.discovery import ganspace, sefa
from cycle_core.directions.editing import edit, mix
from cycle_core.errors import CheckpointError, InputError, MismatchError
from cycle_core.invert.generate import generate
from cycle_core.invert.settings import TuneSettings
from cycle_core.invert.tune import tune
from cycle_core.invert.tuned_files import load_tuned, save_tuned
from cycle_core.models import antialias as aa
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan3 import StyleGAN3Config

T = StyleGAN3Config(resolution=16, z_dim=8, w_dim=12, num_layers=4, channels=(8, 8, 6, 4))
R = replace(T, conv_kernel=1, radial_filters=True)
KERNELS = pytest.mark.parametrize("config", [T, R], ids=["T", "R"])


def make(config: StyleGAN3Config = T) -> Generator:
    """A small random one in which every tensor but the filters matters."""
    torch.manual_seed(0)
    generator = Generator(config).eval().requires_grad_(False)
    for name, tensor in generator.state_dict().items():
        if "filter" not in name and "transform" not in name:
            tensor.add_(0.1 * torch.randn_like(tensor).abs())
    return generator


def code_of(generator: Generator, count: int = 1) -> Code:
    w = generator.mapping(torch.randn(count, 8))
    return Code(w, "W", generator.base_fingerprint)


# ------------------------------------------------------------------ parity
@pytest.mark.parametrize("name", case_names("stylegan3"))
def test_reference_networks_open_from_a_pickle_and_are_reproduced(name, tmp_path):
    case = load_case(name)
    generator = load_generator(write_nvidia(tmp_path / "net.pkl", case.state_dict()))
    assert generator.num_ws == case.meta["num_ws"]
    w = generator.mapping(case.inputs["z"])
    assert relative_error(w, case.expected["w"]) < TOLERANCE
    for codes, image in ((w, "image"), (case.inputs["wplus"], "image_wplus")):
        assert relative_error(generator.synthesis(codes), case.expected[image]) < TOLERANCE


@pytest.mark.parametrize("name", case_names("stylegan3"))
def test_a_new_network_has_the_filters_of_the_reference(name):
    config, state = from_stylegan3(load_case(name).state_dict())
    filters = {k: v for k, v in Generator(config).state_dict().items() if "filter" in k}
    assert len(filters) == 2 * config.num_layers
    for key, made in filters.items():
        assert torch.allclose(made, state[key], atol=1e-7), key


def test_the_layers_of_the_public_networks_at_1024():
    def names(config: StyleGAN3Config) -> str:
        return " ".join(f"{s.size}_{s.channels}" for s in config.signals)

    common = StyleGAN3Config()
    assert common.num_ws == 16
    assert names(common) == (
        "36_512 36_512 52_512 52_512 84_512 148_512 148_512 276_323 276_203 532_128 1044_81 "
        "1044_51 1044_32 1024_32 1024_3"
    )
    assert [(s.rate, round(s.cutoff, 3), round(s.half_width, 3)) for s in common.signals[9:13]] == [
        (512, 128.0, 128.0),
        (1024, 203.187, 308.813),
        (1024, 322.54, 189.46),
        (1024, 512.0, 118.346),
    ]
    twice = replace(common, resolution=128, channel_base=65536, channel_max=1024)
    assert names(twice).endswith("148_1024 148_912 148_683 148_512 128_512 128_3")


# ------------------------------------------------------------------ the filtered leaky ReLU
@pytest.mark.parametrize("radial", [False, True])
def test_in_parts_it_is_the_same_and_has_the_right_gradient(radial, monkeypatch):
    torch.manual_seed(0)
    x = torch.randn(2, 1, 22, 22, dtype=torch.double, requires_grad=True)
    up = 2 * aa.low_pass(12, 2, 1, 64).double()
    down = aa.low_pass(12, 2, 1, 64, radial).double()

    def bend(x: torch.Tensor) -> torch.Tensor:
        return aa.filtered_leaky_relu(x, up, down, 2, 2, 18, 0.2, 1.4, 0.3)

    whole = bend(x)
    assert whole.abs().max() <= 0.3 + 1e-6  # clamped
    monkeypatch.setitem(aa.PART, "cpu", 1)
    assert torch.allclose(bend(x), whole)
    assert torch.autograd.gradcheck(bend, (x,), fast_mode=True)


# ------------------------------------------------------------------ files
@KERNELS
def test_pickles_and_our_own_files_open_as_what_was_written(config, tmp_path):
    generator = make(config)
    names = nvidia_names(generator)
    paths = [write_nvidia(tmp_path / "net.pkl", names), write_pti(tmp_path / "net.pt", names)]
    paths.append(tmp_path / "net.safetensors")
    save_model(paths[-1], "generator", generator.config, generator.state_dict())
    for path in paths:
        loaded = load_generator(path)
        assert loaded.name == "net"
        assert loaded.config == config
        code = code_of(generator)
        assert torch.equal(loaded.synthesis(code.w), generator.synthesis(code.w))
        assert loaded.fingerprint == load_generator(path).fingerprint


def test_settings_that_no_tensor_shows_and_classes(tmp_path):
    config = replace(T, c_dim=3, output_scale=0.5, margin_size=6, conv_clamp=None)
    generator = make(config)
    arguments = {"output_scale": 0.5, "margin_size": 6, "conv_clamp": None}
    attributes = {"synthesis": {"_init_kwargs": arguments}, "mapping.fc0": {"bias_gain": 0.1}}
    path = write_nvidia(tmp_path / "net.pkl", nvidia_names(generator), attributes)
    loaded = load_generator(path)
    assert loaded.config == replace(config, mapping_lr_multiplier=0.1)
    z, c = torch.randn(3, 8), torch.eye(3)
    assert loaded.mapping(z, c).shape == (3, 6, 12)
    with pytest.raises(InputError, match="one-hot class vector"):
        loaded.mapping(z)


def test_what_does_not_fit_is_named(tmp_path):
    names = nvidia_names(make())
    part = {k: v for k, v in names.items() if "L2_" not in k}
    wrong = {k.replace("L1_36", "L1_40"): v for k, v in names.items()}
    more = {**names, "synthesis.superres.weight": torch.zeros(1)}
    for state, message in (
        (part, "not a whole StyleGAN3 generator"),
        (wrong, "Layer 1 of this StyleGAN3 is L1_40_8, but .* L1_36_8"),
        (more, "superres"),
    ):
        with pytest.raises(CheckpointError, match=message):
            load_generator(write_nvidia(tmp_path / "net.pkl", state))


# ------------------------------------------------------------------ behaviour
@KERNELS
def test_a_batch_gives_what_its_pictures_give_one_by_one(config):
    generator = make(config)
    w = code_of(generator, 3).w
    alone = torch.cat([generator.synthesis(row[None]) for row in w])
    assert torch.allclose(generator.synthesis(w), alone, atol=1e-5)


def test_noise_there_is_none_and_half_precision_is_close():
    generator = make()
    w = code_of(generator).w
    image = generator.synthesis(w)
    assert torch.equal(image, generator.synthesis(w, noise="random"))
    half = generator.synthesis(w, dtype=torch.bfloat16)
    assert half.dtype == torch.float32
    assert relative_error(half, image) < 0.05


def test_the_input_can_be_moved():
    generator = make()
    w = code_of(generator).w
    image = generator.synthesis(w)
    pixel = 1 / 16
    generator.get_buffer("synthesis.input.transform")[0, 2] = 4 * pixel
    moved = generator.synthesis(w)
    # in the middle, where no margin shows, the picture goes 4 pixels to the left
    change = relative_error(moved[..., 4:8], image[..., 8:12])
    assert change < relative_error(moved[..., 4:8], image[..., 4:8]) / 3


def test_gradients_reach_the_code_and_every_weight():
    generator = make().requires_grad_(True)
    w = code_of(generator).w.detach().requires_grad_(True)
    generator.synthesis(w).square().mean().backward()
    assert w.grad is not None
    assert all(w.grad[0, i].abs().sum() > 0 for i in range(generator.num_ws))
    for name, weight in generator.synthesis.named_parameters():
        assert weight.grad is not None, name
        assert bool(weight.grad.abs().sum() > 0), name


def test_edits_mixes_and_discovered_directions():
    generator = make()
    a, b = code_of(generator), code_of(generator)
    for direction in (*sefa(generator, count=2), *ganspace(generator, count=2, samples=100)):
        moved = edit(a, direction, 3.0)
        assert not torch.allclose(generate(generator, moved), generate(generator, a), atol=1e-4)
    posed = sefa(generator, layers="0", count=1)[0]  # the style that moves and turns the input
    edit(a, posed, 1.0)
    mixed = mix(a, b, "2-5")
    assert torch.equal(mixed.w[:, :2], a.w[:, :2])
    assert torch.equal(mixed.w[:, 2:], b.w[:, 2:])
    assert generate(generator, mixed).shape == (1, 3, 16, 16)
    offsets = torch.zeros(1, sum(generator.synthesis.style_channels))
    offsets[0, -1] = 1.0
    styled = replace(a, offsets=offsets)
    assert not torch.equal(generate(generator, styled), generate(generator, a))


def test_tuning_lowers_the_loss_and_its_delta_comes_back(tmp_path: Path):
    generator = make()
    before = generator.fingerprint
    pivot = code_of(generator)
    target = generate(generator, code_of(generator)).clamp(-0.9, 0.9)
    settings = TuneSettings(
        steps=4, learning_rate=0.01, lpips=0.0, locality_lpips=0.0, threshold=0.0
    )
    tuned = tune(generator, pivot, target, settings)
    losses = [row["total"] for row in tuned.history]
    assert min(losses) < 0.9 * losses[0]
    assert generator.fingerprint == before
    save_tuned(tuned, tmp_path / "delta.safetensors")
    again = load_tuned(tmp_path / "delta.safetensors", generator)
    assert torch.equal(generate(again.generator, pivot), tuned.image)
    tuned.generator.check_code(pivot)


# ------------------------------------------------------------------ bad input
def test_wrong_inputs_are_named():
    generator = make()
    cases = [
        (lambda: StyleGAN3Config(resolution=48), "power of two"),
        (lambda: replace(T, num_critical=4), "at least one critically sampled"),
        (lambda: replace(T, channels=(8,)), "give one for each"),
        (lambda: generator.mapping(torch.zeros(1, 9)), r"\[batch, 8\]"),
        (lambda: generator.synthesis(torch.zeros(1, 12)), r"\[batch, 6, 12\]"),
        (lambda: generator.synthesis(torch.zeros(1, 6, 12), noise="loud"), "const, random, none"),
    ]
    for call, message in cases:
        with pytest.raises(InputError, match=message):
            call()
    with pytest.raises(MismatchError, match="takes 6 of 12"):
        generator.check_code(Code(torch.zeros(1, 10, 12), "W"))
