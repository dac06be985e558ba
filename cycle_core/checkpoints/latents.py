"""Directions and codes, as formats among others; their own modules open them."""

from __future__ import annotations

from typing import Any

from ..codes import Code, latents_in, load_code
from ..directions.direction import Direction
from ..directions.files import list_directions
from ..directions.foreign import is_direction
from .format import Format
from .ours import OURS, is_ours
from .reading import Contents


def _is_foreign_direction(contents: Contents) -> bool:
    return contents.container != "safetensors" and is_direction(contents.data)


def _is_foreign_code(contents: Contents) -> bool:
    return contents.container != "safetensors" and bool(latents_in(contents.data))


def _load_directions(contents: Contents) -> list[Direction]:
    return list_directions(contents.path)


def _load_code(contents: Contents) -> Code:
    return load_code(contents.path)


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
)
