"""Faces, and the crops of them as FFHQ was made (Karras et al. 2019, `recreate_aligned_images`).

The geometry is worked out in double precision on the CPU; pixels stay on the photo's device."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch.nn import functional as F

from ..errors import InputError, MismatchError
from ..images.io import Photo, as_image
from ..images.resize import blur, resize

Point = tuple[float, float]

CENTRE = "centre"  # the target that stands for "no face: the largest centred square"
# docs/method.md: five points give a slightly smaller and higher square than 68 do
_FIVE_POINT_SCALE, _FIVE_POINT_SHIFT = 1.0165, 2.8 / 512
_LARGEST = 8  # side of a crop, in sides of the photo: beyond it there is no face, only padding


@dataclass(frozen=True)
class Face:
    """One face in a photo; pixels of the photo, x right, y down, (0,0) = its top-left corner.

    box: x0, y0, x1, y1.
    score: the detector's confidence, 0..1 (not comparable between detectors).
    points: float32 [5,2]: eye, eye, nose, mouth corner, mouth corner; the picture's left first.
    landmarks: float32 [68,2] in the common 68-point order, None where the detector has none.
    detector: the name of the detector that found it, "mediapipe", or "manual" for points by hand.
    """

    box: tuple[float, float, float, float]
    score: float
    points: torch.Tensor
    landmarks: torch.Tensor | None = None
    detector: str = "manual"

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        x0, y0, x1, y1 = self.box
        return max(x1 - x0, 0.0) * max(y1 - y0, 0.0)


@dataclass(frozen=True)
class Frame:
    """The place of a crop in its photo: all that `paste` needs; JSON by `to_json` / `from_json`.

    quad: the crop's corners in photo pixels ((0,0) = the photo's top-left corner): top left,
        bottom left, bottom right, top right of the crop; a parallelogram.
    size: side of the crop in pixels.
    photo_size: (width, height) of the photo in pixels.
    source: what it was made from: a detector's name, "points" or "centre".
    """

    quad: tuple[Point, Point, Point, Point]
    size: int
    photo_size: tuple[int, int]
    source: str = "points"

    @property
    def side(self) -> float:
        """Length of the crop's side in photo pixels."""
        (x0, y0), (x1, y1) = self.quad[0], self.quad[3]
        return math.hypot(x1 - x0, y1 - y0)

    def scaled(self, photo_size: tuple[int, int]) -> Frame:
        """The same place in the same picture of another size. Raises MismatchError for a picture of
        another shape."""
        x, y = (new / old for new, old in zip(photo_size, self.photo_size, strict=True))
        width, height = self.photo_size
        if max(abs(x - y) * width, abs(x - y) * height) > 1:  # more than sizes are rounded by
            raise MismatchError(other_photo(self, photo_size))
        tl, bl, br, tr = ((u * x, v * x) for u, v in self.quad)
        return replace(self, quad=(tl, bl, br, tr), photo_size=photo_size)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> Frame:
        """Raises InputError for values that `to_json` did not write."""
        try:
            quad = tuple((float(x), float(y)) for x, y in values["quad"])
            width, height = values["photo_size"]
            tl, bl, br, tr = quad
            frame = Frame(
                (tl, bl, br, tr),
                int(values["size"]),
                (int(width), int(height)),
                str(values.get("source", "points")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"This is not a frame ({error}): a frame has quad (four corners), size and "
                "photo_size, as `align` wrote it."
            ) from error
        _check(frame)
        return frame


def align(
    photo: Photo | torch.Tensor, target: Face | torch.Tensor | Frame | str, size: int
) -> tuple[torch.Tensor, Frame]:
    """Crop a face as FFHQ was cropped: (crop float32 [1,3,size,size] in [-1,1], Frame).

    photo: Photo or float [1,3,H,W] in [-1,1]; the crop is on its device.
    target: a Face (its 68 landmarks where it has them), points float [5,2] or [68,2] in pixels, a
        Frame (the same place again, any size), or "centre" (the largest centred square).
    As in docs/method.md, with one difference: where the crop is smaller than its place in the
    photo, the last transform is supersampled, as it was for FFHQ itself, instead of skipping
    pixels.
    Raises InputError for points that span no face or lie outside the photo."""
    image = as_image(photo)
    frame = make_frame((image.shape[-1], image.shape[-2]), target, size)
    return _take(image, frame), frame


def make_frame(
    photo_size: tuple[int, int], target: Face | torch.Tensor | Frame | str, size: int
) -> Frame:
    """The Frame that `align` would use, without taking the crop; photo_size is (width, height)."""
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= 8192:
        raise InputError(f"A crop has a side of 1 to 8192 pixels, but {size!r} was given.")
    if isinstance(target, Frame):
        if target.photo_size != tuple(photo_size):
            raise MismatchError(other_photo(target, photo_size))
        frame = replace(target, size=size)
    elif isinstance(target, str):
        if target != CENTRE:
            raise InputError(f'A place is a face, points, a frame or "centre", not {target!r}.')
        frame = Frame(_centre_quad(photo_size), size, photo_size, CENTRE)
    else:
        points, source = target, "points"
        if not isinstance(target, torch.Tensor):
            points = target.points if target.landmarks is None else target.landmarks
            source = target.detector
        tl, bl, br, tr = ((x, y) for x, y in ffhq_quad(torch.as_tensor(points)).tolist())
        frame = Frame((tl, bl, br, tr), size, photo_size, source)
    _check(frame)
    return frame


def ffhq_quad(points: torch.Tensor) -> torch.Tensor:
    """points [5,2] or [68,2] in pixels -> corners float32 [4,2] of the FFHQ crop: top left, bottom
    left, bottom right, top right (docs/method.md).

    5 points: eye, eye, nose, mouth corner, mouth corner, the picture's left first; the nose does
    not count. 68 points: the common order. InputError for other shapes and for points that are
    not finite or coincide."""
    if points.ndim != 2 or points.shape[0] not in (5, 68) or points.shape[1] != 2:
        raise InputError(
            f"Points have the shape [5, 2] or [68, 2], but {list(points.shape)} was given: "
            "x and y of eye, eye, nose, mouth corner, mouth corner."
        )
    p = points.detach().cpu().double()
    if not bool(torch.isfinite(p).all()):
        raise InputError("A point is not a finite number: give x and y in pixels of the photo.")
    if p.shape[0] == 68:
        eyes = torch.stack([p[36:42].mean(0), p[42:48].mean(0)])
        mouth = p[[48, 54]]
    else:
        eyes, mouth = p[:2], p[3:]
    e2e = eyes[1] - eyes[0]
    e2m = mouth.mean(0) - eyes.mean(0)
    quarter = torch.tensor([-1.0, 1.0], dtype=p.dtype)  # v.flip(0) * quarter: v turned by 90
    x = e2e - e2m.flip(0) * quarter
    length = x.norm()
    if float(length) < 1e-3 or float(torch.maximum(e2e.norm(), e2m.norm())) < 1e-3:
        raise InputError(
            "The points of the face coincide: give eyes and mouth corners at their own places."
        )
    x = x / length * torch.maximum(2.0 * e2e.norm(), 1.8 * e2m.norm())
    y = x.flip(0) * quarter
    centre = eyes.mean(0) + 0.1 * e2m
    if p.shape[0] == 5:
        x, y = x * _FIVE_POINT_SCALE, y * _FIVE_POINT_SCALE
        centre = centre + 2 * y * _FIVE_POINT_SHIFT
    corners = torch.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])
    return corners.float()


