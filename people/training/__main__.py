"""The commands that train the networks of the embedded world.

python -m people.training features | generator | landmarks | detail | directions --help
"""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from cycle_core.cli import Parser, main
from cycle_core.commands.console import Console
from cycle_core.commands.options import (
    add_command,
    add_machine,
    add_options,
    add_out,
    add_settings,
    device_of,
    given,
    names_of,
)
from cycle_core.commands.train import add_dry_run, in_processes
from cycle_core.files.assets import ASSETS

from .settings import (
    DetailTraining,
    DirectionTraining,
    FeatureTraining,
    LandmarkTraining,
    RegressionTraining,
)

_PROGRAM = "python -m people.training"
_DATA = "of `make people`"
_MACHINE = ("seed", "bf16", "log_every", "save_every")


def parser() -> argparse.ArgumentParser:
    top = Parser(prog=_PROGRAM, description="Train a network of the embedded world.")
    kinds = top.add_subparsers(metavar="NETWORK", required=True, parser_class=Parser)
    command = add_command(
        kinds,
        "features",
        train_features,
        "train a network that compares or reads rendered people",
        "features perceptual portraits --role metrics --seed 2 --out run",
        _PROGRAM,
    )
    command.add_argument("kind", choices=FeatureTraining.KINDS)
    command.add_argument("data", type=Path, help=f"folder {_DATA}")
    command.add_argument("--role", choices=FeatureTraining.ROLES, required=True)
    command.add_argument("--out", type=Path, help="folder of the run (default: runs/KIND_ROLE)")
    command.add_argument("--save", type=Path, help="model file (default: the embedded one)")
    add_settings(
        command, FeatureTraining, ("steps", "batch", "resolution", "learning_rate", "half_life")
    )
    add_machine(command, FeatureTraining, _MACHINE)
    add_options(command, "device")

    command = add_command(
        kinds,
        "generator",
        lambda arguments: in_processes(arguments, train_generator),
        "train a generator on rendered people, by their factors; the same command resumes it",
        "generator people --resolution 64 --out run",
        _PROGRAM,
    )
    command.add_argument("data", type=Path, help=f"folder {_DATA}")
    add_out(command, "folder of the run")
    command.add_argument("--start", metavar="GENERATOR", help="the smaller one that grows")
    add_dry_run(command)
    machine = (*_MACHINE, "tensorboard", "compile")
    add_settings(command, RegressionTraining, names_of(RegressionTraining, machine))
    add_machine(command, RegressionTraining, machine)
    add_options(command, "device")

    command = add_command(
        kinds,
        "landmarks",
        train_landmarks,
        "train the landmark networks on rendered people in synthetic scenes",
        "landmarks scenes people --minutes 45 --out run",
        _PROGRAM,
    )
    command.add_argument(
        "data", type=Path, nargs="+", help="folders of `make scenes` and `make people`"
    )
    add_out(command, "folder of the run")
    add_settings(command, LandmarkTraining, ("steps", "minutes"))
    add_machine(command, LandmarkTraining, _MACHINE)

    command = add_command(
        kinds,
        "detail",
        train_detail,
        "train the network that predicts the detail of a picture in one pass",
        "detail sets --out run",
        _PROGRAM,
    )
    command.add_argument("data", type=Path, help="folder of `make sets SPLIT=tuning`")
    command.add_argument("--generator", default="portraits", help="file, or an embedded one's name")
    command.add_argument("--encoder", default="portraits", help="its encoder, likewise")
    add_out(command, "folder of the run")
    add_settings(command, DetailTraining, names_of(DetailTraining, _MACHINE))
    add_machine(command, DetailTraining, _MACHINE)
    add_options(command, "device")

    command = add_command(
        kinds,
        "directions",
        train_directions,
        "fit and calibrate a direction for every factor of rendered people",
        "directions calibration.safetensors --generator portraits --out directions.safetensors",
        _PROGRAM,
    )
    command.add_argument(
        "reader", type=Path, help="file of `features perceptual --role calibration`"
    )
    command.add_argument("--generator", default="portraits", help="file, or an embedded one's name")
    add_out(command, "file of the directions", str(ASSETS / "directions.safetensors"))
    command.add_argument("--table", type=Path, help="file for what was measured, JSON")
    command.add_argument(
        "--known", type=Path, help="directions in use: these alone are made, or stay as they are"
    )
    add_settings(command, DirectionTraining, ("samples", "pictures"))
    add_machine(command, DirectionTraining, ("seed",))
    add_options(command, "device")
    return top


