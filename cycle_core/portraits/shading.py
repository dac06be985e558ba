"""Light and materials: from surface points to screen colours.

`surface` names what each ray hit, `shade` lights it: soft skin, fibrous hair, matt cloth, and the
background; glasses are laid over everything along the view ray. Colours are linear RGB [3,B,N],
until the tone curve at the end. All operations are elementwise: one compiled kernel can hold them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .factors import index
from .paint import (
    GLASSES_Z,
    Features,
    Palette,
    features_of,
    glasses_ring,
    hsv,
    paint_skin,
    palette_of,
    relief,
)
from .shape import Pose, Shape, distances, neck_distance, smoothstep


class Light(NamedTuple):
    """The key light and what surrounds it."""

    direction: tuple[Tensor, Tensor, Tensor]  # towards the light, world, each [B,1]
    colour: Tensor  # [3,B,1]
    ambient: Tensor  # [3,B,1]
    unseen: Tensor  # [B,1] strength of an out-of-domain coloured light from below


class Backdrop(NamedTuple):
    """The background, in image coordinates."""

    first: Tensor  # [3,B,1]
    second: Tensor  # [3,B,1]
    direction: tuple[Tensor, Tensor]
    pattern: Tensor  # [B,1] strength of an out-of-domain pattern


class Look(NamedTuple):
    """Everything that the shading needs beside the shape."""

    features: Features
    palette: Palette
    cloth: Tensor  # [3,B,1]
    light: Light
    backdrop: Backdrop
    part: Tensor
    wave: Tensor


class Surface(NamedTuple):
    """What lies at the rays' points, each [B,N]."""

    x: Tensor  # head frame
    y: Tensor
    z: Tensor
    skin: Tensor  # weights of the materials, they sum to 1
    hair: Tensor
    cloth: Tensor
    hat: Tensor
    face: Tensor  # skin of the head without the neck


def look_of(factors: Tensor, extras: dict[str, Tensor]) -> Look:
    """Colours and light for factors [B,COUNT] and extras, each [B,1]."""

    def f(name: str) -> Tensor:
        return factors[:, index(name)]

    h, v = f("cloth_hue"), f("cloth_light")
    cloth = hsv(h, 0.62 - 0.25 * v, 0.14 + 0.62 * v) ** 1.6
    v, h = f("bg_light"), f("bg_hue")
    first = hsv(h + 0.17 * f("bg_shift"), 0.40 - 0.16 * v, 0.36 + 0.54 * v) ** 2.2
    second = hsv(h - 0.17 * f("bg_shift"), 0.48 - 0.20 * v, 0.22 + 0.60 * v) ** 2.2
    az, el = f("light_az")[:, None] * 1.0, 0.35 + f("light_el")[:, None] * 0.38
    light = Light(
        direction=(el.cos() * az.sin(), el.sin(), el.cos() * az.cos()),
        colour=factors.new_tensor([1.05, 1.0, 0.94])[:, None, None].expand(3, len(factors), 1),
        ambient=(first + second) * 0.30 + 0.40,
        unseen=extras["light"],
    )
    angle = f("bg_angle")[:, None] * (math.pi / 2)
    return Look(
        features=features_of(factors, extras["paint"], extras["moles"]),
        palette=palette_of(factors),
        cloth=cloth,
        light=light,
        backdrop=Backdrop(first, second, (angle.sin(), angle.cos()), extras["pattern"]),
        part=f("hair_part")[:, None],
        wave=f("hair_wave")[:, None],
    )


