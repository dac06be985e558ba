"""The nodes, thin ones: a schema, and one call of the library. One subject a file."""

# pyright: reportMissingImports=false
# (ComfyUI is the host, not a dependency)
from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import (
    blend,
    edit,
    editor,
    example,
    face,
    folders,
    generate,
    host,
    invert,
    load,
    project,
    saved,
    show,
)


class CycleEncoding(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        folders.register_folders()
        host.name_errors()
        folders.tell_of_spaces()
        rooms = (load, saved, example, face, invert, project, blend, edit, editor, generate, show)
        return [node for room in rooms for node in room.NODES]