def _check(frame: Frame) -> None:
    """InputError unless the frame is a parallelogram of a sane size that touches its photo."""
    quad = torch.tensor(frame.quad, dtype=torch.float64)
    edge = max(frame.side, 1e-9)
    skew = (quad[0] + quad[2] - quad[1] - quad[3]).abs().max()
    if not bool(torch.isfinite(quad).all()) or frame.side < 1 or float(skew) > 0.01 * edge:
        raise InputError(
            "The crop is no parallelogram of at least one pixel: its corners are "
            f"{[[round(v, 1) for v in corner] for corner in frame.quad]}; use a frame of `align`."
        )
    low, high = quad.amin(0).tolist(), quad.amax(0).tolist()
    width, height = frame.photo_size
    if frame.side > _LARGEST * max(width, height):
        raise InputError(
            f"The crop would be {frame.side:.0f} pixels wide, most of it beyond the edge of the "
            f"photo of {width}x{height}: give points of a face that the photo shows."
        )
    if high[0] <= 0 or high[1] <= 0 or low[0] >= width or low[1] >= height:
        raise InputError(
            f"The face lies outside the photo of {width}x{height} pixels (around x {low[0]:.0f} to "
            f"{high[0]:.0f}, y {low[1]:.0f} to {high[1]:.0f}): give points within it."
        )


def _centre_quad(photo_size: tuple[int, int]) -> tuple[Point, Point, Point, Point]:
    width, height = photo_size
    half = min(photo_size) / 2
    left, right = width / 2 - half, width / 2 + half
    top, bottom = height / 2 - half, height / 2 + half
    return (left, top), (left, bottom), (right, bottom), (right, top)


