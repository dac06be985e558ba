"""Whole files of every layout, small ones, and damaged copies of them."""

from __future__ import annotations

import dataclasses
import json
import pickle
import random
from argparse import Namespace
from pathlib import Path

import numpy as np
import torch
from layouts import (
    nvidia_names,
    rosinality_names,
    tensorflow_network,
    write_nvidia,
    write_pti,
    write_tensorflow,
)
from safetensors.torch import save

from cycle_core.models.encoder import Encoder, EncoderConfig
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config
from cycle_core.models.stylegan3 import StyleGAN3Config

from .pictures import write_pictures

CONFIG = StyleGAN2Config(8, z_dim=4, w_dim=6, mapping_layers=2, channels=(4, 3))


STYLEGAN3 = StyleGAN3Config(
    resolution=16, z_dim=4, w_dim=6, channels=(4, 3, 3), num_layers=3, num_critical=1
)


def small_generator(config: StyleGAN2Config | StyleGAN3Config = CONFIG) -> Generator:
    torch.manual_seed(0)
    return Generator(config).eval().requires_grad_(False)


def models() -> dict[str, tuple[dict[str, torch.Tensor], dict[str, str]]]:
    """Small ones of every kind in our layout: (tensors, metadata)."""
    generator = small_generator()
    settings = EncoderConfig(
        num_ws=4, w_dim=6, input_size=32, widths=(2, 2, 3, 4, 5), units=(1, 1, 1, 1), reduction=1,
        head_width=2, coarse=1, middle=2,
    )  # fmt: skip
    described = {
        "name": "smile", "layers": None, "range": None, "curve": [], "unit": "sd", "bias": 0.0,
        "generator": "", "meaning": "",
    }  # fmt: skip
    code = {"space": "W+", "generator": generator.fingerprint, "stage": None}
    tuned = {
        "original": generator.fingerprint,
        "difference": False,
        "history": [{"total": 0.5}],
        "best": 0,
    }
    pivot = {"pivot.w": torch.randn(1, 4, 6)}
    made = {
        "generator": (generator.state_dict(), dataclasses.asdict(CONFIG)),
        "encoder": (Encoder(settings).state_dict(), dataclasses.asdict(settings)),
        "code": ({"w": torch.randn(1, 4, 6)}, code),
        "direction": ({"0.vectors": torch.randn(6)}, {"directions": [described]}),
        "delta": (pivot | dict(generator.synthesis.named_parameters()), code | tuned),
    }
    return {
        kind: (state, {"kind": kind, "config": json.dumps(config)})
        for kind, (state, config) in made.items()
    }


