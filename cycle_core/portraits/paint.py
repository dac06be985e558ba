"""What is painted on the head: eyes, brows, lips, mouth, beard, wrinkles, glasses.

Features are functions of the head frame's x and y (a flat projection from the front), so they turn
with the head. Colours are linear RGB with the channel first, [3,B,N]; parameters are [B,1].
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .factors import index
from .shape import EYE_X, EYE_Y, MOUTH_Y, smoothstep

GLASSES_Z = 0.455  # the plane of the lenses, head frame


class Features(NamedTuple):
    """Sizes of what is painted, each [B,1]."""

    eye_x: Tensor
    eye_tilt: Tensor
    eye_width: Tensor
    eye_height: Tensor
    eyes_open: Tensor
    iris: Tensor
    mouth_width: Tensor
    smile: Tensor
    mouth_open: Tensor
    grin: Tensor  # 0..1, a smile broad enough to show teeth
    lips: Tensor
    nose_len: Tensor
    nose_width: Tensor
    brow_thick: Tensor
    brow_height: Tensor
    beard: Tensor
    age: Tensor
    wrinkles: Tensor
    glasses: Tensor
    paint: Tensor  # strengths of out-of-domain extras
    moles: Tensor


class Palette(NamedTuple):
    """Linear colours of a portrait, each [3,B,1]."""

    skin: Tensor
    hair: Tensor
    iris: Tensor
    lip: Tensor


class Skin(NamedTuple):
    """The painted head at the rays' points."""

    albedo: Tensor  # [3,B,N]
    gloss: Tensor  # [B,N]
    eye: Tensor  # [3,B,N] colour of the eyeball
    eye_mask: Tensor  # [B,N]
    glint: Tensor  # [B,N] highlights on the eye
    mouth: Tensor  # [3,B,N] colour inside the open mouth
    mouth_mask: Tensor  # [B,N]


def features_of(factors: Tensor, paint: Tensor, moles: Tensor) -> Features:
    """Sizes for factors [B,COUNT]; ``paint`` and ``moles`` [B,1] are strengths in 0..1."""

    def f(name: str) -> Tensor:
        return factors[:, index(name), None]

    size, smile, age = f("eye_size"), f("smile"), f("age")
    grin = ((smile - 0.40) * 2.2).clamp(0, 1)
    width = 0.178 * (1 + 0.32 * f("mouth_width"))
    return Features(
        eye_x=EYE_X * (1 + 0.13 * f("eye_spacing")),
        eye_tilt=f("eye_tilt"),
        eye_width=0.128 * (1 + 0.24 * size),
        eye_height=0.080 * (1 + 0.36 * size),
        eyes_open=f("eyes_open"),
        iris=0.064 * (1 + 0.18 * size),
        mouth_width=width * (1 + 0.24 * smile.clamp(min=0)) * (1 - 0.12 * f("mouth_open")),
        smile=smile,
        mouth_open=f("mouth_open"),
        grin=grin,
        lips=(1.20 + 0.80 * f("lip_full")) * (1 - 0.25 * age),
        nose_len=f("nose_len"),
        nose_width=1 + 0.70 * f("nose_width"),
        brow_thick=1.15 + 0.80 * f("brow_thick"),
        brow_height=f("brow_height"),
        beard=f("beard"),
        age=age,
        wrinkles=((age - 0.15) / 0.85).clamp(0, 1),
        glasses=f("glasses"),
        paint=paint,
        moles=moles,
    )


# -------------------------------------------------------------------------------- feature lines


def mouth_height(x: Tensor, f: Features) -> Tensor:
    """Head-frame y of the line between the lips."""
    u = x / f.mouth_width
    return MOUTH_Y + f.smile * 0.105 * (u * u - 0.45) - 0.006 * (1 - (3 * u).clamp(-1, 1) ** 2)


class _Lips(NamedTuple):
    u: Tensor
    arch: Tensor
    upper_in: Tensor
    lower_in: Tensor
    upper_out: Tensor
    lower_out: Tensor


