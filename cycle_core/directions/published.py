"""Vectors and tables in the files of other projects: InterFaceGAN, GANSpace, SeFa, StyleCLIP.

Nothing that a file holds is executed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoints.lazy_tensors import is_numbers
from ..checkpoints.reading import load_all, read_file, reported
from ..checkpoints.unsupported import described
from ..codes import MOST_STYLES
from ..errors import CheckpointError
from .base import DirectionType, Layout
from .direction import Direction
from .discovery import component_direction

MOST_DIRECTIONS = 4096  # of a file; a space of 512 dimensions has as many
_ROWS = "one row for each convolution channel, as in StyleCLIP's fs3.npy,"


def load_style_deviations(path: str | Path) -> Tensor:
    """The standard deviations of StyleCLIP's `S_mean_std`, a pair of lists with one array for each
    layer of StyleSpace: float32 [channels]. Raises MissingFileError, CheckpointError."""
    contents = read_file(path)
    if not is_statistics(contents.data):
        raise CheckpointError(
            f"{path} holds {described(contents)} and not StyleCLIP's statistics: the means and the "
            "standard deviations of the style channels are expected, as in S_mean_std."
        )
    with reported(path):
        return torch.cat([layer.float().flatten() for layer in load_all(contents.data[1])])


def load_relevances(path: Path) -> Tensor:
    """StyleCLIP's `fs3.npy`: float32. Raises CheckpointError for another file."""
    return load_vectors(path, _ROWS)


def load_vectors(path: Path, what: str) -> Tensor:
    """A file that holds one array of numbers: float32. Raises CheckpointError for any other."""
    contents = read_file(path)
    if not is_numbers(contents.data):
        raise CheckpointError(f"{path} holds {described(contents)}, but {what} is expected.")
    with reported(path):
        return load_all(contents.data).float()


def is_relevance(content: Any) -> bool:
    """Whether it looks like StyleCLIP's `fs3.npy`: a row for each convolution channel."""
    return is_numbers(content) and content.ndim == 2 and content.shape[0] > MOST_STYLES


def is_statistics(content: Any) -> bool:
    """Whether it looks like StyleCLIP's `S_mean_std`: two lists of as many arrays, a layer each."""
    if not isinstance(content, list | tuple) or len(content) != 2:
        return False
    means, deviations = content
    if not all(isinstance(part, list) and part and all(map(is_numbers, part)) for part in content):
        return False
    return [layer.shape for layer in means] == [layer.shape for layer in deviations]


def _is_vector(content: Any) -> bool:
    shape = [size for size in content.shape if size != 1] if is_numbers(content) else []
    return len(shape) == 1 or (len(shape) == 2 and shape[0] <= MOST_STYLES)


def _interfacegan(path: Path, content: Any) -> list[Direction]:
    vectors = load_all(content).float().squeeze()
    if vectors.ndim == 1 and len(vectors) > 512 and len(vectors) % 512 == 0:
        vectors = vectors.view(-1, 512)  # boundaries of W+ are flattened
    return [Direction(path.stem, vectors)]


def _ganspace(path: Path, content: Any) -> list[Direction]:
    content = load_all(content)
    keys = ("mean", "comp", "std")
    if "comp" not in content:  # its cache: of the latent code where there is one, else of w itself
        part = "lat" if "lat_comp" in content else "act"
        keys = (f"{part}_mean", f"{part}_comp", f"{part}_stdev")
    mean, components, deviations = (content[key].double() for key in keys)
    mean = mean.flatten()
    _check_count(path, len(deviations))
    components = components.reshape(len(deviations), len(mean))
    return [
        component_direction(f"{path.stem}:{k}", component, mean, float(deviation))
        for k, (component, deviation) in enumerate(zip(components, deviations, strict=True))
    ]


def _sefa(path: Path, content: Any) -> list[Direction]:
    columns = load_all(content["eigvec"]).float()  # [w_dim, K]
    _check_count(path, columns.shape[1])
    return [Direction(f"{path.stem}:{k}", vector) for k, vector in enumerate(columns.T)]


def _check_count(path: Path, count: int) -> None:
    if count > MOST_DIRECTIONS:
        raise CheckpointError(f"{path} holds {count} directions, more than any space has.")


def _has(*keys: str) -> Callable[[Any], bool]:
    return lambda content: isinstance(content, dict) and content.keys() >= set(keys)


TYPE = DirectionType(
    Direction,
    layouts=(
        Layout(_is_vector, _interfacegan),
        Layout(_has("comp", "mean", "std"), _ganspace),
        Layout(_has("act_comp", "act_mean", "act_stdev"), _ganspace),
        Layout(_has("eigvec"), _sefa),
    ),
)
