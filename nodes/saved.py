"""Save what inversion made, pivots and tuned generators, and load it again."""

# pyright: reportMissingImports=false
# (ComfyUI is the host, not a dependency)
from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..cycle_core.runtime.cache import stamp
from . import folders, host
from .types import CODE, GENERATOR


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
                    options=folders.saved_files("pivot", folders.CODES),
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


def _filename_prefix(default: str) -> Any:
    return io.String.Input(
        "filename_prefix",
        default=default,
        tooltip="The folder and the beginning of the name in the output folder, to which a number "
        "is added.",
    )


NODES = [SavePivot, LoadPivot, SaveTunedGenerator, LoadTunedGenerator]
