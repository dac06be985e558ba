"""The embedded detector: two small networks that were trained on renders alone (`landmarks.py`).

`find` looks at the photo at sizes a factor sqrt(2) apart with the finder, which gives, for each
8 x 8 cell, whether a face is centred there, its size and its five points. What is found at
neighbouring sizes is merged; then the refiner looks at each face turned upright, at one size, as
it is and mirrored, and gives its points exactly and whether it is a face at all.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ...images.resize import pixels, resize
from ..frame import Face
from ..landmarks import (
    MIRRORED,
    REFINER_SIDE,
    REFINER_SIZE,
    Finder,
    Landmarks,
    Refiner,
    face_axis,
    face_size,
    load_landmarks,
)

PACKAGES: tuple[str, ...] = ()
_SMALLEST, _LARGEST = 15.0, 68.0  # face sizes that are believed at one look, pixels
_SURE_SIZES = 18.0, 58.0  # and those that are believed fully
_FIRST_SIDE, _LAST_SIDE = 56.0, 1448.0  # longest sides that the photo is looked at, never enlarged
_CANDIDATE = 0.10  # heat from which a cell is followed up
_FACES = 12  # at most so many are refined
_LEAST = 18.0  # size of a face in the photo, about 24 pixels from brow to chin
_ZOOMS = (0.82, 1.0, 1.22)  # of the last looks
# Scores are 0.5 for a face that is this warm, and whose looks differ so much, in units of its size;
# between what photographs with faces and without gave (docs/embedded-models.md).
_WARMTH, _SPREAD = 0.6, 0.036
# From 55 faces in photographs: how far a nose's tip stands out, in units of the distance from the
# eyes to the mouth; how far points give way to people's proportions; and by how much the networks
# see faces too small.
_NOSE_OUT, _TRUST, _SMALL = 0.47, 0.3, 1.027


def find(image: Tensor, min_score: float = 0.5) -> list[Face]:
    """Faces of at least about 32 pixels, surest first; see `registry.py`.

    Raises MissingFileError or CheckpointError if the embedded weights are not there or damaged."""
    grey = _grey(image)
    networks = _networks(str(grey.device))
    with torch.inference_mode():
        candidates = _candidates(networks.finder, grey)[:_FACES]
        if not candidates:
            return []
        warmth = torch.tensor([warmth for warmth, _ in candidates])
        points = torch.stack([points for _, points in candidates])
        points, sure, _ = refine(networks.refiner, grey, points, zooms=(1.0,))
        hopeful = _score(warmth, sure, 0.0) >= min_score  # most are not: that saves their looks
        warmth, points = warmth[hopeful], points[hopeful]
        if not len(points):
            return []
        first, sure, spread = refine(networks.refiner, grey, points, zooms=(1.0,))
        # what is a face in the end scores above .9 here: half of the rest need no further looks
        hopeful = _score(warmth, sure, spread / 2) >= min_score
        warmth, first = warmth[hopeful], first[hopeful]
        if not len(first):
            return []
        points, sure, spread = refine(networks.refiner, grey, first, _ZOOMS)
    moved = (points - first).norm(dim=-1).mean(1) / face_size(points)
    points = proportioned(points)
    scores = _score(warmth, sure, spread + 0.5 * moved).tolist()
    found = [pair for pair in zip(scores, points, strict=True) if pair[0] >= min_score]
    found.sort(key=lambda pair: -pair[0])
    kept: list[tuple[float, Tensor]] = []
    for score, points in found:  # two first looks may have led to the same face
        if all(_apart(points, other) > 0.5 for _, other in kept):
            kept.append((score, points))
    return [Face(_box(points), score, points, None, "embedded") for score, points in kept]


def upright_turn(image: Tensor, points: Tensor) -> int:
    """By how many quarters, counterclockwise, `image` has to be turned for the face at points [5,2]
    to be upright, where another detector has put the points as if it were: 0 for most."""
    grey = _grey(image)
    centre = points.mean(0)
    guesses = [points - centre]
    for _ in range(3):  # the face's axis clockwise by quarters
        x, y = guesses[-1].unbind(-1)
        guesses.append(torch.stack([-y, x], dim=-1))
    refiner = _networks(str(grey.device)).refiner
    with torch.inference_mode():
        first, _, _ = refine(refiner, grey, torch.stack(guesses) + centre, zooms=(1.0,))
        _, sure, spread = refine(refiner, grey, first, zooms=(1.0,))
    best = int(spread.argmin())
    believed = float(spread[best]) < 0.5 * float(spread[0]) and float(sure[best]) > 0.9
    return best if believed else 0


@lru_cache(maxsize=2)
def _networks(device: str) -> Landmarks:
    return load_landmarks("landmarks", device)


def _grey(image: Tensor) -> Tensor:
    """[1,3,H,W] in [-1,1] -> [1,1,H,W] in 0..1."""
    from kornia.color import rgb_to_grayscale  # here: it takes a second to import

    return (rgb_to_grayscale(image.float()) + 1) / 2


def _score(warmth: Tensor, sure: Tensor, spread: Tensor | float) -> Tensor:
    """0..1 of a face's warmth, how sure the refiner is, and how much its looks differ."""
    return sure * torch.sigmoid(9 * (warmth - _WARMTH) + 120 * (_SPREAD - spread))


