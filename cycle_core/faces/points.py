"""Faces from points that no detector of this library found."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import torch

from ..errors import InputError
from .frame import Face, ffhq_quad


def manual(points: torch.Tensor | Sequence[Sequence[float]]) -> Face:
    """A Face from points given by hand, [5,2] or [68,2] in pixels; InputError for other shapes."""
    try:
        given = torch.as_tensor(points, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"Points are pairs of x and y in pixels, not {points!r}.") from error
    quad = ffhq_quad(given)  # also checks them
    landmarks = given if given.shape[0] == 68 else None
    if landmarks is not None:
        eyes = [landmarks[36:42].mean(0), landmarks[42:48].mean(0)]
        given = torch.stack([*eyes, landmarks[30], landmarks[48], landmarks[54]])
    x0, y0, x1, y1 = (*quad.amin(0).tolist(), *quad.amax(0).tolist())
    return Face((x0, y0, x1, y1), 1.0, given, landmarks, "manual")


def read_points(text: str) -> list[tuple[float, float]]:
    """ "320, 200" or "310,180 370,180 ...": pairs of x and y in pixels; InputError for anything
    else."""
    parts = re.split(r"[\s,;]+", text.strip(" \t\n,;()[]"))
    try:
        numbers = [float(part.strip("()[]")) for part in parts if part]
    except ValueError:
        numbers = [math.nan]
    if len(numbers) % 2 or len(numbers) > 2000 or not all(map(math.isfinite, numbers)):
        raise InputError(
            f"Points are pairs of x and y in pixels, such as 320, 200, not {text[:100]!r}."
        )
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def by_hand(points: Sequence[tuple[float, float]]) -> list[Face]:
    """The faces of five points each: an eye, the other, the nose, both mouth corners. InputError
    for another number."""
    if len(points) % 5:
        raise InputError(
            f"A face has five points (eye, eye, nose, mouth corner, mouth corner), but "
            f"{len(points)} were given: give one point to choose a face, or five for each face."
        )
    return [manual(points[k : k + 5]) for k in range(0, len(points), 5)]


def from_mesh(points: torch.Tensor | Sequence[Sequence[float]]) -> Face:
    """A Face from MediaPipe's face mesh, [468,2] or more in pixels (further columns are left out);
    InputError for other shapes."""
    mesh = torch.as_tensor(points, dtype=torch.float32)
    if mesh.ndim != 2 or mesh.shape[0] < 468 or mesh.shape[1] < 2:
        raise InputError(
            f"A face mesh has 468 points or more, but {list(mesh.shape)} was given: connect the "
            "landmarks of MediaPipe's face landmarker."
        )
    return replace(manual(mesh[list(_MESH_68), :2]), detector="mediapipe")


# the points of the mesh that lie where the common 68 do: jaw, brows, nose, eyes, lips
_MESH_68 = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)
