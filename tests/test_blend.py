"""Mixtures of two generators: layer swapping and weight blending."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cycle_core.checkpoints.native import save_model
from cycle_core.checkpoints.registry import load_generator
from cycle_core.cli import main
from cycle_core.codes import Code
from cycle_core.errors import InputError, MismatchError
from cycle_core.invert.generate import generate
from cycle_core.models.blend import blend, layer_of, layer_sizes, layers_from, lower_blocks
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config
from cycle_core.models.stylegan3 import StyleGAN3Config

SMALL = StyleGAN2Config(
    resolution=32, z_dim=16, w_dim=16, mapping_layers=2, channels=(16, 16, 16, 8)
)
ALIAS_FREE = StyleGAN3Config(
    resolution=32, z_dim=16, w_dim=16, channel_base=512, channel_max=16, num_layers=6
)


def made(config, seed: int) -> Generator:
    torch.manual_seed(seed)
    generator = Generator(config).eval().requires_grad_(False)
    for name, parameter in generator.synthesis.named_parameters():
        if "noise_strength" in name:
            parameter.fill_(0.1)
    generator.name = f"generator{seed}"
    return generator


@pytest.fixture(params=[SMALL, ALIAS_FREE], ids=["stylegan2", "stylegan3"])
def pair(request) -> tuple[Generator, Generator]:
    return made(request.param, 1), made(request.param, 2)


def tensors(generator: Generator) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in generator.synthesis.state_dict().items()}


def test_all_layers_of_b_under_the_mapping_of_a(pair):
    a, b = pair
    mixed = blend(a, b)
    code = Code(a.mapping(torch.randn(2, 16)), "W", a.fingerprint)
    assert torch.equal(generate(mixed, code), generate(b, Code(code.w, "W")))
    assert torch.equal(mixed.mapping.w_avg, a.mapping.w_avg)


def test_an_amount_of_zero_is_a_and_neither_generator_is_written_to(pair):
    a, b = pair
    before = tensors(a), tensors(b)
    for amount, expected in ((0.0, before[0]), (1.0, before[1])):
        mixed = tensors(blend(a, b, amount))
        assert all(torch.equal(mixed[name], expected[name]) for name in expected)
    for generator, kept in zip(pair, before, strict=True):
        now = tensors(generator)
        assert all(torch.equal(now[name], kept[name]) for name in kept)


def test_halfway_is_the_mean_of_the_weights(pair):
    a, b = pair
    mixed = blend(a, b, 0.5)
    for name, parameter in mixed.synthesis.named_parameters():
        mean = (a.synthesis.state_dict()[name] + b.synthesis.state_dict()[name]) / 2
        assert torch.allclose(parameter, mean, atol=1e-6), name


def test_layers_are_swapped_from_a_resolution_on(pair):
    a, b = pair
    mixed, ours, theirs = tensors(blend(a, b, layers=layers_from(a, 32))), tensors(a), tensors(b)
    upper = set(layers_from(a, 32))
    for name, tensor in mixed.items():
        assert torch.equal(tensor, (theirs if layer_of(a, name) in upper else ours)[name]), name
    assert {layer_of(a, name) in upper for name in mixed} == {True, False}
    lower = blend(b, a, layers=layers_from(a, 32, below=True))
    assert all(torch.equal(mixed[name], tensor) for name, tensor in tensors(lower).items())


def test_layers_lie_at_the_resolutions_of_the_paper():
    a = made(SMALL, 1)
    assert layer_sizes(a) == [4, 8, 8, 16, 16, 32, 32, 32]
    assert layers_from(a, 16) == (3, 4, 5, 6, 7)
    assert layer_of(a, "blocks.2.to_rgb.weight") == layer_of(a, "blocks.2.conv1.weight") == 4
    assert layer_of(a, "blocks.2.conv0.affine.bias") == 3
    assert layer_of(a, "const") == layer_of(a, "blocks.0.to_rgb.bias") == 0


def test_codes_and_edits_of_the_first_fit_the_mixture(pair):
    a, b = pair
    mixed = blend(a, b, layers=layers_from(a, 32))
    mixed.check_code(Code(a.mapping(torch.randn(1, 16)), "W", a.fingerprint))
    with pytest.raises(MismatchError):
        mixed.check_code(Code(b.mapping(torch.randn(1, 16)), "W", b.fingerprint))


def test_the_lower_blocks_draw_the_picture_at_which_the_whole_passes_by():
    G = made(SMALL, 1)
    small, z = lower_blocks(G, 16), torch.randn(2, 16)
    assert torch.equal(small(z), G.synthesis(G.mapping(z), size=16))
    assert small.has_space_of(G.fingerprint)
    with pytest.raises(InputError, match="no pictures of 24 pixels"):
        lower_blocks(G, 24)
    with pytest.raises(InputError, match="not a StyleGAN2"):
        lower_blocks(made(ALIAS_FREE, 1), 16)


def test_what_cannot_be_blended_is_refused(pair):
    a, b = pair
    with pytest.raises(MismatchError, match="pixels 32 and 16, styles 8 and 6, channels at 16 px"):
        blend(
            made(SMALL, 1),
            made(StyleGAN2Config(16, 16, 16, mapping_layers=2, channels=(16, 16, 8)), 3),
        )
    with pytest.raises(MismatchError, match="layers of other shapes: StyleGAN2 and StyleGAN3"):
        blend(made(SMALL, 1), made(ALIAS_FREE, 2))
    for amount in (-0.1, 1.5, float("nan")):
        with pytest.raises(InputError, match="from 0 to 1"):
            blend(a, b, amount)
    with pytest.raises(InputError, match="the layers 0 to 7"):
        blend(a, b, layers=[3, 99])
    for resolution in (4, 1, 64):
        with pytest.raises(InputError, match="cannot be divided"):
            layers_from(made(SMALL, 1), resolution)
    b.synthesis.add_detail(16)
    with pytest.raises(InputError, match="map of detail"):
        blend(a, b)


def test_the_command_line_blends_files(tmp_path, capsys):
    for seed in (1, 2):
        generator = made(SMALL, seed)
        save_model(tmp_path / f"{seed}.safetensors", "generator", SMALL, generator.state_dict())
    files, out = [str(tmp_path / f"{n}.safetensors") for n in (1, 2)], tmp_path / "m.safetensors"
    for options, layers in (
        (["--from", "16"], (3, 4, 5, 6, 7)),
        (["--below", "16"], (0, 1, 2)),
        (["--layers", "0-2+5"], (0, 1, 2, 5)),
        ([], None),
    ):
        assert main(["blend", *files, "--out", str(out), "--amount", "0.5", *options]) == 0
        expected = tensors(blend(made(SMALL, 1), made(SMALL, 2), 0.5, layers))
        written = tensors(load_generator(out))
        assert all(torch.equal(written[name], expected[name]) for name in expected)
    parent = made(SMALL, 1)
    code = Code(parent.mapping(torch.randn(1, 16)), "W", parent.fingerprint)
    load_generator(out).check_code(code)
    assert main(["blend", *files, "--out", files[0]]) == 2
    assert "would be lost" in capsys.readouterr().err
    assert main(["blend", *files, "--out", str(out), "--from", "4"]) == 2
    assert main(["blend", files[0], "portraits", "--out", str(out)]) == 2


PEAK = """
import torch
from cycle_core.cli import main
from cycle_core.runtime.devices import peak_memory

def peak():
    return peak_memory(torch.device('cpu'))

def do(a, b, out):
    assert main(["blend", a, b, "--amount", "0.5", "--out", out, "--quiet"]) == 0
    assert main(["convert", a, out.replace(".safetensors", ".pt"), "--quiet"]) == 0

do("s1.safetensors", "s2.safetensors", "s3.safetensors")
before = peak()
do("l1.safetensors", "l2.safetensors", "l3.safetensors")
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in other units elsewhere")
def test_blending_and_converting_take_little_more_memory_than_one_generator(tmp_path):
    for seed in (1, 2):
        for name, config in (("s", SMALL), ("l", StyleGAN2Config(64))):
            state = made(config, seed).state_dict()
            save_model(tmp_path / f"{name}{seed}.safetensors", "generator", config, state)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", PEAK]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert int(done.stdout) < 1.4 * (tmp_path / "l1.safetensors").stat().st_size
