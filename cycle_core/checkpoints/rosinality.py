"""Generators of rosinality's stylegan2-pytorch: `.pt` files with `g_ema`."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from ..generator import GeneratorConfig
from .ours import State, incomplete


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
