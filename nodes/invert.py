"""From pictures to codes, and to a generator that generates the pictures themselves."""

# pyright: reportMissingImports=false
# (ComfyUI is the host, not a dependency)
from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ..cycle_core.invert.settings import (
    REFINE_PRESETS,
    TUNE_PRESETS,
    RefineSettings,
    TuneSettings,
)
from . import host
from .types import CODE, ENCODER, GENERATOR
from .widgets import NumberOrAuto, checked_numbers, choice, seed_input

PRESETS = ["auto", *TUNE_PRESETS]
REFINED, TUNED = REFINE_PRESETS["paper"], TUNE_PRESETS["paper"]
PRESET = (
    "A set of settings: paper has the published ones, fast takes fewer and larger steps, and auto "
    "is embedded for the embedded generator and paper for any other."
)
OR_INSTANT = (
    f"{PRESET} instant takes no steps: with the embedded models a network sees at once what tuning "
    "would find"
)
UNALIGNED = (
    "This is a whole photo, it seems: encoders know faces as Align Faces cuts them out. Put that "
    "node before this one."
)
REFINE_STEPS = NumberOrAuto.of(RefineSettings, "steps", legacy=0)
REFINE_RATE = NumberOrAuto.of(RefineSettings, "learning_rate", legacy=0)
TUNE_STEPS = NumberOrAuto.of(TuneSettings, "steps", legacy=0)
TUNE_RATE = NumberOrAuto.of(TuneSettings, "learning_rate", legacy=0)
EARLY_STOP = NumberOrAuto.of(TuneSettings, "threshold", legacy=-1, name="early_stop")


