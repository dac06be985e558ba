"""What can be inverted: pictures, generators of photos, and pairs that belong together."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError, MismatchError
from ..models.encoder import Encoder
from ..models.fingerprints import short
from ..models.generator import Generator


def check_image(image: Tensor) -> None:
    """Raise InputError unless `image` is a batch of finite pictures [B,3,H,W]."""
    if image.ndim != 4 or image.shape[1] != 3 or 0 in image.shape:
        raise InputError(
            f"Pictures have the shape [batch, 3, height, width], but {list(image.shape)} was given."
        )
    if not bool(torch.isfinite(image).all()):
        raise InputError(
            "The picture holds NaN or infinite values: read it again or look at what made it."
        )


def check_photos(G: Generator) -> None:
    """Raise InputError unless the generator's pictures are what a photo can be compared with."""
    channels, height, width = G.image_shape
    if channels != 3 or height != width:
        raise InputError(
            f"This generator makes pictures of {width}x{height} pixels and {channels} channel(s), "
            "with which photos cannot be inverted: square RGB ones are needed. Its codes can be "
            "sampled, edited and rendered."
        )


def check_pair(E: Encoder, G: Generator) -> None:
    """Raise MismatchError unless the encoder's codes are codes of the generator."""
    own, wanted = (E.config.num_ws, E.config.w_dim), (G.num_ws, G.w_dim)
    if own != wanted:
        raise MismatchError(
            f"The encoder makes codes of {own[0]} styles of {own[1]} dimensions, but the "
            f"generator takes {wanted[0]} of {wanted[1]}: load the pair that was trained together."
        )
    if E.generator_id and not G.has_space_of(E.generator_id):
        raise MismatchError(
            f"The encoder was trained for the generator {short(E.generator_id)}, but this is "
            f"{short(G.base_fingerprint)}: load the pair that was trained together, or, if one "
            "generator was trained from the other, take them as they are (`same_space`)."
        )
