"""What alignment found, drawn onto the photos."""

from __future__ import annotations

import torch
from torch import Tensor

from ..images.io import from_pil, to_pil
from ..runtime.devices import one_thread_if_small
from .video import Places

_COLOURS = ((77, 208, 225), (255, 183, 77), (174, 213, 129), (240, 98, 146), (186, 104, 200))
_OTHER = (150, 150, 150)


@one_thread_if_small()
def show_places(photos: Tensor, places: Places) -> Tensor:
    """The photos with all faces that were found, numbered from left to right and from 0; the
    outlines and points of those that were cropped are in colour."""
    from PIL import ImageDraw, ImageFont

    pictures = [to_pil(photo) for photo in photos]
    draws = [ImageDraw.Draw(picture) for picture in pictures]
    longest = max(pictures[0].size)
    line = max(round(longest / 300), 1)
    font = ImageFont.load_default(max(longest / 18, 14))
    colours = [0] * places.count
    for frame, i, face in zip(places.frames, places.photos, places.faces, strict=True):
        colour = _COLOURS[colours[i] % len(_COLOURS)]
        colours[i] += 1
        corners = list(frame.quad)
        draws[i].line([*corners, corners[0], corners[1]], fill=colour, width=line, joint="curve")
        points = [] if face is None else face.points if face.landmarks is None else face.landmarks
        for x, y in map(tuple, torch.as_tensor(points).tolist()):
            draws[i].ellipse((x - line, y - line, x + line, y + line), fill=colour)
    for draw, found in zip(draws, places.found, strict=False):
        for number, face in enumerate(found):
            x0, y0, x1, y1 = face.box
            draw.rectangle((x0, y0, x1, y1), outline=_OTHER, width=line)
            at = ((x0 + x1) / 2, y0 + line)
            draw.text(
                at, str(number), (255, 255, 255), font=font, anchor="ma",
                stroke_width=line, stroke_fill=(0, 0, 0),
            )  # fmt: skip
    return torch.cat([from_pil(picture).image for picture in pictures])
