"""Directions by name: embedded ones, those of files, and channels of StyleSpace."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from ..checkpoints.native import read_model, save_model
from ..errors import CheckpointError, InputError, MissingFileError
from ..files.assets import ASSETS
from ..models.generator import Generator
from .direction import Direction
from .foreign import load_style_deviations, load_vectors, read_foreign
from .stylespace import BETA, global_direction, style_channel

EMBEDDED = ASSETS / "directions.safetensors"
_TEXTS = ("unit", "bias", "generator", "meaning")
_FILE = re.compile(r"(.+\.(?:safetensors|pth?|npy|npz))(?::([^/\\]+))?")
_CHANNEL = re.compile(r"S:(\d+)_(\d+)")
_GLOBAL = re.compile(r"(.+\.npy):(.+\.(?:npy|pt|pth))(?::(\d*\.?\d+))?")


def list_directions(path: str | Path | None = None) -> list[Direction]:
    """The directions of a file, the embedded ones if None (none before they are made).

    Raises MissingFileError, CheckpointError."""
    path = EMBEDDED if path is None else Path(path)
    if not path.is_file():
        if path == EMBEDDED:
            return []
        raise MissingFileError(f"There is no file {path}: check the path of the direction.")
    return _read(path) if path.suffix == ".safetensors" else read_foreign(path)


def needs_generator(name: str | Path) -> bool:
    """Whether a name stands for a direction in StyleSpace, see `load_direction`."""
    return bool(_CHANNEL.fullmatch(str(name)) or _GLOBAL.fullmatch(str(name)))


def load_direction(
    name: str | Path, device: torch.device | str = "cpu", generator: Generator | None = None
) -> Direction:
    """One direction: an embedded one by its name, or of a file.

    name: "smile"; "mine.safetensors", with ":smile" behind it if the file holds several; "age.pt"
        or "age.npy" as InterFaceGAN has them ([512], [1,512], [1,N,512] or [1,N*512]), at the
        length that they have there (`Direction.length`);
        "pca.pt:3", a component of a GANSpace file (.pt, or its cache .npz) or a SeFa factor;
        "S:6_501", a channel of StyleSpace (layer 6, channel 501);
        "fs3.npy:smile.npy:0.15", StyleCLIP's global direction of a text, see `global_direction`:
        its relevances, the difference of two text embeddings, beta (0.15 if left out). The file
        S_mean_std beside the first is used where there is one.
    generator: needed for directions in StyleSpace, whose channels are the generator's.
    Nothing that a file stores is executed.
    Raises MissingFileError, CheckpointError for a file that holds no direction, InputError and
    MismatchError for what the generator does not have."""
    if needs_generator(name):
        return _in_stylespace(str(name), generator).to(device)
    path, entry = _split(name)
    if path is None:
        known = {direction.name: direction for direction in list_directions()}
        if entry not in known:
            listed = ", ".join(known) or "none yet"
            raise MissingFileError(
                f"There is no direction named {entry!r}: give a path or one of the embedded ones "
                f"({listed})."
            )
        return known[entry].to(device)
    return _choose(list_directions(path), entry, path).to(device)


def save_directions(
    directions: Direction | Iterable[Direction],
    path: str | Path,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write directions into one safetensors file (kind "direction"), atomically.

    Raises InputError for two of one name or where the file cannot be written."""
    entries = [directions] if isinstance(directions, Direction) else list(directions)
    names = [direction.name for direction in entries]
    if len(set(names)) < len(names) or not names:
        raise InputError(f"A file takes one or more directions of different names, not {names}.")
    state: dict[str, Tensor] = {}
    described = []
    for i, direction in enumerate(entries):
        state[f"{i}.vectors"] = direction.vectors
        if direction.readout is not None:
            state[f"{i}.readout"] = direction.readout
        described.append(
            {
                "name": direction.name,
                "layers": direction.layers,
                "range": direction.range,
                "curve": direction.curve,
                "space": direction.space,
                **{key: getattr(direction, key) for key in _TEXTS},
            }
        )
    save_model(path, "direction", {"directions": described}, state, metadata)


def _read(path: Path) -> list[Direction]:
    config, state, _ = read_model(path, "direction")
    try:
        return [
            Direction(
                name=entry["name"],
                vectors=state[f"{i}.vectors"],
                readout=state.get(f"{i}.readout"),
                layers=None if entry["layers"] is None else tuple(entry["layers"]),
                range=None if entry["range"] is None else tuple(entry["range"]),
                curve=tuple((s, c) for s, c in entry["curve"]),
                space=entry.get("space", "W"),
                **{key: entry[key] for key in _TEXTS},
            )
            for i, entry in enumerate(config["directions"])
        ]
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise CheckpointError(
            f"{path} does not hold whole directions ({error}): it is damaged; get it again."
        ) from error


def _split(name: str | Path) -> tuple[Path | None, str]:
    """ "a/b.pt:3" -> (a/b.pt, "3"); "smile" -> (None, "smile")."""
    text = str(name)
    if Path(text).is_file():
        return Path(text), ""
    if match := _FILE.fullmatch(text):
        return Path(match[1]), match[2] or ""
    return (None, text) if re.fullmatch(r"[^/\\]+", text) else (Path(text), "")


def _choose(directions: list[Direction], entry: str, path: Path) -> Direction:
    prefix = f"{path.stem}:"  # of numbered ones
    known = {direction.name.removeprefix(prefix): direction for direction in directions}
    if not entry and len(directions) == 1:
        return directions[0]
    if entry not in known:
        names = list(known)
        listed = f"{names[0]} to {names[-1]}" if names[0] == "0" else ", ".join(names)
        raise MissingFileError(
            f"{path} holds {len(known)} directions and which one is meant is not clear: write "
            f"{path.name}:NAME with one of {listed}."
        )
    return known[entry]


def _in_stylespace(name: str, generator: Generator | None) -> Direction:
    if generator is None:
        raise InputError(
            f"The direction {name} moves style channels of a generator: give the generator, too."
        )
    if match := _CHANNEL.fullmatch(name):
        return style_channel(generator, int(match[1]), int(match[2]))
    match = _GLOBAL.fullmatch(name)
    assert match is not None  # by `needs_generator`
    relevance, text = Path(match[1]), Path(match[2])
    statistics = relevance.with_name("S_mean_std")
    return global_direction(
        generator,
        load_vectors(relevance, "one row for each convolution channel, as in StyleCLIP's fs3.npy,"),
        load_vectors(text, "the difference of two text embeddings [512]"),
        float(match[3] or BETA),
        load_style_deviations(statistics) if statistics.is_file() else None,
        text.stem,
    )
