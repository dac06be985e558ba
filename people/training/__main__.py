"""The commands that train the networks of the embedded world.

python -m people.training features | landmarks | directions --help
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
)
from cycle_core.files.assets import ASSETS

from .settings import DirectionTraining, FeatureTraining, LandmarkTraining

_PROGRAM = "python -m people.training"
_DATA = "of `make people`"


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
    add_machine(command, FeatureTraining, ("seed", "bf16", "log_every", "save_every"))
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
    add_machine(command, LandmarkTraining, ("seed", "bf16", "log_every", "save_every"))

    command = add_command(
        kinds,
        "directions",
        train_directions,
        "fit and calibrate a direction for every factor of rendered people",
        "directions --generator portraits --out directions.safetensors",
        _PROGRAM,
    )
    command.add_argument("--generator", default="portraits", help="file, or an embedded one's name")
    add_out(command, "file of the directions", str(ASSETS / "directions.safetensors"))
    command.add_argument("--table", type=Path, help="file for what was measured, JSON")
    add_settings(command, DirectionTraining, ("samples", "pictures"))
    add_machine(command, DirectionTraining, ("seed",))
    add_options(command, "device")
    return top


def train_features(arguments: argparse.Namespace) -> None:
    import torch

    from cycle_core.training.renders import Renders

    from . import features

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


def train_directions(arguments: argparse.Namespace) -> None:
    import torch

    from . import directions

    torch.set_num_threads(arguments.threads)
    settings = DirectionTraining(**given(arguments, DirectionTraining))
    with closing(Console(arguments.quiet)) as console:
        directions.train(
            arguments.generator,
            arguments.out,
            arguments.table,
            settings,
            device_of(arguments),
            console.say,
        )


if __name__ == "__main__":
    sys.exit(main(make_parser=parser))
