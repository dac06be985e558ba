"""Mixtures of two generators of one shape: layer swapping and weight blending.

A generator and its fine-tuned child have layers that do alike things. Layers of the one with layers
of the other give the pose of a photograph in the manner of a cartoon ("Resolution Dependent GAN
Interpolation", Pinkney and Adler 2020); weights between theirs give something in between ("Deep
Network Interpolation", Wang et al. 2019).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from dataclasses import replace

import torch
from torch import Tensor

from ..errors import InputError, MismatchError
from .generator import Generator
from .settings import BlendSettings
from .stylegan2 import StyleGAN2Config
from .stylegan3 import StyleGAN3Config


def blend(
    a: Generator,
    b: Generator,
    amount: float = BlendSettings.amount,
    layers: Collection[int] | None = None,
) -> Generator:
    """A new generator: a, whose chosen layers are moved towards those of b.

    amount: 0 leaves a's weights, 1 takes b's, between them both are mixed.
    layers: by the styles that they take, from 0 on, as in an edit; all if None. An RGB output
        belongs to the convolution before it. `layers_from` gives those from a resolution on.
    The mapping network is a's: codes, encoders and directions of a fit the result. Noise maps and
    other constants are a's up to an amount of 0.5, and b's above it.
    Raises MismatchError for generators of two shapes, InputError for an amount beyond 0 and 1, a
    layer that there is not, and a tuned generator with a map of detail."""
    with torch.inference_mode(False):
        mixed = copy.deepcopy(a).eval().requires_grad_(False)
        blend_into(mixed.synthesis.state_dict().__getitem__, a, b, amount, layers)
    mixed.name = f"{a.name}-{b.name}"
    return mixed.tuned_from(a)


@torch.no_grad()
def blend_into(
    tensor_of: Callable[[str], Tensor],
    a: Generator,
    b: Generator,
    amount: float = BlendSettings.amount,
    layers: Collection[int] | None = None,
) -> None:
    """`blend` in place. tensor_of: gives the tensors of a's synthesis network by their names, to be
    changed; a itself may be on the meta device."""
    check_blend(a, b)
    if not 0 <= amount <= 1:
        raise InputError(f"Two generators are blended by an amount from 0 to 1, not {amount:g}.")
    if layers is not None and not set(layers) <= set(range(a.num_ws)):
        raise InputError(
            f"The layers {', '.join(map(str, sorted(layers)))} were to be blended, but these "
            f"generators have the layers 0 to {a.num_ws - 1}."
        )
    parameters = {name for name, _ in b.synthesis.named_parameters()}
    for name, other in b.synthesis.state_dict().items():
        if layers is not None and layer_of(a, name) not in layers:
            continue
        tensor = tensor_of(name)
        if name in parameters or name.endswith("magnitude_ema"):
            tensor.lerp_(other.to(tensor), amount)
        elif amount > 0.5:
            tensor.copy_(other)


def layers_from(G: Generator, resolution: int, below: bool = False) -> tuple[int, ...]:
    """The layers that work at a resolution and above it, or those below it.

    Raises InputError where all layers or none would be meant."""
    sizes = layer_sizes(G)
    chosen = tuple(i for i, size in enumerate(sizes) if (size < resolution) == below)
    if not 0 < len(chosen) < len(sizes):
        known = ", ".join(map(str, sorted(set(sizes))[1:]))
        raise InputError(
            f"The layers of this generator cannot be divided at {resolution} pixels: choose one of "
            f"{known}."
        )
    return chosen


def layer_sizes(G: Generator) -> list[int]:
    """For each style the resolution, in pixels of the image's side, at which its layer works."""
    if isinstance(G.config, StyleGAN3Config):
        rates = [signal.rate for signal in G.config.signals]
        return [rates[0], *rates]
    # one convolution at 4, two at every other resolution, and the RGB of the last
    sizes = [4] + [size for size in G.config.resolutions[1:] for _ in range(2)]
    return [*sizes, G.resolution]


def layer_of(G: Generator, name: str) -> int:
    """The style that the layer of a tensor of the synthesis network takes. What is before all
    layers belongs to the first, and an RGB output to the convolution before it."""
    parts = name.split(".")
    if isinstance(G.config, StyleGAN3Config):
        return int(parts[1]) + 1 if parts[0] == "layers" else 0
    if parts[0] != "blocks":
        return 0
    return max(2 * int(parts[1]) - (parts[2] == "conv0"), 0)


def check_blend(a: Generator, b: Generator) -> None:
    """Raise MismatchError or InputError unless two generators can be blended."""
    if a.synthesis.detail is not None or b.synthesis.detail is not None:
        raise InputError(
            "A tuned generator with a map of detail, which belongs to one picture, cannot be "
            "blended: tune it without detail steps, or blend the generators first."
        )
    if (
        _shapes(a.synthesis.state_dict()) != _shapes(b.synthesis.state_dict())
        or type(a.config) is not type(b.config)
        or a.w_dim != b.w_dim
    ):
        raise MismatchError(
            f"The generators {a.name} and {b.name} have layers of other shapes: "
            f"{_differences(a, b)}. Blend a generator with one that was fine-tuned from it."
        )


def _differences(a: Generator, b: Generator) -> str:
    """What differs, with the numbers of both: the first three things, and how many more."""
    kinds = ["StyleGAN3" if isinstance(G.config, StyleGAN3Config) else "StyleGAN2" for G in (a, b)]
    facts = [
        ("", *kinds),
        ("pixels ", a.resolution, b.resolution),
        ("styles ", a.num_ws, b.num_ws),
        ("dimensions of w ", a.w_dim, b.w_dim),
    ]
    if kinds[0] == kinds[1]:
        if isinstance(a.config, StyleGAN2Config) and isinstance(b.config, StyleGAN2Config):
            sizes = (size for size in a.config.resolutions if size in b.config.resolutions)
            facts += [(f"channels at {r} px ", a.config.width(r), b.config.width(r)) for r in sizes]
        else:
            shapes = (_shapes(G.synthesis.state_dict()) for G in (a, b))
            one, other = ({name: "x".join(map(str, s)) for name, s in x.items()} for x in shapes)
            facts += [(f"{name} ", one[name], other[name]) for name in one if name in other]
    found = [f"{what}{first} and {second}" for what, first, second in facts if first != second]
    more = [f"{len(found) - 3} more"] if len(found) > 3 else []
    return ", ".join(found[:3] + more) or "tensors that only one of them has"


def _shapes(state: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items()}


def lower_blocks(G: Generator, resolution: int) -> Generator:
    """A StyleGAN2 that stops at a smaller size: nearly the same pictures, made smaller. W is G's,
    so that directions in it fit both.

    Raises InputError for another kind of generator and for a size that it does not pass."""
    if not isinstance(G.config, StyleGAN2Config):
        raise InputError(f"{G.name} is not a StyleGAN2, whose blocks render smaller pictures.")
    G.synthesis.check_size(resolution)
    channels = tuple(G.config.width(r) for r in G.config.resolutions if r <= resolution)
    small = Generator(replace(G.config, resolution=resolution, channels=channels))
    state = G.state_dict()
    small.load_state_dict({name: state[name] for name in small.state_dict()})
    small.name = f"{G.name}-{resolution}"
    return small.to(G.device).eval().requires_grad_(False).tuned_from(G)
