"""Uniforms of the programs: what skin, eyes, hair, clothes and things look like on a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from .extras import Extras
from .lights import Light, cloth_colour
from .person import Person, linear, smooth
from .pose import PIVOT, Pose


def skin(person: Person, extras: Extras) -> dict[str, object]:
    f, old, male = person.values, person.old, person.male
    happy = max(f["smile"], 0)
    lines = (
        0.011 + 0.010 * old,
        0.060 * float(smooth(-0.15, 1.0, old)) * (1 - 0.35 * person.dark) + 0.005,
        0.075 * max(f["brows"], 0) * (0.35 + old),
        0.04 * happy * (0.22 + old),
    )
    albedo = person.skin
    blood = albedo * np.array([0.94, 0.56, 0.57]) + np.array([0.02, 0.0, 0.0])
    grey = person.hair["grey"]
    hair = person.hair_colour * (1 - 0.9 * grey) + 0.30 * grey
    lipstick = linear(np.array([150, 28, 42])) * (1.15 - 0.5 * person.dark)
    return {
        "inflate": 0.0,
        "skin": tuple(albedo),
        "blood": tuple(blood),
        "lip_paint": tuple(lipstick),
        "lip_strength": 0.75 * f["lip_colour"] * (1 - male),
        "lid_paint": (0.10, 0.07, 0.07, 0.75 * f["eye_shadow"] * (1 - male)),
        "amounts": (
            0.75 * f["freckles"] * (1 - person.dark) + 0.10 * old,
            0.28 + 0.35 * old,
            0.50 + 0.25 * old + 0.25 * person.dark,
            (0.30 + 0.75 * f["blush"]) * (1 - 0.55 * person.dark),
        ),
        "lines": lines,
        "hair": tuple(hair * 0.8),
        "scalp": tuple(0.45 * hair + 0.05 * albedo),
        "gloss": f["skin_gloss"],
        "stubble": (
            0.45 * float(smooth(0.0, 0.45, person.hair["beard"])) + 0.10 * male * (1 - old),
            0.93,
            person.hair["bald"],
        ),
        "face_paint": (*extras.colour(0.3, 0.85, 0.8), extras.face_paint),
    }


def eye(person: Person) -> dict[str, object]:
    return {
        "iris_outer": tuple(person.iris),
        "iris_inner": tuple(person.iris * [1.3, 1.0, 0.75]),
        "pupil": 0.36,
        "redness": 0.35 + 0.4 * person.old,
    }


def cloth(person: Person) -> dict[str, object]:
    wide = person.values["neckline"]
    neck = (5.78 - 0.18 * wide, 6.12, 0.10 - 0.10 * wide, 0.35 * wide)
    return {"inflate": 0.05, "cloth": tuple(cloth_colour(person)), "neck": neck, "scarf": 0.0}


def scarf(extras: Extras) -> dict[str, object]:
    colour = tuple(extras.colour(0.0, 0.6, 0.25 + 0.6 * extras.scarf))
    return {"inflate": 0.075, "cloth": colour, "neck": (0.0, 0.0, 0.0, 0.0), "scarf": 1.0}


def strands(
    person: Person, pose: Pose, widths: dict[str, float], cut: np.ndarray
) -> Iterator[tuple[str, dict[str, object]]]:
    """Names of ribbons in the order of drawing, with their uniforms."""
    h, colour = person.hair, person.hair_colour
    centre = PIVOT + pose.turn @ (np.array([0, 7.55, 0.35]) - PIVOT)
    common = {
        "cover": 1.0, "volume": (*centre, 0.0), "shade": (0.0, 0.0, 0.0), "grey": h["grey"],
        "cut": (0.0, 0.0, 0.0, -1.0),
    }  # fmt: skip
    brow = colour * (0.75 - 0.25 * person.dark)
    yield "brows", {
        **common, "grey": 0.45 * h["grey"], "hair": tuple(brow), "tip": tuple(brow),
        "width": widths["brows"], "taper": 0.25, "gloss": (0.5, 0.5, 0.3),
        "root": (0.0, 0.3, 0.0, 0.0),
    }  # fmt: skip
    if h["beard"] > 0:
        beard = colour * np.array([1.0, 0.92, 0.88])
        yield "beard", {
            **common, "grey": min(1.0, h["grey"] * 1.15), "hair": tuple(beard * 0.9),
            "tip": tuple(beard * 1.15), "width": widths["beard"], "taper": 0.3,
            "gloss": (0.6, 0.7, 0.3), "root": (0.35, 0.4, 0.0, 0.0),
        }  # fmt: skip
    lash = np.array([0.012, 0.010, 0.009]) + 0.15 * colour
    yield "lashes", {
        **common, "grey": 0.0, "hair": tuple(lash), "tip": tuple(lash), "width": widths["lashes"],
        "taper": 0.15, "gloss": (0.2, 0.0, 0.3), "root": (0.0, 0.0, 0.0, 0.0),
    }  # fmt: skip
    # Short hair is cut strand by strand: thin; long hair lies in locks.
    width = widths["hair"] * (0.45 + 0.55 * float(smooth(0.05, 0.35, h["length"])))
    shine = 1.1 * (1 - 0.75 * h["coil"]) * (1 - 0.25 * h["wave"])
    yield "hair", {
        **common, "cover": 0.5, "hair": tuple(colour), "tip": tuple(colour * 1.25),
        "width": width, "taper": 0.35, "gloss": (shine, shine, 0.16 + 0.12 * h["wave"]),
        "root": (0.45, 0.26, 0.0, 0.60), "cut": tuple(cut),
    }  # fmt: skip


def solid(name: str, person: Person, extras: Extras) -> dict[str, object]:
    if name == "hat":
        return {"base": tuple(extras.colour(0.15, 0.5, 0.5)), "metal": (0.03, 0.03, 0.03),
                "rough": 0.9, "opacity": 0.5}  # fmt: skip
    if name == "earrings":
        return {"base": (0.1, 0.08, 0.03), "metal": (0.75, 0.58, 0.3), "rough": 0.3,
                "opacity": 0.5}  # fmt: skip
    plastic = smooth(0.25, 0.6, person.values["glasses"])
    gold = linear(np.array([190, 160, 110])) * (1 - plastic)
    horn = linear(np.array([34, 24, 20])) * plastic
    return {"base": tuple(horn + gold * 0.3), "metal": tuple(gold * 0.9 + 0.045), "rough": 0.32,
            "opacity": 1.0}  # fmt: skip


def lens(extras: Extras) -> tuple[float, float, float, float]:
    return (0.03, 0.03, 0.035, 0.55 + 0.4 * extras.sunglasses) if extras.sunglasses > 0 else (
        0.6, 0.7, 0.75, 0.0
    )  # fmt: skip


def wearing(person: Person, extras: Extras) -> Person:
    """Sunglasses have a frame."""
    glasses = max(person.values["glasses"], extras.sunglasses)
    return replace(person, values={**person.values, "glasses": glasses})


def pattern(extras: Extras) -> tuple[float, float, float, float]:
    """Frequency, turn, strength of the background's stripes; above .6 they are checks."""
    amount = extras.pattern
    return (3 + 14 * extras.hue, 2.5 * amount, min(amount, 0.7), float(amount > 0.6))


def with_extras(light: Light, extras: Extras) -> Light:
    if extras.coloured_light <= 0:
        return light
    mix = 0.35 + 0.6 * extras.coloured_light
    first, second = extras.colour(0.0, 0.8, 1.0), extras.colour(0.45, 0.8, 1.0)
    return replace(
        light,
        key_colour=light.key_colour * (1 - mix + 1.8 * mix * first),
        fill_colour=light.fill_colour * (1 - mix + 2.0 * mix * second),
        rim_colour=light.rim_colour * (1 - mix + 2.0 * mix * second),
    )
