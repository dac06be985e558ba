"""Generators of NVIDIA's PyTorch projects: pickles with `G_ema`, and modules that PTI saved whole.

Every module in them was pickled by `torch_utils.persistence` together with its source code, which
the original loader executes. Here it is text that nobody looks at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import CheckpointError
from ..models.generator import Generator
from ..models.stylegan2 import GeneratorConfig
from .building import State, assemble, incomplete
from .lazy_tensors import PersistentObject
from .reading import Contents, load_tensors, module_state
from .registry import Format


def from_nvidia(
    state: Mapping[str, Tensor],
    conv_clamp: float | None = None,
    mapping_lr_multiplier: float = 0.01,
) -> tuple[GeneratorConfig, State]:
    """Translate the state dict of NVIDIA's PyTorch StyleGAN2 `G_ema`: (configuration, our state).

    Raises CheckpointError where tensors are missing."""
    try:
        sizes = sorted(int(key.split(".")[1][1:]) for key in state if key.endswith(".torgb.weight"))
        numbers, out = mapping_network(state)
        config = GeneratorConfig(
            resolution=sizes[-1],
            **numbers,
            mapping_lr_multiplier=mapping_lr_multiplier,
            channels=tuple(state[f"synthesis.b{r}.torgb.weight"].shape[1] for r in sizes),
            conv_clamp=conv_clamp,
        )
        out["synthesis.const"] = state["synthesis.b4.const"]
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


def mapping_network(state: Mapping[str, Tensor]) -> tuple[dict[str, Any], State]:
    """The mapping network in NVIDIA's state dicts: its numbers for a configuration, and its tensors
    in our layout. Raises KeyError where tensors are missing."""
    layers = sum(1 for key in state if key.startswith("mapping.fc") and _last(key, "weight"))
    embed = state.get("mapping.embed.weight")
    w_dim = state["mapping.w_avg"].shape[0]
    numbers = {
        "z_dim": state["mapping.fc0.weight"].shape[1] - (0 if embed is None else w_dim),
        "w_dim": w_dim,
        "c_dim": 0 if embed is None else embed.shape[1],
        "mapping_layers": layers,
    }
    out: State = {"mapping.w_avg": state["mapping.w_avg"]}
    pairs = {f"mapping.fc{i}": f"mapping.layers.{i}" for i in range(layers)}
    if embed is not None:
        pairs["mapping.embed"] = "mapping.embed"
    for theirs, ours in pairs.items():
        for part in ("weight", "bias"):
            out[f"{ours}.{part}"] = state[f"{theirs}.{part}"]
    return numbers, out


# ------------------------------------------------------------------ files
def generator_module(contents: Contents) -> PersistentObject | None:
    """The pickled generator of a file: the averaged one of a training, or the module itself."""
    data = contents.data
    if isinstance(data, dict):
        data = data.get("G_ema") or data.get("G")
    return data if isinstance(data, PersistentObject) else None


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


def _is_stylegan2(contents: Contents) -> bool:
    module = generator_module(contents)
    return bool(part(module, "mapping") and part(module, "synthesis", "b4", "conv1"))


def _load_stylegan2(contents: Contents) -> Generator:
    module = generator_module(contents)
    _check_supported(module, contents)
    clamp = attribute(part(module, "synthesis", "b4", "conv1"), "conv_clamp")
    config, state = from_nvidia(
        load_tensors(module_state(module)),
        conv_clamp=None if clamp is None else float(clamp),
        mapping_lr_multiplier=mapping_lr_multiplier(module),
    )
    return assemble(config, state, contents.path)


def _check_supported(module: PersistentObject | None, contents: Contents) -> None:
    """Raise CheckpointError for a StyleGAN2 with another arithmetic than ours."""
    last = part(module, "synthesis", f"b{attribute(module, 'img_resolution')}")
    found = {
        "architecture": (attribute(last, "architecture"), "skip"),
        "number of channels": (attribute(module, "img_channels"), 3),
        "activation": (attribute(part(last, "conv1"), "activation"), "lrelu"),
    }
    for name, (value, supported) in found.items():
        if value not in (supported, None):
            raise CheckpointError(
                f"{contents.path} is a StyleGAN2 whose {name} is {value!r}, but only {supported!r} "
                "is supported: choose another generator."
            )


FORMATS = (
    Format(
        "NVIDIA StyleGAN2, PyTorch (stylegan2-ada-pytorch, stylegan3, PTI)",
        "generator",
        _is_stylegan2,
        _load_stylegan2,
    ),
)


def _last(key: str, part: str) -> bool:
    return key.rsplit(".", 1)[-1] == part
