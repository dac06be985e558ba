"""From codes to pictures."""

# pyright: reportMissingImports=false
# (ComfyUI is the host, not a dependency)
from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..cycle_core.models.settings import GenerateSettings, SampleSettings
from . import host
from .types import CODE, GENERATOR
from .widgets import NumberOrAuto, checked_numbers, choice, number, seed_input

LABEL = NumberOrAuto.of(SampleSettings, "label", legacy=-1)


class Generate(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleGenerate",
            "Generate (Cycle Encoding)",
            "Generate",
            "The pictures of codes.",
            search_aliases=["stylegan generate", "synthesis", "decode code"],
            inputs=[
                CODE.Input("code", tooltip="The codes, each of which gives one picture."),
                GENERATOR.Input(
                    "generator", tooltip="The generator, or a tuned one, that the codes are for."
                ),
                number(
                    GenerateSettings,
                    "truncation",
                    "How much of the code there is in the picture: 1 is the code itself, 0 the "
                    "generator's mean face, and between them a mixture.",
                    step=0.05,
                ),
                choice(
                    GenerateSettings,
                    "noise",
                    "The noise behind fine detail such as single hairs: const is always "
                    "the same and what tuned generators need, random differs with the seed, and "
                    "none has no such detail.",
                ),
                seed_input("Chooses the random noise; const and none do not depend on it."),
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
        from ..cycle_core.invert.generate import generate
        from ..cycle_core.models.same_space import adopt
        from ..cycle_core.runtime.devices import BATCH

        memory = host.generating_memory(generator.module, min(code.batch, BATCH))
        G = generator.to_device(memory)
        code = adopt(code, G) if same_space else code
        progress = host.Progress(previews=False)
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
                number(
                    SampleSettings,
                    "count",
                    "How many random people there are, as one batch.",
                    default=1,
                    max=4096,  # in memory at once
                ),
                seed_input("The same number gives the same codes.", control_after_generate=True),
                number(
                    SampleSettings,
                    "truncation",
                    "How different people are: 1 is the whole variety, 0 the mean face, and 0.7 "
                    "gives clean pictures.",
                    min=0.0,
                    max=2.0,
                    step=0.05,
                ),
                LABEL.input(
                    "The class, for a class-conditional generator; auto takes a random one for "
                    "each code.",
                ),
            ],
            outputs=[CODE.Output(display_name="code", tooltip="The codes, in W.")],
        )

    @classmethod
    def validate_inputs(cls, label: str | float | None) -> bool | str:
        return checked_numbers((LABEL, label))

    @classmethod
    def execute(
        cls,
        generator: host.LoadedModel,
        count: int,
        seed: int,
        truncation: float,
        label: str | float,
    ) -> io.NodeOutput:
        from ..cycle_core.invert.sampling import sample

        G = generator.to_device()
        code = sample(G, count, seed, truncation, LABEL.read(label))
        return io.NodeOutput(host.to_cpu(code))


NODES = [Generate, SampleCodes]
