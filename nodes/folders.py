"""The host's folders: models, embedded or of the user, and files that are saved."""

# pyright: reportMissingImports=false
# (ComfyUI is the host, not a dependency)
from __future__ import annotations

import contextlib
import difflib
import json
import logging
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from ..cycle_core.errors import InputError, MissingFileError
from ..cycle_core.files.assets import ASSETS

PYTORCH = {".pt", ".pth", ".safetensors"}
CODES = {".npy", ".npz", *PYTORCH}  # endings of files of codes
# kind -> the folder under models/ and the endings of its files
FOLDERS = {
    "generator": ("stylegan", {".pkl", *PYTORCH}),
    "encoder": ("gan_encoders", PYTORCH),
    "direction": ("gan_directions", CODES),
}


def register_folders() -> None:
    """Add our model folders to the host's, keeping what is there."""
    for name, endings in FOLDERS.values():
        paths, others = folder_paths.folder_names_and_paths.get(name, ([], set()))
        own = os.path.join(folder_paths.models_dir, name)
        paths = list(paths) if own in paths else [*paths, own]
        folder_paths.folder_names_and_paths[name] = (paths, set(others) | endings)
        with contextlib.suppress(OSError):  # a folder that is there says where files belong
            os.makedirs(own, exist_ok=True)


def tell_of_spaces() -> None:
    """The host serves no web files of a folder whose name has a space (ComfyUI 0.3 to 0.33)."""
    folder = Path(__file__).parents[1].name
    if " " in folder:
        logging.warning(
            f"Cycle Encoding: ComfyUI shows no sliders and help pages of a folder with a space in "
            f"its name. Rename custom_nodes/{folder} to {folder.replace(' ', '-')} and restart."
        )


def choices(kind: str) -> list[str]:
    """The embedded models first, then the files of the user."""
    return [*embedded(kind), *folder_paths.get_filename_list(FOLDERS[kind][0])]


@lru_cache(maxsize=8)
def embedded(kind: str) -> tuple[str, ...]:
    if kind == "direction":
        return tuple(entry["name"] for entry in embedded_directions())
    ending = f"_{kind}.safetensors"
    return tuple(sorted(path.name.removesuffix(ending) for path in ASSETS.glob(f"*{ending}")))


@lru_cache(maxsize=1)
def embedded_directions() -> list[dict[str, Any]]:
    """What is written about them, from the header of the file: a list must not cost an import."""
    path = ASSETS / "directions.safetensors"
    if not path.is_file():
        return []
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return json.loads(header["__metadata__"]["config"])["directions"]


def locate(kind: str, name: str) -> str:
    """The name of an embedded model, or the path of a file.

    Raises MissingFileError that says where it belongs."""
    if name in embedded(kind):
        return name
    folder, endings = FOLDERS[kind]
    path = folder_paths.get_full_path(folder, name)
    if path is None:
        near = difflib.get_close_matches(name, [*embedded(kind), *choices(kind)], n=1, cutoff=0.7)
        meant = f" (did you mean {near[0]}?)" if near else ""
        raise MissingFileError(
            f"There is no {kind} {name}{meant}: put the file ({', '.join(sorted(endings))}) into "
            f"{folder_paths.get_folder_paths(folder)[-1]}, press R to refresh the list, and choose "
            "it again."
        )
    return path


def know_folders() -> None:
    """Let the library find the networks of detectors and losses in the host's model folders."""
    from ..cycle_core.files import weights

    for folder, _ in FOLDERS.values():
        for path in folder_paths.get_folder_paths(folder):
            weights.add_folder("", path)


def saved_files(kind: str, endings: set[str]) -> list[str]:
    """Files that `new_file` named in the output folder, and those with one of the endings in the
    input folder, as the host annotates them."""
    found = []
    for place, folder, wanted in (
        ("output", folder_paths.get_output_directory(), (f".{kind}.safetensors",)),
        ("input", folder_paths.get_input_directory(), tuple(endings)),
    ):
        for root, _, names in os.walk(folder):
            inside = Path(root).relative_to(folder)
            chosen = sorted(name for name in names if name.lower().endswith(wanted))
            found += [f"{(inside / name).as_posix()} [{place}]" for name in chosen]
    return found


def saved_file(name: str) -> str:
    """The path of one of `saved_files`. Raises MissingFileError."""
    with contextlib.suppress(ValueError):  # a name that leaves the folder, or of no place
        path = folder_paths.get_annotated_filepath(name)
        if os.path.isfile(path):
            return path
    raise MissingFileError(
        f"There is no file {name}: save one first, or put it into ComfyUI's input folder, press R "
        "to refresh the list, and choose it again."
    )


def new_file(prefix: str, kind: str) -> tuple[Path, dict[str, str]]:
    """A new file in the output folder, and where it is for the front end."""
    try:
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
            prefix, folder_paths.get_output_directory()
        )
    except Exception as error:  # the host's own, plain one, in several lines
        raise InputError(
            f"Nothing can be written at {prefix!r}: give a name inside the output folder, such as "
            f"cycle/{kind}."
        ) from error
    file = f"{name}_{counter:05}_.{kind}.safetensors"
    return Path(folder) / file, {"filename": file, "subfolder": subfolder, "type": "output"}


def workflow(node: type[io.ComfyNode]) -> dict[str, str]:
    """The prompt and the workflow as metadata of a file, unless the user wants none."""
    from comfy.cli_args import args

    if args.disable_metadata or node.hidden is None:
        return {}
    metadata = {"prompt": node.hidden.prompt, **(node.hidden.extra_pnginfo or {})}
    return {name: json.dumps(value) for name, value in metadata.items() if value is not None}
