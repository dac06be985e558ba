"""Generators and codes as people have them: under wrappers, from toolboxes, without what a file may
lack, of other shapes. Nothing that is whole is called damaged."""

from __future__ import annotations

import argparse
import pickle
import types
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
from layouts import nvidia_names, rosinality_names, tensorflow_network, write_nvidia
from layouts import write_tensorflow as write_tf
from PIL import Image
from safetensors.torch import save_file

from cycle_core.checkpoints.inspecting import inspect
from cycle_core.checkpoints.latents import load_code
from cycle_core.checkpoints.registry import load_encoder, load_generator
from cycle_core.cli import main
from cycle_core.errors import CheckpointError, InputError
from cycle_core.images.io import as_rgb
from cycle_core.invert.checks import check_photos
from cycle_core.invert.generate import generate
from cycle_core.invert.sampling import sample
from cycle_core.models.encoder import Encoder, EncoderConfig
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config

W = 8


def make(**changes: Any) -> Generator:
    torch.manual_seed(0)
    values: dict[str, Any] = {
        "resolution": 16,
        "z_dim": W,
        "w_dim": W,
        "mapping_layers": 2,
        "channels": (8, 6, 4),
    }
    generator = Generator(StyleGAN2Config(**(values | changes))).eval().requires_grad_(False)
    for tensor in generator.state_dict().values():
        tensor.add_(0.1 * torch.randn_like(tensor))
    return generator


@pytest.fixture
def G():
    return make()


@pytest.fixture
def ros(G):
    return rosinality_names(G)


def opens(path: Path, G: Generator) -> bool:
    return load_generator(path).fingerprint[17:] == G.fingerprint[17:]


# ------------------------------------------------------------------ wrappers
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "netG.", "x.y."])
@pytest.mark.parametrize("keys", [(), ("g_ema",), ("ema",), ("model", "generator"), ("gen",)])
def test_state_dicts_under_any_prefix_and_key(prefix, keys, ros, G, tmp_path):
    content = {prefix + name: tensor for name, tensor in ros.items()}
    for key in reversed(keys):
        content = {key: content}
    torch.save(content, tmp_path / "net.pt")
    assert opens(tmp_path / "net.pt", G)


def test_the_average_of_the_weights_is_taken_before_the_last_ones(ros, G, tmp_path):
    last = {k: torch.randn_like(v) for k, v in ros.items()}
    for content in (
        {"params": last, "params_ema": ros},
        {"state_dict": {f"generator.{k}": v for k, v in last.items()}
         | {f"generator_ema.{k}": v for k, v in ros.items()}},
        {"discriminator": {"input.input": torch.zeros(1)}, "g": last, "g_ema": ros},
    ):  # fmt: skip
        torch.save(content, tmp_path / "net.pt")
        assert opens(tmp_path / "net.pt", G)


def test_submodules_that_were_wrapped_each(G, tmp_path):
    state = {k.replace("mapping.", "mapping.module."): v for k, v in nvidia_names(G).items()}
    torch.save({"G_ema": state}, tmp_path / "net.pt")
    assert opens(tmp_path / "net.pt", G)


@pytest.mark.parametrize("left_out", [(), ("noise_const",), ("noise_const", "w_avg")])
def test_nvidia_state_dicts(left_out, G, tmp_path):
    state = {k: v for k, v in nvidia_names(G).items() if not k.endswith(left_out or "-")}
    save_file(state, tmp_path / "net.safetensors")
    torch.save({"G": state}, tmp_path / "net.bin")
    for name in ("net.safetensors", "net.bin"):
        assert opens(tmp_path / name, G)
    notes = inspect(tmp_path / "net.bin")["holds"][0].get("notes", [])
    assert len(notes) == len(left_out)


def test_a_stit_checkpoint_is_a_generator_and_codes(G, tmp_path):
    write_nvidia(tmp_path / "net.pkl", nvidia_names(G))
    # as its torch.save has it, but for the container
    content = (tmp_path / "net.pkl").read_bytes().replace(b"\x8c\x05G_ema", b"\x8c\x09generator")
    (tmp_path / "stit.pt").write_bytes(content)
    assert opens(tmp_path / "stit.pt", G)
    torch.save({"pivots": torch.randn(3, 6, W), "quads": np.zeros((3, 4, 2))}, tmp_path / "p.pt")
    assert load_code(tmp_path / "p.pt").batch == 3


