"""The generator computes what the reference networks compute, and names what is wrong."""

import os
import subprocess
import sys

import pytest
import torch
from parity import TOLERANCE, Case, case_names, load_case, relative_error

from cycle_core.checkpoints.building import assemble
from cycle_core.checkpoints.nvidia import from_nvidia
from cycle_core.checkpoints.rosinality import from_rosinality
from cycle_core.codes import Code
from cycle_core.errors import InputError, MismatchError
from cycle_core.models.generator import Generator
from cycle_core.models.layers import upsample
from cycle_core.models.stylegan2 import StyleGAN2Config

SMALL = StyleGAN2Config(resolution=16, z_dim=8, w_dim=12, mapping_layers=2, channels=(8, 6, 4))


@pytest.fixture
def small():
    torch.manual_seed(0)
    return Generator(SMALL).eval().requires_grad_(False)


def reference(case: Case) -> Generator:
    translate = from_rosinality if case.name.startswith("rosinality") else from_nvidia
    config, state = translate(case.state_dict())
    return assemble(config, state, case.name)


# ------------------------------------------------------------------ parity
@pytest.mark.parametrize("name", case_names("rosinality"))
def test_rosinality_networks_are_reproduced(name):
    case = load_case(name)
    generator, stride = reference(case), case.meta["stride"]
    w = generator.mapping(case.inputs["z"])
    generator.w_avg.copy_(w[:, 0].mean(0))  # the case truncates towards the mean of its two codes
    truncated = generator.mapping(case.inputs["z"], truncation=0.7)
    assert relative_error(w[:, 0], case.expected["w"]) < TOLERANCE
    for codes, image in (
        (w, "image"),
        (case.inputs["wplus"], "image_wplus"),
        (truncated, "image_truncated_0.7"),
    ):
        mine = generator.synthesis(codes)[:, :, ::stride, ::stride]
        assert relative_error(mine, case.expected[image]) < TOLERANCE, image


@pytest.mark.parametrize("name", case_names("nvidia"))
def test_nvidia_networks_are_reproduced(name):
    case = load_case(name)
    generator, stride = reference(case), case.meta["stride"]
    z, c = case.inputs["z"], case.inputs.get("c")  # conditional where there is a class
    w = generator.mapping(z, c)
    assert relative_error(w, case.expected["w"]) < TOLERANCE
    truncated = generator.mapping(z, c, truncation=0.7)
    assert relative_error(truncated, case.expected["w_truncated_0.7"]) < TOLERANCE
    for codes, noise, image in (
        (w, "const", "image_noise_const"),
        (w, "none", "image_noise_none"),
        (case.inputs["wplus"], "const", "image_wplus"),
    ):
        mine = generator.synthesis(codes, noise=noise)[:, :, ::stride, ::stride]
        assert relative_error(mine, case.expected[image]) < TOLERANCE, image


# ------------------------------------------------------------------ behaviour
def test_a_batch_gives_what_its_pictures_give_one_by_one(small):
    w = torch.randn(3, small.num_ws, small.w_dim)  # one picture takes another path than several
    alone = torch.cat([small.synthesis(row[None]) for row in w])
    assert torch.allclose(small.synthesis(w), alone, atol=1e-5)


def test_noise_is_constant_absent_or_drawn(small):
    for block in small.synthesis.blocks:
        block.conv1.noise_strength.fill_(0.5)
    w = small.mapping(torch.randn(1, 8))
    const, none = small.synthesis(w), small.synthesis(w, noise="none")
    assert torch.equal(const, small.synthesis(w))
    assert not torch.allclose(const, none)
    torch.manual_seed(1)
    drawn = small.synthesis(w, noise="random")
    assert not torch.allclose(drawn, small.synthesis(w, noise="random"))
    torch.manual_seed(1)
    assert torch.equal(drawn, small.synthesis(w, noise="random"))


def test_a_smaller_picture_is_what_the_lower_blocks_sum_up(small):
    w, synthesis = small.mapping(torch.randn(2, 8)), small.synthesis
    assert synthesis.sizes == (4, 8, 16)
    assert torch.equal(synthesis(w, size=16), synthesis(w))
    last = synthesis.blocks[2].to_rgb
    last.weight.zero_()
    last.bias.zero_()  # the last block adds nothing
    assert torch.allclose(upsample(synthesis(w, size=8)), synthesis(w), atol=1e-6)
    with pytest.raises(InputError, match="no pictures of 12 pixels, but of 4, 8, 16"):
        synthesis(w, size=12)


