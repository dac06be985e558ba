"""Train a cycle encoder: W -> W+ -> W.

    python -m cycle_core.training.encoder --generator portraits --data FOLDER --out RUN --steps N

Cycle Encoding (Mao et al. 2022), section 3: the generator stays as it is, and the encoder minimises

    l2 * L2 + lpips * LPIPS + identity * ID + adv * L_adv + delta * sum_i ||D_i||_2

at 256 px (or the generator's resolution, if that is smaller) over the stages and weights of
`cycle_core.schedule`. The noise is constant and no picture is mirrored. A run is a folder (see
`common`) that also holds `encoder.safetensors`; the same command resumes it, exactly to the bit on
a CPU.

`warmup` steps may come before the schedule: they regress the known w of generated pictures, as
many encoder trainings do, which saves most of a short run's W phase. The paper has none.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..checkpoints import load_generator, save_model
from ..encoder import Encoder, EncoderConfig
from ..errors import CycleError, InputError
from ..generator import Generator
from ..invert.objective import Distance, Objective
from ..irse import IdentityNet
from ..losses import LatentDiscriminator, delta_loss
from ..networks import load_identity, load_perceptual
from ..resize import resize
from ..schedule import Phase, ScheduleSettings, at
from . import common
from .adversary import Adversary, sample_w
from .data import open_pictures
from .optim import Muon, Ranger

MAX_SIZE = 256  # pictures are compared at this size at most (the paper's)
Callback = Callable[[int, int, "Tensor | None"], None]


@dataclass(frozen=True)
class EncoderTraining:
    """Settings of one run; the defaults are those of the published code."""

    steps: int = 750_000  # of the schedule
    batch: int = 8
    lr: float = 1e-4  # Ranger
    l2: float = 1.0
    lpips: float = 0.8
    identity: float = 0.1
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)  # delta and adv too
    discriminator_lr: float = 2e-5  # Adam
    r1_gamma: float = 10.0
    r1_interval: int = 16
    pool: int = 50
    warmup: int = 0  # steps on generated pictures before the schedule (not the paper's) ...
    warmup_batch: int = 32
    warmup_lr: float = 6e-3  # ... by Muon, falling to zero: Ranger needs ten times the steps
    lr_decay: float = 0.0  # share at the end in which lr falls to zero (the paper's is constant)
    seed: int = 0
    bf16: bool = False  # see `common.autocast`
    held_out: int = 200  # pictures of a folder that are kept for validation, at most a tenth
    log_every: int = 50  # steps between two lines of the log
    save_every: int = 1000  # steps between two validations, sample grids and checkpoints

    @property
    def total(self) -> int:
        return self.warmup + self.steps


_FREE = ("log_every", "save_every")  # settings that may change when a run is resumed


def train(
    generator: Generator,
    data: str | Path,
    out: str | Path,
    settings: EncoderTraining,
    perceptual: Distance,
    identity: Distance,
    config: EncoderConfig | None = None,
    body: IdentityNet | None = None,
    callback: Callback | None = None,
) -> Encoder:
    """Train an encoder for `generator`, or resume in the folder `out`. Works on its device.

    data: folder of a portrait data set, or of square aligned pictures. perceptual, identity: the
    networks of the losses (`load_perceptual`, `load_identity`). config: of the encoder; chosen by
    the resolution if None. body: an identity network from whose body the encoder's starts.
    callback(step, total, preview): after every step; preview is None, or after a validation
    float [B,3,R,R], reconstructions of held-out pictures; an exception from it ends the run, which
    can be resumed from its last checkpoint.
    Gives the encoder, in evaluation mode, also written to `out/encoder.safetensors` with its last
    stage and the generator's fingerprint. Nothing that is passed in is changed.
    Raises InputError for impossible settings or another run's folder, MismatchError for a body of
    another shape, CycleError where the training diverges."""
    out = common.make_run(out)
    run = _Run(generator, data, settings, perceptual, identity, config, body)
    state = common.load_checkpoint(out)
    if state is not None:
        common.check_same(out, _fixed(state["settings"]), _fixed(run.describe()))
        run.load_state(state)
    log, means = common.Log(out, run.step), common.Means()
    while run.step < settings.total:
        means.add(**run.advance())
        last = run.step == settings.total
        saving = last or run.step % settings.save_every == 0
        if saving or run.step % settings.log_every == 0:
            phase = run.phase(run.step - 1)  # the one that was trained, not the one to come
            log.write(run.step, phase=phase.name, stage=phase.stage, **means.pop(run.step))
        preview = None
        if saving:
            measured, columns = run.validate()
            log.write(run.step, validation=measured)
            common.save_grid(out / "samples" / f"{run.step:08d}.png", columns)
            common.save_checkpoint(out, run.state())
            run.export(out / "encoder.safetensors", measured)
            preview = list(columns.values())[-1]
        if callback is not None:
            callback(run.step, settings.total, preview)
    return run.encoder.eval().requires_grad_(False)


class _Run:
    """The models, optimisers, random numbers and counter of one training."""

    def __init__(
        self,
        generator: Generator,
        data: str | Path,
        settings: EncoderTraining,
        perceptual: Distance,
        identity: Distance,
        config: EncoderConfig | None,
        body: IdentityNet | None,
    ):
        self.settings, self.step, self.device = settings, 0, generator.device
        at(0, generator.num_ws, settings.steps, settings.schedule)  # a hopeless schedule ends here
        self.fingerprint = generator.base_fingerprint
        self.generator = _frozen_copy(generator)
        self.size = min(MAX_SIZE, generator.resolution)
        self.pictures, self.held_out = open_pictures(data, self.size, settings.held_out)
        self.objective = Objective(
            l2=settings.l2,
            lpips=settings.lpips,
            identity=settings.identity,
            perceptual=_frozen_copy(perceptual),
            faces=_frozen_copy(identity),
            max_size=self.size,
        )
        with torch.random.fork_rng(devices=[]):  # the initialisation depends on the seed alone
            torch.manual_seed(settings.seed)
            self.encoder = Encoder(config or default_config(generator))
            discriminator = LatentDiscriminator(generator.w_dim)
        if body is not None:
            self.encoder.init_body(body)
        self.encoder.w_avg.copy_(generator.w_avg.expand_as(self.encoder.w_avg))
        self.encoder.generator = self.fingerprint
        _check_fits(self.encoder, generator)
        self.encoder = _channels_last(self.encoder.to(self.device))
        self.random = torch.Generator().manual_seed(settings.seed)
        self.adversary = Adversary(
            discriminator.to(self.device),
            self.generator,
            self.random,
            settings.discriminator_lr,
            settings.r1_gamma,
            settings.r1_interval,
            settings.pool,
        )
        self.optimizer = Ranger(self.encoder.parameters(), settings.lr)
        self.warm_optimizer = Muon(self.encoder.parameters(), settings.warmup_lr)
        self._order = common.Order(len(self.pictures), settings.batch, settings.seed)
        self._w_scale = self._measure_w_scale()

    def phase(self, step: int) -> Phase:
        """What holds at a step of the run, counted from 0 and with the warm-up."""
        if step < self.settings.warmup:
            return Phase("warmup", 0, 0.0, 0.0)
        step -= self.settings.warmup
        return at(step, self.generator.num_ws, self.settings.steps, self.settings.schedule)

    def advance(self) -> dict[str, Tensor]:
        """One step; gives the losses, scalars."""
        phase = self.phase(self.step)
        self.encoder.stage = phase.stage
        self.encoder.train()
        losses = self._warm_up() if phase.name == "warmup" else self._cycle(phase)
        self.step += 1
        return losses

    def _cycle(self, phase: Phase) -> dict[str, Tensor]:
        settings = self.settings
        image = self.pictures[self._order(self.step - settings.warmup)].to(self.device)
        with common.autocast(self.device, settings.bf16):
            offsets = self.encoder(self.encoder.resize(image), phase.stage).float()
            codes = self.encoder.w_avg + offsets  # [B, N, w_dim]
            made = self.generator.synthesis(codes, noise="const")
            terms = self.objective(made, self.objective.target(image))
        losses = {"l2": terms.l2.mean(), "lpips": terms.lpips.mean(), "id": terms.identity.mean()}
        loss = terms.total.mean()
        losses["adv"] = self.adversary.loss(codes, phase.stage)
        loss = loss + phase.adv * losses["adv"]
        if phase.stage:
            losses["delta"] = delta_loss(offsets, phase.stage)
            loss = loss + phase.delta * losses["delta"]
        losses["loss"] = loss
        self._update(loss, self.optimizer, self._lr())
        return losses | self.adversary.train(codes, phase.stage, self.step)

    def _warm_up(self) -> dict[str, Tensor]:
        with common.autocast(self.device, self.settings.bf16):
            with torch.no_grad():
                w = sample_w(self.generator, self.settings.warmup_batch, self.random)  # [B, w_dim]
                codes = w[:, None].expand(-1, self.generator.num_ws, -1)
                image = self.generator.synthesis(codes, noise="const").clamp(-1, 1)
            offsets = self.encoder(self.encoder.resize(resize(image, self.size)), 0).float()
        error = self.encoder.w_avg[0] + offsets[:, 0] - w
        loss = error.square().mean() / self._w_scale
        done = self.step / self.settings.warmup
        lr = self.settings.warmup_lr * min(1.0, 20 * done + 0.01, 2 * (1 - done))
        self._update(loss, self.warm_optimizer, lr)
        return {"w": loss}

    def _update(self, loss: Tensor, optimizer: torch.optim.Optimizer, lr: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad(set_to_none=True)  # heads that are off must rest, see Ranger
        loss.backward()
        optimizer.step()

    def _lr(self) -> float:
        settings = self.settings
        left = (settings.total - self.step) / settings.steps
        return settings.lr * (min(1.0, left / settings.lr_decay) if settings.lr_decay else 1.0)

    @torch.no_grad()
    def _measure_w_scale(self) -> Tensor:
        """Variance of w, the mean over its dimensions: a regression that knows nothing loses 1."""
        random = torch.Generator().manual_seed(0)
        return sample_w(self.generator, 1000, random).var(0).mean()

    # ------------------------------------------------------------------ while it trains
    @torch.no_grad()
    def validate(self) -> tuple[dict[str, dict[str, float]], dict[str, Tensor]]:
        """Means over the held-out pictures, in W and at the stage that is trained, and a grid.

        mse in [-1,1]; lpips and identity as the losses have them (their networks, distances)."""
        self.encoder.eval()
        stage = self.encoder.stage
        stages = {"W": 0} if stage == 0 else {"W": 0, f"stage {stage}": stage}
        sums = {name: dict.fromkeys(("mse", "lpips", "identity"), 0.0) for name in stages}
        columns: dict[str, Tensor] = {}
        for places in torch.arange(min(len(self.held_out), self.settings.held_out)).split(16):
            image = self.held_out[places].to(self.device)
            target = self.objective.target(image)
            made = {name: self._reconstruct(image, s) for name, s in stages.items()}
            if not columns:
                columns = {"target": image[:6], **{n: x[:6] for n, x in made.items()}}
            for name, picture in made.items():
                terms = self.objective(picture, target)
                for key, value in zip(
                    sums[name], (terms.l2, terms.lpips, terms.identity), strict=True
                ):
                    sums[name][key] += float(value.sum())
        count = min(len(self.held_out), self.settings.held_out)
        means = {n: {k: round(v / count, 6) for k, v in s.items()} for n, s in sums.items()}
        return means, columns

    def _reconstruct(self, image: Tensor, stage: int) -> Tensor:
        codes = self.encoder.encode(image, stage)
        return resize(self.generator.synthesis(codes, noise="const").clamp(-1, 1), self.size)

    def export(self, path: Path, measured: dict[str, Any]) -> None:
        """Write the encoder as it is now, ready for `load_encoder`."""
        metadata = {
            "generator": self.fingerprint,
            "stage": str(self.encoder.stage),
            "steps": str(self.step),
            "training": json.dumps(asdict(self.settings)),
            "validation": json.dumps(measured),
        }
        save_model(path, "encoder", self.encoder.config, self.encoder.state_dict(), metadata)

    # ------------------------------------------------------------------ resuming
    def describe(self) -> dict[str, Any]:
        """The settings that a resumed run must share."""
        config = asdict(self.encoder.config)
        del config["stage"]
        return {**asdict(self.settings), "generator": self.fingerprint, "encoder": config}

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "settings": json.loads(json.dumps(self.describe())),
            "pictures": len(self.pictures),
            "stage": self.encoder.stage,
            "encoder": self.encoder.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "warm_optimizer": self.warm_optimizer.state_dict(),
            "adversary": self.adversary.state(),
            "random": common.random_states({"run": self.random}),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.pictures = self.pictures.first(state["pictures"])
        self._order = common.Order(len(self.pictures), self.settings.batch, self.settings.seed)
        self.encoder.stage = state["stage"]
        self.encoder.load_state_dict(state["encoder"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.warm_optimizer.load_state_dict(state["warm_optimizer"])
        self.adversary.load_state(state["adversary"], self.device)
        common.set_random_states(state["random"], {"run": self.random})


def default_config(generator: Generator) -> EncoderConfig:
    """The published encoder for generators of 256 px and more, the embedded one below."""
    if generator.resolution >= MAX_SIZE:
        return EncoderConfig(num_ws=generator.num_ws, w_dim=generator.w_dim)
    return EncoderConfig.embedded(generator.num_ws, generator.w_dim, generator.resolution)


def _check_fits(encoder: Encoder, generator: Generator) -> None:
    ours = (encoder.config.num_ws, encoder.config.w_dim)
    if ours != (generator.num_ws, generator.w_dim):
        raise InputError(
            f"The encoder gives {ours[0]} styles of {ours[1]} dimensions, but the generator takes "
            f"{generator.num_ws} of {generator.w_dim}: change the encoder's configuration."
        )


def _frozen_copy(model: Any) -> Any:
    """A copy of a module without gradients, channels last; the caller's is left as it is."""
    if not isinstance(model, nn.Module):
        return model
    return _channels_last(copy.deepcopy(model).eval().requires_grad_(False))