# ------------------------------------------------------------------ toolboxes
def basicsr(ros):
    out = {}
    for name, tensor in ros.items():
        name = name.replace("style.", "style_mlp.").replace("input.input", "constant_input.weight")
        name = name.replace("noises.noise_", "noises.noise")
        if name.startswith("conv"):
            name = f"style_{name}".replace(".noise.weight", ".weight")
        out[name.replace(".conv.", ".modulated_conv.")] = tensor
    return out


def mmgeneration(ros):
    out = {}
    for name, tensor in ros.items():
        if name.startswith("to_rgb") and name.endswith((".bias", "conv.weight")):
            tensor = tensor.flip(1) if "modulation" not in name else tensor  # BGR
        name = name.replace("input.input", "constant_input.input")
        name = name.replace("noises.noise_", "injected_noise_")
        if name.startswith("style."):
            name = f"style_mapping.{name[6:]}".replace(".weight", ".linear.weight_orig")
        name = name.replace(".conv.weight", ".conv.weight_orig")
        name = name.replace(".modulation.weight", ".style_modulation.linear.weight_orig")
        name = name.replace(".modulation.bias", ".style_modulation.bias")
        out[name.replace(".noise.weight", ".noise_injector.weight")] = tensor
    return out


def genforce(G):
    out = {"truncation.w_avg": G.w_avg}
    for name, tensor in G.state_dict().items():
        parts = name.split(".")
        if parts[:2] == ["mapping", "layers"]:
            out[f"mapping.dense{parts[2]}.{parts[3]}"] = tensor
        elif name == "synthesis.const":
            out["synthesis.early_layer.const"] = tensor[None]
        elif name.startswith("synthesis.blocks."):
            block, layer, rest = int(parts[2]), parts[3], ".".join(parts[4:])
            number = {"conv0": f"layer{2 * block - 1}", "conv1": f"layer{2 * block}"}
            at = f"synthesis.{number.get(layer, f'output{block}')}"
            if rest == "noise_const":
                out[f"{at}.noise"] = tensor[None, None]
            elif rest == "affine.bias":
                out[f"{at}.style.bias"] = tensor - 1
            elif rest == "weight" and layer == "conv0":
                out[f"{at}.weight"] = tensor.flip(2, 3)
            else:
                out[f"{at}.{rest.replace('affine', 'style')}"] = tensor
    return out


def test_toolboxes_open_by_name_and_render_the_same(G, ros, tmp_path):
    files = {
        "BasicSR StyleGAN2": {"params_ema": basicsr(ros)},
        "MMGeneration StyleGAN2": {
            "state_dict": {f"generator_ema.{k}": v for k, v in mmgeneration(ros).items()}
        },
        "genforce StyleGAN2": {"generator_smooth": genforce(G)},
    }
    w = torch.randn(1, G.num_ws, W)
    for name, content in files.items():
        torch.save(content, tmp_path / "net.pt")
        assert inspect(tmp_path / "net.pt")["holds"][0]["format"] == name
        image = load_generator(tmp_path / "net.pt").synthesis(w)
        assert torch.allclose(image, G.synthesis(w), atol=1e-4)


def test_lucidrains_and_gfpgan_are_named(ros, tmp_path):
    names = ("GAN.G.blocks.0.to_style1.weight", "GAN.G.blocks.0.to_noise1.weight")
    torch.save({"GAN": {n.removeprefix("GAN."): torch.zeros(1) for n in names}}, tmp_path / "l.pt")
    with pytest.raises(CheckpointError, match="lucidrains"):
        load_generator(tmp_path / "l.pt")
    decoder = {f"stylegan_decoder.{k}": v for k, v in basicsr(ros).items()}
    torch.save({"params_ema": decoder}, tmp_path / "g.pt")
    with pytest.raises(CheckpointError, match="GFPGAN"):
        load_generator(tmp_path / "g.pt")