def _lips(x: Tensor, f: Features) -> _Lips:
    u = x / f.mouth_width
    a = (1 - u * u).clamp(min=0)
    middle = mouth_height(x, f)
    gap = f.mouth_open * 0.115 * (a + 1e-4) ** 0.6 + f.grin * 0.036 * a
    upper_in, lower_in = middle + gap * 0.35, middle - gap * 0.9
    bow = 1 - 0.28 * (-((u * 7.0) ** 2)).exp() + 0.10 * (-(((u.abs() - 0.25) * 6.0) ** 2)).exp()
    thin = 1 - 0.25 * f.smile.clamp(min=0)
    upper_out = upper_in + 0.048 * f.lips * (a + 1e-4) ** 0.7 * bow * thin
    lower_out = lower_in - 0.060 * f.lips * (a + 1e-4) ** 0.55
    return _Lips(u, a, upper_in, lower_in, upper_out, lower_out)


def _eye_frame(x: Tensor, y: Tensor, f: Features) -> tuple[Tensor, Tensor]:
    """Coordinates from the eye's centre: outwards and up."""
    ex = x.abs() - f.eye_x
    return ex, y - EYE_Y - f.eye_tilt * ex * 0.38


def _lids(ex: Tensor, f: Features) -> tuple[Tensor, Tensor, Tensor]:
    """Heights of the upper and the lower lid, and the place along the eye (-1 inner, 1 outer)."""
    u = (ex / f.eye_width).clamp(-1, 1)
    a = 1 - u * u
    closed = 1 - f.eyes_open
    upper = f.eye_height * (a + 1e-4) ** 0.75 * (1 + 0.04 * u) * f.eyes_open
    lower = -f.eye_height * 0.62 * a * (0.45 + 0.55 * f.eyes_open)
    # A smile lifts the lower lid.
    lower = lower * (1 - 0.22 * f.smile.clamp(min=0))
    return upper - 0.35 * f.eye_height * closed * a, lower, u


def _fold(x: Tensor, y: Tensor, f: Features) -> Tensor:
    """The line from the nose's wing to the mouth's corner."""
    t = (-0.21 - y) / 0.26
    centre = 0.095 * f.nose_width + t * (0.115 + 0.03 * f.smile) + 0.02 * t * t
    along = smoothstep(-0.05, 0.12, t) * (1 - smoothstep(0.7, 1.05, t))
    return (-(((x.abs() - centre) / (0.022 + 0.012 * f.age)) ** 2)).exp() * along


def _jowl(x: Tensor, y: Tensor, f: Features) -> Tensor:
    """The line from the mouth's corner down to the chin."""
    t = (-0.47 - y) / 0.20
    along = smoothstep(-0.05, 0.15, t) * (1 - smoothstep(0.7, 1.05, t))
    return (-(((x.abs() - f.mouth_width - 0.03 * t) / 0.028) ** 2)).exp() * along


def _frown(x: Tensor, y: Tensor) -> Tensor:
    """Three lines across the forehead: one is as wide as a pixel of a 64 px image."""
    brow = smoothstep(0.27, 0.31, y) * (1 - smoothstep(0.52, 0.58, y))
    brow = brow * (1 - smoothstep(0.26, 0.40, x.abs()))
    return brow * smoothstep(0.1, 0.9, ((y + 0.02 * (x * 9).cos()) * 70.0).sin())


def _bag(ex: Tensor, ey: Tensor) -> Tensor:
    """The swelling under an eye."""
    return (-(((ey + 0.105 + ex * ex) / 0.03) ** 2)).exp() * (1 - smoothstep(0.08, 0.14, ex.abs()))


def glasses_ring(x: Tensor, y: Tensor, f: Features) -> Tensor:
    """Distance to the line of the glasses' rims in the lens plane, negative inside a lens."""
    qx, qy = (x.abs() - f.eye_x - 0.012).abs(), (y - 0.045).abs()
    rx, ry = 0.168, 0.135
    return (((qx / rx) ** 3 + (qy / ry) ** 3 + 1e-9) ** (1 / 3.0) - 1) * ry


