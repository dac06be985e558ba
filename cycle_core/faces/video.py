"""Batches of photos and clips: align all of them, paste all crops back.

    crops, places = align_all(photos, size=256, choice="all")
    photos = paste_all(photos, edited, places, references=reconstructions)

In a video the faces are followed from frame to frame and their landmarks are smoothed over time:
crops that tremble give codes that tremble, and the pasted face would flicker. `show_places` draws
what was found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import InputError
from ..images.io import from_pil, to_pil
from ..runtime.devices import one_thread_if_small
from ..runtime.progress import Callback
from .choose import Choice, Marks, check_choice, check_points, choose, left_to_right
from .detect import detect
from .detectors import registry
from .frame import Face, Frame, align
from .paste import paste
from .settings import AlignSettings, PasteSettings
from .tracks import follow, named


@dataclass(frozen=True)
class Places:
    """Where the crops of a batch of photos were taken: crop i at frames[i] of photo photos[i].

    count: the number of photos. faces: what was found there, None for the centre of a photo.
    found: all faces of each photo, from left to right; empty where nobody looked.
    The crops are in the order of the photos."""

    frames: tuple[Frame, ...]
    photos: tuple[int, ...]
    count: int
    faces: tuple[Face | None, ...]
    found: tuple[tuple[Face, ...], ...] = ()

    def __str__(self) -> str:
        crops, photos = len(self.frames), self.count
        return (
            f"The places of {crops} crop{'s'[: crops != 1]} in {photos} photo{'s'[: photos != 1]}."
        )


def align_all(
    photos: Tensor,
    size: int,
    detector: str = "auto",
    choice: Choice = "largest",
    none: str = "error",
    smoothing: float = AlignSettings.smoothing,
    faces: Sequence[Sequence[Face]] | None = None,
    device: torch.device | str | None = None,
    callback: Callback | None = None,
    marks: Marks | Sequence[Marks] = (),
) -> tuple[Tensor, Places]:
    """Crop the faces of every photo as `align` does: (crops float32 [N,3,size,size], Places).

    photos: float [B,3,H,W] in [-1,1].
    detector, choice, none: see `detect` and `choose`, for every photo by itself.
    smoothing: 0 for photos that have nothing to do with each other. For a video the standard
        deviation, in video frames, of a Gaussian over the landmarks' paths: faces are followed,
        numbers count the people as they stand from left to right, large are those who take most
        room in the whole video, and a face that is missed in between is where the video frames
        before and after say. `none` is for those before its first and after its last appearance.
    faces: those of each photo, where they are known: no detector is needed then.
    marks: choose among the faces at these places alone, the same in every photo or those of each;
        in a video among the people who appear there first.
    device: where each photo is worked on, its own if None; the crops are where the photos are.
    callback(done, total, photo): after each photo; what it raises ends this.
    Every error names the photo. Raises NoFaceError, and InputError for other shapes."""
    _check_photos(photos)
    if smoothing < 0 or not math.isfinite(smoothing):
        raise InputError(f"Smoothing is 0 or a number of video frames, not {smoothing!r}.")
    if detector != "auto":
        registry.load(detector)  # an unknown one is no picture's fault
    if faces is not None and len(faces) != len(photos):
        raise InputError(
            f"Landmarks of {len(faces)} pictures were given for {len(photos)} pictures: find them "
            "in the same batch."
        )
    given = [marks] if isinstance(marks, Marks) else marks or [Marks()]
    if len(given) not in (1, len(photos)):
        raise InputError(
            f"Boxes or masks of {len(given)} pictures were given for {len(photos)} pictures: give "
            "those of one for all, or of each."
        )
    shape = photos.shape[-1], photos.shape[-2]
    check_choice(choice, *shape)
    for i, one in enumerate(given):
        with named(i, len(given)):
            one.check(*shape)
    each = [*given] * (len(photos) // len(given))
    found = []
    with one_thread_if_small():
        for i in range(len(photos)):
            photo = photos[i : i + 1]
            with named(i, len(photos)):
                if faces is not None:
                    check_points(faces[i], *shape)
                seen = detect(photo.to(device), detector) if faces is None else faces[i]
            found.append(left_to_right(seen))
            if callback is not None:
                callback(i + 1, len(photos), photo)
        if smoothing > 0 and len(photos) > 1:
            targets = follow(found, choice, none, smoothing, lambda i, x: each[i].among(x, *shape))
        else:
            targets = []
            for i, here in enumerate(found):
                with named(i, len(photos)):
                    targets.append(choose(here, choice, none, each[i].among(here, *shape)))
        crops, places = _crops(photos, targets, size, device)
    return crops, replace(places, found=tuple(map(tuple, found)))


def align_again(
    photos: Tensor,
    places: Places,
    size: int,
    device: torch.device | str | None = None,
    callback: Callback | None = None,
) -> tuple[Tensor, Places]:
    """The crops at the places of another batch, such as a depth map's or another take's: as
    `align_all`. Of one photo the places are taken in every photo.

    Raises InputError where the numbers do not fit, MismatchError for photos of another shape."""
    _check_photos(photos)
    if places.count not in (1, len(photos)):
        raise InputError(
            f"The frames are of {places.count} pictures, and {len(photos)} are given: give as "
            "many, or the frames of one."
        )
    targets: list[list[Face | Frame | str]] = [[] for _ in photos]
    for frame, source in zip(places.frames, places.photos, strict=True):
        for i in range(len(photos)) if places.count == 1 else (source,):
            with named(i, len(photos)):
                targets[i].append(frame.scaled((photos.shape[-1], photos.shape[-2])))
    with one_thread_if_small():
        return _crops(photos, targets, size, device, callback)


def _crops(
    photos: Tensor,
    targets: Sequence[Sequence[Face | Frame | str]],
    size: int,
    device: torch.device | str | None,
    callback: Callback | None = None,
) -> tuple[Tensor, Places]:
    crops, frames, sources, kept = [], [], [], []
    for i, wanted in enumerate(targets):
        photo = photos[i : i + 1].to(device)
        for target in wanted:
            with named(i, len(targets)):
                crop, frame = align(photo, target, size)
            crops.append(crop.to(photos.device))
            frames.append(frame)
            sources.append(i)
            kept.append(target if isinstance(target, Face) else None)
        if callback is not None:
            callback(i + 1, len(targets), photo)
    stacked = torch.cat(crops) if crops else photos.new_zeros(0, 3, size, size)
    return stacked, Places(tuple(frames), tuple(sources), len(photos), tuple(kept))


def paste_all(
    photos: Tensor,
    crops: Tensor,
    places: Places,
    references: Tensor | None = None,
    masks: Tensor | None = None,
    feather: float = PasteSettings.feather,
    detail: float = PasteSettings.detail,
    device: torch.device | str | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Every crop back into its photo, see `paste`: float32 [B,3,H,W], or [V*B,3,H,W].

    photos: [B,3,H,W], those that were aligned. crops: [N,3,S,S] in the order of `places`; or V
        times as many, version after version, such as one face with V edits: then every version has
        photos of its own.
    references: pictures of the unedited codes; masks: float [.,1,M,M] in 0..1 over the crops; each
        one for all, N or as many as crops. device: as in `align_all`.
    Every error names the photo. Raises InputError where numbers do not fit, MismatchError for other
    photos."""
    _check_photos(photos)
    count = len(places.frames)
    if len(photos) != places.count:
        raise InputError(
            f"{places.count} pictures were aligned, but {len(photos)} are to be pasted into: give "
            "the same batch."
        )
    if count == 0:
        return photos.clone()
    if len(crops) == 0 or len(crops) % count:
        raise InputError(
            f"{count} faces were aligned, but {len(crops)} edited crops were given: give one for "
            "each face, or a whole number of versions of all."
        )
    references = _for_each(references, len(crops), count, "references")
    masks = _for_each(masks, len(crops), count, "masks")
    versions = []
    for start in range(0, len(crops), count):
        pasted = [photo[None] for photo in photos]
        for k, (frame, i) in enumerate(zip(places.frames, places.photos, strict=True)):
            at = start + k
            reference = None if references is None else references[at : at + 1]
            mask = None if masks is None else masks[at : at + 1]
            crop, photo = crops[at : at + 1], pasted[i].to(device)
            with one_thread_if_small(), named(i, len(photos)):
                done = paste(photo, crop, frame, reference, mask, feather, detail)
            pasted[i] = done.to(photos.device)
            if callback is not None:
                callback(at + 1, len(crops), done)
        versions += pasted
    return torch.cat(versions)


