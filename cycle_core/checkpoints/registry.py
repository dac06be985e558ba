"""Every layout that can be opened.

To add one, write a module with `FORMATS`, a tuple of `Format`s, and name it in `FORMATS` below, or
in those of `generators`. The functions of a format get the plain `Contents` of a file (see
`reading`):

    def detect(contents) -> bool: ...   # looks at names and shapes only; no file may make it fail
    def load(contents, **options): ...  # a whole object on the CPU, in evaluation mode

`load` takes its tensors by `load_tensors(mapping, prefix)`, every hyperparameter from their shapes
and the stored settings, and ends in `building.assemble` (a generator) or `building.build`. Where it
knows what is wrong it raises CheckpointError; anything else becomes "damaged or of another format".
A file may be of several kinds: a pSp checkpoint is an encoder and a generator.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..directions import files as directions
from ..errors import CheckpointError, InputError
from ..models.detail_encoder import DetailEncoder
from ..models.encoder import Encoder
from ..models.generator import Generator
from ..models.same_space import adopt
from . import encoders, generators, latents, loss_networks, native, unsupported
from .native import NATIVE, base_of, resolve, with_article
from .reading import Contents, Format, matching, read_file, refusal, reported

FORMATS = (  # in the order in which they are tried
    *native.FORMATS,
    *generators.FORMATS,
    *encoders.FORMATS,
    *loss_networks.FORMATS,
    *directions.FORMATS,
    *latents.FORMATS,
)


def load_generator(name: str | Path, device: str | torch.device = "cpu") -> Generator:
    """Open a generator by path or embedded name ("portraits"), ready to use on `device`.

    Raises MissingFileError, CheckpointError."""
    generator: Generator = open_model(name, "generator")
    generator.name = Path(name).stem
    return _moved(generator, device)


def load_encoder(
    name: str | Path,
    device: str | torch.device = "cpu",
    generator: Generator | None = None,
    architecture: str | None = None,
    same_space: bool = False,
) -> Encoder:
    """Open an encoder by path or embedded name ("portraits"), ready to use on `device`.

    generator, architecture ("e4e" or "psp"): for files that lack what they say; an error asks for
    them. same_space: take it as an encoder of `generator`, though it was trained for another one
    (`adopt` in `models/same_space.py`).
    Raises MissingFileError, CheckpointError, InputError for another architecture."""
    encoder: Encoder = open_model(name, "encoder", generator=generator, architecture=architecture)
    if same_space and generator is None:
        raise InputError("same_space takes an encoder as one of another generator: name it, too.")
    if same_space and generator is not None:
        encoder = adopt(encoder, generator)
    return _moved(encoder, device)


def load_detail_encoder(
    name: str | Path = "portraits", device: str | torch.device = "cpu"
) -> DetailEncoder:
    """Open the network that predicts the detail of a generator's pictures, by path or embedded
    name. Raises MissingFileError, CheckpointError."""
    return open_model(name, "detail").to(device)


def _moved(model: Any, device: str | torch.device) -> Any:
    """Moving a model to where it is would take as long as a quarter of opening it."""
    return model if model.w_avg.device == torch.device(device) else model.to(device)


def open_model(name: str | Path, kind: str, **options: Any) -> Any:
    """Read a file, tell its format, load it. Raises MissingFileError, CheckpointError."""
    contents = read_file(resolve(name, kind), strict=False)
    with reported(contents.path):
        return find(contents, kind).load(contents, **options)


def find(contents: Contents, kind: str) -> Format:
    """The format of this kind that a file has. Raises CheckpointError, which says what it is."""
    found = {one.kind: one for one in formats_of(contents)}
    if kind in found and not contents.unknown:
        return found[kind]
    if kind in found:
        raise CheckpointError(refusal(contents))
    if kind == "generator" and "delta" in found:
        raise CheckpointError(
            f"{contents.path} is what tuning changed of the generator {base_of(contents)}: load "
            "that generator and put this on it: `load_tuned`, Load Tuned Generator, or --tuned."
        )
    known = next(map(described, found.values()), None) or unsupported.name(contents)
    if known is not None:
        raise CheckpointError(
            f"{contents.path} is {known}, but {with_article(kind)} is needed here: choose "
            "another file."
        )
    if contents.unknown:
        raise CheckpointError(refusal(contents))
    raise CheckpointError(
        f"{contents.path} is not one of our model files, nor in any other layout that is known "
        f"here, but {with_article(kind)} is needed: choose another file."
    )


def described(one: Format) -> str:
    """ "an encoder (e4e)" """
    return (
        with_article(one.kind) if one.name == NATIVE else f"{with_article(one.kind)} ({one.name})"
    )


def formats_of(contents: Contents) -> list[Format]:
    """Every format that a file has, at most one of a kind."""
    return matching(contents, FORMATS)
