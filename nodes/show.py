"""Pictures beside each other: before and after, strips, comparisons with measures."""

# pyright: reportMissingImports=false
# (ComfyUI is the host, not a dependency)
from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui

from . import host


class BeforeAfter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        # the slider over two pictures, which ComfyUI has since 2026
        slider = getattr(io, "ImageCompare", None)
        view = "Drag over the pictures to see the one before under the one after."
        return host.schema(
            "CycleBeforeAfter",
            "Before and After (Cycle Encoding)",
            "Show",
            "Two pictures under a slider, such as a photo and its edit; side by side in an older "
            "ComfyUI.",
            search_aliases=["compare slider", "image compare", "before after"],
            is_output_node=True,
            inputs=[
                io.Image.Input("before", tooltip="The photo, or several."),
                io.Image.Input("after", tooltip="Its edit, or as many as there are photos."),
                *([slider.Input("compare_view", optional=True, tooltip=view)] if slider else []),
            ],
            outputs=[],
        )

    @classmethod
    def execute(cls, before: Any, after: Any, compare_view: Any = None) -> io.NodeOutput:
        shown = {}
        for name, images in (("a_images", before), ("b_images", after)):
            host.pictures(images)  # says what is wrong with them
            shown[name] = list(ui.PreviewImage(images, cls=cls).values)
        if not hasattr(io, "ImageCompare"):
            shown = {"images": [*shown["a_images"], *shown["b_images"]]}
        return io.NodeOutput(ui=shown)


class Strip(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleStrip",
            "Strip (Cycle Encoding)",
            "Show",
            "All pictures of a batch as one picture, in rows, large enough to be seen.",
            search_aliases=["grid", "contact sheet", "montage", "image row"],
            inputs=[
                io.Image.Input("images", tooltip="The batch, such as one edit at many strengths."),
                io.Int.Input(
                    "size",
                    default=256,
                    min=32,
                    max=2048,
                    step=16,
                    tooltip="Width of each picture in pixels.",
                ),
                io.Int.Input(
                    "columns",
                    default=9,
                    min=1,
                    max=100,
                    tooltip="How many pictures a row has at most.",
                ),
                io.String.Input(
                    "labels",
                    default="",
                    tooltip="What stands under the pictures, as names joined by commas or as "
                    "numbers written like -3:3:7; empty means nothing.",
                ),
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="One picture of all.")],
        )

    @classmethod
    def execute(cls, images: Any, size: int, columns: int, labels: str) -> io.NodeOutput:
        from ..cycle_core.directions.text import parse_numbers
        from ..cycle_core.images.sheet import contact_sheet

        pictures = [one[None] for one in host.pictures(images)]
        if ":" in labels:
            names = [f"{number:+g}" for number in parse_numbers(labels) or ()]
        else:
            names = [name.strip() for name in labels.split(",")] if labels.strip() else []
        starts = range(0, len(pictures), columns)
        rows = [pictures[k : k + columns] for k in starts]
        captions = [names[k : k + columns] for k in starts] if names else []
        return io.NodeOutput(host.image(contact_sheet(rows, cell=size, captions=captions)))


class Compare(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        def version(number: int) -> Any:
            return io.Image.Input(
                f"image_{number}",
                optional=number > 1,
                tooltip=f"Version {number}, as many pictures as there are targets or a single one.",
            )

        return host.schema(
            "CycleCompare",
            "Compare (Cycle Encoding)",
            "Show",
            "Pictures side by side with their targets, and how near they are: MSE, PSNR, SSIM, "
            "MS-SSIM, LPIPS and identity, by other networks than those that refining and tuning "
            "minimise where the files of others are found; the table names them.",
            search_aliases=["metrics", "lpips", "psnr", "ssim", "grid"],
            inputs=[
                io.Image.Input("target", tooltip="What the others are compared with."),
                *(version(number) for number in range(1, 5)),
                io.String.Input(
                    "names",
                    default="",
                    tooltip="Names of the versions, joined by commas, for the headings.",
                ),
                io.Int.Input(
                    "cell",
                    default=256,
                    min=64,
                    max=1024,
                    step=16,
                    tooltip="Width of a picture in the grid, in pixels.",
                ),
                io.Int.Input(
                    "columns",
                    optional=True,  # workflows of before do not name it
                    default=5,
                    min=0,  # as workflows of before may have it, for all
                    max=5,
                    tooltip="How many pictures of a target are beside each other; 5, or 0, puts "
                    "all of them into one row.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="grid", tooltip="Up to eight targets with their versions."
                ),
                io.String.Output(
                    display_name="metrics", tooltip="The means over all pictures, as a table."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        target: Any,
        image_1: Any,
        names: str,
        cell: int,
        image_2: Any = None,
        image_3: Any = None,
        image_4: Any = None,
        columns: int = 5,
    ) -> io.NodeOutput:
        from ..cycle_core.measure.comparison import as_table, compare

        given = {k: x for k, x in enumerate((image_1, image_2, image_3, image_4)) if x is not None}
        called = dict(enumerate(name.strip() for name in names.split(",")))
        images = {called.get(k) or f"image {k + 1}": host.pictures(x) for k, x in given.items()}
        judge = host.judge()
        targets = host.pictures(target).to(host.device())
        sheet, means = compare(targets, images, judge, cell, host.Progress(), columns)
        measured_by = ", ".join(judge.names(host.loss_networks()).values())
        return io.NodeOutput(host.image(sheet), f"{as_table(means)}\nmeasured by {measured_by}")


NODES = [BeforeAfter, Strip, Compare]
