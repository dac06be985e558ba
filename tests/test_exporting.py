"""Generators and codes out again, in the layouts of other projects."""

from __future__ import annotations

import numpy as np
import pytest
import small_networks
import torch
from parity import load_case
from small_networks import code_of

from cycle_core.checkpoints.building import assemble
from cycle_core.checkpoints.exporting import (
    export_code,
    export_generator,
    nvidia_state,
    rosinality_state,
)
from cycle_core.checkpoints.latents import load_code
from cycle_core.checkpoints.native import save_model
from cycle_core.checkpoints.nvidia import from_nvidia
from cycle_core.checkpoints.registry import load_generator
from cycle_core.checkpoints.rosinality import from_rosinality
from cycle_core.checkpoints.stylegan3 import from_stylegan3
from cycle_core.cli import main
from cycle_core.directions.editing import edit
from cycle_core.directions.stylespace import style_channel
from cycle_core.errors import InputError
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config

G, seeded = small_networks.G, small_networks.seeded
LAYOUTS = {
    "rosinality_64": (from_rosinality, rosinality_state),
    "nvidia_64": (from_nvidia, nvidia_state),
    "nvidia_64_c10": (from_nvidia, nvidia_state),
    "stylegan3_t_64": (from_stylegan3, nvidia_state),
    "stylegan3_r_64": (from_stylegan3, nvidia_state),
}


def rebuilt(case: str) -> Generator:
    config, state = LAYOUTS[case][0](load_case(case).state_dict())
    return assemble(config, state, case)


@pytest.mark.parametrize("case", LAYOUTS)
def test_a_state_dict_comes_back_with_every_tensor_of_the_reference_project(case):
    reference, written = load_case(case).state_dict(), LAYOUTS[case][1](rebuilt(case))
    assert written.keys() == reference.keys()
    for name, tensor in reference.items():
        assert written[name].shape == tensor.shape, name
        assert torch.equal(written[name], tensor), name


def test_a_rosinality_file_opens_again_and_generates_the_same_picture(tmp_path):
    generator = rebuilt("rosinality_64")
    assert export_generator(generator, tmp_path / "g.pt") == "rosinality"
    again = load_generator(tmp_path / "g.pt")
    w = torch.randn(
        2, generator.num_ws, generator.w_dim, generator=torch.Generator().manual_seed(0)
    )
    assert torch.equal(again.synthesis(w), generator.synthesis(w))
    assert torch.equal(again.w_avg, generator.w_avg)
    content = torch.load(tmp_path / "g.pt", weights_only=True)
    assert content.keys() == {"g_ema", "latent_avg"}


def test_an_nvidia_file_is_a_bare_state_dict(tmp_path):
    generator = rebuilt("stylegan3_t_64")
    assert export_generator(generator, tmp_path / "g.pt") == "nvidia"
    state = torch.load(tmp_path / "g.pt", weights_only=True)
    config, ours = from_stylegan3(state)
    assert assemble(config, ours, "x").fingerprint == generator.fingerprint