def _candidates(finder: Finder, grey: Tensor) -> list[tuple[float, Tensor]]:
    """(warmth, points [5,2] in photo pixels), warmest first; the warmth is the mean heat over the
    sizes of the photo at which a face of that size should be seen, near 1 for most faces."""
    longest = max(grey.shape[-2:])
    factors, looks = [min(1.0, _LAST_SIDE / longest)], []
    while factors[-1] * longest > _FIRST_SIDE * math.sqrt(2):
        factors.append(factors[-1] / math.sqrt(2))
    for factor in factors:
        looks += _look(finder, grey, factor)
    looks.sort(key=lambda look: -look[0])
    if not looks:
        return []
    # plain numbers: there may be hundreds of looks, most of them at nothing
    every = torch.stack([points for _, points in looks])
    centres, sizes = every.mean(1).tolist(), face_size(every).tolist()
    merged, used = [], [False] * len(looks)
    for i, (x, y) in enumerate(centres):
        if used[i]:
            continue
        same = []
        for j, (p, q) in enumerate(centres):
            away = math.hypot(p - x, q - y) / sizes[i]
            if used[j] or away >= 0.7:
                continue
            used[j] = True
            if away < 0.35 and 0.55 < sizes[j] / sizes[i] < 1.8:
                same.append(j)
        trust = torch.tensor([looks[j][0] for j in same])
        mean = (every[same] * trust[:, None, None]).sum(0) / trust.sum()
        seen_at = sum(_trust(float(face_size(mean)) * factor) for factor in factors)
        if float(face_size(mean)) >= _LEAST:
            merged.append((float(trust.sum()) / max(seen_at, 1.0), mean))
    return sorted(merged, key=lambda pair: -pair[0])


def _look(finder: Finder, grey: Tensor, factor: float) -> list[tuple[float, Tensor]]:
    """(heat times trust, points) of the cells that are the warmest around, at one size."""
    height, width = grey.shape[-2:]
    h, w = max(round(height * factor), 16), max(round(width * factor), 16)
    small = resize(grey, (h, w), "bicubic").clamp(0, 1)
    pad = 16  # faces at the edge have something around them
    small = F.pad(small, (pad, pad + -w % 16, pad, pad + -h % 16), mode="replicate")
    logits, _, points = finder(small)
    heat = logits.sigmoid()[0]
    peak = F.max_pool2d(heat[None, None], 3, 1, 1)[0, 0]
    rows, columns = torch.nonzero((heat >= peak) & (heat > _CANDIDATE), as_tuple=True)
    found = points[0, rows, columns] - pad
    trust = [_trust(size) for size in face_size(found).tolist()]
    found = found * found.new_tensor([width / w, height / h])
    looks = zip(heat[rows, columns].tolist(), trust, found.cpu(), strict=True)
    return [(warm * believed, place) for warm, believed, place in looks if believed]


def _trust(size: float) -> float:
    """How much a look at a face of so many pixels counts."""
    if not _SMALLEST < size < _LARGEST:
        return 0.0
    return 1.0 if _SURE_SIZES[0] < size < _SURE_SIZES[1] else 0.6


