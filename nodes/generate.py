"""From codes to pictures."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from . import host
from .types import CODE, GENERATOR


class Generate(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleGenerate",
            "Generate",
            "Draws the pictures of codes.",
            search_aliases=["stylegan generate", "synthesis", "decode code"],
            inputs=[
                CODE.Input("code", tooltip="The codes to draw; one picture for each."),
                GENERATOR.Input(
                    "generator", tooltip="The generator, or a tuned one, that the codes are for."
                ),
                io.Float.Input(
                    "truncation",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="1 draws the codes themselves, 0 the generator's mean face, between "
                    "them a mixture.",
                ),
                io.Combo.Input(
                    "noise",
                    options=["const", "random", "none"],
                    default="const",
                    tooltip="Of fine detail such as single hairs: const is always the same and "
                    "what tuned generators need, random is drawn anew by the seed.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**63 - 1,
                    control_after_generate=False,
                    tooltip="Of random noise; the others do not depend on it.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images", tooltip="The pictures, in the generator's resolution."
                )
            ],
        )

    @classmethod
    def execute(
        cls, code: Any, generator: host.Held, truncation: float, noise: str, seed: int
    ) -> io.NodeOutput:
        from ..cycle_core import generate
        from ..cycle_core.invert.encoding import BATCH

        memory = host.drawing_memory(generator.module, min(code.batch, BATCH))
        G = generator.ready(memory)
        progress = host.Progress(previews=code.batch > BATCH)
        drawn = host.sparingly(
            lambda batch: generate(
                G, code, noise, truncation, seed, generator.dtype, batch, progress
            ),
            BATCH,
        )
        return io.NodeOutput(host.image(drawn))


NODES = [Generate]