class CycleEncode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleEncode",
            "Cycle Encode",
            "Invert",
            "The code that the encoder sees in each aligned picture: fast, and near. Refine Pivot "
            "makes it nearer.",
            search_aliases=["gan inversion", "e4e", "psp", "encode face"],
            inputs=[
                io.Image.Input(
                    "images", tooltip="Aligned pictures of any size, as Align Faces crops them."
                ),
                ENCODER.Input("encoder", tooltip="What reads the pictures."),
                GENERATOR.Input(
                    "generator",
                    optional=True,
                    tooltip="The generator that the codes are for: ReStyle needs it, and for "
                    "other encoders it is checked that both belong together.",
                ),
                choice(
                    RefineSettings,
                    "space",
                    "W edits best, W+ is nearer to the picture, and auto is the space that the "
                    "encoder was trained last in.",
                    or_auto=True,
                ),
                host.same_space("the encoder"),
            ],
            outputs=[CODE.Output(display_name="code", tooltip="One code for each picture.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        images: Any,
        encoder: host.LoadedModel,
        space: str,
        generator: host.LoadedModel | None = None,
        same_space: bool = False,
    ) -> io.NodeOutput:
        from ..cycle_core.faces.detect import look_aligned
        from ..cycle_core.invert.encode import encode
        from ..cycle_core.models.same_space import adopt

        crops = host.pictures(images)
        if not look_aligned(crops):
            host.notice(cls, UNALIGNED)
        models = [encoder] if generator is None else [encoder, generator]
        E, G = [*host.to_device(*models), None][:2]
        E = adopt(E, G) if same_space and G is not None else E
        code = encode(E, crops, _space(space), G, callback=host.Progress(previews=False))
        return io.NodeOutput(host.to_cpu(code))


class RefinePivot(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleRefinePivot",
            "Refine Pivot",
            "Invert",
            "A better code for each picture: a copy of the encoder is refined for it, held in "
            "place by other pictures (Cycle Encoding). Gives the pivot that Pivot Tune and Latent "
            "Edit take.",
            search_aliases=["gan inversion", "optimize latent", "projector"],
            inputs=[
                io.Image.Input("images", tooltip="Aligned pictures, as Align Faces crops them."),
                ENCODER.Input("encoder", tooltip="The encoder, which itself stays as it is."),
                GENERATOR.Input("generator", tooltip="The generator that the codes are for."),
                io.Combo.Input("preset", options=PRESETS, default="auto", tooltip=f"{OR_INSTANT}."),
                choice(
                    RefineSettings,
                    "space",
                    "The space of the pivot; auto is the space that the encoder was trained last "
                    "in.",
                    or_auto=True,
                ),
                REFINE_STEPS.input(
                    "How many steps each picture gets; auto takes the preset's number, which is "
                    f"{REFINED.steps} in the paper.",
                ),
                seed_input(
                    "Chooses the generated pictures that hold the encoder in place; the "
                    "same number gives the same result.",
                    advanced=True,
                ),
                REFINE_RATE.input(
                    "How large the steps are; auto takes the preset's value, which is "
                    f"{REFINED.learning_rate:g} in the paper.",
                    advanced=True,
                ),
                io.Image.Input(
                    "domain",
                    optional=True,
                    tooltip="Aligned pictures of other people that hold the encoder in place; "
                    "without them the generator makes some.",
                ),
                host.same_space("the encoder"),
            ],
            outputs=[
                CODE.Output(display_name="pivot", tooltip="The refined codes."),
                io.Image.Output(
                    display_name="reconstruction",
                    tooltip="The picture that the generator makes of each.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls, steps: str | float | None, learning_rate: str | float | None
    ) -> bool | str:
        return checked_numbers((REFINE_STEPS, steps), (REFINE_RATE, learning_rate))

    @classmethod
    def execute(
        cls,
        images: Any,
        encoder: host.LoadedModel,
        generator: host.LoadedModel,
        preset: str,
        space: str,
        steps: str | float,
        seed: int,
        learning_rate: str | float,
        domain: Any = None,
        same_space: bool = False,
    ) -> io.NodeOutput:
        from ..cycle_core.invert.refine import refine
        from ..cycle_core.models.same_space import adopt
        from ..cycle_core.run.pipeline import preset as settings_of

        crops = host.pictures(images)
        others = "generator" if domain is None else host.pictures(domain)
        settings, _ = settings_of(preset, generator.module)
        settings = replace(
            settings,
            space=_space(space),
            steps=REFINE_STEPS.read(steps) or settings.steps,
            learning_rate=REFINE_RATE.read(learning_rate) or settings.learning_rate,
        )
        networks = host.losses(generator)
        memory = host.training_memory(generator.module, settings.batch)
        E, G, lpips, identity = host.to_device(encoder, generator, *networks, memory=memory)
        E = adopt(E, G) if same_space else E
        progress = host.Progress()
        refined = refine(E, G, crops, settings, others, progress, seed, lpips, identity)
        return io.NodeOutput(host.to_cpu(refined.code), host.image(refined.image))


class PivotTune(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CyclePivotTune",
            "Pivot Tune",
            "Invert",
            "A copy of the generator that gives the pictures themselves at their pivots (pivotal "
            "tuning). Several pictures of one person, or the frames of a video, share one tuned "
            "generator.",
            search_aliases=["pti", "pivotal tuning", "finetune generator"],
            inputs=[
                io.Image.Input(
                    "images", tooltip="The aligned pictures, as many as there are pivots."
                ),
                GENERATOR.Input("generator", tooltip="The generator, which itself stays as it is."),
                CODE.Input(
                    "pivot", tooltip="The codes to tune at, from Refine Pivot or Cycle Encode."
                ),
                io.Combo.Input(
                    "preset",
                    options=PRESETS,
                    default="auto",
                    tooltip=f"{OR_INSTANT}, while several pictures for one generator need steps.",
                ),
                TUNE_STEPS.input(
                    "How many steps it takes at most; auto takes the preset's number, which is "
                    f"{TUNED.steps} in the paper.",
                ),
                EARLY_STOP.input(
                    "Tuning ends when the perceptual distance (LPIPS) is this small; 0 never ends "
                    "it early, and auto takes the preset's value, which in the paper is 0.07 of "
                    "AlexNet; other networks have what stands for it.",
                ),
                host.advanced(
                    io.Float.Input,
                    "locality",
                    default=1.0,
                    min=0.0,
                    max=10.0,
                    step=0.1,
                    tooltip="How firmly faces near the pivot are kept as they were, as a "
                    "multiple of the published weight: 0 is faster and comes nearer to the "
                    "picture, but edits worse.",
                ),
                seed_input(
                    "Chooses the faces near the pivot that are kept as they were; the "
                    "same number gives the same result.",
                    advanced=True,
                ),
                TUNE_RATE.input(
                    "How large the steps are; auto takes the preset's value, which is "
                    f"{TUNED.learning_rate:g} in the paper.",
                    advanced=True,
                ),
                host.same_space("the pivots"),
                host.advanced(
                    io.Boolean.Input,
                    "detail_moves",
                    optional=True,  # workflows of before do not name it
                    default=True,
                    tooltip="What the picture has beyond the generator, such as a hat or strands "
                    "of hair, goes along when an edit turns or moves the head; off leaves it where "
                    "it is.",
                ),
            ],
            outputs=[
                GENERATOR.Output(
                    display_name="tuned", tooltip="The tuned generator; edited pivots fit it."
                ),
                io.Image.Output(
                    display_name="reconstruction",
                    tooltip="The pictures that it makes of the pivots.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(
        cls,
        steps: str | float | None,
        early_stop: str | float | None,
        learning_rate: str | float | None,
    ) -> bool | str:
        return checked_numbers(
            (TUNE_STEPS, steps), (EARLY_STOP, early_stop), (TUNE_RATE, learning_rate)
        )

    @classmethod
    def execute(
        cls,
        images: Any,
        generator: host.LoadedModel,
        pivot: Any,
        preset: str,
        steps: str | float,
        early_stop: str | float,
        locality: float,
        seed: int,
        learning_rate: str | float,
        same_space: bool = False,
        detail_moves: bool = True,
    ) -> io.NodeOutput:
        from ..cycle_core.invert.tune import tune
        from ..cycle_core.models.same_space import adopt
        from ..cycle_core.run.pipeline import preset as settings_of

        crops = host.pictures(images)
        _, settings = settings_of(preset, generator.module)
        most, enough = TUNE_STEPS.read(steps), EARLY_STOP.read(early_stop)
        if most:
            settings = settings.in_steps(most)
        settings = replace(
            settings.with_locality(locality),
            threshold=settings.threshold if enough is None else enough,
            learning_rate=TUNE_RATE.read(learning_rate) or settings.learning_rate,
            detail_moves=detail_moves,
            dtype=generator.dtype,
        )
        perceptual, _ = host.losses(generator)
        memory = host.training_memory(generator.module, min(settings.batch, len(crops)))
        G, lpips = host.to_device(generator, perceptual, memory=memory)
        pivot = adopt(pivot, G) if same_space else pivot
        tuned = tune(G, pivot, crops, settings, host.Progress(), seed, lpips)
        if tuned.note:
            host.notice(cls, tuned.note)
        return io.NodeOutput(host.wrap_tuned(tuned, generator), host.image(tuned.image))


def _space(choice: str) -> str | None:
    return None if choice == "auto" else choice


NODES = [CycleEncode, RefinePivot, PivotTune]
