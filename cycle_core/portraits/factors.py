"""The factors of a portrait: what each number means, and how a Gaussian code becomes a portrait.

Every factor is a smooth monotone function of one coordinate of a standard Gaussian vector ``n``,
and the coordinates are independent, so the domain has known and disentangled causes. A generator's
input is ``z = n @ Q`` with a fixed rotation ``Q``: no coordinate of ``z`` belongs to one factor,
hence finding a direction for "smile" in a trained generator is a real problem with a known answer.

One formula serves all factors (``Phi`` is the normal distribution function)::

    u = Phi(spread * n + shift)              shift places the median portrait, n = 0, at the default
    u = max(u - absent, 0) / (1 - absent)    only for what a share of the people do not have at all
    value = low + (high - low) * u
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import InputError


@dataclass(frozen=True)
class Factor:
    """One row of the table; ``low`` and ``high`` bound what the domain samples."""

    name: str
    low: float
    high: float
    default: float  # the value of the median portrait
    spread: float  # 1 is uniform (for a central default), below 1 favours the default
    group: str  # "identity" or "attribute"
    meaning: str
    absent: float = 0.0  # share of the portraits that have exactly `low`


_ID, _AT = "identity", "attribute"

FACTORS: tuple[Factor, ...] = (
    Factor("face_width", -1, 1, 0, 0.7, _ID, "narrow to wide head"),
    Factor("jaw_width", -1, 1, 0, 0.7, _ID, "pointed to square jaw"),
    Factor("chin_len", -1, 1, 0, 0.7, _ID, "short to long chin"),
    Factor("cheeks", -1, 1, 0, 0.7, _ID, "flat to round cheeks"),
    Factor("eye_spacing", -1, 1, 0, 0.7, _ID, "close to wide-set eyes"),
    Factor("eye_size", -1, 1, 0, 0.7, _ID, "small to large eyes"),
    Factor("eye_tilt", -1, 1, 0, 0.7, _ID, "outer eye corners down to up"),
    Factor("nose_len", -1, 1, 0, 0.7, _ID, "short to long nose"),
    Factor("nose_width", -1, 1, 0, 0.7, _ID, "narrow to wide nose"),
    Factor("mouth_width", -1, 1, 0, 0.7, _ID, "narrow to wide mouth"),
    Factor("lip_full", -1, 1, 0, 0.7, _ID, "thin to full lips"),
    Factor("lip_red", 0, 1, 0.35, 0.9, _ID, "lips of skin colour to red lips"),
    Factor("brow_thick", -1, 1, 0, 0.7, _ID, "thin to thick eyebrows"),
    Factor("brow_height", -1, 1, 0, 0.7, _ID, "low to high eyebrows"),
    Factor("ears", -1, 1, 0, 0.7, _ID, "small close ears to large protruding ears"),
    Factor("eye_color", 0, 1, 0.45, 1.0, _ID, "iris from dark brown over hazel and green to blue"),
    Factor("skin_tone", 0, 1, 0.42, 1.0, _ID, "skin from light to dark"),
    Factor("hair_color", 0, 1, 0.42, 1.0, _ID, "hair from black over brown and red to blond"),
    Factor("hair_len", 0, 1, 0.35, 1.0, _ID, "hair above the nape to hair over the shoulders"),
    Factor("hair_vol", -1, 1, 0, 0.7, _ID, "flat to full hair"),
    Factor("fringe", 0, 1, 0.3, 0.9, _ID, "free forehead to covered forehead"),
    Factor("hair_part", -1, 1, 0.2, 1.0, _ID, "hair parted on one side to the other side"),
    Factor("hair_wave", 0, 1, 0.35, 0.9, _ID, "straight to wavy hair"),
    Factor("beard", 0, 1, 0, 1.0, _ID, "no beard to a full dark beard", absent=0.6),
    Factor("cloth_hue", 0, 0.85, 0.5, 1.0, _ID, "hue of the clothes, red to violet"),
    Factor("cloth_light", 0, 1, 0.45, 1.0, _ID, "dark to light clothes"),
    Factor("yaw", -1, 1, 0, 0.8, _AT, "head turned to the image's left to right, 1 is 0.6 rad"),
    Factor("pitch", -1, 1, 0, 0.7, _AT, "head raised to lowered, 1 is 0.3 rad"),
    Factor("smile", -1, 1, 0.25, 0.9, _AT, "mouth corners down to a broad smile"),
    Factor("mouth_open", 0, 1, 0, 1.0, _AT, "closed to open mouth", absent=0.5),
    Factor("eyes_open", 0, 1, 0.8, 0.75, _AT, "closed to wide open eyes"),
    Factor("age", 0, 1, 0.35, 0.9, _AT, "smooth to lined, pale skin; hair turns grey above 0.2"),
    Factor("glasses", 0, 1, 0, 1.0, _AT, "no glasses; thin to thick dark frames", absent=0.55),
    Factor("light_az", -1, 1, 0.2, 0.9, _AT, "light from the image's left to the right"),
    Factor("light_el", -1, 1, 0.2, 0.8, _AT, "light from the front to light from above"),
    Factor("bg_hue", 0, 0.85, 0.5, 1.0, _AT, "hue of the background, red to violet"),
    Factor("bg_shift", -1, 1, 0, 0.7, _AT, "hue difference across the background"),
    Factor("bg_light", 0, 1, 0.5, 0.9, _AT, "dark to light background"),
    Factor("bg_angle", -1, 1, 0.2, 0.9, _AT, "turn of the background's gradient, 1 is 90 degrees"),
)
NAMES: tuple[str, ...] = tuple(f.name for f in FACTORS)
COUNT = len(FACTORS)
Z_DIM = COUNT  # a generator of this domain takes z [B, Z_DIM]
IDENTITY: tuple[int, ...] = tuple(i for i, f in enumerate(FACTORS) if f.group == _ID)
ATTRIBUTES: tuple[int, ...] = tuple(i for i, f in enumerate(FACTORS) if f.group == _AT)
# Ranges of `sample_wide` that differ: heads turn to 1 rad; mouths, noses and eyes have the sizes
# that photographs show, which the domain's are a little beside.
WIDE_YAW = 1.0 / 0.6
_WIDE = {
    "yaw": (-WIDE_YAW, WIDE_YAW),
    "pitch": (-1.3, 1.3),
    "mouth_width": (-0.6, 2.0),
    "nose_len": (-0.7, 1.4),
    "eye_size": (-1.3, 0.7),
}

_INDEX = {name: i for i, name in enumerate(NAMES)}
_ROTATION_SEED = 2022
_EPS = 1e-6  # keeps the inverse distribution function finite in float32


def index(name: str) -> int:
    """Column of the factor ``name``. Raises InputError for an unknown name."""
    if name not in _INDEX:
        raise InputError(f"Unknown factor '{name}'; use one of: {', '.join(NAMES)}.")
    return _INDEX[name]


def defaults(count: int = 1) -> torch.Tensor:
    """The median portrait, repeated: float32 [count, COUNT]."""
    return torch.tensor([[f.default for f in FACTORS]], dtype=torch.float32).repeat(count, 1)


def replace(factors: torch.Tensor, **values: float | torch.Tensor) -> torch.Tensor:
    """A copy of ``factors`` [B, COUNT] with the named columns set: ``replace(f, smile=1.0)``."""
    out = factors.clone()
    for name, value in values.items():
        out[:, index(name)] = value
    return out


def sample_factors(count: int, seed: int) -> torch.Tensor:
    """Portraits of the domain: float32 [count, COUNT], the same for the same seed everywhere."""
    return gaussian_to_factors(sample_gaussian(count, seed))


def sample_gaussian(count: int, seed: int) -> torch.Tensor:
    """The independent standard Gaussian code behind ``sample_factors``: float32 [count, COUNT]."""
    return torch.randn(count, COUNT, generator=torch.Generator().manual_seed(seed))


def sample_wide(count: int, seed: int) -> torch.Tensor:
    """Uniform over each factor's range, some of which are wider; half have no glasses, no beard.

    Meant for networks that must work beyond the domain (landmarks), not for a generator.
    Returns float32 [count, COUNT].
    """
    u = torch.rand(count, COUNT, generator=torch.Generator().manual_seed(seed))
    t = _columns(u)
    u = torch.where(t.absent > 0, (2 * u - 1).clamp(min=0), u)
    out = t.low + (t.high - t.low) * u
    for name, (low, high) in _WIDE.items():
        out[:, index(name)] = low + (high - low) * u[:, index(name)]
    return out


def gaussian_to_factors(n: torch.Tensor) -> torch.Tensor:
    """Standard Gaussian code [B, COUNT] to factors [B, COUNT], each inside its range."""
    _check(n, "Gaussian codes")
    t = _columns(n)
    u = torch.special.ndtr(t.spread * n + t.shift)
    u = (u - t.absent).clamp(min=0) / (1 - t.absent)
    return t.low + (t.high - t.low) * u


def factors_to_gaussian(
    factors: torch.Tensor, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Factors [B, COUNT] to the Gaussian code [B, COUNT] that makes them.

    Values outside a range become the nearest value inside. A factor that is absent (no glasses)
    says nothing about its code except a bound: the code is then drawn from the part of the Gaussian
    that means "absent", with ``generator`` (a CPU generator; None: one seeded with 0).
    """
    _check(factors, "factors")
    t = _columns(factors)
    share = ((factors - t.low) / (t.high - t.low)).clamp(0, 1)
    generator = generator or torch.Generator().manual_seed(0)
    fill = torch.rand(factors.shape, generator=generator).to(factors)
    u = torch.where(
        (t.absent > 0) & (share <= 0), fill * t.absent, t.absent + (1 - t.absent) * share
    )
    return (torch.special.ndtri(u.clamp(_EPS, 1 - _EPS)) - t.shift) / t.spread


