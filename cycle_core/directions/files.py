"""Directions in files: ours, with everything that is known about them, and InterFaceGAN's and
GANSpace's, which hold bare vectors."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..checkpoints import ASSETS, read_model, save_model
from ..errors import CheckpointError, InputError, MissingFileError
from .direction import Direction
from .discovery import component_direction

EMBEDDED = ASSETS / "directions.safetensors"
_TEXTS = ("unit", "bias", "generator", "meaning")


def list_directions(path: str | Path | None = None) -> list[Direction]:
    """The directions of one of our files, the embedded ones if None (none before they are made).

    Raises MissingFileError, CheckpointError."""
    if path is None:
        return _read(EMBEDDED) if EMBEDDED.is_file() else []
    return _read(Path(path))


def load_direction(name: str | Path, device: torch.device | str = "cpu") -> Direction:
    """One direction: an embedded one by its name, or of a file.

    name: "smile"; "mine.safetensors", with ":smile" behind it if the file holds several; "age.pt"
        or "age.npy" as InterFaceGAN has them ([512], [1,512], [1,N,512] or [1,N*512]);
        "pca.pt:3", a component of a GANSpace file. Nothing that a file stores is executed.
    Raises MissingFileError, and CheckpointError for a file that holds no direction."""
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
    if not path.is_file():
        raise MissingFileError(f"There is no file {path}: check the path of the direction.")
    if path.suffix == ".safetensors":
        return _choose(_read(path), entry, path).to(device)
    return _foreign(path, entry).to(device)


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
    path, colon, entry = text.rpartition(":")
    if not colon or Path(text).exists() or re.search(r"[/\\]", entry):  # also C:\age.pt
        path, entry = text, ""
    if Path(path).suffix in (".safetensors", ".pt", ".pth", ".npy") or Path(path).is_file():
        return Path(path), entry
    return (None, text) if re.fullmatch(r"[^/\\]+", text) else (Path(text), "")


def _choose(directions: list[Direction], entry: str, path: Path) -> Direction:
    known = {direction.name: direction for direction in directions}
    if not entry and len(directions) == 1:
        return directions[0]
    if entry not in known:
        raise MissingFileError(
            f"{path} holds {len(known)} directions and which one is meant is not clear: write "
            f"{path.name}:NAME with one of {', '.join(known)}."
        )
    return known[entry]


def _foreign(path: Path, entry: str) -> Direction:
    """InterFaceGAN's vectors and GANSpace's components."""
    if re.search(r"pggan|stylegan1|stylegan_(?!2|xl)", path.stem, re.IGNORECASE):
        raise CheckpointError(
            f"{path.name} is a boundary of StyleGAN1 or PGGAN by its name, whose latent space is "
            "another: use one that was made for your StyleGAN2 generator."
        )
    try:
        if path.suffix == ".npy":
            content = torch.from_numpy(np.load(path, allow_pickle=False))
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        OSError,
        ValueError,
        RuntimeError,
        EOFError,
        TypeError,
    ) as error:
        raise CheckpointError(
            f"{path} cannot be read as a direction: a vector [512] or [1, N, 512] is expected, as "
            "InterFaceGAN stores it, in a .pt, .npy or .safetensors file."
        ) from error
    if isinstance(content, dict) and {"comp", "mean", "std"} <= content.keys():
        return _component(path, entry, content)
    if not isinstance(content, Tensor) or not content.is_floating_point():
        raise CheckpointError(
            f"{path} holds {type(content).__name__} and not a direction: a vector [512] or "
            "[1, N, 512] of numbers is expected."
        )
    vectors = content.float().squeeze()
    if vectors.ndim == 1 and len(vectors) > 512 and len(vectors) % 512 == 0:
        vectors = vectors.view(-1, 512)  # InterFaceGAN's W+ boundaries are flattened
    try:
        return Direction(path.stem, vectors)
    except InputError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _component(path: Path, entry: str, content: dict[str, Tensor]) -> Direction:
    count = len(content["std"])
    if not entry.isdecimal() or int(entry) >= count:
        raise InputError(
            f"{path.name} holds {count} GANSpace components: say which one, from {path.name}:0 to "
            f"{path.name}:{count - 1}."
        )
    k = int(entry)
    component, mean = content["comp"][k].flatten().double(), content["mean"].flatten().double()
    return component_direction(f"{path.stem}:{k}", component, mean, float(content["std"][k]))