def train_features(arguments: argparse.Namespace) -> None:
    import torch

    from . import features
    from .renders import Renders

    torch.set_num_threads(arguments.threads)
    values: dict[str, Any] = {"seed": 1 + FeatureTraining.ROLES.index(arguments.role)}
    settings = FeatureTraining(**values | given(arguments, FeatureTraining))
    name = f"{settings.kind}_{settings.role}"
    out, file = arguments.out or Path("runs") / name, arguments.save
    with closing(Console(arguments.quiet)) as console:
        data = Renders(arguments.data, settings.resolution)
        callback = console.callback(f"train {name}")
        net = features.train(data, out, settings, device_of(arguments), callback)
        quality = features.measure(net, data)
        features.save(file or ASSETS / f"{name}.safetensors", net, settings, out, quality)
        console.say(features.table(quality))


def train_generator(arguments: argparse.Namespace, console: Console) -> None:
    from cycle_core.checkpoints.registry import load_generator
    from cycle_core.training.dry_run import dry_run

    from . import generator
    from .renders import Renders

    start = None if arguments.start is None else load_generator(arguments.start)
    values = given(arguments, RegressionTraining)
    values.pop("start", None)  # its file; a fingerprint in the settings
    values["device"] = str(device_of(arguments))
    settings = RegressionTraining(**values)
    data = Renders(arguments.data, settings.resolution)
    if arguments.dry_run:
        console.say(dry_run(generator.RegressionTrainer(data, settings, start)))
        return
    callback = console.callback("train generator")
    generator.train(data, arguments.out, settings, callback, start)
    console.say(f"{arguments.out / 'generator.safetensors'}")


def train_landmarks(arguments: argparse.Namespace) -> None:
    import torch

    from . import landmarks
    from .scenes import People

    torch.set_num_threads(arguments.threads)
    settings = LandmarkTraining(**given(arguments, LandmarkTraining))
    with closing(Console(arguments.quiet)) as console:
        people, held_out = (People(arguments.data, part) for part in ("train", "held_out"))
        callback = console.callback("train landmarks")
        path = landmarks.train(people, held_out, arguments.out, settings, callback=callback)
        console.say(str(path))


def train_detail(arguments: argparse.Namespace) -> None:
    import torch

    from cycle_core.checkpoints.registry import load_encoder, load_generator

    from . import detail

    torch.set_num_threads(arguments.threads)
    settings = DetailTraining(**given(arguments, DetailTraining))
    device = device_of(arguments)
    G = load_generator(arguments.generator, device)
    E = load_encoder(arguments.encoder, device)
    with closing(Console(arguments.quiet)) as console:
        callback = console.callback("train detail")
        detail.train(G, E, arguments.data, arguments.out, settings, callback)
        console.say(f"{arguments.out / 'detail.safetensors'}")


def train_directions(arguments: argparse.Namespace) -> None:
    import torch

    from . import directions

    torch.set_num_threads(arguments.threads)
    settings = DirectionTraining(**given(arguments, DirectionTraining))
    with closing(Console(arguments.quiet)) as console:
        directions.train(
            arguments.reader,
            arguments.generator,
            arguments.out,
            arguments.table,
            settings,
            device_of(arguments),
            arguments.known,
            console.say,
        )


if __name__ == "__main__":
    sys.exit(main(make_parser=parser))
