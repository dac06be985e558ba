"""StyleGAN2 of NVIDIA's PyTorch projects: pickles with `G_ema`, modules that PTI and STIT saved
whole, and state dicts of them.

Every module in a pickle was written by `torch_utils.persistence` together with its source code,
which the original loader executes. Here it is text that nobody looks at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import CheckpointError
from ..models.generator import Generator
from ..models.stylegan2 import StyleGAN2Config
from .building import assemble_published, stylegan2_config, stylegan2_layers, translating
from .lazy_tensors import PersistentObject, shown
from .native import State
from .reading import Contents, load_tensors
from .state_dicts import StateDict, generator_format

NAMES = ("mapping.fc0.weight", "synthesis.b4.conv1.weight")


def from_nvidia(
    state: Mapping[str, Tensor],
    conv_clamp: float | None = None,
    mapping_lr_multiplier: float = 0.01,
) -> tuple[StyleGAN2Config, State]:
    """Translate the state dict of NVIDIA's PyTorch StyleGAN2 `G_ema`: (configuration, our state).

    Raises CheckpointError where tensors are missing."""
    with translating("NVIDIA"):
        found = (re.fullmatch(r"synthesis\.b(\d{1,5})\.torgb\.weight", key) for key in state)
        sizes = sorted(int(match[1]) for match in found if match)
        out = mapping_network(state) | {"synthesis.const": state["synthesis.b4.const"]}
        for block, native, number in stylegan2_layers(len(sizes)):
            parts = ["weight", "bias", "affine.weight", "affine.bias"]
            parts += [] if number is None else ["noise_strength", "noise_const"]
            for part in parts:
                key = f"synthesis.b{sizes[block]}.{native.replace('_', '')}.{part}"
                if part != "noise_const" or key in state:
                    out[f"synthesis.blocks.{block}.{native}.{part}"] = state[key]
        config = stylegan2_config(
            out,
            resolution=sizes[-1],
            mapping_lr_multiplier=mapping_lr_multiplier,
            conv_clamp=conv_clamp,
        )
    return config, out


def mapping_network(state: Mapping[str, Tensor]) -> State:
    """The mapping network in NVIDIA's state dicts, in our layout. Raises KeyError where tensors are
    missing."""
    layers = sum(1 for key in state if re.fullmatch(r"mapping\.fc\d+\.weight", key))
    pairs = {f"mapping.fc{i}": f"mapping.layers.{i}" for i in range(layers)}
    if "mapping.embed.weight" in state:
        pairs["mapping.embed"] = "mapping.embed"
    out = {name: state[name] for name in ("mapping.w_avg",) if name in state}
    for source, native in pairs.items():
        for part in ("weight", "bias"):
            out[f"{native}.{part}"] = state[f"{source}.{part}"]
    return out


# ------------------------------------------------------------------ files
def part(module: PersistentObject | None, *names: str) -> PersistentObject | None:
    """The module `names[0].names[1]...` inside of a module, None if there is none."""
    for name in names:
        parts = module.state.get("_modules") if module else None
        inner = parts.get(name) if isinstance(parts, dict) else None
        module = inner if isinstance(inner, PersistentObject) else None
    return module


def attribute(module: PersistentObject | None, name: str) -> Any:
    """A plain attribute of a pickled module, None if there is none."""
    return module.state.get(name) if module else None


def mapping_lr_multiplier(module: PersistentObject | None) -> float:
    """A layer multiplies its bias by just its learning rate's multiplier."""
    gain = attribute(part(module, "mapping", "fc0"), "bias_gain")
    return 0.01 if gain is None else float(gain)


def _load(contents: Contents, found: StateDict) -> Generator:
    _check_supported(found, contents)
    clamp = attribute(part(found.module, "synthesis", "b4", "conv1"), "conv_clamp")
    config, state = from_nvidia(
        load_tensors(found.tensors),
        conv_clamp=None if clamp is None else float(clamp),
        mapping_lr_multiplier=mapping_lr_multiplier(found.module),
    )
    return assemble_published(config, state, contents.path)


def _check_supported(found: StateDict, contents: Contents) -> None:
    """Raise CheckpointError for a StyleGAN2 with other arithmetic than `modulated_conv`."""
    size = attribute(found.module, "img_resolution")
    last = part(found.module, "synthesis", f"b{size}") if type(size) is int else None
    architecture = attribute(last, "architecture")
    if any(re.fullmatch(r"synthesis\.b\d+\.skip\.weight", name) for name in found.tensors):
        architecture = "resnet"
    elif "synthesis.b4.torgb.weight" not in found.tensors:
        architecture = "orig"
    settings = {
        "architecture": (architecture, "skip"),
        "activation": (attribute(part(last, "conv1"), "activation"), "lrelu"),
    }
    for name, (value, supported) in settings.items():
        if value not in (supported, None):
            raise CheckpointError(
                f"{contents.path} is a StyleGAN2 whose {name} is {shown(value)}, but only "
                f"{supported!r} is supported: choose another generator."
            )


FORMATS = (
    generator_format(
        "NVIDIA StyleGAN2, PyTorch (stylegan2-ada-pytorch, stylegan3, PTI, STIT)", NAMES, _load
    ),
)
