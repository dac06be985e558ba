"""Finding the faces in a photo.

faces = detect(photo)                                   # from left to right
crop, frame = align(photo, choose(faces)[0], size=256)  # the largest
photo = paste(photo, edited, frame, reference=reconstruction)
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from ..images.io import Photo, as_image
from ..images.resize import resize
from ..runtime.devices import one_thread_if_small
from .choose import left_to_right
from .detectors import embedded, registry
from .frame import Face, make_frame

_FEW, _GLANCE = 8, 128  # pictures of a batch, and their pixels, for `look_aligned`
_TURNS = (0, 1, 3, 2)  # quarters, counterclockwise: heads lie on a side more often than they hang


def detect(
    photo: Photo | torch.Tensor, detector: str = "auto", min_score: float | None = None
) -> list[Face]:
    """Find faces, from left to right; an empty list where there is none.

    photo: Photo or float [1,3,H,W] in [-1,1].
    detector: a name of DETECTORS, or "auto": the best whose package and file are on
        this machine, and where it finds no face, the next best. Only a detector that is named
        downloads its file on first use.
    min_score: confidence asked for, None for the detector's own default.
    Heads may be tilted by any angle: where nothing is found, the embedded detector looks at the
    photo turned by quarters. (YuNet sees a face in a cup of coffee that stands on its head.)
    Raises InputError for an unknown or missing detector, MissingFileError for a missing file."""
    image = as_image(photo)
    names = registry.present() if detector == "auto" else (detector,)
    for turn in _TURNS:
        seen = torch.rot90(image, turn, (2, 3))
        for name in names if turn == 0 else ("embedded",):
            find = registry.load(name).find
            with one_thread_if_small():
                # scores do not compare between detectors
                faces = find(seen) if min_score is None or turn > 0 else find(seen, min_score)
                faces = [_righted(image, turned_back(face, turn, image)) for face in faces]
            if faces:
                return left_to_right(faces)
    return []


def look_aligned(pictures: torch.Tensor) -> bool:
    """Whether pictures float [N,3,H,W] in [-1,1] can be crops as encoders take them: square, and
    the largest face of each, where the embedded detector sees one in 128 pixels, at the place of
    FFHQ's, to a quarter of a side. Of many pictures, such as frames, 8 at most are looked at."""
    height, width = pictures.shape[-2:]
    if abs(height - width) > 0.02 * max(height, width):
        return False
    few = pictures[:: math.ceil(len(pictures) / _FEW)]
    return all(_looks_aligned(picture[None]) for picture in few)


@one_thread_if_small()
def _looks_aligned(picture: torch.Tensor) -> bool:
    side = min(picture.shape[-1], _GLANCE)
    faces = detect(resize(picture, side), "embedded")
    if not faces:
        return True
    largest = max(faces, key=lambda face: face.area)
    quad = torch.tensor(make_frame((side, side), largest, 64).quad)
    corners = torch.tensor([(0, 0), (0, side), (side, side), (side, 0)])
    return float((quad - corners).norm(dim=1).mean()) < 0.25 * side


def turned_back(face: Face, turn: int, image: torch.Tensor) -> Face:
    """A face that was found in `torch.rot90(image, turn, (2, 3))`, in the image itself."""
    x0, y0, x1, y1 = face.box
    corners = _turned_back(torch.tensor([[x0, y0], [x1, y1]]), turn, image)
    (x0, y0), (x1, y1) = corners.amin(0).tolist(), corners.amax(0).tolist()
    dense = None if face.landmarks is None else _turned_back(face.landmarks, turn, image)
    points = _turned_back(face.points, turn, image)
    return replace(face, box=(x0, y0, x1, y1), points=points, landmarks=dense)


def _turned_back(points: torch.Tensor, turn: int, image: torch.Tensor) -> torch.Tensor:
    height, width = image.shape[-2:]
    for before in reversed(range(turn)):  # one quarter after the other
        x, y = points.unbind(-1)
        points = torch.stack([(width if before % 2 == 0 else height) - y, x], dim=-1)
    return points


def _righted(image: torch.Tensor, face: Face) -> Face:
    """The face, found anew where its detector took a head on its side for an upright one.

    Detectors of upright faces put their points somewhere on a head that hangs. The embedded
    network tells that: its looks at the face agree best when it is turned upright."""
    turn = 0 if face.detector == "embedded" else embedded.upright_turn(image, face.points)
    if turn == 0:
        return face
    x, y = face.points.mean(0).tolist()
    half = max(face.box[2] - face.box[0], face.box[3] - face.box[1], 16.0) * 1.5
    left, top = max(round(x - half), 0), max(round(y - half), 0)
    part = image[..., top : round(y + half), left : round(x + half)]
    offset = torch.tensor([left, top], dtype=torch.float32)
    for found in embedded.find(torch.rot90(part, turn, (2, 3))):
        found = turned_back(found, turn, part)
        points, (x0, y0, x1, y1) = found.points + offset, found.box
        if float((points.mean(0) - torch.tensor([x, y])).norm()) < half / 2:
            box = (x0 + left, y0 + top, x1 + left, y1 + top)
            return replace(found, box=box, points=points)
    return face
