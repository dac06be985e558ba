"""StyleGAN2 generators of the TensorFlow projects (stylegan2, stylegan2-ada): `.pkl` files with one
`dnnlib.tflib.network.Network` or the tuple (G, D, Gs).

The layouts differ from PyTorch's as every public converter has it:
- convolutions are [k, k, in, out], fully connected weights [in, out];
- TensorFlow's up-sampling convolution turns its kernel round before it is applied as a transposed
  convolution, PyTorch's applies it as it is, so `Conv0_up` is flipped in both directions;
- `mod_bias` is stored without the 1 that is added to a style.
Learning-rate multipliers and gains are applied at run time in both, so the numbers stay.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import CheckpointError
from ..models.generator import Generator
from ..models.stylegan2 import StyleGAN2Config
from .building import assemble_published, stylegan2_config, stylegan2_layers, translating
from .lazy_tensors import StoredTensor, TFNetwork, shown
from .native import State
from .reading import Contents, Format, load_tensors

_SCOPES = ("G_synthesis/", "synthesis/", "G_mapping/", "mapping/")
# what is read from the stored settings, and the only value of it that this arithmetic has
_SETTINGS: dict[str, Any] = {
    "architecture": "skip",
    "normalize_latents": True,
    "mapping_nonlinearity": "lrelu",
    "nonlinearity": "lrelu",
    "resample_kernel": [1, 3, 3, 1],
}


def from_tensorflow(
    variables: dict[str, Tensor], settings: dict[str, Any]
) -> tuple[StyleGAN2Config, State]:
    """Translate the variables of a StyleGAN2 in TensorFlow: (configuration, our state).

    variables: names without the scope of the network, such as "8x8/Conv0_up/weight", "noise0",
    "Dense0/weight", "dlatent_avg"; weights are taken out of it, so that both layouts are never in
    memory at once. settings: the `static_kwargs` of the network and its parts.
    Raises CheckpointError where variables are missing."""
    with translating("TensorFlow"):
        sizes = sorted(int(n.split("x")[0]) for n in variables if n.endswith("/ToRGB/weight"))
        layers = sum(1 for n in variables if n.startswith("Dense") and n.endswith("/weight"))
        const = variables["4x4/Const/const"][0]
        state = {"mapping.w_avg": variables["dlatent_avg"], "synthesis.const": const}
        dense = {f"Dense{i}": f"mapping.layers.{i}" for i in range(layers)}
        if "LabelEmbed/weight" in variables:
            dense["LabelEmbed"] = "mapping.embed"
        for source, native in dense.items():
            state[f"{native}.weight"] = variables.pop(f"{source}/weight").T.contiguous()
            state[f"{native}.bias"] = variables[f"{source}/bias"]
        names = {"conv0": "Conv0_up", "conv1": "Conv1", "to_rgb": "ToRGB"}
        for block, layer, number in stylegan2_layers(len(sizes)):
            size, source = sizes[block], names[layer] if number != 0 else "Conv"
            at, to = f"{size}x{size}/{source}", f"synthesis.blocks.{block}.{layer}"
            weight = variables.pop(f"{at}/weight").permute(3, 2, 0, 1).numpy()  # [OIkk]
            turned = weight[..., ::-1, ::-1] if layer == "conv0" else weight
            # numpy turns and copies at once; the original is freed afterwards
            state[f"{to}.weight"] = torch.from_numpy(np.ascontiguousarray(turned))
            state[f"{to}.bias"] = variables[f"{at}/bias"]
            affine = variables.pop(f"{at}/mod_weight")
            state[f"{to}.affine.weight"] = affine.T.contiguous()
            state[f"{to}.affine.bias"] = variables[f"{at}/mod_bias"] + 1
            if number is not None:
                state[f"{to}.noise_strength"] = variables[f"{at}/noise_strength"].reshape([])
                if f"noise{number}" in variables:
                    state[f"{to}.noise_const"] = variables[f"noise{number}"][0, 0]
        clamp = settings.get("conv_clamp")
        config = stylegan2_config(
            state,
            resolution=sizes[-1],
            mapping_lr_multiplier=float(settings.get("mapping_lrmul") or 0.01),
            conv_clamp=None if clamp is None else float(clamp),
        )
    return config, state


# ------------------------------------------------------------------ files
def _network(contents: Contents) -> TFNetwork | None:
    data = contents.data
    if isinstance(data, tuple | list) and data:
        data = data[-1]  # Gs, the averaged one
    return data if isinstance(data, TFNetwork) else None


def _variables(network: TFNetwork | None) -> tuple[dict[str, StoredTensor], dict[str, Any]]:
    """The variables and the settings of a network and of the networks in it."""
    variables: dict[str, StoredTensor] = {}
    settings: dict[str, Any] = {}
    components = network.state.get("components") if network else None
    inner = list(components.values())[:8] if isinstance(components, dict) else []
    for part in [network, *inner]:
        state = part.state if isinstance(part, TFNetwork) else {}
        static, pairs = state.get("static_kwargs"), state.get("variables")
        settings |= static if isinstance(static, dict) else {}
        for pair in pairs if isinstance(pairs, list) else []:
            if isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[1], StoredTensor):
                name = pair[0] if type(pair[0]) is str else ""
                for scope in _SCOPES:
                    name = name.removeprefix(scope)
                variables[name] = pair[1]
    return variables, settings


def _detect(contents: Contents) -> bool:
    variables, _ = _variables(_network(contents))
    return "4x4/Const/const" in variables and "4x4/Conv/mod_weight" in variables


def _load(contents: Contents) -> Generator:
    variables, settings = _variables(_network(contents))
    for name, supported in _SETTINGS.items():
        value = settings.get(name, supported)
        if value not in (supported, None):
            raise CheckpointError(
                f"{contents.path} is a StyleGAN2 in TensorFlow whose {name} is {shown(value)}, but "
                f"only {supported!r} is supported: choose another generator."
            )
    if "4x4/ToRGB/weight" not in variables:
        raise CheckpointError(
            f"{contents.path} is a StyleGAN2 in TensorFlow that makes its picture at the last "
            "layer alone, as the configurations A to D and residual ones do, but only "
            "configurations E and F with skip connections are supported: choose another generator."
        )
    if "LabelConcat/weight" in variables:
        raise CheckpointError(
            f"{contents.path} is a StyleGAN2 in TensorFlow with classes as before ADA, which are "
            "not supported: choose a generator of stylegan2-ada."
        )
    config, state = from_tensorflow(load_tensors(variables), settings)
    return assemble_published(config, state, contents.path)


FORMATS = (Format("StyleGAN2, TensorFlow (stylegan2, stylegan2-ada)", "generator", _detect, _load),)
