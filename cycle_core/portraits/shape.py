"""The portrait's geometry: signed distances to head, hair, body and hat.

Two frames are used. The *world* has x right, y up, z towards the camera; the body stands in it.
The *head frame* turns with the head; its features sit at fixed places there. Coordinates are
tensors [B,N] (N rays a portrait), parameters [B,1]: all broadcasts, without loops over images.
Distances are approximate near joints, never far too large: the march in `renderer.py` relies on it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .factors import index

MAX_YAW, MAX_PITCH = 0.60, 0.30  # radians at factor value 1
EYE_X, EYE_Y, MOUTH_Y = 0.25, 0.06, -0.45  # of the median portrait, head frame


class Head(NamedTuple):
    """Sizes of the bare head, each [B,1]."""

    width: Tensor
    jaw: Tensor
    chin: Tensor
    cheek: Tensor
    nose_len: Tensor
    nose_width: Tensor
    nose_out: Tensor  # how far it stands out beyond what the domain has
    ears: Tensor
    smile: Tensor
    open: Tensor  # mouth
    eye_x: Tensor
    eye_size: Tensor


class Hair(NamedTuple):
    """Sizes of the hair (and of a hat, 0 without), each [B,1]."""

    width: Tensor
    volume: Tensor
    length: Tensor
    fringe: Tensor
    part: Tensor
    wave: Tensor
    hat: Tensor


class Pose(NamedTuple):
    """Head frame to world: rotation rows ``m`` (nine [B,1]) and the shift in x and y."""

    m: tuple[Tensor, ...]
    x: Tensor
    y: Tensor

    def to_head(self, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.turn_back(x - self.x, y - self.y, z)

    def to_world(self, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, y, z = self.turn(x, y, z)
        return x + self.x, y + self.y, z

    def turn(self, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        m = self.m
        return (
            m[0] * x + m[1] * y + m[2] * z,
            m[3] * x + m[4] * y + m[5] * z,
            m[6] * x + m[7] * y + m[8] * z,
        )

    def turn_back(self, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        m = self.m
        return (
            m[0] * x + m[3] * y + m[6] * z,
            m[1] * x + m[4] * y + m[7] * z,
            m[2] * x + m[5] * y + m[8] * z,
        )


class Shape(NamedTuple):
    """Everything that the distance functions need."""

    pose: Pose
    head: Head
    hair: Hair


def shape_of(factors: Tensor, hat: Tensor, nose: Tensor) -> Shape:
    """The geometry of factors [B,COUNT]; ``hat`` and ``nose`` [B,1] in 0..1 are extras."""

    def f(name: str) -> Tensor:
        return factors[:, index(name), None]

    width = 1 + 0.10 * f("face_width")
    head = Head(
        width=width,
        jaw=1 + 0.30 * f("jaw_width"),
        chin=f("chin_len"),
        cheek=(1 + 0.38 * f("cheeks")) * (1 - 0.12 * f("age")),
        nose_len=f("nose_len"),
        nose_width=1 + 0.70 * f("nose_width"),
        nose_out=0.15 * nose,
        ears=f("ears"),
        smile=f("smile"),
        open=f("mouth_open"),
        eye_x=EYE_X * (1 + 0.13 * f("eye_spacing")),
        eye_size=f("eye_size"),
    )
    hair = Hair(
        width=width,
        volume=f("hair_vol"),
        length=f("hair_len"),
        fringe=f("fringe"),
        part=f("hair_part"),
        wave=f("hair_wave"),
        hat=hat,
    )
    return Shape(_pose(f("yaw") * MAX_YAW, f("pitch") * MAX_PITCH), head, hair)


def _pose(yaw: Tensor, pitch: Tensor) -> Pose:
    cy, sy, cp, sp = yaw.cos(), yaw.sin(), pitch.cos(), pitch.sin()
    m = (cy, sy * sp, sy * cp, torch.zeros_like(cy), cp, -sp, -sy, cy * sp, cy * cp)
    # The neck bends: three quarters of the shift that a turn about the head's centre gives the
    # point between eyes and mouth are taken back.
    y0, z0 = -0.16, 0.30
    return Pose(m, -(m[1] * y0 + m[2] * z0) * 0.75, -((m[4] * y0 + m[5] * z0) - y0) * 0.75)


# ---------------------------------------------------------------------------------- distances


def distances(x: Tensor, y: Tensor, z: Tensor, s: Shape) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """World points [B,N] to the distances [B,N] of skin (head and neck), clothes, hair and hat."""
    neck, shoulders = _body(x, y, z)
    hx, hy, hz = s.pose.to_head(x, y, z)
    skin = smooth_min(head_distance(hx, hy, hz, s.head), neck, 0.10)
    clothes = smooth_min(shoulders, neck + 0.035, 0.12)
    hair = _hair(hx, hy, hz, s.hair)
    return skin, clothes, hair, _hat(hx, hy, hz, s.hair)


def scene_distance(x: Tensor, y: Tensor, z: Tensor, s: Shape) -> Tensor:
    """World points [B,N] to the distance [B,N] of whatever is nearest."""
    skin, clothes, hair, hat = distances(x, y, z, s)
    return torch.minimum(torch.minimum(skin, clothes), torch.minimum(hair, hat))


def neck_distance(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """World points [B,N] to the distance [B,N] of the neck alone."""
    return _capsule(x, y, z, (0.0, -0.45, -0.16), (0.0, -1.3, -0.28), 0.235, 0.26)


def head_distance(x: Tensor, y: Tensor, z: Tensor, k: Head) -> Tensor:
    """Head-frame points [B,N] to the distance [B,N] of the bare head without neck."""
    ax = x.abs()
    drop = 0.09 * k.open  # the jaw opens downwards
    d = _ellipsoid(x, y - 0.24, z + 0.16, 0.545 * k.width, 0.56, 0.60)  # cranium
    mid = 0.485 * k.width * (0.9 + 0.1 * k.jaw)
    d = smooth_min(d, _ellipsoid(x, y + 0.13, z - 0.03, mid, 0.56, 0.40), 0.20)
    jaw = _ellipsoid(x, y + 0.40 + drop * 0.5, z - 0.05, 0.375 * k.jaw, 0.34 + 0.04 * k.chin, 0.34)
    d = smooth_min(d, jaw, 0.22)
    chin_y = y + 0.655 + 0.095 * k.chin + drop
    d = smooth_min(d, _ellipsoid(x, chin_y, z - 0.22, 0.15 * (0.4 + 0.6 * k.jaw), 0.11, 0.11), 0.20)
    cheek = _ellipsoid(
        ax - (0.205 + 0.06 * k.cheek) * k.width,
        y + 0.175 - 0.04 * k.smile,
        z - 0.255,
        0.15 * k.cheek,
        0.14 * k.cheek,
        0.135 + 0.015 * k.smile,
    )
    d = smooth_min(d, cheek, 0.17)
    d = smooth_min(d, _ellipsoid(ax - 0.20, y - 0.225, z - 0.325, 0.20, 0.06, 0.08), 0.14)  # brows
    eye = ax - k.eye_x
    d = smooth_max(d, -_ellipsoid(eye + 0.005, y - 0.07, z - 0.565, 0.135, 0.085, 0.125), 0.13)
    ball = 0.10 + 0.012 * k.eye_size
    d = smooth_min(d, _ellipsoid(eye, y - 0.06, z - 0.31, 0.125, ball, 0.105), 0.035)
    tip_y, tip_z = -0.205 - 0.070 * k.nose_len, 0.465 + 0.045 * k.nose_len + k.nose_out
    end = torch.zeros_like(tip_y)
    bridge = _capsule(
        x, y, z, (end, end + 0.13, 0.365 + 0.3 * k.nose_out), (end, tip_y, tip_z),
        0.036, 0.050 * (0.55 + 0.45 * k.nose_width),
    )  # fmt: skip
    d = smooth_min(d, bridge, 0.14)
    tip_r = 0.058 * (0.45 + 0.55 * k.nose_width)
    d = smooth_min(d, _ellipsoid(x, y - tip_y, z - tip_z + 0.005, tip_r, 0.050, 0.055), 0.05)
    wing, wing_z = ax - 0.066 * k.nose_width, z - 0.415 - 0.4 * k.nose_out
    d = smooth_min(d, _ellipsoid(wing, y - tip_y + 0.012, wing_z, 0.042, 0.036, 0.05), 0.06)
    d = smooth_min(d, _ellipsoid(x, y + 0.45 + drop * 0.5, z - 0.335, 0.17, 0.12, 0.085), 0.09)
    return smooth_min(d, _ear(ax, y, z, k), 0.04)


def _ear(ax: Tensor, y: Tensor, z: Tensor, k: Head) -> Tensor:
    out = 0.53 * k.width + 0.055 * k.ears
    tilted = ax - out - 0.02 - (ax - 0.505 * k.width) * 0.05
    e = _ellipsoid(tilted, y + 0.03, z + 0.06, 0.060, 0.130 + 0.03 * k.ears, 0.085)
    return smooth_max(e, -_ellipsoid(ax - out - 0.045, y + 0.01, z - 0.02, 0.03, 0.075, 0.05), 0.03)


def _hair(x: Tensor, y: Tensor, z: Tensor, h: Hair) -> Tensor:
    ax = x.abs()
    # Broad locks only: finer ones would alias at 64 px.
    curl = (9.0 * y + 3.0 * x).sin() * (7.0 * x + 2.0 * z).sin()
    curl = h.wave * 0.032 * (curl + 0.4 * (15.0 * y + 5.0 * z).sin() * (10.0 * x).cos())
    px = x - h.part * 0.10
    groove = 0.016 * smoothstep(0.0, 0.20, px.abs()) - 0.010
    cap = _ellipsoid(
        x, y - 0.275, z + 0.19,
        (0.605 + 0.055 * h.volume) * h.width, 0.615 + 0.065 * h.volume, 0.66 + 0.05 * h.volume,
    ) - groove * smoothstep(0.1, 0.6, y) - curl  # fmt: skip
    # The face shows through an opening: an elliptic cylinder along z, in front of the ears.
    lock = 0.020 * (13.0 * x + 2.0 * h.part).sin()
    top = 0.555 - 0.34 * h.fringe + h.part * 0.24 * x * (0.6 + 0.6 * h.fringe) + lock
    half = (top + 0.95) * 0.5
    # Clamped: below the chin the opening goes on, or hair would close there like a beard.
    ey = ((y - top + half) / half).clamp(min=-0.8)
    ex = x / ((0.475 - 0.02 * h.fringe) * h.width)
    rim = ((ex.square().square() + ey.square().square() + 1e-8).sqrt().sqrt() - 1.0) * 0.45
    cap = smooth_max(cap, -smooth_max(rim, -(z + 0.03 + 0.05 * h.length), 0.06), 0.045)
    # Ears stay free: hair is tucked behind them.
    ear = _ellipsoid(ax - 0.60 * h.width, y + 0.05, z - 0.01, 0.17, 0.17, 0.17)
    short = smooth_max(cap, -(y + 0.10 + 0.04 * ax), 0.06)  # stops above the nape
    short = smooth_max(short, -ear, 0.05)
    fall = h.length * 1.25  # long hair is a curtain down to the shoulders
    curtain = _ellipsoid(
        ax - 0.10, y - 0.12 + fall * 0.5, z + 0.27,
        0.53 * h.width + 0.055 * h.volume, 0.56 + fall * 0.5, 0.36 + 0.03 * h.volume,
    ) - curl * 1.6  # fmt: skip
    curtain = smooth_max(curtain, -(y + 0.25 + fall * 0.86), 0.12)
    curtain = smooth_max(curtain, -smooth_max(rim, -(z + 0.06), 0.06), 0.05)
    curtain = smooth_max(curtain, -ear, 0.05)
    curtain = curtain + (1 - smoothstep(0.02, 0.22, h.length)) * 0.5
    return smooth_min(short, curtain, 0.07)


def _hat(x: Tensor, y: Tensor, z: Tensor, h: Hair) -> Tensor:
    """A brimmed hat; without one (0) it is far away."""
    grow = 0.55 + 0.45 * h.hat
    crown = _ellipsoid(x, y - 0.42, z + 0.19, 0.70 * h.width * grow, 0.66 * grow, 0.74 * grow)
    crown = smooth_max(crown, -(y - 0.46), 0.04)
    brim = _ellipsoid(x, y - 0.47, z + 0.14, 0.95 * h.width * grow, 0.055, 1.02 * grow)
    return smooth_min(crown, brim, 0.05) + 4.0 * (1 - smoothstep(0.0, 0.1, h.hat))


def _body(x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    shoulders = _ellipsoid(x, y + 1.30, z + 0.30, 1.02, 0.46, 0.42)
    collar = _ellipsoid(x, y + 0.98, z + 0.22, 0.33, 0.11, 0.33)
    return neck_distance(x, y, z), smooth_min(shoulders, collar, 0.16)


# --------------------------------------------------------------------------------- primitives


def smooth_min(a: Tensor, b: Tensor, k: float) -> Tensor:
    """Minimum with a fillet of size ``k``."""
    h = (k - (a - b).abs()).clamp(min=0) / k
    return torch.minimum(a, b) - h * h * (k * 0.25)


def smooth_max(a: Tensor, b: Tensor, k: float) -> Tensor:
    """Maximum with a fillet of size ``k``."""
    return -smooth_min(-a, -b, k)


def smoothstep(a: float | Tensor, b: float | Tensor, x: Tensor) -> Tensor:
    """0 at ``a``, 1 at ``b`` (either order), smooth between."""
    t = ((x - a) / (b - a)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _ellipsoid(x, y, z, rx, ry, rz) -> Tensor:
    ax, ay, az = x / rx, y / ry, z / rz
    k0 = (ax * ax + ay * ay + az * az + 1e-8).sqrt()
    bx, by, bz = ax / rx, ay / ry, az / rz
    return k0 * (k0 - 1) / (bx * bx + by * by + bz * bz + 1e-8).sqrt()


def _capsule(x, y, z, a, b, ra, rb) -> Tensor:
    """A cone with round ends from ``a`` (radius ``ra``) to ``b`` (radius ``rb``)."""
    dx, dy, dz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    px, py, pz = x - a[0], y - a[1], z - a[2]
    t = ((px * dx + py * dy + pz * dz) / (dx * dx + dy * dy + dz * dz)).clamp(0, 1)
    px, py, pz = px - t * dx, py - t * dy, pz - t * dz
    return (px * px + py * py + pz * pz + 1e-9).sqrt() - (ra + (rb - ra) * t)
