"""The demonstration: an example and a photograph, the whole way and six edits each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..errors import MissingFileError
from ..images.examples import example
from ..images.io import Photo, read_photo, save_image
from ..images.sheet import contact_sheet, save_sheet

if TYPE_CHECKING:
    from ..commands.console import Console

EDITS = (
    "smile=+1",
    "open_mouth=+1.5",
    "age=+1,keep=glasses",
    "glasses=+1.5",
    "look_x=-2",
    "light_direction=+1.5",
)


def demo(out: Path, device: torch.device, seed: int, console: Console) -> None:
    """Run the demonstration into `out`: the two photos, a folder for each, sheet.png, report.json.

    Raises MissingFileError without scikit-image, which brings the photograph."""
    from ..directions.text import parse_edit
    from .batch import Batch, run_batch
    from .inputs import Inputs
    from .picture_files import picture_rows
    from .pipeline import RunSettings, load_models, preset
    from .results import make_folder, read_report

    photos = out / "photos"
    make_folder(photos)
    pictures = {}
    for name, photo in (("portrait", Photo(example("portrait"))), ("astronaut", astronaut())):
        pictures[name] = save_image(photo, photos / f"{name}.png")
    models = load_models("portraits", "portraits", device)
    refining, tuning = preset("auto", models.generator)
    batch = Batch(
        models,
        RunSettings(refine=refining, tune=tuning, seed=seed),
        [parse_edit(edit) for edit in EDITS],
        out,
        console.say,
        console.progress,
    )
    try:
        run_batch(batch, Inputs(pictures, {}))
    finally:
        console.close()
    rows, captions = [], []
    for name, path in pictures.items():
        report = read_report(out / name) or {}
        more, texts = picture_rows(out / name, read_photo(path), report, width=len(EDITS))
        rows += more
        captions += texts
    sheet = contact_sheet(rows, captions=captions, title="Portrait in, edited portrait out")
    console.say(f"{save_sheet(sheet, out)}: look at this first")


def astronaut() -> Photo:
    """The photograph of Eileen Collins that comes with scikit-image (NASA, public domain)."""
    try:
        from skimage import data
    except ImportError as error:
        raise MissingFileError(
            "The demonstration's photograph comes with scikit-image, which is not installed: "
            "install it by `pip install scikit-image`."
        ) from error
    pixels = torch.from_numpy(data.astronaut().copy())
    return Photo(pixels.movedim(-1, 0)[None].float() / 127.5 - 1)
