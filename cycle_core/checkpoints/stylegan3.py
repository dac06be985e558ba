"""StyleGAN3 generators of NVIDIA's project, T and R: pickles with `G_ema`, whole modules, and state
dicts, such as the `decoder` of stylegan3-editing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import CheckpointError
from ..models.generator import Generator
from ..models.stylegan3 import StyleGAN3Config
from .building import assemble_published, mapping_numbers, translating
from .lazy_tensors import shown
from .native import State
from .nvidia import attribute, mapping_lr_multiplier, mapping_network, part
from .reading import Contents, load_tensors
from .state_dicts import StateDict, generator_format

NAMES = ("mapping.fc0.weight", "synthesis.input.weight", "synthesis.input.affine.weight")

# index, size, channels, tensor
LAYER = re.compile(r"synthesis\.(L(\d{1,3})_(\d{1,5})_(\d{1,5}))\.(.+)")
# what the tensors do not show; where a file does not say it, it is the default of both projects
SETTINGS = {
    "num_critical": int,
    "first_cutoff": float,
    "first_stopband": float,
    "last_stopband_rel": float,
    "margin_size": int,
    "output_scale": float,
}


def from_stylegan3(
    state: Mapping[str, Tensor],
    settings: Mapping[str, Any] | None = None,
    mapping_lr_multiplier: float = 0.01,
) -> tuple[StyleGAN3Config, State]:
    """Translate the state dict of a StyleGAN3 `G_ema`: (configuration, our state).

    settings: the arguments that its synthesis network was made with, if they are known.
    Raises CheckpointError where tensors are missing or the settings do not make these layers."""
    settings = settings or {}
    clamp = settings.get("conv_clamp", 256.0)
    clamp = None if clamp is None else float(clamp)
    given = {name: kind(settings[name]) for name, kind in SETTINGS.items() if name in settings}
    layers: dict[int, tuple[str, int, int]] = {}  # index: name, size, channels
    moved: State = {}
    for key, tensor in state.items():
        if match := LAYER.fullmatch(key):
            name, index, size, channels, rest = match.groups()
            layers[int(index)] = (name, int(size), int(channels))
            moved[f"synthesis.layers.{index}.{rest}"] = tensor
        elif key.startswith("synthesis."):
            moved[key] = tensor
    with translating("StyleGAN3", "StyleGAN3"):
        out = mapping_network(state) | moved
        count = max(layers, default=0)
        *_, (_, resolution, colours) = (layers[i] for i in range(count + 1))
        if settings.get("lrelu_upsampling", 2) != 2:
            raise CheckpointError(
                "This StyleGAN3 applies its nonlinearity at "
                f"{shown(settings['lrelu_upsampling'])} times the resolution, but only 2 is "
                "supported: choose another generator."
            )
        config = StyleGAN3Config(
            resolution=resolution,
            **mapping_numbers(out),
            mapping_lr_multiplier=mapping_lr_multiplier,
            channels=tuple(layers[i][2] for i in range(count)),
            num_layers=count,
            conv_kernel=out["synthesis.layers.0.weight"].shape[-1],
            filter_size=out["synthesis.layers.0.up_filter"].shape[0] // 2,
            radial_filters=out["synthesis.layers.0.down_filter"].ndim == 2,
            conv_clamp=clamp,
            img_channels=colours,
            **given,
        )
    for i, signal in enumerate(config.signals):
        expected = f"L{i}_{signal.size}_{signal.channels}"
        if layers[i][0] != expected:
            raise CheckpointError(
                f"Layer {i} of this StyleGAN3 is {layers[i][0]}, but with its settings it would be "
                f"{expected}: it was made by another version of the project, which is not "
                "supported; choose another generator."
            )
    return config, out


def _load(contents: Contents, found: StateDict) -> Generator:
    settings: dict[str, Any] = {}
    for one in (found.module, part(found.module, "synthesis")):
        arguments = attribute(one, "_init_kwargs")
        settings |= arguments if isinstance(arguments, dict) else {}
    config, state = from_stylegan3(
        load_tensors(found.tensors), settings, mapping_lr_multiplier(found.module)
    )
    return assemble_published(config, state, contents.path)


FORMATS = (generator_format("NVIDIA StyleGAN3, PyTorch, T and R", NAMES, _load),)
