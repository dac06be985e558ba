"""Where a crop was taken from a photo, and taking it (METHOD section 7, the FFHQ crop)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .images import Photo

if TYPE_CHECKING:
    from .face import Face

Point = tuple[float, float]


@dataclass(frozen=True)
class Frame:
    """The place of a crop in its photo: all that `paste` needs; JSON by `to_json` / `from_json`.

    quad: the crop's corners in photo pixels: top left, bottom left, bottom right, top right.
    size: side of the crop in pixels.
    photo_size: (width, height) of the photo in pixels.
    source: what it was made from: a detector's name, "points" or "centre".
    """

    quad: tuple[Point, Point, Point, Point]
    size: int
    photo_size: tuple[int, int]
    source: str = "points"

    def to_json(self) -> dict[str, Any]:
        raise NotImplementedError

    @staticmethod
    def from_json(values: dict[str, Any]) -> Frame:
        raise NotImplementedError


def align(
    photo: Photo | torch.Tensor, target: Face | torch.Tensor | Frame | str, size: int
) -> tuple[torch.Tensor, Frame]:
    """(crop float32 [1,3,size,size] in [-1,1], Frame) on the photo's device.

    target: a Face, points float32 [5,2] or [68,2], a Frame (the same place again), or "centre"."""
    raise NotImplementedError


def make_frame(
    photo_size: tuple[int, int], target: Face | torch.Tensor | Frame | str, size: int
) -> Frame:
    """The Frame that `align` would use, without taking the crop."""
    raise NotImplementedError


def ffhq_quad(points: torch.Tensor) -> torch.Tensor:
    """points [5,2] or [68,2] -> corners float32 [4,2] of the FFHQ crop (METHOD section 7)."""
    raise NotImplementedError
