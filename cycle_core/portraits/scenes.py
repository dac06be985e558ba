"""Scenes with one face or none, made from renders, on which the landmark networks are trained.

Renders are few and alike, photographs are many and are not; so everything that a network must not
rely on is drawn at random: the proportions of the face, light, tone, hair and hats, what covers it,
the background, the camera. What stays is the arrangement of eyes, nose and mouth. All is
vectorised over a batch and made in grey, for the networks see nothing else: a random mixture of
the render's colour channels stands for all changes of hue.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from ..faces.landmarks import MIRRORED, face_axis, face_size
from .scenery import Dice, background, cut_out, dress, occlude, photograph, scrambled

# What photographs show: a mouth's width in distances of the eyes, and how far down from the eyes to
# the mouth the nose's tip is.
_MOUTH_WIDE, _NOSE_LOW = 0.86, 0.585


@dataclass(frozen=True)
class Portraits:
    """Renders to take faces from, all on one device.

    images: uint8 [N,3,R,R]; heads: uint8 [N,1,r,r] of any r, 255 where the head
    is, hair included;
    points: float32 [N,5,2] in pixels of the render."""

    images: Tensor
    heads: Tensor
    points: Tensor


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
    """images: uint8 [N,1,side,side], grey; points: float32 [N,5,2] in pixels ((0,0) = the corner),
    NaN where there is no face."""

    images: Tensor
    points: Tensor


def synthesise(
    portraits: Portraits, count: int, placement: Placement, seed: int, batch: int = 32
) -> Scenes:
    """Make `count` scenes, the same for the same seed. Raises InputError without any portrait."""
    if not len(portraits.images):
        raise InputError("There is no portrait to make scenes from: give a data set of renders.")
    dice = Dice(torch.Generator().manual_seed(seed))
    images, points = [], []
    for start in range(0, count, batch):
        image, point = _scenes(portraits, min(batch, count - start), placement, dice)
        images.append(image)
        points.append(point)
    return Scenes(torch.cat(images), torch.cat(points))


def face_axes(points: Tensor) -> Tensor:
    """The upright axes of points [...,5,2]: unit vectors to the right and down, [...,2,2]."""
    x = face_axis(points)
    return torch.stack([x, torch.stack([-x[..., 1], x[..., 0]], -1)], -2)


# --------------------------------------------------------------------------------- one batch
def _scenes(portraits: Portraits, b: int, place: Placement, dice: Dice) -> tuple[Tensor, Tensor]:
    n = place.side
    grid, half = _grid(n), _grid(n, n // 2)  # [n,n,2]; what is soft is drawn on the half one
    texture, points = _portraits(portraits, b, dice)  # [B,2,R,R]: grey, head
    r = texture.shape[-1]
    warped, bend = _proportions(points, r, dice)
    matrix, present = _camera(warped, place, dice)  # [B,3,3] render to scene
    coarse = _grid(n, n // 4 + 1)  # the map is smooth: worked out at every fourth pixel
    at = bend(_apply(torch.linalg.inv(matrix), coarse.view(1, -1, 2)).view(b, *coarse.shape))
    at = F.interpolate(at.movedim(3, 1), (n, n), mode="bilinear", align_corners=True).movedim(1, 3)
    scale = face_size(_apply(matrix, warped)) / face_size(warped)
    sampled = _sample(texture, at, scale)
    points = _apply(matrix, warped)

    face, head = sampled[:, :1], sampled[:, 1:]
    face = dress(face, half, points, dice)
    cover = cut_out(head, half, points, dice) * (present > 0).float().view(b, 1, 1, 1)
    image = background(b, n, grid, dice)
    image = scrambled(image, texture[:, :1], dice)
    image = torch.lerp(image, face, cover)
    image = occlude(image, half, points, dice)
    image = photograph(image, dice)
    points = torch.where((present == 1).view(b, 1, 1), points, torch.full_like(points, math.nan))
    return image, points


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


def _portraits(portraits: Portraits, b: int, dice: Dice) -> tuple[Tensor, Tensor]:
    """Some renders in grey with their head's mask, half of them mirrored, and their points."""
    which = dice.whole(0, len(portraits.images), b)
    grey = _grey(portraits.images[which], dice)
    heads = portraits.heads[which].float() / 255
    heads = F.interpolate(heads, grey.shape[-2:], mode="bilinear", align_corners=False)
    texture = torch.cat([grey, heads], 1)
    points = portraits.points[which].clone()
    mirror = dice.chance(0.5, b).bool()
    texture[mirror] = texture[mirror].flip(3)
    flipped = points[mirror][:, MIRRORED]
    flipped[..., 0] = texture.shape[-1] - flipped[..., 0]
    points[mirror] = flipped
    return texture, points


