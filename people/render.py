"""One person to one picture."""

from __future__ import annotations

from dataclasses import dataclass

import moderngl
import numpy as np

from . import camera, gl, paint
from .facial import BEARD_POINTS, BROW_POINTS, LASH_POINTS, Beard, Brows, Lashes
from .glasses import Glasses
from .hair import Hair
from .lights import SKY_DIRECTIONS, Background, Light, cloth_colour, light_of
from .mesh import Head, simplify
from .person import Person, linear, smooth
from .strands import Ribbons

PIVOT = np.array([0.0, 6.45, 0.15])  # the head turns about the top of the neck
AIM = np.array([0.0, 7.2, 0.45])
KEY_SIZE = 768
SKY_TILE, SKY_GRID = 160, (4, 2)
SAMPLES = 0
BODY_SHARE = 0.25  # of the head's turn that the shoulders make


@dataclass(frozen=True)
class Picture:
    """image uint8 [R,R,3], mask uint8 [R,R], points float32 [5,2] in pixels (eyes, nose, mouth
    corners). The mask is 255 on the face, 128 on hair, neck and clothes, 0 behind."""

    image: np.ndarray
    mask: np.ndarray
    points: np.ndarray


@dataclass(frozen=True)
class Pose:
    """The head's place: ``turn`` [3,3] about PIVOT; eyes as matrices [4,4] of a unit ball."""

    turn: np.ndarray
    body: np.ndarray
    eyes: tuple[np.ndarray, np.ndarray]
    points: np.ndarray  # [5,3] of the crop


