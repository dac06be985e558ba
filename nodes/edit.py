"""Move codes, mix them, and find directions to move them along."""

# pyright: reportMissingImports=false
# (ComfyUI is the host, not a dependency)
from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..cycle_core.directions.settings import DiscoverySettings
from . import host
from .types import CODE, DIRECTION, ENCODER, GENERATOR
from .widgets import choice, number, seed_input


class LatentEdit(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleLatentEdit",
            "Latent Edit",
            "Edit",
            "Moves codes along a direction. Several of these in a row make several changes.",
            search_aliases=["edit face", "interfacegan", "latent direction", "smile", "age"],
            inputs=[
                CODE.Input("code", tooltip="The codes to edit: pivots, as a rule."),
                DIRECTION.Input("direction", tooltip="What to change."),
                io.Combo.Input(
                    "mode",
                    options=["by a strength", "to a value"],
                    default="by a strength",
                    tooltip="by a strength moves so much from where the code is now, and to a "
                    "value moves to a place (0 is the average) and needs a direction that can be "
                    "read, such as the embedded ones.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-100.0,
                    max=100.0,
                    step=0.1,
                    round=0.001,
                    tooltip="How far the code moves, or the value to arrive at; for calibrated "
                    "directions 1 is one standard deviation of the attribute, and 3 is a lot; "
                    "where strengths says something, that counts in its place.",
                ),
                io.String.Input(
                    "strengths",
                    default="",
                    tooltip="Several strengths in place of one, as a list such as -2, 0, 2 or a "
                    "range such as -3:3:7 (seven from -3 to 3): one code becomes a batch, and in "
                    "a batch each code gets its own.",
                ),
                io.String.Input(
                    "layers",
                    default="",
                    tooltip="Which styles move, counted from 0, such as 0-3+6: the first are "
                    "pose and shape, the last are colours, and empty means those of the "
                    "direction.",
                ),
                DIRECTION.Input(
                    "keep",
                    optional=True,
                    tooltip="An attribute that must stay as it is, such as glasses when age "
                    "changes.",
                ),
                DIRECTION.Input(
                    "keep_2", optional=True, tooltip="A second attribute that must stay as it is."
                ),
                DIRECTION.Input(
                    "keep_3", optional=True, tooltip="A third attribute that must stay as it is."
                ),
            ],
            outputs=[CODE.Output(display_name="code", tooltip="The edited codes.")],
        )

    @classmethod
    def execute(
        cls,
        code: Any,
        direction: Any,
        mode: str,
        strength: float,
        strengths: str,
        layers: str,
        keep: Any = None,
        keep_2: Any = None,
        keep_3: Any = None,
    ) -> io.NodeOutput:
        from ..cycle_core.directions.editing import edit
        from ..cycle_core.directions.text import parse_numbers

        amount = parse_numbers(strengths) or strength
        by, to = (amount, None) if mode == "by a strength" else (None, amount)
        kept = [one for one in (keep, keep_2, keep_3) if one is not None]
        return io.NodeOutput(edit(code, direction, by, to, layers.strip() or None, kept))


class MixCodes(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleMixCodes",
            "Mix Codes",
            "Edit",
            "Two people in one: some styles of the second, or a place on the way between them; "
            "several places make a morph.",
            search_aliases=["style mixing", "morph", "interpolate", "slerp", "lerp"],
            inputs=[
                CODE.Input("first", tooltip="The first person, where the way begins."),
                CODE.Input(
                    "second",
                    tooltip="The second person, where the way ends, of the same generator.",
                ),
                io.Combo.Input(
                    "mode",
                    options=["layers", "lerp", "slerp"],
                    default="slerp",
                    tooltip="How they are mixed: layers gives the first person some styles of "
                    "the second, lerp goes the straight way, and slerp goes along an arc whose "
                    "middle is no more average than its ends.",
                ),
                io.String.Input(
                    "amount",
                    default="0:1:9",
                    tooltip="How far along the way for lerp and slerp, where 0 is the first and "
                    "1 the second: a number, a list, or a range such as 0:1:9 (nine steps), "
                    "which gives a batch.",
                ),
                io.String.Input(
                    "layers",
                    default="4-9",
                    tooltip="Which styles are the second person's in the mode layers, counted "
                    "from 0, such as 4-9: the first are pose and shape, the last are colours.",
                ),
                GENERATOR.Input(
                    "generator",
                    optional=True,
                    tooltip="Gives its mean code to slerp as the centre of the arc.",
                ),
            ],
            outputs=[CODE.Output(display_name="code", tooltip="The mixed codes.")],
        )

    @classmethod
    def execute(
        cls,
        first: Any,
        second: Any,
        mode: str,
        amount: str,
        layers: str,
        generator: host.LoadedModel | None = None,
    ) -> io.NodeOutput:
        from ..cycle_core.directions.editing import lerp, mix, slerp
        from ..cycle_core.directions.text import parse_numbers

        if mode == "layers":
            return io.NodeOutput(mix(first, second, layers))
        shares = parse_numbers(amount) or [0.5]
        if mode == "lerp":
            return io.NodeOutput(lerp(first, second, shares))
        center = None
        if generator is not None:
            generator.module.check_code(first)
            center = generator.module.w_avg
        return io.NodeOutput(slerp(first, second, shares, center))


