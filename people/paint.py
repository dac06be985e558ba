"""Maps over the rest head: tint, growth of hair, and relief of the skin, painted once at start.

A map's column is the angle around the head, its row the height (see ``around``), so a place on the
rest face is a place on the map whatever the person's shape. Row 0 is the lowest.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from .mesh import Head

SIZE = 1024
_ANGLE, _LOW, _HEIGHT, _AXIS = 3.8, 5.4, 3.3, 0.25  # as `around` in skin.frag


def around(points: np.ndarray) -> np.ndarray:
    """Rest points [N,3] to places [N,2] on a map, 0 to 1."""
    u = np.arctan2(points[:, 0], points[:, 2] - _AXIS) / _ANGLE + 0.5
    return np.stack([u, (points[:, 1] - _LOW) / _HEIGHT], 1)


class Painter:
    """Draws on maps in the coordinates of the rest face: x to the person's left, y up."""

    def __init__(self, head: Head, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        rest = head.rest[: head.solid]
        skin = np.unique(head.surface.quads["body"])
        skin = skin[(head.vertex_masks["mouth"][skin] < 0.3)]
        self._points = rest[skin]
        front = self._points[self._points[:, 2] > 0.35]
        # Of what lies behind each other only the front is painted.
        self._tree = cKDTree(front[:, :2])
        self._depth = front[:, 2]
        # For each texel the rest point that it shows.
        u, v = np.meshgrid((np.arange(SIZE) + 0.5) / SIZE, (np.arange(SIZE) + 0.5) / SIZE)
        outer = self._points
        tree = cKDTree(around(outer) * np.array([2.2, 1.65]))
        coarse = np.stack([u[::4, ::4].ravel() * 2.2, v[::4, ::4].ravel() * 1.65], 1)
        d, i = tree.query(coarse, k=6)
        w = 1 / (d + 1e-4) ** 2
        near = (outer[i] * w[..., None]).sum(1) / w.sum(1)[:, None]
        grid = near.reshape(SIZE // 4, SIZE // 4, 3)
        self.rest = np.stack(
            [_enlarge(grid[..., c]) for c in range(3)], -1
        )  # [SIZE,SIZE,3] of the texel

    def depth(self, x: float, y: float) -> float:
        _, i = self._tree.query([x, y], k=8)
        return float(np.max(self._depth[i]))

    def place(self, xy: np.ndarray) -> np.ndarray:
        """Points [N,2] of the rest face, seen from the front, to texels."""
        z = np.array([self.depth(x, y) for x, y in xy])
        return around(np.c_[xy, z]) * SIZE

    def line(self, xy: list[tuple[float, float]], width: float) -> np.ndarray:
        """A smooth line through points of the rest face: float [SIZE,SIZE], 1 on its middle."""
        points = np.array(xy, float)
        t = np.linspace(0, len(points) - 1, 40)
        order = min(3, len(points) - 1)
        fit = [np.polyfit(np.arange(len(points)), points[:, c], order) for c in range(2)]
        curve = np.stack([np.polyval(c, t) for c in fit], 1)
        texels = self.place(curve)
        image = Image.new("L", (SIZE, SIZE), 0)
        ImageDraw.Draw(image).line([tuple(p) for p in texels], fill=255, width=3)
        sigma = max(width / (_HEIGHT / SIZE), 0.6)
        out = gaussian_filter(np.asarray(image, np.float32), sigma)
        return out / max(out.max(), 1e-6)

    def blob(self, x: float, y: float, z: float, radius: tuple[float, float, float]) -> np.ndarray:
        d = (self.rest - np.array([x, y, z])) / np.array(radius)
        return np.exp(-(d**2).sum(-1) / 2)

    def noise(self, scale: float) -> np.ndarray:
        """Smooth noise with features of ``scale`` decimetres, mean 0, deviation 1."""
        sigma = scale / (_HEIGHT / SIZE)
        out = gaussian_filter(self.rng.standard_normal((SIZE, SIZE)), sigma, mode="wrap")
        return out / out.std()


def _enlarge(values: np.ndarray) -> np.ndarray:
    return np.asarray(
        Image.fromarray(values.astype(np.float32)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    )


def both(x: float) -> tuple[float, float]:
    return (x, -x)


def tint_map(p: Painter) -> np.ndarray:
    """uint8 [SIZE,SIZE,4]: redness, darkness around the eyes and in folds, freckles, mottling."""
    red = 0.85 * p.blob(0, 6.93, 1.62, (0.17, 0.13, 0.25))
    dark = np.zeros((SIZE, SIZE))
    for x in both(0.46):
        red += 0.75 * p.blob(x, 6.90, 1.2, (0.19, 0.17, 0.5))
        red += 0.25 * p.blob(x * 0.7, 7.22, 1.3, (0.16, 0.06, 0.4))
    red += 0.3 * p.blob(0, 6.15, 1.3, (0.2, 0.12, 0.4)) + 0.12
    red += 0.12 * p.blob(0, 7.9, 1.3, (0.5, 0.2, 0.5))
    for x in both(0.29):
        dark += 0.50 * p.blob(x * 0.95, 7.13, 1.35, (0.13, 0.045, 0.4))
        dark += 0.32 * p.blob(x * 0.62, 7.27, 1.35, (0.07, 0.10, 0.4))
        dark += 0.30 * p.blob(x, 7.36, 1.35, (0.16, 0.05, 0.4))
    spots = np.zeros((SIZE, SIZE), np.float32)
    count = 900
    where = np.stack([p.rng.normal(0, 0.36, count), p.rng.normal(6.98, 0.22, count)], 1)
    texels = p.place(where)
    for (u, v), size in zip(texels, p.rng.gamma(3, 0.5, count), strict=True):
        if 0 <= u < SIZE and 0 <= v < SIZE:
            spots[int(v), int(u)] += min(size, 3.0)
    spots = gaussian_filter(spots, 2.0)
    spots = np.clip(spots / np.percentile(spots[spots > spots.max() * 0.02], 90), 0, 1)
    mottle = 0.5 + 0.06 * p.noise(0.10) + 0.05 * p.noise(0.035) + 0.05 * p.noise(0.012)
    return _pack(red, dark, spots, mottle)


def growth_map(p: Painter) -> np.ndarray:
    """uint8 [SIZE,SIZE,4]: where a beard, scalp hair and brows grow, and blemishes."""
    return _pack(
        beard_density(p.rest), scalp_density(p.rest), crown(p.rest), np.zeros((SIZE, SIZE))
    )


def _ramp(low: float, high: float, x: np.ndarray) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def beard_density(rest: np.ndarray) -> np.ndarray:
    """0 to 1 for rest points [...,3]: jaw, chin, moustache, sideburns; not the lips."""
    x, y, z = np.abs(rest[..., 0]), rest[..., 1], rest[..., 2]
    # The upper edge runs from the ear down over the cheek to the corner of the mouth.
    edge = 6.56 + 0.62 * _ramp(0.34, 0.78, x) ** 1.4
    jaw = _ramp(0.05, -0.09, y - edge) * _ramp(-0.05, 0.10, y - (6.49 - 0.42 * (z - 0.3)))
    moustache = (_ramp(6.71, 6.75, y) * _ramp(6.90, 6.85, y + 0.14 * x) * _ramp(0.37, 0.30, x)) * (
        0.55 + 0.45 * _ramp(0.0, 0.05, x)
    )
    lips = _ramp(0.29, 0.25, x) * _ramp(6.47, 6.51, y) * _ramp(6.72, 6.70, y)
    chin = _ramp(0.10, 0.14, x) * _ramp(0.26, 0.20, x) * _ramp(6.30, 6.35, y)
    soul = 1 - 0.55 * chin * _ramp(6.45, 6.40, y)
    density = np.clip(np.maximum(jaw * soul, moustache) * (1 - lips), 0, 1)
    return density**1.5 * _ramp(0.05, 0.30, z)


def scalp_density(rest: np.ndarray) -> np.ndarray:
    """0 to 1 for rest points [...,3]: where hair grows on the head."""
    x, y, z = np.abs(rest[..., 0]), rest[..., 1], rest[..., 2]
    # The lower edge, from the nape over the ear and the sideburn to the forehead.
    places = [-0.25, 0.10, 0.25, 0.34, 0.42, 0.64, 0.70, 0.80, 0.88, 0.98, 1.10, 1.25, 1.45]
    heights = [6.72, 6.90, 7.14, 7.34, 7.39, 7.38, 7.02, 7.04, 7.42, 7.62, 7.84, 7.95, 7.985]
    edge = np.interp(z, places, heights)
    ear = _ramp(0.70, 0.74, x) * _ramp(7.42, 7.36, y) * _ramp(0.28, 0.34, z) * _ramp(0.74, 0.68, z)
    soft = 0.03 + 0.07 * _ramp(0.8, 1.1, z)
    return _ramp(-1.0, 1.0, (y - edge) / soft) * (1 - ear)


def crown(rest: np.ndarray) -> np.ndarray:
    """0 to 1 for rest points [...,3]: where hair is lost, first where it is 1."""
    x, y, z = np.abs(rest[..., 0]), rest[..., 1], rest[..., 2]
    top = _ramp(7.75, 8.30, y) * _ramp(0.72, 0.40, x)
    temples = _ramp(0.70, 1.15, z) * _ramp(7.65, 8.0, y)
    return np.clip(np.maximum(top, temples), 0, 1)


def relief_map(p: Painter) -> np.ndarray:
    """uint8 [SIZE,SIZE,4], 128 is flat: pores, lines of age, of a raised brow, of a smile."""
    pores = 0.5 + 0.10 * p.noise(0.008) + 0.03 * p.noise(0.02) + 0.03 * p.noise(0.05)
    age = np.zeros((SIZE, SIZE), np.float32)
    brow, smile = age.copy(), age.copy()
    for i, y in enumerate((7.70, 7.80, 7.90, 7.99)):
        wave = [(x, y + 0.03 * np.cos(5 * x + i) - 0.10 * x * x) for x in np.linspace(-0.5, 0.5, 9)]
        brow -= (1.0, 0.9, 0.75, 0.5)[i] * p.line(wave, 0.013)
    for s in (1, -1):
        # Crow's feet, from the outer corner of the eye.
        for k, (dx, dy) in enumerate(((0.14, 0.09), (0.17, 0.02), (0.15, -0.06), (0.11, -0.11))):
            x0, y0 = 0.50 + 0.01 * k, 7.29 - 0.022 * k
            feet = p.line([(s * x0, y0), (s * (x0 + dx), y0 + dy)], 0.008)
            smile -= 0.6 * feet
            age -= 0.55 * feet
        fold = p.line(
            [(s * 0.195, 6.98), (s * 0.27, 6.86), (s * 0.335, 6.72), (s * 0.37, 6.58)], 0.020
        )
        smile -= 1.0 * fold
        age -= 0.8 * fold
        marionette = p.line([(s * 0.30, 6.50), (s * 0.33, 6.40), (s * 0.33, 6.28)], 0.015)
        age -= 0.55 * marionette
        age -= 0.5 * p.line([(s * 0.05, 7.44), (s * 0.06, 7.53), (s * 0.05, 7.62)], 0.010)
        for k in range(3):
            under = [
                (s * (0.17 + 0.02 * k), 7.13 - 0.03 * k), (s * 0.30, 7.08 - 0.035 * k),
                (s * (0.44 + 0.01 * k), 7.14 - 0.03 * k),
            ]  # fmt: skip
            age -= (0.55, 0.4, 0.25)[k] * p.line(under, 0.010)
        smile -= 0.35 * p.line([(s * 0.20, 7.12), (s * 0.32, 7.09), (s * 0.44, 7.15)], 0.010)
    for y in (5.62, 5.80):
        age -= 0.5 * p.line(
            [(x, y - 0.05 + 0.15 * x * x) for x in np.linspace(-0.4, 0.4, 7)], 0.014
        )
    age += 0.7 * brow + 0.035 * p.noise(0.022) + 0.05 * p.noise(0.06)
    for x in np.linspace(-0.2, 0.2, 13):
        age -= 0.25 * p.line([(x, 6.68), (x * 1.06, 6.76)], 0.005)
    return _pack(pores, *(0.5 + 0.42 * np.clip(m, -1.2, 1.2) for m in (age, brow, smile)))


def iris_map(seed: int) -> np.ndarray:
    """uint8 [256,512,3]: left half fibres and the pupil's border, right half veins; rows angles.

    The texture's first axis is the angle, which wraps.
    """
    rng = np.random.default_rng(seed)
    fibres = gaussian_filter(rng.standard_normal((256, 512)), (9, 1.6), mode="wrap")
    fibres += 0.7 * gaussian_filter(rng.standard_normal((256, 512)), (4, 0.9), mode="wrap")
    fibres = 0.5 + 0.18 * fibres / fibres.std()
    border = gaussian_filter(rng.standard_normal((256, 512)), (14, 8), mode="wrap")
    border = 0.5 + 0.2 * border / border.std()
    veins = np.zeros((256, 512))
    for _ in range(46):
        a, r = rng.uniform(0, 512), 255.0
        while r > 128 + rng.uniform(10, 60):
            veins[int(r), int(a) % 512] = 1
            r -= 0.7
            a += rng.normal(0, 0.9)
    veins = np.clip(gaussian_filter(veins, 0.8, mode="wrap") * 3, 0, 1)
    return (np.clip(np.stack([fibres, border, veins], -1), 0, 1) * 255).astype(np.uint8)


def _pack(*channels: np.ndarray) -> np.ndarray:
    return (np.clip(np.stack(channels, -1), 0, 1) * 255).round().astype(np.uint8)
