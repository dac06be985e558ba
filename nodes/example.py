"""Pictures to begin with."""

# pyright: reportMissingImports=false
# (ComfyUI is the host, not a dependency)
from __future__ import annotations

from comfy_api.latest import io

from . import host


class Example(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleExample",
            "Example Photo",
            "People whom the embedded models know, in place of your own photo: put Load Image here "
            "for that.",
            search_aliases=["sample photo", "test image", "demo"],
            inputs=[
                io.Combo.Input(
                    "which",
                    options=["portrait", "group", "clip"],
                    default="portrait",
                    tooltip="portrait: one person. group: three people in one photo. clip: a "
                    "moving head, 16 frames of 12 a second.",
                )
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="The photo, or the clip's frames.")
            ],
        )

    @classmethod
    def execute(cls, which: str) -> io.NodeOutput:
        from ..cycle_core.portraits.examples import example

        return io.NodeOutput(host.image(example(which)))


NODES = [Example]
