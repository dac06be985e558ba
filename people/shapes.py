"""Which of MakeHuman's targets the head file keeps, and the weight of each for a person.

Every table maps our name to ``[(target, weight), ...]``: the sum is one target of the head file.
"""

from __future__ import annotations

import numpy as np

ORIGINS = ("african", "asian", "caucasian")
_SIDES = ("l", "r")

MACRO: dict[str, list[tuple[str, float]]] = {
    **{
        f"{origin}-{gender}-{age}": [(f"macrodetails/{origin}-{gender}-{age}", 1.0)]
        for origin in ORIGINS
        for gender in ("female", "male")
        for age in ("young", "old")
    },
    **{
        f"{gender}-{age}-{weight}": [
            (f"macrodetails/universal-{gender}-{age}-averagemuscle-{weight}weight", 1.0)
        ]
        for gender in ("female", "male")
        for age in ("young", "old")
        for weight in ("min", "average", "max")
    },
}


def _pair(stem: str, high: str = "incr", low: str = "decr") -> list[tuple[str, float]]:
    return [(f"{stem}-{high}", 0.5), (f"{stem}-{low}", -0.5)]


def _sides(stem: str, high: str = "incr", low: str = "decr") -> list[tuple[str, float]]:
    folder, name = stem.split("/")
    return [
        (f"{folder}/{side}-{name}-{end}", weight)
        for side in _SIDES
        for end, weight in ((high, 0.5), (low, -0.5))
    ]


# Positive weights do what the name says.
SHAPES: dict[str, list[tuple[str, float]]] = {
    "face_width": _pair("head/head-scale-horiz"),
    "face_length": _pair("head/head-scale-vert"),
    "face_fat": _pair("head/head-fat"),
    "face_square": [("head/head-square", 0.5), ("head/head-oval", -0.5)],
    "face_triangle": [("head/head-invertedtriangular", 0.5), ("head/head-triangular", -0.5)],
    "face_round": [("head/head-round", 0.5), ("head/head-rectangular", -0.5)],
    "head_age": _pair("head/head-age"),
    "forehead_height": _pair("forehead/forehead-scale-vert"),
    "forehead_slope": _pair("forehead/forehead-trans", "backward", "forward"),
    "temples": _pair("forehead/forehead-temple"),
    "brow_position": _pair("eyebrows/eyebrows-trans", "up", "down"),
    "brow_ridge": _pair("eyebrows/eyebrows-trans", "forward", "backward"),
    "brow_angle": _pair("eyebrows/eyebrows-angle", "up", "down"),
    "eye_size": _sides("eyes/eye-scale"),
    "eye_spacing": _sides("eyes/eye-trans", "out", "in"),
    "eye_height": _sides("eyes/eye-height2"),
    "eye_tilt": [*_sides("eyes/eye-corner1", "up", "down")],
    "eye_inner": [*_sides("eyes/eye-corner2", "up", "down")],
    "eye_fold": _sides("eyes/eye-eyefold", "down", "up"),
    "eye_fold_convex": _sides("eyes/eye-eyefold", "convex", "concave"),
    "eye_bags": _sides("eyes/eye-bag"),
    "eye_epicanthus": _sides("eyes/eye-epicanthus", "in", "out"),
    "eye_depth": _sides("eyes/eye-push1", "in", "out"),
    "nose_length": _pair("nose/nose-scale-vert"),
    "nose_depth": _pair("nose/nose-scale-depth"),
    "nose_width": [*_pair("nose/nose-width3"), *_pair("nose/nose-flaring")],
    "nose_bridge": [*_pair("nose/nose-width1"), *_pair("nose/nose-width2")],
    "nose_hump": [*_pair("nose/nose-hump"), *_pair("nose/nose-greek")],
    "nose_tip": _pair("nose/nose-point", "up", "down"),
    "nose_tip_width": _pair("nose/nose-point-width"),
    "nose_volume": _pair("nose/nose-volume"),
    "nose_curve": _pair("nose/nose-curve", "concave", "convex"),
    "mouth_width": _pair("mouth/mouth-scale-horiz"),
    "mouth_height": _pair("mouth/mouth-trans", "up", "down"),
    "mouth_angles": _pair("mouth/mouth-angles", "up", "down"),
    "upper_lip": [*_pair("mouth/mouth-upperlip-volume"), *_pair("mouth/mouth-upperlip-height")],
    "lower_lip": [*_pair("mouth/mouth-lowerlip-volume"), *_pair("mouth/mouth-lowerlip-height")],
    "cupids_bow": _pair("mouth/mouth-cupidsbow"),
    "philtrum": _pair("mouth/mouth-philtrum-volume"),
    "laugh_lines": _pair("mouth/mouth-laugh-lines", "in", "out"),
    "chin_width": _pair("chin/chin-width"),
    "chin_height": _pair("chin/chin-height"),
    "chin_prominence": _pair("chin/chin-prominent"),
    "chin_cleft": _pair("chin/chin-cleft"),
    "jaw_bones": _pair("chin/chin-bones"),
    "jaw_drop": _pair("chin/chin-jaw-drop"),
    "cheek_bones": _sides("cheek/cheek-bones"),
    "cheek_volume": _sides("cheek/cheek-volume"),
    "cheek_inner": _sides("cheek/cheek-inner"),
    "ear_size": _sides("ears/ear-scale"),
    "ear_wing": _sides("ears/ear-wing"),
    "ear_lobe": _sides("ears/ear-lobe"),
    "neck_width": _pair("neck/neck-scale-horiz"),
    "double_chin": _pair("neck/neck-double"),
}


