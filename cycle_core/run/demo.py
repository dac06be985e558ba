"""The demonstration: a scene that we render and a photograph, the whole way and six edits each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from ..errors import MissingFileError
from ..images.io import Photo, read_photo, save_image
from ..images.resize import blur
from ..images.sheet import contact_sheet

if TYPE_CHECKING:
    from ..commands.console import Console

EDITS = (
    "smile=+2",
    "smile=-2",
    "age=+1.5,keep=glasses",
    "yaw=+1",
    "glasses=+2",
    "hair_color=+2",
)
SIZE, PORTRAIT = (600, 400), 256  # of the scene (width, height) and of the portrait rendered for it
TILT, SCALE, CENTRE = (
    -0.10,
    1.62,
    (240.0, 216.0),
)  # the portrait in the scene: radians, scene pixels


def demo(out: Path, device: torch.device, seed: int, console: Console) -> None:
    """Run the demonstration into `out`: the two photos, a folder for each, sheet.png, report.json.

    Raises MissingFileError without scikit-image, which brings the photographs."""
    from ..directions.text import parse_edit
    from .batch import Batch, run_batch
    from .inputs import Inputs
    from .picture_files import picture_rows
    from .pipeline import RunSettings, load_models, preset
    from .results import make_folder, read_report

    photos = out / "photos"
    make_folder(photos)
    pictures = {}
    for name, make in (("portrait", rendered_scene), ("astronaut", astronaut)):
        pictures[name] = save_image(make(), photos / f"{name}.png")
    refining, tuning = preset("auto")
    batch = Batch(
        load_models("portraits", "portraits", device),
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
    save_image(sheet, out / "sheet.png")
    console.say(f"{out / 'sheet.png'}: look at this first")


def astronaut() -> Photo:
    """The photograph of Eileen Collins that comes with scikit-image (NASA, public domain)."""
    return _photograph("astronaut")


def rendered_scene() -> Photo:
    """A portrait of the embedded domain, tilted and off centre, in a room out of focus."""
    from ..portraits.examples import cut_out, stand_in, with_grain
    from ..portraits.factors import defaults, replace

    looks = {"skin_tone": 0.3, "hair_color": 0.15, "hair_len": 0.75, "eye_color": 0.9}
    pose = {"smile": 0.1, "yaw": 0.25, "light_az": 0.5, "cloth_hue": 0.62, "bg_hue": 0.1}
    person = cut_out(replace(defaults(), **looks, **pose), PORTRAIT)
    room = blur(F.interpolate(_photograph("coffee").image, SIZE[::-1]), 14)
    return Photo(with_grain(stand_in(room, person, CENTRE, SCALE, TILT)))


def _photograph(name: str) -> Photo:
    try:
        from skimage import data
    except ImportError as error:
        raise MissingFileError(
            "The demonstration's photographs come with scikit-image, which is not installed: "
            "install it by `pip install scikit-image`."
        ) from error
    pixels = torch.from_numpy(getattr(data, name)().copy())
    return Photo(pixels.movedim(-1, 0)[None].float() / 127.5 - 1)
