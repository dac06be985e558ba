"""The face detectors by name, best first. A new one is a module of this folder, its name here
and a test; the command line and the nodes offer what stands here. Each module has

    find(image, min_score=...) -> list[Face]    image: float32 [1,3,H,W] in [-1,1], on any device
    present() -> bool                           whether it can be used without a download

Nothing heavy is imported before a detector is used."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Protocol, cast

from ...errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from ..frame import Face

DETECTORS = ("insightface", "yunet", "embedded")


class Detector(Protocol):
    """What a module of this folder has."""

    def find(self, image: Tensor, min_score: float = ...) -> list[Face]: ...
    def present(self) -> bool: ...


def load(name: str) -> Detector:
    """The detector of that name. Raises InputError for an unknown one."""
    if name not in DETECTORS:
        raise InputError(
            f"There is no detector {name!r}: choose auto, {', '.join(DETECTORS[:-1])} or "
            f"{DETECTORS[-1]}."
        )
    return cast(Detector, importlib.import_module(f".{name}", __package__))


def present() -> tuple[str, ...]:
    """The detectors that can be used without a download, best first."""
    return tuple(name for name in DETECTORS if load(name).present())


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
