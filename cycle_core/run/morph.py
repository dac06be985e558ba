"""Interpolation videos: from code to code, and back to the first where they go round."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from ..codes import Code
from ..directions.editing import lerp, slerp
from ..errors import InputError
from ..invert.generate import generate
from ..models.generator import Generator
from .video_settings import EASINGS, MorphSettings


def morph(G: Generator, codes: Code, settings: MorphSettings | None = None) -> Iterator[Tensor]:
    """The pictures of the way through all codes of a batch, one by one: float32 [1,3,R,R].

    It begins at the first code and ends at the last, or one step before the first where it loops,
    so that it can be repeated without a jolt.
    Raises InputError for fewer than two codes, MismatchError for codes of another generator."""
    settings = settings or MorphSettings()
    if codes.batch < 2:
        raise InputError(
            "A morph goes from code to code, but only one was given: give two codes or more."
        )
    G.check_code(codes)
    return _pictures(G, codes, settings)


def count_of(codes: int, settings: MorphSettings) -> int:
    """The number of pictures of a morph through so many codes."""
    ways = codes if settings.loop else codes - 1
    return ways * (settings.frames + settings.hold) + (0 if settings.loop else settings.hold + 1)


def _pictures(G: Generator, codes: Code, settings: MorphSettings) -> Iterator[Tensor]:
    ways = codes.batch if settings.loop else codes.batch - 1
    ease = EASINGS[settings.easing]
    for i in range(ways):
        first, second = codes.one(i), codes.one((i + 1) % codes.batch)
        start = generate(G, first)
        for _ in range(settings.hold + 1):
            yield start
        for k in range(1, settings.frames):
            t = ease(k / settings.frames)
            between = (
                slerp(first, second, t, G.w_avg)
                if settings.path == "arc"
                else lerp(first, second, t)
            )
            yield generate(G, between)
    if not settings.loop:
        last = generate(G, codes.one(codes.batch - 1))
        for _ in range(settings.hold + 1):
            yield last
