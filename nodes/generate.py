"""From codes to pictures."""

# pyright: reportMissingImports=false
# (ComfyUI is the host, not a dependency)
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
            "Generate",
            "The pictures of codes.",
            search_aliases=["stylegan generate", "synthesis", "decode code"],
            inputs=[
                CODE.Input("code", tooltip="The codes; one picture for each."),
                GENERATOR.Input(
                    "generator", tooltip="The generator, or a tuned one, that the codes are for."
                ),
                io.Float.Input(
                    "truncation",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="1 for the codes themselves, 0 for the generator's mean face, between "
                    "them a mixture.",
                ),
                io.Combo.Input(
                    "noise",
                    options=["const", "random", "none"],
                    default="const",
                    tooltip="Of fine detail such as single hairs: const is always the same and "
                    "what tuned generators need, random differs with the seed.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**63 - 1,
                    control_after_generate=False,
                    tooltip="Of random noise; the others do not depend on it.",
                ),
                host.same_space("the codes"),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images", tooltip="The pictures, in the generator's resolution."
                )
            ],
        )

    @classmethod
    def execute(
        cls,
        code: Any,
        generator: host.LoadedModel,
        truncation: float,
        noise: str,
        seed: int,
        same_space: bool = False,
    ) -> io.NodeOutput:
        from ..cycle_core.invert.encode import BATCH, generate
        from ..cycle_core.models.pairs import adopt

        memory = host.generating_memory(generator.module, min(code.batch, BATCH))
        G = generator.to_device(memory)
        code = adopt(code, G) if same_space else code
        progress = host.Progress(previews=code.batch > BATCH)
        generated = generate(G, code, noise, truncation, seed, generator.dtype, callback=progress)
        return io.NodeOutput(host.image(generated))


class SampleCodes(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleSampleCodes",
            "Sample Codes",
            "Generate",
            "Random codes: people that do not exist, from the generator's own domain.",
            search_aliases=["random face", "stylegan sample", "seed"],
            inputs=[
                GENERATOR.Input("generator", tooltip="The generator whose codes they are."),
                io.Int.Input(
                    "count", default=1, min=1, max=4096, tooltip="How many codes, a batch."
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**63 - 1,
                    control_after_generate=True,
                    tooltip="The same number gives the same codes.",
                ),
                io.Float.Input(
                    "truncation",
                    default=0.7,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="1 for the whole variety, 0 for the mean face; 0.7 gives clean ones.",
                ),
                io.Int.Input(
                    "label",
                    default=-1,
                    min=-1,
                    max=100000,
                    tooltip="The class, of class-conditional generators; -1 takes a random one.",
                ),
            ],
            outputs=[CODE.Output(display_name="code", tooltip="The codes, in W.")],
        )

    @classmethod
    def execute(
        cls, generator: host.LoadedModel, count: int, seed: int, truncation: float, label: int
    ) -> io.NodeOutput:
        from ..cycle_core.invert.sampling import sample

        G = generator.to_device()
        code = sample(G, count, seed, truncation, None if label < 0 else label)
        return io.NodeOutput(host.to_cpu(code))


NODES = [Generate, SampleCodes]
