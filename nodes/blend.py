"""A generator of two."""

# pyright: reportMissingImports=false
# (ComfyUI is the host, not a dependency)
from __future__ import annotations

from comfy_api.latest import io

from ..cycle_core.models.settings import BlendSettings
from . import host
from .types import GENERATOR
from .widgets import number

PARTS = ["all layers", "from the resolution on", "below the resolution", "these layers"]


class BlendGenerators(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleBlendGenerators",
            "Blend Generators",
            "Load and save",
            "A generator of two, as a rule one and its fine-tuned child: layers of the one with "
            "layers of the other, or weights between theirs.",
            search_aliases=["layer swapping", "toonify", "merge models", "interpolate networks"],
            inputs=[
                GENERATOR.Input(
                    "first",
                    tooltip="The generator whose codes, encoders and directions will fit the mix.",
                ),
                GENERATOR.Input("second", tooltip="Another generator of the same shape."),
                number(
                    BlendSettings,
                    "amount",
                    "How much of the second is in the layers that are blended; 1 swaps them.",
                    step=0.05,
                ),
                io.Combo.Input(
                    "part",
                    options=PARTS,
                    default=PARTS[1],
                    tooltip="Which layers are blended: those from the resolution on change look "
                    "and colours, those below it pose and shape.",
                ),
                io.Int.Input(
                    "resolution",
                    default=32,
                    min=8,
                    max=4096,
                    tooltip="Width in pixels at which the layers are divided.",
                ),
                io.String.Input(
                    "layers",
                    default="",
                    tooltip="Which layers are blended, such as 0-3+6, where part is these layers.",
                ),
            ],
            outputs=[GENERATOR.Output(display_name="generator", tooltip="The mixed generator.")],
        )

    @classmethod
    def execute(
        cls,
        first: host.LoadedModel,
        second: host.LoadedModel,
        amount: float,
        part: str,
        resolution: int,
        layers: str,
    ) -> io.NodeOutput:
        from ..cycle_core.directions.direction import parse_layers
        from ..cycle_core.models.blend import blend, layers_from

        a, b = first.module, second.module
        chosen = None
        if part == PARTS[3]:
            chosen = parse_layers(layers, a.num_ws)
        elif part != PARTS[0]:
            chosen = layers_from(a, resolution, below=part == PARTS[2])
        mixed = blend(a, b, amount, chosen)
        return io.NodeOutput(host.LoadedModel.of(mixed, first.source, first.dtype))


NODES = [BlendGenerators]