def relief(x: Tensor, y: Tensor, f: Features) -> Tensor:
    """Height of lips, lids, folds and wrinkles over the head's surface, for its normals."""
    m = _lips(x, f)
    up = ((y - m.upper_in) / (m.upper_out - m.upper_in + 1e-3)).clamp(0, 1)
    low = ((m.lower_in - y) / (m.lower_in - m.lower_out + 1e-3)).clamp(0, 1)
    arch = (m.arch + 1e-6).sqrt() * smoothstep(1.0, 0.9, m.u.abs())
    h = 0.064 * up * (1 - up) * arch + 0.104 * low * (1 - low) * arch
    philtrum = smoothstep(-0.39, -0.35, y) * (1 - smoothstep(-0.30, -0.27, y))
    h = h - 0.004 * (-((x / 0.020) ** 2)).exp() * philtrum
    h = h - _fold(x, y, f) * (0.001 + 0.018 * f.age + 0.006 * f.smile.clamp(min=0))
    h = h - f.wrinkles * 0.0060 * _frown(x, y)
    ex, ey = _eye_frame(x, y, f)
    h = h - (0.001 + 0.012 * f.age) * _bag(ex, ey)
    upper, lower, _ = _lids(ex, f)
    side = (ex / f.eye_width).abs()
    crease = (ey - upper - 0.030 - 0.012 * (1 - f.eyes_open)) / 0.013
    h = h - 0.006 * (-crease.square()).exp() * (1 - smoothstep(0.8, 1.15, side))
    rim = (ey - lower + 0.012) / 0.014
    return h + 0.005 * (-rim.square()).exp() * (1 - smoothstep(0.6, 1.05, side))


# ------------------------------------------------------------------------------------- painting


def paint_skin(
    x: Tensor, y: Tensor, z: Tensor, f: Features, c: Palette, light: tuple[Tensor, ...]
) -> Skin:
    """Colours of the head at head-frame points [B,N]; ``light`` is the direction to the light."""
    front = smoothstep(0.05, 0.22, z)
    lips = _lips(x, f)
    ex, ey = _eye_frame(x, y, f)

    albedo = _blush(c.skin, x, y, f, front)
    lip_area = (
        smoothstep(1.10, 0.98, lips.u.abs())
        * smoothstep(lips.lower_out - 0.012, lips.lower_out + 0.002, y)
        * (1 - smoothstep(lips.upper_out - 0.002, lips.upper_out + 0.010, y))
    )
    beard = _beard(x, y, z, f, front) * (1 - lip_area)
    albedo = _mix(albedo, c.hair * 0.70, 0.92 * beard)
    brow = _brow(ex, ey, f) * front
    albedo = _mix(albedo, c.hair * 0.50 + 0.004, brow)
    lip = lip_area * front
    albedo = _mix(albedo, c.lip, 0.88 * lip)

    mouth, mouth_mask = _mouth(y, lips, front)
    half = (lips.upper_in + lips.lower_in) * 0.5
    line = (-(((y - half) / (0.009 + 0.35 * (lips.upper_in - lips.lower_in))) ** 2)).exp()
    line = line * smoothstep(1.06, 0.94, lips.u.abs()) * front * (1 - mouth_mask)
    albedo = albedo * (1 - 0.66 * line)
    fold = _fold(x, y, f) * (0.50 * f.age + 0.10 * f.smile.clamp(min=0))
    lines = fold + 0.40 * f.age * _jowl(x, y, f) + 0.40 * f.wrinkles * _frown(x, y)
    lines = lines + 0.42 * f.age * _bag(ex, ey)
    albedo = albedo * (1 - _tint(lines.clamp(max=0.7) * front * (1 - beard), 1.0, 1.12, 1.15))
    nostril_y = y + 0.205 + 0.070 * f.nose_len + 0.038
    nostril = ((x.abs() - 0.040 * f.nose_width) / 0.021) ** 2 + (nostril_y / 0.013) ** 2
    albedo = albedo * (1 - 0.65 * (-nostril).exp() * front)
    socket = (-((ex / 0.15) ** 2) - (((ey - 0.02) / 0.095) ** 2)).exp() * front
    albedo = albedo * (1 - _tint(socket, 0.08, 0.14, 0.12))

    upper, lower, along = _lids(ex, f)
    side = (ex / f.eye_width).abs()
    eye, eye_mask, glint = _eye(x, ex, ey, upper, lower, along, f, c.iris, light)
    eye_mask = eye_mask * front
    lash = (-(((ey - upper) / 0.0125) ** 2)).exp() * (1 - smoothstep(1.0, 1.12, side))
    wing = (-(((ey - upper - 0.3 * (ex - f.eye_width)) / 0.009) ** 2)).exp()
    wing = wing * smoothstep(0.75, 1.0, along) * (1 - smoothstep(1.1, 1.3, ex / f.eye_width))
    lash = torch.maximum(lash, 0.8 * wing) * front * 0.95
    under = (-(((ey - lower) / 0.006) ** 2)).exp() * smoothstep(1.0, 0.94, side) * front * 0.30
    crease = (-(((ey - upper - 0.034) / 0.010) ** 2)).exp() * (1 - smoothstep(0.75, 1.1, side))
    albedo = albedo * (1 - _tint(crease * front, 0.22, 0.28, 0.28)) * (1 - under)
    albedo = _mix(albedo, torch.zeros_like(c.skin) + 0.012, lash)

    albedo = _extras(albedo, x, y, f, front)
    gloss = (0.10 + 0.08 * (-((x / 0.10) ** 2)).exp() * smoothstep(-0.3, 0.5, y)) * (1 - beard)
    gloss = gloss * (1 - 0.4 * f.age) + 0.12 * lip
    return Skin(albedo, gloss, eye, eye_mask, glint, mouth, mouth_mask)


