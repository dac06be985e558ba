"""Directions by name: embedded ones, those of files, and channels of StyleSpace."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoints.building import make_config
from ..checkpoints.native import NATIVE, is_native, read_model, save_model
from ..checkpoints.reading import Contents, Format, read_file, reported
from ..checkpoints.unsupported import described
from ..errors import CheckpointError, InputError, MissingFileError
from ..files.assets import ASSETS
from ..models.generator import Generator
from . import mapper, published, stylespace
from .base import BaseDirection, DirectionType
from .published import (
    MOST_DIRECTIONS,
    is_relevance,
    is_statistics,
    load_relevances,
    load_style_deviations,
)
from .syntax import ENDINGS

# every type of direction: a new one is a module (see `base`), a name here and a test
TYPES = (published.TYPE, stylespace.TYPE, mapper.TYPE)
KINDS = {one.kind.space: one.kind for one in TYPES}
LAYOUTS = tuple(layout for one in TYPES for layout in one.layouts)

EMBEDDED = ASSETS / "directions.safetensors"
SPOKEN = {"turn": "yaw", "nod": "pitch", "look_aside": "look_x", "look_up": "look_y"}
_FILE = re.compile(rf"(.+\.(?:{ENDINGS}))(?::([^/\\]+))?")

# name -> reason; another space has files of the same shapes, so that only their names tell it.
# InterFaceGAN names its boundaries GENERATOR_DATA_ATTRIBUTE[_w]_boundary, GANSpace its caches
# GENERATOR-DATA_LAYER_ipca_cCOUNT_nSAMPLES[_w]: nothing else is told by its name
_OTHER_SPACES = (
    (
        r"pggan_(celebahq|ffhq)_.+_boundary",
        "is a boundary of PGGAN by its name, whose latent space is another: use one that was made "
        "for your generator",
    ),
    (
        r"stylegan1?_(celebahq|ffhq)_.+_boundary|stylegan1?-.+_ipca_c\d+_n\d+.*",
        "is of StyleGAN1 by its name, whose latent space is another: use one that was made for "
        "your generator",
    ),
    (
        r"stylegan.*(?<!_w)_boundary|.*_z_boundary",
        "is a boundary in Z by its name, before the mapping network, but codes are edited in W: "
        "use the one that ends in _w_boundary (or call it so if it is one)",
    ),
    (
        r".*_ipca_c\d+_n\d+(_seed\d+)?",
        "holds GANSpace components of Z by its name, before the mapping network, but codes are "
        "edited in W: compute them with --use_w (the file's name then has _w)",
    ),
)


def list_directions(path: str | Path | None = None) -> list[BaseDirection]:
    """The directions of a file, the embedded ones if None (none before they are made).

    Raises MissingFileError, CheckpointError."""
    path = EMBEDDED if path is None else Path(path)
    if not path.is_file():
        if path == EMBEDDED:
            return []
        raise MissingFileError(f"There is no file {path}: check the path of the direction.")
    return _read(path) if path.suffix == ".safetensors" else _read_foreign(path)


def needs_generator(name: str | Path) -> bool:
    """Whether a name stands for a direction that is made for a generator, see `load_direction`."""
    return _type_named(str(name)) is not None


def _type_named(name: str) -> DirectionType | None:
    return next((one for one in TYPES if one.named(name) and not is_file(name)), None)


def load_direction(
    name: str | Path, device: torch.device | str = "cpu", generator: Generator | None = None
) -> BaseDirection:
    """One direction: an embedded one by its name, or of a file.

    name: "smile", or a word of SPOKEN; "mine.safetensors", with ":smile" behind it if the file
        holds several; "age.pt" or "age.npy" as InterFaceGAN has them ([512], [1,512], [1,N,512]
        or [1,N*512]), at the length that they have there (`Direction.length`);
        "pca.pt:3", a component of a GANSpace file (.pt, or its cache .npz) or a SeFa factor;
        "S:6_501", a channel of StyleSpace (layer 6, channel 501);
        "fs3.npy:smile.npy:0.15", StyleCLIP's global direction of a text, see `global_direction`:
        its relevances, the difference of two text embeddings, or a .txt file of two texts (see
        `text_difference`), and beta (0.15 if left out). The file S_mean_std beside the first is
        used where there is one;
        "purple_hair.pt", a StyleCLIP mapper.
    generator: needed for directions in StyleSpace, whose channels are the generator's.
    Nothing that a file stores is executed.
    Raises MissingFileError, CheckpointError for a file that holds no direction, InputError and
    MismatchError for what the generator does not have."""
    one = _type_named(str(name))
    if one is not None and one.made is not None:
        if generator is None:
            raise InputError(
                f"The direction {name} moves style channels of a generator: give the generator, "
                "too."
            )
        return one.made(str(name), generator).to(device)
    path, entry = _split(str(name))
    if path is not None:
        return _choose(list_directions(path), entry, path).to(device)
    known = {direction.name: direction for direction in list_directions()}
    entry = SPOKEN.get(entry, entry)
    if entry not in known:
        nearest = did_you_mean(entry, (*known, *SPOKEN))
        raise MissingFileError(
            f"There is no direction named {entry!r}{nearest or '.'} `cycle-core directions` lists "
            "the embedded ones; a file is named by its path."
        )
    return known[entry].to(device)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ ": did you mean smile?", or nothing where no name is near."""
    names = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower()[:100], names, n=1)
    return f": did you mean {names[near[0]]}?" if near else ""


