"""The demonstration: a scene that we render and a photograph, the whole way and six edits each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import MissingFileError
from .images import Photo, contact_sheet, read_photo, save_image

if TYPE_CHECKING:
    from .commands.console import Console

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
    from .batch import Batch, run_batch
    from .edits import parse_edit
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
        run_batch(batch, pictures)
    finally:
        console.close()
    rows, captions = [], []
    for name, path in pictures.items():
        report = read_report(out / name) or {}
        more, told = picture_rows(out / name, read_photo(path), report, width=len(EDITS))
        rows += more
        captions += told
    sheet = contact_sheet(rows, captions=captions, title="Portrait in, edited portrait out")
    save_image(sheet, out / "sheet.png")
    console.say(f"{out / 'sheet.png'}: look at this first")


def astronaut() -> Photo:
    """The photograph of Eileen Collins that comes with scikit-image (NASA, public domain)."""
    return _photograph("astronaut")


def rendered_scene() -> Photo:
    """A portrait of the embedded domain, tilted and off centre, in a room out of focus."""
    from .portraits.factors import defaults, replace
    from .portraits.renderer import render

    looks = {"skin_tone": 0.3, "hair_color": 0.15, "hair_len": 0.75, "eye_color": 0.9}
    person = replace(defaults(), **looks, smile=0.1, yaw=0.25, light_az=0.5, cloth_hue=0.62)
    picture = render(replace(person, bg_hue=0.1), PORTRAIT, aligned=False).image
    # what changes with the background is background: where it is dark and where it is light
    screens = [
        render(replace(person, bg_light=light), PORTRAIT, supersample=1, aligned=False).image
        for light in (0.0, 1.0)
    ]
    change = (screens[1] - screens[0]).abs().mean(1, keepdim=True)
    matte = 1 - ((change / change.amax() - 0.25) / 0.5).clamp(0, 1)
    width, height = SIZE
    room = _blur(F.interpolate(_photograph("coffee").image, (height, width)), 14)
    layers = _placed(torch.cat([picture, matte * 2 - 1], dim=1))
    matte = _blur((layers[:, 3:] + 1) / 2, 1.0)
    scene = room * (1 - matte) + layers[:, :3] * matte
    grain = torch.randn(1, 1, height, width, generator=torch.Generator().manual_seed(0))
    return Photo((scene + 0.02 * grain).clamp(-1, 1))


def _placed(layers: Tensor) -> Tensor:
    """The square layers [1,C,P,P] turned, enlarged and moved into the scene: [1,C,H,W], below the
    picture its last row goes on, elsewhere -1."""
    width, height = SIZE
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    x, y = x - CENTRE[0], y - CENTRE[1]
    cos, sin = torch.cos(torch.tensor(TILT)), torch.sin(torch.tensor(TILT))
    half = PORTRAIT * SCALE / 2
    at = torch.stack([(cos * x + sin * y) / half, (cos * y - sin * x) / half], -1)
    inside = (at[..., 0].abs() < 1) & (at[..., 1] > -1)
    placed = F.grid_sample(layers, at[None], padding_mode="border", align_corners=False)
    return torch.where(inside, placed, torch.full_like(placed, -1))


def _blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian, with the edges repeated."""
    radius = round(3 * sigma) + 1
    steps = torch.arange(-radius, radius + 1)
    taps = torch.exp(-0.5 * (steps / sigma) ** 2)
    taps = (taps / taps.sum()).expand(image.shape[1], 1, 1, -1)
    image = F.pad(image, (radius, radius, radius, radius), mode="replicate")
    image = F.conv2d(image, taps, groups=image.shape[1])
    return F.conv2d(image, taps.mT, groups=image.shape[1])


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
