"""What the embedded directions are called."""

from __future__ import annotations

from collections.abc import Sequence

# the embedded directions as people call them, in the order in which they are looked for
GROUPS = {
    "Expression": {
        "smile": "Smile",
        "open_mouth": "Open mouth",
        "blink": "Blink",
        "squint": "Squint",
        "brows": "Raise brows",
        "pucker": "Pursed lips",
        "look_x": "Look aside",
        "look_y": "Look up",
    },
    "Pose": {
        "yaw": "Turn",
        "pitch": "Nod",
    },
    "Person": {
        "age": "Age",
        "gender": "Gender",
        "glasses": "Glasses",
        "beard": "Beard",
        "skin_tone": "Skin tone",
        "lip_colour": "Lip colour",
        "eye_shadow": "Eye shadow",
        "freckles": "Freckles",
    },
    "Hair": {
        "hair_colour": "Hair colour",
        "hair_length": "Hair length",
        "hair_volume": "Hair volume",
        "hair_wave": "Waves",
        "fringe": "Fringe",
        "hair_part": "Parting",
        "hair_grey": "Grey hair",
        "hair_tied": "Tied back",
        "bald": "Bald",
    },
    "Head": {
        "face_width": "Face width",
        "face_length": "Face length",
        "face_fullness": "Full face",
        "jaw_width": "Jaw width",
        "chin_length": "Chin length",
        "chin_prominence": "Prominent chin",
        "cheek_bones": "Cheek bones",
        "cheeks": "Cheeks",
        "forehead": "Forehead",
        "ears": "Ears",
        "origin_africa": "African features",
        "origin_asia": "East Asian features",
    },
    "Eyes and brows": {
        "eye_colour": "Eye colour",
        "eye_size": "Eye size",
        "eye_spacing": "Eye spacing",
        "eye_tilt": "Eye tilt",
        "eye_lids": "Hooded lids",
        "brow_ridge": "Brow ridge",
        "brow_thickness": "Brow thickness",
        "brow_height": "Brow height",
    },
    "Nose and mouth": {
        "nose_length": "Nose length",
        "nose_width": "Nose width",
        "nose_bridge": "Nose bridge",
        "nose_hump": "Nose hump",
        "nose_tip": "Nose tip",
        "mouth_width": "Mouth width",
        "mouth_height": "Mouth height",
        "lip_fullness": "Full lips",
    },
    "Skin": {
        "skin_warmth": "Skin warmth",
        "skin_gloss": "Shiny skin",
        "blush": "Red cheeks",
    },
    "Light": {
        "light_direction": "Light from the side",
        "light_elevation": "Light from above",
        "light_warmth": "Warm light",
        "light_contrast": "Contrast",
        "light_softness": "Soft shadows",
    },
    "Clothes and background": {
        "clothes_hue": "Clothes, hue",
        "clothes_colour": "Clothes, colour",
        "clothes_light": "Clothes, lightness",
        "neckline": "Neckline",
        "glasses_shape": "Glasses, shape",
        "background_hue": "Background, hue",
        "background_colour": "Background, colour",
        "background_light": "Background, lightness",
        "background_gradient": "Background, gradient",
        "background_detail": "Background, detail",
    },
}


def labels_of(names: Sequence[str]) -> dict[str, str]:
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
    return {label: name for name, label in labels_of(names).items()}.get(shown, shown)