@pytest.mark.parametrize("case", LAYOUTS)
def test_onnxruntime_generates_what_torch_does(case, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    generator = rebuilt(case)
    assert export_generator(generator, tmp_path / "g.onnx") == "onnx"
    session = runtime.InferenceSession(tmp_path / "g.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        w = torch.randn(
            batch, generator.num_ws, generator.w_dim, generator=torch.Generator().manual_seed(batch)
        )
        (image,) = session.run(None, {"w": w.numpy()})
        expected = generator.synthesis(w).numpy()
        assert image.shape == expected.shape
        assert np.abs(image - expected).max() < 1e-4


def test_codes_are_written_as_the_public_projects_keep_them(G, tmp_path):
    code = code_of(G, 2)
    export_code(code, tmp_path / "projected_w.npz")
    with np.load(tmp_path / "projected_w.npz") as file:
        assert file["w"].dtype == np.float32
        assert np.array_equal(file["w"], code.w.numpy())
    export_code(code, tmp_path / "latents.pt")
    assert torch.equal(torch.load(tmp_path / "latents.pt", weights_only=True), code.w)
    for name in ("projected_w.npz", "latents.pt"):
        again = load_code(tmp_path / name)
        assert torch.equal(again.w, code.w)
        assert again.space == "W"


def test_the_command_line_writes_each_layout_and_codes(G, tmp_path):
    out = str(tmp_path)
    save_model(tmp_path / "g.safetensors", "generator", G.config, G.state_dict())
    command = ["convert", f"{out}/g.safetensors", f"{out}/g.pt", "--layout", "nvidia", "--quiet"]
    assert main(command) == 0
    assert main(["convert", "portraits", f"{out}/p.onnx", "--quiet"]) == 0
    assert main(["convert", "portraits", f"{out}/p.pt", "--quiet"]) == 2
    assert main(["convert", "portraits", f"{out}/e.pt", "--kind", "encoder", "--quiet"]) == 2
    assert main(["sample", "--count", "2", "--out", out, "--device", "cpu", "--quiet"]) == 0
    assert main(["convert", f"{out}/codes.safetensors", f"{out}/w.npz", "--quiet"]) == 0
    assert load_code(tmp_path / "w.npz").batch == 2
    _, state = from_nvidia(torch.load(f"{out}/g.pt", weights_only=True))
    assert torch.equal(state["synthesis.const"], G.state_dict()["synthesis.const"])


@pytest.mark.parametrize("layout", ["rosinality", "nvidia"])
def test_another_learning_rate_of_the_mapping_is_put_into_the_weights(layout, tmp_path):
    config = StyleGAN2Config(
        resolution=16, z_dim=8, w_dim=8, mapping_layers=2, mapping_lr_multiplier=1.0,
        channels=(8, 8, 8),
    )  # fmt: skip
    generator = Generator(config).eval().requires_grad_(False)
    export_generator(generator, tmp_path / "g.pt", layout)
    z = torch.randn(2, 8)
    again = load_generator(tmp_path / "g.pt")
    assert torch.allclose(again.mapping(z), generator.mapping(z), atol=1e-5)


def test_a_tuned_generator_is_written_whole(seeded, G, tmp_path):
    from cycle_core.invert.settings import TuneSettings
    from cycle_core.invert.tune import tune
    from cycle_core.invert.tuned_files import save_tuned

    save_model(tmp_path / "g.safetensors", "generator", G.config, G.state_dict())
    code = code_of(G, 1)
    settings = TuneSettings(steps=2, threshold=0.0, lpips=0.0, locality=False)
    tuned = tune(G, code, torch.zeros(1, 3, 32, 32), settings)
    save_tuned(tuned, tmp_path / "tuned.safetensors")
    files = [str(tmp_path / "g.safetensors"), "--tuned", str(tmp_path / "tuned.safetensors")]
    for name in ("whole.safetensors", "whole.pt"):
        assert main(["convert", files[0], str(tmp_path / name), *files[1:], "--quiet"]) == 0
        again = load_generator(tmp_path / name)
        assert torch.allclose(again.synthesis(code.w), tuned.generator.synthesis(code.w), atol=1e-6)
        assert not torch.allclose(again.synthesis(code.w), G.synthesis(code.w), atol=1e-3)


def test_what_a_layout_cannot_hold_is_refused_and_nothing_is_written(G, tmp_path):
    portraits = load_generator("portraits")
    for layout in ("rosinality", "nvidia"):
        with pytest.raises(InputError, match="takes z as it is"):
            export_generator(portraits, tmp_path / "g.pt", layout)
    with pytest.raises(InputError, match="neither StyleGAN3 nor classes"):
        export_generator(rebuilt("stylegan3_t_64"), tmp_path / "g.pt", "rosinality")
    with pytest.raises(InputError, match=r"ends in \.onnx"):
        export_generator(G, tmp_path / "g.pt", "onnx")
    moved = edit(code_of(G, 1), style_channel(G, 0, 0), 1.0)
    with pytest.raises(InputError, match="edited in StyleSpace"):
        export_code(moved, tmp_path / "w.npz")
    with pytest.raises(InputError, match=r"end in \.npz or \.pt"):
        export_code(code_of(G, 1), tmp_path / "w.txt")
    detailed = load_generator("portraits")
    detailed.synthesis.add_detail(16)
    with pytest.raises(InputError, match="map of detail"):
        export_generator(detailed, tmp_path / "g.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_neither_generator_nor_codes_is_told(tmp_path, capsys):
    assert main(["convert", "no-such.pkl", str(tmp_path / "g.pt")]) == 2
    np.save(tmp_path / "smile.npy", np.ones((1, 512), np.float32))
    assert main(["convert", str(tmp_path / "smile.npy"), str(tmp_path / "g.pt")]) == 2
    assert "is a direction" in capsys.readouterr().err
