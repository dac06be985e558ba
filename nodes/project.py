"""From pictures to codes without an encoder, for a generator of your own."""

# pyright: reportMissingImports=false
# (ComfyUI is the host, not a dependency)
from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ..cycle_core.invert.settings import PROJECT_PRESETS, ProjectSettings
from . import host
from .generate import LABEL
from .invert import PRESET
from .types import CODE, GENERATOR
from .widgets import NumberOrAuto, checked_numbers, choice, number, seed_input

STEPS = NumberOrAuto.of(ProjectSettings, "steps", legacy=0)


class Project(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleProject",
            "Project (Cycle Encoding)",
            "Invert",
            "The code of each picture by optimisation alone, for a generator without an encoder. "
            "Takes far longer than an encoder.",
            search_aliases=["projector", "gan inversion", "optimize latent", "own generator"],
            inputs=[
                io.Image.Input(
                    "images", tooltip="Square pictures; faces as Align Faces crops them."
                ),
                GENERATOR.Input("generator", tooltip="The generator that the codes are for."),
                io.Combo.Input(
                    "preset", options=["auto", *PROJECT_PRESETS], default="auto", tooltip=PRESET
                ),
                choice(
                    ProjectSettings,
                    "space",
                    "W edits well and reconstructs badly, which Pivot Tune makes up for; "
                    "W+ is the other way round.",
                ),
                STEPS.input(
                    "How many steps each picture gets; auto takes the preset's number, which is "
                    f"{PROJECT_PRESETS['paper'].steps} in the paper.",
                ),
                number(
                    ProjectSettings,
                    "samples",
                    "Begins at the nearest of so many random codes; 0 begins at the mean code.",
                ),
                number(
                    ProjectSettings,
                    "starts",
                    "How often each picture is tried; the best result is kept.",
                ),
                seed_input(
                    "Chooses the random codes and the noise; the same number gives the same result."
                ),
                LABEL.input(
                    "The class of the random codes, for a class-conditional generator; auto takes "
                    "all classes.",
                ),
                CODE.Input(
                    "start", optional=True, tooltip="Codes to begin at, such as an encoder's."
                ),
                io.Boolean.Input(
                    "noise_maps",
                    optional=True,  # workflows of before do not name it
                    default=False,
                    tooltip="Optimises noise maps beside the code, which take up what differs from "
                    "pixel to pixel; the code alone is kept.",
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
    def validate_inputs(cls, steps: str | float | None, label: str | float | None) -> bool | str:
        return checked_numbers((STEPS, steps), (LABEL, label))

    @classmethod
    def execute(
        cls,
        images: Any,
        generator: host.LoadedModel,
        preset: str,
        space: str,
        steps: str | float,
        samples: int,
        starts: int,
        seed: int,
        label: str | float,
        start: Any = None,
        noise_maps: bool = False,
    ) -> io.NodeOutput:
        from ..cycle_core.invert.project import project
        from ..cycle_core.run.pipeline import project_preset

        crops = host.pictures(images)
        settings = project_preset(preset, generator.module)
        settings = replace(
            settings,
            space=space,
            steps=STEPS.read(steps) or settings.steps,
            samples=samples,
            starts=starts,
            noise_maps=noise_maps,
        )
        networks = host.losses(generator)
        memory = host.training_memory(generator.module, min(settings.batch, len(crops)))
        G, lpips, identity = host.to_device(generator, *networks, memory=memory)
        found = project(
            G, crops, settings, start, host.Progress(), seed, lpips, identity,
            LABEL.read(label),
        )  # fmt: skip
        return io.NodeOutput(host.to_cpu(found.code), host.image(found.image))


NODES = [Project]
