"""Which of the faces of a photo to work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..errors import InputError, NoFaceError
from .frame import CENTRE, Face


def choose(
    faces: Sequence[Face], choice: str | int = "largest", none: str = "error"
) -> list[Face | str]:
    """The targets to align: choice = "largest", "all", an index (0 = the largest), or "left:0" for
    the first from the left, "left:1" for the second.

    Without any face: none = "error" raises NoFaceError, "centre" gives ["centre"] (which `align`
    takes: the largest centred square), "skip" gives []. An index that no face has raises
    NoFaceError in any case, an unknown choice or policy InputError."""
    from_left, index = _index(choice)
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
            f"There is no face {index}: {count} found, numbered from 0 "
            f"({'the first from the left' if from_left else 'the largest'}) to {len(faces) - 1}."
        )
    return [left_to_right(faces)[index] if from_left else faces[index]]


def left_to_right(faces: Sequence[Face]) -> list[Face]:
    """In the order of the middle of their points."""
    return sorted(faces, key=lambda face: float(face.points[:, 0].mean()))


@dataclass(frozen=True)
class Marks:
    """Places in a photo that say which faces are meant; pixels, x right, y down.

    boxes: (x0, y0, x1, y1) each; a point is a box without size. mask: float [H,W], above 0.5 where
    faces are meant, stretched to the photo. Empty marks mean every face."""

    boxes: tuple[tuple[float, float, float, float], ...] = ()
    mask: Tensor | None = None

    def among(self, faces: Sequence[Face], width: int, height: int) -> list[Face]:
        """The faces at the marks: whose middle is in a box or in the mask, or whose own box holds
        the middle of a mark. Raises InputError for a mark outside the photo."""
        if not self.boxes and self.mask is None:
            return list(faces)
        for x0, y0, x1, y1 in self.boxes:
            if x1 < 0 or y1 < 0 or x0 > width or y0 > height:
                raise InputError(
                    f"A mark at x {x0:g} to {x1:g}, y {y0:g} to {y1:g} is outside the picture of "
                    f"{width}x{height} pixels: mark a face inside."
                )
        return [face for face in faces if self._means(face, width, height)]

    def _means(self, face: Face, width: int, height: int) -> bool:
        x, y = face.points.mean(0).tolist()
        for x0, y0, x1, y1 in self.boxes:
            if x0 <= x <= x1 and y0 <= y <= y1:
                return True
            if face.box[0] <= (x0 + x1) / 2 <= face.box[2] and (
                face.box[1] <= (y0 + y1) / 2 <= face.box[3]
            ):
                return True
        if self.mask is None:
            return False
        rows, columns = self.mask.shape
        row = min(max(int(y / height * rows), 0), rows - 1)
        column = min(max(int(x / width * columns), 0), columns - 1)
        return bool(self.mask[row, column] > 0.5)


def _index(choice: str | int) -> tuple[bool, int | None]:
    """Whether faces are counted from the left, and the index that is meant, None for all."""
    if choice == "largest":
        return False, 0
    if choice == "all":
        return False, None
    number = str(choice)  # a command line gives "2"
    from_left = number.startswith("left:")
    number = number.removeprefix("left:")
    if not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise InputError(
            'Faces are chosen by "largest", "all", a number from 0 (the largest) or left:0 (the '
            f"first from the left), not {str(choice)[:40]!r}."
        )
    return from_left, int(number)
