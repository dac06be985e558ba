"""Encoders and codes that are used with another generator than the one that they were made for."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TypeVar

from ..codes import Code
from ..errors import MismatchError
from ..runtime.devices import say_once
from .encoder import Encoder
from .fingerprints import short
from .generator import Generator

T = TypeVar("T", Code, Encoder)


def adopt(what: T, generator: Generator) -> T:
    """The code or the encoder as one of this generator: of one that was fine-tuned from its own, or
    blended with it, which keeps the meaning of codes. Nothing is copied but the label.

    One notice is written to the log, and codes say afterwards where they come from (`Code.origin`).
    What is the generator's own already is given back as it is.
    Raises MismatchError where the numbers of styles or dimensions differ."""
    given = _shape(what)
    wanted = generator.num_ws, generator.w_dim
    if given != wanted:
        raise MismatchError(
            f"A space of {given[0]} styles of {given[1]} dimensions and one of {wanted[0]} of "
            f"{wanted[1]} are never the same: take a generator that was trained from the other."
        )
    if not what.generator_id or generator.has_space_of(what.generator_id):
        return what
    origin = what.origin or what.generator_id
    name = "The code" if isinstance(what, Code) else "The encoder"
    say_once(
        f"{name} was made for the generator {short(origin)} and is used with "
        f"{short(generator.base_fingerprint)} as if their spaces were the same, as you asked."
    )
    if isinstance(what, Code):
        return replace(what, generator_id=generator.base_fingerprint, origin=origin)
    made = copy.copy(what)
    made.generator_id, made.origin = generator.base_fingerprint, origin
    return made


def _shape(what: Code | Encoder) -> tuple[int, int]:
    if isinstance(what, Code):
        return what.w.shape[1], what.w.shape[2]
    return what.config.num_ws, what.config.w_dim
