"""From the values of the factors to the parameters of a picture: where factors meet."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .factors import NAMES
from .shapes import macro_weights

# Albedo of skin from light to dark, sRGB as photographs show it in even light.
_SKIN = np.array([
    (238, 205, 184), (228, 186, 160), (214, 166, 135), (190, 138, 106),
    (156, 106, 77), (117, 76, 54), (84, 54, 40), (60, 40, 32),
])  # fmt: skip
_HAIR = np.array([
    (14, 11, 10), (30, 20, 15), (58, 37, 24), (92, 56, 33), (132, 74, 38), (168, 112, 64),
    (205, 164, 108), (226, 196, 146),
])  # fmt: skip
_IRIS = np.array([
    (46, 28, 19), (70, 44, 27), (92, 64, 40), (98, 86, 56), (88, 100, 82), (84, 106, 122),
    (112, 138, 158),
])  # fmt: skip


def linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB 0 to 255 to linear 0 to 1."""
    x = np.asarray(srgb, np.float64) / 255
    return np.where(x < 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def ramp(table: np.ndarray, t: float) -> np.ndarray:
    """The colour at 0 to 1 along a table of sRGB colours, linear light."""
    places = np.linspace(0, 1, len(table))
    return linear(np.array([np.interp(t, places, table[:, c]) for c in range(3)]))


def smooth(low: float, high: float, x: np.ndarray | float) -> np.ndarray:
    t = np.clip((np.asarray(x, np.float64) - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


@dataclass
class Person:
    """Parameters of one picture; lengths in decimetres, angles in radians, colours linear."""

    weights: dict[str, float]  # of the head's targets
    male: float
    old: float  # 0 at 18 years to 1 at 80
    yaw: float
    pitch: float
    gaze: tuple[float, float]  # to the picture's right, up
    skin: np.ndarray
    dark: float  # 0 light to 1 dark skin
    iris: np.ndarray
    hair: dict[str, float] = field(default_factory=dict)
    hair_colour: np.ndarray = field(default_factory=lambda: np.zeros(3))
    values: dict[str, float] = field(default_factory=dict)


def describe(factors: np.ndarray) -> Person:
    """One row of factors [COUNT] to the parameters of its picture."""
    f = {name: float(x) for name, x in zip(NAMES, factors, strict=True)}
    male = float(smooth(0.22, 0.78, f["gender"]))
    years = f["age"]
    old = float(np.clip((years - 0.05) / 0.95, 0, 1))

    # Origins mix; most people are near one of them.
    pull = np.array([3.2 * f["origin_africa"], 3.2 * f["origin_asia"], 0.85])
    origin = np.exp(pull - pull.max())
    origin /= origin.sum()
    dark = origin @ np.array([0.80, 0.30, 0.17]) + 0.26 * f["skin_tone"]
    dark = float(np.clip(dark, 0.02, 0.98))
    skin = ramp(_SKIN, dark)
    olive = f["skin_warmth"]
    skin = skin * np.array([1 - 0.02 * olive, 1 + 0.045 * olive, 1 - 0.10 * olive])

    african = float(origin[0])
    asian = float(smooth(0.25, 0.8, origin[1]))
    light_hair = f["hair_colour"] * (1 - 0.85 * smooth(0.38, 0.66, dark)) * (1 - 0.75 * asian)
    wave = float(np.clip(f["hair_wave"] * (1 - 0.75 * origin[1]) + 0.55 * african, 0, 1))
    years_grey = old + 0.16 * f["hair_grey"]
    grey = float(smooth(0.28, 1.0, years_grey))
    length = f["hair_length"]
    length = (0.24 + 0.76 * length) * (1 - male) + male * (0.62 * length**1.6)
    eyes = f["eye_colour"] * (1 - smooth(0.36, 0.62, dark)) * (1 - 0.9 * asian)
    hair = {
        "length": length,
        "wave": wave,
        "coil": float(smooth(0.45, 0.95, african)) * float(smooth(0.25, 0.7, wave)),
        "volume": f["hair_volume"],
        "fringe": f["fringe"] * (1 - 0.35 * male) * (1 - f["hair_tied"]),
        "part": f["hair_part"],
        "bald": float(np.clip(f["bald"] * male**2 * (0.45 + 0.7 * old), 0, 1)),
        "tied": f["hair_tied"] * (1 - male * 0.8),
        "grey": grey,
        "beard": f["beard"] * float(smooth(0.25, 0.8, male)),
        "brow": (0.72 + 0.45 * male) * (1 + 0.45 * f["brow_thickness"]),
    }
    return Person(
        weights=_weights(f, origin, male, old),
        male=male,
        old=old,
        yaw=np.radians(45) * f["yaw"],
        pitch=np.radians(22) * f["pitch"],
        gaze=(np.radians(24) * f["look_x"], np.radians(15) * f["look_y"]),
        skin=skin,
        dark=dark,
        iris=ramp(_IRIS, float(eyes)),
        hair=hair,
        hair_colour=ramp(_HAIR, float(light_hair)),
        values=f,
    )


def _weights(f: dict[str, float], origin: np.ndarray, male: float, old: float) -> dict[str, float]:
    weight = np.clip(f["face_fullness"] * 0.45, -0.6, 0.6)
    w = macro_weights(origin, male, old * 0.85, float(weight))
    plain = {
        "face_width": 1, "face_length": 1, "chin_prominence": 1.4, "cheek_bones": 1.4,
        "brow_ridge": 0.7, "eye_size": 0.8, "eye_spacing": 0.8, "eye_tilt": 0.8, "nose_length": 0.9,
        "nose_width": 1.0, "nose_bridge": 1.2, "nose_hump": 1.2, "nose_tip": 1.1,
        "mouth_width": 1.1, "mouth_height": 0.6,
    }  # fmt: skip
    for name, scale in plain.items():
        w[name] = scale * f[name]
    w["face_fat"] = 0.55 * f["face_fullness"]
    w["double_chin"] = 0.5 * max(f["face_fullness"], 0) + 0.25 * old
    w["face_square"] = 0.55 * f["jaw_width"]
    w["jaw_bones"] = 0.7 * f["jaw_width"]
    w["chin_width"] = 0.5 * f["jaw_width"]
    w["chin_height"] = 0.9 * f["chin_length"]
    w["cheek_volume"] = 0.8 * f["cheeks"] - 0.35 * old
    w["cheek_inner"] = 0.4 * f["cheeks"]
    w["forehead_height"] = 0.8 * f["forehead"]
    w["eye_fold"] = 0.5 * f["eye_lids"] + 0.25 * old - 0.12
    w["eye_fold_convex"] = 0.4 * f["eye_lids"]
    w["upper_lip"] = 0.75 * f["lip_fullness"] - 0.25 * old
    w["lower_lip"] = 0.75 * f["lip_fullness"] - 0.2 * old
    w["ear_size"] = 0.7 * f["ears"] + 0.3 * old
    w["ear_wing"] = 0.7 * f["ears"]
    w["ear_lobe"] = 0.4 * f["ears"] + 0.4 * old
    w["brow_position"] = 0.5 * f["brow_height"]
    w["head_age"] = 0.65 * old
    w["eye_bags"] = 0.55 * old - 0.15
    w["laugh_lines"] = 0.5 * old
    w["jaw_drop"] = 0.3 * old
    # What MakeHuman's young women have too little of.
    soft = 1 - male
    w["neck_width"] = 0.3 * male - 0.35 * soft
    w["jaw_bones"] -= 0.30 * soft
    w["chin_width"] -= 0.30 * soft
    w["brow_ridge"] += 0.2 * male - 0.35 * soft
    w["eye_size"] += 0.22 * soft
    w["upper_lip"] += 0.22 * soft
    w["lower_lip"] += 0.18 * soft
    w["nose_volume"] = -0.25 * soft

    smile, opened, pucker = f["smile"], f["open_mouth"], f["pucker"]
    happy, sad = max(smile, 0.0), max(-smile, 0.0)
    shows = float(smooth(0.25, 0.9, happy))
    w["mouth_smile"] = 1.1 * happy
    w["mouth_dimple"] = 0.35 * happy
    w["cheek_squint"] = 0.45 * happy
    w["mouth_upper_up"] = 0.42 * shows + 0.12 * opened
    w["mouth_lower_down"] = 0.22 * shows + 0.25 * opened
    w["mouth_frown"] = 0.7 * sad
    w["mouth_press"] = 0.25 * sad
    w["jaw_open"] = 0.10 * shows + 0.50 * opened
    w["mouth_pucker"] = 1.1 * pucker
    w["mouth_funnel"] = 0.25 * pucker
    squint = f["squint"]
    w["eye_squint"] = 0.95 * max(squint, 0) + 0.25 * happy
    w["eye_wide"] = 0.28 * (1 - squint) * (1 - f["blink"])
    w["eye_height"] = 0.30
    w["eye_blink"] = float(np.clip(f["blink"] * 0.60, 0, 0.60))
    w["eye_look_up"] = 0.6 * max(f["look_y"], 0)
    w["eye_look_down"] = 0.75 * max(-f["look_y"], 0) * (1 - f["blink"])
    up, down = max(f["brows"], 0), max(-f["brows"], 0)
    w["brow_inner_up"] = 0.6 * up
    w["brow_outer_up"] = 0.85 * up
    w["brow_down"] = 0.75 * down
    w["nose_sneer"] = 0.15 * down + 0.1 * shows
    return w
