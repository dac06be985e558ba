"""Load models and directions."""

# pyright: reportMissingImports=false
# (ComfyUI is the host, not a dependency)
from __future__ import annotations

import os
from typing import Any

from comfy_api.latest import io

from ..cycle_core.runtime.cache import shared, stamp
from . import folders, host
from .attributes import labels_of, name_of
from .types import DIRECTION, ENCODER, GENERATOR

STYLE_CHANNEL = "style channel"


class LoadGenerator(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleLoadGenerator",
            "Load Generator",
            "Load and save",
            "Opens a StyleGAN2 or StyleGAN3 generator: the embedded one, or a file of "
            "models/stylegan in any common layout. Nothing that a file stores is executed.",
            search_aliases=["stylegan", "gan", "stylegan2", "stylegan3"],
            inputs=[
                io.Combo.Input(
                    "name",
                    options=folders.choices("generator"),
                    tooltip="The embedded generator (rendered people), or a "
                    "file in models/stylegan.",
                ),
                host.advanced(
                    io.Combo.Input,
                    "precision",
                    options=["float32", "half"],
                    default="float32",
                    tooltip="How exactly it multiplies when it generates and is tuned: half is "
                    "faster on recent GPUs and slightly less exact, and Refine Pivot uses "
                    "float32 in any case.",
                ),
                _keep_converted(),
            ],
            outputs=[
                GENERATOR.Output(display_name="generator", tooltip="The generator, ready to use.")
            ],
        )

    @classmethod
    def validate_inputs(cls, name: str | None) -> bool | str:
        return host.checked(folders.locate, "generator", name)

    @classmethod
    def fingerprint_inputs(cls, name: str, **_: Any) -> Any:
        return stamp(folders.locate("generator", name))

    @classmethod
    def execute(cls, name: str, precision: str, keep_converted: bool) -> io.NodeOutput:
        import torch

        from ..cycle_core.checkpoints.registry import load_generator

        path = folders.locate("generator", name)
        dtype = torch.bfloat16 if precision == "half" else None

        def load() -> host.LoadedModel:
            with torch.inference_mode(False):
                file = _converted(path, "generator", keep_converted)
                return host.LoadedModel.of(load_generator(file), path, dtype)

        return io.NodeOutput(shared(("generator", stamp(path), precision), load))


class LoadEncoder(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleLoadEncoder",
            "Load Encoder",
            "Load and save",
            "Opens an encoder, which turns aligned pictures into codes: the embedded one, or a "
            "file of models/gan_encoders (Cycle Encoding, e4e, pSp, ReStyle).",
            search_aliases=["e4e", "psp", "restyle", "gan inversion"],
            inputs=[
                io.Combo.Input(
                    "name",
                    options=folders.choices("encoder"),
                    tooltip="The embedded encoder, or a file in models/gan_encoders that was "
                    "trained for your generator.",
                ),
                GENERATOR.Input(
                    "generator",
                    optional=True,
                    tooltip="Gives its mean code to a file that does not say which one it was "
                    "trained with; other files do not need it.",
                ),
                host.advanced(
                    io.Combo.Input,
                    "architecture",
                    options=["auto", "e4e", "psp"],
                    default="auto",
                    tooltip="Which kind of encoder a file holds, where the file itself does not "
                    "say it.",
                ),
                _keep_converted(),
            ],
            outputs=[ENCODER.Output(display_name="encoder", tooltip="The encoder, ready to use.")],
        )

    @classmethod
    def validate_inputs(cls, name: str | None) -> bool | str:
        return host.checked(folders.locate, "encoder", name)

    @classmethod
    def fingerprint_inputs(cls, name: str, **_: Any) -> Any:
        return stamp(folders.locate("encoder", name))

    @classmethod
    def execute(
        cls,
        name: str,
        architecture: str,
        keep_converted: bool,
        generator: host.LoadedModel | None = None,
    ) -> io.NodeOutput:
        import torch

        from ..cycle_core.checkpoints.registry import load_encoder

        path = folders.locate("encoder", name)
        given = None if generator is None else generator.module
        kind = None if architecture == "auto" else architecture

        def load() -> host.LoadedModel:
            with torch.inference_mode(False):
                # a conversion has no place for what the file itself lacks
                whole = given is None and kind is None
                file = _converted(path, "encoder", keep_converted and whole)
                model = load_encoder(file, generator=given, architecture=kind)
                return host.LoadedModel.of(model, path)

        key = ("encoder", stamp(path), architecture, given and given.base_fingerprint)
        return io.NodeOutput(shared(key, load))