def refine(
    refiner: Refiner, grey: Tensor, points: Tensor, zooms: tuple[float, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Better points [N,5,2] of faces in a grey photo [1,1,H,W], how surely they are faces [N], and
    how far the looks differ [N], in units of the faces' sizes.

    One look for each zoom (1 is what the refiner was trained on) and one at its mirror image; the
    result is their mean. On a face all looks agree; on what merely resembles one they do not."""
    found, faces = [], []
    points = points.to(grey.device)
    for zoom in zooms:
        crops, matrix, centre = upright(grey, points, zoom)
        offset, face, *_ = refiner(torch.cat([crops, crops.flip(3)]))
        plain, mirror = offset.chunk(2)
        mirror = torch.cat([REFINER_SIDE - mirror[..., :1], mirror[..., 1:]], -1)[:, MIRRORED]
        for look in (plain, mirror):
            found.append((look - REFINER_SIDE / 2) @ matrix + centre)
        faces.append(face.view(2, -1).mean(0))
    looks = torch.stack(found)
    mean = looks.mean(0)
    spread = (looks - mean).norm(dim=-1).mean((0, 2)) / face_size(mean)
    return mean.cpu(), torch.stack(faces).mean(0).sigmoid().cpu(), spread.cpu()


def proportioned(points: Tensor) -> Tensor:
    """Points [N,5,2] of faces narrowed or widened towards the proportions that people have, and
    enlarged by as much as the networks see all faces too small.

    Eyes are as far apart as they are above the mouth, within 5 %, and of a turned head closer by
    the cosine of the turn, as the nose tells; the networks err by more, in either of the two."""
    centre, x = points.mean(1, keepdim=True), face_axis(points)
    axes = torch.stack([x, torch.stack([-x[:, 1], x[:, 0]], 1)], 2)  # [N,2,2]
    place = (points - centre) @ axes
    eyes, mouth = place[:, :2].mean(1), place[:, 3:].mean(1)
    height = (mouth - eyes)[:, 1].clamp(min=1e-3)
    sine = ((place[:, 2, 0] - eyes[:, 0]) / height / _NOSE_OUT).clamp(-0.9, 0.9)
    wide = (place[:, 1, 0] - place[:, 0, 0]) / height / (1 - sine.square()).sqrt()
    wide = wide.clamp(0.6, 1.6) ** _TRUST
    place = torch.stack([place[..., 0] / wide[:, None], place[..., 1] * wide[:, None]], -1)
    # a face's crop lies about a point a tenth of the way from the eyes to the mouth: that stays
    middle = (0.9 * place[:, :2].mean(1) + 0.1 * place[:, 3:].mean(1))[:, None]
    place = middle + (place - middle) * _SMALL
    return place @ axes.transpose(1, 2) + centre


def upright(grey: Tensor, points: Tensor, zoom: float) -> tuple[Tensor, Tensor, Tensor]:
    """Upright crops [N,1,96,96] around faces with points [N,5,2], shown at `zoom` times
    REFINER_SIZE; and matrix [N,2,2] and centre
    [N,1,2], with which a place (row vector, from the crop's middle) is place @ matrix + centre."""
    x = face_axis(points)
    scale = (face_size(points) / (REFINER_SIZE * zoom))[:, None]
    matrix = torch.stack([x, torch.stack([-x[:, 1], x[:, 0]], 1)], 1) * scale[..., None]
    centre = points.mean(1, keepdim=True)
    places = pixels((REFINER_SIDE, REFINER_SIDE), grey) + 0.5 - REFINER_SIDE / 2
    places = places.view(1, -1, 2) @ matrix + centre
    crops = []
    for n in range(len(points)):  # faces differ in size: each from its own reduction of the photo
        step = max(1, int(float(scale[n])))
        source = F.avg_pool2d(grey, step) if step > 1 else grey
        size = grey.new_tensor([source.shape[-1], source.shape[-2]]) * step
        grid = (places[n] / size * 2 - 1).view(1, REFINER_SIDE, REFINER_SIDE, 2)
        crops.append(F.grid_sample(source, grid, padding_mode="border", align_corners=False))
    return torch.cat(crops), matrix, centre


def _apart(points: Tensor, other: Tensor) -> float:
    """Distance of two faces in units of the larger one's size."""
    size = max(float(face_size(points)), float(face_size(other)))
    return float((points.mean(0) - other.mean(0)).norm()) / size


def _box(points: Tensor) -> tuple[float, float, float, float]:
    """Brow to chin of an upright face: the box that detectors usually give."""
    x, y = points.mean(0).tolist()
    size = float(face_size(points))
    return x - 0.55 * size, y - 0.7 * size, x + 0.55 * size, y + 0.6 * size
