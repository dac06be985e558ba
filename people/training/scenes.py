"""Small grey scenes with faces or without, made from renders of people, on which the landmark
networks are trained.

Renders are few and alike, photographs are many and are not; so everything that a network must not
rely on is drawn at random: light, tone, what covers a face, the background, the camera. What stays
is the arrangement of eyes, nose and mouth. Scenes are grey, for the networks see nothing else: a
random mixture of the render's colour channels stands for all changes of hue.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cycle_core.errors import InputError
from cycle_core.faces.landmarks import face_axis, face_size
from cycle_core.files.shards import open_array

from .renders import HELD_OUT, Renders
from .scenery import Dice, background, cut_out, dress, occlude, photograph, scrambled

MOST = 4  # faces of a picture
_ENLARGED = 1.3  # by how much a face may be shown larger than it was rendered


class People:
    """Every face in folders of `people.dataset` or `people.scenes` that is seen well.

    part: "train", or "held_out": the first tenth of each folder, `HELD_OUT` pictures at most.
    Raises MissingFileError, CheckpointError, and InputError where a folder has too few pictures."""

    def __init__(self, folders: Sequence[str | Path], part: str = "train") -> None:
        if not folders:
            raise InputError("There is nobody to make scenes from: give a folder of renders.")
        self.sets = [Renders(folder) for folder in folders]
        self.digest = "-".join(data.digest[:16] for data in self.sets)
        rows, points, seen = [], [], []
        for number, data in enumerate(self.sets):
            first = min(HELD_OUT, -(-len(data) // 10))
            chosen = slice(first, len(data)) if part == "train" else slice(0, first)
            place, visible = _faces(data)
            if not len(place[chosen]):
                raise InputError(
                    f"{data.folder} holds {len(data)} pictures, which is too few to train on: "
                    "render more of them."
                )
            index = torch.arange(len(data))[chosen]
            rows.append(torch.stack([torch.full_like(index, number), index], 1))
            points.append(place[chosen])
            seen.append(visible[chosen])
        self._rows, self._points, self._seen = (torch.cat(x) for x in (rows, points, seen))
        # picture and number of every face that scenes are made around
        self._faces = (self._seen >= 4).nonzero()
        self._set = self._rows[self._faces[:, 0], 0]
        self._sizes = face_size(self._points[self._faces[:, 0], self._faces[:, 1]])

    def choose(self, count: int, smallest: float, dice: Dice) -> Tensor:
        """Numbers [count] of random faces that can be shown at a size of `smallest` pixels, as
        many of one folder as of another."""
        possible = (self._sizes * _ENLARGED > smallest).float()
        each = torch.zeros(len(self.sets)).index_add(0, self._set, possible)
        if not each.any():
            raise InputError(
                f"No face is larger than {smallest / _ENLARGED:.0f} pixels (half of its FFHQ "
                "crop): render scenes at a higher resolution."
            )
        weights = possible / each.clamp(min=1)[self._set]
        return torch.multinomial(weights, count, replacement=True, generator=dice.rng)

    def around(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """The points [B,MOST,5,2] of all faces in the pictures of these, which come first, NaN
        where nobody is; and how many points of each are seen [B,MOST]."""
        picture, number = self._faces[faces].unbind(1)
        order = (torch.arange(MOST)[None] + number[:, None]) % MOST
        points, seen = self._points[picture], self._seen[picture]
        return points.gather(1, order[..., None, None].expand_as(points)), seen.gather(1, order)

    def picture(self, face: int) -> tuple[Tensor, Tensor]:
        """uint8 [3,R,R], and where people are: uint8 [1,R,R], 0 behind them."""
        number, index = self._rows[self._faces[face, 0]].tolist()
        data = self.sets[number]
        shard, row = divmod(index, data.shard)
        image, mask = (open_array(data.folder, shard, kind)[row] for kind in ("images", "masks"))
        return torch.from_numpy(np.array(image)), torch.from_numpy(np.array(mask))[None]


def _faces(data: Renders) -> tuple[Tensor, Tensor]:
    """Points [N,MOST,5,2] in pixels, NaN where nobody is or is seen, and how many of each face's
    points are seen [N,MOST]."""
    shards = range(-(-len(data) // data.shard))
    parts = [np.array(open_array(data.folder, i, "points")) for i in shards]
    points = torch.from_numpy(np.concatenate(parts or [np.zeros((0, 5, 2), "f4")]))
    if points.ndim == 3:  # one person each, before whom nobody stands
        points = F.pad(points[:, None], (0, 0, 0, 0, 0, MOST - 1), value=math.nan)
        visible = torch.ones(points.shape[:3], dtype=torch.bool)
    else:
        parts = [np.array(open_array(data.folder, i, "visible")) for i in shards]
        visible = torch.from_numpy(np.concatenate(parts))
    inside = ((points > 0) & (points < data.resolution)).all(-1)
    seen = (visible & inside).sum(-1)
    return torch.where((seen > 1)[..., None, None], points, math.nan), seen


@dataclass(frozen=True)
class Placement:
    """Where faces lie in the scenes. Sizes are half the side of a face's FFHQ crop, in pixels."""

    side: int  # of the scene
    face: tuple[float, float]  # smallest and largest size, uniform in its logarithm
    spread: float  # how far from the centre of the scene, as a share of what is possible
    tilt: float  # standard deviation of the rotation in the plane, radians
    turned: float  # share of the faces whose rotation is uniform up to `limit` instead
    limit: float  # largest rotation, radians
    empty: float  # share of the scenes without any face
    missed: float = 0.0  # share with a face so far off in place or size that it counts as none