def rotation(like: torch.Tensor) -> torch.Tensor:
    """The fixed orthogonal matrix Q [COUNT, COUNT] of ``z = n @ Q``, on the device of ``like``."""
    g = torch.Generator().manual_seed(_ROTATION_SEED)
    q, r = torch.linalg.qr(torch.randn(COUNT, COUNT, generator=g))
    # LAPACK libraries differ in the signs of the columns: a positive diagonal makes Q unique.
    return (q * torch.sign(torch.diagonal(r))).to(like)


def factors_to_z(factors: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Factors [B, COUNT] to the generator's input z [B, Z_DIM]; see ``factors_to_gaussian``."""
    n = factors_to_gaussian(factors, generator)
    return n @ rotation(n)


def z_to_factors(z: torch.Tensor) -> torch.Tensor:
    """Generator input z [B, Z_DIM] to the factors [B, COUNT] that it stands for."""
    _check(z, "codes z")
    return gaussian_to_factors(z @ rotation(z).T)


@dataclass(frozen=True)
class _Columns:
    low: torch.Tensor  # each [COUNT]
    high: torch.Tensor
    spread: torch.Tensor
    absent: torch.Tensor
    shift: torch.Tensor


def _columns(like: torch.Tensor) -> _Columns:
    def column(values: list[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32).to(like)

    medians = [0.5 if f.absent else (f.default - f.low) / (f.high - f.low) for f in FACTORS]
    return _Columns(
        low=column([f.low for f in FACTORS]),
        high=column([f.high for f in FACTORS]),
        spread=column([f.spread for f in FACTORS]),
        absent=column([f.absent for f in FACTORS]),
        shift=torch.special.ndtri(column(medians)),
    )


def _check(values: torch.Tensor, what: str) -> None:
    if values.ndim != 2 or values.shape[1] != COUNT:
        raise InputError(f"Got {what} of shape {tuple(values.shape)}; expected [B, {COUNT}].")
