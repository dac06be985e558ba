"""Faces in a photo: find them, choose one, crop it as FFHQ does, paste an edited crop back.

    faces = detect(photo)                                   # largest first
    crop, frame = align(photo, choose(faces)[0], size=256)
    photo = paste(photo, edited, frame, reference=reconstruction)

The detectors are in `detectors.py` and `landmarks.py`, the geometry of the crop in `frame.py`,
pasting in `blend.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from ..errors import InputError, NoFaceError
from ..images.io import Photo, as_image
from .frame import CENTRE, Frame, align, ffhq_quad, make_frame
from .paste import face_mask, paste

__all__ = [
    "CENTRE",
    "DETECTORS",
    "Face",
    "Frame",
    "align",
    "choose",
    "detect",
    "face_mask",
    "ffhq_quad",
    "from_mesh",
    "make_frame",
    "manual",
    "paste",
    "present",
]

DETECTORS = ("insightface", "yunet", "embedded")  # best first


@dataclass(frozen=True)
class Face:
    """One face in a photo; pixels of the photo, x right, y down, (0,0) = its top-left corner.

    box: x0, y0, x1, y1.
    score: the detector's confidence, 0..1 (not comparable between detectors).
    points: float32 [5,2]: eye, eye, nose, mouth corner, mouth corner; the picture's left first.
    landmarks: float32 [68,2] in the common 68-point order, None where the detector has none.
    detector: "insightface", "yunet", "embedded", "mediapipe" or "manual".
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
    """Find faces, largest first; an empty list where there is none.

    photo: Photo or float [1,3,H,W] in [-1,1].
    detector: "insightface" or "yunet" (of kornia), both in optional packages, "embedded" (our own
        network), or "auto": the best whose package and file are on this machine, and where it finds
        no face, the next best. Only a detector that is named downloads its file on first use.
    min_score: confidence asked for, None for the detector's own default.
    Raises InputError for an unknown or missing detector, MissingFileError for a missing file."""
    image = as_image(photo)
    if detector == "auto":
        names = present()
    elif detector in DETECTORS:
        names = (detector,)
    else:
        raise InputError(
            f"There is no detector {detector!r}: choose auto, {', '.join(DETECTORS[:-1])} or "
            f"{DETECTORS[-1]}."
        )
    for name in names:
        find = _finder(name)
        faces = find(image) if min_score is None else find(image, min_score)
        if faces:
            return sorted(faces, key=lambda face: face.area, reverse=True)
    return []


def present() -> tuple[str, ...]:
    """The detectors that can be used without a download, best first."""
    from .detectors import has_insightface, has_yunet

    there = {"insightface": has_insightface, "yunet": has_yunet}
    return tuple(name for name in DETECTORS if name not in there or there[name]())


def choose(
    faces: Sequence[Face], choice: str | int = "largest", none: str = "error"
) -> list[Face | str]:
    """The targets to align: choice = "largest", "all" or an index (0 = the largest).

    Without any face: none = "error" raises NoFaceError, "centre" gives ["centre"] (which `align`
    takes: the largest centred square), "skip" gives []. An index that no face has raises
    NoFaceError in any case, an unknown choice or policy InputError."""
    index = _index(choice)
    if none not in ("error", CENTRE, "skip"):
        raise InputError(f'Without a face one can "error", "centre" or "skip", not {none!r}.')
    if not faces:
        if none == "error":
            raise NoFaceError(
                "No face was found in the picture: try another detector, give five points by hand, "
                "or take the centre of the picture."
            )
        return [CENTRE] if none == CENTRE else []
    if index is None:
        return list(faces)
    if index >= len(faces):
        count = "1 face was" if len(faces) == 1 else f"{len(faces)} faces were"
        raise NoFaceError(
            f"There is no face {index}: {count} found, numbered from 0 (the largest) to "
            f"{len(faces) - 1}."
        )
    return [faces[index]]


def manual(points: torch.Tensor | Sequence[Sequence[float]]) -> Face:
    """A Face from points given by hand, [5,2] or [68,2] in pixels; InputError for other shapes."""
    try:
        given = torch.as_tensor(points, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"Points are pairs of x and y in pixels, not {points!r}.") from error
    quad = ffhq_quad(given)  # also checks them
    landmarks = given if given.shape[0] == 68 else None
    if landmarks is not None:
        eyes = [landmarks[36:42].mean(0), landmarks[42:48].mean(0)]
        given = torch.stack([*eyes, landmarks[30], landmarks[48], landmarks[54]])
    x0, y0, x1, y1 = (*quad.amin(0).tolist(), *quad.amax(0).tolist())
    return Face((x0, y0, x1, y1), 1.0, given, landmarks, "manual")


def from_mesh(points: torch.Tensor | Sequence[Sequence[float]]) -> Face:
    """A Face from MediaPipe's face mesh, [468,2] or more in pixels (further columns are left out);
    InputError for other shapes."""
    mesh = torch.as_tensor(points, dtype=torch.float32)
    if mesh.ndim != 2 or mesh.shape[0] < 468 or mesh.shape[1] < 2:
        raise InputError(
            f"A face mesh has 468 points or more, but {list(mesh.shape)} was given: connect the "
            "landmarks of MediaPipe's face landmarker."
        )
    return replace(manual(mesh[list(_MESH_68), :2]), detector="mediapipe")


# the points of the mesh that lie where the common 68 do: jaw, brows, nose, eyes, lips
_MESH_68 = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)


def _index(choice: str | int) -> int | None:
    """The index that is meant, None for all."""
    if choice == "largest":
        return 0
    if choice == "all":
        return None
    number = str(choice)  # a command line gives "2"
    if not number.isdecimal():
        raise InputError(
            'Faces are chosen by "largest", "all" or a number from 0 (the largest), not '
            f"{choice!r}."
        )
    return int(number)


def _finder(name: str) -> Callable[..., list[Face]]:
    if name == "embedded":
        from .landmarks import find_faces

        return find_faces
    from . import detectors

    return detectors.find_with_yunet if name == "yunet" else detectors.find_with_insightface
