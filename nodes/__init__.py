"""The nodes, thin ones: a schema, and one call of the library. One subject a file."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import generate, host, invert, load


class CycleEncoding(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        host.register_folders()
        return [*load.NODES, *invert.NODES, *generate.NODES]
