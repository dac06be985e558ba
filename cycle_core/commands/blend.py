"""`blend`: a generator of two."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..models.settings import BlendSettings
from .console import Console
from .options import add_command, add_out, add_settings, given, output_file, positive


def add_commands(commands: Any) -> None:
    command = add_command(
        commands,
        "blend",
        run,
        "mix two generators of one shape, as a rule one and its fine-tuned child",
        "blend ffhq.pkl cartoons.pkl --from 64 --out mixed.safetensors",
    )
    command.add_argument("first", type=Path, help="a generator, whose codes fit the result")
    command.add_argument("second", type=Path, help="another of the same shape")
    add_out(command, "the mixed generator, .safetensors")
    add_settings(command, BlendSettings, ("amount",))
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "--from",
        dest="above",
        type=positive,
        metavar="PIXELS",
        help="blend the layers from this resolution on: look and colours of the second",
    )
    which.add_argument(
        "--below",
        type=positive,
        metavar="PIXELS",
        help="blend the layers below this resolution: pose and shape of the second",
    )
    which.add_argument("--layers", help="blend these, such as 0-3+6 (default: all)")


def run(arguments: argparse.Namespace) -> None:
    from ..checkpoints.native import save_model, tensors_in_place
    from ..checkpoints.registry import load_generator
    from ..directions.direction import parse_layers
    from ..files.atomic import write_atomically
    from ..models.blend import blend_into, layers_from

    out = output_file(arguments.out, [arguments.first, arguments.second])
    if out.suffix != ".safetensors":
        raise InputError(f"{out}: the name of a generator's file ends in .safetensors.")
    first = load_generator(arguments.first)
    if arguments.above is not None:
        layers = layers_from(first, arguments.above)
    elif arguments.below is not None:
        layers = layers_from(first, arguments.below, below=True)
    else:
        layers = parse_layers(arguments.layers, first.num_ws)
    amount = BlendSettings(**given(arguments, BlendSettings)).amount
    header = {
        "source": f"{arguments.first.name} blended with {arguments.second.name}",
        "space": first.base_fingerprint,
    }

    def write(part: Path) -> None:  # one generator after the other, for the memory of one
        save_model(part, "generator", first.config, first.state_dict(), header)
        first.to("meta")
        second = load_generator(arguments.second)
        mixed = tensors_in_place(part)
        blend_into(lambda name: mixed(f"synthesis.{name}"), first, second, amount, layers)

    write_atomically(out, write)
    named = "all layers" if layers is None else f"the layers {', '.join(map(str, layers))}"
    Console(arguments.quiet).say(
        f"{out}: {first.name} with {amount:g} of {arguments.second.stem} in {named}"
    )
