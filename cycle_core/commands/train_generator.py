"""`train generator`: on pictures, or on rendered portraits whose factors are known."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from ..errors import InputError
from ..training.generator_settings import AdversarialTraining, GeneratorTraining
from .console import Console
from .options import (
    add_command,
    add_device,
    add_machine,
    add_out,
    add_seed,
    device_of,
    number,
    positive,
    whole,
)

Settings = TypeVar("Settings", GeneratorTraining, AdversarialTraining)


def _widths(text: str) -> tuple[int, ...]:
    return tuple(positive(part) for part in text.split("-"))


# {name of a setting: (its kind, what it is)}; those of both kinds of data, then those of one
_BOTH: dict[str, tuple[Callable[[str], Any], str]] = {
    "channels": (_widths, "for 4, 8, 16, ... pixels, joined by -"),
    "w_dim": (positive, "dimensions of w"),
    "mapping_layers": (positive, "of z -> w"),
    "batch": (positive, "pictures of a step, of all processes together"),
    "lr": (number, "of Adam; for renders: of Muon, in the first phase"),
    "r1_gamma": (number, "of the R1 penalty"),
    "r1_interval": (positive, "steps between two of them"),
    "every": (positive, "images between two checkpoints and sample grids"),
}
_PICTURES: dict[str, tuple[Callable[[str], Any], str]] = {
    "resolution": (positive, "a power of two"),
    "images": (positive, "to be seen in all"),
    "z_dim": (positive, "dimensions of z"),
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
_SWITCHES = {"mirror": "--mirror", "noise": "--no-noise", "compile": "--compile"}


def add_generator(kinds: Any) -> None:
    command = add_command(
        kinds,
        "generator",
        train_generator,
        "train a StyleGAN2 generator: on pictures, by a discriminator alone; on rendered "
        "portraits, by their factors first; the same command resumes it",
        "train generator packed --resolution 256 --out run; on 8 GPUs: torchrun --nproc-per-node "
        "8 -m cycle_core.training.generator, and the same options",
    )
    command.add_argument(
        "data", type=Path, help="folder of square pictures, of `pack`, or of rendered portraits"
    )
    add_out(command, "folder of the run")
    pictures, renders = AdversarialTraining(), GeneratorTraining()
    group = command.add_argument_group("any data")
    for name, (kind, what) in _BOTH.items():
        default = f"{_shown(pictures, name)}; for renders: {_shown(renders, name)}"
        _add(group, name, kind, f"{what} (default: {default})")
    group = command.add_argument_group("pictures")
    for name, (kind, what) in _PICTURES.items():
        _add(group, name, kind, f"{what} (default: {_shown(pictures, name)})")
    for name, value, what in (
        ("mirror", True, "show them as their mirror images, too"),
        ("noise", False, "a generator without noise maps"),
    ):
        group.add_argument(_SWITCHES[name], action="store_const", const=value, dest=name, help=what)
    group = command.add_argument_group("rendered portraits")
    for name, (kind, what) in _RENDERS.items():
        _add(group, name, kind, f"{what} (default: {_shown(renders, name)})")
    group.add_argument(
        "--compile", action="store_const", const=True, help="torch.compile the synthesis"
    )
    add_machine(command)
    add_seed(command)
    add_device(command)


def train_generator(arguments: argparse.Namespace) -> None:
    from ..runtime import distributed

    with distributed.processes(arguments.device):
        _train(arguments)


def _train(arguments: argparse.Namespace) -> None:
    import torch

    from ..portraits.dataset import PortraitData
    from ..runtime import distributed
    from ..training import adversarial, generator
    from ..training.data import is_rendered

    torch.set_num_threads(arguments.threads)
    console = Console(arguments.quiet or distributed.rank() > 0)
    callback = console.callback("train generator")
    try:
        if is_rendered(arguments.data):
            settings = _settings(arguments, GeneratorTraining, "rendered portraits")
            generator.train(PortraitData(arguments.data), arguments.out, settings, callback)
        else:
            settings = _settings(arguments, AdversarialTraining, "pictures without factors")
            adversarial.train(arguments.data, arguments.out, settings, callback)
        console.say(f"{arguments.out / 'generator.safetensors'}")
    finally:
        console.close()


def _settings(arguments: argparse.Namespace, kind: type[Settings], data: str) -> Settings:
    """What was given. Raises InputError for an option that other data have."""
    known = {field.name for field in fields(kind)}
    given: dict[str, Any] = {}
    for name in (*_BOTH, *_PICTURES, *_RENDERS, *_SWITCHES):
        if getattr(arguments, name) is not None:
            given[name] = getattr(arguments, name)
    for name in sorted(given.keys() - known):
        option = _SWITCHES.get(name, _option(name))
        raise InputError(f"{option} is not an option for {data}: leave it out.")
    return kind(
        **given,
        seed=arguments.seed,
        device=str(device_of(arguments)),
        bf16=arguments.bf16,
        tensorboard=arguments.tensorboard,
    )


def _add(group: Any, name: str, kind: Callable[[str], Any], what: str) -> None:
    group.add_argument(_option(name), type=kind, help=what)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _shown(settings: GeneratorTraining | AdversarialTraining, name: str) -> str:
    value = getattr(settings, name)
    if isinstance(value, tuple):
        return "-".join(map(str, value))
    return "by the resolution" if value is None else str(value)
