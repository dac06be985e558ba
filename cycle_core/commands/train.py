"""`pack` and `train`: models of one's own, from pictures of one's own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .console import Console
from .options import add_command, add_out, positive
from .train_encoder import add_encoder
from .train_generator import add_generator


def add_commands(commands: Any) -> None:
    command = add_command(
        commands,
        "pack",
        pack,
        "pack a folder of square pictures, so that trainings read them at once",
        "pack pictures --size 256 --out packed",
    )
    command.add_argument("pictures", type=Path, help="folder of square pictures, in any nesting")
    add_out(command, "folder of the packed pictures; the same command again goes on")
    command.add_argument("--size", type=positive, required=True, help="pixels of a side")
    command.add_argument("--workers", type=positive, help="threads that decode (default: up to 8)")

    train = commands.add_parser(
        "train",
        help="train an own encoder or generator; `train encoder --help` shows how",
        description="Train an own model, in one process or in several that torchrun starts.",
    )
    kinds = train.add_subparsers(
        title="models", metavar="MODEL", required=True, parser_class=type(train)
    )
    add_encoder(kinds)
    add_generator(kinds)


def pack(arguments: argparse.Namespace) -> None:
    import torch

    from ..training.packing import pack as pack_pictures

    torch.set_num_threads(1)  # it is the pictures that are done at the same time
    console = Console(arguments.quiet)
    try:
        packed = pack_pictures(
            arguments.pictures,
            arguments.out,
            arguments.size,
            arguments.workers,
            lambda done, total: console.progress("pack", done, total),
        )
        console.say(f"{arguments.out}: {len(packed)} pictures of {packed.resolution} pixels")
    finally:
        console.close()
