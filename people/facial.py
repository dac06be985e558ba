"""Brows, lashes and beards: short strands that are rooted on the face and follow its morphs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .mesh import Head
from .paint import beard_density
from .person import Person, smooth
from .strands import on_front, scatter, unit

BROW_POINTS, LASH_POINTS, BEARD_POINTS = 5, 5, 6


class Brows:
    def __init__(self, head: Head, seed: int, count: int = 420) -> None:
        rng = np.random.default_rng([seed, 21])
        xy, want, across, place = [], [], [], []
        for s in (1, -1):
            u = rng.random(count) ** 0.9
            v = np.clip(rng.normal(0, 0.45, count), -1, 1)
            middle = (
                7.410
                + 0.080 * np.sin(np.pi * (0.16 + 0.56 * u))
                - 0.040 * u**3
                + 0.040 * (u - 0.45)
            )
            height = 0.034 * (1 - 0.75 * u**1.6) * (0.75 + 0.25 * smooth(0, 0.15, u))
            xy.append(np.stack([s * (0.105 + 0.385 * u), middle + v * height], 1))
            # Inner hair stands up, upper hair lies down, lower hair goes up: they meet.
            up = 1.25 * (1 - u) ** 3 + 0.30 - 0.55 * v - 0.75 * u
            want.append(np.stack([s * (0.35 + 0.9 * u), up, -0.2 * u], 1))
            across.append(v)
            place.append(u)
        self.roots = on_front(head, np.concatenate(xy), np.concatenate(want))
        n = len(self.roots.rest)
        self._across = np.abs(np.concatenate(across))[:n]
        self._place = np.concatenate(place)[:n]
        self._length = rng.uniform(0.7, 1.15, n)
        self._shift = rng.normal(0, 0.16, (n, 3))
        self.count = n
        self.width = 0.008 * (420 / count) ** 0.7

    def grow(self, vertices, normals, person: Person) -> tuple[np.ndarray, np.ndarray]:
        root, normal = self.roots.at(vertices), self.roots.at(normals)
        d = unit(self.roots.directions(vertices) + 0.18 * normal + self._shift)
        thick = person.hair["brow"]
        length = 0.070 * self._length * (0.75 + 0.35 * thick) * (1 - 0.35 * self._place)
        t = np.linspace(0, 1, BROW_POINTS)[None, :, None]
        out = root[:, None] + normal[:, None] * (0.010 - 0.012 * t**2)
        out = out + d[:, None] * (length[:, None, None] * t)
        widths = smooth(0.15, 0.9, thick * 0.95 - self._across * 0.80 + 0.1)
        widths = widths * (0.35 + 0.65 * smooth(0, 0.3, self._place))
        return out.astype(np.float32), widths


class Lashes:
    """From the strips of the head file: five rows of vertices from the lid's edge outwards."""

    def __init__(self, head: Head, seed: int, each: int = 6) -> None:
        rng = np.random.default_rng([seed, 22])
        first, second, shares, upper = [], [], [], []
        for part in ("lashes_upper", "lashes_lower"):
            for side in ("eye_left", "eye_right"):
                columns = _strip_columns(head, part, side)
                for a, b in pairwise(columns):
                    for share in (np.arange(each) + rng.random(each) * 0.8) / each:
                        first.append(a)
                        second.append(b)
                        shares.append(share)
                        upper.append(part.endswith("upper"))
        self._first, self._second = np.array(first), np.array(second)
        self._shares = np.array(shares)[:, None, None]
        self._upper = np.array(upper)
        self._length = rng.uniform(0.65, 1.05, (len(first), 1, 1))
        self._lean = rng.normal(0, 0.012, (len(first), 1, 1))
        self.count = len(first)
        self.width = 0.007 * (6 / each) ** 0.7

    def grow(self, vertices, person: Person) -> tuple[np.ndarray, np.ndarray]:
        rows = vertices[self._first] * (1 - self._shares) + vertices[self._second] * self._shares
        made_up = person.values["eye_shadow"] * (1 - person.male)
        reach = self._length * np.where(self._upper, 0.95 + 0.2 * made_up, 0.65)[:, None, None]
        out = rows[:, :1] + (rows - rows[:, :1]) * reach
        t = np.linspace(0, 1, LASH_POINTS)[None, :, None]
        out = out + self._lean * t**2 * np.array([1.0, 0, 0])
        widths = np.where(self._upper, 1.0, 0.55) * (0.85 - 0.25 * person.male + 0.5 * made_up)
        return out.astype(np.float32), widths


