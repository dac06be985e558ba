"""Pictures of factors: rays are marched through the distance field, then shaded.

Three grids save most of the work: rays are marched as thick cones on a quarter of the supersampled
resolution, then on half, then exactly; shadows are traced for one ray of each pixel. Nothing loops
over images, and chunks bound the memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from .factors import COUNT
from .paint import mouth_height
from .shading import Look, look_of, shade, surface
from .shape import EYE_Y, Shape, head_distance, scene_distance, shape_of, smoothstep

NEAR, FAR = 1.10, -1.60  # where rays start and give up, world z
SCENE_CENTRE, SCENE_HALF = (0.0, 0.10), 1.30  # what a scene shows, world x and y down
_RAYS = 1 << 19  # rays at a time: about half a gigabyte


@dataclass(frozen=True)
class Extras:
    """Strengths in 0..1 of what no portrait of the domain has."""

    hat: float | Tensor = 0.0
    nose: float | Tensor = 0.0  # one that stands out further
    paint: float | Tensor = 0.0  # stripes on the face
    moles: float | Tensor = 0.0
    pattern: float | Tensor = 0.0  # checks on the background
    light: float | Tensor = 0.0  # a second, magenta light from below


@dataclass(frozen=True)
class Render:
    """``image`` [B,3,R,R] float32 in [-1,1]; ``points`` [B,5,2] pixels: the eye at the left of the
    image, the other eye, the nose's tip, the mouth's left and right corner; ``mask`` [B,1,R,R] in
    0..1: skin and features of the face without hair; ``head`` [B,1,R,R]: with hair and hat.
    """

    image: Tensor
    points: Tensor
    mask: Tensor
    head: Tensor


@torch.no_grad()
def render(
    factors: Tensor,
    resolution: int = 64,
    supersample: int = 2,
    extras: Extras | None = None,
    aligned: bool = True,
    compile: bool = False,
) -> Render:
    """Render portraits of factors float32 [B,COUNT], on the device of ``factors``.

    ``aligned`` frames exactly the FFHQ crop of the five points, so that aligning the picture again
    changes nothing; otherwise a fixed camera shows head and shoulders. ``supersample`` 2 means four
    rays a pixel. ``compile`` fuses the arithmetic: minutes the first time, then ten times as fast.
    Raises InputError for factors of another shape or a resolution that is not a multiple of 4.
    """
    if factors.ndim != 2 or factors.shape[1] != COUNT:
        raise InputError(
            f"Got factors of shape {tuple(factors.shape)}; expected [B, {COUNT}] as from "
            "`sample_factors`."
        )
    if resolution < 4 or resolution % 4 or supersample < 1:
        raise InputError(
            f"Got resolution {resolution} and supersample {supersample}; expected a multiple of 4 "
            "and at least 1."
        )
    chunk = max(1, _RAYS // (resolution * supersample) ** 2)
    strengths = _strengths(extras or Extras(), factors)
    parts = [
        _render_chunk(
            factors[i : i + chunk].float(),
            {k: v[i : i + chunk] for k, v in strengths.items()},
            resolution, supersample, aligned, _kernels(compile),
        )
        for i in range(0, len(factors), chunk)
    ]  # fmt: skip
    if not parts:
        empty = factors.new_zeros(0, 1, resolution, resolution)
        return Render(empty.expand(0, 3, -1, -1), factors.new_zeros(0, 5, 2), empty, empty)
    return Render(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Render)))


def points_of(factors: Tensor) -> Tensor:
    """The five landmarks [B,5,2] of factors [B,COUNT], world x and -y (down), before any camera."""
    zero = factors.new_zeros(len(factors), 1)
    shape = shape_of(factors, zero, zero)
    look = look_of(factors, {f.name: zero for f in fields(Extras)})
    return _landmarks(shape, look)


def ffhq_frame(points: Tensor) -> tuple[Tensor, Tensor]:
    """The FFHQ crop of five points [B,5,2] (y down): its centre [B,2] and half-axis x [B,2].

    The other half-axis is x turned clockwise on the screen, (-x1, x0). From eye centres and mouth
    corners FFHQ's formula gives the crop of 68 landmarks up to a scale and a shift, the constants
    1.0165 and 2.8 / 512.
    """
    eyes, mouth = (points[:, 0] + points[:, 1]) / 2, (points[:, 3] + points[:, 4]) / 2
    e2e, e2m = points[:, 1] - points[:, 0], mouth - eyes
    x = e2e - e2m.flip(1) * e2m.new_tensor([-1.0, 1.0])
    x = x / x.norm(dim=1, keepdim=True)
    size = torch.maximum(2.0 * e2e.norm(dim=1), 1.8 * e2m.norm(dim=1))[:, None]
    x = x * size * 1.0165
    down = x.flip(1) * x.new_tensor([-1.0, 1.0])
    return eyes + 0.1 * e2m + down * (2 * 2.8 / 512), x


# ------------------------------------------------------------------------------------- one chunk


@dataclass(frozen=True)
class _Kernels:
    """The three functions that do the work, compiled or not."""

    distance: Callable
    surface: Callable
    shade: Callable


@lru_cache(maxsize=2)
def _kernels(compile: bool) -> _Kernels:
    if not compile:
        return _Kernels(scene_distance, surface, shade)

    def fused(f: Callable) -> Callable:
        return torch.compile(f, dynamic=True)

    return _Kernels(fused(scene_distance), fused(surface), fused(shade))


def _render_chunk(
    factors: Tensor, extras: dict[str, Tensor], resolution: int, supersample: int, aligned: bool,
    kernels: _Kernels,
) -> Render:  # fmt: skip
    batch, n = len(factors), resolution * supersample
    shape, look = shape_of(factors, extras["hat"], extras["nose"]), look_of(factors, extras)
    points = _landmarks(shape, look)
    centre, axis = ffhq_frame(points) if aligned else _scene_frame(points)

    u, v = _grid(n, factors)
    wx, wy = _to_world(u, v, centre, axis)
    radius = axis.norm(dim=1)[:, None] / n  # half a ray's cell
    wz, gap = _march(wx, wy, centre, axis, radius, n, shape, kernels.distance)
    hit = (1 - smoothstep(0.4 * radius, 3.2 * radius, gap)) * (wz > FAR)
    wz = wz.clamp(min=FAR)

    at = kernels.surface(wx, wy, wz, shape)
    normal = _normal(wx, wy, wz, shape, kernels.distance)
    shadow, occlusion = _visibility(
        wx, wy, wz, normal, look.light.direction, n, supersample, shape, kernels.distance
    )
    colour = kernels.shade(
        at, normal, wx, wy, hit, shadow, occlusion, u, v, shape.pose, look
    )  # [3,B,n*n]
    face = at.face * hit
    head = (face + (at.hair + at.hat) * hit).clamp(0, 1)
    planes = torch.stack([*colour, face, head], 1).view(batch, 5, n, n)
    planes = F.avg_pool2d(planes, supersample) if supersample > 1 else planes
    return Render(
        image=planes[:, :3] * 2 - 1,
        points=_to_image(points, centre, axis, resolution),
        mask=planes[:, 3:4].contiguous(),
        head=planes[:, 4:5].contiguous(),
    )


def _strengths(extras: Extras, factors: Tensor) -> dict[str, Tensor]:
    batch = len(factors)
    out = {}
    for f in fields(extras):
        value = torch.as_tensor(getattr(extras, f.name), dtype=torch.float32, device=factors.device)
        if value.ndim > 1 or (value.ndim == 1 and len(value) != batch):
            raise InputError(
                f"Got the extra '{f.name}' of shape {tuple(value.shape)}; expected one number or "
                f"[{batch}], one for each portrait."
            )
        out[f.name] = value.expand(batch)[:, None].clamp(0, 1)
    return out


def _landmarks(shape: Shape, look: Look) -> Tensor:
    """World x and -y of the five points [B,5,2]: painted places, projected onto the head."""
    f, k = look.features, shape.head
    zero = torch.zeros_like(f.eye_x)
    corner = f.mouth_width * 0.97
    corner_y = mouth_height(corner, f)
    tip_y = -0.205 - 0.070 * k.nose_len
    x = torch.cat([-f.eye_x, f.eye_x, zero, -corner, corner], 1)
    y = torch.cat([zero + EYE_Y, zero + EYE_Y, tip_y, corner_y, corner_y], 1)
    z = torch.ones_like(x)
    for _ in range(32):
        z = z - head_distance(x, y, z, k) * 0.9
    wx, wy, _ = shape.pose.to_world(x, y, z)
    return torch.stack([wx, -wy], -1)


# ---------------------------------------------------------------------------------------- camera


def _scene_frame(points: Tensor) -> tuple[Tensor, Tensor]:
    batch = len(points)
    centre = points.new_tensor(SCENE_CENTRE).expand(batch, 2)
    return centre, points.new_tensor([SCENE_HALF, 0.0]).expand(batch, 2)


def _grid(n: int, like: Tensor) -> tuple[Tensor, Tensor]:
    c = (torch.arange(n, device=like.device, dtype=like.dtype) + 0.5) / n * 2 - 1
    v, u = torch.meshgrid(c, c, indexing="ij")
    return u.reshape(1, -1), v.reshape(1, -1)


def _to_world(u: Tensor, v: Tensor, centre: Tensor, axis: Tensor) -> tuple[Tensor, Tensor]:
    """Image places in -1..1 (v down) to world x and y of the parallel view rays, [B,N]."""
    ax, ay = axis[:, :1], axis[:, 1:]
    x = centre[:, :1] + u * ax - v * ay
    return x, -(centre[:, 1:] + u * ay + v * ax)


def _to_image(points: Tensor, centre: Tensor, axis: Tensor, resolution: int) -> Tensor:
    """World points [B,5,2] (y down) to pixels."""
    d = points - centre[:, None]
    down = axis.flip(1) * axis.new_tensor([-1.0, 1.0])
    scale = axis.square().sum(1)[:, None]
    u = (d * axis[:, None]).sum(-1) / scale
    v = (d * down[:, None]).sum(-1) / scale
    return (torch.stack([u, v], -1) + 1) * (resolution / 2)


# --------------------------------------------------------------------------------------- marching


def _march(
    wx: Tensor, wy: Tensor, centre: Tensor, axis: Tensor, radius: Tensor, n: int, shape: Shape,
    distance: Callable,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Depth z [B,n*n] where the view rays meet the surface, and the distance that is left there."""
    batch = len(wx)
    z = torch.full_like(wx[:, :1], NEAR).view(batch, 1, 1, 1)
    for cell, steps in ((4, 18), (2, 6)):
        u, v = _grid(n // cell, wx)
        x, y = _to_world(u, v, centre, axis)
        side = n // cell
        z = F.interpolate(z, size=(side, side), mode="nearest").view(batch, -1)
        # The cone around the cell's rays: half its diagonal, and some for inexact distances.
        cone = radius * (cell * 1.6)
        for _ in range(steps):
            z = z - (distance(x, y, z, shape) - cone).clamp(0, 0.35)
        z = z.view(batch, 1, side, side)
    z = F.interpolate(z, size=(n, n), mode="nearest").view(batch, -1)
    for _ in range(6):
        z = z - distance(wx, wy, z, shape).clamp(-0.1, 0.35) * 0.97
    return _finish(wx, wy, z, distance(wx, wy, z, shape), radius, shape, distance)


def _finish(
    wx: Tensor, wy: Tensor, z: Tensor, gap: Tensor, radius: Tensor, shape: Shape, distance: Callable
) -> tuple[Tensor, Tensor]:
    """March on with the few rays that graze an edge: they need many small steps to pass it.

    Left where they are, they would take the background's colour: a pale line round the chin.
    """
    rows, columns = torch.nonzero((gap > 0.3 * radius) & (z > FAR), as_tuple=True)
    if len(rows) == 0:
        return z, gap
    x, y, left = wx[rows, columns][None], wy[rows, columns][None], z[rows, columns][None]
    few, d = _rows(shape, rows), gap[rows, columns][None]
    for _ in range(30):
        left = left - d.clamp(-0.1, 0.45)
        d = distance(x, y, left, few)
    z, gap = z.clone(), gap.clone()
    z[rows, columns], gap[rows, columns] = left[0], d[0]
    return z, gap


def _rows(values, rows: Tensor):
    """Nested tuples of parameters [B,1] to the same of parameters [1,M], one for each ray."""
    if isinstance(values, Tensor):
        return values[rows, 0][None]
    items = [_rows(v, rows) for v in values]
    return type(values)(*items) if hasattr(values, "_fields") else tuple(items)


def _normal(
    x: Tensor, y: Tensor, z: Tensor, shape: Shape, distance: Callable
) -> tuple[Tensor, Tensor, Tensor]:
    """Unit normals from four distances at the corners of a small tetrahedron."""
    e = 0.006
    a, b = distance(x + e, y - e, z - e, shape), distance(x - e, y - e, z + e, shape)
    c, d = distance(x - e, y + e, z - e, shape), distance(x + e, y + e, z + e, shape)
    nx, ny, nz = a - b - c + d, -a - b + c + d, -a + b - c + d
    scale = (nx * nx + ny * ny + nz * nz + 1e-12).rsqrt()
    return nx * scale, ny * scale, nz * scale


def _visibility(
    x: Tensor, y: Tensor, z: Tensor, normal: tuple[Tensor, Tensor, Tensor],
    light: tuple[Tensor, Tensor, Tensor], n: int, supersample: int, shape: Shape,
    distance: Callable,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Soft shadow and ambient occlusion [B,n*n] in 0..1, traced once for each pixel.

    Of a pixel's rays the nearest hit counts: at a silhouette the background's would shine through.
    """
    batch = len(x)
    if supersample > 1:
        nearest = F.max_pool2d(z.view(batch, 1, n, n), supersample, return_indices=True)[1]
        nearest = nearest.view(batch, -1)
        x, y, z = x.gather(1, nearest), y.gather(1, nearest), z.gather(1, nearest)
        normal = tuple(c.gather(1, nearest) for c in normal)  # type: ignore[assignment]
    nx, ny, nz = normal
    lx, ly, lz = light
    ox, oy, oz = x + nx * 0.015, y + ny * 0.015, z + nz * 0.015
    shadow, t = torch.ones_like(x), torch.full_like(x, 0.05)
    for _ in range(8):
        d = distance(ox + lx * t, oy + ly * t, oz + lz * t, shape)
        shadow = torch.minimum(shadow, 0.5 + 0.5 * (6.0 * d / t).clamp(-1, 1))
        t = t + d.clamp(0.04, 0.25)
    shadow = smoothstep(0.0, 1.0, shadow)
    closed = torch.zeros_like(x)
    for h, weight in ((0.05, 1.0), (0.13, 0.6), (0.28, 0.35)):
        d = distance(x + nx * h, y + ny * h, z + nz * h, shape)
        closed = closed + weight * (h - d).clamp(min=0) / h
    occlusion = (1 - 0.50 * closed).clamp(0.15, 1)
    if supersample > 1:
        side = n // supersample
        both = torch.stack([shadow, occlusion], 1).view(batch, 2, side, side)
        # Where one surface passes behind another, every pixel took a side: without smoothing its
        # choice is a row of dark dots along the chin and the hair.
        both = F.avg_pool2d(F.pad(both, (1, 1, 1, 1), mode="replicate"), 3, 1)
        both = F.interpolate(both, size=(n, n), mode="bilinear").view(batch, 2, -1)
        return both[:, 0], both[:, 1]
    return shadow, occlusion
