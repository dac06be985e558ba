"""The pictures that users begin with, in place of photographs.

    python -m people.examples cycle_core/assets

example_portrait.jpg (400x480), example_group.jpg (640x400, three people) and example_clip.webp
(320x256, a head that turns, nods and speaks; its end meets its beginning).
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from .extras import NONE
from .factors import defaults, index
from .person import describe
from .pose import View
from .render import Renderer

FRAMES, FRAME_SECONDS = 16, 1 / 12

_ROOM = {"background_detail": 0.9, "background_colour": 0.5, "background_light": 0.4}
SMILING = {
    "gender": 0.05, "age": 0.2, "origin_africa": -0.8, "origin_asia": -0.6, "skin_tone": -0.1,
    "hair_colour": 0.5, "hair_length": 0.9, "hair_wave": 0.6, "hair_part": 0.4, "smile": 0.55,
    "eye_colour": 0.75, "freckles": 0.2, "lip_colour": 0.3, "clothes_hue": 0.6,
    "clothes_colour": 0.6,
}  # fmt: skip
BEARDED = {
    "gender": 0.97, "age": 0.35, "origin_africa": -0.5, "origin_asia": -0.4, "skin_tone": 0.3,
    "hair_colour": 0.1, "hair_length": 0.25, "beard": 0.75, "jaw_width": 0.4, "smile": 0.4,
    "clothes_hue": 0.3, "clothes_light": 0.25,
}  # fmt: skip
CURLY = {
    "gender": 0.1, "age": 0.25, "origin_africa": 0.8, "origin_asia": -0.5, "hair_colour": 0.08,
    "hair_length": 0.7, "hair_wave": 0.95, "hair_volume": 0.6, "smile": 0.5, "lip_colour": 0.5,
    "clothes_hue": 0.05, "clothes_colour": 0.7,
}  # fmt: skip


def person(looks: dict[str, float], **more: float):
    row = defaults()
    for name, value in {**_ROOM, **looks, **more}.items():
        row[index(name)] = value
    return describe(row)


def portrait() -> Image.Image:
    looks = person(SMILING, yaw=0.3, light_direction=0.5, background_hue=0.08)
    return photograph(480, (400, 480), [(looks, View(0.49, 0.5, 0.62, -0.07))])


def group() -> Image.Image:
    people = [
        (person(CURLY, yaw=-0.25, background_hue=0.1), View(0.79, 0.50, 0.34, -0.09)),
        (person(BEARDED, yaw=0.3), View(0.21, 0.48, 0.36, 0.06)),
        (person(SMILING, smile=0.7), View(0.5, 0.56, 0.37, 0.02)),
    ]
    return photograph(640, (640, 400), people)


def clip() -> list[Image.Image]:
    renderer, frames = Renderer(320), []
    for i in range(FRAMES):
        way = 2 * math.pi * i / FRAMES
        looks = person(
            BEARDED,
            yaw=0.5 * math.sin(way),
            pitch=0.2 * math.sin(2 * way),
            open_mouth=max(0.45 * math.sin(3 * way), 0.0),
            background_hue=0.6,
        )
        view = View(0.5 + 0.03 * math.sin(way), 0.52, 0.6, 0.05 * math.sin(way))
        frames.append(photograph(320, (320, 256), [(looks, view)], i, renderer))
    return frames


def photograph(
    side: int, size: tuple[int, int], people: list, grain: int = 0, renderer: Renderer | None = None
) -> Image.Image:
    """Rendered square, cut to (width, height) about its middle, with a camera's grain."""
    image = (renderer or Renderer(side)).scene([(*one, NONE) for one in people]).image
    width, height = size
    top, left = (side - height) // 2, (side - width) // 2
    noise = np.random.default_rng(grain).normal(0, 2.0, (height, width, 1))
    cut = image[top : top + height, left : left + width] + noise
    return Image.fromarray(np.clip(np.rint(cut), 0, 255).astype(np.uint8))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m people.examples", description=(
        "Render the example pictures into a folder."))  # fmt: skip
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    folder.mkdir(parents=True, exist_ok=True)
    portrait().save(folder / "example_portrait.jpg", quality=92)
    group().save(folder / "example_group.jpg", quality=92)
    first, *more = clip()
    first.save(
        folder / "example_clip.webp", quality=88, method=6,
        save_all=True, append_images=more, duration=round(FRAME_SECONDS * 1000),
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
