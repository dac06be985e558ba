"""StyleGAN2 generators of NVIDIA's PyTorch projects (stylegan2-ada-pytorch, stylegan3)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from ..generator import GeneratorConfig
from .ours import State, incomplete


def from_nvidia(
    state: Mapping[str, Tensor], conv_clamp: float | None = None
) -> tuple[GeneratorConfig, State]:
    """Translate the state dict of NVIDIA's PyTorch StyleGAN2 `G_ema`: (configuration, our state).

    Raises CheckpointError where tensors are missing."""
    try:
        layers = sum(1 for key in state if key.startswith("mapping.fc") and _last(key, "weight"))
        sizes = sorted(int(key.split(".")[1][1:]) for key in state if key.endswith(".torgb.weight"))
        embed = state.get("mapping.embed.weight")
        w_dim = state["mapping.w_avg"].shape[0]
        config = GeneratorConfig(
            resolution=sizes[-1],
            z_dim=state["mapping.fc0.weight"].shape[1] - (0 if embed is None else w_dim),
            w_dim=w_dim,
            c_dim=0 if embed is None else embed.shape[1],
            mapping_layers=layers,
            channels=tuple(state[f"synthesis.b{r}.torgb.weight"].shape[1] for r in sizes),
            conv_clamp=conv_clamp,
        )
        out: State = {
            "mapping.w_avg": state["mapping.w_avg"],
            "synthesis.const": state["synthesis.b4.const"],
        }
        pairs = {f"mapping.fc{i}": f"mapping.layers.{i}" for i in range(layers)}
        if embed is not None:
            pairs["mapping.embed"] = "mapping.embed"
        for theirs, ours in pairs.items():
            for part in ("weight", "bias"):
                out[f"{ours}.{part}"] = state[f"{theirs}.{part}"]
        for r in sizes:
            block = int(math.log2(r)) - 2
            for theirs, ours in (("conv0", "conv0"), ("conv1", "conv1"), ("torgb", "to_rgb")):
                if theirs == "conv0" and r == 4:
                    continue
                parts = ["weight", "bias", "affine.weight", "affine.bias"]
                parts += [] if theirs == "torgb" else ["noise_strength", "noise_const"]
                for part in parts:
                    key = f"synthesis.b{r}.{theirs}.{part}"
                    out[f"synthesis.blocks.{block}.{ours}.{part}"] = state[key]
    except (KeyError, IndexError, ValueError) as error:
        raise incomplete("NVIDIA", error) from error
    return config, out


def _last(key: str, part: str) -> bool:
    return key.rsplit(".", 1)[-1] == part
