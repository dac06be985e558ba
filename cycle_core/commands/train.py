"""`pack`, `train encoder` and `train generator`: your own models, from your own pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingFileError
from ..training.schedule import ScheduleSettings
from ..training.settings import AdversarialTraining, EncoderTraining
from .console import Console
from .options import (
    add_command,
    add_config,
    add_machine,
    add_options,
    add_out,
    add_settings,
    device_of,
    given,
    names_of,
    positive,
)

if TYPE_CHECKING:
    from ..measure.perceptual import Lpips
    from ..models.encoder import Encoder
    from ..models.generator import Generator
    from ..models.irse import IdentityNet
    from ..models.moco import MocoNet

_MACHINE = ("seed", "bf16", "log_every", "save_every", "tensorboard")


def add_commands(commands: Any) -> None:
    command = add_command(
        commands,
        "pack",
        pack,
        "pack a folder of square pictures, so that trainings read them at once",
        "pack pictures --size 256 --out packed",
    )
    command.add_argument(
        "pictures", type=Path, help="folder of square pictures, in any nesting; or zip, LMDB"
    )
    add_out(command, "folder of the packed pictures; the same command again goes on")
    command.add_argument("--size", type=positive, required=True, help="pixels of a side")
    command.add_argument("--workers", type=positive, help="threads that decode (default: up to 8)")

    train = commands.add_parser(
        "train",
        help="train your own encoder or generator; `train encoder --help` shows how",
        description="Train your own model, in one process or in several that torchrun starts.",
    )
    kinds = train.add_subparsers(
        title="models", metavar="MODEL", required=True, parser_class=type(train)
    )
    _add_encoder(kinds)
    _add_generator(kinds)


def pack(arguments: argparse.Namespace) -> None:
    import torch

    from ..training.packing import pack as pack_pictures

    torch.set_num_threads(1)  # it is the pictures that are done at the same time
    with closing(Console(arguments.quiet)) as console:
        packed = pack_pictures(
            arguments.pictures,
            arguments.out,
            arguments.size,
            arguments.workers,
            lambda done, total: console.progress("pack", done, total),
        )
        console.say(f"{arguments.out}: {len(packed)} pictures of {packed.resolution} pixels")


# ------------------------------------------------------------------ an encoder
def _add_encoder(kinds: Any) -> None:
    command = add_command(
        kinds,
        "encoder",
        lambda arguments: in_processes(arguments, _train_encoder),
        "train a cycle encoder for a generator; the same command resumes it",
        "train encoder --generator ffhq.pkl --data ffhq256 --out run --device cuda --bf16; on 8 "
        "GPUs: torchrun --nproc-per-node 8 -m cycle_core.cli train encoder, and the same options",
    )
    command.add_argument(
        "--generator", required=True, help="path of a generator, or the name of an embedded one"
    )
    command.add_argument(
        "--data",
        type=Path,
        required=True,
        help="folder of square aligned pictures, or of `pack`; a zip, or the folder of an LMDB",
    )
    add_out(command, "folder of the run")
    add_config(command)
    add_dry_run(command)
    command.add_argument(
        "--networks",
        choices=("auto", "published", "moco", "embedded"),
        default="auto",
        help="of LPIPS and identity: AlexNet and ArcFace (published); AlexNet and MoCo, for other "
        "things than faces (moco); or those that know rendered people only (embedded) (default: "
        "auto, published for generators of 256 px and more, else embedded)",
    )
    bodies = command.add_mutually_exclusive_group()
    bodies.add_argument(
        "--body",
        metavar="ENCODER",
        help="start from the body of this encoder, of the same shape: one that was trained before "
        "for a generator of such pictures",
    )
    bodies.add_argument(
        "--random-body",
        action="store_true",
        help="do not start from the body of ArcFace, or below 256 px of the embedded identity",
    )
    group = command.add_argument_group("schedule")
    add_settings(group, ScheduleSettings, names_of(ScheduleSettings))
    machine = (*_MACHINE, "compile")
    group = command.add_argument_group("training")
    add_settings(group, EncoderTraining, names_of(EncoderTraining, machine))
    add_machine(command, EncoderTraining, machine)
    add_options(command, "device")
    command.add_argument("--no-tightening", action="store_true", help=argparse.SUPPRESS)  # as once


def _train_encoder(arguments: argparse.Namespace, console: Console) -> None:
    from ..checkpoints.registry import load_generator
    from ..runtime import distributed
    from ..training.dry_run import dry_run
    from ..training.encoder import EncoderTrainer, train

    schedule = given(arguments, ScheduleSettings)
    if arguments.no_tightening:
        schedule |= {"delta_factor": 1.0, "adv_factor": 1.0}
    settings = EncoderTraining(
        **given(arguments, EncoderTraining), schedule=ScheduleSettings(**schedule)
    )
    with distributed.raise_everywhere():
        device = device_of(arguments)
        generator = load_generator(arguments.generator, device)
        perceptual, identity, body = _networks(arguments, settings, generator)
        networks = {
            "perceptual": None if perceptual is None else perceptual.to(device),
            "identity": None if identity is None else identity.to(device),
            "body": body,
        }
    if arguments.dry_run:
        trainer = EncoderTrainer(generator, arguments.data, settings, **networks, known=None)
        console.say(dry_run(trainer))
        return
    callback = console.callback("train encoder")
    train(generator, arguments.data, arguments.out, settings, **networks, callback=callback)
    console.say(f"{arguments.out / 'encoder.safetensors'}")


def _networks(
    arguments: argparse.Namespace, settings: EncoderTraining, generator: Generator
) -> tuple[Lpips | None, IdentityNet | MocoNet | None, IdentityNet | Encoder | None]:
    """LPIPS and identity, None where the weight is 0, and the network whose body is taken over."""
    from ..checkpoints.registry import load_encoder
    from ..measure.perceptual import load_perceptual
    from ..measure.recognition import load_identity, load_moco
    from ..models.encoder import is_full_size

    full = is_full_size(generator)
    chosen = arguments.networks
    if chosen == "auto":
        # small generators are of the embedded domain, and so must be what compares their pictures
        chosen = "published" if full else "embedded"
    lpips, recognizer = ("embedded", "embedded") if chosen == "embedded" else ("alex", "arcface")
    perceptual = identity = body = None
    try:
        if settings.lpips:
            perceptual = load_perceptual("loss", lpips)
        if settings.identity:
            identity = load_moco() if chosen == "moco" else load_identity("loss", recognizer)
        if arguments.body:
            body = load_encoder(arguments.body)
        elif not arguments.random_body:  # it must fit the encoder, whatever the losses compare
            body = load_identity("loss", "arcface" if full else "embedded")
    except MissingFileError as error:
        raise MissingFileError(
            f"{error} `cycle-core models` says where it comes from and goes to; --lpips 0, "
            "--identity 0 and --random-body do without."
        ) from error
    return perceptual, identity, body


# ------------------------------------------------------------------ a generator
def _add_generator(kinds: Any) -> None:
    command = add_command(
        kinds,
        "generator",
        lambda arguments: in_processes(arguments, _train_generator),
        "train a StyleGAN2 generator on pictures; the same command resumes it",
        "train generator packed --resolution 256 --out run; on 8 GPUs: torchrun --nproc-per-node "
        "8 -m cycle_core.cli train generator, and the same options",
    )
    command.add_argument(
        "data",
        type=Path,
        help="folder of square pictures, of `pack`, or of rendered people; a zip, or "
        "the folder of an LMDB; classes for --cond are in their dataset.json",
    )
    add_out(command, "folder of the run")
    add_config(command)
    command.add_argument(
        "--start",
        metavar="GENERATOR",
        help="fine-tune this StyleGAN2, whose size and layers are taken; with few pictures use "
        "--ada 0.6 --freeze 4",
    )
    add_dry_run(command)
    group = command.add_argument_group("training")
    add_settings(group, AdversarialTraining, names_of(AdversarialTraining, _MACHINE))
    add_machine(command, AdversarialTraining, _MACHINE)
    add_options(command, "device")


def _train_generator(arguments: argparse.Namespace, console: Console) -> None:
    from ..checkpoints.registry import load_generator
    from ..training.data import open_all
    from ..training.dry_run import dry_run
    from ..training.generator import AdversarialTrainer, fine_tuning, train

    start = None if arguments.start is None else load_generator(arguments.start)
    values = given(arguments, AdversarialTraining)
    values.pop("start", None)  # its file; a fingerprint in the settings
    values["device"] = str(device_of(arguments))
    settings = AdversarialTraining(**values)
    if arguments.dry_run:
        settings = settings if start is None else fine_tuning(settings, start)
        pictures = open_all(arguments.data, settings.resolution, None, settings.cond)
        console.say(dry_run(AdversarialTrainer(pictures, settings, start)))
        return
    callback = console.callback("train generator")
    train(arguments.data, arguments.out, settings, callback, start)
    console.say(f"{arguments.out / 'generator.safetensors'}")


# ------------------------------------------------------------------ parts
def add_dry_run(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="print the phases, and memory and time by a few real steps; write nothing",
    )


def in_processes(
    arguments: argparse.Namespace, train: Callable[[argparse.Namespace, Console], None]
) -> None:
    """Train in this process, or in those that torchrun started."""
    import torch

    from ..runtime import distributed

    torch.set_num_threads(arguments.threads)
    with distributed.processes(arguments.device):
        first = distributed.rank() == 0
        with closing(Console(arguments.quiet or not first)) as console:
            try:
                train(arguments, console)
            except KeyboardInterrupt:
                if first and not arguments.dry_run:
                    text = f"The same command resumes from the last checkpoint in {arguments.out}."
                    print(f"\n{text}", file=sys.stderr)
                raise