# ------------------------------------------------------------------ other shapes
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_grey_and_rgba_generators_work_in_every_layout(channels, tmp_path):
    G = make(img_channels=channels)
    torch.save({"g_ema": rosinality_names(G)}, tmp_path / "ros.pt")
    write_nvidia(tmp_path / "net.pkl", nvidia_names(G), {"": {"img_channels": channels}})
    write_tf(tmp_path / "tf.pkl", tensorflow_network(G))
    for name in ("ros.pt", "net.pkl", "tf.pkl"):
        loaded = load_generator(tmp_path / name)
        image = generate(loaded, sample(loaded, 2))
        assert image.shape == (2, channels, 16, 16)
        assert as_rgb(image).shape == (2, 3, 16, 16)
        with pytest.raises(InputError, match="square RGB"):
            check_photos(loaded)
    path = tmp_path / "ros.pt"
    out = tmp_path / "out"
    assert main(["sample", "--count", "2", "--generator", str(path), "--out", str(out)]) == 0
    mode = {1: "L", 2: "LA", 4: "RGBA"}[channels]
    assert Image.open(out / "sample-0000.png").mode == mode


@pytest.mark.parametrize("const", [(8, 4), (4, 2), (3, 5)])
def test_oblong_generators_work(const, tmp_path):
    G = make(const_size=const)
    torch.save({"g_ema": rosinality_names(G)}, tmp_path / "ros.pt")
    write_nvidia(tmp_path / "net.pkl", nvidia_names(G))
    for name in ("ros.pt", "net.pkl"):
        loaded = load_generator(tmp_path / name)
        height, width = 4 * const[0], 4 * const[1]
        assert generate(loaded, sample(loaded, 1)).shape == (1, 3, height, width)
        assert inspect(tmp_path / name)["holds"][0]["picture"] == f"{width} x {height}"


_EARLY = ("synthesis.b4.torgb.", "synthesis.b8.torgb.")


def test_what_is_whole_and_not_supported_is_not_called_damaged(G, ros, tmp_path):
    resnet = nvidia_names(G) | {"synthesis.b8.skip.weight": torch.zeros(6, 8, 1, 1)}
    original = {k: v for k, v in nvidia_names(G).items() if k[:19] not in _EARLY}
    torch.save(resnet, tmp_path / "resnet.pt")
    torch.save(original, tmp_path / "orig.pt")
    torch.save({"g_ema": ros}, tmp_path / "gen.pt")
    many = make(img_channels=4)
    wide = {k: torch.cat([v, v]) if "torgb" in k and "affine" not in k else v
            for k, v in nvidia_names(many).items()}  # fmt: skip
    torch.save(wide, tmp_path / "eight.pt")
    with zipfile.ZipFile(tmp_path / "gen.pt") as archive:
        archive.extractall(tmp_path / "unpacked")
    for path, word in {
        tmp_path / "resnet.pt": "resnet",
        tmp_path / "orig.pt": "orig",
        tmp_path / "eight.pt": "8 channels",
        next((tmp_path / "unpacked").glob("*/data.pkl")): "unpacked",
    }.items():
        with pytest.raises(CheckpointError, match=word) as caught:
            load_generator(path)
        assert "damaged" not in str(caught.value)
        assert "get it again" not in str(caught.value)


# ------------------------------------------------------------------ classes
def test_a_conditional_export_without_its_classes_is_refused(tmp_path):
    G = make(z_dim=2 * W)
    torch.save({"g_ema": rosinality_names(G)}, tmp_path / "ros.pt")
    torch.save(nvidia_names(G), tmp_path / "nvidia.pt")
    for name in ("ros.pt", "nvidia.pt"):
        with pytest.raises(CheckpointError, match=r"class-conditional .* \.pkl"):
            load_generator(tmp_path / name)


def test_a_class_is_chosen_on_the_command_line(tmp_path, capsys):
    G = make(c_dim=3)
    torch.save(nvidia_names(G), tmp_path / "net.pt")
    command = ["sample", "--count", "1", "--generator", str(tmp_path / "net.pt"), "--out"]
    for label in ("0", "2"):
        assert main([*command, str(tmp_path / label), "--class", label, "--seed", "1"]) == 0
    codes = [load_code(tmp_path / label / "codes.safetensors").w for label in ("0", "2")]
    assert not torch.equal(*codes)
    assert main([*command, str(tmp_path / "x"), "--class", "3"]) == 2
    assert "no class 3" in capsys.readouterr().err