def test_truncation_goes_to_the_mean(small):
    small.w_avg.normal_()
    z = torch.randn(2, 8)
    w = small.mapping(z)
    assert torch.equal(small.mapping(z, truncation=0.0), small.w_avg.expand(2, 6, 12))
    assert torch.allclose(small.mapping(z, truncation=0.5), (w + small.w_avg) / 2)


def test_conv_clamp_bounds_the_activations():
    torch.manual_seed(0)
    free = Generator(SMALL)
    clamped = Generator(StyleGAN2Config(**{**vars(SMALL), "conv_clamp": 0.1}))
    clamped.load_state_dict(free.state_dict())
    w = free.mapping(torch.randn(1, 8))
    assert clamped.synthesis(w).abs().max() < free.synthesis(w).abs().max()


def test_bfloat16_is_close_and_gives_float32():
    # in a process of its own, whose oneDNN may not use AMX: some virtual machines announce it and
    # then end the program with an illegal instruction
    code = """
import torch
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config
torch.manual_seed(0)
G = Generator(StyleGAN2Config(16, 8, 12, mapping_layers=2, channels=(8, 6, 4)))
with torch.no_grad():
    w = G.mapping(torch.randn(2, 8))
    half, full = G.synthesis(w, dtype=torch.bfloat16), G.synthesis(w)
print(half.dtype, float((half - full).norm() / full.norm()))
"""
    env = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    dtype, error = done.stdout.split()
    assert dtype == "torch.float32"
    assert 0 < float(error) < 0.05


def test_every_resolution_from_4_on_has_its_styles_and_size():
    for log2 in range(2, 8):
        config = StyleGAN2Config(2**log2, 4, 4, channel_base=256, channel_max=16)
        generator = Generator(config)
        w = torch.randn(1, 2 * log2 - 2, 4)
        assert generator.synthesis(w).shape == (1, 3, 2**log2, 2**log2)


# ------------------------------------------------------------------ fingerprints
def test_the_fingerprint_changes_with_any_weight_and_not_with_a_copy(small):
    before = small.fingerprint
    copy = Generator(SMALL)
    copy.load_state_dict(small.state_dict())
    assert copy.fingerprint == before
    small.synthesis.blocks[1].conv0.bias.add_(1e-3)
    assert small.fingerprint != before


def test_a_code_fits_its_generator_and_the_ones_tuned_from_it(small):
    code = Code(torch.zeros(1, 6, 12), "W", generator_id=small.fingerprint)
    tuned = Generator(SMALL).tuned_from(small)
    small.check_code(code)
    tuned.check_code(code)
    with pytest.raises(MismatchError, match="encode the picture again"):
        Generator(SMALL).check_code(code)


# ------------------------------------------------------------------ bad input
def test_wrong_inputs_are_named(small):
    conditional = Generator(StyleGAN2Config(**{**vars(SMALL), "c_dim": 3}))
    cases = [
        (lambda: StyleGAN2Config(resolution=48), "power of two"),
        (lambda: StyleGAN2Config(resolution=16, channels=(8,)), "give one for each"),
        (lambda: small.mapping(torch.zeros(1, 9)), r"\[batch, 8\]"),
        (lambda: small.mapping(torch.zeros(1, 8), torch.zeros(1, 3)), "leave the class c out"),
        (lambda: conditional.mapping(torch.zeros(1, 8)), "one-hot class vector"),
        (lambda: conditional.mapping(torch.zeros(1, 8), torch.zeros(1, 4)), r"\[1, 3\]"),
        (lambda: small.synthesis(torch.zeros(1, 12)), r"\[batch, 6, 12\]"),
        (lambda: small.synthesis(torch.zeros(1, 6, 12), noise="loud"), "const, random, none"),
    ]
    for call, message in cases:
        with pytest.raises(InputError, match=message):
            call()
    with pytest.raises(MismatchError, match="takes 6 of 12"):
        small.check_code(Code(torch.zeros(1, 10, 12), "W"))