def _channels_last(model: Any) -> Any:
    """The model itself: convolutions are faster in this layout on CPUs and GPUs alike."""
    return model.to(memory_format=torch.channels_last)


def _fixed(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in _FREE}


# ------------------------------------------------------------------ command
def main(arguments: list[str] | None = None) -> int:
    defaults, schedule = EncoderTraining(), ScheduleSettings()
    parser = argparse.ArgumentParser(
        prog="python -m cycle_core.training.encoder",
        description="Train a cycle encoder; the same command resumes it.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--generator", required=True, help="file, or name of an embedded one")
    parser.add_argument("--data", required=True, help="folder of portraits or aligned pictures")
    parser.add_argument("--out", required=True, help="folder of the run")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("--random-body", action="store_true",
                        help="do not start from the identity network's body")  # fmt: skip
    for name in ("steps", "batch", "seed", "held_out", "log_every", "save_every", "pool",
                 "warmup_batch"):  # fmt: skip
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=int, default=getattr(defaults, name))
    parser.add_argument("--warmup-samples", type=int, default=0, metavar="STEPS", dest="warmup",
                        help="first, steps on generated pictures of known w")  # fmt: skip
    for name in ("lr", "warmup_lr", "l2", "lpips", "identity", "discriminator_lr", "lr_decay"):
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=float, default=getattr(defaults, name))
    parser.add_argument("--delta", type=float, default=schedule.delta)
    parser.add_argument("--adv", type=float, default=schedule.adv)
    parser.add_argument("--path", choices=("cycle", "w+", "w"), default="cycle",
                        help="w+ stays in W+ (e4e), w never leaves W")  # fmt: skip
    parser.add_argument("--no-tightening", action="store_true", help="constant delta and adv")
    parser.add_argument("--bf16", action="store_true", help="multiply in bfloat16")
    a = parser.parse_args(arguments)

    torch.set_num_threads(a.threads)
    names = EncoderTraining.__dataclass_fields__.keys() & vars(a).keys()
    settings = EncoderTraining(
        **{name: getattr(a, name) for name in names},
        schedule=ScheduleSettings(a.path, not a.no_tightening, a.delta, a.adv),
    )
    try:
        _train(a, settings)
    except CycleError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"Stopped: the same command resumes from the checkpoint in {a.out}.", file=sys.stderr)
        return 130
    return 0


def _train(a: argparse.Namespace, settings: EncoderTraining) -> None:
    generator = load_generator(a.generator, a.device)
    # small generators are of the embedded domain, and so must be what compares their pictures
    network = "auto" if generator.resolution >= MAX_SIZE else "embedded"
    perceptual = load_perceptual("loss", network).to(a.device)
    identity = load_identity("loss", network).to(a.device)
    body = None if a.random_body else identity
    with tqdm(total=settings.total, unit="step") as bar:

        def show(step: int, total: int, preview: Tensor | None) -> None:
            bar.update(step - bar.n)

        train(generator, a.data, a.out, settings, perceptual, identity, body=body, callback=show)


if __name__ == "__main__":
    raise SystemExit(main())
