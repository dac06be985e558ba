"""Load models, directions and codes; save what inversion made."""

# pyright: reportMissingImports=false
# (ComfyUI is the host, not a dependency)
from __future__ import annotations

import os
from typing import Any

from comfy_api.latest import io

from ..cycle_core.runtime.cache import shared, stamp
from . import folders, host
from .attributes import labels_of, name_of
from .types import CODE, DIRECTION, ENCODER, GENERATOR

CODE_FILES = {".npy", ".npz", ".pt", ".pth", ".safetensors"}
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


class SavePivot(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleSavePivot",
            "Save Pivot",
            "Load and save",
            "Writes codes into ComfyUI's output folder, with the workflow that made them.",
            search_aliases=["save code", "save latent code"],
            is_output_node=True,
            inputs=[
                CODE.Input("code", tooltip="The codes to save: pivots, edited ones or samples."),
                _filename_prefix("cycle/pivot"),
            ],
            outputs=[CODE.Output(display_name="code", tooltip="The same codes.")],
        )

    @classmethod
    def execute(cls, code: Any, filename_prefix: str) -> io.NodeOutput:
        from ..cycle_core.checkpoints.latents import save_code

        path, result = folders.new_file(filename_prefix, "pivot")
        save_code(code, path, metadata=folders.workflow(cls))
        return io.NodeOutput(code, ui={"files": [result]})


class LoadPivot(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleLoadPivot",
            "Load Pivot",
            "Load and save",
            "Opens codes: files of Save Pivot, or latents of PTI, e4e and NVIDIA's projector in "
            "ComfyUI's input folder.",
            search_aliases=["load code", "load latent code", "projected_w"],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=folders.saved_files("pivot", CODE_FILES),
                    tooltip="A file of the output or the input folder.",
                )
            ],
            outputs=[CODE.Output(display_name="code", tooltip="The codes of the file.")],
        )

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool | str:
        return host.checked(folders.saved_file, file)

    @classmethod
    def fingerprint_inputs(cls, file: str) -> Any:
        return stamp(folders.saved_file(file))

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        from ..cycle_core.checkpoints.latents import load_code

        return io.NodeOutput(load_code(folders.saved_file(file)))


class SaveTunedGenerator(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleSaveTunedGenerator",
            "Save Tuned Generator",
            "Load and save",
            "Writes what tuning changed, and the pivots, into ComfyUI's output folder, with the "
            "workflow that made it.",
            search_aliases=["save pti"],
            is_output_node=True,
            inputs=[
                GENERATOR.Input("tuned", tooltip="The generator that Pivot Tune gave."),
                GENERATOR.Input(
                    "original",
                    optional=True,
                    tooltip="The generator before tuning: with it only the differences are "
                    "written, which halves the file and changes pictures by less than a grey "
                    "level.",
                ),
                _filename_prefix("cycle/tuned"),
            ],
            outputs=[GENERATOR.Output(display_name="tuned", tooltip="The same generator.")],
        )

    @classmethod
    def execute(
        cls, tuned: host.LoadedModel, filename_prefix: str, original: host.LoadedModel | None = None
    ) -> io.NodeOutput:
        from ..cycle_core.invert.tuned_files import save_tuned

        path, result = folders.new_file(filename_prefix, "tuned")
        save_tuned(
            host.tuning_of(tuned),
            path,
            original=None if original is None else original.module,
            metadata=folders.workflow(cls),
        )
        return io.NodeOutput(tuned, ui={"files": [result]})


class LoadTunedGenerator(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleLoadTunedGenerator",
            "Load Tuned Generator",
            "Load and save",
            "Puts a file of Save Tuned Generator onto the generator that was tuned.",
            search_aliases=["load pti"],
            inputs=[
                GENERATOR.Input("generator", tooltip="The generator that was tuned."),
                io.Combo.Input(
                    "file",
                    options=folders.saved_files("tuned", {".safetensors"}),
                    tooltip="A file of the output or the input folder.",
                ),
                host.same_space("what tuning changed"),
            ],
            outputs=[
                GENERATOR.Output(display_name="tuned", tooltip="The tuned generator."),
                CODE.Output(display_name="pivot", tooltip="The code that it was tuned at."),
                io.Image.Output(
                    display_name="reconstruction", tooltip="The picture that it makes of the pivot."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool | str:
        return host.checked(folders.saved_file, file)

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: Any) -> Any:
        return stamp(folders.saved_file(file))

    @classmethod
    def execute(
        cls, generator: host.LoadedModel, file: str, same_space: bool = False
    ) -> io.NodeOutput:
        from ..cycle_core.invert.tuned_files import load_tuned

        tuned = load_tuned(folders.saved_file(file), generator.to_device(), same_space)
        return io.NodeOutput(
            host.wrap_tuned(tuned, generator), host.to_cpu(tuned.code), host.image(tuned.image)
        )


def _keep_converted() -> Any:
    return host.advanced(
        io.Boolean.Input,
        "keep_converted",
        default=False,
        tooltip="Writes the model as safetensors beside the file, so that it opens several times "
        "faster from then on.",
    )


def _filename_prefix(default: str) -> Any:
    return io.String.Input(
        "filename_prefix",
        default=default,
        tooltip="The folder and the beginning of the name in the output folder, to which a number "
        "is added.",
    )


def named(name: str, entry: str) -> list[str]:
    """The parts of a direction's name for the library, files among them with their paths."""
    rest = [part for part in entry.strip().split(":") if part]
    name = name_of(name, folders.embedded("direction"))
    if name == STYLE_CHANNEL:
        return ["S", *(part for part in rest if part != "S")]
    if rest and os.path.splitext(rest[0])[1] in (*CODE_FILES, ".txt"):  # StyleCLIP
        rest[0] = folders.locate("direction", rest[0])
    return [folders.locate("direction", name), *rest]


def _converted(path: str, kind: str, allow: bool) -> str:
    """The conversion of a file to our layout if there is one, or may be one."""
    if not os.path.isfile(path):
        return path  # an embedded model
    from ..cycle_core.checkpoints.inspecting import cached_conversion

    return str(cached_conversion(path, kind, allow))


NODES = [
    LoadGenerator,
    LoadEncoder,
    LoadDirection,
    SavePivot,
    LoadPivot,
    SaveTunedGenerator,
    LoadTunedGenerator,
]
