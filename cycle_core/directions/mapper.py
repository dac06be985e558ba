"""StyleCLIP's latent mappers: networks whose move depends on the code (Patashnik et al. 2021).

A mapper is trained for one text. It gives M(w), and the edited code is w + 0.1 M(w) (section 5; the
factor is that of the published code). The styles 0-3, 4-7 and the rest have a network each, of four
layers; a network that is missing leaves its styles alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checkpoints.lazy_tensors import StoredTensor
from ..checkpoints.reading import load_tensors
from ..codes import Code
from ..errors import InputError, MismatchError
from ..models.layers import leaky_relu
from .base import BaseDirection, DirectionType, Layout, Strength, column
from .direction import check_vectors, scaled_range

STEP = 0.1  # of StyleCLIP: a strength of 1 adds so much of what the network gives
MULTIPLIER = 0.01  # of the learning rate of its layers, which are equalised
# the name of a network in the file, and its styles
LEVELS = {
    "course_mapping.mapping": (0, 4),
    "medium_mapping.mapping": (4, 8),
    "fine_mapping.mapping": (8, None),
}
SINGLE = {"mapping.mapping": (0, None)}


@dataclass(frozen=True)
class MapperDirection(BaseDirection):
    """w + strength * step * M(w).

    weights, biases: float32 [networks, layers, w_dim, w_dim] and [networks, layers, w_dim].
    first, last: the styles of each network, from `first` up to before `last`, -1 for the end.
    """

    space: ClassVar[str] = "mapper"

    weights: Tensor
    biases: Tensor
    first: tuple[int, ...] = (0,)
    last: tuple[int, ...] = (-1,)
    step: float = STEP

    def __post_init__(self) -> None:
        super().__post_init__()
        networks, w_dim = len(self.first), self.biases.shape[-1]
        square = (*self.biases.shape, w_dim)
        if self.biases.ndim != 3 or self.weights.shape != square or len(self.biases) != networks:
            raise InputError(
                f"The mapper {self.name!r} has weights {list(self.weights.shape)} and biases "
                f"{list(self.biases.shape)} for {networks} networks, which do not fit together."
            )
        check_vectors(self.name, self.weights)
        check_vectors(self.name, torch.cat([self.biases.flatten(), torch.ones(1).to(self.biases)]))

    def __call__(self, code: Code, strength: Strength = 1.0) -> Code:
        self.check(code)
        moves = torch.zeros_like(code.w)
        for i, styles in enumerate(self._styles()):
            moves[:, styles] = self._network(i, code.w[:, styles])
        return code.with_w(code.w + column(strength, code.w) * (self.step * moves), "W+")

    def _network(self, index: int, w: Tensor) -> Tensor:
        # the published normalisation is over the styles, not over the dimensions of each
        x = w * (w.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for weight, bias in zip(self.weights[index], self.biases[index], strict=True):
            gain = MULTIPLIER / weight.shape[1] ** 0.5
            x = leaky_relu(F.linear(x, weight.to(x) * gain, bias.to(x) * MULTIPLIER))
        return x

    def _styles(self) -> list[slice]:
        ends = (None if last < 0 else last for last in self.last)
        return [slice(first, end) for first, end in zip(self.first, ends, strict=True)]

    def check_shape(self, code: Code) -> None:
        num_ws, w_dim = code.w.shape[1:]
        if w_dim != self.biases.shape[-1] or num_ws <= max(self.first):
            raise MismatchError(
                f"The mapper {self.name!r} moves codes of {self.biases.shape[-1]} dimensions with "
                f"more than {max(self.first)} styles, but the code has {num_ws} styles of {w_dim}: "
                "use it with the generator that it was trained for."
            )

    def scaled(self, factor: float) -> MapperDirection:
        return replace(self, step=self.step * factor, range=scaled_range(self.range, factor))

    def lies(self) -> str:
        return "is a network whose move depends on the code"

    def describe(self) -> dict[str, Any]:
        networks, layers, w_dim = self.biases.shape
        return {"networks": networks, "layers": layers, "dimensions": w_dim}


def _tables(content: Any) -> dict[str, StoredTensor]:
    """The tensors of the mapper in a checkpoint of StyleCLIP, or in a state dict of it alone."""
    if not isinstance(content, dict):
        return {}
    state = content.get("state_dict", content)
    if not isinstance(state, dict):
        return {}
    return {
        str(name).removeprefix("mapper."): value
        for name, value in state.items()
        if isinstance(value, StoredTensor)
    }


def is_mapper(content: Any) -> bool:
    """Whether it looks like a checkpoint of a StyleCLIP mapper."""
    names = _tables(content).keys()
    return any(f"{network}.1.weight" in names for network in (*LEVELS, *SINGLE))


def read_mapper(path: Path, content: Any) -> list[MapperDirection]:
    """The mapper of a checkpoint. Its decoder, where there is one, is a generator of its own."""
    wanted = re.compile(r"(?:(?:course|medium|fine)_)?mapping\.mapping\.\d{1,2}\.(?:weight|bias)")
    chosen = {k: v for k, v in _tables(content).items() if wanted.fullmatch(k)}
    state = load_tensors(chosen)
    found = {k: v for k, v in {**LEVELS, **SINGLE}.items() if f"{k}.1.weight" in state}
    layers = sum(1 for k in state if k.startswith(next(iter(found))) and k.endswith(".weight"))

    def stacked(part: str) -> Tensor:
        return torch.stack(
            [torch.stack([state[f"{k}.{i + 1}.{part}"] for i in range(layers)]) for k in found]
        )

    first = tuple(styles[0] for styles in found.values())
    last = tuple(-1 if styles[1] is None else styles[1] for styles in found.values())
    return [MapperDirection(path.stem, stacked("weight"), stacked("bias"), first, last)]


TYPE = DirectionType(MapperDirection, layouts=(Layout(is_mapper, read_mapper),))
