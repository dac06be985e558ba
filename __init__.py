"""The entry point of the ComfyUI node pack; the library is `cycle_core`, the nodes are in `nodes`.

Nothing is imported before ComfyUI asks for the nodes, so that tools may import this file anywhere.
"""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    from .nodes import CycleEncoding

    return CycleEncoding()
