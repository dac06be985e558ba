"""Which of the faces of a photo to work on.

Faces are numbered from 0 from left to right, as `detect` gives them."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeGuard

from torch import Tensor

from ..errors import FaceNumberError, InputError, NoFaceError, PlaceError
from .frame import CENTRE, Face

Choice: TypeAlias = "str | int | Sequence[int]"

WORDS = ("largest", "smallest", "all")
NO_FACE = ("error", CENTRE, "skip")


def choose(
    faces: Sequence[Face],
    choice: Choice = "largest",
    none: str = "error",
    among: Sequence[Face] | None = None,
) -> list[Face | str]:
    """The targets to align, from left to right.

    choice: "largest", "smallest", "all", a number or several (0 is the first from the left); or as
        text, as the command line takes it: "2", "0+2", a point "x,y" (the face there or nearest to
        it), a box "x0,y0,x1,y1" (those whose middle lies in it), or "size:1" (the second largest).
    among: those of the faces that may be chosen, see `Marks`; all if None.
    Without any face: none = "error" raises NoFaceError, "centre" gives ["centre"] (which `align`
    takes: the largest centred square), "skip" gives []. A number that no face has raises
    FaceNumberError in any case, an unknown choice or policy InputError."""
    if none not in NO_FACE:
        raise InputError(f'Without a face one can "error", "centre" or "skip", not {none!r}.')
    picked = pick(faces, choice, among)
    return [faces[i] for i in picked] if picked else without(faces, none)


def without(faces: Sequence[Face], none: str) -> list[Face | str]:
    """What `choose` gives where it found none of the faces."""
    if none != "error":
        return [CENTRE] if none == CENTRE else []
    if faces:
        middles = "; ".join("{:.0f},{:.0f}".format(*_middle(face)) for face in faces)
        raise NoFaceError(
            f"No face is at the place that was given: those that were found are at {middles} (x,y "
            "in pixels)."
        )
    raise NoFaceError(
        "No face was found in the picture: try another detector, give five points by hand, or take "
        "the centre of the picture."
    )


def pick(
    faces: Sequence[Face],
    choice: Choice = "largest",
    among: Sequence[Face] | None = None,
    sizes: Sequence[float] | None = None,
) -> list[int]:
    """The numbers of the faces that `choose` means, in order; empty where no face is meant.

    sizes: by which they are large and small, of each; the areas of their boxes if None."""
    wanted, place = _parsed(choice)
    may = None if among is None else {id(face) for face in among}  # tensors do not compare
    there = [i for i, face in enumerate(faces) if may is None or id(face) in may]
    if place is not None:
        there = _inside(faces, place, there)
    sizes = [face.area for face in faces] if sizes is None else sizes
    ranked = sorted(there, key=lambda i: -sizes[i])
    if isinstance(wanted, frozenset):
        for number in wanted:
            _check_number(number, len(faces), "the first from the left")
        return [i for i in there if i in wanted]
    if wanted.startswith("size:"):
        number = int(wanted[5:])
        _check_number(number, len(there), "the largest")
        return ranked[number : number + 1]
    return {"all": there, "largest": ranked[:1], "smallest": ranked[-1:]}[wanted]


def _check_number(number: int, count: int, first: str) -> None:
    if count and number >= count:
        found = "1 face was" if count == 1 else f"{count} faces were"
        raise FaceNumberError(
            f"There is no face {number}: {found} found, numbered from 0 ({first}) to {count - 1}."
        )


@dataclass(frozen=True)
class Marks:
    """Places in a photo that say which faces are meant; pixels, x right, y down.

    boxes: (x0, y0, x1, y1) each. mask: float [H,W], above 0.5 where faces are meant, of the photo's
    shape at any size. points: (x, y) each. Without any of them every face is meant; with boxes=()
    none is."""

    boxes: tuple[tuple[float, float, float, float], ...] | None = None
    mask: Tensor | None = None
    points: tuple[tuple[float, float], ...] = ()

    def check(self, width: int, height: int) -> None:
        """Raises PlaceError where a mark cannot be of a photo of this size."""
        for place in (*(self.boxes or ()), *self.points):
            _check_place(place, width, height)
        if self.mask is None:
            return
        rows, columns = self.mask.shape
        most = max(width, height, rows, columns) + 0.02 * rows * width  # sizes are rounded
        if abs(rows * width - columns * height) > most:
            raise PlaceError(
                f"The mask of {columns}x{rows} pixels has another shape than the picture of "
                f"{width}x{height}: give one that was painted onto this picture."
            )

    def among(self, faces: Sequence[Face], width: int, height: int) -> list[Face]:
        """The faces at the marks: whose middle is in a box or in the mask, or whose own box holds a
        point or the middle of a box. Raises as `check` does."""
        self.check(width, height)
        if self.boxes is None and not self.points and self.mask is None:
            return list(faces)
        return [face for face in faces if self._means(face, width, height)]

    def _means(self, face: Face, width: int, height: int) -> bool:
        (x, y), boxes = _middle(face), self.boxes or ()
        points = (*self.points, *map(_middle_of, boxes))
        if any(_holds(box, x, y) for box in boxes) or any(_holds(face.box, *at) for at in points):
            return True
        if self.mask is None:
            return False
        rows, columns = self.mask.shape
        row = min(max(int(y / height * rows), 0), rows - 1)
        column = min(max(int(x / width * columns), 0), columns - 1)
        return bool(self.mask[row, column] > 0.5)


def check_choice(choice: Choice, width: int, height: int) -> None:
    """Raises PlaceError for a choice by a place that a picture of this size has not, InputError for
    an unknown choice. A box may reach beyond the picture."""
    _, place = _parsed(choice)
    if place is None:
        return
    if len(place) == 4:
        x0, y0, x1, y1 = place
        place = (max(x0, 0), max(y0, 0), min(x1, width), min(y1, height))
        if place[0] >= place[2] or place[1] >= place[3]:
            place = (x0, y0, x1, y1)  # none of it is in the picture: as it was given
    _check_place(place, width, height)


def check_points(faces: Sequence[Face], width: int, height: int) -> None:
    """Raises PlaceError for points by hand whose middle is outside a picture of this size."""
    for x, y in (_middle(face) for face in faces if face.detector == "manual"):
        if not _holds((0, 0, width, height), x, y):
            raise PlaceError(
                f"The face around {x:.0f},{y:.0f} lies outside the photo of {width}x{height} "
                "pixels: give points of this photo, in its own pixels."
            )


def _check_place(place: Sequence[float], width: int, height: int) -> None:
    """Raises PlaceError unless a point, or the middle of a box with an area, is in the picture."""
    what, (x, y) = "point", place[:2]
    if len(place) == 4:
        _check_box(place)
        what, (x, y) = "middle of the box", _middle_of(place)
    if not _holds((0, 0, width, height), x, y):
        raise PlaceError(
            f"The {what} {_numbers(place)} is outside the picture of {width}x{height} pixels: give "
            "pixels of this picture, from its top left corner."
        )


def _check_box(box: Sequence[float]) -> None:
    x0, y0, x1, y1 = box
    if x0 >= x1 or y0 >= y1:
        raise PlaceError(
            f"The box {_numbers(box)} is empty: give its left, top, right and bottom edge, in "
            "pixels."
        )


def _numbers(place: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in place)


def _middle_of(box: Sequence[float]) -> tuple[float, float]:
    x0, y0, x1, y1 = box
    return (x0 + x1) / 2, (y0 + y1) / 2


def _parsed(choice: Choice) -> tuple[str | frozenset[int], tuple[float, ...] | None]:
    """A word or numbers, and the area that the choice names."""
    if isinstance(choice, str):
        if choice in WORDS or re.fullmatch(r"size:[0-9]{1,9}", choice):
            return choice, None
        if re.fullmatch(r"[0-9]{1,9}(\+[0-9]{1,9})*", choice):
            return frozenset(map(int, choice.split("+"))), None
        parts = choice.split(",")
        if len(parts) in (2, 4):
            with contextlib.suppress(ValueError):
                place = tuple(map(float, parts))
                if all(map(math.isfinite, place)):
                    return "all", place
    elif _is_number(choice):
        return frozenset([choice]), None
    elif isinstance(choice, Sequence) and choice and all(map(_is_number, choice)):
        return frozenset(choice), None
    raise InputError(
        'Faces are chosen by "largest", "smallest", "all", by numbers from the left (0, or 0+2), '
        f"by a point x,y or by a box x0,y0,x1,y1, not {str(choice)[:40]!r}."
    )


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _inside(faces: Sequence[Face], place: Sequence[float], numbers: list[int]) -> list[int]:
    """Those of the numbers whose faces are at a point or in a box."""
    if len(place) == 2:
        return sorted(numbers, key=lambda i: _distance(faces[i], *place))[:1]
    _check_box(place)
    return [i for i in numbers if _holds(place, *_middle(faces[i]))]


def _holds(box: Sequence[float], x: float, y: float) -> bool:
    x0, y0, x1, y1 = box
    return x0 <= x <= x1 and y0 <= y <= y1


def _middle(face: Face) -> tuple[float, float]:
    x, y = face.points.mean(0).tolist()
    return x, y


def _distance(face: Face, x: float, y: float) -> tuple[float, float]:
    """From a point to a face's box, 0 in it, and to its middle."""
    x0, y0, x1, y1 = face.box
    outside = math.hypot(max(x0 - x, x - x1, 0.0), max(y0 - y, y - y1, 0.0))
    return outside, math.dist((x, y), _middle(face))


def left_to_right(faces: Sequence[Face]) -> list[Face]:
    """In the order of their numbers."""
    return sorted(faces, key=_middle)
