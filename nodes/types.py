"""The sockets of the pack, and what travels through them."""

# pyright: reportMissingImports=false
# (ComfyUI is the host, not a dependency)
from __future__ import annotations

from comfy_api.latest import io

GENERATOR = io.Custom("CYCLE_GENERATOR")  # host.LoadedModel with a cycle_core Generator
ENCODER = io.Custom("CYCLE_ENCODER")  # host.LoadedModel with a cycle_core Encoder
CODE = io.Custom("CYCLE_CODE")  # cycle_core.Code, on the CPU
DIRECTION = io.Custom("CYCLE_DIRECTION")  # cycle_core.Direction, on the CPU
FRAME = io.Custom("CYCLE_FRAME")  # cycle_core.faces.video.Places: where crops were taken
LANDMARKS = io.Custom("FACE_LANDMARKS")  # of ComfyUI's own face landmark nodes
# what ComfyUI's own nodes give that draw or detect boxes; the second is what its widget is called
BOXES = io.Custom("BOUNDING_BOX,BOUNDING_BOXES")
# a socket for what gives either, where one type alone would be a widget
NUMBER = io.Custom("FLOAT,INT")