class Renderer:
    """Renders people at one resolution; everything random is fixed by ``seed``."""

    def __init__(self, resolution: int = 256, seed: int = 0) -> None:
        self.resolution = resolution
        # Strands need two samples a pixel of 128: smaller pictures are reduced from those.
        self._reduce = max(1, 128 // resolution)
        self._size = resolution * self._reduce
        self._fine = self._size > 128
        self.head = Head()
        self.context = gl.create_context()
        self.background = Background(seed)
        self._find_anchors()
        self._make_textures(seed)
        self._make_meshes()
        self._make_strands(seed)
        self._make_glasses()
        self._make_targets()

    def render(self, person: Person) -> Picture:
        vertices = self.head.morph(person.weights)
        unturned = vertices
        vertices, pose = self._pose(vertices, person)
        normals = self.head.normals(vertices)
        vertices = vertices.astype(np.float32)
        self._dynamic.write(
            np.concatenate([vertices[: self.head.solid], normals], 1).astype("f4").tobytes()
        )
        self._grow(unturned, vertices, normals, person, pose)
        if person.values["glasses"] > 0:
            self._write_glasses(unturned, person, pose)
        light = light_of(person)
        eye = np.array([0.0, 7.2, camera.DISTANCE])
        flat = camera.project(pose.points, eye)
        centre, x, y = camera.ffhq_frame(flat * [1, -1])
        clip = camera.crop_matrix(eye, centre * [1, -1], x * [1, -1], y * [1, -1])
        self._write_scene(clip, eye, light)
        self._draw_depths(light, person.values["glasses"] > 0)
        self._draw(person, pose, light)
        image, mask = self._develop(person)
        plane = np.linalg.inv(np.stack([x, y], 1))
        places = ((flat * [1, -1] - centre) @ plane.T + 1) / 2 * self.resolution
        return Picture(image, mask, places.astype(np.float32))

    # ---------------------------------------------------------------------------------- the mesh

    def _find_anchors(self) -> None:
        head, rest = self.head, self.head.rest
        body = np.unique(head.surface.quads["body"])
        lips = body[head.vertex_masks["lips"][body] > 0.5]
        self._corners = (lips[np.argmin(rest[lips, 0])], lips[np.argmax(rest[lips, 0])])
        middle = body[np.abs(rest[body, 0]) < 0.05]
        middle = middle[(rest[middle, 1] > 6.8) & (rest[middle, 1] < 7.2)]
        self._nose = middle[np.argmax(rest[middle, 2])]
        self._eye_rows = [
            np.unique(head.loose_faces[k]) for k in ("eye_right", "eye_left")
        ]  # in the picture's order: the person's right eye is on the left
        y = rest[:, 1]
        # The chin turns with the head though it is lower than the top of the neck.
        chin = 0.38 * smooth(0.40, 0.90, rest[:, 2])
        self._turns = smooth(5.70, 6.35, y + chin)[:, None]

    def _pose(self, v: np.ndarray, person: Person) -> tuple[np.ndarray, Pose]:
        turn = camera.rotation(person.yaw, person.pitch)
        body = camera.rotation(person.yaw * BODY_SHARE, 0.0)
        d = v - PIVOT
        posed = PIVOT + (d @ turn.T) * self._turns + (d @ body.T) * (1 - self._turns)
        # The gaze is given in the picture: the eyes turn back by what the head turned, in part.
        look = camera.rotation(
            np.clip(person.gaze[0] - 0.55 * person.yaw, -0.6, 0.6),
            np.clip(-person.gaze[1] - 0.5 * person.pitch, -0.45, 0.45),
        )
        eyes = []
        for rows in self._eye_rows:
            centre = v[rows].mean(0)
            radius = np.linalg.norm(v[rows] - centre, axis=1).mean() * 1.0
            m = np.eye(4)
            m[:3, :3] = turn @ look * radius
            m[:3, 3] = PIVOT + turn @ (centre - PIVOT)
            eyes.append(m)
        front = turn @ np.array([0, 0, 0.12])
        points = np.stack(
            [eyes[0][:3, 3] + front, eyes[1][:3, 3] + front, posed[self._nose]]
            + [posed[c] for c in self._corners]
        )
        return posed, Pose(turn, body, (eyes[0], eyes[1]), points)

    # ------------------------------------------------------------------------------------ set up

    def _make_textures(self, seed: int) -> None:
        c, head = self.context, self.head
        painter = paint.Painter(head, seed)
        parts = [head.mask_images[k][::-1] for k in ("lips", "eyelids")]
        rng = np.random.default_rng([seed, 3])
        weave = np.stack([
            gaussian(rng, 256, 1.2), gaussian(rng, 256, 14.0)
        ], -1)  # fmt: skip
        self._maps = {
            "paint": gl.texture(c, paint.tint_map(painter)),
            "growth": gl.texture(c, paint.growth_map(painter)),
            "relief": gl.texture(c, paint.relief_map(painter)),
            "parts": gl.texture(c, np.stack(parts, -1)),
            "iris_map": gl.texture(c, np.swapaxes(paint.iris_map(seed), 0, 1), repeat_x=True),
            "weave": gl.texture(c, weave),
        }
        self._maps["weave"].repeat_x = self._maps["weave"].repeat_y = True
        self._units = {name: i for i, name in enumerate([*self._maps, "sky_depth", "key_depth"])}

    def _make_meshes(self) -> None:
        c, head = self.context, self.head
        left, low, right, top = 0.74, 0.36, 0.99, 0.67
        uv = (head.uv - [left, low]) / [right - left, top - low]
        kind = np.zeros(head.solid)
        kind[np.unique(head.surface.quads["teeth"])] = 1
        kind[np.unique(head.surface.quads["tongue"])] = 2
        static = np.concatenate([
            head.rest[: head.solid], uv,
            np.stack([head.vertex_masks["mouth"], head.vertex_masks["ears"], kind * 0, kind], 1),
        ], 1)  # fmt: skip
        self._dynamic = c.buffer(reserve=head.solid * 24)
        fixed = self._fixed = c.buffer(static.astype("f4").tobytes())
        self._programs = {
            "skin": gl.program(c, "mesh.vert", "skin.frag"),
            "teeth": gl.program(c, "mesh.vert", "teeth.frag"),
            "cloth": gl.program(c, "mesh.vert", "cloth.frag"),
            "eye": gl.program(c, "eye.vert", "eye.frag"),
            "depth": gl.program(c, "depth.vert", "depth.frag"),
            "develop": gl.program(c, "quad.vert", "develop.frag"),
            "background": gl.program(c, "quad.vert", "background.frag"),
        }
        surface = head.surface
        y = head.rest[:, 1]
        # At 64 px nobody sees the facets of the mesh before subdivision.
        body = (surface.triangles if self._fine else surface.coarse)["body"]
        inner = np.concatenate([surface.triangles["teeth"], surface.triangles["tongue"]])
        triangles = {"skin": body[(y[body] > 5.2).any(1)], "teeth": inner, "cloth": body[(y[body] < 6.5).all(1)]}
        self._vaos = {}
        for name, index in triangles.items():
            ib = c.buffer(np.ascontiguousarray(index, np.int32).tobytes())
            self._vaos[name] = _vertex_array(
                c, self._programs[name],
                [(self._dynamic, ["in_position 3f", "in_normal 3f"]),
                 (fixed, ["in_rest 3f", "in_uv 2f", "in_mask 4f"])], ib,
            )  # fmt: skip
        coarse = surface.coarse["body"]
        depth = self._programs["depth"]
        for name, index in (("depth_coarse", coarse[(y[coarse] > 5.0).any(1)]),
            ("depth_rough", simplify(head, 0.13, 0.045)),):
            ib = c.buffer(np.ascontiguousarray(index, np.int32).tobytes())
            self._vaos[name] = c.vertex_array(depth, [(self._dynamic, "3f 12x", "in_position")], ib)
        ball, index = _ball()
        self._vaos["eye"] = c.vertex_array(
            self._programs["eye"], [(c.buffer(ball.astype("f4").tobytes()), "3f", "in_local")],
            c.buffer(index.astype("i4").tobytes()),
        )  # fmt: skip
        for name in ("develop", "background"):
            self._vaos[name] = c.vertex_array(self._programs[name], [])

    def _make_strands(self, seed: int) -> None:
        c, head = self.context, self.head
        rng = np.random.default_rng([seed, 9])
        self._programs["strand"] = gl.program(c, "strand.vert", "strand.frag")
        self._programs["depth_strand"] = gl.program(c, "depth_strand.vert", "depth.frag")
        draw, depth = self._programs["strand"], self._programs["depth_strand"]
        self._hair = Hair(head, seed, *((4800, 13) if self._fine else (1700, 9)))
        self._brows = Brows(head, seed)
        self._lashes, self._beard = Lashes(head, seed), Beard(head, seed)
        self._ribbons = {
            "hair": Ribbons(
                c, draw, depth, self._hair.count, self._hair.points, rng, self._hair.layer,
                shadow_every=4, sky_every=self._hair.count // 300,
            ),
            "brows": Ribbons(c, draw, depth, self._brows.count, BROW_POINTS, rng),
            "lashes": Ribbons(c, draw, depth, self._lashes.count, LASH_POINTS, rng),
            "beard": Ribbons(c, draw, depth, self._beard.count, BEARD_POINTS, rng),
        }

    def _make_glasses(self) -> None:
        c = self.context
        self._glasses = Glasses(self.head)
        self._programs["solid"] = gl.program(c, "solid.vert", "solid.frag")
        self._programs["lens"] = gl.program(c, "solid.vert", "lens.frag")
        self._frame_buffers = {}
        for name, index in (("solid", self._glasses.tube_index), ("lens", self._glasses.lens_index)):
            buffer = c.buffer(reserve=(int(index.max()) + 1) * 24)
            ib = c.buffer(index.tobytes())
            self._frame_buffers[name] = buffer
            self._vaos[name] = c.vertex_array(
                self._programs[name], [(buffer, "3f 3f", "in_position", "in_normal")], ib
            )
            self._vaos[f"depth_{name}"] = c.vertex_array(
                self._programs["depth"], [(buffer, "3f 12x", "in_position")], ib
            )

    def _write_glasses(self, unturned: np.ndarray, person: Person, pose: Pose) -> None:
        frame = self._glasses.build(unturned, person)
        for name, points, normals in (
            ("solid", frame.tubes, frame.tube_normals), ("lens", frame.lenses, frame.lens_normals)
        ):  # fmt: skip
            turned = PIVOT + (points - PIVOT) @ pose.turn.T
            data = np.concatenate([turned, normals @ pose.turn.T], 1)
            self._frame_buffers[name].write(data.astype("f4").tobytes())

    def _draw_glasses(self, person: Person) -> None:
        c, size = self.context, person.values["glasses"]
        plastic = smooth(0.25, 0.6, size)
        gold = linear(np.array([190, 160, 110])) * (1 - plastic)
        horn = linear(np.array([34, 24, 20])) * plastic
        self._use(
            "solid", base=tuple(horn + gold * 0.3), metal=tuple(gold * 0.9 + 0.045), rough=0.32,
            opacity=1.0,
        )  # fmt: skip
        self._vaos["solid"].render()
        c.enable(moderngl.BLEND)
        c.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA
        self._use("lens", opacity=float(np.clip(size * 4, 0, 1)), tint=(0.6, 0.7, 0.75, 0.0))
        self._vaos["lens"].render()
        c.disable(moderngl.BLEND)

    def _grow(self, unturned, vertices, normals, person: Person, pose: Pose) -> None:
        """Strands of the hair grow on the unturned head, all others on the turned one."""
        down = pose.turn.T @ np.array([0.0, -1.0, 0.0])
        before = normals @ pose.turn
        strands, widths = self._hair.grow(unturned, before, person, down)
        shape = strands.shape
        turned = PIVOT + (strands.reshape(-1, 3) - PIVOT) @ pose.turn.T
        self._ribbons["hair"].write(turned.reshape(shape), widths)
        self._ribbons["brows"].write(*self._brows.grow(vertices, normals, person))
        self._ribbons["lashes"].write(*self._lashes.grow(vertices, person))
        if person.hair["beard"] > 0:
            self._ribbons["beard"].write(*self._beard.grow(vertices, normals, person))

    def _make_targets(self) -> None:
        c, size = self.context, self._size * 2
        self._sky_depth, self._sky_target = gl.depth_target(
            c, (SKY_TILE * SKY_GRID[0], SKY_TILE * SKY_GRID[1])
        )
        self._key_depth, self._key_target = gl.depth_target(c, (KEY_SIZE, KEY_SIZE))
        self._samples = c.framebuffer(
            [c.renderbuffer((size, size), 4, samples=SAMPLES, dtype="f2")],
            c.depth_renderbuffer((size, size), samples=SAMPLES),
        )
        self._linear = c.texture((size, size), 4, dtype="f2")
        self._resolved = c.framebuffer([self._linear])
        self._output = c.simple_framebuffer((self._size, self._size), 4)
        self._scene = c.buffer(reserve=4 * (16 * (2 + gl.SKY) + 8 * gl.SKY + 4 * 9))

    # ----------------------------------------------------------------------------------- drawing

    def _write_scene(self, clip: np.ndarray, eye: np.ndarray, light: Light) -> None:
        half = np.diag([0.5, 0.5, 0.5, 1.0])
        half[:3, 3] = 0.5
        self._key_matrix = camera.orthographic(light.key, AIM, 2.0)
        self._sky_matrices = [camera.orthographic(d, AIM, 1.75) for d in SKY_DIRECTIONS]
        tiles = []
        for i, m in enumerate(self._sky_matrices):
            tile = np.eye(4)
            tile[0, 0], tile[1, 1] = 1 / SKY_GRID[0], 1 / SKY_GRID[1]
            tile[0, 3], tile[1, 3] = (i % 4) / SKY_GRID[0], (i // 4) / SKY_GRID[1]
            tiles.append((tile @ half @ m).T)

        def four(v: np.ndarray, w: float = 0.0) -> np.ndarray:
            return np.append(v, w)

        flat = [clip.T, (half @ self._key_matrix).T, *tiles]
        flat += [four(d) for d in SKY_DIRECTIONS] + [four(s) for s in light.sky]
        flat += [
            four(eye), four(light.key, light.softness), four(light.key_colour, light.lamp),
            four(light.fill), four(light.fill_colour), four(light.rim), four(light.rim_colour),
            four(light.catch),
        ]  # fmt: skip
        data = np.concatenate([np.asarray(a, np.float32).ravel() for a in flat])
        self._scene.write(data.astype("f4").tobytes())
        self._scene.bind_to_uniform_block(0)

    def _draw_depths(self, light: Light, glasses: bool) -> None:
        c, depth = self.context, self._programs["depth"]
        c.enable_only(moderngl.DEPTH_TEST | moderngl.CULL_FACE)
        self._sky_target.use()
        self._sky_target.clear(depth=1.0)
        for i, m in enumerate(self._sky_matrices):
            self._sky_target.viewport = (
                SKY_TILE * (i % 4), SKY_TILE * (i // 4), SKY_TILE, SKY_TILE
            )  # fmt: skip
            c.enable(moderngl.CULL_FACE)
            depth["matrix"].write(m.T.astype("f4").tobytes())
            self._vaos["depth_rough"].render()
            c.disable(moderngl.CULL_FACE)
            self._hair_depth(m, SKY_DIRECTIONS[i], 1)
        self._key_target.use()
        self._key_target.clear(depth=1.0)
        depth["matrix"].write(self._key_matrix.T.astype("f4").tobytes())
        self._vaos["depth_coarse"].render()
        if glasses:
            self._vaos["depth_solid"].render()
        self._hair_depth(self._key_matrix, light.key, 0)

    def _hair_depth(self, matrix: np.ndarray, toward: np.ndarray, level: int) -> None:
        ribbons = self._ribbons["hair"]
        gl.set_uniforms(
            self._programs["depth_strand"], matrix=matrix.T, toward=tuple(toward),
            width=self._hair.width * ribbons.depth_width[level], taper=0.5,
        )  # fmt: skip
        ribbons.draw_depth(level)

    def _use(self, name: str, **uniforms: object) -> None:
        program = self._programs[name]
        units = {k: v for k, v in self._units.items() if k in program}
        gl.set_uniforms(program, **units, **uniforms)

    def _draw(self, person: Person, pose: Pose, light: Light) -> None:
        c = self.context
        for name, texture in self._maps.items():
            texture.use(self._units[name])
        self._sky_depth.use(self._units["sky_depth"])
        self._key_depth.use(self._units["key_depth"])
        self._samples.use()
        self._samples.clear(0, 0, 0, 0)
        self._use("background", **self.background.uniforms(person))
        self._vaos["background"].render(vertices=3)
        c.enable(moderngl.CULL_FACE)
        self._draw_skin(person)
        c.disable(moderngl.CULL_FACE)
        self._use("teeth", inflate=0.0)
        self._vaos["teeth"].render()
        f = person.values
        wide = f["neckline"]
        neck = (5.78 - 0.18 * wide, 6.12, 0.10 - 0.10 * wide, 0.35 * wide)
        self._use("cloth", inflate=0.05, cloth=tuple(cloth_colour(person)), neck=neck)
        self._vaos["cloth"].render()
        iris = person.iris
        self._use(
            "eye", iris_outer=tuple(iris), iris_inner=tuple(iris * [1.3, 1.0, 0.75]),
            pupil=0.36, redness=0.35 + 0.4 * person.old,
        )  # fmt: skip
        for m in pose.eyes:
            gl.set_uniforms(self._programs["eye"], eye_matrix=m.T)
            self._vaos["eye"].render()
        self._draw_strands(person, pose)
        if person.values["glasses"] > 0:
            self._draw_glasses(person)

    def _draw_strands(self, person: Person, pose: Pose) -> None:
        h, colour = person.hair, person.hair_colour
        centre = PIVOT + pose.turn @ (np.array([0, 7.55, 0.35]) - PIVOT)
        volume = (centre[0], centre[1], centre[2], 0.0)
        dark_brow = colour * (0.75 - 0.25 * person.dark)
        common = {"cover": 1.0, "volume": volume, "shade": (0.0, 0.0, 0.0), "grey": h["grey"]}
        self._use(
            "strand", **{**common, "grey": 0.45 * h["grey"]}, hair=tuple(dark_brow), tip=tuple(dark_brow), width=0.008,
            taper=0.25, gloss=(0.5, 0.5, 0.3), root=(0.0, 0.3, 0.0, 0.0),
        )  # fmt: skip
        self._ribbons["brows"].draw()
        if h["beard"] > 0:
            beard = colour * np.array([1.0, 0.92, 0.88])
            self._use(
                "strand", **{**common, "grey": min(1.0, h["grey"] * 1.15)}, hair=tuple(beard * 0.9),
                tip=tuple(beard * 1.15), width=0.0068, taper=0.3, gloss=(0.6, 0.7, 0.3),
                root=(0.35, 0.4, 0.0, 0.0),
            )  # fmt: skip
            self._ribbons["beard"].draw()
        lash = np.array([0.012, 0.010, 0.009]) + 0.15 * colour
        self._use(
            "strand", **{**common, "grey": 0.0}, hair=tuple(lash), tip=tuple(lash), width=0.007,
            taper=0.15, gloss=(0.2, 0.0, 0.3), root=(0.0, 0.0, 0.0, 0.0),
        )  # fmt: skip
        self._ribbons["lashes"].draw()
        width = self._hair.width * (0.45 + 0.55 * float(smooth(0.05, 0.35, h["length"])))
        shine = (1 - 0.75 * h["coil"]) * (1 - 0.25 * h["wave"])
        self._use(
            "strand", **{**common, "cover": 0.5}, hair=tuple(colour), tip=tuple(colour * 1.25), width=width,
            taper=0.35, gloss=(1.1 * shine, 1.1 * shine, 0.16 + 0.12 * h["wave"]),
            root=(0.45, 0.26, 0.0, 0.60),
        )  # fmt: skip
        self._ribbons["hair"].draw()

    def _draw_skin(self, person: Person) -> None:
        f, w = person.values, person.weights
        old, male = person.old, person.male
        happy = max(f["smile"], 0)
        lines = (
            0.011 + 0.010 * old,
            0.060 * float(smooth(0.15, 1.0, old)) * (1 - 0.35 * person.dark) + 0.005,
            0.075 * max(f["brows"], 0) * (0.35 + old),
            0.04 * happy * (0.22 + old),
        )
        skin = person.skin
        blood = skin * np.array([0.94, 0.56, 0.57]) + np.array([0.02, 0.0, 0.0])
        grey = person.hair["grey"]
        hair = person.hair_colour * (1 - 0.9 * grey) + 0.30 * grey
        scalp = 0.45 * hair + 0.05 * skin
        lipstick = linear(np.array([150, 28, 42])) * (1.15 - 0.5 * person.dark)
        self._use(
            "skin", inflate=0.0, skin=tuple(skin), blood=tuple(blood), lip_paint=tuple(lipstick),
            lip_strength=0.75 * f["lip_colour"] * (1 - male),
            amounts=(
                0.75 * f["freckles"] * (1 - person.dark) + 0.10 * old,
                0.28 + 0.35 * old,
                0.50 + 0.25 * old + 0.25 * person.dark,
                (0.30 + 0.75 * f["blush"]) * (1 - 0.55 * person.dark),
            ),
            lines=lines, hair=tuple(hair * 0.8), scalp=tuple(scalp), gloss=f["skin_gloss"],
            stubble=(
                0.45 * float(smooth(0.0, 0.45, person.hair["beard"])) + 0.10 * male * (1 - old),
                0.93, person.hair["bald"],
            ),
        )  # fmt: skip
        self._vaos["skin"].render()

    def _develop(self, person: Person) -> tuple[np.ndarray, np.ndarray]:
        c = self.context
        c.copy_framebuffer(self._resolved, self._samples)
        c.disable(moderngl.DEPTH_TEST)
        self._output.use()
        self._linear.use(15)
        self._use("develop", scene=15, exposure=1.28, contrast=0.18)
        self._vaos["develop"].render(vertices=3)
        raw = np.frombuffer(self._output.read(components=4, alignment=1), np.uint8)
        c.enable(moderngl.DEPTH_TEST)
        pixels = raw.reshape(self._size, self._size, 4)[::-1]
        if self._reduce > 1:
            r, k = self.resolution, self._reduce
            blocks = pixels.reshape(r, k, r, k, 4).astype(np.float32).mean((1, 3))
            pixels = np.rint(blocks).astype(np.uint8)
        return np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3])


def gaussian(rng: np.random.Generator, size: int, sigma: float) -> np.ndarray:
    """Smooth noise that wraps, uint8 [size,size]."""
    from scipy.ndimage import gaussian_filter

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
