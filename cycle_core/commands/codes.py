"""From a code to pictures: `edit`, `generate`, `sample` and `morph`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..models.settings import SampleSettings
from ..run.video_settings import MorphSettings
from .console import Console
from .options import (
    add_command,
    add_edit,
    add_options,
    add_out,
    add_settings,
    device_of,
    given,
    names_of,
    output_file,
)

SHEET = 64  # pictures on the sheet of samples, at most

if TYPE_CHECKING:
    import torch

    from ..models.generator import Generator


def add_commands(commands: Any) -> None:
    edit = add_command(
        commands,
        "edit",
        run_edit,
        "move a code along directions",
        "edit pivot.safetensors --edit smile=2,age=+1,keep=glasses --out edited.safetensors",
    )
    edit.add_argument("code", type=Path, help="a code")
    add_edit(edit, repeated=False)
    add_out(edit, "the edited code")
    add_options(edit, "generator", "same-space")

    generate = add_command(
        commands,
        "generate",
        run_generate,
        "generate the picture of a code",
        "generate edited.safetensors --tuned tuned.safetensors --out edited.png",
    )
    generate.add_argument("code", type=Path, help="a code")
    add_out(generate, "the picture; several are numbered")
    add_options(generate, "tuned", "generator", "same-space", "device")

    sample = add_command(
        commands,
        "sample",
        run_sample,
        "generate new pictures",
        "sample --count 16 --seed 1 --out samples",
    )
    add_out(sample, "the folder: pictures, a sheet of them and their codes")
    add_settings(sample, SampleSettings, ("count",))
    add_options(sample, "class")
    add_settings(sample, SampleSettings, ("truncation",))
    add_options(sample, "generator", "seed", "device")

    morph = add_command(
        commands,
        "morph",
        run_morph,
        "make a video or an animated picture that goes from code to code",
        "morph anna.safetensors ben.safetensors --loop --out morph.mp4",
    )
    morph.add_argument(
        "codes", type=Path, nargs="+", help="files of codes; those of a batch follow each other"
    )
    add_out(morph, "a video (.mp4, .mov, .mkv) or an animated .webp or .gif")
    add_settings(morph, MorphSettings, names_of(MorphSettings))
    add_options(morph, "tuned", "generator", "same-space", "device")


def run_edit(arguments: argparse.Namespace) -> None:
    from ..checkpoints.latents import load_code, save_code
    from ..checkpoints.registry import load_generator
    from ..directions.text import apply_edit, needs_generator, parse_edit
    from ..models.same_space import adopt

    if len(arguments.edit) > 1:
        raise InputError(
            f"{len(arguments.edit)} edits were given for one code: join changes that act together "
            "by commas (smile=2,age=1), or call this once for each."
        )
    out = output_file(arguments.out, [arguments.code])
    edit = parse_edit(arguments.edit[0])
    code, generator = load_code(arguments.code), None
    if needs_generator(edit) or arguments.same_space:
        generator = load_generator(arguments.generator)
    if arguments.same_space and generator is not None:
        code = adopt(code, generator)
    save_code(apply_edit(code, edit, generator), out)
    Console(arguments.quiet).say(f"{out}: {edit}")


def run_generate(arguments: argparse.Namespace) -> None:
    from ..checkpoints.latents import load_code
    from ..images.io import save_image
    from ..invert.generate import generate
    from ..models.same_space import adopt

    console = Console(arguments.quiet)
    inputs = [arguments.code] + ([arguments.tuned] if arguments.tuned else [])
    out = output_file(arguments.out, inputs)
    device = device_of(arguments)
    code = load_code(arguments.code, device)
    generator = load_given_generator(arguments, device)
    images = generate(generator, adopt(code, generator) if arguments.same_space else code)
    for index, image in enumerate(images):
        path = out if len(images) == 1 else out.with_name(f"{out.stem}-{index}{out.suffix}")
        save_image(image, path)
        console.say(str(path))


def run_sample(arguments: argparse.Namespace) -> None:
    from ..checkpoints.latents import save_code
    from ..checkpoints.registry import load_generator
    from ..images.io import save_image
    from ..images.sheet import save_sheet
    from ..invert.generate import generate
    from ..invert.sampling import sample
    from ..run.results import make_folder

    console = Console(arguments.quiet)
    make_folder(arguments.out)
    device = device_of(arguments)
    generator = load_generator(arguments.generator, device)
    how = SampleSettings(**given(arguments, SampleSettings))
    code = sample(generator, how.count, arguments.seed, how.truncation, how.label)
    shown = []  # on the sheet
    for index in range(how.count):
        image = generate(generator, code.with_w(code.w[index : index + 1]))
        save_image(image, arguments.out / f"sample-{index:04d}.png")
        shown += [image] if len(shown) < SHEET else []
        console.progress("sample", index + 1, how.count)
    save_code(code, arguments.out / "codes.safetensors")
    save_sheet(sheet_of(shown), arguments.out)
    console.say(f"{arguments.out}: {how.count} pictures, sheet.png, codes.safetensors")


def run_morph(arguments: argparse.Namespace) -> None:
    from ..checkpoints.latents import load_code
    from ..directions.editing import join
    from ..images.clips import ANIMATIONS, ClipWriter, write_animation
    from ..models.same_space import adopt
    from ..run.morph import count_of, morph

    console = Console(arguments.quiet)
    settings = MorphSettings(**given(arguments, MorphSettings))
    out = output_file(arguments.out, arguments.codes)
    animated = out.suffix.lower() in ANIMATIONS
    writer = None if animated else ClipWriter(out, settings.fps)  # an unknown ending ends it here
    device = device_of(arguments)
    codes = join([load_code(path, device) for path in arguments.codes])
    generator = load_given_generator(arguments, device)
    codes = adopt(codes, generator) if arguments.same_space else codes
    total = count_of(codes.batch, settings)
    pictures = _shown(morph(generator, codes, settings), total, console)
    if writer is None:
        write_animation(out, pictures, settings.fps)
    else:
        with writer:
            for index, image in enumerate(pictures):
                writer.write(image, index / writer.rate)
    console.say(f"{out}: {total} pictures through {codes.batch} codes")


def load_given_generator(arguments: argparse.Namespace, device: torch.device) -> Generator:
    """The generator of --generator, with what --tuned changed where that is given."""
    from ..checkpoints.registry import load_generator
    from ..invert.tuned_files import load_tuned

    generator = load_generator(arguments.generator, device)
    if arguments.tuned is None:
        return generator
    return load_tuned(arguments.tuned, generator, arguments.same_space).generator


def sheet_of(images: list[torch.Tensor]) -> torch.Tensor:
    """Pictures as a square table."""
    from ..images.io import as_rgb
    from ..images.sheet import contact_sheet

    shown = [as_rgb(image) for image in images]
    width = math.isqrt(len(shown) - 1) + 1
    return contact_sheet([shown[i : i + width] for i in range(0, len(shown), width)], cell=160)


def _shown(images: Iterator[torch.Tensor], total: int, console: Console) -> Iterator[torch.Tensor]:
    from ..images.io import as_rgb

    for index, image in enumerate(images, start=1):
        console.progress("morph", index, total)
        yield as_rgb(image)
