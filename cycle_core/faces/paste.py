"""Put an edited crop back into its photo, so that only what was edited changes.

A generator of 64 or 128 px cannot hold what a photo of the same face shows. So the photo keeps,
as far as the edit allows it, what is its own:

    photo' = photo + mask * (edited - photo + keep * moved(photo - reference))

with the crops brought to the photo's place and resolution. Where the edit changed nothing, the sum
is the photo itself. What it moved (`displacement`), the photo's detail follows; where it made
something new, old detail would show through: keep falls to 0 and the edited crop stands alone, but
for the large errors of the generator's colours, which are always made good."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch.nn import functional as F

from ..errors import InputError, MismatchError
from ..images.io import Photo, as_image
from ..images.resize import blur, pixels, resize
from ..models.flow import shift
from .frame import Frame, align, other_photo
from .settings import PasteSettings

Picture = TypeVar("Picture", Photo, torch.Tensor)

_LOOK = 256  # side at which the edit is compared; more would cost time and tell nothing
_CHANGE = 0.16  # new structure, in [-1,1] units, at which keep has fallen to 1/e


def paste(
    photo: Picture,
    crop: torch.Tensor,
    frame: Frame,
    reference: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
    feather: float = PasteSettings.feather,
    detail: float = PasteSettings.detail,
) -> Picture:
    """The photo with the edited crop at `frame`; a Photo gives a Photo (with its alpha channel), a
    tensor [1,3,H,W] a tensor. Nothing outside the mask changes by a single bit. For several faces
    paste one after the other.

    crop: float [1,3,S,S] in [-1,1], S may differ from frame.size.
    reference: float [1,3,S,S], the generator's picture of the unedited crop. With it only the
        change is applied, and the photo keeps what the generator could not render. Without it the
        aligned crop itself is the reference: the photo keeps its resolution alone.
    mask: float [1,1,M,M] in 0..1 over the crop, what to paste; default `face_mask`.
    feather: width of the mask's soft edge inwards, as a part of the crop's side; 0 for none.
    detail: 0..1, how much is kept of the photo; 0 pastes the crop as it is.
    Raises MismatchError for another photo than the frame's, InputError for wrong shapes."""
    image = as_image(photo)
    if frame.photo_size != (image.shape[-1], image.shape[-2]):
        raise MismatchError(other_photo(frame, (image.shape[-1], image.shape[-2])))
    crop = _square(crop, 3, "The edited crop").to(image)
    if not bool(torch.isfinite(crop).all()):
        raise InputError("The edited crop holds NaN or infinite values: generate it again.")
    size = crop.shape[-1]
    aligned = align(image, frame, size)[0] if detail > 0 else crop
    shown = aligned if reference is None else _square(reference, 3, "The reference").to(image)
    if shown.shape != crop.shape:
        raise InputError(
            f"The reference is {shown.shape[-1]} pixels wide and the crop {size}: both must be the "
            "generator's output at one size."
        )
    if mask is None:
        given = soft = face_mask(256, feather).to(image)
    else:
        given = _square(mask, 1, "The mask").to(image).clamp(0, 1)
        soft = _feathered(given, feather)

    left, top, right, bottom = _region(frame)
    here = image[..., top:bottom, left:right]
    grid = _inverse_grid(frame, here, left, top)
    weight = F.grid_sample(soft, grid, padding_mode="zeros", align_corners=False)
    # interpolation reaches half a pixel of the mask too far
    weight = weight * F.grid_sample((given > 0).float(), grid, mode="nearest", align_corners=False)
    edited = _warp(crop, grid, frame)
    change = edited - here
    if detail > 0:
        small = min(size, _LOOK)
        after, before, photo_s = (resize(part, small, "bicubic") for part in (crop, shown, aligned))
        flow = displacement(after, before)  # [1,2,small,small]
        keep = detail * _warp(_explained(after, moved(before, flow)), grid, frame).clamp(0, 1)
        # what the generator got wrong in the large, its colours, cannot show through: always kept
        wrong = detail * _warp(blur(photo_s - before, 0.06 * small), grid, frame)
        own = _own(here, shown, grid, flow, frame)
        change = change + wrong + keep * (own - wrong)
    pasted = torch.where(weight > 0, (here + weight * change).clamp(-1, 1), here)
    out = image.clone()
    out[..., top:bottom, left:right] = pasted
    if isinstance(photo, Photo):
        return Photo(out, photo.alpha, photo.path)
    return out


