"""Put an edited crop back into its photo, so that only what was edited changes."""

from __future__ import annotations

from typing import TypeVar

import torch

from .frame import Frame
from .images import Photo

Picture = TypeVar("Picture", Photo, torch.Tensor)


def paste(
    photo: Picture,
    crop: torch.Tensor,
    frame: Frame,
    reference: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
    feather: float = 0.12,
    detail: float = 1.0,
) -> Picture:
    """The photo with `crop` float32 [1,3,S,S] (any S) at `frame`; a Photo gives a Photo, a tensor
    [1,3,H,W] a tensor; nothing outside the mask changes by a bit.

    reference: [1,3,S,S], the generator's picture of the unedited crop; with it only the change
        crop - reference is applied where the edit left the picture as it was.
    mask: [1,1,S,S] in 0..1, what to paste; default `face_mask(S)`.
    feather: width of the mask's soft edge, as a part of the crop's side.
    detail: 0..1, how much of the photo that the generator cannot draw is added back."""
    raise NotImplementedError


def face_mask(size: int, feather: float = 0.12) -> torch.Tensor:
    """float32 [1,1,size,size]: a smooth ellipse over face and hair of an FFHQ crop."""
    raise NotImplementedError
