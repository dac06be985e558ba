"""Pictures to begin with: examples, or your own."""

# pyright: reportMissingImports=false
# (ComfyUI is the host, not a dependency)
from __future__ import annotations

from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from ..cycle_core.runtime.cache import stamp
from . import folders, host


def uploaded(kind: str) -> list[str]:
    """Files of the input folder, after an empty name that stands for none."""
    files = sorted(path.name for path in Path(folder_paths.get_input_directory()).glob("*.*"))
    return ["", *folder_paths.filter_files_content_types(files, [kind])]


class Example(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleExample",
            "Photo (example or your own)",
            "Load and save",
            "Your own photo where one is chosen; else people whom the embedded models know.",
            search_aliases=["sample photo", "test image", "demo", "load photo"],
            inputs=[
                io.Combo.Input(
                    "which",
                    options=["portrait", "group", "clip"],
                    default="portrait",
                    tooltip="Which example is taken: portrait is one person, group is three "
                    "people in one photo, and clip is a moving head in 16 frames.",
                ),
                io.Combo.Input(
                    "photo",
                    options=uploaded("image"),
                    default="",
                    optional=True,
                    upload=io.UploadType.image,
                    tooltip="Your own photo in place of the example, from the input folder or "
                    "uploaded here; leave it empty for the example.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="The photo, or the clip's frames.")
            ],
        )

    @classmethod
    def validate_inputs(cls, photo: str | None = "") -> bool | str:
        return host.checked(folders.saved_file, photo) if photo else True

    @classmethod
    def fingerprint_inputs(cls, photo: str = "", **_: Any) -> Any:
        return stamp(folders.saved_file(photo)) if photo else ""

    @classmethod
    def execute(cls, which: str, photo: str = "") -> io.NodeOutput:
        from ..cycle_core.images.examples import example
        from ..cycle_core.images.io import read_photo

        own = bool(photo)
        return io.NodeOutput(
            host.image(read_photo(folders.saved_file(photo)).image if own else example(which))
        )


class ExampleClip(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleClip",
            "Clip (example or your own)",
            "Load and save",
            "The frames and the sound of your own video where one is chosen or connected; else a "
            "moving head that the embedded models know. Create Video puts them together again.",
            search_aliases=["load video", "sample video", "video frames"],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=uploaded("video"),
                    default="",
                    optional=True,
                    upload=io.UploadType.video,
                    tooltip="Your own video in place of the example, from the input folder or "
                    "uploaded here; leave it empty for the example.",
                ),
                io.Video.Input(
                    "video",
                    optional=True,
                    tooltip="A video of another node, which is taken before the file and the "
                    "example.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="All frames."),
                io.Audio.Output(
                    display_name="audio", tooltip="The sound; nothing where there is none."
                ),
                io.Float.Output(display_name="fps", tooltip="Frames a second."),
            ],
        )

    @classmethod
    def validate_inputs(cls, file: str | None = "") -> bool | str:
        return host.checked(folders.saved_file, file) if file else True

    @classmethod
    def fingerprint_inputs(cls, file: str = "", **_: Any) -> Any:
        return stamp(folders.saved_file(file)) if file else ""

    @classmethod
    def execute(cls, file: str = "", video: Any = None) -> io.NodeOutput:
        if video is None and file:
            from comfy_api.latest import InputImpl

            video = InputImpl.VideoFromFile(folders.saved_file(file))
        if video is not None:
            parts = video.get_components()
            return io.NodeOutput(parts.images, parts.audio, float(parts.frame_rate))
        from ..cycle_core.images.examples import FRAME_SECONDS, example

        return io.NodeOutput(host.image(example("clip")), None, 1 / FRAME_SECONDS)


NODES = [Example, ExampleClip]
