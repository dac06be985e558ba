"""Latent codes: an encoder gives them, directions move them, generators render them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from .errors import InputError

SPACES = ("W", "W+")
MOST_STYLES = 64  # a table with more rows is no code; StyleGAN2 has 18 styles at 1024


@dataclass(frozen=True)
class Code:
    """A batch of latent codes of one generator.

    w: float32 [B, num_ws, w_dim]; in space "W" the num_ws vectors of a row are equal.
    space: "W" or "W+".
    generator_id: fingerprint of the generator whose space this is ("" if unknown).
    stage: the encoder stage that made it (0 is W, num_ws - 1 is all of W+), None if no encoder did.
    origin: fingerprint of the generator that it was made for, where `adopt` took it as a code of
        another one; else "".
    offsets: float32 [B, channels], what edits in StyleSpace add to the styles that the generator
        makes of w (see `Synthesis.style_layers`); None if there were none.
    """

    w: torch.Tensor
    space: str
    generator_id: str = ""
    stage: int | None = None
    offsets: torch.Tensor | None = None
    origin: str = ""

    def __post_init__(self) -> None:
        if self.w.ndim != 3:
            raise InputError(
                f"A code has the shape [batch, styles, dimensions], but {tuple(self.w.shape)} was "
                "given: add the missing axis or take codes from `encode`."
            )
        if self.space not in SPACES:
            raise InputError(f'The space of a code is "W" or "W+", not {self.space!r}.')
        if self.offsets is not None and (
            self.offsets.ndim != 2 or len(self.offsets) != len(self.w)
        ):
            raise InputError(
                f"The style offsets have the shape {tuple(self.offsets.shape)}, but "
                f"[{len(self.w)}, channels] is expected: give one row for each code."
            )

    def __str__(self) -> str:
        one = "1 code" if self.batch == 1 else f"{self.batch} codes"
        styles = f"{self.w.shape[1]} styles of {self.w.shape[2]} numbers"
        edited = ", edited in StyleSpace" if self.offsets is not None else ""
        return f"{one} in {self.space}, {styles}{edited}."

    @property
    def batch(self) -> int:
        return self.w.shape[0]

    def with_w(self, w: torch.Tensor, space: str | None = None) -> Code:
        """The same code with other vectors (and, if given, another space)."""
        return replace(self, w=w, space=space or self.space)

    def one(self, index: int) -> Code:
        """The code at `index` alone, as a batch of one. Raises InputError where there is none."""
        if not 0 <= index < self.batch:
            raise InputError(
                f"There is no code number {index}: the batch has {self.batch}, counted from 0."
            )
        return self.each(lambda rows: rows[index : index + 1])

    def to(self, device: torch.device | str) -> Code:
        return self.each(lambda rows: rows.to(device))

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Code:
        """The same with w and, where there are some, the offsets changed alike."""
        offsets = None if self.offsets is None else change(self.offsets)
        return replace(self, w=change(self.w), offsets=offsets)


class HasCode(Protocol):
    """What carries a code, such as the result of `refine`."""

    @property
    def code(self) -> Code: ...


def as_code(code: Code | HasCode) -> Code:
    """The code itself, or the one that the result of a step carries."""
    return code if isinstance(code, Code) else code.code
