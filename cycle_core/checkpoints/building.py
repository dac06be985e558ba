"""From a configuration and a state to a model: the last step of every format."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, InputError
from ..models.generator import Config, Generator
from ..models.stylegan2 import StyleGAN2Config
from .lazy_tensors import shown

Model = TypeVar("Model", bound=nn.Module)
MEAN = "mapping.w_avg"
MEAN_SAMPLES = 10_000  # z that are mapped for the mean of w where a file does not hold it
MEAN_WORK = 30_000_000_000  # multiplications at most; the papers' mapping network needs 21e9
MOST_NOISE = 16 << 20  # numbers of noise maps, those of 2,048 px


def build_on_meta(
    make: Callable[[], Model], state: Mapping[str, Tensor], source: str | Path
) -> Model:
    """`build` of what `make` makes, of which no weight is initialised before it is replaced."""
    with torch.device("meta"):
        model = make()
    return build(model, state, source)


def build(model: Model, state: Mapping[str, Tensor], source: str | Path) -> Model:
    """Load `state` into `model`, strictly; in evaluation mode, without gradients.

    Raises CheckpointError that names the first tensors that do not fit."""
    own = model.state_dict()
    wrong = [k for k in own if k not in state] + [k for k in state if k not in own]
    wrong += [k for k in own if k in state and not _alike(own[k], state[k])]
    if wrong:
        names = ", ".join(wrong[:3])
        raise CheckpointError(
            f"{source} does not fit its own configuration ({len(wrong)} tensors, such as {names}): "
            "it is damaged or from another version; get it again."
        )
    # a model on the meta device has no memory of its own: it takes the tensors as they are
    model.load_state_dict(state, assign=any(tensor.is_meta for tensor in own.values()))
    return model.eval().requires_grad_(False)


def assemble(config: Config, state: Mapping[str, Tensor], source: str | Path) -> Generator:
    """The generator of a configuration and its state, which it takes over without a copy.

    What a file may lack is made: noise maps from a fixed seed, the mean of w from mapped z;
    `Generator.notes` says so. Raises CheckpointError where configuration and state do not fit."""
    layers = max(config.mapping_layers, config.num_ws)
    if layers > len(state):  # before so many are made
        raise incomplete("StyleGAN", KeyError(f"layer {len(state)}"))
    with torch.device("meta"):  # 30 million weights need not be initialised to be replaced
        generator = Generator(config)
    state, notes = dict(state), []
    noise = {k: v.shape for k, v in generator.state_dict().items() if k.endswith(".noise_const")}
    if noise and noise.keys().isdisjoint(state):
        if sum(shape.numel() for shape in noise.values()) > MOST_NOISE:
            raise incomplete("StyleGAN", KeyError(next(iter(noise))))
        rng = torch.Generator().manual_seed(0)
        state |= {name: torch.randn(shape, generator=rng) for name, shape in noise.items()}
        notes.append("the file has no noise maps: they are drawn from a fixed seed")
    measured = MEAN not in state
    if measured:
        state[MEAN] = torch.zeros(config.w_dim)
    build(generator, {name: tensor.contiguous() for name, tensor in state.items()}, source)
    if measured:
        notes.append(f"the file has no mean of w: it is that of {_measure_mean(generator):,} z")
    generator.notes = tuple(notes)
    return generator


@torch.no_grad()
def _measure_mean(generator: Generator) -> int:
    """The mean of w over random z of a fixed seed; gives their number, which is smaller for mapping
    networks that are much larger than the papers'."""
    work = sum(p.numel() for p in generator.mapping.parameters())
    size = 100  # at once, few enough for little memory
    samples = MEAN_SAMPLES if work <= MEAN_WORK // MEAN_SAMPLES else MEAN_WORK // (4 * work)
    batches = max(1, samples // size)
    rng = torch.Generator().manual_seed(0)
    total = torch.zeros(generator.w_dim)
    for _ in range(batches):
        z, c = generator.draw_inputs(size, rng)
        total += generator.mapping(z, c)[:, 0].sum(0)
    generator.w_avg.copy_(total / (batches * size))
    return batches * size


def assemble_published(
    config: Config, state: Mapping[str, Tensor], source: str | Path
) -> Generator:
    """`assemble` for a file of another project. Raises CheckpointError, also for a mapping network
    without classes whose first layer is wider than w: it takes an embedding of the class beside z,
    which the file does not hold."""
    if not config.c_dim and config.z_dim > config.w_dim:
        raise CheckpointError(
            f"{source} is of a class-conditional generator (its mapping network takes "
            f"{config.z_dim} numbers, w has {config.w_dim}), but its class embedding was left out "
            "when it was exported: open the file that it was made from, such as NVIDIA's .pkl, "
            "which keeps the classes."
        )
    return assemble(config, state, source)


def stylegan2_layers(blocks: int) -> Iterator[tuple[int, str, int | None]]:
    """The layers of a StyleGAN2 in their order: the block, our name in it, and the number among the
    convolutions, None for an RGB output."""
    for block in range(blocks):
        if block:
            yield block, "conv0", 2 * block - 1
        yield block, "conv1", 2 * block
        yield block, "to_rgb", None


def stylegan2_config(state: Mapping[str, Tensor], **more: Any) -> StyleGAN2Config:
    """The configuration of a StyleGAN2 in our layout, by its shapes. more: what they do not say.

    Raises KeyError where tensors are missing, InputError for what cannot be a generator."""
    blocks = _count(state, r"synthesis\.blocks\.\d+\.to_rgb\.weight")
    colours = [state[f"synthesis.blocks.{block}.to_rgb.weight"] for block in range(blocks)]
    const = state["synthesis.const"]
    shapes: dict[str, Any] = {
        "resolution": 2 ** (blocks + 1),
        **mapping_numbers(state),
        "channels": tuple(weight.shape[1] for weight in colours),
        "img_channels": colours[-1].shape[0],
        "const_size": (const.shape[1], const.shape[2]),
    }
    return StyleGAN2Config(**shapes | more)


def mapping_numbers(state: Mapping[str, Tensor]) -> dict[str, int]:
    """What a configuration says of the mapping network, by the shapes of our layout."""
    layers = _count(state, r"mapping\.layers\.\d+\.weight")
    embed = state.get("mapping.embed.weight")
    w_dim = state[f"mapping.layers.{layers - 1}.weight"].shape[0]
    return {
        "z_dim": state["mapping.layers.0.weight"].shape[1] - (0 if embed is None else w_dim),
        "w_dim": w_dim,
        "c_dim": 0 if embed is None else embed.shape[1],
        "mapping_layers": layers,
    }


def _count(state: Mapping[str, Tensor], name: str) -> int:
    return sum(1 for key in state if re.fullmatch(name, key))


def make_config(kind: type, values: dict[str, Any], source: str | Path) -> Any:
    try:
        for name, declared in _types(kind).items():
            if name in values and not _is_of(values[name], declared):
                raise TypeError(f"{name} is {shown(values[name])}")
        return kind(**values)
    except (TypeError, InputError) as error:
        raise CheckpointError(
            f"{source} has a configuration that this version does not know ({error}): update the "
            "project or get the file again."
        ) from error


_types = cache(get_type_hints)


def _is_of(value: Any, declared: Any) -> bool:
    """Whether a value, from JSON, has the declared type of a configuration's field."""
    if isinstance(declared, UnionType):
        return any(_is_of(value, one) for one in get_args(declared))
    if get_origin(declared) is tuple:
        part = get_args(declared)[0]
        return isinstance(value, list | tuple) and all(_is_of(one, part) for one in value)
    return type(value) is declared or (declared is float and type(value) is int)


def incomplete(project: str, error: Exception) -> CheckpointError:
    what = f"{error} is missing" if isinstance(error, KeyError) else "a tensor has another shape"
    return CheckpointError(
        f"This is not a whole {project} generator: {what}; choose the file that holds the "
        "generator (g_ema)."
    )


@contextmanager
def translating(project: str, architecture: str = "StyleGAN2") -> Iterator[None]:
    """What is missing or impossible in a state dict that is translated, as CheckpointError."""
    try:
        yield
    except (KeyError, IndexError, ValueError) as error:
        raise incomplete(project, error) from error
    except InputError as error:
        raise CheckpointError(
            f"This {architecture} generator is of a kind that is not supported: {error} Choose "
            "another one."
        ) from error


def _alike(own: Tensor, given: Tensor) -> bool:
    return own.shape == given.shape and own.is_floating_point() <= given.is_floating_point()
