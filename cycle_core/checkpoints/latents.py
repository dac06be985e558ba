"""Directions and codes, as formats among others; their own modules open them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..codes import Code, latents_in, load_code
from ..directions.direction import Direction
from ..directions.files import list_directions
from ..directions.foreign import (
    is_direction,
    is_relevance,
    is_statistics,
    load_style_deviations,
    load_vectors,
)
from .format import Format
from .native import OURS, is_ours
from .reading import Contents


def _is_foreign_direction(contents: Contents) -> bool:
    return contents.container != "safetensors" and is_direction(contents.data)


def _is_foreign_code(contents: Contents) -> bool:
    return contents.container != "safetensors" and bool(latents_in(contents.data))


def _load_directions(contents: Contents) -> list[Direction]:
    return list_directions(contents.path)


def _load_code(contents: Contents) -> Code:
    return load_code(contents.path)


def _load_relevance(contents: Contents) -> Tensor:
    return load_vectors(contents.path, "a row for each convolution channel")


def _load_statistics(contents: Contents) -> Tensor:
    return load_style_deviations(contents.path)


def _describe_table(table: Tensor) -> dict[str, Any]:
    return {"shape": list(table.shape)}


def _describe_directions(directions: list[Direction]) -> dict[str, Any]:
    first = directions[0]
    return {
        "directions": [direction.name for direction in directions],
        "shape": list(first.vectors.shape),
        "length": round(float(first.vectors.norm(dim=-1).mean()), 4),
        "space": first.space,
    }


def _describe_code(code: Code) -> dict[str, Any]:
    _, styles, dimensions = code.w.shape
    return {
        "codes": code.batch,
        "styles": styles,
        "dimensions": dimensions,
        "space": code.space,
        "generator": code.generator or "not known",
    }


FORMATS = (
    Format(OURS, "direction", is_ours("direction"), _load_directions, _describe_directions),
    Format(OURS, "code", is_ours("code"), _load_code, _describe_code),
    Format(
        "InterFaceGAN, GANSpace, SeFa",
        "direction",
        _is_foreign_direction,
        _load_directions,
        _describe_directions,
    ),
    Format("PTI, e4e, NVIDIA's projector", "code", _is_foreign_code, _load_code, _describe_code),
    Format(
        "StyleCLIP",
        "table of relevances",
        lambda contents: is_relevance(contents.data),
        _load_relevance,
        _describe_table,
    ),
    Format(
        "StyleCLIP",
        "table of style statistics",
        lambda contents: is_statistics(contents.data),
        _load_statistics,
        _describe_table,
    ),
)
