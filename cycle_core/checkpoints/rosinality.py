"""Generators of rosinality's stylegan2-pytorch: `.pt` files with `g_ema`, and the `decoder` of the
encoders that were trained with it (pSp, e4e, ReStyle, Cycle Encoding)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..models.generator import Generator
from ..models.stylegan2 import GeneratorConfig
from .building import State, assemble, incomplete
from .reading import Contents, load_tensors
from .registry import Format

MEAN_SAMPLES = 10_000  # z that are mapped for the mean of w where a file does not hold it


def from_rosinality(
    state: Mapping[str, Tensor], latent_avg: Tensor | None = None
) -> tuple[GeneratorConfig, State]:
    """Translate the `g_ema` of rosinality's stylegan2-pytorch: (configuration, our state).

    latent_avg: [w_dim] or [N, w_dim]; zero if None (the caller computes it from mapped z).
    Raises CheckpointError where tensors are missing."""
    try:
        layers = sum(1 for key in state if key.startswith("style.") and key.endswith(".weight"))
        blocks = 1 + sum(1 for key in state if re.fullmatch(r"to_rgbs\.\d+\.bias", key))
        convs = ["conv1"] + [f"convs.{2 * j + 1}" for j in range(blocks - 1)]
        config = GeneratorConfig(
            resolution=2 ** (blocks + 1),
            z_dim=state["style.1.weight"].shape[1],
            w_dim=state["style.1.weight"].shape[0],
            mapping_layers=layers,
            channels=tuple(state[f"{c}.conv.weight"].shape[1] for c in convs),
        )
        out: State = {"synthesis.const": state["input.input"][0]}
        for i in range(layers):
            for part in ("weight", "bias"):
                out[f"mapping.layers.{i}.{part}"] = state[f"style.{i + 1}.{part}"]
        average = torch.zeros(config.w_dim) if latent_avg is None else latent_avg
        out["mapping.w_avg"] = average if average.ndim == 1 else average[0]
        for b in range(blocks):
            names = {"conv1": (convs[b], 2 * b), "to_rgb": (f"to_rgbs.{b - 1}", None)}
            if b:
                names["conv0"] = (f"convs.{2 * (b - 1)}", 2 * b - 1)
            else:
                names["to_rgb"] = ("to_rgb1", None)
            for ours, (theirs, noise) in names.items():
                to = f"synthesis.blocks.{b}.{ours}"
                out[f"{to}.weight"] = state[f"{theirs}.conv.weight"][0]
                out[f"{to}.affine.weight"] = state[f"{theirs}.conv.modulation.weight"]
                out[f"{to}.affine.bias"] = state[f"{theirs}.conv.modulation.bias"]
                if noise is None:
                    out[f"{to}.bias"] = state[f"{theirs}.bias"].reshape(3)
                else:
                    out[f"{to}.bias"] = state[f"{theirs}.activate.bias"]
                    out[f"{to}.noise_strength"] = state[f"{theirs}.noise.weight"].reshape([])
                    size = 2 ** (b + 2)
                    out[f"{to}.noise_const"] = state[f"noises.noise_{noise}"].reshape(size, size)
    except KeyError as error:
        raise incomplete("rosinality", error) from error
    return config, out


# ------------------------------------------------------------------ files
def load_decoder(
    values: Mapping[str, Any], latent_avg: Any, source: str | Path, prefix: str = ""
) -> Generator:
    """The generator of a state dict that is still in its file.

    values: names begin with `prefix`. latent_avg: a StoredTensor [w_dim] or [N, w_dim], or None:
    then the mean of w is computed from 10,000 z of a fixed seed."""
    average = load_tensors({"latent_avg": latent_avg}).get("latent_avg")
    if average is not None:
        average = average.reshape(-1, average.shape[-1])
    config, state = from_rosinality(load_tensors(values, prefix), average)
    generator = assemble(config, state, source)
    if average is None:
        _measure_mean(generator)
    return generator


@torch.no_grad()
def _measure_mean(generator: Generator) -> None:
    random = torch.Generator().manual_seed(0)
    total, size = torch.zeros(generator.w_dim), 100  # few enough for little memory
    for _ in range(MEAN_SAMPLES // size):
        z = torch.randn(size, generator.config.z_dim, generator=random)
        total += generator.mapping(z)[:, 0].sum(0)
    generator.w_avg.copy_(total / MEAN_SAMPLES)


def _state(contents: Contents) -> dict[Any, Any]:
    data = contents.data
    if not isinstance(data, dict):
        return {}
    for name in ("g_ema", "g"):
        if isinstance(data.get(name), dict):
            return data[name]
    return data


def _is_generator(names: Any, prefix: str = "") -> bool:
    return all(
        f"{prefix}{name}" in names
        for name in ("style.1.weight", "input.input", "conv1.conv.weight")
    )


def _decoder_state(contents: Contents) -> dict[Any, Any]:
    state = contents.data.get("state_dict") if isinstance(contents.data, dict) else None
    return state if isinstance(state, dict) else {}


def _load(contents: Contents) -> Generator:
    return load_decoder(_state(contents), contents.data.get("latent_avg"), contents.path)


def _load_decoder(contents: Contents) -> Generator:
    average = contents.data.get("latent_avg")
    return load_decoder(_decoder_state(contents), average, contents.path, "decoder.")


FORMATS = (
    Format(
        "rosinality StyleGAN2", "generator", lambda contents: _is_generator(_state(contents)), _load
    ),
    Format(
        "the decoder in a pSp, e4e, ReStyle or Cycle Encoding checkpoint",
        "generator",
        lambda contents: _is_generator(_decoder_state(contents), "decoder."),
        _load_decoder,
    ),
)