def _grey(images: Tensor, dice: Dice) -> Tensor:
    """[B,3,R,R] uint8 to [B,1,R,R] in 0..1: random weights of the channels, a random tone."""
    b = len(images)
    weights = torch.tensor([0.299, 0.587, 0.114]) + 0.22 * dice.normal(b, 3)
    weights = weights.abs() / weights.abs().sum(1, keepdim=True)
    grey = (images.float() * weights.view(b, 3, 1, 1)).sum(1, keepdim=True) / 255
    # a bent tone curve: hair, skin and lips change their order of brightness now and then
    amount = dice.uniform(0, 0.22, b, 1, 1, 1) * dice.chance(0.3, b, 1, 1, 1)
    bent = torch.sin(grey * dice.uniform(3, 9, b, 1, 1, 1) + dice.uniform(0, 6.3, b, 1, 1, 1))
    return (grey + amount * bent).clamp(0, 1)


def _proportions(points: Tensor, side: int, dice: Dice):
    """Other proportions: new points [B,5,2], and the map of new places to those in the render.

    Each point moves on its own (radial basis functions around the new points, which are thereby
    exact), all of the picture bends smoothly, and eyes and mouths become flatter or taller."""
    b = len(points)
    unit = (face_size(points) / 2)[:, None, None]  # about the distance of the eyes
    axes = face_axes(points)
    shift = dice.normal(b, 5, 2) * 0.02
    apart = 0.02 * dice.normal(b)
    shift[:, 0, 0] -= apart
    shift[:, 1, 0] += apart
    shift[:, 2:] += 0.02 * dice.normal(b, 1, 2)
    shift[:, 3:] += 0.03 * dice.normal(b, 1, 2)
    # the renders' mouths and noses vary more than people's do
    place = (points - points[:, :2].mean(1, keepdim=True)) @ axes.transpose(1, 2) / unit
    eyes, mouth = place[:, 1, 0] - place[:, 0, 0], place[:, 4, 0] - place[:, 3, 0]
    wide = (_MOUTH_WIDE * eyes * (1 + 0.06 * dice.normal(b)) - mouth) / 2
    wide = wide * dice.uniform(0.4, 1, b)
    shift[:, 3, 0] -= wide
    shift[:, 4, 0] += wide
    low = _NOSE_LOW * place[:, 3:, 1].mean(1) - place[:, 2, 1]
    shift[:, 2, 1] += low * dice.uniform(0.3, 0.9, b)
    shift = shift.clamp(-0.25, 0.25)
    new = points + (shift @ axes) * unit
    width = 0.36 * unit * dice.log_uniform(0.85, 1.3, b, 1, 1)

    gaps = (new[:, :, None] - new[:, None]).square().sum(-1)  # [B,5,5]
    kernel = torch.exp(-gaps / (2 * width**2)) + 1e-3 * torch.eye(5)
    weights = torch.linalg.solve(kernel, points - new)  # [B,5,2]

    cells = 5
    field = dice.normal(b, 2, cells, cells) * dice.uniform(0, 0.02, b, 1, 1, 1) * side
    field = F.interpolate(field, (33, 33), mode="bicubic", align_corners=True)
    # eyes, and the middle between the mouth's corners; both corners lie on its line and stay
    middles = torch.cat([points[:, :2], points[:, 3:].mean(1, keepdim=True)], 1)
    along = torch.stack([axes[:, 0], axes[:, 0], points[:, 4] - points[:, 3]], 1)  # [B,3,2]
    along = along / along.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    taller = dice.log_uniform(0.7, 1.7, b, 2)[:, (0, 0, 1)] * dice.log_uniform(0.95, 1.05, b, 3)
    reach = unit[:, :, 0] * points.new_tensor([0.3, 0.3, 0.45])  # [B,3]

    def smooth(at: Tensor) -> Tensor:  # [B,h,w,2]
        moved = F.grid_sample(field, at / side * 2 - 1, padding_mode="border", align_corners=True)
        return at + moved.movedim(1, -1)

    def bend(at: Tensor) -> Tensor:
        at = smooth(at)
        total = torch.zeros_like(at)
        for j in range(5):
            d = (at - new[:, None, None, j]).square().sum(-1, keepdim=True)
            basis = torch.exp(-d / (2 * width[..., None] ** 2))
            total += basis * weights[:, None, None, j]
        at = at + total
        for j in range(3):
            d = at - middles[:, None, None, j]
            across = along[:, None, None, j]
            down = torch.stack([-across[..., 1], across[..., 0]], -1)
            near = torch.exp(-0.5 * (d / reach[:, j, None, None, None]).square().sum(-1, True))
            amount = (taller[:, j] - 1).view(b, 1, 1, 1) * near
            at = at + down * (d * down).sum(-1, keepdim=True) * amount
        return at

    place = new[:, None]
    for _ in range(6):  # the smooth map undone at the points
        place = place + (new[:, None] - smooth(place))
    return place[:, 0], bend