def _strip_columns(head: Head, part: str, side: str) -> np.ndarray:
    """Vertices [columns,5] of one strip of lashes, from the nose outwards, roots first."""
    centre = head.rest[np.unique(head.loose_faces[side])].mean(0)
    faces = [f for f in head.loose_faces[part] if head.rest[f[0], 0] * centre[0] > 0]
    vertices = np.unique(faces)
    near: dict[int, set[int]] = {v: set() for v in vertices}
    for f in faces:
        for a, b in zip(f, np.roll(f, 1), strict=True):
            near[a].add(b)
            near[b].add(a)
    # The strip's edges with one face are its border; a vertex of one face is one of four corners.
    edges: dict[tuple[int, int], int] = {}
    for f in faces:
        for a, b in zip(f, np.roll(f, 1), strict=True):
            edges[min(a, b), max(a, b)] = edges.get((min(a, b), max(a, b)), 0) + 1
    border: dict[int, list[int]] = {}
    for (a, b), owners in edges.items():
        if owners == 1:
            border.setdefault(a, []).append(b)
            border.setdefault(b, []).append(a)
    count = len(vertices) // LASH_POINTS
    corners = [v for v in vertices if len(near[v]) == 2]
    sides_ = []
    for corner in corners:
        for step in border[corner]:
            walk = [corner, step]
            while walk[-1] not in corners:
                walk.append(next(v for v in border[walk[-1]] if v != walk[-2]))
            if len(walk) == count:
                sides_.append(walk)
    first = min(sides_, key=lambda w: np.linalg.norm(head.rest[w] - centre, axis=1).mean())
    row = dict.fromkeys(first, 0)
    columns = [[v] for v in row]
    for k in range(1, LASH_POINTS):
        for column in columns:
            after = [v for v in near[column[-1]] if v not in row]
            if after:
                after.sort(key=lambda v: np.linalg.norm(head.rest[v] - head.rest[column[-1]]))
                column.append(after[0])
            else:
                column.append(column[-1])
        row.update({column[-1]: k for column in columns})
    return np.array(sorted(columns, key=lambda c: abs(head.rest[c[2], 0])))


class Beard:
    def __init__(self, head: Head, seed: int, count: int = 4200) -> None:
        rng = np.random.default_rng([seed, 23])

        def direction(rest: np.ndarray) -> np.ndarray:
            x, y = rest[:, 0], rest[:, 1]
            lip = smooth(6.68, 6.74, y) * smooth(0.42, 0.30, np.abs(x))
            out = np.stack([0.25 * np.sign(x) * np.minimum(np.abs(x) * 3, 1), -1 + 0 * x, 0 * x], 1)
            return out + lip[:, None] * np.stack([1.1 * np.tanh(x * 14), 0.25 + 0 * x, 0 * x], 1)

        self.roots = scatter(head, beard_density, count, rng, direction)
        self.count = count
        self.width = 0.0068 * (4200 / count) ** 0.7
        rest = self.roots.rest
        self._density = beard_density(rest)
        self._chin = smooth(6.5, 6.1, rest[:, 1]) * smooth(0.55, 0.2, np.abs(rest[:, 0]))
        self._lip = smooth(6.66, 6.74, rest[:, 1]) * smooth(0.42, 0.34, np.abs(rest[:, 0]))
        self._shift = rng.normal(0, 0.32, (count, 3))
        self._length = rng.uniform(0.6, 1.2, count)
        self._phase = rng.uniform(0, 6.28, (count, 1))
        self._order = rng.random(count)

    def grow(self, vertices, normals, person: Person) -> tuple[np.ndarray, np.ndarray]:
        b = person.hair["beard"]
        root, normal = self.roots.at(vertices), self.roots.at(normals)
        long = 0.018 + 0.05 * b + 0.22 * float(smooth(0.45, 1.0, b))
        length = long * self._length * (0.55 + 0.9 * self._chin * b) * (1 - 0.35 * self._lip)
        d = unit(self.roots.directions(vertices) + 0.55 * normal * (1 - 0.3 * b) + self._shift)
        t = np.linspace(0, 1, BEARD_POINTS)[None, :, None]
        fall = np.array([0, -1.0, 0]) * (0.55 * length[:, None, None] * t**2)
        curl = 0.25 + 0.75 * person.hair["wave"]
        twist = np.sin(9 * t[..., 0] + self._phase)[..., None] * self._shift[:, None]
        out = root[:, None] + d[:, None] * (length[:, None, None] * t) + fall
        out = out + 0.12 * curl * length[:, None, None] * t * twist
        # Strands come one after the other, each by growing thicker.
        widths = smooth(0, 0.35, b * 1.5 - self._order * 0.55) * (0.35 + 0.65 * self._density)
        return out.astype(np.float32), widths
