"""What refinement and projection give: codes, and how good they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..codes import Code
from ..models.generator import Generator
from .descent import Descent, LossValues


@dataclass(frozen=True)
class Inversion:
    """What `refine` and `project` give.

    code: the pivot, of as many rows as pictures were given.
    image: float32 [B,3,R,R] in [-1,1], what the generator renders of it.
    history: for each picture the losses before each step and after the last one
        (total, l2, lpips, identity); the pivot is of the step with the smallest total.
    """

    code: Code
    image: Tensor
    history: tuple[tuple[LossValues, ...], ...]

    @staticmethod
    def of(
        found: Sequence[Descent],
        space: str,
        G: Generator,
        stage: int | None = None,
        origin: str = "",
    ) -> Inversion:
        """The best states of some descents, each of which is a code."""
        w = torch.cat([one.state[0] for one in found])
        image = torch.cat([one.image for one in found]).clamp(-1, 1)
        history = tuple(tuple(log) for one in found for log in one.history)
        code = Code(w, space, G.base_fingerprint, stage, origin=origin)
        return Inversion(code, image, history)
