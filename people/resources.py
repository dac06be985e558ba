"""What the GPU holds for a renderer: programs, textures, vertex arrays and framebuffers."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from . import gl, paint
from .extras import Wear
from .facial import BEARD_POINTS, BROW_POINTS, LASH_POINTS, Beard, Brows, Lashes
from .glasses import Glasses
from .hair import Hair
from .mesh import FACE_UV, Head, simplify
from .strands import Ribbons

KEY_SIZE = 768
SKY_TILE, SKY_GRID = 160, (4, 2)
_PROGRAMS = {
    "skin": ("mesh.vert", "skin.frag"), "teeth": ("mesh.vert", "teeth.frag"),
    "cloth": ("mesh.vert", "cloth.frag"), "eye": ("eye.vert", "eye.frag"),
    "strand": ("strand.vert", "strand.frag"), "solid": ("solid.vert", "solid.frag"),
    "lens": ("solid.vert", "lens.frag"), "depth": ("depth.vert", "depth.frag"),
    "depth_strand": ("depth_strand.vert", "depth.frag"),
    "develop": ("quad.vert", "develop.frag"), "background": ("quad.vert", "background.frag"),
}  # fmt: skip


class Resources:
    """``size`` is the width of the developed picture; it is drawn with two by two samples."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.fine = size, size > 128
        self.head = Head()
        self.context = gl.create_context()
        self.programs = {k: gl.program(self.context, *v) for k, v in _PROGRAMS.items()}
        self.vaos = {}
        self._textures(seed)
        self._meshes()
        self._strands(seed)
        self._solids()
        self._targets()

    def use(self, name: str, **uniforms: object) -> None:
        """Set uniforms of a program and the places of its textures."""
        program = self.programs[name]
        units = {k: v for k, v in self.units.items() if k in program}
        gl.set_uniforms(program, **units, **uniforms)

    def _textures(self, seed: int) -> None:
        c, head = self.context, self.head
        painter = paint.Painter(head, seed)
        parts = [head.mask_images[k][::-1] for k in ("lips", "eyelids")]
        rng = np.random.default_rng([seed, 3])
        weave = np.stack([_noise(rng, 256, 1.2), _noise(rng, 256, 14.0)], -1)
        self.maps = {
            "paint": gl.texture(c, paint.tint_map(painter)),
            "growth": gl.texture(c, paint.growth_map(painter)),
            "relief": gl.texture(c, paint.relief_map(painter)),
            "parts": gl.texture(c, np.stack(parts, -1)),
            "iris_map": gl.texture(c, np.swapaxes(paint.iris_map(seed), 0, 1), repeat_x=True),
            "weave": gl.texture(c, weave),
        }
        self.maps["weave"].repeat_x = self.maps["weave"].repeat_y = True
        self.units = {name: i for i, name in enumerate([*self.maps, "sky_depth", "key_depth"])}

    def _meshes(self) -> None:
        c, head, surface = self.context, self.head, self.head.surface
        left, low, right, top = FACE_UV
        uv = (head.uv - [left, low]) / [right - left, top - low]
        kind = np.zeros(head.solid)
        kind[np.unique(surface.quads["tongue"])] = 1
        masks = [head.vertex_masks["mouth"], head.vertex_masks["ears"], kind]
        static = np.concatenate([head.rest[: head.solid], uv, np.stack(masks, 1)], 1)
        self.dynamic = c.buffer(reserve=head.solid * 24)
        fixed = c.buffer(static.astype("f4").tobytes())
        y = head.rest[:, 1]
        # Small triangles cost most; up to 256 px nobody sees the mesh's facets before subdivision.
        level = surface.triangles if self.size > 300 else surface.coarse
        body = level["body"]
        inner = np.concatenate([level["teeth"], level["tongue"]])
        drawn = {
            "skin": ("skin", body[(y[body] > 5.2).any(1)]), "teeth": ("teeth", inner),
            "cloth": ("cloth", body[(y[body] < 6.5).all(1)]),
            "scarf": ("cloth", body[(y[body] > 5.3).any(1)]),
        }  # fmt: skip
        for name, (program, index) in drawn.items():
            self.vaos[name] = _vertex_array(
                c, self.programs[program],
                [(self.dynamic, ["in_position 3f", "in_normal 3f"]),
                 (fixed, ["in_rest 3f", "in_uv 2f", "in_mask 3f"])], self._indices(index),
            )  # fmt: skip
        coarse = surface.coarse["body"]
        for name, index in (
            ("depth_coarse", coarse[(y[coarse] > 5.0).any(1)]),
            ("depth_rough", simplify(head, *((0.13, 0.045) if self.fine else (0.17, 0.06)))),
        ):
            self.vaos[name] = c.vertex_array(
                self.programs["depth"], [(self.dynamic, "3f 12x", "in_position")],
                self._indices(index),
            )  # fmt: skip
        ball, index = _ball()
        self.vaos["eye"] = c.vertex_array(
            self.programs["eye"], [(c.buffer(ball.astype("f4").tobytes()), "3f", "in_local")],
            self._indices(index),
        )  # fmt: skip
        for name in ("develop", "background"):
            self.vaos[name] = c.vertex_array(self.programs[name], [])

    def _strands(self, seed: int) -> None:
        c, head = self.context, self.head
        rng = np.random.default_rng([seed, 9])
        draw, depth = self.programs["strand"], self.programs["depth_strand"]
        # Fewer and wider strands where they are below a pixel anyway.
        fine = self.fine
        self.hair = Hair(head, seed, *((4200, 11) if fine else (1400, 9)))
        self.brows = Brows(head, seed, 420 if fine else 150)
        self.lashes = Lashes(head, seed, 6 if fine else 2)
        self.beard = Beard(head, seed, 4200 if fine else 1300)
        grown = {"hair": self.hair, "brows": self.brows, "lashes": self.lashes, "beard": self.beard}
        self.widths = {name: strands.width for name, strands in grown.items()}
        self.ribbons = {
            "hair": Ribbons(
                c, draw, depth, self.hair.count, self.hair.points, rng, self.hair.layer,
                shadow_every=4, sky_every=self.hair.count // 300,
            ),
            "brows": Ribbons(c, draw, depth, self.brows.count, BROW_POINTS, rng),
            "lashes": Ribbons(c, draw, depth, self.lashes.count, LASH_POINTS, rng),
            "beard": Ribbons(c, draw, depth, self.beard.count, BEARD_POINTS, rng),
        }  # fmt: skip

    def _solids(self) -> None:
        """Glasses, hat and earrings: points and normals come anew for every person."""
        c = self.context
        self.glasses, self.wear = Glasses(self.head), Wear(self.head)
        self.solid_buffers = {}
        for name, program, index in (
            ("frame", "solid", self.glasses.tube_index), ("lens", "lens", self.glasses.lens_index),
            ("hat", "solid", self.wear.hat_index), ("earrings", "solid", self.wear.ring_index),
        ):  # fmt: skip
            buffer = c.buffer(reserve=(int(index.max()) + 1) * 24)
            self.solid_buffers[name] = buffer
            self.vaos[name] = c.vertex_array(
                self.programs[program], [(buffer, "3f 3f", "in_position", "in_normal")],
                self._indices(index),
            )  # fmt: skip
            self.vaos[f"depth_{name}"] = c.vertex_array(
                self.programs["depth"], [(buffer, "3f 12x", "in_position")], self._indices(index)
            )

    def _targets(self) -> None:
        c, size = self.context, self.size * 2
        self.sky_depth, self.sky_target = gl.depth_target(
            c, (SKY_TILE * SKY_GRID[0], SKY_TILE * SKY_GRID[1])
        )
        self.key_depth, self.key_target = gl.depth_target(c, (KEY_SIZE, KEY_SIZE))
        self.linear = c.texture((size, size), 4, dtype="f2")
        self.samples = c.framebuffer([self.linear], c.depth_renderbuffer((size, size)))
        self.output = c.simple_framebuffer((self.size, self.size), 4)
        self.scene = c.buffer(reserve=4 * (16 * (2 + gl.SKY) + 8 * gl.SKY + 4 * 8))

    def _indices(self, index: np.ndarray):
        return self.context.buffer(np.ascontiguousarray(index, np.int32).tobytes())


