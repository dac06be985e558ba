"""A pair is one of the same weights, however its files were rounded; and what is used with another
generator on purpose says so."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import pytest
import torch
from layouts import nvidia_names, rosinality_names, write_nvidia

from cycle_core.checkpoints.latents import load_code, save_code
from cycle_core.checkpoints.native import save_model
from cycle_core.checkpoints.registry import load_generator
from cycle_core.cli import main
from cycle_core.codes import Code
from cycle_core.directions.direction import Direction
from cycle_core.errors import MismatchError
from cycle_core.invert.generate import generate
from cycle_core.invert.settings import TuneSettings
from cycle_core.invert.tune import tune
from cycle_core.invert.tuned_files import load_tuned, save_tuned
from cycle_core.models.fingerprints import same, short
from cycle_core.models.generator import Generator
from cycle_core.models.same_space import adopt
from cycle_core.models.stylegan2 import StyleGAN2Config

CONFIG = StyleGAN2Config(16, z_dim=8, w_dim=8, mapping_layers=2, channels=(8, 6, 4))


def random_generator(seed: int = 0, **changes: Any) -> Generator:
    torch.manual_seed(seed)
    config = dataclasses.replace(CONFIG, **changes)
    return Generator(config).eval().requires_grad_(False)


def changed(generator: Generator, change) -> Generator:
    other = Generator(generator.config).eval().requires_grad_(False)
    other.load_state_dict({k: change(k, v) for k, v in generator.state_dict().items()})
    return other


def code_of(generator: Generator, count: int = 1) -> Code:
    w = generator.mapping(torch.randn(count, 8))
    return Code(w, "W", generator.base_fingerprint)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_rounding_to_another_number_format_keeps_the_pair(dtype):
    G = random_generator()
    rounded = changed(G, lambda _, v: v.to(dtype).float())
    assert same(G.fingerprint, rounded.fingerprint)
    generate(rounded, code_of(G))


def test_what_does_not_move_the_space_keeps_the_pair():
    G = random_generator()
    moved = changed(G, lambda k, v: v + 1 if k.endswith(("w_avg", "noise_const")) else v)
    clamped = random_generator(conv_clamp=256.0)
    for other in (moved, clamped):
        assert short(other.fingerprint) != short(G.fingerprint)
        assert same(other.fingerprint, G.fingerprint)
        generate(other, code_of(G))


def test_other_weights_are_another_generator():
    G = random_generator()
    blended = changed(G, lambda k, v: torch.randn_like(v) if ".blocks.2." in k else v)
    tuned = changed(G, lambda _, v: v + 0.05 * torch.randn_like(v) if v.ndim > 1 else v)
    for other in (random_generator(1), blended, tuned):
        assert not same(other.fingerprint, G.fingerprint)
        with pytest.raises(MismatchError, match="`same_space`"):
            generate(other, code_of(G))


def test_fingerprints_of_before_are_compared_by_what_they_have():
    G = random_generator()
    assert same(short(G.fingerprint), G.fingerprint)
    assert not same(short(random_generator(1).fingerprint), G.fingerprint)
    for odd in ("", "x", "0" * 16 + "-zz", "0" * 16 + "-" + "g" * 64, "-" * 200):
        assert not same(odd, G.fingerprint)


def test_a_codes_file_keeps_the_pair(tmp_path):
    G = random_generator()
    torch.save({"g_ema": {k: v.half() for k, v in rosinality_names(G).items()}}, tmp_path / "h.pt")
    save_code(code_of(G), tmp_path / "code.safetensors")
    code = load_code(tmp_path / "code.safetensors")
    attributes = {"synthesis.b4.conv1": {"conv_clamp": 256}}
    path = write_nvidia(tmp_path / "net.pkl", nvidia_names(G), attributes)
    for file in (tmp_path / "h.pt", path):
        generate(load_generator(file), code)


def test_an_adopted_code_says_where_it_is_from(tmp_path, caplog):
    parent, child = random_generator(), random_generator(1)
    code = code_of(parent)
    with caplog.at_level(logging.WARNING):
        adopted = adopt(code, child)
    assert "as if their spaces were the same" in caplog.text
    generate(child, adopted)
    assert adopted.origin == parent.fingerprint
    save_code(adopted, tmp_path / "code.safetensors")
    assert load_code(tmp_path / "code.safetensors").origin == parent.fingerprint
    of_parent = Direction("x", torch.randn(8), generator_id=parent.fingerprint)
    of_parent.check(adopted)  # the parent's directions keep their meaning
    assert adopt(code, parent) is code


def test_a_tuned_generator_s_file_keeps_where_the_pivot_is_from(tmp_path):
    parent, child = random_generator(), random_generator(1)
    pivot = adopt(code_of(parent), child)
    settings = TuneSettings(steps=1, lpips=0.0, locality=False, threshold=0.0)
    tuned = tune(child, pivot, generate(child, pivot), settings)
    save_tuned(tuned, tmp_path / "tuned.safetensors")
    assert load_tuned(tmp_path / "tuned.safetensors", child).pivot.origin == parent.fingerprint


def test_another_shape_is_never_the_same_space():
    with pytest.raises(MismatchError, match="never the same"):
        adopt(code_of(random_generator()), random_generator(w_dim=12))


def test_same_space_on_the_command_line(tmp_path, capsys):
    parent, child = random_generator(), random_generator(1)
    save_model(tmp_path / "child.safetensors", "generator", CONFIG, child.state_dict())
    save_code(code_of(parent), tmp_path / "code.safetensors")
    command = ["generate", "code.safetensors", "--generator", "child.safetensors", "--out", "a.png"]
    command = [str(tmp_path / part) if "." in part else part for part in command]
    assert main([*command, "--device", "cpu"]) == 2
    assert "--same-space" in capsys.readouterr().err
    assert main([*command, "--device", "cpu", "--same-space"]) == 0
    assert (tmp_path / "a.png").is_file()