def other_photo(frame: Frame, photo_size: tuple[int, int]) -> str:
    return (
        f"The frame is of a photo of {frame.photo_size[0]}x{frame.photo_size[1]} pixels and this "
        f"one has {photo_size[0]}x{photo_size[1]}: give the photo that was aligned."
    )


def _take(image: torch.Tensor, frame: Frame) -> torch.Tensor:
    """The steps of the FFHQ crop after the quad: cut out, shrink, pad, transform."""
    quad = torch.tensor(frame.quad, dtype=torch.float64)
    side, size = frame.side, frame.size
    shrink = max(math.floor(side / size * 0.5), 1)
    image, quad = _cut(image, quad, border=shrink * max(round(side / shrink * 0.1), 3))
    if shrink > 1:  # after the cut, so that a large photo costs no more than its face
        small = (max(round(image.shape[-2] / shrink), 1), max(round(image.shape[-1] / shrink), 1))
        quad = quad * torch.tensor([small[1] / image.shape[-1], small[0] / image.shape[-2]])
        image, side = resize(image, small, "bicubic"), side / shrink
    if frame.source != CENTRE:  # a centred square never leaves the photo
        image, quad = _pad(image, quad, side)
    fine = max(math.ceil(side / size - 1e-6), 1)  # samples for one pixel of the crop, along a side
    crop = _warp(image, quad, size * fine)
    return F.avg_pool2d(crop, fine) if fine > 1 else crop


def _cut(image: torch.Tensor, quad: torch.Tensor, border: int) -> tuple[torch.Tensor, torch.Tensor]:
    height, width = image.shape[-2:]
    (x0, y0), (x1, y1) = quad.amin(0).floor().tolist(), quad.amax(0).ceil().tolist()
    left, top = max(int(x0) - border, 0), max(int(y0) - border, 0)
    right, bottom = min(int(x1) + border, width), min(int(y1) + border, height)
    return image[..., top:bottom, left:right], quad - torch.tensor([left, top])


def _pad(image: torch.Tensor, quad: torch.Tensor, side: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Beyond the photo's edge: its reflection, blurred, and faded to its median colour."""
    height, width = image.shape[-2:]
    border = max(round(side * 0.1), 3)
    (x0, y0), (x1, y1) = quad.amin(0).floor().tolist(), quad.amax(0).ceil().tolist()
    need = [-x0 + border, -y0 + border, x1 - width + border, y1 - height + border]
    if max(need) <= border - 4:
        return image, quad
    left, top, right, bottom = (max(int(edge), round(side * 0.3)) for edge in need)
    image = image[..., _reflected(height, top, bottom, image.device), :]
    image = image[..., _reflected(width, left, right, image.device)]
    rows = _outside(height + top + bottom, top, bottom, image)
    columns = _outside(width + left + right, left, right, image)
    outside = torch.maximum(rows[:, None], columns[None, :])  # [H,W], 1 at the edge, < 0 inside
    blurred = blur(image, side * 0.02, reach=4.0)
    image = image + (blurred - image) * (outside * 3 + 1).clamp(0, 1)
    median = image.flatten(2).median(dim=2).values[..., None, None]  # [1,3,1,1]
    image = image + (median - image) * outside.clamp(0, 1)
    return image, quad + torch.tensor([left, top])


def _reflected(length: int, before: int, after: int, device: torch.device) -> torch.Tensor:
    """Indices that extend an axis by mirror images without repeating the edge, as often as needed
    (torch's own reflection ends after one)."""
    period = max(2 * (length - 1), 1)
    at = torch.arange(-before, length + after, device=device).remainder(period)
    return torch.minimum(at, period - at) if length > 1 else at * 0


def _outside(length: int, before: int, after: int, like: torch.Tensor) -> torch.Tensor:
    """[length]: 1 at both ends of an axis, 0 where the photo begins, negative inside."""
    at = torch.arange(length, device=like.device, dtype=like.dtype)
    return 1 - torch.minimum(at / max(before, 1), (length - 1 - at) / max(after, 1))


def _warp(image: torch.Tensor, quad: torch.Tensor, size: int) -> torch.Tensor:
    """[1,3,size,size]: the parallelogram of the image with these corners."""
    from kornia.geometry.transform import warp_affine  # here: it takes a second to import

    origin, below, _, beside = quad
    axes = torch.stack([beside - origin, below - origin], dim=1) / size  # one pixel of the crop
    place = torch.eye(3, dtype=quad.dtype)  # from the crop's pixel centres to the image's
    place[:2, :2], place[:2, 2] = axes, origin + axes.sum(1) / 2 - 0.5
    matrix = torch.linalg.inv(place)[None, :2].to(image)
    return warp_affine(image, matrix, (size, size), padding_mode="border", align_corners=True)
