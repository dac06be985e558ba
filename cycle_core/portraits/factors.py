"""The factors of a drawn portrait; `models/factors.py` says how a Gaussian code becomes one."""

from __future__ import annotations

import torch

from ..models.factors import Factor, FactorTable

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
TABLE = FactorTable(FACTORS)
NAMES = TABLE.names
COUNT = len(TABLE)
Z_DIM = COUNT  # a generator of this domain takes z [B, Z_DIM]
IDENTITY, ATTRIBUTES = TABLE.group(_ID), TABLE.group(_AT)
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

index, sample_factors, rotation = TABLE.index, TABLE.sample, TABLE.rotation
gaussian_to_factors, factors_to_gaussian = TABLE.to_factors, TABLE.to_gaussian
factors_to_z, z_to_factors = TABLE.to_z, TABLE.from_z


def defaults(count: int = 1) -> torch.Tensor:
    """The median portrait, repeated: float32 [count, COUNT]."""
    return torch.tensor([[f.default for f in FACTORS]], dtype=torch.float32).repeat(count, 1)


def replace(factors: torch.Tensor, **values: float | torch.Tensor) -> torch.Tensor:
    """A copy of ``factors`` [B, COUNT] with the named columns set: ``replace(f, smile=1.0)``."""
    out = factors.clone()
    for name, value in values.items():
        out[:, index(name)] = value
    return out


def sample_wide(count: int, seed: int) -> torch.Tensor:
    """Uniform over each factor's range, some of which are wider; half have no glasses, no beard.

    Meant for networks that must work beyond the domain (landmarks), not for a generator.
    Returns float32 [count, COUNT].
    """
    u = torch.rand(count, COUNT, generator=torch.Generator().manual_seed(seed))
    low, high, absent = torch.tensor([(f.low, f.high, f.absent) for f in FACTORS]).T
    u = torch.where(absent > 0, (2 * u - 1).clamp(min=0), u)
    out = low + (high - low) * u
    for name, (least, most) in _WIDE.items():
        out[:, index(name)] = least + (most - least) * u[:, index(name)]
    return out