def write_samples(folder: Path) -> dict[Path, str]:
    """Whole files of every layout, and the function that opens each."""
    folder.mkdir(parents=True)
    generator = small_generator()
    samples: dict[Path, str] = {}
    for kind, (state, metadata) in models().items():
        path = folder / f"our {kind}.safetensors"
        path.write_bytes(save(state, metadata))
        samples[path] = "load_tuned" if kind == "delta" else f"load_{kind}"

    def keep(name: str, function: str) -> Path:
        samples[folder / name] = function
        return folder / name

    state = nvidia_names(generator)
    for protocol in range(6):
        write_nvidia(keep(f"nvidia {protocol}.pkl", "load_generator"), state, protocol=protocol)
    write_pti(keep("pti.pt", "load_generator"), state)
    state = small_generator(STYLEGAN3).state_dict()
    metadata = {"kind": "generator", "config": json.dumps(dataclasses.asdict(STYLEGAN3))}
    keep("our stylegan3.safetensors", "load_generator").write_bytes(save(state, metadata))
    names = {
        f"synthesis.layers.{i}": f"synthesis.L{i}_{signal.size}_{signal.channels}"
        for i, signal in enumerate(STYLEGAN3.signals)
    }
    names |= {f"mapping.layers.{i}": f"mapping.fc{i}" for i in range(STYLEGAN3.mapping_layers)}
    for ours, theirs in names.items():
        state = {
            f"{theirs}{name[len(ours) :]}" if name.startswith(f"{ours}.") else name: tensor
            for name, tensor in state.items()
        }
    attributes = {"synthesis": {"_init_kwargs": {"num_critical": 1}}}
    write_nvidia(keep("stylegan3.pkl", "load_generator"), state, attributes)
    for protocol in (2, 4):
        path = keep(f"tensorflow {protocol}.pkl", "load_generator")
        write_tensorflow(path, tensorflow_network(generator), protocol)
    decoder, average = rosinality_names(generator), torch.zeros(6)
    checkpoint = {"g_ema": decoder, "latent_avg": average, "args": Namespace(n_mlp=2)}
    torch.save(checkpoint, keep("rosinality.pt", "load_generator"))
    torch.save(
        checkpoint,
        keep("rosinality legacy.pt", "load_generator"),
        _use_new_zipfile_serialization=False,
    )
    encoder = models()["encoder"][0]
    del encoder["w_avg"]
    checkpoint = {
        "state_dict": {f"encoder.{name}": tensor for name, tensor in encoder.items()},
        "opts": {"encoder_type": "Encoder4Editing", "progressive_steps": [0, 1]},
        "latent_avg": average,
    }
    torch.save(checkpoint, keep("e4e.pt", "load_encoder"))
    vector = torch.randn(1, 512)
    torch.save(vector, keep("boundary.pt", "load_direction"))
    torch.save(vector, keep("legacy.pt", "load_direction"), _use_new_zipfile_serialization=False)
    np.save(keep("boundary.npy", "load_direction"), vector.numpy())
    parts = {"mean": np.zeros((1, 6)), "comp": np.eye(6)[:1, None], "std": np.ones(1)}
    keep("ganspace.pt", "load_direction").write_bytes(pickle.dumps(parts, 2))
    np.savez_compressed(
        keep("ganspace.npz", "load_direction"),
        allow_pickle=True,
        **{f"lat_{name}": value for name, value in (*parts.items(), ("stdev", np.ones(1)))},
        **{f"act_{name}": value for name, value in (*parts.items(), ("stdev", np.ones(1)))},
    )
    torch.save({"eigvec": torch.eye(6)[:, :1]}, keep("sefa.pt", "load_direction"))
    statistics = [[np.ones(6, np.float32) for _ in range(3)] for _ in range(2)]
    keep("S_mean_std", "load_style_deviations").write_bytes(pickle.dumps(statistics))
    torch.save(torch.randn(1, 18, 512), keep("pivot.pt", "load_code"))
    np.savez(keep("projected_w.npz", "load_code"), w=np.ones((1, 18, 512), np.float32))
    write_pictures(keep)
    return samples


def write_mutations(samples: dict[Path, str], folder: Path, count: int, seed: int = 0) -> None:
    """`count` damaged copies: bits, bytes and whole parts changed, cut, moved, repeated."""
    rng = random.Random(seed)
    originals = [(path, path.read_bytes()) for path in samples]
    for i in range(count):
        path, content = originals[i % len(originals)]
        damaged = _damaged(bytearray(content), rng)
        target = folder / samples[path] / f"{i} {path.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(damaged)


def _damaged(content: bytearray, rng: random.Random) -> bytes:
    def place() -> int:
        """Headers and directories, at the ends, are hit more often than numbers."""
        reach = len(content) if rng.random() < 0.5 else min(len(content), 2000)
        at = rng.randrange(reach)
        return at if rng.random() < 0.7 else len(content) - 1 - at

    kind = rng.randrange(8)
    if kind == 0:
        del content[place() :]
    elif kind == 1:
        at = place()
        del content[at : at + rng.choice((1, 2, 4, 8, 100))]
    elif kind == 2:
        at = place()
        content[at:at] = rng.randbytes(rng.choice((1, 2, 4, 8, 100)))
    elif kind == 3:
        at, source = place(), place()
        content[at:at] = content[source : source + rng.choice((4, 50, 500))]
    elif kind == 4:
        at, size = place(), rng.choice((1, 2, 4, 8))
        part = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * size
        content[at : at + size] = part
    else:
        for _ in range(rng.choice((1, 1, 2, 10, 100))):
            content[place()] ^= 1 << rng.randrange(8)
    return bytes(content)
