"""Strands: where they are rooted on the head, and their ribbons on the GPU."""

from __future__ import annotations

from dataclasses import dataclass

import moderngl
import numpy as np

from .mesh import Head


@dataclass(frozen=True)
class Roots:
    """Places on the skin that follow every morph: triangle corners [N,3] and their shares [N,3].

    ``along`` [N,2] is a direction of the rest skin in the triangle's two edges, so it follows too.
    """

    corners: np.ndarray
    shares: np.ndarray
    along: np.ndarray
    rest: np.ndarray  # [N,3]

    def at(self, values: np.ndarray) -> np.ndarray:
        """Values at vertices [V,C] at the roots [N,C]."""
        return np.einsum("nk,nkc->nc", self.shares, values[self.corners]).astype(np.float32)

    def directions(self, vertices: np.ndarray) -> np.ndarray:
        """Unit vectors [N,3] along the skin."""
        a, b, c = (vertices[self.corners[:, k]] for k in range(3))
        d = self.along[:, :1] * (b - a) + self.along[:, 1:] * (c - a)
        return unit(d).astype(np.float32)


def unit(v: np.ndarray) -> np.ndarray:
    return v / (np.linalg.norm(v, axis=-1, keepdims=True) + 1e-9)


def _with_direction(head: Head, corners: np.ndarray, shares: np.ndarray, want: np.ndarray) -> Roots:
    """Roots whose direction at rest is ``want`` [N,3], laid into the skin."""
    a, b, c = (head.rest[corners[:, k]] for k in range(3))
    edges = np.stack([b - a, c - a], -1)  # [N,3,2]
    gram = np.einsum("nij,nik->njk", edges, edges)
    right = np.einsum("nij,ni->nj", edges, want)
    along = np.linalg.solve(gram + 1e-9 * np.eye(2), right[..., None])[..., 0]
    rest = np.einsum("nk,nkc->nc", shares, head.rest[corners])
    return Roots(corners, shares.astype(np.float32), along.astype(np.float32), rest)


def scatter(head: Head, density, count: int, rng: np.random.Generator, direction=None) -> Roots:
    """Random roots on the body; ``density`` and ``direction`` take rest points [N,3]."""
    triangles = head.surface.triangles["body"]
    triangles = triangles[(head.vertex_masks["mouth"][triangles] < 0.1).all(1)]
    a, b, c = (head.rest[triangles[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    p = area * density((a + b + c) / 3)
    pick = rng.choice(len(triangles), count, p=p / p.sum())
    u, v = rng.random((2, count))
    s = np.sqrt(u)
    shares = np.stack([1 - s, s * (1 - v), s * v], 1)
    corners = triangles[pick]
    rest = np.einsum("nk,nkc->nc", shares, head.rest[corners])
    want = np.tile([0.0, -1.0, 0.0], (count, 1)) if direction is None else direction(rest)
    return _with_direction(head, corners, shares, want)


def on_front(head: Head, xy: np.ndarray, direction: np.ndarray) -> Roots:
    """Roots at the places xy [N,2] of the rest face, seen from the front."""
    triangles = head.surface.triangles["body"]
    t = head.rest[triangles]
    facing = np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0])[:, 2] > 0
    near = facing & (t[:, :, 2].min(1) > 0.5) & (np.abs(t[:, :, 1] - xy[:, 1].mean()).min(1) < 0.6)
    triangles, t = triangles[near], t[near]
    a = t[:, 0, :2]
    e1, e2 = t[:, 1, :2] - a, t[:, 2, :2] - a
    det = e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]
    corners, shares, kept = [], [], []
    for k, p in enumerate(xy):
        d = p - a
        u = (d[:, 0] * e2[:, 1] - d[:, 1] * e2[:, 0]) / det
        v = (e1[:, 0] * d[:, 1] - e1[:, 1] * d[:, 0]) / det
        inside = np.flatnonzero((u >= 0) & (v >= 0) & (u + v <= 1))
        if len(inside) == 0:
            continue
        depth = t[inside, :, 2].mean(1)
        i = inside[np.argmax(depth)]
        corners.append(triangles[i])
        shares.append([1 - u[i] - v[i], u[i], v[i]])
        kept.append(k)
    return _with_direction(head, np.array(corners), np.array(shares), direction[kept])


class Ribbons:
    """The GPU's side of ``count`` strands of ``points`` points each."""

    def __init__(
        self, context: moderngl.Context, draw: moderngl.Program, depth: moderngl.Program,
        count: int, points: int, rng: np.random.Generator, layer: np.ndarray | None = None,
        shadow_every: int = 3, sky_every: int = 14,
    ) -> None:  # fmt: skip
        self.count, self.points = count, points
        rows = points + 2  # one more at each end, for the tangents
        self._positions = context.buffer(reserve=count * rows * 2 * 12)
        self._widths = context.buffer(reserve=count * rows * 2 * 4)
        static = np.zeros((count, rows, 2, 4), np.float32)
        static[..., 0] = [-1, 1]
        static[..., 1] = np.linspace(-1 / (points - 1), 1 + 1 / (points - 1), rows)[None, :, None]
        static[..., 2] = rng.random(count)[:, None, None]
        static[..., 3] = (np.ones(count) if layer is None else layer)[:, None, None]
        fixed = context.buffer(np.ascontiguousarray(static).tobytes())
        self._vao = self._array(context, draw, fixed, 1, 1)
        self._depth = [self._array(context, depth, fixed, shadow_every, 1),
                       self._array(context, depth, fixed, sky_every, 3)]  # fmt: skip
        self.depth_width = (float(shadow_every), float(sky_every))

    def _array(self, context, program, fixed, every: int, stride: int):
        """A vertex array of each ``every``-th strand, its points ``stride`` apart."""
        rows = self.points + 2
        start = np.minimum(np.arange(0, self.points - 1, stride), self.points - 1 - stride)
        first = np.arange(0, self.count, every)[:, None] * rows * 2 + start[None] * 2
        cell = np.array([0, 1, 2 * stride, 2 * stride, 1, 2 * stride + 1])
        index = (first[..., None] + cell).ravel().astype(np.int32)
        vao = context.vertex_array(program, [], context.buffer(index.tobytes()))
        sources = (
            ("in_before", self._positions, "3f", 0), ("in_position", self._positions, "3f", 24),
            ("in_after", self._positions, "3f", 48), ("in_static", fixed, "4f", 32),
            ("in_width", self._widths, "1f", 8),
        )  # fmt: skip
        for name, buffer, form, offset in sources:
            if name in program:
                vao.bind(
                    program[name].location, "f", buffer, form, offset=offset,
                    stride=4 * int(form[0]),
                )  # fmt: skip
        return vao

    def write(self, strands: np.ndarray, widths: np.ndarray) -> None:
        """strands [count, points, 3] in the world, widths [count] as shares of the uniform."""
        rows = self.points + 2
        out = np.empty((self.count, rows, 2, 3), np.float32)
        out[:, 1:-1] = strands[:, :, None]
        out[:, 0] = (2 * strands[:, 0] - strands[:, 1])[:, None]
        out[:, -1] = (2 * strands[:, -1] - strands[:, -2])[:, None]
        self._positions.write(out)
        self._widths.write(np.repeat(widths.astype(np.float32), rows * 2))

    def draw(self) -> None:
        self._vao.render()

    def draw_depth(self, level: int) -> None:
        """Level 0 for the key light's map, 1 for the coarse maps of the ambient light."""
        self._depth[level].render()
