"""Hair of the head: a few hundred guides grow over the scalp, thousands of strands follow them."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from .mesh import Head
from .paint import crown, scalp_density
from .person import Person, smooth
from .strands import Roots, scatter, unit

GUIDES = 320
_CLUMPS = 340


class Hair:
    """``grow`` gives the strands of a person, before the head is turned."""

    def __init__(self, head: Head, seed: int, count: int, points: int) -> None:
        self.count, self.points = count, points
        self.width = 0.0185 * (4500 / count) ** 0.7
        rng = np.random.default_rng([seed, 11])
        self.roots = scatter(head, scalp_density, count, rng)
        rest = self.roots.rest
        guides = _spread(rest, GUIDES)
        self.guides = Roots(*(getattr(self.roots, k)[guides] for k in
                              ("corners", "shares", "along", "rest")))  # fmt: skip
        distance, self._near = cKDTree(rest[guides]).query(rest, k=7)
        self._weight = (1 / (distance + 0.02) ** 2.5).astype(np.float32)
        centres = _spread(rest + 0.03 * rng.standard_normal(rest.shape), _CLUMPS)
        _, self._clump = cKDTree(rest[centres]).query(
            rest + 0.025 * rng.standard_normal(rest.shape)
        )
        self._centre = centres[self._clump]
        self._phase = rng.uniform(0, 2 * np.pi, _CLUMPS).astype(np.float32)
        self._rate = rng.uniform(0.85, 1.15, _CLUMPS).astype(np.float32)
        self._own_phase = rng.uniform(0, 2 * np.pi, count).astype(np.float32)
        self._shift = rng.standard_normal((count, 3)).astype(np.float32)
        self._cut = rng.random(count).astype(np.float32)
        self._gather = rng.random(count).astype(np.float32)
        self.layer = rng.random(count).astype(np.float32) ** 0.7
        self._random = rng.random((GUIDES, 3)).astype(np.float32)
        self.crown = crown(rest)
        # Hair at the hairline is fine.
        self._edge = 0.40 + 0.60 * smooth(0.45, 0.98, scalp_density(rest))
        body = np.unique(head.surface.quads["body"])
        x, y, z = np.abs(head.rest[body]).T
        z = head.rest[body, 2]
        skull = (y > 6.75 + 0.55 * smooth(0.0, 0.6, z)) & (x < 0.68 - 0.06 * (y < 7.5)) & (z < 1.42)
        self._skull = body[skull & (head.vertex_masks["ears"][body] < 0.2)][::3]
        self._thin = rng.random(count)

    def grow(
        self, vertices: np.ndarray, normals: np.ndarray, person: Person, down: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Strands [count,points,3] float32 and widths [count]; ``down`` is gravity's direction
        in the unturned head's space."""
        h = person.hair
        root, guide_root = self.roots.at(vertices), self.guides.at(vertices)
        shapes = self._guides(
            guide_root, self.guides.at(normals), person, down, vertices[self._skull]
        )
        offsets = (shapes - guide_root[:, None]).reshape(GUIDES, -1)
        out = root[:, None] + (self._follow(person) @ offsets).reshape(self.count, self.points, 3)
        t = np.linspace(0, 1, self.points, dtype=np.float32)[None, :, None]

        # Each strand is cut a little differently.
        length = np.linalg.norm(out[:, 1:] - out[:, :-1], axis=-1).sum(1)  # [count]
        keep = 1 - (0.10 + 0.20 * self._cut) * self._cut
        out = _shorten(out, keep)
        # Strands meet in locks towards their tips.
        loose = 1 - float(h["coil"])
        lock = (0.30 + 0.45 * self._gather) * (0.35 + 0.65 * h["wave"]) * loose
        lock = (lock * smooth(0.10, 0.6, length)).astype(np.float32)
        centre = out[self._centre]
        pull = lock[:, None, None] * t**1.3
        out = out + (centre - out) * pull

        # Waves and curls: each lock in its own phase.
        turn = np.arctan2(root[:, 0], root[:, 2] - 0.2)
        across = np.stack([np.cos(turn), 0 * turn, -np.sin(turn)], 1).astype(np.float32)
        outward = np.stack([np.sin(turn), 0.25 + 0 * turn, np.cos(turn)], 1).astype(np.float32)
        wave, coil = h["wave"], h["coil"]
        amount = 0.085 * float(smooth(0.12, 1.0, wave)) * np.minimum(length, 0.9) ** 0.8
        amount = amount * (1 - 0.6 * coil) + 0.018 * coil * np.minimum(length * 4, 1)
        amount = amount.astype(np.float32)
        along = t[..., 0] * length[:, None]
        rate = (7.0 + 9.0 * wave + 26 * coil) * self._rate[self._clump]
        phase = self._phase[self._clump] + 0.35 * np.sin(self._own_phase) + coil * self._own_phase
        angle = (along * rate[:, None] + phase[:, None]).astype(np.float32)
        grow_in = np.minimum(t[..., 0] * 2.2, 1) * amount[:, None]
        out += (np.sin(angle) * grow_in)[..., None] * across[:, None]
        out += (np.cos(angle) * grow_in * 0.7)[..., None] * outward[:, None]
        # Single strands leave their lock.
        stray = (0.010 + 0.018 * wave + 0.03 * coil) * np.minimum(length * 2, 1)
        out += self._shift[:, None] * (stray[:, None, None].astype(np.float32) * t**1.2)

        bald = np.clip(h["bald"] * 1.25 * self.crown * 1.6 - 0.6 * self._thin, 0, 1)
        widths = (1 - smooth(0.02, 0.45, bald)) * self._edge
        return out.astype(np.float32), widths

    def skull(self, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Centre [3] and radii [3] of the ellipsoid that fits the scalp."""
        return _fit(self.guides.at(vertices))

    def _follow(self, person: Person) -> sparse.csr_matrix:
        """Each strand's shares of its guides; guides beyond the parting count little, as the mean
        of hair to the left and hair to the right would run through the head."""
        strand, guide = self._side(self.roots.rest, person), self._side(self.guides.rest, person)
        same = 1 + strand[:, None] * guide[self._near]
        weight = self._weight * (0.01 + same * same)
        weight /= weight.sum(1, keepdims=True)
        start = np.arange(self.count + 1) * self._near.shape[1]
        return sparse.csr_matrix((weight.ravel(), self._near.ravel(), start), (self.count, GUIDES))

    def _side(self, rest: np.ndarray, person: Person) -> np.ndarray:
        """-1 to 1 for rest points [N,3]: to the right or the left of the parting."""
        part = 0.15 * person.hair["part"] * smooth(0.1, 0.9, rest[:, 2])
        wander = 0.02 * np.sin(9 * rest[:, 2]) + 0.012 * np.sin(23 * rest[:, 2])
        return np.tanh((rest[:, 0] - part - wander) / 0.07).astype(np.float32)

    def _guides(
        self, root: np.ndarray, normal: np.ndarray, person: Person, down: np.ndarray,
        skull: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        h = person.hair
        rest = self.guides.rest
        centre, radii = _fit(root)
        reach_of = _reach(skull, centre, radii)
        x, y, z = rest.T
        span = float(np.interp(
            h["length"], [0, 0.12, 0.25, 0.4, 0.6, 0.8, 1], [0.05, 0.12, 0.3, 0.7, 1.25, 1.9, 2.6]
        ))  # fmt: skip
        coil, tied, volume = h["coil"], h["tied"], h["volume"]
        short = 1 - float(smooth(0.25, 0.9, span))
        top = smooth(7.55, 8.15, y)
        front = smooth(0.85, 1.2, z) * smooth(7.5, 7.85, y)
        side = self._side(rest, person).astype(np.float64)

        drop = np.clip(8.4 - y, 0, 2)
        length = np.maximum(span - 0.62 * drop * min(span, 1.0), 0.38 * span)
        length = length * (1 - (1 - top) * (0.25 + 0.40 * person.male) * short)
        length = length * (1 - 0.45 * smooth(7.25, 6.85, y) * short)
        fringe = h["fringe"] * front * (1 - coil)
        to_brow = np.clip(np.hypot(y - 7.62, 0.22) * 1.12, 0.1, 1.0)
        length = length * (1 - fringe) + fringe * np.minimum(np.maximum(length, 0.3), to_brow)
        length = length * (1 - coil) + coil * np.minimum(0.10 + 0.42 * span, 0.62) * (
            0.55 + 0.45 * top
        )
        bun = np.array([0, centre[1] - 0.05, centre[2] - radii[2] - 0.02])
        to_bun = np.linalg.norm(bun - root, axis=1) * 1.22
        length = length * (1 - tied) + tied * np.minimum(np.maximum(length, 0.3), to_bun)
        lost = crown(rest)
        length = length * (1 - 0.75 * np.clip(h["bald"] * lost * 1.5, 0, 1))
        step = (length / (self.points - 1))[:, None]

        lift = (
            (0.045 + 0.045 * volume + 0.05 * h["wave"]) * min(1.0, 0.25 + span) * (1 - 0.75 * tied)
        )
        lift = lift * (0.5 + 0.5 * top) * (0.6 + 0.8 * self._random[:, 0])
        stand = 0.35 + 0.35 * short + 0.2 * volume * (1 - tied)
        current = root - 0.012 * normal
        out = [current]
        comb = self._comb(current, centre, radii, side, top, front, fringe, short, h, bun)
        d = unit(normal * stand + comb * (1 - 0.5 * short))
        for i in range(1, self.points):
            t = i / (self.points - 1)
            q = (current - centre) / radii
            reach = np.linalg.norm(q, axis=1, keepdims=True)
            outward = unit(q / radii)
            comb = self._comb(current, centre, radii, side, top, front, fringe, short, h, bun)
            hang = smooth(0.10, -0.30, q[:, 1:2]) * (1 - tied) * (1 - coil)
            along = comb - outward * (comb * outward).sum(1, keepdims=True)
            free = down + 0.10 * np.stack([np.sign(x), 0 * x, -0.6 + 0 * x], 1)
            want = unit(along) * (1 - hang) + free * hang
            want = want * (1 - 0.55 * short * (1 - t)) + outward * (0.65 * short * (1 - 0.4 * t))
            want = want * (1 - coil) + coil * (outward * 1.0 + 0.35 * (self._random - 0.5) * 2)
            follow = 0.42 if i < 4 else 0.55
            d = unit(d * (1 - follow) + unit(want) * follow)
            current = current + d * step
            # Not into the head, and not far above it while it lies on it.
            room = (lift * min(1.0, 4 * t))[:, None]
            q = (current - centre) / (radii + room)
            reach = np.linalg.norm(q, axis=1, keepdims=True)
            head_reach = reach_of(q / reach)
            upper = smooth(-0.80, -0.40, q[:, 1:2])
            inside = np.clip(head_reach / reach - 1, 0, None) * upper
            current = current + (current - centre) * inside
            above = np.clip(1.04 * head_reach / reach - 1, None, 0)
            hold = (1 - short) * (1 - coil) * smooth(-0.25, 0.1, q[:, 1:2])
            current = current + (current - centre) * above * hold
            current = _beside_face(current, centre, fringe[:, None])
            out.append(current)
        return np.stack(out, 1)

    def _comb(
        self, p: np.ndarray, centre: np.ndarray, radii: np.ndarray, side: np.ndarray,
        top: np.ndarray, front: np.ndarray, fringe: np.ndarray, short: float, h: dict,
        bun: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """The direction in which hair is combed at points [G,3] of the guides."""
        q = (p - centre) / radii
        high = smooth(0.15, 0.85, q[:, 1])
        zero = np.zeros_like(side)
        swept = np.stack([
            side * (0.95 * high + 0.10), -0.30 - 0.9 * (1 - high),
            -0.45 * high - 0.30 * np.clip(q[:, 2], 0, 1) - 0.05,
        ], 1)  # fmt: skip
        # From the forehead hair rises before it falls.
        edge = (smooth(1.0, 1.3, self.guides.rest[:, 2]) * smooth(0.2, 0.7, q[:, 2]))[:, None]
        rising = np.stack([side * 0.85, 0.40 + zero, -0.60 + zero], 1)
        swept = swept * (1 - edge) + rising * edge
        forward = np.stack([side * 0.35, -0.75 + zero, 0.55 + zero], 1)
        brushed = np.stack([side * 0.30, -0.2 - 0.8 * (1 - high), -0.35 + 0.9 * high], 1)
        out = swept * (1 - short * 0.55) + brushed * short * 0.55
        out = out * (1 - fringe)[:, None] + forward * fringe[:, None]
        back = unit(bun - p)
        return out * (1 - h["tied"]) + back * 1.6 * h["tied"]


def _beside_face(p: np.ndarray, centre: np.ndarray, fringe: np.ndarray) -> np.ndarray:
    """Hair that hangs stays beside the face, outside the neck and in front of the shoulders."""
    x, y, z = p[:, :1], p[:, 1:2], p[:, 2:]
    low = smooth(7.75, 7.35, y)
    # In front of the ears the face is kept free: hair moves back and outwards.
    limit = 0.72 - 0.12 * smooth(7.2, 6.4, y)
    over = np.clip(z - limit, 0, None) * low * (1 - fringe * 0.0)
    z = z - 0.75 * over
    x = x + np.sign(x) * 0.30 * over
    # The neck: wider towards the shoulders.
    wide = 0.66 - 0.12 * smooth(7.0, 6.3, y) + 0.35 * smooth(5.95, 5.35, y)
    r = np.sqrt(x**2 + ((z - 0.12) * 0.85) ** 2)
    scale = np.clip(wide * smooth(7.3, 6.9, y) / np.maximum(r, 0.15), 1.0, 1.6)
    return np.concatenate([x * scale, y, 0.12 + (z - 0.12) * scale], 1)


def _shorten(strands: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """The first ``keep`` [S] of every strand, on as many points."""
    k = strands.shape[1]
    place = np.arange(k)[None] * keep[:, None]
    low = np.minimum(place.astype(int), k - 2)
    share = (place - low).astype(np.float32)[..., None]
    rows = np.arange(len(strands))[:, None]
    return strands[rows, low] * (1 - share) + strands[rows, low + 1] * share


def _spread(points: np.ndarray, count: int) -> np.ndarray:
    """Indices of ``count`` points far from each other."""
    chosen = [0]
    distance = np.linalg.norm(points - points[0], axis=1)
    for _ in range(count - 1):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen)


def _fit(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and radii of the upright ellipsoid nearest to points [N,3], centred at x 0."""
    x, y, z = p.T
    y0, z0 = y.mean() - 0.35, z.mean()
    a = np.stack([x * x, (y - y0) ** 2, (z - z0) ** 2, y - y0, z - z0], 1)
    q, *_ = np.linalg.lstsq(a, np.ones(len(x)), rcond=None)
    cy, cz = -q[3] / (2 * q[1]), -q[4] / (2 * q[2])
    size = 1 + q[1] * cy * cy + q[2] * cz * cz
    return np.array([0, y0 + cy, z0 + cz]), np.sqrt(size / q[:3])


def _basis(u: np.ndarray) -> np.ndarray:
    x, y, z = u.T
    one = np.ones_like(x)
    return np.stack([
        one, x * x, y, z, y * y, z * z, y * z, y**3, z**3, y * y * z, y * z * z, x * x * y,
        x * x * z, x**4, z**4, x * x * z * z,
    ], 1)  # fmt: skip


def _reach(skull: np.ndarray, centre: np.ndarray, radii: np.ndarray):
    """How far the head reaches beyond the ellipsoid, as a function of directions [N,3]."""
    q = (skull - centre) / radii
    reach = np.linalg.norm(q, axis=1)
    fit, *_ = np.linalg.lstsq(_basis(q / reach[:, None]), reach, rcond=None)
    return lambda u: (_basis(u) @ fit)[:, None] + 0.012
