"""Settings of cutting faces out and pasting them back; no heavy import, so that commands and nodes
can show them."""

from __future__ import annotations

from dataclasses import dataclass

from ..files.catalogue import DETECTORS
from ..runtime.settings import setting


@dataclass(frozen=True)
class AlignSettings:
    """Of `align_all`, `detect` and `choose`. size: None takes that of the generator."""

    size: int | None = setting(None, "of the crops, in pixels", low=1, high=4096)
    detector: str = setting(
        "auto", "what finds faces; auto is the best that is here", choices=("auto", *DETECTORS)
    )
    no_face: str = setting(
        "error",
        "without a face: stop, take the centre of the picture, or leave it out",
        choices=("error", "centre", "skip"),
    )
    smoothing: float = setting(
        0.0, "of landmarks over time, a standard deviation in video frames", low=0, high=30
    )


@dataclass(frozen=True)
class PasteSettings:
    """Of `paste`."""

    feather: float = setting(
        0.12, "width of the mask's soft edge, as a part of the crop's side", low=0, high=0.5
    )
    detail: float = setting(1.0, "how much of the photo's detail is kept", low=0, high=1)
