"""A direction from two sets of pictures: with an attribute, and without."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError
from ..invert.encode import encode
from ..models.encoder import Encoder
from ..models.generator import Generator
from ..runtime.devices import BATCH
from ..runtime.progress import Callback
from .direction import Direction
from .discovery import fit_directions


def direction_from_pictures(
    E: Encoder,
    having: Tensor,
    lacking: Tensor,
    name: str = "direction",
    generator: Generator | None = None,
    batch: int = BATCH,
    callback: Callback | None = None,
) -> Direction:
    """What the codes of the pictures that have an attribute have over those that lack it.

    having, lacking: float [B,3,H,W] in [-1,1], aligned crops; sizes may differ. The more pictures,
        and the more both sets have in common otherwise, the cleaner the direction.
    generator: whose codes they are; ReStyle encoders need it.
    Gives `fit_directions` of both sets: unit "sd", so that from the mean of one set to the mean of
    the other it is 2, or less where their codes overlap.
    Raises InputError for an empty set or fewer than three pictures together, and as `encode`."""
    counts = len(having), len(lacking)
    if 0 in counts or sum(counts) < 3:
        raise InputError(
            f"{counts[0]} pictures with and {counts[1]} without the attribute were given: give at "
            "least one of each and three together, better a few dozen of each."
        )
    space = "W" if "W" in E.spaces else None
    codes = []
    for before, pictures in ((0, having), (counts[0], lacking)):

        def report(done: int, _: int, shown: Tensor | None, before: int = before) -> None:
            if callback is not None:
                callback(before + done, sum(counts), shown)

        codes.append(encode(E, pictures, space, generator, batch, report))
    w = torch.cat([code.w.mean(1) for code in codes])
    labels = torch.cat([torch.ones(counts[0]), torch.zeros(counts[1])])
    return fit_directions(w, {name: labels}, generator_id=codes[0].generator_id)[0]
