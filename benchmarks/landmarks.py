"""Measures the embedded face detector on photographs against YuNet's points.

    python benchmarks/landmarks.py PHOTOS --card docs/embedded-models.md

PHOTOS is a folder of pictures; YuNet's file must be where `files/weights.py` looks for it. Every
face that YuNet is sure of counts, profiles excepted, first in its photo, then cut out, scaled and
turned before a picture without people. YuNet finds other points in a photo than in its mirror
image, or in the same photo turned a little: the mean over forty such looks is what counts as true,
and one look of its own is measured like the embedded detector. Errors are mean distances of the
five points in eye distances, overlaps (IoU) are those of the FFHQ crops that follow from the
points. Needs scikit-image.
--card writes the table between the two `landmarks` marks of a Markdown file.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import skimage.data
import torch
import torch.nn.functional as F
from torch import Tensor

from cycle_core.bench.report import put
from cycle_core.faces.detectors import embedded, registry
from cycle_core.faces.frame import Face, ffhq_quad
from cycle_core.faces.landmarks import MIRRORED, face_size
from cycle_core.images.io import list_images, read_image
from cycle_core.images.resize import resize

LONGEST = 1600  # longer photos are shrunk
BOX = 1.3  # height of a face's box, brow to chin, in units of `face_size`
SURE = 0.95  # YuNet's score from which a face counts
TURNED = 0.25  # nose beside the middle of the eyes, in eye distances: about three-quarter views
PROFILE = 0.8  # from here on the far eye is hidden
LOOKS = (1.0, 0.9, 0.8, 0.7)  # sizes of a photo at which YuNet looks at it ...
TURNS = (-10, -5, 0, 5, 10)  # ... turned by so many degrees
HEIGHTS, ANGLES, TURNED_HEIGHT = (32, 48, 80, 150, 300, 600), (-45, -30, -15, 15, 30, 45), 150
ENLARGED = 1.6  # faces are scaled up to so many times at most
FACELESS = ("brick", "chelsea", "clock", "coffee", "colorwheel", "grass", "gravel",
            "hubble_deep_field", "immunohistochemistry", "moon", "page", "retina", "rocket",
            "text")  # fmt: skip


@dataclass
class Row:
    """What was found of one kind of faces."""

    faces: int = 0
    errors: list[float] = field(default_factory=list)
    overlaps: list[float] = field(default_factory=list)

    def add(self, found: list[Face], true: Tensor) -> None:
        """Count a face with points [5,2], which `found` may hold."""
        self.faces += 1
        near = [face for face in found if _apart(face.points, true) < 0.5]
        if not near:
            return
        points = min(near, key=lambda face: _apart(face.points, true)).points
        eyes = float((true[1] - true[0]).norm())
        self.errors.append(float((points - true).norm(dim=1).mean()) / eyes)
        self.overlaps.append(overlap(points, true))

    def cells(self) -> list[str]:
        share = f"{len(self.errors)} of {self.faces}"
        if not self.errors:
            return [share, "", "", "", ""]
        pairs = [
            f"{take(values):.3f}"
            for values in (self.errors, self.overlaps)
            for take in (statistics.fmean, statistics.median)
        ]
        return [share, *pairs]


def overlap(points: Tensor, others: Tensor, side: int = 300) -> float:
    """Intersection over union of the FFHQ crops of two sets of points [5,2]."""
    quads = [ffhq_quad(p.float()) for p in (points, others)]
    low, high = torch.cat(quads).amin(0), torch.cat(quads).amax(0)
    steps = torch.linspace(0, 1, side)
    y, x = torch.meshgrid(*(low[k] + (high[k] - low[k]) * steps for k in (1, 0)), indexing="ij")
    inside = []
    for quad in quads:
        down, right = quad[1] - quad[0], quad[3] - quad[0]
        place = torch.stack([x, y], -1) - quad[0]
        u, v = (place @ right) / right.square().sum(), (place @ down) / down.square().sum()
        inside.append((u >= 0) & (u <= 1) & (v >= 0) & (v <= 1))
    return float((inside[0] & inside[1]).sum() / (inside[0] | inside[1]).sum())


def paste(photo: Tensor, points: Tensor, height: float, angle: float, back: Tensor):
    """The face of a photo, `height` pixels from brow to chin and turned by `angle` degrees, in the
    middle of another picture; and its points there."""
    turn, size = math.radians(angle), height / BOX
    factor = size / float(face_size(points))
    side = max(360, round(2.6 * size))
    axes = torch.tensor([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    centre, extent = points.mean(0), torch.tensor([photo.shape[-1], photo.shape[-2]])
    if factor < 1:  # antialiasing
        h, w = (max(1, round(n * factor)) for n in photo.shape[-2:])
        photo = resize(photo, (h, w), "bicubic")
    c = torch.arange(side) + 0.5 - side / 2
    y, x = torch.meshgrid(c, c, indexing="ij")
    offset = torch.stack([x, y], -1)
    grid = (((offset @ axes.T) / factor + centre) / extent * 2 - 1)[None]
    face = F.grid_sample(photo, grid, padding_mode="zeros", align_corners=False)
    within = (grid.abs() <= 1).all(-1) & (offset.abs() <= 1.7 * size).all(-1)
    picture = torch.where(within[:, None], face, resize(back, (side, side), "bicubic"))
    return picture, (points - centre) @ axes * factor + side / 2


def yunet(photo: Tensor) -> list[tuple[Face, tuple[Tensor, Tensor] | None]]:
    """YuNet's faces, and the means of their points over many looks at the photo and over as many at
    its mirror image: None where it is not sure, or sees the face only one way round."""
    faces = registry.load("yunet").find(photo, 0.6)
    looks: list[tuple[list[Tensor], list[Tensor]]] = [([], []) for _ in faces]
    height, width = photo.shape[-2:]
    for angle in TURNS:
        turned_photo, axes = turn(photo, angle)
        for factor in LOOKS:
            h, w = round(height * factor), round(width * factor)
            small = resize(turned_photo, (h, w), "bicubic")
            for mirror in (False, True):
                for seen in registry.load("yunet").find(small.flip(3) if mirror else small, 0.5):
                    points = seen.points
                    if mirror:
                        points = torch.stack([w - points[:, 0], points[:, 1]], 1)[list(MIRRORED)]
                    points = points * torch.tensor([width / w, height / h])
                    middle = torch.tensor([width / 2, height / 2])
                    points = (points - middle) @ axes + middle
                    for face, found in zip(faces, looks, strict=True):
                        if _apart(points, face.points) < 0.4:
                            found[mirror].append(points)
                            break
    return [
        (face, (torch.stack(found[0]).mean(0), torch.stack(found[1]).mean(0)))
        if face.score >= SURE and all(found)
        else (face, None)
        for face, found in zip(faces, looks, strict=True)
    ]


def turn(photo: Tensor, angle: float) -> tuple[Tensor, Tensor]:
    """A photo turned about its middle, and axes [2,2]: place @ axes, from the middle, is where a
    place of the turned photo was."""
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    axes = torch.tensor([[cos, sin], [-sin, cos]])
    if not angle:
        return photo, axes
    extent = torch.tensor([photo.shape[-1], photo.shape[-2]]) / 2
    c = [torch.arange(n) + 0.5 - n / 2 for n in photo.shape[-2:]]
    y, x = torch.meshgrid(*c, indexing="ij")
    grid = ((torch.stack([x, y], -1) @ axes) / extent)[None]
    return F.grid_sample(photo, grid, padding_mode="border", align_corners=False), axes


def faceless(name: str) -> Tensor:
    """A picture of scikit-image, [1,3,H,W] in [-1,1]."""
    pixels = torch.from_numpy(getattr(skimage.data, name)()).float()
    pixels = pixels if pixels.ndim == 3 else pixels[..., None].expand(-1, -1, 3)
    image = pixels[..., :3].permute(2, 0, 1)[None] / 127.5 - 1
    return _shrunk(image, 700)


def measure(photos: list[Path], threshold: float, quick: bool) -> tuple[dict[str, Row], dict]:
    """{kind of faces: Row}, and {name: number} of false faces and seconds."""
    backs = [faceless(name) for name in ("coffee", "rocket", "brick", "gravel", "grass")]
    rows = {
        "YuNet, one look": Row(),
        "YuNet, mirror image against photo": Row(),
        "whole photos": Row(),
        "of these, turned heads": Row(),
    }
    rows |= {f"{height} px": Row() for height in HEIGHTS}
    rows |= {f"turned {abs(angle)} degrees": Row() for angle in ANGLES}
    false, seconds, count = 0, [], 0
    for path in photos:
        photo = _shrunk(read_image(path), LONGEST)
        seen = yunet(photo)
        found = embedded.find(photo, threshold)
        false += sum(all(_apart(f.points, s.points) > 0.6 for s, _ in seen) for f in found)
        for face, ways in seen:
            true = None if ways is None else (ways[0] + ways[1]) / 2
            own = float(face_size(face.points)) * BOX
            if ways is None or true is None or own < HEIGHTS[0] or turned(true) > PROFILE:
                continue
            rows["YuNet, one look"].add([face], true)
            rows["YuNet, mirror image against photo"].add([replace(face, points=ways[1])], ways[0])
            rows["whole photos"].add(found, true)
            if turned(true) > TURNED:
                rows["of these, turned heads"].add(found, true)
            back = backs[count % len(backs)]
            count += 1
            for height in () if quick else HEIGHTS:
                if height <= ENLARGED * own:
                    picture, points = paste(photo, true, height, 0, back)
                    rows[f"{height} px"].add(embedded.find(picture, threshold), points)
            for angle in () if quick else ANGLES:
                picture, points = paste(photo, true, TURNED_HEIGHT, angle, back)
                row = rows[f"turned {abs(angle)} degrees"]
                row.add(embedded.find(picture, threshold), points)
        small = _shrunk(photo, 512)
        start = time.process_time()
        embedded.find(small, threshold)
        seconds.append(time.process_time() - start)
    empty = {name: len(embedded.find(faceless(name), threshold)) for name in FACELESS}
    numbers = {"photos": len(photos), "false faces in the photos": false}
    numbers |= {"false faces in the pictures without people": sum(empty.values())}
    numbers |= {
        "seconds a photo of at most 512 pixels, median, one thread": round(
            statistics.median(seconds), 3
        )
    }
    return rows, numbers


def turned(points: Tensor) -> float:
    """How far the nose is from the middle of the eyes across the face, in eye distances."""
    e2e = points[1] - points[0]
    return float(((points[2] - points[:2].mean(0)) @ e2e).abs() / e2e.square().sum())


def markdown(rows: dict[str, Row], numbers: dict) -> str:
    head = ("faces", "found", "error, mean", "median", "IoU, mean", "median")
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    seen = {name: row for name, row in rows.items() if row.faces}
    lines += ["| " + " | ".join([name, *row.cells()]) + " |" for name, row in seen.items()]
    return "\n".join([*lines, "", *(f"- {name}: {value}" for name, value in numbers.items())])


def _apart(points: Tensor, other: Tensor) -> float:
    """Distance of two faces in units of the size of the second."""
    return float((points.mean(0) - other.mean(0)).norm() / face_size(other))


def _shrunk(image: Tensor, longest: int) -> Tensor:
    height, width = image.shape[-2:]
    factor = longest / max(height, width)
    return (
        resize(image, (round(height * factor), round(width * factor)), "bicubic")
        if factor < 1
        else image
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the embedded face detector.")
    parser.add_argument("photos", help="folder")
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="whole photos only")
    parser.add_argument("--json", type=Path, help="write every error, for a closer look")
    parser.add_argument("--card", type=Path, help="Markdown file whose table is replaced")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows, numbers = measure(list_images(args.photos), args.threshold, args.quick)
    text = markdown(rows, numbers)
    print(text)
    if args.card:
        put(text, args.card, "landmarks")
    if args.json:
        report = {name: vars(row) for name, row in rows.items()}
        args.json.write_text(json.dumps({"rows": report, "numbers": numbers}, indent=1) + "\n")


if __name__ == "__main__":
    main()