def _blush(skin: Tensor, x: Tensor, y: Tensor, f: Features, front: Tensor) -> Tensor:
    cheek = (-(((x.abs() - 0.29) / 0.13) ** 2) - ((y + 0.17) / 0.11) ** 2).exp()
    nose = (-((x / 0.07) ** 2) - ((y + 0.2) / 0.06) ** 2).exp()
    amount = (0.75 * cheek + 0.35 * nose) * front * (0.9 + 0.3 * f.smile)
    amount = amount * (1.3 - 1.1 * f.age)
    return skin * (1 - _tint(amount, -0.05, 0.20, 0.22))


def _beard(x: Tensor, y: Tensor, z: Tensor, f: Features, front: Tensor) -> Tensor:
    jaw = smoothstep(-0.16, -0.42, y - 0.62 * (x.abs() - 0.2).clamp(min=0))
    jaw = jaw * (1 - smoothstep(0.90, 1.02, -y))
    moustache = (1 - smoothstep(0.13, 0.25, x.abs())) * smoothstep(-0.25, -0.34, y + 0.5 * x * x)
    # Present as soon as it is visible: a light stubble at first, then dense.
    dense = f.beard.clamp(max=0.06) / 0.06 * (0.55 + 0.45 * f.beard)
    return torch.maximum(jaw, moustache) * front * dense * smoothstep(-0.02, 0.25, z)


def _brow(ex: Tensor, ey: Tensor, f: Features) -> Tensor:
    u = ex / 0.150
    centre = 0.168 + 0.048 * f.brow_height - 0.036 * (u - 0.15) ** 2 - 0.004 * u
    ends = smoothstep(-1.06, -0.82, u) * (1 - smoothstep(0.85, 1.12, u))
    thick = 0.024 * f.brow_thick * (1 - 0.50 * smoothstep(0.0, 1.0, u)) + 1e-4
    return (1 - smoothstep(0.40, 1.15, ((ey - centre) / thick).abs())) * ends * 0.9


