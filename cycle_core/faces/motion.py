"""What an edit moved: a smooth displacement that brings one small picture onto another.

Pasting uses it to carry a photo's fine detail along, so that a turned head or a wider smile stays
as sharp as the photo. Lucas and Kanade's method (1981), from coarse to fine."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from ..images.resize import blur, pixels
from ..models.flow import shift

_LEVELS = (0.25, 0.5, 1.0)  # sizes, as parts of the picture's
_STEPS = 6  # Gauss-Newton steps at each
_WINDOW = 2.0  # sigma in pixels of the neighbourhood that moves together
_DAMPING = 2e-3  # keeps flat neighbourhoods in place; squared gradient, in [-1,1] units a pixel
_REACH = 0.12  # longest displacement believed, as a part of the picture's side
_NOISE = 1e-3  # squared difference, in [-1,1] units, that means nothing


def displacement(edited: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """[1,2,S,S], x and y as parts of the side: edited(p) looks like reference(p + displacement).

    edited, reference: float32 [1,3,S,S] in [-1,1]. Zero where nothing moved, and where moving
    explains the change no better than staying does: new glasses, another hair colour."""
    size = edited.shape[-1]
    edited, reference = structure(edited), structure(reference)
    flow = edited.new_zeros(1, 2, 1, 1)
    for part in _LEVELS:
        side = max(round(size * part), 8)
        target, source = _resized(edited, side), _resized(reference, side)
        flow = _resized(flow, side) if flow.shape[-1] > 1 else flow.expand(1, 2, side, side)
        for _ in range(_STEPS):
            step = shift(
                moved(source, flow), target, lambda x: blur(x, _WINDOW), _DAMPING, most=1.0
            )
            flow = blur((flow + step / side).clamp(-_REACH, _REACH), _WINDOW / 2)
    stays = blur((edited - reference).square().mean(1, keepdim=True), 0.02 * size)
    moves = blur((edited - moved(reference, flow)).square().mean(1, keepdim=True), 0.02 * size)
    gain = ((stays - 2.5 * moves) / (stays + _NOISE)).clamp(0, 1)
    return flow * blur((gain * 3).clamp(0, 1), 0.02 * size)


def moved(image: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """image [1,C,S,S] looked up at each pixel's place + flow [1,2,S,S]."""
    size = image.shape[-1]
    places = (pixels((size, size), image) * 2 + 1) / size - 1
    grid = places[None] + 2 * flow.movedim(1, -1)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


def structure(image: torch.Tensor) -> torch.Tensor:
    """The picture without what is the same all around, such as the colour of the skin."""
    return image - blur(image, 0.06 * image.shape[-1])


def _resized(image: torch.Tensor, side: int) -> torch.Tensor:
    return F.interpolate(image, (side, side), mode="bilinear", antialias=True, align_corners=False)
