"""Settings of what makes videos, without torch, so that the command line can show them at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..runtime.settings import check, setting

EASINGS: dict[str, Callable[[float], float]] = {
    "linear": lambda t: t,
    "smooth": lambda t: t * t * (3 - 2 * t),  # at rest at both ends
    "sine": lambda t: (1 - math.cos(math.pi * t)) / 2,
}


@dataclass(frozen=True)
class MorphSettings:
    """Of `morph`."""

    fps: float = setting(24.0, "pictures a second", low=0.1, high=240)
    frames: int = setting(48, "pictures from one code to the next", low=1, high=100_000)
    easing: str = setting("smooth", "how the speed changes on the way", choices=tuple(EASINGS))
    path: str = setting(
        "straight",
        "the line between two codes; an arc keeps the distance from the mean",
        choices=("straight", "arc"),
    )
    loop: bool = setting(False, "return to the first code")
    hold: int = setting(0, "pictures for which it rests at each code", low=0, high=100_000)

    __post_init__ = check


@dataclass(frozen=True)
class ClipSettings:
    """Of the whole way for a video, beside those of its steps."""

    smoothing: float = setting(
        2.0,
        "of landmarks and codes over time, a standard deviation in video frames",
        low=0,
        high=100,
    )
    key_frames: int = setting(
        8, "video frames that the generator is tuned to, spread over the video", low=1, high=64
    )

    __post_init__ = check