# ------------------------------------------------------------------ plain data, codes
class _Dict(dict):
    __getattr__ = dict.__getitem__


_Dict.__module__, _Dict.__qualname__ = "easydict", "EasyDict"


class _Newer(PurePosixPath):
    def __reduce__(self):
        return _Newer, tuple(self.parts)


_Newer.__module__, _Newer.__qualname__ = "pathlib._local", "PosixPath"


def test_options_of_any_kind_are_data(ros, G, tmp_path, monkeypatch):
    import sys

    for cls in (_Dict, _Newer):
        module = types.ModuleType(cls.__module__)
        setattr(module, cls.__qualname__, cls)
        monkeypatch.setitem(sys.modules, cls.__module__, module)
    options = [
        argparse.Namespace(a=1),
        types.SimpleNamespace(a=1, b=Path("x")),
        _Dict(a=1),
        _Newer("/a/b"),
        Path("/a"),
    ]
    for protocol in (2, 4, 5):
        torch.save({"g_ema": ros, "args": options}, tmp_path / "net.pt", pickle_protocol=protocol)
        assert opens(tmp_path / "net.pt", G)


def test_codes_are_told_by_content(tmp_path):
    w = torch.randn(2, 6, W)
    one = {"img": torch.zeros(3, 4, 4), "latent": w[0], "noise": [torch.zeros(1, 1, 4, 4)]}
    torch.save({"a.png": one, "b.png": {**one, "latent": w[1]}}, tmp_path / "projector.pt")
    torch.save(w, tmp_path / "UPPER.PT")
    torch.save({"a": w[:1], "b": w[1:]}, tmp_path / "codes.bin")
    tables: Any = np  # which saves a dict as an array of objects
    tables.save(tmp_path / "hyperstyle.npy", {"a": w[0].numpy(), "b": w[1].numpy()})
    tables.save(
        tmp_path / "restyle.npy", {"a": [w[1].numpy(), w[0].numpy()], "b": [w[1].numpy()] * 2}
    )
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(w.numpy()))
    save_file({"latents": w}, tmp_path / "foreign.safetensors")
    for path in sorted(tmp_path.iterdir()):
        assert torch.equal(load_code(path).w, w), path.name
        assert inspect(path)["holds"][0]["kind"] == "code", path.name


# ------------------------------------------------------------------ encoders
@pytest.fixture
def encoder_file(tmp_path):
    torch.manual_seed(0)
    config = EncoderConfig(
        num_ws=6, w_dim=W, input_size=32, widths=(4, 4, 6, 8, 12), units=(1, 1, 1, 1), reduction=2,
        head_width=5, coarse=2, middle=4,
    )  # fmt: skip
    state = Encoder(config).state_dict()
    del state["w_avg"]

    def save(**entries: object) -> Path:
        content = {"state_dict": {f"encoder.{k}": v for k, v in state.items()}, **entries}
        torch.save(content, tmp_path / "encoder.pt")
        return tmp_path / "encoder.pt"

    return save


def test_inspect_says_what_an_encoder_lacks(encoder_file, G):
    opts = {"encoder_type": "Encoder4Editing"}
    assert "--architecture" in inspect(encoder_file())["holds"][0]["missing"]
    path = encoder_file(opts=opts)
    assert "--generator" in inspect(path)["holds"][0]["missing"]
    assert torch.equal(load_encoder(path, generator=G).w_avg[0], G.w_avg)
    assert not load_encoder(encoder_file(), generator=G, architecture="psp").config.deltas


def test_a_hyperstyle_checkpoint_is_named(ros, G, tmp_path):
    state = {"hypernet.input_layer.0.weight": torch.zeros(1)}
    state |= {f"decoder.{k}": v for k, v in ros.items()}
    torch.save({"state_dict": state, "latent_avg": G.w_avg}, tmp_path / "hyper.pt")
    assert "HyperStyle" in inspect(tmp_path / "hyper.pt")["holds"][0]["format"]
    assert opens(tmp_path / "hyper.pt", G)
    with pytest.raises(CheckpointError, match=r"HyperStyle .*, but an encoder is needed"):
        load_encoder(tmp_path / "hyper.pt")