def _mouth(y: Tensor, m: _Lips, front: Tensor) -> tuple[Tensor, Tensor]:
    gap = m.upper_in - m.lower_in
    mask = (
        smoothstep(1.0, 0.93, m.u.abs())
        * smoothstep(m.lower_in - 0.006, m.lower_in + 0.006, y)
        * (1 - smoothstep(m.upper_in - 0.006, m.upper_in + 0.006, y))
        * front
        * smoothstep(0.002, 0.012, gap)
    )
    depth = m.upper_in - y
    teeth = (1 - smoothstep(0.036, 0.046, depth)) * (1 - smoothstep(0.75, 0.97, m.u.abs()))
    teeth = teeth * smoothstep(0.008, 0.020, gap)
    tongue = smoothstep(0.055, 0.085, depth) * (1 - smoothstep(0.45, 0.75, m.u.abs()))
    shade = (1 - 0.40 * smoothstep(0.3, 0.9, m.u.abs())) * (1 - 0.2 * smoothstep(0.02, 0.0, depth))
    cavity = _rgb(y, 0.060, 0.012, 0.014) * (1 - teeth) * (1 - tongue)
    colour = cavity + _rgb(y, 0.24, 0.055, 0.055) * (tongue * (1 - teeth))
    return colour + _rgb(y, 0.84, 0.80, 0.74) * (teeth * shade), mask