class DiscoverDirections(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleDiscoverDirections",
            "Discover Directions",
            "Edit",
            "Directions of a generator that nobody has labelled: go through the components and "
            "look what each one changes.",
            search_aliases=["sefa", "ganspace", "pca", "unsupervised directions"],
            inputs=[
                GENERATOR.Input("generator", tooltip="The generator to look into."),
                choice(
                    DiscoverySettings,
                    "method",
                    "What is looked for: ganspace finds what varies most among its faces "
                    "(a strength of 1 is one standard deviation), and sefa what its layers "
                    "amplify most, without samples.",
                ),
                io.Int.Input(
                    "component",
                    default=0,
                    min=0,
                    max=511,
                    control_after_generate=False,
                    tooltip="Which of the directions that are found, where 0 is the strongest.",
                ),
                io.String.Input(
                    "layers",
                    default="",
                    tooltip="Which styles the direction moves, counted from 0, such as 0-3+6: "
                    "the first are pose and shape, the last are colours, and empty means all of "
                    "them.",
                ),
                number(
                    DiscoverySettings,
                    "samples",
                    "How many random codes ganspace looks at.",
                    step=100,
                    advanced=True,
                ),
                seed_input("Chooses the random codes; the same number gives the same directions."),
            ],
            outputs=[
                DIRECTION.Output(display_name="direction", tooltip="The component's direction.")
            ],
        )

    @classmethod
    def execute(
        cls,
        generator: host.LoadedModel,
        method: str,
        component: int,
        layers: str,
        samples: int,
        seed: int,
    ) -> io.NodeOutput:
        from ..cycle_core.directions.discovery import component_of

        G = generator.to_device()
        chosen = layers.strip() or None
        return io.NodeOutput(component_of(G, method, component, chosen, samples, seed))


class DirectionFromImages(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleDirectionFromImages",
            "Direction From Images",
            "Edit",
            "A direction from two sets of pictures: with an attribute, and without it.",
            search_aliases=["learn direction", "boundary", "svm", "concept"],
            inputs=[
                io.Image.Input(
                    "having",
                    tooltip="Aligned pictures with the attribute, a few dozen if possible.",
                ),
                io.Image.Input(
                    "lacking",
                    tooltip="Aligned pictures without it, which otherwise are much like the "
                    "others.",
                ),
                ENCODER.Input("encoder", tooltip="What reads the pictures."),
                GENERATOR.Input(
                    "generator",
                    optional=True,
                    tooltip="Needed by ReStyle encoders alone.",
                ),
                io.String.Input(
                    "name", default="mine", tooltip="What messages call the direction."
                ),
            ],
            outputs=[
                DIRECTION.Output(
                    display_name="direction",
                    tooltip="From the mean of one set to that of the other is a strength of 2, or "
                    "less where they overlap.",
                )
            ],
        )

    @classmethod
    def execute(
        cls,
        having: Any,
        lacking: Any,
        encoder: host.LoadedModel,
        name: str,
        generator: host.LoadedModel | None = None,
    ) -> io.NodeOutput:
        from ..cycle_core.directions.discovery import direction_from_pictures

        sets = host.pictures(having), host.pictures(lacking)
        models = [encoder] if generator is None else [encoder, generator]
        E, G = [*host.to_device(*models), None][:2]
        progress = host.Progress(previews=False)
        return io.NodeOutput(direction_from_pictures(E, *sets, name, G, callback=progress))


NODES = [LatentEdit, MixCodes, DiscoverDirections, DirectionFromImages]
