"""Directions as formats among others that `checkpoints.registry` opens."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..checkpoints.native import NATIVE, is_native
from ..checkpoints.reading import Contents, Format
from .base import BaseDirection
from .files import is_direction, list_directions
from .published import is_relevance, is_statistics, load_style_deviations, load_vectors


def _load_directions(contents: Contents) -> list[BaseDirection]:
    return list_directions(contents.path)


def _describe_table(table: Tensor) -> dict[str, Any]:
    return {"shape": list(table.shape)}


def _describe_directions(directions: list[BaseDirection]) -> dict[str, Any]:
    first = directions[0]
    return {
        "directions": [direction.name for direction in directions],
        **first.describe(),
        "space": first.space,
    }


FORMATS = (
    Format(NATIVE, "direction", is_native("direction"), _load_directions, _describe_directions),
    Format(
        "InterFaceGAN, GANSpace, SeFa, StyleCLIP",
        "direction",
        lambda contents: contents.container != "safetensors" and is_direction(contents.data),
        _load_directions,
        _describe_directions,
    ),
    Format(
        "StyleCLIP",
        "table of relevances",
        lambda contents: is_relevance(contents.data),
        lambda contents: load_vectors(contents.path, "a row for each convolution channel"),
        _describe_table,
    ),
    Format(
        "StyleCLIP",
        "table of style statistics",
        lambda contents: is_statistics(contents.data),
        lambda contents: load_style_deviations(contents.path),
        _describe_table,
    ),
)
