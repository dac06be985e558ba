"""Which of the faces of a photo to work on."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InputError, NoFaceError
from .frame import CENTRE, Face


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