def surface(x: Tensor, y: Tensor, z: Tensor, s: Shape) -> Surface:
    """World points [B,N] near the surface to head coordinates and material weights."""
    skin, clothes, hair, hat = distances(x, y, z, s)
    hx, hy, hz = s.pose.to_head(x, y, z)
    other = torch.minimum(clothes, hair)
    on_hat = 1 - smoothstep(-0.008, 0.008, hat - torch.minimum(skin, other))
    on_skin = (1 - smoothstep(-0.010, 0.010, skin - hair)) * (
        1 - smoothstep(-0.008, 0.008, skin - clothes)
    )
    on_hair = smoothstep(-0.010, 0.010, skin - hair) * (1 - smoothstep(-0.01, 0.01, hair - clothes))
    on_skin, on_hair = on_skin * (1 - on_hat), on_hair * (1 - on_hat)
    cloth = (1 - on_skin - on_hair - on_hat).clamp(0, 1)
    # Where the skin's joint distance comes from the neck, the point is not face.
    neck = neck_distance(x, y, z)
    face = on_skin * smoothstep(0.005, 0.05, neck - skin)
    return Surface(hx, hy, hz, on_skin, on_hair, cloth, on_hat, face)


def shade(
    at: Surface, normal: tuple[Tensor, Tensor, Tensor], wx: Tensor, wy: Tensor,
    hit: Tensor, shadow: Tensor, occlusion: Tensor, u: Tensor, v: Tensor, pose: Pose, look: Look,
) -> Tensor:  # fmt: skip
    """Screen colours [3,B,N] in 0..1 (sRGB-like gamma).

    ``normal`` world, each [B,N]; ``wx``, ``wy`` world points; ``hit`` 0..1 not background;
    ``shadow`` and ``occlusion`` 0 dark .. 1 free; ``u``, ``v`` [1,N] image place in -1..1, v down.
    """
    f, light = look.features, look.light
    lx, ly, lz = light.direction
    skin = paint_skin(at.x, at.y, at.z, f, look.palette, light.direction)
    nx, ny, nz = _bump(normal, at, pose, f)
    ndl = nx * lx + ny * ly + nz * lz
    sky = 0.5 + 0.5 * ny
    fresnel = (1 - nz.clamp(0, 1)) ** 3
    rim = fresnel * smoothstep(-0.2, 0.8, -nx * lx * 1.6 + ny * 0.6 + 0.15) * occlusion.square()
    rim = rim * (0.6 + 0.4 * light.ambient)
    strange = (0.5 - 0.7 * ny + 0.5 * nx).clamp(min=0) * light.unseen
    strange = strange * nx.new_tensor([0.9, 0.05, 0.8])[:, None, None]

    g = glasses_ring(at.x + 0.05 * lx, at.y + 0.05 * ly, f)
    worn = (f.glasses / 0.06).clamp(max=1)
    veiled = 0.30 * (-((g / 0.030) ** 2)).exp() * smoothstep(0.05, 0.22, at.z) * worn
    seen = shadow * (1 - veiled)

    # Half vector between the light and the viewer at z.
    hv = (lx * lx + ly * ly + (lz + 1) ** 2).rsqrt()
    half = (lx * hv, ly * hv, (lz + 1) * hv)
    ndh = (nx * half[0] + ny * half[1] + nz * half[2]).clamp(0, 1)

    wrap = ((ndl + 0.30) / 1.30).clamp(min=0)
    key = light.colour * (wrap * seen * 1.15)
    fill = (light.ambient * (0.34 * sky) + 0.20) * occlusion
    # Light that entered the skin leaves it reddened near the shadow's edge.
    bleed = (0.35 - ndl.abs()).clamp(min=0) * 2.2 * seen
    bleed = bleed * nx.new_tensor([0.085, 0.018, 0.010])[:, None, None]
    shine = skin.gloss * (0.50 * ndh**14 + 0.55 * ndh**48) * seen
    flesh = skin.albedo * (key + fill + strange) + (skin.albedo + 1e-5).sqrt() * bleed
    flesh = flesh + light.colour * shine
    flesh = flesh * (0.82 + 0.18 * occlusion) + rim * (0.06 + 0.35 * skin.albedo)
    ball = (wrap * seen * 0.70 + 0.44 * occlusion + 0.12) * light.colour
    flesh = flesh + (skin.eye * ball + skin.glint - flesh) * skin.eye_mask
    inside = (0.45 + 0.5 * seen) * (0.55 + 0.45 * occlusion)
    flesh = flesh + (skin.mouth * inside - flesh) * skin.mouth_mask

    hair = _hair(at, (nx, ny, nz), half, ndl, seen, occlusion, sky, look)
    hair = hair + rim * (0.05 + 0.6 * look.palette.hair) + look.palette.hair * strange
    fold = 1 + 0.08 * (wx * 9 + 2 * (wy * 5).sin()).sin() * smoothstep(-0.85, -1.0, wy)
    lit = key * 0.95 + fill + strange
    cloth = look.cloth * fold * lit + rim * 0.08
    band = smoothstep(0.52, 0.55, at.y) * (1 - smoothstep(0.64, 0.67, at.y))
    hat = nx.new_tensor([0.42, 0.06, 0.07])[:, None, None] * (1 - 0.85 * band) * lit + rim * 0.06

    out = flesh * at.skin + hair * at.hair + cloth * at.cloth + hat * at.hat
    out = out * hit + backdrop_colour(u, v, look) * (1 - hit)
    return _tone(_glasses(out, at, pose, f, worn))


