"""Latent codes: what an encoder gives, refinement improves, a direction moves and a generator draws."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from .errors import InputError

SPACES = ("W", "W+")


@dataclass(frozen=True)
class Code:
    """A batch of latent codes of one generator.

    w: float32 [B, num_ws, w_dim]; in space "W" the num_ws vectors of a row are equal.
    space: "W" or "W+" (METHOD: all deltas zero, or not).
    generator: fingerprint of the generator whose space this is ("" if unknown).
    stage: the encoder stage that made it (0 is W, num_ws - 1 is all of W+), None if no encoder did.
    """

    w: torch.Tensor
    space: str
    generator: str = ""
    stage: int | None = None

    def __post_init__(self) -> None:
        if self.w.ndim != 3:
            raise InputError(
                f"A code has the shape [batch, styles, dimensions], but {tuple(self.w.shape)} was "
                "given: add the missing axis or take codes from `encode`."
            )
        if self.space not in SPACES:
            raise InputError(f'The space of a code is "W" or "W+", not {self.space!r}.')

    @property
    def batch(self) -> int:
        return self.w.shape[0]

    def with_w(self, w: torch.Tensor, space: str | None = None) -> Code:
        """The same code with other vectors (and, if given, another space)."""
        return replace(self, w=w, space=space or self.space)

    def to(self, device: torch.device | str) -> Code:
        return replace(self, w=self.w.to(device))
