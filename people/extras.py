"""What the domain does not have: hats, scarves, sunglasses, earrings, paint, patterns."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, fields

import numpy as np

from .glasses import tube, tube_index
from .mesh import Head
from .strands import unit

_RING, _RISE = 40, 9


@dataclass(frozen=True)
class Extras:
    """0 is absent, up to 1; ``hue`` 0 to 1 colours hat, scarf, paint and light."""

    hat: float = 0.0  # up to .5 a cap, above a hat with a brim all round
    scarf: float = 0.0
    sunglasses: float = 0.0
    earrings: float = 0.0
    face_paint: float = 0.0
    coloured_light: float = 0.0
    pattern: float = 0.0  # of the background
    hue: float = 0.0

    def colour(self, shift: float = 0.0, saturation: float = 0.7, value: float = 0.6) -> np.ndarray:
        return np.array(colorsys.hsv_to_rgb((self.hue + shift) % 1, saturation, value)) ** 2.2


NONE = Extras()


def sample_extras(rng: np.random.Generator, share: float = 0.15) -> Extras:
    """Each thing with probability ``share``, its amount uniform; a scarf allows no hat."""
    values = {
        f.name: float(rng.uniform(0.2, 1)) if rng.random() < share else 0.0 for f in fields(Extras)
    }
    values["hue"] = float(rng.random())
    if values["scarf"] > 0:
        values["hat"] = 0.0
    return Extras(**values)


class Wear:
    """Geometry on the unturned head: a hat and two earrings."""

    def __init__(self, head: Head) -> None:
        rest = head.rest[: head.solid]
        ears = head.vertex_masks["ears"] > 0.5
        self._lobes = []
        for s in (-1, 1):
            rows = np.flatnonzero(ears & (rest[:, 0] * s > 0))
            self._lobes.append(int(rows[np.argmin(rest[rows, 1])]))
        i, j = np.meshgrid(np.arange(_RISE + 2), np.arange(_RING), indexing="ij")
        a = i * _RING + j
        b, c, d = i * _RING + (j + 1) % _RING, a + _RING, (i + 1) * _RING + (j + 1) % _RING
        self.hat_index = np.stack([a, b, d, a, d, c], -1).reshape(-1, 3).astype(np.int32)
        ring = tube_index(16, True)
        self.ring_index = np.concatenate([ring, ring + ring.max() + 1]).astype(np.int32)

    def hat(self, extras: Extras, centre: np.ndarray, radii: np.ndarray) -> tuple[np.ndarray, ...]:
        """Vertices and normals [V,3] of the hat, and the plane [4] above which hair is hidden."""
        angle = np.linspace(0, 2 * np.pi, _RING, endpoint=False)
        front = np.cos(angle)  # 1 at the forehead
        edge = 0.36 + 0.10 * front  # height of the edge, of the skull's
        shell = radii + np.array([0.085, 0.11, 0.085])
        rows = []
        brim = 0.34 if extras.hat > 0.5 else 0.42
        reach = np.ones(_RING) if extras.hat > 0.5 else np.clip(front * 1.6 - 0.45, 0, 1)
        flat = np.stack([np.sin(angle), 0 * angle, np.cos(angle)], 1)
        for k in range(_RISE + 2):
            rise = np.clip((k - 2) / (_RISE - 1), 0, 1)
            up = edge + (1 - edge) * np.sin(rise * np.pi / 2)
            across = np.sqrt(np.clip(1 - (up * 0.98) ** 2, 0.0, 1))
            u = flat * across[:, None] + np.stack([0 * up, up, 0 * up], 1)
            row = centre + u * shell
            if k < 2:
                row = row + flat * (brim * reach * (1 - 0.5 * k))[:, None]
                row[:, 1] -= 0.06 * reach * (1 - 0.5 * k)
            rows.append(row)
        rows.append(np.tile(rows[-1].mean(0), (_RING, 1)))
        points = np.concatenate(rows)
        plane = np.append(unit(np.array([0.0, 1.0, 0.13])), 0.0)
        plane[3] = -plane[:3] @ (centre + np.array([0, edge.mean() * shell[1], 0]))
        return points, vertex_normals(points, self.hat_index), plane

    def earrings(self, extras: Extras, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        radius = 0.035 + 0.07 * extras.earrings
        angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        parts = []
        for lobe in self._lobes:
            middle = v[lobe] + [0, 0.03 - radius, 0.0]
            path = middle + radius * np.stack(
                [0.25 * np.sin(angle), np.cos(angle), np.sin(angle)], 1
            )
            parts.append(tube(path, 0.012, True, 1.0))
        points, normals = zip(*parts, strict=True)
        return np.concatenate(points), np.concatenate(normals)


def vertex_normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (points[triangles[:, k]] for k in range(3))
    face = np.cross(b - a, c - a)
    out = np.zeros_like(points)
    for k in range(3):
        np.add.at(out, triangles[:, k], face)
    return unit(out)
