"""For a generator of your own: codes without an encoder, and mixtures of two generators."""

# pyright: reportMissingImports=false
# (ComfyUI is the host, not a dependency)
from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from . import host
from .invert import PRESET, PRESETS, SEED
from .types import CODE, GENERATOR

PARTS = ["all layers", "from the resolution on", "below the resolution", "these layers"]


class Project(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleProject",
            "Project",
            "Invert",
            "The code of each picture by optimisation alone, for a generator without an encoder. "
            "Takes far longer than an encoder.",
            search_aliases=["projector", "gan inversion", "optimize latent", "own generator"],
            inputs=[
                io.Image.Input("images", tooltip="Square pictures; faces as Align crops them."),
                GENERATOR.Input("generator", tooltip="The generator that the codes are for."),
                io.Combo.Input("preset", options=PRESETS, default="auto", tooltip=PRESET),
                io.Combo.Input(
                    "space",
                    options=["W", "W+"],
                    default="W",
                    tooltip="W edits well and reconstructs badly, which Pivot Tune makes up for; "
                    "W+ is the other way round.",
                ),
                io.Int.Input(
                    "steps",
                    default=0,
                    min=0,
                    max=10_000,
                    tooltip="Steps for each picture; 0 takes the preset's (paper: 1000).",
                ),
                io.Int.Input(
                    "samples",
                    default=0,
                    min=0,
                    max=100_000,
                    tooltip="Begin at the nearest of so many random codes; 0 begins at the mean.",
                ),
                io.Int.Input(
                    "starts",
                    default=1,
                    min=1,
                    max=16,
                    tooltip="Tries for each picture, of which the best is kept.",
                ),
                io.Int.Input("seed", **SEED, tooltip="Of the random codes, and of the noise on w."),
                io.Int.Input(
                    "label",
                    default=-1,
                    min=-1,
                    max=100_000,
                    tooltip="The class of the random codes, of class-conditional generators; -1 "
                    "takes all.",
                ),
                CODE.Input(
                    "start", optional=True, tooltip="Codes to begin at, such as an encoder's."
                ),
            ],
            outputs=[
                CODE.Output(display_name="pivot", tooltip="The codes that were found."),
                io.Image.Output(
                    display_name="reconstruction",
                    tooltip="The picture that the generator makes of each.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        images: Any,
        generator: host.LoadedModel,
        preset: str,
        space: str,
        steps: int,
        samples: int,
        starts: int,
        seed: int,
        label: int,
        start: Any = None,
    ) -> io.NodeOutput:
        from ..cycle_core.invert.project import project
        from ..cycle_core.run.pipeline import project_preset

        crops = host.pictures(images)
        settings = project_preset(preset, generator.source)
        settings = replace(
            settings, space=space, steps=steps or settings.steps, samples=samples, starts=starts
        )
        perceptual, identity = host.losses(generator)
        memory = host.training_memory(generator.module, min(settings.batch, len(crops)))
        G, lpips, faces = host.to_device(generator, perceptual, identity, memory=memory)
        found = project(
            G, crops, settings, start, host.Progress(), seed, lpips, faces,
            None if label < 0 else label,
        )  # fmt: skip
        return io.NodeOutput(host.to_cpu(found.code), host.image(found.image))


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
                GENERATOR.Input("first", tooltip="Its codes, encoders and directions fit the mix."),
                GENERATOR.Input("second", tooltip="Another of the same shape."),
                io.Float.Input(
                    "amount",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Of the second in the layers that are blended: 1 swaps them.",
                ),
                io.Combo.Input(
                    "part",
                    options=PARTS,
                    default=PARTS[1],
                    tooltip="From the resolution on: look and colours of the second. Below it: "
                    "its pose and shape.",
                ),
                io.Int.Input(
                    "resolution",
                    default=32,
                    min=8,
                    max=4096,
                    tooltip="Pixels at which the layers are divided.",
                ),
                io.String.Input(
                    "layers", default="", tooltip="Which layers, such as 0-3+6, for these layers."
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


NODES = [Project, BlendGenerators]
