"""What the embedded directions are called."""

from __future__ import annotations

from collections.abc import Sequence

# the embedded directions as people call them, in the order in which they are looked for
GROUPS = {
    "Expression": {
        "smile": "Smile",
        "mouth_open": "Open mouth",
        "eyes_open": "Open eyes",
    },
    "Pose": {
        "yaw": "Turn",
        "pitch": "Nod",
    },
    "Person": {
        "age": "Age",
        "glasses": "Glasses",
        "beard": "Beard",
        "skin_tone": "Skin tone",
    },
    "Hair": {
        "hair_color": "Hair colour",
        "hair_len": "Hair length",
        "hair_vol": "Hair volume",
        "hair_wave": "Waves",
        "fringe": "Fringe",
        "hair_part": "Parting",
    },
    "Head": {
        "face_width": "Face width",
        "jaw_width": "Jaw width",
        "chin_len": "Chin length",
        "cheeks": "Cheeks",
        "ears": "Ears",
    },
    "Eyes and brows": {
        "eye_color": "Eye colour",
        "eye_size": "Eye size",
        "eye_spacing": "Eye spacing",
        "eye_tilt": "Eye tilt",
        "brow_thick": "Brow thickness",
        "brow_height": "Brow height",
    },
    "Nose and mouth": {
        "nose_len": "Nose length",
        "nose_width": "Nose width",
        "mouth_width": "Mouth width",
        "lip_full": "Full lips",
        "lip_red": "Red lips",
    },
    "Light": {
        "light_az": "Light from the side",
        "light_el": "Light from above",
    },
    "Clothes and background": {
        "cloth_hue": "Clothes, hue",
        "cloth_light": "Clothes, lightness",
        "bg_hue": "Background, hue",
        "bg_light": "Background, lightness",
        "bg_shift": "Gradient, hues",
        "bg_angle": "Gradient, angle",
    },
}


def readable(names: Sequence[str]) -> dict[str, str]:
    """name -> how a list shows it, such as "open mouth (mouth_open)"; those of GROUPS come first,
    in their order."""
    known = {name: label.lower() for group in GROUPS.values() for name, label in group.items()}
    ordered = [*(name for name in known if name in names), *names]
    return {
        name: name if known.get(name, name) == name else f"{known[name]} ({name})"
        for name in dict.fromkeys(ordered)
    }


def name_of(shown: str, names: Sequence[str]) -> str:
    """The name of what a list shows; a bare name, too, as workflows of 0.1 have it."""
    return {label: name for name, label in readable(names).items()}.get(shown, shown)
