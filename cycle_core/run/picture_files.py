"""The files of one picture in its folder: written by `run`, read again for further edits.

crop.png  crop.frame.json                    the aligned face and its place in the photo
encode.png  refine.png  tune.png             code, pivot, and by the tuned generator, rendered
encode.safetensors  refine.safetensors       the code and the pivot
project.png  project.safetensors             in place of both where there was no encoder
tuned.safetensors                            what tuning changed
photo.png                                    the photo with the reconstruction pasted in
edit_NAME.png  edit_NAME.safetensors         an edited crop and its code
photo_NAME.png                               the photo with it
sheet.png  report.json
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..checkpoints.latents import load_code, save_code
from ..errors import InputError
from ..faces.frame import Frame, align
from ..faces.paste import paste
from ..files.disk import write_json
from ..files.json import read_json
from ..images.io import Photo, read_image, save_image
from ..images.resize import resize
from ..images.sheet import contact_sheet, save_sheet
from ..invert.generate import generate
from ..invert.tuned_files import load_tuned, save_tuned
from ..models.generator import Generator
from .pipeline import Edited, InvertedPhoto, Models

_FRAME = {"quad": [[float]], "size": int, "photo_size": [int], "source?": str}
STEPS = ("project", "encode", "refine", "tune")  # of which a picture has those of its report
PHOTO_WIDTH = 640  # of the photo on a sheet, pixels; nothing wider is shown
CLOSE = 1.8  # side of what a sheet shows of an edited photo, in sides of the crop


def write_inversion(folder: Path, inversion: InvertedPhoto, original: Generator) -> None:
    """Write everything that does not depend on an edit."""
    save_image(inversion.crop, folder / "crop.png")
    write_frame(inversion.frame, folder / "crop.frame.json")
    for step, image in inversion.images.items():
        save_image(image, folder / f"{step}.png")
    if "project" in inversion.images:
        save_code(inversion.pivot, folder / "project.safetensors")
    else:
        save_code(inversion.code, folder / "encode.safetensors")
        save_code(inversion.pivot, folder / "refine.safetensors")
    save_tuned(inversion.tuned, folder / "tuned.safetensors", original=original)
    save_image(paste(inversion.photo, inversion.tuned.image, inversion.frame), folder / "photo.png")


def read_inversion(
    folder: Path, photo: Photo, models: Models, steps: dict[str, dict[str, Any]]
) -> InvertedPhoto:
    """What `write_inversion` wrote, for the same photo and models. Raises InputError, MismatchError
    and CheckpointError where the files do not fit or are damaged."""
    G = models.generator
    place = read_frame(folder / "crop.frame.json")
    crop, frame = align(photo.image.to(G.device), place, G.resolution)
    codes = {
        step: load_code(folder / f"{step}.safetensors", G.device)
        for step in STEPS[:-1]
        if step in steps
    }
    tuned = load_tuned(folder / "tuned.safetensors", G)
    images = {step: generate(G, code) for step, code in codes.items()} | {"tune": tuned.image}
    pivots = list(codes.values())
    return InvertedPhoto(photo, crop, frame, pivots[0], pivots[-1], tuned, images, steps)


def write_edited(folder: Path, edited: Edited) -> dict[str, Any]:
    """Write one edit; gives its entry of the report."""
    name = edited.edit.name
    files = {"image": f"edit_{name}.png", "photo": f"photo_{name}.png"}
    save_image(edited.image, folder / files["image"])
    save_image(edited.photo, folder / files["photo"])
    save_code(edited.code, folder / f"edit_{name}.safetensors")
    return {**edited.report, **files}


def picture_rows(
    folder: Path, photo: Photo, report: dict[str, Any], width: int
) -> tuple[list[list[torch.Tensor | None]], list[list[str]]]:
    """The pictures in `folder` as rows of a sheet of `width` columns, and what to write below."""
    steps, frame = report["steps"], read_frame(folder / "crop.frame.json")
    shown: list[torch.Tensor | None] = [_small(photo.image), read_image(folder / "crop.png")]
    caption = ["photo", "aligned"]
    for step in STEPS:
        if step not in steps:
            continue
        shown.append(read_image(folder / f"{step}.png"))
        caption.append(f"{step}  LPIPS {steps[step]['lpips']:.3f}")
    shown.append(_face(photo.image, frame))  # what the edited photos below are to be compared with
    caption.append("original")
    rows, captions = [shown], [caption]
    for start in range(0, len(report["edits"]), width):
        part = report["edits"][start : start + width]
        rows.append([read_image(folder / edit["image"]) for edit in part])
        captions.append([edit["edit"] for edit in part])
        rows.append([_face(read_image(folder / edit["photo"]), frame) for edit in part])
        captions.append([""] * len(part))
    return rows, captions


def write_sheet(folder: Path, photo: Photo, report: dict[str, Any]) -> None:
    """Write sheet.png of one picture."""
    rows, captions = picture_rows(folder, photo, report, width=6)
    sheet = contact_sheet(rows, captions=captions, title=report["name"])
    save_sheet(sheet, folder)


def write_frame(frame: Frame, path: Path) -> None:
    """Write a Frame as JSON, atomically."""
    write_json(path, frame.to_json())


def read_frame(path: Path) -> Frame:
    """Read what `write_frame` wrote. Raises InputError for anything else."""
    try:
        values = read_json(path, _FRAME, max_bytes=1 << 20)
    except FileNotFoundError as error:
        raise InputError(
            f"There is no file {path}: give the .frame.json that `cycle-core align` wrote."
        ) from error
    except InputError as error:
        raise InputError(
            f"{path} does not hold the place of a crop: give the .frame.json that `cycle-core "
            "align` wrote beside the crop."
        ) from error
    return Frame.from_json(values)


def _face(image: torch.Tensor, frame: Frame) -> torch.Tensor:
    """The part of a photo around its face, a square where the photo has room for one."""
    half = CLOSE * frame.side / 2
    x, y = (sum(corner[i] for corner in frame.quad) / 4 for i in (0, 1))
    height, width = image.shape[-2:]
    left, right = _span(x, half, width)
    top, bottom = _span(y, half, height)
    return _small(image[..., top:bottom, left:right])


def _span(centre: float, half: float, size: int) -> tuple[int, int]:
    """From where to where, moved so that it lies in the photo, or all of it."""
    length = min(round(2 * half), size)
    first = min(max(round(centre - half), 0), size - length)
    return first, first + length


def _small(image: torch.Tensor) -> torch.Tensor:
    height, width = image.shape[-2:]
    scale = min(PHOTO_WIDTH / width, 1.0)
    return resize(image, (max(round(height * scale), 1), max(round(width * scale), 1)), "bicubic")