FINDING = Placement(112, (16.0, 60.0), 1.0, 0.25, 0.4, 0.95, 0.2)
REFINING = Placement(96, (32.0, 48.0), 0.20, 0.12, 0.1, 0.45, 0.14, 0.08)


@dataclass(frozen=True)
class Scenes:
    """images: uint8 [N,1,side,side], grey; points: float32 [N,MOST,5,2] in pixels ((0,0) = the
    corner), NaN where there is no face, first the one that the scene was made around; sure: bool
    [N,MOST], False also for faces that may be found or not: half hidden, too small, too large."""

    images: Tensor
    points: Tensor
    sure: Tensor


def synthesise(
    people: People, count: int, placement: Placement, seed: int, batch: int = 32
) -> Scenes:
    """Make `count` scenes, the same for the same seed."""
    dice = Dice(torch.Generator().manual_seed(seed))
    parts = [
        _scenes(people, min(batch, count - start), placement, dice)
        for start in range(0, count, batch)
    ]
    images, points, sure = (torch.cat(part) for part in zip(*parts, strict=True))
    return Scenes(images, points, sure)


# --------------------------------------------------------------------------------- one batch
def _scenes(people: People, b: int, place: Placement, dice: Dice) -> tuple[Tensor, Tensor, Tensor]:
    n = place.side
    grid, half = _grid(n), _grid(n, n // 2)  # [n,n,2]; what is soft is drawn on the half one
    faces = people.choose(b, place.face[0], dice)
    points, seen = people.around(faces)
    matrix, present = _camera(points[:, 0], place, dice)  # [B,3,3] render to scene
    scale = face_size(_apply(matrix, points[:, 0])) / face_size(points[:, 0])
    bend = _Bend(face_size(points[:, 0]) * scale, n, dice)
    points = bend.undone(_apply(matrix, points.flatten(1, 2))).view_as(points)
    at = _apply(torch.linalg.inv(matrix), bend(grid.expand(b, -1, -1, -1)).flatten(1, 2))
    face, body, inside = _looks(people, faces, at.view(b, n, n, 2), scale, dice)

    within = ((points.mean(2) > -8) & (points.mean(2) < n + 8)).all(-1)  # of the scene
    alone = (~within[:, 1:].any(1)).view(b, 1, 1, 1)
    target = points[:, 0]
    face = torch.where(alone, dress(face, half, target, dice), face)
    cover = cut_out(body, inside, half, target, alone, dice) * (present > 0).view(b, 1, 1, 1)
    image = background(b, n, grid, dice)
    image = scrambled(image, face, alone.flatten() & (face_size(target) > n / 4), dice)
    image = torch.lerp(image, face, cover)
    image = torch.where(alone, occlude(image, half, target, dice), image)
    image = photograph(image, dice)

    points[present < 1] = math.nan
    size, axis, centre = face_size(points), face_axis(points), points.mean(2)
    sure = (seen >= 4) & ((centre > 0) & (centre < n)).all(-1)
    sure &= (size > 0.85 * place.face[0]) & (size < 1.15 * place.face[1])
    sure &= torch.atan2(axis[..., 1], axis[..., 0]).abs() < place.limit + 0.1
    return image, points, sure


def _grid(n: int, count: int | None = None) -> Tensor:
    """Places [count,count,2] from the centre of the first to the last of n pixels."""
    c = torch.linspace(0.5, n - 0.5, count or n)
    y, x = torch.meshgrid(c, c, indexing="ij")
    return torch.stack([x, y], -1)


def _apply(matrix: Tensor, points: Tensor) -> Tensor:
    """Homographies [B,3,3] of points [B,N,2]."""
    q = points @ matrix[:, :2, :2].transpose(1, 2) + matrix[:, None, :2, 2]
    w = points @ matrix[:, 2, :2, None] + matrix[:, 2, 2].view(-1, 1, 1)
    return q / w.clamp(min=0.2)


class _Bend:
    """Other proportions: a smooth map of places in the scene. Faces of sizes [B] in pixels."""

    def __init__(self, sizes: Tensor, side: int, dice: Dice) -> None:
        b, cells = len(sizes), 5
        field = dice.normal(b, 2, cells, cells) * dice.uniform(0, 0.05, b, 1, 1, 1)
        field = field * sizes.clamp(max=side / 2).view(b, 1, 1, 1)
        self._field = F.interpolate(field, (33, 33), mode="bicubic", align_corners=True)
        self._side = side

    def __call__(self, at: Tensor) -> Tensor:  # [B,h,w,2]
        grid = at.nan_to_num() / self._side * 2 - 1
        moved = F.grid_sample(self._field, grid, padding_mode="border", align_corners=True)
        return at + moved.movedim(1, -1)

    def undone(self, points: Tensor) -> Tensor:
        """The places that this map brings to points [B,N,2]."""
        place = points[:, None]
        for _ in range(6):
            place = place + (points[:, None] - self(place))
        return place[:, 0]


def _camera(points: Tensor, place: Placement, dice: Dice) -> tuple[Tensor, Tensor]:
    """Homographies [B,3,3] from the renders to the scenes; 1 with a face, 0 none, -1 missed [B]."""
    b, n = len(points), float(place.side)
    present = 1 - dice.chance(place.empty, b)
    missed = dice.chance(place.missed, b).bool() & (present > 0)
    present[missed] = -1.0

    low, native = place.face[0], face_size(points)
    high = (native * _ENLARGED).clamp(low, place.face[1])
    size = low * (high / low) ** dice.uniform(0, 1, b)
    tilt = dice.normal(b) * place.tilt
    turned = dice.chance(place.turned, b).bool()
    tilt[turned] = dice.uniform(-place.limit, place.limit, b)[turned]
    tilt = tilt.clamp(-place.limit, place.limit)
    margin = (0.55 * size).clamp(max=n / 2 - 1)[:, None]
    centre = n / 2 + dice.uniform(-1, 1, b, 2) * (n / 2 - margin) * place.spread
    if place.missed:
        kind = dice.chance(0.6, b).bool()
        away = dice.uniform(0, 2 * math.pi, b)
        away = torch.stack([away.cos(), away.sin()], 1)
        off = n / 2 + away * (size * dice.uniform(0.75, 1.5, b))[:, None]
        centre = torch.where((missed & kind)[:, None], off, centre)
        wrong = torch.where(
            dice.chance(0.6, b).bool(), dice.uniform(2, 3, b), dice.uniform(0.25, 0.5, b)
        )
        size = torch.where(missed & ~kind, size * wrong, size)

    axis = face_axis(points)
    turn = tilt - torch.atan2(axis[:, 1], axis[:, 0])  # the renders' own roll is not kept
    stretch = dice.uniform(-0.04, 0.04, b).exp()
    cos, sin = turn.cos(), turn.sin()
    rotation = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    skew = torch.zeros(b, 2, 2)
    skew[:, 0, 0], skew[:, 1, 1] = stretch, 1 / stretch
    skew[:, 0, 1] = dice.uniform(-0.06, 0.06, b)
    linear = (size / native).view(b, 1, 1) * (skew @ rotation)
    matrix = torch.eye(3).repeat(b, 1, 1)
    matrix[:, :2, :2] = linear
    matrix[:, :2, 2] = -(linear @ points.mean(1)[:, :, None])[:, :, 0]
    view = torch.eye(3).repeat(b, 1, 1)
    view[:, 2, :2] = dice.normal(b, 2) * 0.1 / n
    shift = torch.eye(3).repeat(b, 1, 1)
    shift[:, :2, 2] = centre
    return shift @ view @ matrix, present


def _looks(
    people: People, faces: Tensor, at: Tensor, scale: Tensor, dice: Dice
) -> tuple[Tensor, Tensor, Tensor]:
    """What renders show at places [B,n,n,2] in their pixels, shrunk by `scale` [B]: grey in 0..1,
    how much of it people are, and where the render is; each [B,1,n,n]."""
    b = len(faces)
    weights = torch.tensor([0.299, 0.587, 0.114]) + 0.22 * dice.normal(b, 3)
    weights = weights.abs() / weights.abs().sum(1, keepdim=True)
    looks, grids = [], []
    for place, face, factor, weight in zip(at, faces, scale, weights, strict=True):
        image, mask = people.picture(int(face))
        grey = (image.float() * weight.view(3, 1, 1)).sum(0, keepdim=True) / 255
        texture = torch.cat([grey, (mask > 0).float()])[None]
        step = 2 ** max(0, math.floor(0.3 - math.log2(float(factor))))  # from a coarser copy
        texture = F.avg_pool2d(texture, step) if step > 1 else texture
        grids.append(place[None] / (texture.shape[-1] * step) * 2 - 1)
        look = F.grid_sample(texture, grids[-1], padding_mode="border", align_corners=False)
        looks.append(look)
    grey, body = torch.cat(looks).split(1, 1)
    inside = (torch.cat(grids).abs().amax(-1) < 1).float()[:, None]
    # a bent tone curve: hair, skin and lips change their order of brightness now and then
    amount = dice.uniform(0, 0.22, b, 1, 1, 1) * dice.chance(0.3, b, 1, 1, 1)
    bent = torch.sin(grey * dice.uniform(3, 9, b, 1, 1, 1) + dice.uniform(0, 6.3, b, 1, 1, 1))
    return (grey + amount * bent).clamp(0, 1), body * inside, inside
