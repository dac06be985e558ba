"""StyleGAN3 generators of NVIDIA's project, T and R: pickles with `G_ema`, and whole modules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import CheckpointError, InputError
from ..models.generator import Generator
from ..models.stylegan3 import StyleGAN3Config
from .building import State, assemble, incomplete
from .nvidia import attribute, generator_module, mapping_lr_multiplier, mapping_network, part
from .reading import Contents, load_tensors, module_state
from .registry import Format

LAYER = re.compile(r"synthesis\.(L(\d+)_(\d+)_(\d+))\.(.+)")  # index, size, channels, tensor
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
    layers: dict[int, tuple[str, int, int]] = {}  # index: name, size, channels
    moved: State = {}
    for key, tensor in state.items():
        if match := LAYER.fullmatch(key):
            name, index, size, channels, rest = match.groups()
            layers[int(index)] = (name, int(size), int(channels))
            moved[f"synthesis.layers.{index}.{rest}"] = tensor
        elif key.startswith("synthesis."):
            moved[key] = tensor
    try:
        numbers, out = mapping_network(state)
        out.update(moved)
        count = max(layers, default=0)
        *_, (_, resolution, colours) = (layers[i] for i in range(count + 1))
        if colours != 3 or settings.get("lrelu_upsampling", 2) != 2:
            raise CheckpointError(
                f"This StyleGAN3 makes pictures of {colours} channels, with its nonlinearity at "
                f"{settings.get('lrelu_upsampling', 2)} times the resolution, but only 3 and 2 are "
                "supported: choose another generator."
            )
        clamp = settings.get("conv_clamp", 256.0)
        config = StyleGAN3Config(
            resolution=resolution,
            **numbers,
            mapping_lr_multiplier=mapping_lr_multiplier,
            channels=tuple(layers[i][2] for i in range(count)),
            num_layers=count,
            conv_kernel=out["synthesis.layers.0.weight"].shape[-1],
            filter_size=out["synthesis.layers.0.up_filter"].shape[0] // 2,
            radial_filters=out["synthesis.layers.0.down_filter"].ndim == 2,
            conv_clamp=None if clamp is None else float(clamp),
            **{name: kind(settings[name]) for name, kind in SETTINGS.items() if name in settings},
        )
    except (KeyError, IndexError) as error:
        raise incomplete("StyleGAN3", error) from error
    except InputError as error:
        raise CheckpointError(f"{error} The file is damaged or of another project.") from error
    for i, signal in enumerate(config.signals):
        expected = f"L{i}_{signal.size}_{signal.channels}"
        if layers[i][0] != expected:
            raise CheckpointError(
                f"Layer {i} of this StyleGAN3 is {layers[i][0]}, but with its settings it would be "
                f"{expected}: it was made by another version of the project, which is not "
                "supported; choose another generator."
            )
    return config, out


def _is_stylegan3(contents: Contents) -> bool:
    module = generator_module(contents)
    return bool(part(module, "mapping") and part(module, "synthesis", "input", "affine"))


def _load_stylegan3(contents: Contents) -> Generator:
    module = generator_module(contents)
    settings = {}
    for one in (module, part(module, "synthesis")):
        arguments = attribute(one, "_init_kwargs")
        settings |= arguments if isinstance(arguments, dict) else {}
    config, state = from_stylegan3(
        load_tensors(module_state(module)), settings, mapping_lr_multiplier(module)
    )
    return assemble(config, state, contents.path)


FORMATS = (
    Format("NVIDIA StyleGAN3, PyTorch, T and R", "generator", _is_stylegan3, _load_stylegan3),
)