def _eye(
    x: Tensor, ex: Tensor, ey: Tensor, upper: Tensor, lower: Tensor, along: Tensor,
    f: Features, iris: Tensor, light: tuple[Tensor, ...],
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    mask = (
        smoothstep(lower - 0.004, lower + 0.006, ey)
        * (1 - smoothstep(upper - 0.006, upper + 0.004, ey))
        * smoothstep(1.0, 0.94, (ex / f.eye_width).abs())
        * smoothstep(0.0, 0.012, upper - lower)
    )
    gy = ey - 0.004
    r = (ex * ex + gy * gy + 1e-9).sqrt()
    in_iris = 1 - smoothstep(f.iris - 0.006, f.iris + 0.004, r)
    in_pupil = 1 - smoothstep(f.iris * 0.42 - 0.004, f.iris * 0.42 + 0.004, r)
    limb = 1 - 0.68 * smoothstep(f.iris * 0.68, f.iris, r)
    glow = 1 + 0.9 * (-gy / f.iris).clamp(-0.6, 1)
    shade = (
        (1 - 0.55 * smoothstep(upper - 0.050, upper + 0.002, ey))
        * (1 - 0.20 * smoothstep(lower + 0.02, lower, ey))
        * (1 - 0.25 * smoothstep(0.5, 1.0, along.abs()))
    )
    white = _rgb(x, 0.84, 0.82, 0.80)
    colour = white + (iris * (1.5 * limb * glow) - white) * in_iris
    colour = _mix(colour, _rgb(x, 0.006, 0.006, 0.006), in_pupil) * shade
    # The light is mirrored at the same side of both eyes.
    gx = ex * torch.sign(x)
    toward = (light[0] / 0.6).clamp(-1, 1)
    main = ((gx - 0.30 * f.iris * toward) ** 2 + (gy - f.iris * 0.38) ** 2 + 1e-9).sqrt()
    small = ((gx + 0.032 * toward) ** 2 + (gy + 0.040) ** 2 + 1e-9).sqrt()
    main, small = smoothstep(0.022, 0.012, main), smoothstep(0.013, 0.006, small)
    return colour, mask, 0.95 * main + 0.22 * small


def _extras(albedo: Tensor, x: Tensor, y: Tensor, f: Features, front: Tensor) -> Tensor:
    """Face paint (stripes on cheeks and forehead) and moles; never in the domain."""
    cheek = (1 - smoothstep(0.055, 0.075, (y + 0.13 - 0.3 * (x.abs() - 0.3)).abs())) * smoothstep(
        0.10, 0.13, x.abs()
    )
    brow = (1 - smoothstep(0.030, 0.045, x.abs())) * smoothstep(0.16, 0.20, y)
    left = smoothstep(0.0, -0.02, x)
    paint = _rgb(x, 0.02, 0.18, 0.75) * left + _rgb(x, 0.80, 0.65, 0.02) * (1 - left)
    albedo = _mix(albedo, paint, torch.maximum(cheek, brow) * front * f.paint)
    spots = torch.zeros_like(x)
    for mx, my, r in ((0.21, -0.27, 0.034), (-0.13, -0.62, 0.030), (-0.33, -0.10, 0.026)):
        d = ((x - mx) ** 2 + (y - my) ** 2 + 1e-9).sqrt()
        spots = torch.maximum(spots, 1 - smoothstep(r - 0.008, r + 0.004, d))
    return _mix(albedo, _rgb(x, 0.035, 0.015, 0.012), spots * front * f.moles)


# -------------------------------------------------------------------------------------- colours


def palette_of(factors: Tensor) -> Palette:
    """Colours for factors [B,COUNT]. The factor `age` turns hair grey and skin pale."""

    def f(name: str) -> Tensor:
        return factors[:, index(name)]

    skin, hair = _ramp(f("skin_tone"), _SKIN), _ramp(f("hair_color"), _HAIR)
    skin = _mix(skin, skin.mean(0, keepdim=True), 0.26 * f("age")[:, None])
    # Grey hair is as light as its colour was, and a trace of the colour stays.
    grey = smoothstep(0.20, 1.0, f("age"))[:, None]
    silver = 0.22 + 0.75 * hair.mean(0, keepdim=True) * _rgb(grey, 1.0, 1.0, 1.03)
    hair = _mix(hair, silver, 0.82 * grey)
    red = f("lip_red")[:, None]
    lip = _mix(skin * _rgb(red, 0.92, 0.68, 0.66), _rgb(red, 0.58, 0.035, 0.075), red * 0.85)
    return Palette(skin, hair, _ramp(f("eye_color"), _IRIS), lip)


def linear(r: float, g: float, b: float) -> tuple[float, float, float]:
    """A screen colour 0..255 as linear light."""
    return ((r / 255) ** 2.2, (g / 255) ** 2.2, (b / 255) ** 2.2)


def hsv(h: Tensor, s: Tensor, v: Tensor) -> Tensor:
    """Hue, saturation, value [B] to a colour [3,B,1]; the hue is periodic."""
    k = torch.stack([(5 + h * 6) % 6, (3 + h * 6) % 6, (1 + h * 6) % 6])
    return (v * (1 - s * torch.minimum(k, 4 - k).clamp(0, 1)))[..., None]


_SKIN = [
    linear(*c)
    for c in ((255, 222, 204), (250, 203, 174), (236, 177, 138), (206, 145, 106), (156, 102, 72),
              (108, 69, 51))
]  # fmt: skip
_HAIR = [
    linear(*c)
    for c in ((28, 24, 26), (56, 39, 32), (96, 61, 40), (136, 72, 40), (180, 96, 46),
              (208, 160, 94), (238, 210, 152))
]  # fmt: skip
_IRIS = [
    linear(*c) for c in ((58, 34, 22), (108, 66, 30), (128, 112, 50), (74, 132, 78), (66, 134, 188))
]


def _ramp(t: Tensor, colours: list[tuple[float, float, float]]) -> Tensor:
    """Piecewise linear interpolation of ``colours`` at t [B] in 0..1, to [3,B,1]."""
    table = torch.tensor(colours, dtype=t.dtype, device=t.device)  # [K,3]
    at = t.clamp(0, 1) * (len(colours) - 1)
    low = at.floor().clamp(max=len(colours) - 2).long()
    part = (at - low)[:, None]
    return (table[low] * (1 - part) + table[low + 1] * part).T[..., None]


def _rgb(like: Tensor, r: float, g: float, b: float) -> Tensor:
    return torch.stack([torch.full_like(like[:1, :1], v) for v in (r, g, b)])  # [3,1,1]


def _mix(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    return a + (b - a) * t


def _tint(amount: Tensor, r: float, g: float, b: float) -> Tensor:
    return _rgb(amount, r, g, b) * amount
