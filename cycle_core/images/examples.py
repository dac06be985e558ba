"""Pictures to begin with, in place of photos: people of the embedded domain in a room."""

from __future__ import annotations

import torch
from PIL import Image, ImageSequence
from torch import Tensor

from ..errors import InputError
from ..files.assets import ASSETS
from .io import from_pil

EXAMPLES = {
    "portrait": "example_portrait.jpg",
    "group": "example_group.jpg",
    "clip": "example_clip.webp",
}
FRAMES, FRAME_SECONDS = 16, 1 / 12  # of the clip, which begins where it ends


def example(name: str) -> Tensor:
    """float32 [B,3,H,W] in [-1,1]: "portrait" and "group" (three people) are one picture, "clip"
    has the frames of a moving head.

    Raises InputError for another name."""
    if name not in EXAMPLES:
        raise InputError(f"The examples are {', '.join(EXAMPLES)}, not {name!r}.")
    with Image.open(ASSETS / EXAMPLES[name]) as file:
        frames = [from_pil(frame.convert("RGB")).image for frame in ImageSequence.Iterator(file)]
    return torch.cat(frames)