def face_mask(size: int, feather: float = PasteSettings.feather) -> torch.Tensor:
    """float32 [1,1,size,size] in 0..1: a smooth ellipse over face and hair of an FFHQ crop."""
    at = (torch.arange(size) + 0.5) / size
    x, y = (at[None, :] - 0.5) / 0.46, (at[:, None] - 0.5) / 0.49
    radius = (x.abs() ** 2.4 + y.abs() ** 2.4) ** (1 / 2.4)  # slightly squarer: hair at the temples
    inwards = (1 - radius) * 0.46  # distance from the rim, in sides of the crop
    return _smooth((inwards / max(feather, 1e-6)).clamp(0, 1))[None, None]


def _own(
    here: torch.Tensor, shown: torch.Tensor, grid: torch.Tensor, flow: torch.Tensor, frame: Frame
) -> torch.Tensor:
    """[1,3,h,w]: what the photo has and the generator's picture lacks, moved as the edit moves."""
    if float(flow.abs().max()) == 0:
        return here - _warp(shown, grid, frame)  # to the bit: nothing is looked up in between
    shift = 2 * _warp(flow, grid, frame).movedim(1, -1)  # in the crop's -1..1
    origin, below, _, beside = torch.tensor(frame.quad, dtype=torch.float64)
    axes = torch.stack([beside - origin, below - origin], dim=1) / 2  # -1..1 to photo pixels
    moves = shift @ axes.T.float().to(shift.device)
    size = moves.new_tensor([here.shape[-1], here.shape[-2]])
    places = (pixels(here.shape[-2:], here) + 0.5 + moves) / size * 2 - 1
    return _sample(here, places) - _warp(shown, grid + shift, frame)


