"""Pictures in and out: files, PIL images and ComfyUI tensors to the library's tensors and back.

Inside the library an image is float32 [B,3,H,W] in [-1,1], RGB, sRGB-encoded; an alpha channel is
float32 [B,1,H,W] in [0,1], 1 = opaque."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Photo:
    """A picture as it was read: upright, in sRGB.

    image: float32 [1,3,H,W] in [-1,1]; the colours that are stored, also where alpha is 0.
    alpha: float32 [1,1,H,W] in [0,1], None for a picture without transparency.
    path: where it was read from, None for a picture that was made in memory.
    """

    image: torch.Tensor
    alpha: torch.Tensor | None = None
    path: Path | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.image.shape[-1], self.image.shape[-2]


def read_photo(path: str | Path) -> Photo:
    raise NotImplementedError


def read_image(path: str | Path) -> torch.Tensor:
    """float32 [1,3,H,W] in [-1,1]; transparent parts are laid over white."""
    raise NotImplementedError


def save_image(
    image: Photo | torch.Tensor, path: str | Path, alpha: torch.Tensor | None = None
) -> Path:
    """Write atomically; the format follows the name (.png, .jpg, .webp, .tif, .bmp)."""
    raise NotImplementedError


def list_images(folder: str | Path) -> list[Path]:
    raise NotImplementedError


def to_pil(image: torch.Tensor, alpha: torch.Tensor | None = None) -> Image.Image:
    """[1,3,H,W] or [3,H,W] in [-1,1] -> 8-bit RGB (RGBA with alpha)."""
    raise NotImplementedError


def from_pil(picture: Image.Image) -> Photo:
    raise NotImplementedError


def from_comfy(images: torch.Tensor) -> torch.Tensor:
    """ComfyUI IMAGE [B,H,W,C] in 0..1 (C = 1, 3 or 4) -> float32 [B,3,H,W] in [-1,1]."""
    raise NotImplementedError


def to_comfy(image: torch.Tensor) -> torch.Tensor:
    """[B,3,H,W] in [-1,1] -> ComfyUI IMAGE, float32 [B,H,W,3] in 0..1, clamped."""
    raise NotImplementedError


def resize(image: torch.Tensor, size: int | tuple[int, int]) -> torch.Tensor:
    """Antialiased bicubic; size is (height, width), or one number for both."""
    raise NotImplementedError


def contact_sheet(
    rows: Sequence[Sequence[torch.Tensor | None]],
    columns: Sequence[str] = (),
    row_labels: Sequence[str] = (),
    title: str = "",
    cell: int = 192,
) -> torch.Tensor:
    """A labelled table of pictures as one image float32 [1,3,H,W]; None leaves a cell empty."""
    raise NotImplementedError
