"""Finding the faces in a photo.

faces = detect(photo)                                   # largest first
crop, frame = align(photo, choose(faces)[0], size=256)
photo = paste(photo, edited, frame, reference=reconstruction)
"""

from __future__ import annotations

import torch

from ..images.io import Photo, as_image
from ..runtime.devices import one_thread_if_small
from .detectors import registry
from .frame import Face, make_frame


def detect(
    photo: Photo | torch.Tensor, detector: str = "auto", min_score: float | None = None
) -> list[Face]:
    """Find faces, largest first; an empty list where there is none.

    photo: Photo or float [1,3,H,W] in [-1,1].
    detector: a name of `detectors/registry.py`, or "auto": the best whose package and file are on
        this machine, and where it finds no face, the next best. Only a detector that is named
        downloads its file on first use.
    min_score: confidence asked for, None for the detector's own default.
    Raises InputError for an unknown or missing detector, MissingFileError for a missing file."""
    image = as_image(photo)
    for name in registry.present() if detector == "auto" else (detector,):
        find = registry.load(name).find
        with one_thread_if_small():
            faces = find(image) if min_score is None else find(image, min_score)
        if faces:
            return sorted(faces, key=lambda face: face.area, reverse=True)
    return []


def looks_aligned(picture: torch.Tensor, tolerance: float = 0.25) -> bool:
    """Whether a picture float [1,3,H,W] in [-1,1] can be a crop as encoders take it: square, and
    its largest face, where the embedded detector sees one, at the place of FFHQ's.

    tolerance: how far the corners may be from those of the face's own crop, in sides."""
    height, width = picture.shape[-2:]
    if abs(height - width) > 0.02 * max(height, width):
        return False
    faces = detect(picture, "embedded")
    if not faces:
        return True
    quad = torch.tensor(make_frame((width, height), faces[0], 64).quad)
    corners = torch.tensor([(0, 0), (0, height), (width, height), (width, 0)])
    return float((quad - corners).norm(dim=1).mean()) < tolerance * width
