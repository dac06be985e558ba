"""The head as arrays: loaded from the head file, subdivided once, morphed by one matrix product."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from scipy import sparse

from .shapes import TARGETS

HEAD_FILE = Path(__file__).with_name("head.safetensors")
FACE_UV = (
    0.74,
    0.36,
    0.99,
    0.67,
)  # the part of the UV map that shows the face: left, low, right, top
_SOLID = ("body", "teeth", "tongue")  # subdivided; the other parts stay as they are in the file


@dataclass(frozen=True)
class Surface:
    """Quads of the subdivided mesh and the operators that go with them."""

    quads: dict[str, np.ndarray]  # part -> int32 [F,4]
    triangles: dict[str, np.ndarray]  # part -> int32 [2F,3]
    coarse: dict[str, np.ndarray]  # part -> int32 [T,3], triangles of the mesh before subdivision
    normals_of: sparse.csr_matrix  # [V, F of all parts]: adds face normals at the vertices
    all_quads: np.ndarray


class Head:
    """``morph`` turns weights of targets into vertices.

    Rows of every array: first the subdivided vertices (``solid`` of them), then the vertices of
    lashes and eyes. Units are MakeHuman's decimetres, x to the person's left, y up, z forward.
    """

    def __init__(self, path: Path = HEAD_FILE) -> None:
        data = load_file(str(path))
        control = data["vertices"].astype(np.float64)
        count = len(control)
        faces = {k[6:]: v.astype(int) for k, v in data.items() if k.startswith("faces.")}
        operator, quads = subdivide({k: faces[k] for k in _SOLID}, control)
        loose = np.unique(np.concatenate([v.ravel() for k, v in faces.items() if k not in _SOLID]))
        pick = sparse.csr_matrix(
            (np.ones(len(loose)), (np.arange(len(loose)), loose)), (len(loose), count)
        )
        self.solid = operator.shape[0]
        self._operator = sparse.vstack([operator, pick]).tocsr()
        place = np.full(count, -1)
        place[loose] = self.solid + np.arange(len(loose))
        self.loose_faces = {k: place[v] for k, v in faces.items() if k not in _SOLID}

        self.rest = self._rows(control)  # [R,3]
        uv = self._rows(data["uv"].astype(np.float64))[: self.solid]
        self.uv = uv.astype(np.float32)
        self.vertex_masks = {
            k[12:]: self._rows(v.astype(np.float64)[:, None] / 255)[: self.solid, 0]
            for k, v in data.items()
            if k.startswith("vertex_mask.")
        }
        self.mask_images = {k[5:]: v for k, v in data.items() if k.startswith("mask.")}
        targets = [self._rows(data[f"target.{name}"].astype(np.float64)) for name in TARGETS]
        self._targets = np.stack([t.ravel() for t in targets]).astype(np.float32)
        self._index = {name: i for i, name in enumerate(TARGETS)}
        self._start = self.rest.astype(np.float32)
        # MakeHuman's upper teeth are set so high that an open mouth seems to have none.
        teeth = np.unique(quads["teeth"])
        upper = teeth[self.rest[teeth, 1] > np.median(self.rest[teeth, 1])]
        self._start[upper] += np.array([0, -0.030, 0.012], np.float32)
        self._eyes = np.unique(
            np.concatenate([self.loose_faces[k].ravel() for k in ("eye_left", "eye_right")])
        )
        self.surface = _surface(quads, operator, faces, self.solid)

    def _rows(self, values: np.ndarray) -> np.ndarray:
        return self._operator @ values

    def morph(self, weights: dict[str, float]) -> np.ndarray:
        """Vertices [R,3] float32 for weights by target; the middle of the eyes stays in place."""
        w = np.zeros(len(TARGETS), np.float32)
        for name, value in weights.items():
            w[self._index[name]] += value
        used = np.flatnonzero(w)
        moved = w[used] @ self._targets[used]
        moved = moved.reshape(-1, 3)
        return self._start + (moved - moved[self._eyes].mean(0))

    def normals(self, vertices: np.ndarray) -> np.ndarray:
        """Unit normals [solid,3] float32 of the morphed subdivided mesh."""
        q = self.surface.all_quads
        v = vertices[: self.solid]
        face = np.cross(v[q[:, 2]] - v[q[:, 0]], v[q[:, 3]] - v[q[:, 1]])
        out = self.surface.normals_of @ face
        return out / (np.linalg.norm(out, axis=1, keepdims=True) + 1e-9)


def subdivide(
    parts: dict[str, np.ndarray], control: np.ndarray
) -> tuple[sparse.csr_matrix, dict[str, np.ndarray]]:
    """One step of Catmull-Clark: the operator [V', V] and the new quads of every part.

    Triangles are given as quads whose last two corners are the same. The first vertices of the
    result are the old ones, moved; vertices of no face are left out of the result's order by
    keeping their place with an identity row.
    """
    count = len(control)
    polygons = [
        (part, tuple(dict.fromkeys(int(x) for x in face)))
        for part, faces in parts.items()
        for face in faces
    ]
    edges: dict[tuple[int, int], list[int]] = {}
    for number, (_, face) in enumerate(polygons):
        for a, b in zip(face, face[1:] + face[:1], strict=True):
            edges.setdefault((min(a, b), max(a, b)), []).append(number)
    edge_row = {edge: count + i for i, edge in enumerate(edges)}
    face_row = count + len(edges)

    rows: list[dict[int, float]] = [{} for _ in range(face_row + len(polygons))]

    def add(row: int, column: int, value: float) -> None:
        rows[row][column] = rows[row].get(column, 0.0) + value

    for number, (_, face) in enumerate(polygons):
        for a in face:
            add(face_row + number, a, 1 / len(face))
    around_faces: list[list[int]] = [[] for _ in range(count)]
    around_edges: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for number, (_, face) in enumerate(polygons):
        for a in face:
            around_faces[a].append(number)
    for (a, b), owners in edges.items():
        around_edges[a].append((a, b))
        around_edges[b].append((a, b))
        share = 0.25 if len(owners) == 2 else 0.5
        add(edge_row[a, b], a, share)
        add(edge_row[a, b], b, share)
        if len(owners) == 2:
            for number in owners:
                for c, weight in rows[face_row + number].items():
                    add(edge_row[a, b], c, weight / 4)
    for vertex in range(count):
        n = len(around_edges[vertex])
        border = [e for e in around_edges[vertex] if len(edges[e]) != 2]
        if n == 0:
            add(vertex, vertex, 1.0)
        elif border:
            add(vertex, vertex, 0.75)
            for a, b in border[:2]:
                add(vertex, b if a == vertex else a, 0.125)
        else:
            for number in around_faces[vertex]:
                for c, weight in rows[face_row + number].items():
                    add(vertex, c, weight / (n * len(around_faces[vertex])))
            for a, b in around_edges[vertex]:
                add(vertex, a, 1.0 / n**2)
                add(vertex, b, 1.0 / n**2)
            add(vertex, vertex, (n - 3) / n)
    entries = [(r, c, w) for r, row in enumerate(rows) for c, w in row.items()]
    r, c, w = zip(*entries, strict=True)
    operator = sparse.csr_matrix((w, (r, c)), (len(rows), count))

    quads: dict[str, list] = {part: [] for part in parts}
    for number, (part, face) in enumerate(polygons):
        size = len(face)
        for i in range(size):
            before, here, after = face[i - 1], face[i], face[(i + 1) % size]
            quads[part].append(
                [
                    here,
                    edge_row[min(here, after), max(here, after)],
                    face_row + number,
                    edge_row[min(before, here), max(before, here)],
                ]
            )
    return operator, {part: np.array(q, np.int32) for part, q in quads.items()}


def _surface(
    quads: dict[str, np.ndarray], operator: sparse.csr_matrix, faces: dict, solid: int
) -> Surface:
    every = np.concatenate(list(quads.values()))
    n = len(every)
    ones = np.ones(4 * n, np.float32)
    columns = np.repeat(np.arange(n), 4)
    normals_of = sparse.csr_matrix((ones, (every.ravel(), columns)), (solid, n))
    triangles = {k: _split(q) for k, q in quads.items()}
    coarse = {k: _split(faces[k]).astype(np.int32) for k in quads}
    return Surface(quads, triangles, coarse, normals_of, every)


def simplify(head: Head, cell: float, fine_cell: float) -> np.ndarray:
    """Triangles [T,3] of a rough body for the depth maps of ambient light: vertices of one cell of
    a grid become one. The face gets the finer cell; the inside of the mouth is left out."""
    triangles = head.surface.coarse["body"]
    inside = head.vertex_masks["mouth"] > 0.5
    low = (head.rest[triangles, 1] < 5.1).all(1)
    triangles = triangles[~inside[triangles].any(1) & ~low]
    rest = head.rest[: head.solid]
    x, y, z = rest.T
    face = (z > 0.75) & (y > 6.2) & (y < 7.7) & (np.abs(x) < 0.55)
    size = np.where(face, fine_cell, cell)[:, None]
    keys = np.concatenate([np.floor(rest / size), face[:, None]], 1).astype(int)
    used = np.unique(triangles)
    groups, group = np.unique(keys[used], axis=0, return_inverse=True)
    group = group.ravel()
    middle = np.zeros((len(groups), 3))
    np.add.at(middle, group, rest[used])
    middle /= np.bincount(group)[:, None]
    far = np.linalg.norm(rest[used] - middle[group], axis=1)
    order = np.lexsort((far, group))
    first = order[np.unique(group[order], return_index=True)[1]]
    place = np.zeros(len(rest), np.int64)
    place[used] = used[first][group]
    out = place[triangles]
    keep = (out[:, 0] != out[:, 1]) & (out[:, 1] != out[:, 2]) & (out[:, 0] != out[:, 2])
    _, unique = np.unique(np.sort(out[keep], 1), axis=0, return_index=True)
    return np.ascontiguousarray(out[keep][np.sort(unique)]).astype(np.int32)


def _split(quads: np.ndarray) -> np.ndarray:
    out = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    flat = (out[:, 0] == out[:, 1]) | (out[:, 1] == out[:, 2]) | (out[:, 0] == out[:, 2])
    return np.ascontiguousarray(out[~flat]).astype(np.int32)
