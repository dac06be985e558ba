"""StyleGAN2 generators of toolboxes that train it with names of their own: BasicSR, MMGeneration
(and MMagic), genforce. Their arithmetic is that of the paper; only names and orders differ."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

from ..models.generator import Generator
from .building import assemble_published, stylegan2_config, stylegan2_layers, translating
from .lazy_tensors import StoredTensor
from .native import State
from .reading import Contents, load_tensors
from .rosinality import latent_avg, load_stylegan2
from .state_dicts import StateDict, generator_format

# what a name begins with or holds -> rosinality's
_BASICSR = (
    (r"style_mlp\.", "style."),
    (r"constant_input\.weight", "input.input"),
    (r"style_conv(1|s)", r"conv\1"),
    (r"(conv1|convs\.\d+)\.weight", r"\1.noise.weight"),
    (r"(.+)\.modulated_conv\.", r"\1.conv."),
    (r"noises\.noise(\d)", r"noises.noise_\1"),
)
_MMGENERATION = (
    (r"style_mapping\.(\d+)\.linear\.weight_orig", r"style.\1.weight"),
    (r"style_mapping\.", "style."),
    (r"constant_input\.input", "input.input"),
    (r"(.+)\.conv\.weight_orig", r"\1.conv.weight"),
    (r"(.+)\.style_modulation\.linear\.weight_orig", r"\1.modulation.weight"),
    (r"(.+)\.style_modulation\.", r"\1.modulation."),
    (r"(.+)\.noise_injector\.", r"\1.noise."),
    (r"injected_noise_(\d)", r"noises.noise_\1"),
)


def _renamed(
    tensors: Mapping[str, StoredTensor], rules: tuple[tuple[str, str], ...]
) -> dict[str, StoredTensor]:
    out = {}
    for name, tensor in tensors.items():
        if len(name) <= 200:
            for pattern, new in rules:
                name = re.sub(f"^{pattern}", new, name)
            out[name] = tensor
    return out


def _load_basicsr(contents: Contents, found: StateDict) -> Generator:
    return load_stylegan2(_renamed(found.tensors, _BASICSR), None, contents.path)


def _load_mmgeneration(contents: Contents, found: StateDict) -> Generator:
    """Its pictures are BGR, as OpenCV's."""
    tensors = _renamed(found.tensors, _MMGENERATION)
    return load_stylegan2(tensors, latent_avg(contents, found), contents.path, bgr=True)


def _load_genforce(contents: Contents, found: StateDict) -> Generator:
    state = load_tensors(found.tensors)
    with translating("genforce"):
        blocks = sum(1 for key in state if re.fullmatch(r"synthesis\.output\d+\.weight", key))
        layers = sum(1 for key in state if re.fullmatch(r"mapping\.dense\d+\.weight", key))
        out: State = {"synthesis.const": state["synthesis.early_layer.const"][0]}
        if "truncation.w_avg" in state:
            out["mapping.w_avg"] = state["truncation.w_avg"]
        for i in range(layers):
            for part in ("weight", "bias"):
                out[f"mapping.layers.{i}.{part}"] = state[f"mapping.dense{i}.{part}"]
        for b, native, number in stylegan2_layers(blocks):
            to = f"synthesis.blocks.{b}.{native}"
            at = f"synthesis.output{b}" if number is None else f"synthesis.layer{number}"
            weight = state[f"{at}.weight"]
            # its kernels lie as TensorFlow's, which turns those that are transposed
            out[f"{to}.weight"] = weight.flip(2, 3) if native == "conv0" else weight
            out[f"{to}.bias"] = state[f"{at}.bias"]
            out[f"{to}.affine.weight"] = state[f"{at}.style.weight"]
            out[f"{to}.affine.bias"] = state[f"{at}.style.bias"] + 1
            if number is not None:
                out[f"{to}.noise_strength"] = state[f"{at}.noise_strength"].reshape([])
                if f"{at}.noise" in state:
                    out[f"{to}.noise_const"] = torch.squeeze(state[f"{at}.noise"], (0, 1))
        config = stylegan2_config(out)
    return assemble_published(config, out, contents.path)


_GENFORCE = ("mapping.dense0.weight", "synthesis.early_layer.const", "synthesis.output0.weight")
FORMATS = (
    generator_format(
        "BasicSR StyleGAN2",
        ("style_mlp.1.weight", "constant_input.weight", "style_conv1.modulated_conv.weight"),
        _load_basicsr,
    ),
    generator_format(
        "MMGeneration StyleGAN2",
        ("style_mapping.1.linear.weight_orig", "constant_input.input", "conv1.conv.weight_orig"),
        _load_mmgeneration,
    ),
    generator_format("genforce StyleGAN2", _GENFORCE, _load_genforce),
)
