"""From codes to pictures."""

# pyright: reportMissingImports=false
# (ComfyUI is the host, not a dependency)
from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from . import host
from .types import CODE, GENERATOR


class Generate(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleGenerate",
            "Generate",
            "Draws the pictures of codes.",
            search_aliases=["stylegan generate", "synthesis", "decode code"],
            inputs=[
                CODE.Input("code", tooltip="The codes to draw; one picture for each."),
                GENERATOR.Input(
                    "generator", tooltip="The generator, or a tuned one, that the codes are for."
                ),
                io.Float.Input(
                    "truncation",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="1 draws the codes themselves, 0 the generator's mean face, between "
                    "them a mixture.",
                ),
                io.Combo.Input(
                    "noise",
                    options=["const", "random", "none"],
                    default="const",
                    tooltip="Of fine detail such as single hairs: const is always the same and "
                    "what tuned generators need, random is drawn anew by the seed.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**63 - 1,
                    control_after_generate=False,
                    tooltip="Of random noise; the others do not depend on it.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images", tooltip="The pictures, in the generator's resolution."
                )
            ],
        )

    @classmethod
    def execute(
        cls, code: Any, generator: host.LoadedModel, truncation: float, noise: str, seed: int
    ) -> io.NodeOutput:
        from ..cycle_core.invert.encode import BATCH, generate

        memory = host.drawing_memory(generator.module, min(code.batch, BATCH))
        G = generator.to_device(memory)
        progress = host.Progress(previews=code.batch > BATCH)
        drawn = generate(G, code, noise, truncation, seed, generator.dtype, callback=progress)
        return io.NodeOutput(host.image(drawn))


class SampleCodes(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleSampleCodes",
            "Sample Codes",
            "Codes of people that there are not, drawn from the generator's own world.",
            search_aliases=["random face", "stylegan sample", "seed"],
            inputs=[
                GENERATOR.Input("generator", tooltip="The generator whose codes they are."),
                io.Int.Input(
                    "count", default=1, min=1, max=4096, tooltip="How many codes, a batch."
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**63 - 1,
                    control_after_generate=True,
                    tooltip="The same number gives the same codes.",
                ),
                io.Float.Input(
                    "truncation",
                    default=0.7,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="1 for the whole variety, 0 for the mean face; 0.7 gives clean ones.",
                ),
                io.Int.Input(
                    "label",
                    default=-1,
                    min=-1,
                    max=100000,
                    tooltip="The class, of class-conditional generators; -1 draws it.",
                ),
            ],
            outputs=[CODE.Output(display_name="code", tooltip="The codes, in W.")],
        )

    @classmethod
    def execute(
        cls, generator: host.LoadedModel, count: int, seed: int, truncation: float, label: int
    ) -> io.NodeOutput:
        from ..cycle_core.invert.sampling import sample

        G = generator.to_device()
        code = sample(G, count, seed, truncation, None if label < 0 else label)
        return io.NodeOutput(host.to_cpu(code))


class Compare(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        def version(number: int) -> Any:
            return io.Image.Input(
                f"image_{number}",
                optional=number > 1,
                tooltip=f"Version {number}: as many pictures as targets, or one.",
            )

        return host.schema(
            "CycleCompare",
            "Compare",
            "Pictures side by side with their targets, and how near they are: MSE, PSNR, SSIM, "
            "MS-SSIM, LPIPS and identity, measured by networks that no loss uses.",
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
            ],
            outputs=[
                io.Image.Output(display_name="grid", tooltip="One row a target, up to eight."),
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
    ) -> io.NodeOutput:
        import torch

        from ..cycle_core.measure.comparison import as_table, compare
        from ..cycle_core.measure.judge import Judge

        host.know_folders()
        given = {k: x for k, x in enumerate((image_1, image_2, image_3, image_4)) if x is not None}
        called = dict(enumerate(name.strip() for name in names.split(",")))
        images = {called.get(k) or f"image {k + 1}": host.pictures(x) for k, x in given.items()}
        with torch.inference_mode(False):
            judge = Judge(host.device(), domain=False)
        sheet, means = compare(
            host.pictures(target).to(host.device()), images, judge, cell, host.Progress()
        )
        measured_by = ", ".join(judge.names().values())
        return io.NodeOutput(host.image(sheet), f"{as_table(means)}\nmeasured by {measured_by}")


NODES = [Generate, SampleCodes, Compare]
