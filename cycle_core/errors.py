"""The errors that a user may meet. Each message is one sentence or two: what was given, what was
expected, what to do next. The command line prints it and exits with 2; a node shows it."""

from __future__ import annotations


class CycleError(Exception):
    """Base of every error that this library raises on purpose."""

    def __str__(self) -> str:
        return printable(super().__str__(), 1000)


class InputError(CycleError):
    """A picture, a number or a setting that cannot be used."""


class NoFaceError(InputError):
    """No face was found, or not the one that was asked for."""


class FaceNumberError(NoFaceError):
    """There are faces, but fewer than the number that was asked for."""


class PlaceError(InputError):
    """A point, a box or a mask that cannot be of the picture in which it is to mean a face."""


class MissingFileError(CycleError):
    """A file that is needed is not there; the message names it, its folder and its address."""


class CheckpointError(CycleError):
    """A file that is not the checkpoint it was taken for, is damaged, or holds unusable weights."""


class IncompleteError(CheckpointError):
    """A whole encoder that does not say something; `missing` is what to add, for `inspect`."""

    def __init__(self, source: object, lacks: str, missing: str):
        super().__init__(f"{source} {lacks}: {missing}.")
        self.missing = f"{lacks}: {missing}"


class MismatchError(CycleError):
    """Two things that do not belong together, such as a code and another generator's weights."""


def printable(text: str, length: int) -> str:
    """A text that may hold names out of a file: without control characters, which could speak to
    the terminal, and not at any length."""
    if len(text) > length:
        text = f"{text[: length // 2]} ... {text[-length // 2 :]}"
    return "".join(c if c.isprintable() else "?" for c in text)
