"""The face detectors: one module of this folder each, by its name in `DETECTORS`
(`files/catalogue.py`). Each has

    find(image, min_score=...) -> list[Face]    image: float32 [1,3,H,W] in [-1,1], on any device
    PACKAGES                                    that have to be installed for it

Nothing heavy is imported before a detector is used."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Protocol, cast

from ...errors import InputError
from ...files.catalogue import DETECTORS
from ...files.weights import find

if TYPE_CHECKING:
    from torch import Tensor

    from ..frame import Face


class Detector(Protocol):
    """What a module of this folder has."""

    PACKAGES: tuple[str, ...]

    def find(self, image: Tensor, min_score: float = ...) -> list[Face]: ...


def load(name: str) -> Detector:
    """The detector of that name. Raises InputError for an unknown one."""
    if name not in DETECTORS:
        *names, last = DETECTORS
        raise InputError(
            f"There is no detector {name!r}: choose auto, {', '.join(names)} or {last}."
        )
    return cast(Detector, importlib.import_module(f".{name}", __package__))


def present() -> tuple[str, ...]:
    """The detectors that can be used without a download, best first."""
    return tuple(
        name
        for name, file in DETECTORS.items()
        if not missing(*load(name).PACKAGES) and (file is None or find(file) is not None)
    )


def missing(*packages: str) -> str:
    """Those of the packages that are not installed, as `pip install` takes them."""
    return " ".join(name for name in packages if importlib.util.find_spec(name) is None)


def require(detector: str, *packages: str) -> None:
    """Raises InputError where one of the packages is not installed."""
    if needed := missing(*packages):
        raise InputError(
            f"The detector {detector} needs what is not installed: `pip install {needed}`, or "
            "choose another detector."
        )