def backdrop_colour(u: Tensor, v: Tensor, look: Look) -> Tensor:
    """Linear background colours [3,B,N] at image places u, v [1,N] in -1..1, v down."""
    b, lx = look.backdrop, look.light.direction[0]
    t = (0.5 + 0.42 * (u * b.direction[0] - v * b.direction[1])).clamp(0, 1)
    vignette = 1 - 0.12 * (u * u + v * v)
    glow = 1 + 0.30 * (-((u + 0.5 * lx) ** 2 + (v + 0.15) ** 2) / 0.6).exp()
    checks = torch.sign((9.0 * (u + v)).sin() * (9.0 * (u - v)).sin())
    return (b.first * (1 - t) + b.second * t) * (vignette * glow * (1 + 0.6 * b.pattern * checks))


def _bump(
    normal: tuple[Tensor, Tensor, Tensor], at: Surface, pose: Pose, f: Features
) -> tuple[Tensor, Tensor, Tensor]:
    """The world normal with the painted relief of the face added."""
    e = 0.004
    h = relief(at.x, at.y, f)
    weight = smoothstep(0.05, 0.22, at.z) * at.skin / e
    dx, dy = relief(at.x + e, at.y, f) - h, relief(at.x, at.y + e, f) - h
    x, y, z = pose.turn_back(*normal)
    x, y = x - dx * weight, y - dy * weight
    length = (x * x + y * y + z * z + 1e-9).rsqrt()
    return pose.turn(x * length, y * length, z * length)


def _hair(
    at: Surface, normal: tuple[Tensor, Tensor, Tensor], half: tuple[Tensor, Tensor, Tensor],
    ndl: Tensor, seen: Tensor, occlusion: Tensor, sky: Tensor, look: Look,
) -> Tensor:  # fmt: skip
    """Strands that fall from the parting, with the two shifted highlights of hair."""
    nx, ny, nz = normal
    light, colour = look.light, look.palette.hair
    x = at.x - look.part * 0.08
    around = torch.atan2(x, at.z + 0.30 + 0.22 * (at.y - 0.2).clamp(min=0))
    q = around + look.wave * (0.16 * (at.y * 11 + around * 2.0).sin())
    # Broad strands only: what is finer than a pixel of a 64 px image would only be noise.
    strand = 0.55 * (q * 17.0 + 1.3 * (at.y * 3.0).sin()).sin()
    strand = strand + 0.35 * (q * 37.0 + 2.1 * (at.y * 2.3 + q * 3).sin()).sin()
    tx, ty, tz = 0.5 * (x / 0.2).clamp(-1, 1), -1.0, 0.15
    tn = tx * nx + ty * ny + tz * nz
    tx, ty, tz = tx - nx * tn, ty - ny * tn, tz - nz * tn
    length = (tx * tx + ty * ty + tz * tz + 1e-6).rsqrt()
    th = (tx * half[0] + ty * half[1] + tz * half[2]) * length + 0.05 * strand
    first = (1 - (th - 0.05) ** 2).clamp(min=0) ** 40
    second = (1 - (th + 0.16) ** 2).clamp(min=0) ** 16
    base = colour * (1 + 0.26 * strand)
    diffuse = ((ndl + 0.45) / 1.45).clamp(min=0) * (0.35 + 0.65 * seen) * 1.20
    out = base * (light.colour * diffuse + (light.ambient * (0.34 * sky) + 0.24) * occlusion)
    shine = light.colour * (0.035 + colour * 0.9).clamp(max=0.35) * (0.42 * first)
    shine = shine * (0.8 + 0.4 * strand) + colour * (0.38 * second)
    out = out + shine * (0.25 + 0.75 * seen) * smoothstep(-0.1, 0.4, ndl)
    return out * (0.50 + 0.50 * occlusion)


