"""`morph`: a video or an animated picture from code to code."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..run.video_settings import MorphSettings
from .console import Console
from .options import (
    add_command,
    add_options,
    add_out,
    add_settings,
    device_of,
    given,
    names_of,
    output_file,
)

if TYPE_CHECKING:
    import torch


def add_commands(commands: Any) -> None:
    command = add_command(
        commands,
        "morph",
        run,
        "make a video or an animated picture that goes from code to code",
        "morph anna.safetensors ben.safetensors --loop --out morph.mp4",
    )
    command.add_argument(
        "codes", type=Path, nargs="+", help="files of codes; those of a batch follow each other"
    )
    add_out(command, "a video (.mp4, .mov, .mkv) or an animated .webp or .gif")
    add_settings(command, MorphSettings, names_of(MorphSettings))
    add_options(command, "tuned", "generator", "same-space", "device")


def run(arguments: argparse.Namespace) -> None:
    from ..checkpoints.latents import load_code
    from ..directions.editing import join
    from ..images.clips import ANIMATIONS, ClipWriter, write_animation
    from ..models.same_space import adopt
    from ..run.morph import count_of, morph
    from .steps import load_given_generator

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


def _shown(images: Iterator[torch.Tensor], total: int, console: Console) -> Iterator[torch.Tensor]:
    from ..images.io import as_rgb

    for index, image in enumerate(images, start=1):
        console.progress("morph", index, total)
        yield as_rgb(image)
