"""`pack` and `train`: models of one's own, from pictures of one's own."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import InputError
from .console import Console
from .options import add_command, add_device, add_out, add_seed, device_of, number, positive, whole
from .train_encoder import add_encoder


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
    _add_generator(kinds)


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


# ------------------------------------------------------------------ generator
def _widths(text: str) -> tuple[int, ...]:
    return tuple(positive(part) for part in text.split("-"))


_BOTH: dict[str, tuple[Callable[[str], Any], str]] = {
    "channels": (_widths, "for 4, 8, 16, ... pixels, joined by -"),
    "w_dim": (positive, "dimensions of w"),
    "mapping_layers": (positive, "of z -> w"),
    "batch": (positive, "pictures of a step, of all processes together"),
    "r1_gamma": (number, "of the R1 penalty"),
    "r1_interval": (positive, "steps between two of them"),
    "every": (positive, "images between two checkpoints and sample grids"),
}
_PICTURES: dict[str, tuple[Callable[[str], Any], str]] = {
    "resolution": (positive, "a power of two"),
    "images": (positive, "to be seen in all"),
    "z_dim": (positive, "dimensions of z"),
    "lr": (number, "of Adam; of renders: of Muon, in the regression"),
    "path_weight": (number, "of the path lengths; 0: without"),
    "path_interval": (positive, "steps between two of them"),
    "style_mixing": (number, "share of the codes that are made of two"),
    "half_life": (positive, "of the average of the weights, in images"),
}
_RENDERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "regression_images": (whole, "length of the first phase"),
    "adversarial_images": (whole, "length of the second phase"),
    "perceptual_weight": (number, "of the perceptual distance; 0: without"),
    "adversarial_lr": (number, "in the second phase"),
    "adversarial_weight": (number, "of its loss beside the regression"),
    "warm_up": (positive, "images until the learning rate is reached"),
    "decay": (number, "share of a phase in which it falls to zero"),
}


def _add_generator(kinds: Any) -> None:
    command = add_command(
        kinds,
        "generator",
        train_generator,
        "train a StyleGAN2 generator: on pictures with a discriminator alone, on rendered "
        "portraits by their factors first",
        "train generator packed --resolution 256 --out run",
    )
    command.add_argument(
        "data", type=Path, help="folder of square pictures, of `pack`, or of rendered portraits"
    )
    add_out(command, "folder of the run; the same command again goes on")
    for title, options in (
        ("any data", _BOTH),
        ("pictures", _PICTURES),
        ("rendered portraits", _RENDERS),
    ):
        group = command.add_argument_group(title)
        for name, (kind, what) in options.items():
            group.add_argument("--" + name.replace("_", "-"), type=kind, help=what)
        if options is _PICTURES:
            group.add_argument("--mirror", action="store_true", default=None,
                               help="show them as their mirror images, too")  # fmt: skip
            group.add_argument("--no-noise", action="store_false", default=None, dest="noise",
                               help="a generator without noise maps")  # fmt: skip
        if options is _RENDERS:
            group.add_argument("--compile", action="store_true", default=None,
                               help="torch.compile the synthesis")  # fmt: skip
    command.add_argument("--bf16", action="store_true", help="multiply in bfloat16")
    command.add_argument("--threads", type=positive, default=1, help="of the CPU (default: 1)")
    add_seed(command)
    add_device(command)


def train_generator(arguments: argparse.Namespace) -> None:
    from ..training import distributed

    with distributed.processes(arguments.device):
        _train_generator(arguments)


def _train_generator(arguments: argparse.Namespace) -> None:
    import torch

    from ..portraits.dataset import PortraitData
    from ..training import adversarial, distributed, generator
    from ..training.data import is_rendered

    torch.set_num_threads(arguments.threads)
    console = Console(arguments.quiet or distributed.rank() > 0)
    callback = console.callback("train generator")
    try:
        if is_rendered(arguments.data):
            settings = generator.GeneratorTraining(**_given(arguments, _RENDERS, "lr", "compile"))
            generator.train(PortraitData(arguments.data), arguments.out, settings, callback)
        else:
            names = _given(arguments, _PICTURES, "mirror", "noise")
            settings = adversarial.AdversarialTraining(**names)
            adversarial.train(arguments.data, arguments.out, settings, callback)
        console.say(f"{arguments.out / 'generator.safetensors'}")
    finally:
        console.close()


def _given(arguments: argparse.Namespace, *wanted: Any) -> dict[str, Any]:
    """The settings that were given. Raises InputError for one that is for other data."""
    known = {*_BOTH, "seed", "bf16"}
    for part in wanted:
        known |= {part} if isinstance(part, str) else part.keys()
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    for name in {*_PICTURES, *_RENDERS, "mirror", "noise", "compile"} - known:
        if name in given:
            option = "--no-noise" if name == "noise" else "--" + name.replace("_", "-")
            kind = "rendered portraits" if "compile" in known else "pictures without factors"
            raise InputError(f"{option} is not an option for {kind}: leave it out.")
    device = str(device_of(arguments))
    return {"device": device} | {name: given[name] for name in known if name in given}
