"""Faces over time: the same person in successive video frames, and smooth paths of the points."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..errors import InputError, MismatchError, NoFaceError
from .choose import Choice, left_to_right, pick, without
from .frame import Face
from .points import manual

ONE_FACE = (
    "Of a video one face is edited at a time: choose it by its number, and give the result again "
    "for the next."
)
_REACH = 1.0  # how far a face moves between two video frames, in lengths of its box's side


@contextlib.contextmanager
def named(photo: int, photos: int) -> Iterator[None]:
    """An error of one photo of several names it."""
    try:
        yield
    except (InputError, MismatchError) as error:
        if photos == 1:
            raise
        message = f"Picture {photo} of {photos} (counted from 0): {error}"
        raise type(error)(message) from error


def follow(
    found: Sequence[Sequence[Face]],
    choice: Choice,
    none: str,
    smoothing: float,
    among: Callable[[int, Sequence[Face]], Sequence[Face]] = lambda frame, faces: faces,
    one: bool = False,
) -> list[list[Face | str]]:
    """The targets of every video frame, of the faces that were found in each: see `align_all`.

    among(frame, faces): which people may be chosen, of their faces where they first appear.
    one: whether InputError is raised where several are meant."""
    tracks = sorted(_tracks(found), key=_position)
    if not tracks and none == "error":
        raise NoFaceError(
            f"No face was found in any of the {len(found)} pictures: try another detector, give "
            "five points by hand, or take the centre of the pictures."
        )
    first = [track[min(track)] for track in tracks]
    sizes = [sum(face.area for face in track.values()) for track in tracks]
    may = [x for track, face in zip(tracks, first, strict=True) for x in among(min(track), [face])]
    picked = pick(first, choice, may, sizes)
    if not picked:
        without(first, none)  # raises where that is wanted
    if one and len(picked) > 1:
        raise InputError(ONE_FACE)
    followed = [_smoothed(tracks[k], smoothing) for k in picked]
    targets: list[list[Face | str]] = []
    for i in range(len(found)):
        here = left_to_right([track[i] for track in followed if i in track])
        with named(i, len(found)):
            targets.append([*here] or without([], none))
    return targets


def _position(track: dict[int, Face]) -> float:
    """How far to the right somebody is, on the average."""
    return sum(float(face.points[:, 0].mean()) for face in track.values()) / len(track)


def _tracks(found: Sequence[Sequence[Face]]) -> list[dict[int, Face]]:
    """Faces of successive frames that are one person's: frame -> face, for each person."""
    tracks: list[dict[int, Face]] = []
    for i, faces in enumerate(found):
        last = [track[max(track)] for track in tracks]
        pairs = sorted(
            (_apart(a, b), t, f) for t, a in enumerate(last) for f, b in enumerate(faces)
        )
        taken: set[int] = set()
        for distance, t, f in pairs:
            if distance < _REACH and i not in tracks[t] and f not in taken:
                tracks[t][i] = faces[f]
                taken.add(f)
        tracks += [{i: face} for f, face in enumerate(faces) if f not in taken]
    return tracks


def _apart(a: Face, b: Face) -> float:
    side = math.sqrt(max(a.area, b.area, 1e-6))
    return float((a.points.mean(0) - b.points.mean(0)).norm()) / side


def _smoothed(track: dict[int, Face], sigma: float) -> dict[int, Face]:
    """The face in every frame from its first to its last, its points smoothed over time."""
    seen = sorted(track)
    dense = all(face.landmarks is not None for face in track.values())
    paths = torch.stack([_points(track[i], dense) for i in seen]).double()  # [T,P,2]
    frames = list(range(seen[0], seen[-1] + 1))
    filled = torch.stack([_between(paths, seen, i) for i in frames])
    smooth = smooth_over_time(filled, sigma).float()
    result = {}
    for i, points in zip(frames, smooth, strict=True):
        nearest = track[min(seen, key=lambda s: abs(s - i))]
        face = manual(points)
        result[i] = replace(face, box=nearest.box, score=nearest.score, detector=nearest.detector)
    return result


def smooth_over_time(paths: Tensor, sigma: float) -> Tensor:
    """[T,...] smoothed along T: at every time the line that fits best around it, weighted by a
    Gaussian of `sigma` frames. A face that moves evenly stays where it is, also at the ends."""
    if len(paths) < 3:
        return paths
    at = torch.arange(len(paths), dtype=torch.double)
    away = at[None, :] - at[:, None]  # [T,T], of s from t
    weights = torch.exp(-(away**2) / (2 * sigma**2)) + 1e-12 / (1 + away**2)
    sums = [(weights * away**k).sum(1, keepdim=True) for k in range(3)]
    lines = weights * (sums[2] - sums[1] * away) / (sums[0] * sums[2] - sums[1] ** 2)
    return torch.einsum("ts,s...->t...", lines, paths.double()).to(paths)


def _points(face: Face, dense: bool) -> Tensor:
    return face.landmarks if dense and face.landmarks is not None else face.points


def _between(paths: Tensor, seen: list[int], frame: int) -> Tensor:
    """The points at a frame, between the frames at which they were seen."""
    after = next(k for k, s in enumerate(seen) if s >= frame)
    if seen[after] == frame:
        return paths[after]
    first, last = seen[after - 1], seen[after]
    return torch.lerp(paths[after - 1], paths[after], (frame - first) / (last - first))