def _glasses(out: Tensor, at: Surface, pose: Pose, f: Features, worn: Tensor) -> Tensor:
    """Opaque frames: their width and darkness grow with the factor, never their alpha."""
    m = pose.m
    k = (GLASSES_Z - at.z) / (m[8] + 1e-4)  # along the view ray to the plane of the lenses
    px, py = at.x + m[6] * k, at.y + m[7] * k
    ring = glasses_ring(px, py, f)
    width = 0.008 * worn + 0.014 * f.glasses
    edge = 0.008
    frame = 1 - smoothstep(width, width + edge, ring.abs() + edge * (1 - worn))
    arch = py - 0.070 - 0.03 * (1 - (px / 0.1) ** 2).clamp(min=0)
    inner = f.eye_x - 0.168 + 0.03
    bridge = (1 - smoothstep(width, width + edge, arch.abs() + edge * (1 - worn))) * (
        1 - smoothstep(inner, inner + 0.02, px.abs())
    )
    in_front = smoothstep(-0.13, -0.07, k)
    frame = torch.maximum(frame, bridge) * in_front
    # The arm on the side that the turned head shows: a vertical plane beside the head.
    side = torch.sign(m[6] + 1e-7)
    flare = 0.24  # it runs outwards to the ear
    x_arm = side * (f.eye_x + 0.185 + flare * (GLASSES_Z - at.z))
    ka = (x_arm - at.x) / (m[6] + flare * side * m[8])
    ya, za = at.y + m[7] * ka, at.z + m[8] * ka
    arm = 1 - smoothstep(width * 0.8, width * 0.8 + edge, (ya - 0.085).abs() + edge * (1 - worn))
    arm = arm * smoothstep(-0.02, 0.02, za) * smoothstep(-0.02, 0.0, ka)
    arm = arm * (1 - smoothstep(GLASSES_Z - 0.01, GLASSES_Z + 0.01, za))
    arm = arm * (1 - smoothstep(0.25, 0.4, ka)) * smoothstep(0.03, 0.10, m[6].abs())
    frame = torch.maximum(frame, arm)
    lens = (1 - smoothstep(-0.02, 0.0, ring)) * in_front * worn
    glint = lens * (-(((px.abs() - f.eye_x) * 0.8 + py - 0.105) / 0.024).square()).exp()
    colour = out.new_tensor([0.050, 0.028, 0.020])[:, None, None] * (1 - f.glasses) + 0.008
    gleam = 0.03 * (-(((py - 0.13) / 0.025) ** 2)).exp()
    out = out * (1 - 0.10 * lens) + 0.09 * glint
    return out + (colour + gleam - out) * frame


def _tone(linear: Tensor) -> Tensor:
    """A soft shoulder, then the screen's gamma."""
    v = (linear * 1.04).clamp(min=0)
    v = v * (1 + v * 0.16) / (1 + v * 0.36)
    return v.clamp(1e-5, 1) ** (1 / 2.2)
