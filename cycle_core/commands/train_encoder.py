"""`train encoder`: one run, or what it would be (`--dry-run`)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingFileError
from ..training.encoder_settings import EncoderTraining
from ..training.schedule import PATHS, ScheduleSettings
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

if TYPE_CHECKING:
    from ..measure.perceptual import Lpips
    from ..models.irse import IdentityNet
    from ..models.moco import MocoNet

_Kind = Callable[[str], Any]
_STEPS: dict[str, tuple[_Kind, str]] = {
    "steps": (positive, "of the schedule W -> W+ -> W"),
    "batch": (positive, "pictures of a step, of all processes together"),
    "accumulate": (positive, "parts in which a batch is seen one after the other, to save memory"),
    "lr": (number, "of Ranger"),
    "lr_decay": (number, "share at the end in which it falls to zero"),
    "held_out": (positive, "pictures that are kept for validation, at most a tenth"),
    "log_every": (positive, "steps between two lines of the log"),
    "save_every": (positive, "steps between two validations, sample grids and checkpoints"),
}
_LOSSES: dict[str, tuple[_Kind, str]] = {
    "l2": (number, "weight of the squared differences"),
    "lpips": (number, "weight of the perceptual distance; 0: without its network"),
    "identity": (number, "weight of the identity distance; 0: without its network"),
    "delta": (number, "first weight of the delta loss"),
    "adv": (number, "first weight of the latent discriminator"),
    "discriminator_lr": (number, "of Adam"),
    "r1_gamma": (number, "of its R1 penalty"),
    "r1_interval": (positive, "steps between two of them"),
    "pool": (whole, "past codes that it remembers of each kind"),
}
_WARMUP: dict[str, tuple[_Kind, str]] = {
    "warmup_samples": (whole, "steps of it; the paper has none"),
    "warmup_batch": (positive, "pictures of such a step"),
    "warmup_lr": (number, "of Muon"),
}


def add_encoder(kinds: Any) -> None:
    command = add_command(
        kinds,
        "encoder",
        train_encoder,
        "train a cycle encoder for a generator; the same command resumes it",
        "train encoder --generator ffhq.pkl --data ffhq256 --out run --device cuda --bf16; on 8 "
        "GPUs: torchrun --nproc-per-node 8 -m cycle_core.training.encoder, and the same options",
    )
    command.add_argument(
        "--generator", required=True, help="path of a generator, or the name of an embedded one"
    )
    command.add_argument(
        "--data", type=Path, required=True, help="folder of square aligned pictures, or of `pack`"
    )
    add_out(command, "folder of the run")
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="print the schedule, and memory and time by a few real steps; write nothing",
    )
    _add(command.add_argument_group("steps"), _STEPS)
    losses = command.add_argument_group("losses")
    _add(losses, _LOSSES)
    losses.add_argument(
        "--networks",
        choices=("auto", "published", "moco", "embedded"),
        default="auto",
        help="of LPIPS and identity: AlexNet and ArcFace (published); AlexNet and MoCo, for other "
        "things than faces (moco); or those that know rendered portraits only (embedded) (default: "
        "auto, published for generators of 256 px and more, else embedded)",
    )
    path = command.add_argument_group("path")
    path.add_argument(
        "--path", choices=PATHS, default="cycle",
        help="cycle (default), w+ stays in W+ as e4e does, w never leaves W",
    )  # fmt: skip
    path.add_argument("--no-tightening", action="store_true", help="constant delta and adv")
    path.add_argument(
        "--random-body", action="store_true",
        help="do not start from the body of ArcFace, or below 256 px of the embedded identity",
    )  # fmt: skip
    group = command.add_argument_group("warm-up", "regression of the known w of generated pictures")
    _add(group, _WARMUP)
    machine = add_machine(command)
    machine.add_argument("--compile", action="store_true", help="torch.compile the generator")
    add_seed(command)
    add_device(command)


def train_encoder(arguments: argparse.Namespace) -> None:
    from ..runtime import distributed

    with distributed.processes(arguments.device):
        try:
            _train(arguments)
        except KeyboardInterrupt:
            if distributed.rank() == 0 and not arguments.dry_run:
                told = f"The same command resumes from the last checkpoint in {arguments.out}."
                print(f"\n{told}", file=sys.stderr)
            raise


def _train(arguments: argparse.Namespace) -> None:
    import torch

    from ..checkpoints.registry import load_generator
    from ..runtime import distributed
    from ..training.dry_run import dry_run
    from ..training.encoder import train

    torch.set_num_threads(arguments.threads)
    settings = _settings(arguments)
    console = Console(arguments.quiet or distributed.rank() > 0)
    with distributed.together():
        device = device_of(arguments)
        generator = load_generator(arguments.generator, device)
        perceptual, identity, body = _networks(arguments, generator.resolution)
        networks = {
            "perceptual": None if perceptual is None else perceptual.to(device),
            "identity": None if identity is None else identity.to(device),
            "body": body,
        }
    try:
        if arguments.dry_run:
            console.say(dry_run(generator, arguments.data, settings, **networks))
            return
        callback = console.callback("train encoder")
        train(generator, arguments.data, arguments.out, settings, **networks, callback=callback)
        console.say(f"{arguments.out / 'encoder.safetensors'}")
    finally:
        console.close()


def _networks(
    arguments: argparse.Namespace, resolution: int
) -> tuple[Lpips | None, IdentityNet | MocoNet | None, IdentityNet | None]:
    """LPIPS and identity, None where the weight is 0, and the network whose body is taken over."""
    from ..invert.objective import MAX_SIZE
    from ..measure.perceptual import load_perceptual
    from ..measure.recognition import load_identity, load_moco

    full = resolution >= MAX_SIZE
    chosen = arguments.networks
    if chosen == "auto":
        # small generators are of the embedded domain, and so must be what compares their pictures
        chosen = "published" if full else "embedded"
    lpips, faces = ("embedded", "embedded") if chosen == "embedded" else ("alex", "arcface")
    perceptual = identity = body = None
    try:
        if arguments.lpips:
            perceptual = load_perceptual("loss", lpips)
        if arguments.identity:
            identity = load_moco() if chosen == "moco" else load_identity("loss", faces)
        if not arguments.random_body:  # it must fit the encoder, whatever the losses compare
            body = load_identity("loss", "arcface" if full else "embedded")
    except MissingFileError as error:
        raise MissingFileError(
            f"{error} `cycle-core models` tells where it comes from and goes to; --lpips 0, "
            "--identity 0 and --random-body do without."
        ) from error
    return perceptual, identity, body


def _settings(arguments: argparse.Namespace) -> EncoderTraining:
    arguments.warmup = arguments.warmup_samples
    names = EncoderTraining.__dataclass_fields__.keys() & vars(arguments).keys()
    return EncoderTraining(
        **{name: getattr(arguments, name) for name in names},
        schedule=ScheduleSettings(
            arguments.path, not arguments.no_tightening, arguments.delta, arguments.adv
        ),
    )


def _add(group: Any, options: dict[str, tuple[_Kind, str]]) -> None:
    defaults = {**vars(ScheduleSettings()), **vars(EncoderTraining()), "warmup_samples": 0}
    for name, (kind, what) in options.items():
        default = defaults[name]
        group.add_argument(
            "--" + name.replace("_", "-"), type=kind, default=default,
            help=f"{what} (default: {default})",
        )  # fmt: skip
