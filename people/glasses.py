"""Glasses: two rims, a bridge and two temples as tubes that sit on the morphed head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .mesh import Head
from .person import Person
from .strands import unit

_RIM, _BRIDGE, _TEMPLE, _SIDES = 44, 9, 12, 8


@dataclass(frozen=True)
class Frame:
    """Vertices [V,3] and normals [V,3] of the tubes and of the lenses."""

    tubes: np.ndarray
    tube_normals: np.ndarray
    lenses: np.ndarray
    lens_normals: np.ndarray


class Glasses:
    def __init__(self, head: Head) -> None:
        rest = head.rest[: head.solid]
        self._bridge = _nearest(rest, [0, 7.28, 1.51])
        self._ears = [_nearest(rest, [s * 0.74, 7.33, 0.52]) for s in (-1, 1)]
        self._eyes = [np.unique(head.loose_faces[k]) for k in ("eye_right", "eye_left")]
        lengths = [(_RIM, True), (_RIM, True), (_BRIDGE, False), (_TEMPLE, False), (_TEMPLE, False)]
        index, start = [], 0
        for count, closed in lengths:
            index.append(tube_index(count, closed) + start)
            start += count * _SIDES
        self.tube_index = np.concatenate(index).astype(np.int32)
        fan = np.stack([np.zeros(_RIM), 1 + np.arange(_RIM), 1 + (np.arange(_RIM) + 1) % _RIM], 1)
        self.lens_index = np.concatenate([fan, fan + _RIM + 1]).astype(np.int32)

    def build(self, v: np.ndarray, person: Person) -> Frame:
        """The frame on unturned vertices [R,3]."""
        size, square = person.values["glasses"], person.values["glasses_shape"]
        radius = 0.026 * np.clip(size * 2.5, 0, 1) * (0.30 + 0.70 * size)
        bridge = v[self._bridge] + [0, 0.0, 0.05 + radius]
        paths, lens, lens_normals = [], [], []
        power = 2.0 + 1.6 * (square + 1) / 2
        a = np.linspace(0, 2 * np.pi, _RIM, endpoint=False)
        outline_x = np.sign(np.cos(a)) * np.abs(np.cos(a)) ** (2 / power)
        outline_y = np.sign(np.sin(a)) * np.abs(np.sin(a)) ** (2 / power)
        inner, outer = [], []
        for s, rows in zip((-1, 1), self._eyes, strict=True):
            eye = v[rows].mean(0)
            gap = max(abs(eye[0]) - 0.075, 0.15)  # from the lens's middle to the bridge
            middle = np.array([eye[0] + s * 0.025, eye[1] - 0.06])
            w = gap + 0.02 + 0.010 * square
            h = 0.225 - 0.03 * square
            x, y = middle[0] + w * outline_x, middle[1] + h * outline_y
            z = bridge[2] - 0.20 * (x / 0.6) ** 2 - 0.10 * (y - middle[1]) - 0.02
            rim = np.stack([x, y, z], 1)
            paths.append(rim)
            normal = unit(np.array([[s * 0.12, 0.02, 1.0]])).repeat(_RIM + 1, 0)
            bulge = np.array([[middle[0], middle[1], z.mean() + 0.02]])
            lens.append(np.concatenate([bulge, rim]))
            tilt = np.concatenate([[[0, 0, 0]], 0.12 * np.stack([outline_x, outline_y, 0 * a], 1)])
            lens_normals.append(unit(normal + tilt))
            inner.append(np.add(middle, [-s * w, 0.05]))
            outer.append(np.array([middle[0] + s * w, middle[1] + 0.09]))
        t = np.linspace(-1, 1, _BRIDGE)
        x0, x1 = inner[0][0], inner[1][0]
        y0 = (inner[0][1] + inner[1][1]) / 2
        bx = (x0 + x1) / 2 + (x1 - x0) / 2 * t
        paths.append(np.stack([bx, y0 + 0.035 * (1 - t**2), 0 * t + bridge[2] - 0.02], 1))
        for k, s in enumerate((-1, 1)):
            ear = v[self._ears[k]] + [s * 0.045, 0.05, 0.0]
            hinge = np.array([*outer[k], bridge[2] - 0.20 * (outer[k][0] / 0.6) ** 2 - 0.03])
            corner = np.add(hinge, [s * 0.05, 0.0, -0.06])
            end = np.add(ear, [0.0, -0.12, -0.18])
            points = np.stack(
                [hinge, corner, corner * 0.35 + ear * 0.65 + [s * 0.02, 0, 0], ear, end]
            )
            paths.append(_smooth_path(points, _TEMPLE))
        radii = [radius, radius, radius * 0.9, radius * 0.85, radius * 0.85]
        flat = [0.8, 0.8, 0.8, 1.2, 1.2]
        tubes, normals = zip(
            *(
                tube(p, r, k < 2, f)
                for k, (p, r, f) in enumerate(zip(paths, radii, flat, strict=True))
            ),
            strict=True,
        )
        return Frame(
            np.concatenate(tubes), np.concatenate(normals), np.concatenate(lens),
            np.concatenate(lens_normals),
        )  # fmt: skip


def _nearest(rest: np.ndarray, point: list[float]) -> int:
    return int(np.argmin(np.linalg.norm(rest - point, axis=1)))


def _smooth_path(points: np.ndarray, count: int) -> np.ndarray:
    t = np.linspace(0, len(points) - 1, count)
    return np.stack([np.interp(t, np.arange(len(points)), points[:, c]) for c in range(3)], 1)


def tube(path: np.ndarray, radius: float, closed: bool, flat: float):
    """Vertices and normals [N*SIDES,3] of a tube; ``flat`` stretches it upwards."""
    ring = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    along = unit(ring if closed else np.gradient(path, axis=0))
    forward = np.tile([0.0, 0.0, 1.0], (len(path), 1)) + np.array([0, 1e-3, 0])
    across = unit(np.cross(along, forward + 0.3 * np.roll(along, 1, axis=1)))
    if not closed:
        across = unit(np.cross(along, np.tile([0.0, 1.0, 0.1], (len(path), 1))))
    second = np.cross(along, across)
    a = np.linspace(0, 2 * np.pi, _SIDES, endpoint=False)
    n = np.cos(a)[None, :, None] * across[:, None] + np.sin(a)[None, :, None] * second[:, None]
    scaled = (
        np.cos(a)[None, :, None] * across[:, None]
        + flat * np.sin(a)[None, :, None] * second[:, None]
    )
    return (path[:, None] + radius * scaled).reshape(-1, 3), n.reshape(-1, 3)


def tube_index(count: int, closed: bool) -> np.ndarray:
    last = count if closed else count - 1
    i, j = np.meshgrid(np.arange(last), np.arange(_SIDES), indexing="ij")
    i1, j1 = (i + 1) % count, (j + 1) % _SIDES
    a, b, c, d = i * _SIDES + j, i * _SIDES + j1, i1 * _SIDES + j1, i1 * _SIDES + j
    quads = np.stack([a, b, c, d], -1).reshape(-1, 4)
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