def _explained(crop: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """[1,1,S,S]: 1 where the edited crop has the reference's structure, towards 0 where it is new.

    A change that is the same all around, such as another skin colour, is no new structure."""
    size = crop.shape[-1]
    change = crop - reference
    strength = [
        blur(part.square().mean(1, keepdim=True), max(0.012 * size, 0.6)).sqrt()
        # next to something strong and new, only the change itself says that nothing changed here
        for part in (change, structure(change))
    ]
    return torch.exp(-((torch.minimum(*strength) / _CHANGE) ** 2))


def _feathered(mask: torch.Tensor, feather: float) -> torch.Tensor:
    """The mask with a soft edge inside of its own, so that it covers nothing more."""
    sigma = feather * mask.shape[-1] / 2
    if feather <= 0 or float(mask.max()) <= 0:
        return mask
    soft = mask
    while sigma > 0.3:
        soft = (2 * blur(mask, sigma, "constant") - 1).clamp(0, 1)
        if float(soft.max()) > 0.8 * float(mask.max()):
            break
        sigma /= 1.5  # the mask is narrower than its feather would be
    return _smooth(torch.minimum(soft, mask))


def _warp(values: torch.Tensor, grid: torch.Tensor, frame: Frame) -> torch.Tensor:
    """[1,C,S,S] over the crop -> [1,C,h,w] at the photo's pixels."""
    side = max(round(frame.side), 1)
    if values.shape[-1] > side:
        values = resize(values, side, "bicubic")  # antialiased; the sampling below is not
    return _sample(values, grid)


def _sample(values: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    mode = "bilinear" if grid.device.type == "mps" else "bicubic"  # which MPS does not have
    return F.grid_sample(values, grid, mode=mode, padding_mode="border", align_corners=False)


def _region(frame: Frame) -> tuple[int, int, int, int]:
    """left, top, right, bottom of the photo's pixels that the crop touches."""
    (width, height), xs, ys = frame.photo_size, *zip(*frame.quad, strict=True)
    left, top = max(math.floor(min(xs)), 0), max(math.floor(min(ys)), 0)
    return left, top, min(math.ceil(max(xs)), width), min(math.ceil(max(ys)), height)


def _inverse_grid(frame: Frame, here: torch.Tensor, left: int, top: int) -> torch.Tensor:
    """[1,h,w,2] for `grid_sample`: the place in the crop, -1..1, of each pixel of the region."""
    origin, below, _, beside = torch.tensor(frame.quad, dtype=torch.float64)
    axes = torch.stack([beside - origin, below - origin], dim=1)  # columns: the crop's x, y
    to_crop = 2 * torch.linalg.inv(axes)
    offset = -(to_crop @ origin) - 1
    # the region's own pixels as coordinates: float32 stays exact far from the photo's corner
    offset = offset + to_crop @ torch.tensor([left + 0.5, top + 0.5], dtype=torch.float64)
    to_crop, offset = to_crop.float().to(here.device), offset.float().to(here.device)
    return (pixels(here.shape[-2:], here) @ to_crop.T + offset)[None]


def _square(value: torch.Tensor, channels: int, what: str) -> torch.Tensor:
    value = value.detach()
    if value.ndim == 3:
        value = value[None]
    if value.ndim != 4 or value.shape[:2] != (1, channels) or value.shape[2] != value.shape[3]:
        raise InputError(
            f"{what} has the shape [1, {channels}, S, S], but {list(value.shape)} was given."
        )
    return value.float()


def _smooth(t: torch.Tensor) -> torch.Tensor:
    return t * t * (3 - 2 * t)


# ------------------------------------------------------------------ what an edit moved
_LEVELS = (0.25, 0.5, 1.0)  # sizes, as parts of the picture's
_STEPS = 6  # Gauss-Newton steps at each
_WINDOW = 2.0  # sigma in pixels of the neighbourhood that moves together
_DAMPING = 2e-3  # keeps flat neighbourhoods in place; squared gradient, in [-1,1] units a pixel
_REACH = 0.12  # longest displacement believed, as a part of the picture's side
_NOISE = 1e-3  # squared difference, in [-1,1] units, that means nothing


def displacement(edited: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """[1,2,S,S], x and y as parts of the side: edited(p) looks like reference(p + displacement).

    edited, reference: float32 [1,3,S,S] in [-1,1]. Zero where nothing moved, and where moving
    explains the change no better than staying does: new glasses, another hair colour. By Lucas and
    Kanade's method (1981), from coarse to fine."""
    size = edited.shape[-1]
    edited, reference = structure(edited), structure(reference)
    flow = edited.new_zeros(1, 2, 1, 1)
    for part in _LEVELS:
        side = max(round(size * part), 8)
        target, source = _resized(edited, side), _resized(reference, side)
        flow = _resized(flow, side) if flow.shape[-1] > 1 else flow.expand(1, 2, side, side)
        for _ in range(_STEPS):
            step = shift(
                moved(source, flow), target, lambda x: blur(x, _WINDOW), _DAMPING, most=1.0
            )
            flow = blur((flow + step / side).clamp(-_REACH, _REACH), _WINDOW / 2)
    stays = blur((edited - reference).square().mean(1, keepdim=True), 0.02 * size)
    moves = blur((edited - moved(reference, flow)).square().mean(1, keepdim=True), 0.02 * size)
    gain = ((stays - 2.5 * moves) / (stays + _NOISE)).clamp(0, 1)
    return flow * blur((gain * 3).clamp(0, 1), 0.02 * size)


def moved(image: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """image [1,C,S,S] looked up at each pixel's place + flow [1,2,S,S]."""
    size = image.shape[-1]
    places = (pixels((size, size), image) * 2 + 1) / size - 1
    grid = places[None] + 2 * flow.movedim(1, -1)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


def structure(image: torch.Tensor) -> torch.Tensor:
    """The picture without what is the same all around, such as the colour of the skin."""
    return image - blur(image, 0.06 * image.shape[-1])


def _resized(image: torch.Tensor, side: int) -> torch.Tensor:
    return F.interpolate(image, (side, side), mode="bilinear", antialias=True, align_corners=False)
