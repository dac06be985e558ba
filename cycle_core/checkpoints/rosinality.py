"""Generators of rosinality's stylegan2-pytorch: `.pt` files with `g_ema`, and the `decoder` of the
encoders that were trained with it (pSp, e4e, ReStyle, Cycle Encoding)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..models.generator import Generator
from ..models.stylegan2 import StyleGAN2Config
from .building import assemble_published, stylegan2_config, stylegan2_layers, translating
from .lazy_tensors import StoredTensor
from .native import State
from .reading import Contents, Format, load_tensors
from .state_dicts import StateDict, beside, generator_format

NAMES = ("style.1.weight", "input.input", "conv1.conv.weight")


def from_rosinality(
    state: Mapping[str, Tensor], latent_avg: Tensor | None = None
) -> tuple[StyleGAN2Config, State]:
    """Translate the `g_ema` of rosinality's stylegan2-pytorch: (configuration, our state).

    latent_avg: [w_dim] or [N, w_dim]. Without it the mean of w is missing in the state, and without
    noise maps in the file they are, too: `assemble` makes them.
    Raises CheckpointError where other tensors are missing."""
    with translating("rosinality"):
        layers = sum(1 for key in state if re.fullmatch(r"style\.\d+\.weight", key))
        blocks = 1 + sum(1 for key in state if re.fullmatch(r"to_rgbs\.\d+\.bias", key))
        out: State = {"synthesis.const": state["input.input"][0]}
        for i in range(layers):
            for part in ("weight", "bias"):
                out[f"mapping.layers.{i}.{part}"] = state[f"style.{i + 1}.{part}"]
        if latent_avg is not None:
            out["mapping.w_avg"] = latent_avg if latent_avg.ndim == 1 else latent_avg[0]
        for b, native, number in stylegan2_layers(blocks):
            source, to = layer_name(b, number), f"synthesis.blocks.{b}.{native}"
            out[f"{to}.weight"] = state[f"{source}.conv.weight"][0]
            out[f"{to}.affine.weight"] = state[f"{source}.conv.modulation.weight"]
            out[f"{to}.affine.bias"] = state[f"{source}.conv.modulation.bias"]
            if number is None:
                out[f"{to}.bias"] = state[f"{source}.bias"].flatten()
                continue
            out[f"{to}.bias"] = state[f"{source}.activate.bias"]
            out[f"{to}.noise_strength"] = state[f"{source}.noise.weight"].reshape([])
            if f"noises.noise_{number}" in state:
                out[f"{to}.noise_const"] = state[f"noises.noise_{number}"][0, 0]
        return stylegan2_config(out), out


def layer_name(block: int, number: int | None) -> str:
    """Its name of one of `stylegan2_layers`."""
    if number is None:
        return f"to_rgbs.{block - 1}" if block else "to_rgb1"
    return f"convs.{number - 1}" if number else "conv1"


# ------------------------------------------------------------------ files
def load_stylegan2(
    tensors: Mapping[str, StoredTensor], latent_avg: Any, source: str | Path, bgr: bool = False
) -> Generator:
    """The generator of tensors that are still in their file.

    latent_avg: a StoredTensor [w_dim] or [N, w_dim], or None. bgr: whether its colours are so."""
    state = load_tensors(tensors)
    average = load_tensors({"latent_avg": latent_avg}).get("latent_avg")
    if average is not None:
        average = average.reshape(-1, average.shape[-1])
    config, made = from_rosinality(state, average)
    if bgr and config.img_channels == 3:
        rgb = [name for name in made if name.endswith((".to_rgb.weight", ".to_rgb.bias"))]
        made |= {name: made[name].flip(0) for name in rgb}
    return assemble_published(config, made, source)


def latent_avg(contents: Contents, found: StateDict) -> Any:
    """The mean of w: beside the state dict, or in it."""
    for value in (beside(contents, "latent_avg"), found.tensors.get("latent_avg")):
        if isinstance(value, StoredTensor):
            return value
    return None


def _format(name: str, decoder: bool, hyperstyle: bool = False) -> Format:
    """decoder: whether the generator lies beside an encoder. hyperstyle: or a hypernetwork."""

    def load(contents: Contents, found: StateDict) -> Generator:
        return load_stylegan2(found.tensors, latent_avg(contents, found), contents.path)

    def only(contents: Contents, found: StateDict) -> bool:
        in_decoder = found.prefix == "decoder."
        return in_decoder == decoder and is_hyperstyle(contents) == hyperstyle

    return generator_format(name, NAMES, load, only)


def is_hyperstyle(contents: Contents) -> bool:
    """Whether a file holds HyperStyle's hypernetwork, which predicts changes of weights."""
    state = beside(contents, "state_dict")
    return isinstance(state, dict) and any(str(name).startswith("hypernet.") for name in state)


FORMATS = (
    _format("rosinality StyleGAN2", decoder=False),
    _format("the decoder in a pSp, e4e, ReStyle or Cycle Encoding checkpoint", decoder=True),
    _format(
        "the generator in a HyperStyle checkpoint, whose hypernetwork is not used",
        decoder=True,
        hyperstyle=True,
    ),
)
