"""Every layout that can be opened, in the order in which they are tried; see `format.Format`."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError
from ..models.encoder import Encoder
from ..models.generator import Generator
from . import unsupported
from .format import Format
from .native import OURS, a, base_of, resolve
from .reading import Contents, read_file, refusal, reported

MODULES = (
    "native",
    "nvidia",
    "stylegan3",
    "tensorflow",
    "rosinality",
    "encoders",
    "loss_networks",
    "latents",
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
) -> Encoder:
    """Open an encoder by path or embedded name ("portraits"), ready to use on `device`.

    generator, architecture ("e4e" or "psp"): for files that lack what they say; an error asks for
    them. Raises MissingFileError, CheckpointError, InputError for another architecture."""
    encoder: Encoder = open_model(name, "encoder", generator=generator, architecture=architecture)
    return _moved(encoder, device)


def _moved(model: Any, device: str | torch.device) -> Any:
    """Moving a model to where it is would take as long as a quarter of opening it."""
    return model if model.w_avg.device == torch.device(device) else model.to(device)


def open_model(name: str | Path, kind: str, **options: Any) -> Any:
    """Read a file, tell its format, load it. Raises MissingFileError, CheckpointError."""
    contents = read_file(resolve(name, kind), strict=False)
    formats()  # a mistake in one of them is ours and not the file's
    with reported(contents.path):
        return find(contents, kind).load(contents, **options)


def find(contents: Contents, kind: str) -> Format:
    """The format of this kind that a file has. Raises CheckpointError, which says what it is."""
    found = {one.kind: one for one in matching(contents)}
    if kind in found and not contents.foreign:
        return found[kind]
    if kind in found:
        raise CheckpointError(refusal(contents))
    if kind == "generator" and "delta" in found:
        raise CheckpointError(
            f"{contents.path} is what tuning changed of the generator {base_of(contents)}: load "
            "that generator and put this on it with `load_tuned` or --tuned."
        )
    known = next(map(said, found.values()), None) or unsupported.name(contents)
    if known is not None:
        raise CheckpointError(
            f"{contents.path} is {known}, but {a(kind)} is needed here: choose another file."
        )
    if contents.foreign:
        raise CheckpointError(refusal(contents))
    raise CheckpointError(
        f"{contents.path} is not one of our model files, nor in any other layout that is known "
        f"here, but {a(kind)} is needed: choose another file."
    )


def said(one: Format) -> str:
    """ "an encoder (e4e)" """
    return a(one.kind) if one.name == OURS else f"{a(one.kind)} ({one.name})"


@cache
def formats() -> tuple[Format, ...]:
    """All of them. They are imported when they are needed: some of them need this module."""
    modules = [import_module(f".{name}", __package__) for name in MODULES]
    return tuple(one for module in modules for one in module.FORMATS)


def matching(contents: Contents) -> list[Format]:
    """Every format that a file has, at most one of a kind."""
    found: dict[str, Format] = {}
    for one in formats():
        if one.kind not in found and one.detect(contents):
            found[one.kind] = one
    return list(found.values())
