"""One person, or several, to one picture."""

from __future__ import annotations

from dataclasses import dataclass

import moderngl
import numpy as np

from . import camera, gl, looks
from .extras import NONE, Extras
from .lights import SKY_DIRECTIONS, Background, Light, light_of
from .person import Person
from .pose import Pose, Poser, View, frame
from .resources import SKY_GRID, SKY_TILE, Resources

AIM = np.array([0.0, 7.2, 0.45])  # what the lamps shine on


@dataclass(frozen=True)
class Picture:
    """image uint8 [R,R,3], mask uint8 [R,R], points float32 [5,2] in pixels (eyes, nose, mouth
    corners; [P,5,2] for a scene). The mask is 255 on the face, 128 on hair, neck and clothes, 0
    behind."""

    image: np.ndarray
    mask: np.ndarray
    points: np.ndarray
    visible: np.ndarray  # bool, one for each point: nobody stands before it


class Renderer:
    """Renders people at one resolution; everything random is fixed by ``seed``."""

    def __init__(self, resolution: int = 256, seed: int = 0) -> None:
        self.resolution = resolution
        # Strands need two samples a pixel of 128: smaller pictures are reduced from those.
        self._reduce = max(1, 128 // resolution)
        self._gpu = Resources(resolution * self._reduce, seed)
        self._poser = Poser(self._gpu.head)
        self._background = Background(seed)

    def render(self, person: Person, view: View | None = None, extras: Extras = NONE) -> Picture:
        """The FFHQ crop of a person, or the picture of a camera that does not align."""
        picture = self.scene([(person, view, extras)])
        return Picture(picture.image, picture.mask, picture.points[0], picture.visible[0])

    def scene(self, people: list[tuple[Person, View | None, Extras]]) -> Picture:
        """Several people in one picture, the farthest first; the first one's background."""
        gpu = self._gpu
        gpu.samples.use()
        gpu.samples.clear(0, 0, 0, 0)
        places, drawn = [], []
        for number, (person, view, extras) in enumerate(people):
            places.append(self._person(person, view, extras, first=number == 0))
            if len(people) > 1:
                drawn.append(self._colours(places[-1]))
        image, mask = self._develop()
        visible = np.ones((len(people), 5), bool)
        for k, before in enumerate(drawn):
            visible[k] = np.abs(self._colours(places[k]) - before).max(1) < 1e-3
        return Picture(image, mask, np.stack(places) * self.resolution, visible)

    def _colours(self, places: np.ndarray) -> np.ndarray:
        """Colours [5,4] drawn so far at points 0 to 1; nothing at points outside the picture."""
        size = self._gpu.size * 2
        drawn = np.frombuffer(self._gpu.linear.read(), np.float16).reshape(size, size, 4)
        column, row = np.floor(places * size).astype(int).T
        inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
        out = np.zeros((5, 4), np.float32)
        out[inside] = drawn[size - 1 - row[inside], column[inside]]
        return out

    def _person(self, person: Person, view: View | None, extras: Extras, first: bool) -> np.ndarray:
        gpu, person = self._gpu, looks.wearing(person, extras)
        unturned = gpu.head.morph(person.weights)
        vertices, pose = self._poser.pose(unturned, person)
        normals = gpu.head.normals(vertices)
        data = np.concatenate([vertices[: gpu.head.solid], normals], 1)
        gpu.dynamic.write(data.astype("f4").tobytes())
        self._grow(unturned, vertices, normals, person, pose)
        solids, cut = self._write_solids(unturned, person, pose, extras)
        light = looks.with_extras(light_of(person), extras)
        eye, clip, places = frame(pose, view)
        self._write_scene(clip, eye, light)
        hidden = extras.scarf > 0
        self._draw_depths(light, solids, hidden)

        c = gpu.context
        for name, texture in gpu.maps.items():
            texture.use(gpu.units[name])
        gpu.sky_depth.use(gpu.units["sky_depth"])
        gpu.key_depth.use(gpu.units["key_depth"])
        gpu.samples.use()
        if first:
            c.disable(moderngl.DEPTH_TEST)
            gpu.use(
                "background", **self._background.uniforms(person), pattern=looks.pattern(extras)
            )
            gpu.vaos["background"].render(vertices=3)
        c.enable(moderngl.DEPTH_TEST)
        _clear_depth(gpu)
        c.enable(moderngl.CULL_FACE)
        gpu.use("skin", **looks.skin(person, extras))
        gpu.vaos["skin"].render()
        c.disable(moderngl.CULL_FACE)
        gpu.use("teeth", inflate=0.0)
        gpu.vaos["teeth"].render()
        gpu.use("cloth", **looks.cloth(person))
        gpu.vaos["cloth"].render()
        if hidden:
            gpu.use("cloth", **looks.scarf(extras))
            gpu.vaos["scarf"].render()
        gpu.use("eye", **looks.eye(person))
        for m in pose.eyes:
            gl.set_uniforms(gpu.programs["eye"], eye_matrix=m.T)
            gpu.vaos["eye"].render()
        for name, uniforms in looks.strands(person, pose, gpu.widths, cut):
            if not (name == "hair" and hidden):
                gpu.use("strand", **uniforms)
                gpu.ribbons[name].draw()
        for name in solids:
            gpu.use("solid", **looks.solid(name, person, extras))
            gpu.vaos[name].render()
        if "frame" in solids:
            c.enable(moderngl.BLEND)
            c.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA
            gpu.use(
                "lens",
                opacity=float(np.clip(person.values["glasses"] * 4, 0, 1)),
                tint=looks.lens(extras),
            )
            gpu.vaos["lens"].render()
            c.disable(moderngl.BLEND)
        return places

    def _grow(self, unturned, vertices, normals, person: Person, pose: Pose) -> None:
        """Strands of the hair grow on the unturned head, all others on the turned one."""
        gpu = self._gpu
        down = pose.turn.T @ np.array([0.0, -1.0, 0.0])
        strands, widths = gpu.hair.grow(unturned, normals @ pose.turn, person, down)
        gpu.ribbons["hair"].write(
            pose.turned(strands.reshape(-1, 3)).reshape(strands.shape), widths
        )
        gpu.ribbons["brows"].write(*gpu.brows.grow(vertices, normals, person))
        gpu.ribbons["lashes"].write(*gpu.lashes.grow(vertices, person))
        if person.hair["beard"] > 0:
            gpu.ribbons["beard"].write(*gpu.beard.grow(vertices, normals, person))

    def _write_solids(
        self, unturned: np.ndarray, person: Person, pose: Pose, extras: Extras
    ) -> tuple[list[str], np.ndarray]:
        """Names of the solids that the person wears, and the plane above which hair is hidden."""
        gpu, parts = self._gpu, {}
        cut = np.array([0.0, 0.0, 0.0, -1.0])
        if person.values["glasses"] > 0:
            made = gpu.glasses.build(unturned, person)
            parts["frame"] = made.tubes, made.tube_normals
            parts["lens"] = made.lenses, made.lens_normals
        if extras.hat > 0:
            points, normals, plane = gpu.wear.hat(extras, *gpu.hair.skull(unturned))
            parts["hat"] = points, normals
            cut = np.append(pose.turn @ plane[:3], plane[3])
            origin = pose.turned(np.zeros((1, 3)))[0]
            cut[3] -= cut[:3] @ origin
        if extras.earrings > 0:
            parts["earrings"] = gpu.wear.earrings(extras, unturned)
        for name, (points, normals) in parts.items():
            data = np.concatenate([pose.turned(points), normals @ pose.turn.T], 1)
            gpu.solid_buffers[name].write(data.astype("f4").tobytes())
        return [name for name in parts if name != "lens"], cut

    def _write_scene(self, clip: np.ndarray, eye: np.ndarray, light: Light) -> None:
        half = np.diag([0.5, 0.5, 0.5, 1.0])
        half[:3, 3] = 0.5
        self._key_matrix = camera.orthographic(light.key, AIM, 2.0)
        self._sky_matrices = [camera.orthographic(d, AIM, 1.75) for d in SKY_DIRECTIONS]
        tiles = []
        columns, rows = SKY_GRID
        for i, m in enumerate(self._sky_matrices):
            tile = np.diag([1 / columns, 1 / rows, 1.0, 1.0])
            tile[:2, 3] = (i % columns) / columns, (i // columns) / rows
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
        self._gpu.scene.write(data.tobytes())
        self._gpu.scene.bind_to_uniform_block(0)

    def _draw_depths(self, light: Light, solids: list[str], bare: bool) -> None:
        gpu, c = self._gpu, self._gpu.context
        depth, columns = gpu.programs["depth"], SKY_GRID[0]
        c.enable_only(moderngl.DEPTH_TEST | moderngl.CULL_FACE)
        gpu.sky_target.use()
        gpu.sky_target.clear(depth=1.0)
        for i, m in enumerate(self._sky_matrices):
            corner = SKY_TILE * (i % columns), SKY_TILE * (i // columns)
            gpu.sky_target.viewport = (*corner, SKY_TILE, SKY_TILE)
            c.enable(moderngl.CULL_FACE)
            depth["matrix"].write(m.T.astype("f4").tobytes())
            gpu.vaos["depth_rough"].render()
            c.disable(moderngl.CULL_FACE)
            if not bare:
                self._hair_depth(m, SKY_DIRECTIONS[i], 1)
        gpu.key_target.use()
        gpu.key_target.clear(depth=1.0)
        depth["matrix"].write(self._key_matrix.T.astype("f4").tobytes())
        gpu.vaos["depth_coarse"].render()
        for name in solids:
            gpu.vaos[f"depth_{name}"].render()
        if not bare:
            self._hair_depth(self._key_matrix, light.key, 0)

    def _hair_depth(self, matrix: np.ndarray, toward: np.ndarray, level: int) -> None:
        ribbons = self._gpu.ribbons["hair"]
        gl.set_uniforms(
            self._gpu.programs["depth_strand"], matrix=matrix.T, toward=tuple(toward),
            width=self._gpu.hair.width * ribbons.depth_width[level], taper=0.5,
        )  # fmt: skip
        ribbons.draw_depth(level)

    def _develop(self) -> tuple[np.ndarray, np.ndarray]:
        gpu = self._gpu
        gpu.context.disable(moderngl.DEPTH_TEST)
        gpu.output.use()
        gpu.linear.use(15)
        gpu.use("develop", scene=15, exposure=1.28, contrast=0.18)
        gpu.vaos["develop"].render(vertices=3)
        raw = np.frombuffer(gpu.output.read(components=4, alignment=1), np.uint8)
        pixels = raw.reshape(gpu.size, gpu.size, 4)[::-1]
        if self._reduce > 1:
            r, k = self.resolution, self._reduce
            blocks = pixels.reshape(r, k, r, k, 4).astype(np.float32).mean((1, 3))
            pixels = np.rint(blocks).astype(np.uint8)
        return np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3])


def _clear_depth(gpu: Resources) -> None:
    """Forget the depth of what was drawn, but not its colour: the next person is in front."""
    gpu.samples.color_mask = False, False, False, False
    gpu.samples.clear(depth=1.0)
    gpu.samples.color_mask = True, True, True, True
    gpu.samples.use()
