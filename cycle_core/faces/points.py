"""Faces from points that no detector of this library found: set by hand, or of a face mesh."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..files.json import JsonError, parse_json
from .choose import left_to_right
from .frame import Face, ffhq_quad

_LARGEST_FILE = 10_000_000  # bytes
_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
EVERY = ""  # the name of points that were given without a picture's name


def manual(points: torch.Tensor | Sequence[Sequence[float]]) -> Face:
    """A Face from points given by hand, [5,2] or [68,2] in pixels; InputError for other shapes.

    Five points are eye, eye, nose, mouth corner, mouth corner; which of two is the left one is told
    by the others."""
    try:
        given = torch.as_tensor(points, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"Points are pairs of x and y in pixels, not {points!r}.") from error
    if given.shape == (5, 2):
        given = _ordered(given)
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


def load_points(given: str) -> dict[str, list[Face]]:
    """Points by hand, as the command line takes them: the faces of each picture, by its name.

    given: numbers "x,y,x,y,...", ten for a face (or 136: the common 68 points), or the path of a
        small file: JSON ([[x, y], ...], a list of these, or an object with one for each picture's
        name), or text with the ten numbers of a face in a line, after a picture's name or without.
    Points without a name stand under `EVERY`. Raises InputError for anything else."""
    if re.fullmatch(r"[-+\d.eE,;\s]+", given):
        return {EVERY: left_to_right(_faces(_flat(read_points(given)), "`points`"))}
    path = Path(given)
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_FILE:
            raise OSError
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{given} is neither points (x,y,x,y,... of eye, eye, nose, mouth corner, mouth "
            "corner) nor a small text or JSON file of them."
        ) from error
    found = _of_json(text, path) if text.lstrip()[:1] in ("[", "{") else _of_lines(text, path)
    if not found:
        raise InputError(f"{path} holds no points: ten numbers for each face are expected.")
    return {name: left_to_right(faces) for name, faces in found.items()}


def of_picture(points: Mapping[str, list[Face]], path: Path) -> list[Face] | None:
    """Those of `load_points` for one picture, None where there are none."""
    names = (path.name, path.stem, EVERY)
    return next((points[name] for name in names if name in points), None)


def _of_json(text: str, path: Path) -> dict[str, list[Face]]:
    try:
        values = parse_json(text, (list, dict))
    except JsonError as error:
        raise InputError(f"{path} is no JSON that can be read ({error}): write it anew.") from error
    named = values if isinstance(values, dict) else {EVERY: values}
    return {name: _faces(_flat(part), str(path)) for name, part in named.items()}


def _of_lines(text: str, path: Path) -> dict[str, list[Face]]:
    found: dict[str, list[float]] = {}
    for line in text.splitlines():
        start = len(line)  # of the numbers, which are at the end
        for word in reversed(list(re.finditer(r"[^\s,;:]+", line))):
            if re.fullmatch(_NUMBER, word[0]) is None:
                break
            start = word.start()
        if start < len(line):
            name = line[:start].strip(" \t,;:")
            found.setdefault(name, []).extend(_flat(read_points(line[start:])))
    return {name: _faces(numbers, str(path)) for name, numbers in found.items()}


def _flat(values: Any, depth: int = 0) -> list[float]:
    """The numbers of nested lists."""
    if isinstance(values, (int, float)) and not isinstance(values, bool):
        return [float(values)]
    if not isinstance(values, (list, tuple)) or depth > 3:
        raise InputError("A file of points holds something else: lists of [x, y] are expected.")
    return [number for value in values for number in _flat(value, depth + 1)]


def _faces(numbers: list[float], source: str) -> list[Face]:
    size = 136 if len(numbers) % 136 == 0 else 10
    if not numbers or len(numbers) % size:
        raise InputError(
            f"{source} gives {len(numbers)} numbers: ten are needed for a face, x and y of eye, "
            "eye, nose, mouth corner, mouth corner."
        )
    return [manual(part) for part in torch.tensor(numbers).view(-1, size // 2, 2)]


def _ordered(points: torch.Tensor) -> torch.Tensor:
    """Five points with the eyes and the mouth's corners in the order of an upright face."""
    across, down = points[1] - points[0], points[3:].mean(0) - points[:2].mean(0)
    if float(across[0] * down[1] - across[1] * down[0]) < 0:
        points, across = points[[1, 0, 2, 3, 4]], -across
    if float((points[4] - points[3]) @ across) < 0:
        points = points[[0, 1, 2, 4, 3]]
    return points


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
