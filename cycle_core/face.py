"""Faces in a photo: find them, choose one, crop it as FFHQ does, paste an edited crop back.

    faces = detect(photo)                                   # largest first
    crop, frame = align(photo, choose(faces)[0], size=256)
    photo = paste(photo, edited, frame, reference=reconstruction)

Finding is here; the geometry of the crop is in `frame.py`, pasting in `blend.py`."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .blend import face_mask, paste
from .frame import Frame, align, ffhq_quad, make_frame
from .images import Photo

__all__ = [
    "DETECTORS",
    "Face",
    "Frame",
    "align",
    "choose",
    "detect",
    "face_mask",
    "ffhq_quad",
    "make_frame",
    "paste",
]

DETECTORS = ("insightface", "yunet", "embedded")  # best first


@dataclass(frozen=True)
class Face:
    """One face in a photo; pixels of the photo, x right, y down, (0,0) = its top-left corner.

    box: x0, y0, x1, y1.
    score: the detector's confidence, 0..1 (not comparable between detectors).
    points: float32 [5,2]: eye, eye, nose, mouth corner, mouth corner; the picture's left first.
    landmarks: float32 [68,2] in the common 68-point order, None where the detector has none.
    detector: "insightface", "yunet", "embedded" or "manual".
    """

    box: tuple[float, float, float, float]
    score: float
    points: torch.Tensor
    landmarks: torch.Tensor | None = None
    detector: str = "manual"

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        x0, y0, x1, y1 = self.box
        return max(x1 - x0, 0.0) * max(y1 - y0, 0.0)


def detect(
    photo: Photo | torch.Tensor, detector: str = "auto", min_score: float | None = None
) -> list[Face]:
    """Find faces, largest first; an empty list where there is none."""
    raise NotImplementedError


def choose(
    faces: list[Face], choice: str | int = "largest", none: str = "error"
) -> list[Face | str]:
    """The targets to align: choice = "largest", "all" or an index (0 = the largest).

    Without faces: none = "error" raises NoFaceError, "centre" gives ["centre"] (which `align`
    takes: the largest centred square), "skip" gives []."""
    raise NotImplementedError
