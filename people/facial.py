"""Brows, lashes and beards: short strands that are rooted on the face and follow its morphs."""

from __future__ import annotations

import numpy as np

from .mesh import Head
from .paint import beard_density
from .person import Person, smooth
from .strands import on_front, scatter, unit

BROW_POINTS, LASH_POINTS, BEARD_POINTS = 5, 5, 7
BEARD = 4200


class Brows:
    def __init__(self, head: Head, seed: int, count: int = 420) -> None:
        rng = np.random.default_rng([seed, 21])
        xy, want, across, place = [], [], [], []
        for s in (1, -1):
            u = rng.random(count) ** 0.9
            v = np.clip(rng.normal(0, 0.45, count), -1, 1)
            middle = 7.410 + 0.080 * np.sin(np.pi * (0.16 + 0.56 * u)) - 0.040 * u**3
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

    def grow(self, vertices, normals, person: Person) -> tuple[np.ndarray, np.ndarray]:
        root, normal = self.roots.at(vertices), self.roots.at(normals)
        d = unit(self.roots.directions(vertices) + 0.18 * normal + self._shift)
        thick = person.hair["brow"]
        length = 0.070 * self._length * (0.75 + 0.35 * thick) * (1 - 0.35 * self._place)
        t = np.linspace(0, 1, BROW_POINTS)[None, :, None]
        out = root[:, None] + normal[:, None] * (0.010 - 0.012 * t**2)
        out = out + d[:, None] * (length[:, None, None] * t)
        widths = smooth(0.15, 0.75, thick * 0.95 - self._across * 0.75 + 0.1)
        widths = widths * (0.45 + 0.55 * smooth(0, 0.2, self._place))
        return out.astype(np.float32), widths


class Lashes:
    """From the strips of the head file: strands from the lid's edge to the strip's outer edge."""

    def __init__(self, head: Head, seed: int, each: int = 4) -> None:
        rng = np.random.default_rng([seed, 22])
        rows, shares, upper = [], [], []
        for part in ("lashes_upper", "lashes_lower"):
            for side in (1, -1):
                eye = np.unique(head.loose_faces["eye_left" if side > 0 else "eye_right"])
                centre = head.rest[eye].mean(0)
                for face in head.loose_faces[part]:
                    if np.sign(head.rest[face[0], 0]) != side:
                        continue
                    far = np.linalg.norm(head.rest[face] - centre, axis=1)
                    order = np.argsort(far)
                    r0, r1 = face[order[0]], face[order[1]]
                    tips = [face[order[2]], face[order[3]]]
                    if np.linalg.norm(head.rest[tips[0]] - head.rest[r0]) > np.linalg.norm(
                        head.rest[tips[1]] - head.rest[r0]
                    ):
                        tips.reverse()
                    for a in (np.arange(each) + rng.random(each) * 0.8) / each:
                        rows.append([r0, r1, *tips])
                        shares.append(a)
                        upper.append(part.endswith("upper"))
        self._rows, self._shares = np.array(rows), np.array(shares)[:, None]
        self._upper = np.array(upper)
        self._length = rng.uniform(0.75, 1.05, len(rows))[:, None, None]
        self.count = len(rows)

    def grow(self, vertices, person: Person) -> tuple[np.ndarray, np.ndarray]:
        r0, r1, t0, t1 = (vertices[self._rows[:, k]] for k in range(4))
        a = self._shares
        root, tip = r0 * (1 - a) + r1 * a, t0 * (1 - a) + t1 * a
        t = np.linspace(0, 1, LASH_POINTS)[None, :, None]
        reach = (tip - root)[:, None] * self._length
        reach = reach * np.where(self._upper, 0.95, 0.6)[:, None, None]
        bend = np.where(self._upper, -0.035, 0.012)[:, None, None] * (t - t**2)
        out = root[:, None] + reach * t + bend * np.array([0, 1.0, 0])
        made_up = person.values["eye_shadow"] * (1 - person.male)
        widths = np.where(self._upper, 1.0, 0.5) * (0.75 - 0.25 * person.male + 0.6 * made_up)
        return out.astype(np.float32), widths


class Beard:
    def __init__(self, head: Head, seed: int) -> None:
        rng = np.random.default_rng([seed, 23])

        def direction(rest: np.ndarray) -> np.ndarray:
            x, y = rest[:, 0], rest[:, 1]
            lip = smooth(6.68, 6.74, y) * smooth(0.42, 0.30, np.abs(x))
            out = np.stack([0.25 * np.sign(x) * np.minimum(np.abs(x) * 3, 1), -1 + 0 * x, 0 * x], 1)
            return out + lip[:, None] * np.stack([1.1 * np.tanh(x * 14), 0.25 + 0 * x, 0 * x], 1)

        self.roots = scatter(head, beard_density, BEARD, rng, direction)
        self.count = BEARD
        rest = self.roots.rest
        self._density = beard_density(rest)
        self._chin = smooth(6.5, 6.1, rest[:, 1]) * smooth(0.55, 0.2, np.abs(rest[:, 0]))
        self._lip = smooth(6.66, 6.74, rest[:, 1]) * smooth(0.42, 0.34, np.abs(rest[:, 0]))
        self._shift = rng.normal(0, 0.32, (BEARD, 3))
        self._length = rng.uniform(0.6, 1.2, BEARD)
        self._phase = rng.uniform(0, 6.28, (BEARD, 1))
        self._order = rng.random(BEARD)

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
