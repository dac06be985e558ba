"""The factors of a person: what each number means, and how a Gaussian code becomes a person.

Every factor is a smooth monotone function of one coordinate of a standard Gaussian vector ``n``
(``Phi`` is the normal distribution function)::

    u = Phi(spread * n + shift)              shift places the median person, n = 0, at the default
    u = max(u - absent, 0) / (1 - absent)    only for what a share of the people do not have at all
    value = low + (high - low) * u

`person.py` turns the values into a picture's parameters; there factors meet (hair of the old is
grey, of dark-skinned people rarely blond).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri


@dataclass(frozen=True)
class Factor:
    """One row of the table; ``low`` and ``high`` bound what the domain samples."""

    name: str
    low: float
    high: float
    default: float  # the value of the median person
    spread: float  # 1 is uniform (for a central default), below 1 favours the default
    group: str  # "identity" or "attribute"
    meaning: str
    absent: float = 0.0  # share of the people that have exactly `low`


_ID, _AT = "identity", "attribute"


def _shape(name: str, meaning: str, limit: float = 0.65) -> Factor:
    return Factor(name, -limit, limit, 0.0, 0.7, _ID, meaning)


FACTORS: tuple[Factor, ...] = (
    _shape("face_width", "narrow to wide head"),
    _shape("face_length", "short to long face"),
    _shape("face_fullness", "lean to full face", 0.85),
    _shape("jaw_width", "oval to square jaw"),
    _shape("chin_length", "short to long chin"),
    _shape("chin_prominence", "receding to prominent chin"),
    _shape("cheek_bones", "flat to high cheek bones"),
    _shape("cheeks", "hollow to round cheeks"),
    _shape("forehead", "low to high forehead"),
    _shape("brow_ridge", "smooth to strong brow ridge"),
    _shape("eye_size", "small to large eyes", 0.55),
    _shape("eye_spacing", "close to wide-set eyes"),
    _shape("eye_tilt", "outer eye corners down to up"),
    _shape("eye_lids", "open to hooded lids"),
    _shape("nose_length", "short to long nose"),
    _shape("nose_width", "narrow to wide nose"),
    _shape("nose_bridge", "slim to broad bridge"),
    _shape("nose_hump", "hollow to humped nose"),
    _shape("nose_tip", "tip down to up"),
    _shape("mouth_width", "narrow to wide mouth"),
    _shape("mouth_height", "mouth low to high"),
    _shape("lip_fullness", "thin to full lips", 0.8),
    _shape("ears", "small close ears to large protruding ears"),
    Factor("gender", 0, 1, 0.5, 1.0, _AT, "female to male"),
    Factor("age", 0, 1, 0.37, 0.95, _AT, "about 18 to 80 years"),
    Factor("origin_africa", -1, 1, -0.15, 1.1, _ID, "towards African features, skin and hair"),
    Factor("origin_asia", -1, 1, -0.15, 1.1, _ID, "towards East Asian features, skin and hair"),
    Factor("skin_tone", -1, 1, 0, 0.8, _AT, "lighter to darker than the origin's"),
    Factor("skin_warmth", -1, 1, 0, 0.7, _ID, "rosy to olive skin"),
    Factor("freckles", 0, 1, 0, 0.9, _ID, "clear to freckled skin", absent=0.6),
    Factor("blush", 0, 1, 0.45, 0.8, _ID, "pale to red cheeks and nose"),
    Factor("skin_gloss", 0, 1, 0.4, 0.7, _ID, "matt to shiny skin"),
    Factor("eye_colour", 0, 1, 0.4, 1.0, _ID, "dark brown over hazel and green to blue"),
    Factor("lip_colour", 0, 1, 0, 0.9, _AT, "natural lips to red lipstick", absent=0.6),
    Factor("eye_shadow", 0, 1, 0, 0.8, _AT, "no make-up to dark lids and lashes", absent=0.5),
    Factor("hair_length", 0, 1, 0.45, 1.0, _AT, "cropped to below the shoulders"),
    Factor("hair_colour", 0, 1, 0.38, 1.0, _AT, "black over brown and red to blond"),
    Factor("hair_grey", -1, 1, 0, 0.7, _ID, "grey later to earlier in life"),
    Factor("hair_volume", -1, 1, 0, 0.8, _AT, "flat to full hair"),
    Factor("hair_wave", 0, 1, 0.35, 0.95, _AT, "straight over wavy to curly hair"),
    Factor("fringe", 0, 1, 0, 1.0, _AT, "free forehead to covered forehead", absent=0.55),
    Factor("hair_part", -1, 1, 0.2, 0.9, _ID, "parted on the person's right to the left"),
    Factor("bald", 0, 1, 0, 1.0, _AT, "full hair to a bald crown", absent=0.7),
    Factor("hair_tied", 0, 1, 0, 1.2, _AT, "loose to tied back", absent=0.75),
    Factor("brow_thickness", -1, 1, 0, 0.8, _ID, "thin to thick eyebrows"),
    Factor("brow_height", -1, 1, 0, 0.7, _ID, "low to high eyebrows"),
    Factor("beard", 0, 1, 0, 1.1, _AT, "shaved over stubble to a full beard", absent=0.4),
    Factor("smile", -0.7, 1, 0.3, 0.9, _AT, "mouth corners down to a broad smile"),
    Factor("open_mouth", 0, 1, 0, 0.9, _AT, "closed to open mouth", absent=0.6),
    Factor("blink", 0, 1, 0, 0.9, _AT, "open to closed eyes", absent=0.8),
    Factor("squint", -1, 1, 0, 0.8, _AT, "wide to narrowed eyes"),
    Factor("brows", -1, 1, 0, 0.8, _AT, "lowered to raised brows"),
    Factor("pucker", 0, 1, 0, 0.8, _AT, "relaxed to pursed lips", absent=0.7),
    Factor("look_x", -1, 1, 0, 0.8, _AT, "gaze to the image's left to right"),
    Factor("look_y", -1, 1, 0, 0.8, _AT, "gaze down to up"),
    Factor("yaw", -1, 1, 0, 0.7, _AT, "head turned to the image's left to right, 1 is 45 degrees"),
    Factor("pitch", -1, 1, 0, 0.65, _AT, "head raised to lowered, 1 is 22 degrees"),
    Factor("glasses", 0, 1, 0, 1.0, _AT, "no glasses; thin to thick frames", absent=0.6),
    Factor("glasses_shape", -1, 1, 0, 0.9, _ID, "round to square glasses"),
    Factor("clothes_hue", 0, 0.9, 0.5, 1.1, _ID, "hue of the clothes, red to violet"),
    Factor("clothes_colour", 0, 1, 0.35, 0.9, _ID, "grey to colourful clothes"),
    Factor("clothes_light", 0, 1, 0.4, 1.0, _ID, "dark to light clothes"),
    Factor("neckline", 0, 1, 0.35, 1.0, _ID, "round and high to wide and low neckline"),
    Factor("light_direction", -1, 1, 0.2, 1.0, _AT, "light from the image's left to right"),
    Factor("light_elevation", 0, 1, 0.5, 0.8, _AT, "light from the front to from above"),
    Factor("light_warmth", -1, 1, 0.1, 0.8, _AT, "bluish to golden light"),
    Factor("light_contrast", 0, 1, 0.45, 0.9, _AT, "even light to dark shadows"),
    Factor("light_softness", 0, 1, 0.5, 0.8, _AT, "hard to soft shadows"),
    Factor("background_hue", 0, 0.9, 0.5, 1.1, _AT, "hue of the background, red to violet"),
    Factor("background_colour", 0, 1, 0.35, 0.8, _AT, "grey to colourful background"),
    Factor("background_light", 0, 1, 0.45, 0.95, _AT, "dark to light background"),
    Factor("background_gradient", -1, 1, 0.2, 0.9, _AT, "lighter on the left to on the right"),
    Factor("background_detail", 0, 1, 0.4, 0.8, _AT, "plain wall to a room out of focus"),
)
NAMES: tuple[str, ...] = tuple(f.name for f in FACTORS)
COUNT = len(FACTORS)
_INDEX = {name: i for i, name in enumerate(NAMES)}


def _column(attribute: str) -> np.ndarray:
    return np.array([getattr(f, attribute) for f in FACTORS], dtype=np.float64)


_LOW, _HIGH, _SPREAD, _ABSENT = (_column(a) for a in ("low", "high", "spread", "absent"))
_MEDIAN = np.where(_ABSENT > 0, 0.5, (_column("default") - _LOW) / (_HIGH - _LOW))
_SHIFT = ndtri(_MEDIAN)


def index(name: str) -> int:
    """Column of the factor ``name``."""
    if name not in _INDEX:
        raise ValueError(f"Unknown factor '{name}'; use one of: {', '.join(NAMES)}.")
    return _INDEX[name]


def defaults() -> np.ndarray:
    """The median person: float32 [COUNT]."""
    return gaussian_to_factors(np.zeros((1, COUNT)))[0]


def sample_gaussian(count: int, seed: int) -> np.ndarray:
    """Standard Gaussian codes, float32 [count, COUNT], the same for the same seed everywhere."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return rng.standard_normal((count, COUNT)).astype(np.float32)


def sample_factors(count: int, seed: int) -> np.ndarray:
    """People of the domain: float32 [count, COUNT]."""
    return gaussian_to_factors(sample_gaussian(count, seed))


def gaussian_to_factors(n: np.ndarray) -> np.ndarray:
    """Standard Gaussian codes [B, COUNT] to factors float32 [B, COUNT], each inside its range."""
    u = ndtr(_SPREAD * np.asarray(n, np.float64) + _SHIFT)
    u = np.maximum(u - _ABSENT, 0) / (1 - _ABSENT)
    return (_LOW + (_HIGH - _LOW) * u).astype(np.float32)