class LoadDirection(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        embedded, files = folders.embedded("direction"), folders.choices("direction")
        own = [name for name in files if name not in embedded]
        return host.schema(
            "CycleLoadDirection",
            "Load Direction",
            "Load and save",
            "Opens an edit direction: an embedded one, or a file of models/gan_directions "
            "(InterFaceGAN, GANSpace, SeFa, StyleCLIP, or our own).",
            search_aliases=["interfacegan", "ganspace", "boundary", "styleclip", "stylespace"],
            inputs=[
                io.Combo.Input(
                    "name",
                    options=[*labels_of(embedded).values(), *own, STYLE_CHANNEL],
                    default="smile",
                    tooltip="An embedded direction, a file in models/gan_directions, or a single "
                    "style channel of the generator (StyleSpace).",
                ),
                io.String.Input(
                    "entry",
                    default="",
                    tooltip="Which direction to take from a file with several (a name or a "
                    "number), which style channel (layer and number, such as 6_501), or which "
                    "text of StyleCLIP's fs3.npy (its file and beta, such as smile.npy:0.15; with "
                    "open_clip a .txt of two lines).",
                ),
                GENERATOR.Input(
                    "generator",
                    optional=True,
                    tooltip="Needed by style channels and StyleCLIP's directions, which belong "
                    "to the layers of a generator.",
                ),
            ],
            outputs=[
                DIRECTION.Output(
                    display_name="direction", tooltip="What Latent Edit moves codes along."
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, name: str | None) -> bool | str:
        # not `entry` too: the host tells one sentence for each input that is named here
        return host.checked(named, name, "")

    @classmethod
    def fingerprint_inputs(cls, name: str, entry: str, **_: Any) -> Any:
        return [stamp(part) for part in named(name, entry)]

    @classmethod
    def execute(
        cls, name: str, entry: str, generator: host.LoadedModel | None = None
    ) -> io.NodeOutput:
        from ..cycle_core.directions.files import load_direction

        given = None if generator is None else generator.module
        return io.NodeOutput(load_direction(":".join(named(name, entry)), generator=given))


def _keep_converted() -> Any:
    return host.advanced(
        io.Boolean.Input,
        "keep_converted",
        default=False,
        tooltip="Writes the model as safetensors beside the file, so that it opens several times "
        "faster from then on.",
    )


def named(name: str, entry: str) -> list[str]:
    """The parts of a direction's name for the library, files among them with their paths."""
    rest = [part for part in entry.strip().split(":") if part]
    name = name_of(name, folders.embedded("direction"))
    if name == STYLE_CHANNEL:
        return ["S", *(part for part in rest if part != "S")]
    if rest and os.path.splitext(rest[0])[1] in (*folders.CODES, ".txt"):  # StyleCLIP
        rest[0] = folders.locate("direction", rest[0])
    return [folders.locate("direction", name), *rest]


def _converted(path: str, kind: str, allow: bool) -> str:
    """The conversion of a file to our layout if there is one, or may be one."""
    if not os.path.isfile(path):
        return path  # an embedded model
    from ..cycle_core.checkpoints.inspecting import cached_conversion

    return str(cached_conversion(path, kind, allow))


NODES = [LoadGenerator, LoadEncoder, LoadDirection]
