"""Batches of photos, such as the frames of a video: align all of them, paste all crops back.

    crops, places = align_all(photos, size=256, choice="all")
    photos = paste_all(photos, edited, places, references=reconstructions)

In a video the faces are followed from frame to frame and their landmarks are smoothed over time:
crops that tremble give codes that tremble, and the pasted face would flicker."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import InputError, NoFaceError
from ..runtime.devices import one_thread_if_small
from ..runtime.progress import Callback
from .choose import Marks, choose, left_to_right
from .detect import detect
from .frame import Face, Frame, align
from .paste import FEATHER, paste
from .points import manual

_REACH = 1.0  # how far a face moves between two frames at most, in lengths of its box's side


@dataclass(frozen=True)
class Places:
    """Where the crops of a batch of photos were taken: crop i at frames[i] of photo photos[i].

    count: the number of photos. faces: what was found there, None for the centre of a photo.
    found: all faces of each photo, from left to right; empty where nobody looked.
    The crops are in the order of the photos."""

    frames: tuple[Frame, ...]
    photos: tuple[int, ...]
    count: int
    faces: tuple[Face | None, ...]
    found: tuple[tuple[Face, ...], ...] = ()

    def __str__(self) -> str:
        crops, photos = len(self.frames), self.count
        return (
            f"The places of {crops} crop{'s'[: crops != 1]} in {photos} photo{'s'[: photos != 1]}."
        )


def align_all(
    photos: Tensor,
    size: int,
    detector: str = "auto",
    choice: str | int = "largest",
    none: str = "error",
    smoothing: float = 0.0,
    faces: Sequence[Sequence[Face]] | None = None,
    device: torch.device | str | None = None,
    callback: Callback | None = None,
    marks: Marks | None = None,
) -> tuple[Tensor, Places]:
    """Crop the faces of every photo as `align` does: (crops float32 [N,3,size,size], Places).

    photos: float [B,3,H,W] in [-1,1].
    detector, choice, none: see `face.detect` and `face.choose`, for every photo by itself.
    smoothing: 0 for photos that have nothing to do with each other. For a video the standard
        deviation, in frames, of a Gaussian over the landmarks' paths: faces are followed, choice
        counts those that take most room in the whole video first, and a face that is missed in
        between is where the frames before and after say. `none` then is for the frames before its
        first and after its last appearance.
    faces: those of each photo, largest first, where they are known: no detector is needed then.
    marks: choose among the faces at these places alone; in a video among those that begin there.
    device: where each photo is worked on, its own if None; the crops are where the photos are.
    callback(done, total, photo): after each photo; what it raises ends this.
    Raises NoFaceError that names the photo, InputError for other shapes."""
    _check_photos(photos)
    if faces is not None and len(faces) != len(photos):
        raise InputError(
            f"Landmarks of {len(faces)} pictures were given for {len(photos)} pictures: find them "
            "in the same batch."
        )
    marks = marks or Marks()
    size_of_photo = photos.shape[-1], photos.shape[-2]
    found = []
    with one_thread_if_small():
        for i in range(len(photos)):
            photo = photos[i : i + 1]
            seen = faces[i] if faces is not None else detect(photo.to(device), detector)
            found.append(list(seen))
            if callback is not None:
                callback(i + 1, len(photos), photo)
        if smoothing > 0 and len(photos) > 1:
            tracks = _tracks(found)
            meant = [t for t in tracks if marks.among([t[min(t)]], *size_of_photo)]
            targets = _followed(meant, len(photos), choice, none, smoothing)
        else:
            targets = [
                _chosen(marks.among(here, *size_of_photo), choice, none, i, len(photos))
                for i, here in enumerate(found)
            ]
        crops, places = _crops(photos, targets, size, device)
    return crops, replace(places, found=tuple(tuple(left_to_right(here)) for here in found))


def align_again(
    photos: Tensor,
    places: Places,
    size: int,
    device: torch.device | str | None = None,
    callback: Callback | None = None,
) -> tuple[Tensor, Places]:
    """The crops at the places of another batch of the same size, such as a depth map's or another
    take's: as `align_all`. Of one photo the places are taken in every photo.

    Raises InputError where the numbers do not fit, MismatchError for photos of another size."""
    _check_photos(photos)
    if places.count not in (1, len(photos)):
        raise InputError(
            f"The frames are of {places.count} pictures, and {len(photos)} are given: give as "
            "many, or the frames of one."
        )
    targets: list[list[Face | Frame | str]] = [[] for _ in photos]
    for frame, source in zip(places.frames, places.photos, strict=True):
        for i in range(len(photos)) if places.count == 1 else (source,):
            targets[i].append(frame)
    with one_thread_if_small():
        return _crops(photos, targets, size, device, callback)


def _crops(
    photos: Tensor,
    targets: Sequence[Sequence[Face | Frame | str]],
    size: int,
    device: torch.device | str | None,
    callback: Callback | None = None,
) -> tuple[Tensor, Places]:
    crops, frames, sources, kept = [], [], [], []
    for i, wanted in enumerate(targets):
        photo = photos[i : i + 1].to(device)
        for target in wanted:
            crop, frame = align(photo, target, size)
            crops.append(crop.to(photos.device))
            frames.append(frame)
            sources.append(i)
            kept.append(target if isinstance(target, Face) else None)
        if callback is not None:
            callback(i + 1, len(targets), photo)
    stacked = torch.cat(crops) if crops else photos.new_zeros(0, 3, size, size)
    return stacked, Places(tuple(frames), tuple(sources), len(photos), tuple(kept))


def paste_all(
    photos: Tensor,
    crops: Tensor,
    places: Places,
    references: Tensor | None = None,
    masks: Tensor | None = None,
    feather: float = FEATHER,
    detail: float = 1.0,
    device: torch.device | str | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Every crop back into its photo, see `blend.paste`: float32 [B,3,H,W], or [V*B,3,H,W].

    photos: [B,3,H,W], those that were aligned. crops: [N,3,S,S] in the order of `places`; or V
        times as many, version after version, such as one face with V edits: then every version has
        photos of its own.
    references: pictures of the unedited codes; masks: float [.,1,M,M] in 0..1 over the crops; each
        one for all, N or as many as crops. device: as in `align_all`.
    Raises InputError where numbers do not fit, MismatchError for other photos."""
    _check_photos(photos)
    count = len(places.frames)
    if len(photos) != places.count:
        raise InputError(
            f"{places.count} pictures were aligned, but {len(photos)} are to be pasted into: give "
            "the same batch."
        )
    if count == 0:
        return photos.clone()
    if len(crops) == 0 or len(crops) % count:
        raise InputError(
            f"{count} faces were aligned, but {len(crops)} edited crops were given: give one for "
            "each face, or a whole number of versions of all."
        )
    references = _for_each(references, len(crops), count, "references")
    masks = _for_each(masks, len(crops), count, "masks")
    versions = []
    for start in range(0, len(crops), count):
        pasted = [photo[None] for photo in photos]
        for k, (frame, i) in enumerate(zip(places.frames, places.photos, strict=True)):
            at = start + k
            reference = None if references is None else references[at : at + 1]
            mask = None if masks is None else masks[at : at + 1]
            crop, photo = crops[at : at + 1], pasted[i].to(device)
            with one_thread_if_small():
                done = paste(photo, crop, frame, reference, mask, feather, detail)
            pasted[i] = done.to(photos.device)
            if callback is not None:
                callback(at + 1, len(crops), done)
        versions += pasted
    return torch.cat(versions)