@one_thread_if_small()
def cover(
    places: Places,
    photos: Tensor,
    feather: float = PasteSettings.feather,
    masks: Tensor | None = None,
    crops: int | None = None,
) -> Tensor:
    """What `paste_all` may change: float32 in 0..1, [B,1,H,W] or, for V times as many crops as
    faces, [V*B,1,H,W]."""
    count = len(places.frames)
    black = torch.full_like(photos, -1.0)
    white = photos.new_ones(count if crops is None else crops, 3, 8, 8)
    pasted = paste_all(black, white, places, None, masks, feather, detail=0.0)
    return (pasted[:, :1] + 1) / 2


# ------------------------------------------------------------------ what was found
# the colours of the faces that were cropped, and of the others
_COLOURS = ((77, 208, 225), (255, 183, 77), (174, 213, 129), (240, 98, 146), (186, 104, 200))
_OTHER = (150, 150, 150)


@one_thread_if_small()
def show_places(photos: Tensor, places: Places) -> Tensor:
    """The photos with all faces that were found, numbered from left to right and from 0; the
    outlines and points of those that were cropped are in colour."""
    from PIL import ImageDraw, ImageFont

    pictures = [to_pil(photo) for photo in photos]
    draws = [ImageDraw.Draw(picture) for picture in pictures]
    longest = max(pictures[0].size)
    line = max(round(longest / 300), 1)
    font = ImageFont.load_default(max(longest / 18, 14))
    colours = [0] * places.count
    for frame, i, face in zip(places.frames, places.photos, places.faces, strict=True):
        colour = _COLOURS[colours[i] % len(_COLOURS)]
        colours[i] += 1
        corners = list(frame.quad)
        draws[i].line([*corners, corners[0], corners[1]], fill=colour, width=line, joint="curve")
        points = [] if face is None else face.points if face.landmarks is None else face.landmarks
        for x, y in map(tuple, torch.as_tensor(points).tolist()):
            draws[i].ellipse((x - line, y - line, x + line, y + line), fill=colour)
    for draw, found in zip(draws, places.found, strict=False):
        for number, face in enumerate(found):
            x0, y0, x1, y1 = face.box
            draw.rectangle((x0, y0, x1, y1), outline=_OTHER, width=line)
            at = ((x0 + x1) / 2, y0 + line)
            draw.text(
                at, str(number), (255, 255, 255), font=font, anchor="ma",
                stroke_width=line, stroke_fill=(0, 0, 0),
            )  # fmt: skip
    return torch.cat([from_pil(picture).image for picture in pictures])


def _for_each(pictures: Tensor | None, crops: int, count: int, what: str) -> Tensor | None:
    """One for each crop, of one for all, one for each face or one for each crop."""
    if pictures is None or len(pictures) == crops:
        return pictures
    if len(pictures) == 1:
        return pictures.expand(crops, -1, -1, -1)
    if len(pictures) == count:
        return pictures.repeat(crops // count, 1, 1, 1)
    raise InputError(
        f"{len(pictures)} {what} were given for {crops} crops of {count} faces: give one for all, "
        "one for each face or one for each crop."
    )


def _check_photos(photos: Tensor) -> None:
    if photos.ndim != 4 or photos.shape[1] != 3 or 0 in photos.shape:
        raise InputError(
            f"Photos have the shape [batch, 3, height, width], but {list(photos.shape)} was given: "
            "give at least one."
        )