def _noise(rng: np.random.Generator, size: int, sigma: float) -> np.ndarray:
    """Smooth noise that wraps, uint8 [size,size]."""
    out = gaussian_filter(rng.standard_normal((size, size)), sigma, mode="wrap")
    return (np.clip(0.5 + 0.2 * out / out.std(), 0, 1) * 255).astype(np.uint8)


def _vertex_array(c, program, buffers, index):
    """A vertex array of the attributes that the program kept."""
    content = []
    for buffer, attributes in buffers:
        formats, names = [], []
        for attribute in attributes:
            name, form = attribute.split()
            if name in program:
                formats.append(form)
                names.append(name)
            else:
                formats.append(f"{4 * int(form[0])}x")
        content.append((buffer, " ".join(formats), *names))
    return c.vertex_array(program, content, index)


def _ball(rings: int = 20, sides: int = 28) -> tuple[np.ndarray, np.ndarray]:
    """Unit ball around z, fine about the pupil: points and triangles of its front part."""
    t = np.linspace(0, 1, rings) ** 1.1 * 1.5
    a = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    points = np.stack([
        np.sin(t)[:, None] * np.cos(a), np.sin(t)[:, None] * np.sin(a),
        np.cos(t)[:, None] * np.ones(sides),
    ], -1).reshape(-1, 3)  # fmt: skip
    i, j = np.meshgrid(np.arange(rings - 1), np.arange(sides), indexing="ij")
    k = (j + 1) % sides
    a0, b0, c0, d0 = i * sides + j, i * sides + k, (i + 1) * sides + k, (i + 1) * sides + j
    quads = np.stack([a0, b0, c0, d0], -1).reshape(-1, 4)
    return points, np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
