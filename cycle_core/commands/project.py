"""`project`: codes by optimisation alone, for a generator that has no encoder."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..invert.settings import ProjectSettings
from .console import Console
from .options import add_command, add_options, add_out, add_settings, device_of, given, output_file


def add_commands(commands: Any) -> None:
    command = add_command(
        commands,
        "project",
        run,
        "find the code of a crop by optimisation: for a generator without an encoder",
        "project crop.png --generator own.pkl --space W+ --out pivot.safetensors",
    )
    command.add_argument(
        "crops", type=Path, nargs="+", metavar="crop", help="square pictures, aligned if faces"
    )
    add_out(command, "the codes, one row for each crop")
    names = ("space", "steps", "samples", "starts", "learning_rate", "l2", "lpips", "identity")
    names += ("noise_maps",)
    add_settings(command, ProjectSettings, names)
    command.add_argument(
        "--start", type=Path, help="codes to start at, such as an encoder's (default: the mean)"
    )
    add_options(command, "class", "preset", "generator", "seed", "device")


def run(arguments: argparse.Namespace) -> None:
    import torch

    from ..checkpoints.latents import load_code, save_code
    from ..checkpoints.registry import load_generator
    from ..images.io import read_crop
    from ..images.resize import resize
    from ..invert.project import project
    from ..run.pipeline import project_preset

    console = Console(arguments.quiet)
    read = [*arguments.crops, *([arguments.start] if arguments.start else [])]
    out = output_file(arguments.out, read)
    crops = [read_crop(path) for path in arguments.crops]
    device = device_of(arguments)
    start = None if arguments.start is None else load_code(arguments.start, device)
    G = load_generator(arguments.generator, device)
    settings = project_preset(arguments.preset, G)
    settings = replace(settings, **given(arguments, ProjectSettings))
    found = project(
        G,
        torch.cat([resize(crop, G.resolution) for crop in crops]).to(device),
        settings,
        start,
        console.callback("project"),
        arguments.seed,
        label=arguments.label,
    )
    save_code(found.code, out)
    for path, log in zip(arguments.crops, found.history, strict=True):
        best = min(log, key=lambda entry: entry["total"])
        first = log[0]
        console.say(
            f"{path}: loss {first['total']:.4f} -> {best['total']:.4f}, LPIPS {best['lpips']:.4f}"
        )
    console.say(f"{out}: {len(crops)} codes in {found.code.space}")