def save_directions(
    directions: BaseDirection | Iterable[BaseDirection],
    path: str | Path,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write directions into one safetensors file (kind "direction"), atomically.

    Raises InputError for two of one name or where the file cannot be written."""
    entries = [directions] if isinstance(directions, BaseDirection) else list(directions)
    names = [direction.name for direction in entries]
    if len(set(names)) < len(names) or not names:
        raise InputError(f"A file takes one or more directions of different names, not {names}.")
    state: dict[str, Tensor] = {}
    described = []
    for i, direction in enumerate(entries):
        values = {one.name: getattr(direction, one.name) for one in fields(direction)}
        tensors = {key: value for key, value in values.items() if isinstance(value, Tensor)}
        state |= {f"{i}.{key}": tensor for key, tensor in tensors.items()}
        plain = {key: value for key, value in values.items() if key not in tensors}
        plain["generator"] = plain.pop("generator_id")  # as files call it
        described.append({**plain, "space": direction.space})
    save_model(path, "direction", {"directions": described}, state, metadata)


def _read(path: Path) -> list[BaseDirection]:
    config, state, _ = read_model(path, "direction")
    try:
        entries = config["directions"]
        if len(entries) > MOST_DIRECTIONS:
            raise ValueError(f"{len(entries)} of them")
        return [_restored(i, entry, state, path) for i, entry in enumerate(entries)]
    except (KeyError, TypeError, ValueError, AttributeError, CheckpointError) as error:
        raise CheckpointError(
            f"{path} does not hold whole directions ({error}): it is damaged; get it again."
        ) from error


def _restored(
    index: int, entry: dict[str, Any], state: dict[str, Tensor], path: Path
) -> BaseDirection:
    kind = KINDS[entry.get("space", "W")]
    names = {one.name for one in fields(kind)}
    entry = {**entry, "generator_id": entry.get("generator", "")}
    values = {key: value for key, value in entry.items() if key in names}
    tensors = {key: state[f"{index}.{key}"] for key in names if f"{index}.{key}" in state}
    return make_config(kind, {**values, **tensors}, path)


def _read_foreign(path: Path) -> list[BaseDirection]:
    """All directions of a file; those of a numbered list are named "pca:0", "pca:1", ...

    Raises CheckpointError for a file that holds none, or one of another latent space."""
    for pattern, reason in _OTHER_SPACES:
        if re.fullmatch(pattern, path.stem, re.IGNORECASE):
            raise CheckpointError(f"{path.name} {reason}.")
    contents = read_file(path)
    if is_relevance(contents.data):
        raise CheckpointError(
            f"{path} holds {contents.data.shape[0]} rows as StyleCLIP's relevances do: give the "
            f"text, too, as {path.name}:TEXT.npy."
        )
    for layout in LAYOUTS:
        if layout.fits(contents.data):
            try:
                with reported(path):
                    return list(layout.read(path, contents.data))
            except InputError as error:
                raise CheckpointError(f"{path}: {error}") from error
    raise CheckpointError(
        f"{path} holds {described(contents)} and no direction: a vector [512] or [1, N, 512] as "
        "InterFaceGAN stores it, GANSpace components, SeFa factors or a StyleCLIP mapper are "
        "expected."
    )


def _split(name: str) -> tuple[Path | None, str]:
    """ "a/b.pt:3" -> (a/b.pt, "3"); "smile" -> (None, "smile"). What is a file is a path."""
    if is_file(name):
        return Path(name), ""
    file, _, entry = name.rpartition(":")
    if file and is_file(file):
        return Path(file), entry
    if match := _FILE.fullmatch(name):
        return Path(match[1]), match[2] or ""
    return (None, name) if re.fullmatch(r"[^/\\]+", name) else (Path(name), "")


def is_file(name: str) -> bool:
    """Whether there is such a file; names that no disk takes are none."""
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False


def _choose(directions: list[BaseDirection], entry: str, path: Path) -> BaseDirection:
    prefix = f"{path.stem}:"  # of numbered ones
    known = {direction.name.removeprefix(prefix): direction for direction in directions}
    if not known:
        raise CheckpointError(f"{path} holds no direction: get the file again.")
    if not entry and len(directions) == 1:
        return directions[0]
    if entry not in known:
        names = list(known)
        listed = f"{names[0]} to {names[-1]}" if names[0] == "0" else ", ".join(names)
        which = "which one is meant is not clear"
        if entry:
            which = f"none of them is {entry!r}{did_you_mean(entry, names)}"
        raise MissingFileError(
            f"{path} holds {len(known)} directions and {which}: write {path.name}:NAME with one of "
            f"{listed}."
        )
    return known[entry]


# ------------------------------------------------------------------ as formats among others
def _is_foreign(contents: Contents) -> bool:
    others = contents.container != "safetensors"
    return others and any(layout.fits(contents.data) for layout in LAYOUTS)


def _load(contents: Contents) -> list[BaseDirection]:
    return list_directions(contents.path)


def _describe(directions: list[BaseDirection]) -> dict[str, Any]:
    names = [direction.name for direction in directions]
    return {"directions": names, **directions[0].describe(), "space": directions[0].space}


def _table(name: str, fits: Callable[[Any], bool], load: Callable[[Path], Tensor]) -> Format:
    """One of the tables that StyleCLIP's global directions are made of."""
    return Format(
        "StyleCLIP",
        name,
        lambda contents: fits(contents.data),
        lambda contents: load(contents.path),
        lambda table: {"shape": list(table.shape)},
    )


FORMATS = (
    Format(NATIVE, "direction", is_native("direction"), _load, _describe),
    Format("InterFaceGAN, GANSpace, SeFa, StyleCLIP", "direction", _is_foreign, _load, _describe),
    _table("table of relevances", is_relevance, load_relevances),
    _table("table of style statistics", is_statistics, load_style_deviations),
)