def cover(
    places: Places,
    photos: Tensor,
    feather: float = FEATHER,
    masks: Tensor | None = None,
    crops: int | None = None,
) -> Tensor:
    """What `paste_all` may change: float32 in 0..1, [B,1,H,W] or, for V times as many crops as
    faces, [V*B,1,H,W]."""
    count = len(places.frames)
    black = torch.full_like(photos, -1.0)
    white = photos.new_ones(count if crops is None else crops, 3, 8, 8)
    pasted = paste_all(black, white, places, None, masks, feather, detail=0.0)
    return (pasted[:, :1] + 1) / 2


# ------------------------------------------------------------------ faces over time
def follow(
    found: list[list[Face]], choice: str | int, none: str, smoothing: float
) -> list[list[Face | str]]:
    """The targets of every frame of a video whose faces are known; see `align_all`."""
    return _followed(_tracks(found), len(found), choice, none, smoothing)


def _chosen(
    faces: list[Face], choice: str | int, none: str, photo: int, photos: int
) -> list[Face | str]:
    try:
        return choose(faces, choice, none)
    except NoFaceError as error:
        if photos == 1:
            raise
        raise NoFaceError(f"Picture {photo} of {photos} (counted from 0): {error}") from error


def _followed(
    tracks: list[dict[int, Face]], count: int, choice: str | int, none: str, smoothing: float
) -> list[list[Face | str]]:
    """The targets of each of `count` frames of a video."""
    tracks.sort(key=lambda track: sum(face.area for face in track.values()), reverse=True)
    best = [max(track.values(), key=lambda face: face.area) for track in tracks]
    wanted = choose(best, choice, "error" if none == "error" else "skip")
    wanted_ids = {id(face) for face in wanted}  # faces hold tensors, which do not compare
    followed = [
        _smoothed(track, smoothing)
        for track, face in zip(tracks, best, strict=True)
        if id(face) in wanted_ids
    ]
    targets: list[list[Face | str]] = []
    for i in range(count):
        here: list[Face | str] = [track[i] for track in followed if i in track]
        targets.append(here or choose([], choice, none))
    return targets


def _tracks(found: list[list[Face]]) -> list[dict[int, Face]]:
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


def _for_each(pictures: Tensor | None, crops: int, count: int, what: str) -> Tensor | None:
    """One for each crop, of one for all, one for each face or one for each crop."""
    if pictures is None or len(pictures) == crops:
        return pictures
    if len(pictures) == 1:
        return pictures.expand(crops, -1, -1, -1)
    if len(pictures) == count:
        return pictures.repeat(crops // count, 1, 1, 1)
    raise InputError(
        f"{len(pictures)} {what} were given for {crops} crops of {count} faces: give one for all, "
        "one for each face or one for each crop."
    )


def _check_photos(photos: Tensor) -> None:
    if photos.ndim != 4 or photos.shape[1] != 3 or 0 in photos.shape:
        raise InputError(
            f"Photos have the shape [batch, 3, height, width], but {list(photos.shape)} was given: "
            "give at least one."
        )
