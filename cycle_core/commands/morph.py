"""`morph`: a video or an animated picture from code to code."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .console import Console
from .options import (
    add_command,
    add_device,
    add_generator,
    add_out,
    device_of,
    number,
    output_file,
    positive,
    whole,
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
    command.add_argument(
        "--frames", type=positive, default=48, help="from one code to the next (default: 48)"
    )
    command.add_argument("--fps", type=number, default=24.0, help="a second (default: 24)")
    command.add_argument(
        "--easing",
        choices=("linear", "smooth", "sine"),
        default="smooth",
        help="how the speed changes on the way (default: smooth)",
    )
    command.add_argument(
        "--path",
        choices=("straight", "arc"),
        default="straight",
        help="straight, or an arc that keeps the distance from the mean (default: straight)",
    )
    command.add_argument("--loop", action="store_true", help="return to the first code")
    command.add_argument(
        "--hold", type=whole, default=0, help="pictures for which it rests at each code"
    )
    command.add_argument("--tuned", type=Path, help="what `tune` wrote (default: the generator)")
    add_generator(command)
    add_device(command)


def run(arguments: argparse.Namespace) -> None:
    from ..checkpoints.latents import load_code
    from ..directions.editing import join
    from ..images.clips import ANIMATIONS, ClipWriter, write_animation
    from ..run.morph import MorphSettings, count_of, morph
    from .latent import load_drawing_generator

    if not 0.1 <= arguments.fps <= 240:
        raise InputError(f"--fps is from 0.1 to 240, not {arguments.fps:g}.")
    console = Console(arguments.quiet)
    settings = MorphSettings(
        arguments.frames, arguments.easing, arguments.path, arguments.loop, arguments.hold
    )
    out = output_file(arguments.out, arguments.codes)
    animated = out.suffix.lower() in ANIMATIONS
    writer = None if animated else ClipWriter(out, arguments.fps)  # an unknown ending ends it here
    device = device_of(arguments)
    codes = join([load_code(path, device) for path in arguments.codes])
    generator = load_drawing_generator(arguments, device)
    total = count_of(codes.batch, settings)
    pictures = _shown(morph(generator, codes, settings), total, console)
    if writer is None:
        write_animation(out, pictures, arguments.fps)
    else:
        with writer:
            for index, image in enumerate(pictures):
                writer.write(image, index / writer.rate)
    console.say(f"{out}: {total} pictures through {codes.batch} codes")


def _shown(images: Iterator[torch.Tensor], total: int, console: Console) -> Iterator[torch.Tensor]:
    for index, image in enumerate(images, start=1):
        console.progress("morph", index, total)
        yield image