def _unit(name: str) -> list[tuple[str, float]]:
    return [(f"{name}Left", 1.0), (f"{name}Right", 1.0)]


EXPRESSIONS: dict[str, list[tuple[str, float]]] = {
    "jaw_open": [("jawOpen", 1.0)],
    "mouth_smile": _unit("mouthSmile"),
    "mouth_frown": _unit("mouthFrown"),
    "mouth_upper_up": _unit("mouthUpperUp"),
    "mouth_lower_down": _unit("mouthLowerDown"),
    "mouth_stretch": _unit("mouthStretch"),
    "mouth_press": _unit("mouthPress"),
    "mouth_dimple": _unit("mouthDimple"),
    "mouth_pucker": [("mouthPucker", 1.0)],
    "mouth_funnel": [("mouthFunnel", 1.0)],
    "mouth_roll": [("mouthRollLower", 1.0), ("mouthRollUpper", 1.0)],
    "cheek_squint": _unit("cheekSquint"),
    "cheek_puff": [("cheekPuff", 1.0)],
    "eye_blink": _unit("eyeBlink"),
    "eye_squint": _unit("eyeSquint"),
    "eye_wide": _unit("eyeWide"),
    "eye_look_up": _unit("eyeLookUp"),
    "eye_look_down": _unit("eyeLookDown"),
    "brow_down": _unit("browDown"),
    "brow_inner_up": [("browInnerUp", 1.0)],
    "brow_outer_up": _unit("browOuterUp"),
    "nose_sneer": _unit("noseSneer"),
}
TARGETS: tuple[str, ...] = (*MACRO, *SHAPES, *EXPRESSIONS)


def macro_weights(origin: np.ndarray, male: float, old: float, weight: float) -> dict[str, float]:
    """Weights of the macro targets: ``origin`` [3] sums to 1, ``male`` and ``old`` are 0 to 1,
    ``weight`` is -1 (thin) to 1 (fat)."""
    out = {}
    genders = (("female", 1 - male), ("male", male))
    ages = (("young", 1 - old), ("old", old))
    for gender, g in genders:
        for age, a in ages:
            for name, share in zip(ORIGINS, origin, strict=True):
                out[f"{name}-{gender}-{age}"] = g * a * float(share)
            thin, fat = max(-weight, 0.0), max(weight, 0.0)
            out[f"{gender}-{age}-min"] = g * a * thin
            out[f"{gender}-{age}-max"] = g * a * fat
            out[f"{gender}-{age}-average"] = g * a * (1 - thin - fat)
    return out