def _camera(points: Tensor, place: Placement, dice: Dice) -> tuple[Tensor, Tensor]:
    """Homographies [B,3,3] from the renders to the scenes; 1 with a face, 0 none, -1 missed [B]."""
    b, n = len(points), float(place.side)
    present = 1 - dice.chance(place.empty, b)
    missed = dice.chance(place.missed, b).bool() & (present > 0)
    present[missed] = -1.0

    size = dice.log_uniform(*place.face, b)
    tilt = dice.normal(b) * place.tilt
    turned = dice.chance(place.turned, b).bool()
    tilt[turned] = dice.uniform(-place.limit, place.limit, b)[turned]
    tilt = tilt.clamp(-place.limit, place.limit)
    margin = (0.55 * size).clamp(max=n / 2 - 1)[:, None]
    centre = n / 2 + dice.uniform(-1, 1, b, 2) * (n / 2 - margin) * place.spread
    if place.missed:
        kind = dice.chance(0.6, b).bool()
        away = dice.uniform(0, 2 * math.pi, b)
        off = (
            n / 2
            + torch.stack([away.cos(), away.sin()], 1)
            * (size * dice.uniform(0.75, 1.5, b))[:, None]
        )
        centre = torch.where((missed & kind)[:, None], off, centre)
        wrong = torch.where(
            dice.chance(0.6, b).bool(), dice.uniform(2, 3, b), dice.uniform(0.25, 0.5, b)
        )
        size = torch.where(missed & ~kind, size * wrong, size)

    axes = face_axes(points)
    own = torch.atan2(axes[:, 0, 1], axes[:, 0, 0])  # the renders' own roll is not kept
    turn = tilt - own
    scale = size / face_size(points)
    stretch = dice.uniform(-0.04, 0.04, b).exp()
    cos, sin = turn.cos(), turn.sin()
    rotation = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    skew = torch.zeros(b, 2, 2)
    skew[:, 0, 0], skew[:, 1, 1] = stretch, 1 / stretch
    skew[:, 0, 1] = dice.uniform(-0.06, 0.06, b)
    linear = scale.view(b, 1, 1) * (skew @ rotation)
    matrix = torch.eye(3).repeat(b, 1, 1)
    matrix[:, :2, :2] = linear
    matrix[:, :2, 2] = -(linear @ points.mean(1)[:, :, None])[:, :, 0]
    view = torch.eye(3).repeat(b, 1, 1)
    view[:, 2, :2] = dice.normal(b, 2) * 0.1 / n
    shift = torch.eye(3).repeat(b, 1, 1)
    shift[:, :2, 2] = centre
    return shift @ view @ matrix, present


def _sample(texture: Tensor, at: Tensor, scale: Tensor) -> Tensor:
    """Take texture [B,C,R,R] at pixel places [B,n,n,2], from a coarser copy where it shrinks."""
    out = texture.new_empty(len(texture), texture.shape[1], *at.shape[1:3])
    level = (-torch.log2(scale) + 0.3).floor().clamp(0, 3)
    grid = at / texture.shape[-1] * 2 - 1
    for k in range(4):
        chosen = level == k
        if chosen.any():
            part = texture[chosen]
            part = F.avg_pool2d(part, 2**k) if k else part
            out[chosen] = F.grid_sample(
                part, grid[chosen], padding_mode="border", align_corners=False
            )
    return out
