"""A window-less OpenGL context and the few helpers that the renderer needs."""

from __future__ import annotations

import re
from pathlib import Path

import moderngl
import numpy as np

_FOLDER = Path(__file__).with_name("shaders")
SKY = 8


def create_context() -> moderngl.Context:
    """OpenGL without a window; on a machine without a GPU this is Mesa's software renderer."""
    context = moderngl.create_context(standalone=True, backend="egl")
    context.enable(moderngl.DEPTH_TEST)
    return context


def program(context: moderngl.Context, vertex: str, fragment: str) -> moderngl.Program:
    """A program from two files of `shaders/`; the shared parts that they use are put before."""

    def source(name: str) -> str:
        text = (_FOLDER / name).read_text()
        parts = ["common.glsl"] if not name.startswith("depth") else []
        if "sky_light(" in text:
            parts.append("sky.glsl")
        if "key_light" in text:
            parts.append("key.glsl")
        return "\n".join(["#version 330", *((_FOLDER / p).read_text() for p in parts), text])

    out = context.program(vertex_shader=source(vertex), fragment_shader=source(fragment))
    if "Scene" in out:
        out["Scene"].binding = 0
    return out


def set_uniforms(target: moderngl.Program, **values: object) -> None:
    """Set what the program has; uniforms that the compiler removed are skipped."""
    for name, value in values.items():
        if name not in target:
            continue
        if isinstance(value, np.ndarray):
            target[name].write(np.ascontiguousarray(value, dtype=np.float32).tobytes())
        else:
            target[name].value = value


def texture(context: moderngl.Context, values: np.ndarray, repeat_x: bool = False):
    """A texture from uint8 [H,W,C], row 0 at the bottom."""
    height, width, channels = values.shape
    out = context.texture((width, height), channels, np.ascontiguousarray(values).tobytes())
    out.filter = (moderngl.LINEAR, moderngl.LINEAR)
    out.repeat_x, out.repeat_y = repeat_x, False
    return out


def depth_target(context: moderngl.Context, size: tuple[int, int]):
    """A depth texture for shadow comparisons and its framebuffer."""
    depth = context.depth_texture(size)
    depth.compare_func = "<="
    depth.filter = (moderngl.LINEAR, moderngl.LINEAR)
    depth.repeat_x = depth.repeat_y = False
    return depth, context.framebuffer(depth_attachment=depth)


def sources() -> list[Path]:
    """All files that decide what a picture looks like, in a fixed order."""
    here = Path(__file__).parent
    tools = "sheet|dataset|scenes|sets|examples|make_|__init__"
    names = [p for p in sorted(here.glob("*.py")) if not re.match(tools, p.name)]
    return [*names, *sorted(_FOLDER.glob("*"))]
