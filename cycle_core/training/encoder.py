"""Train a cycle encoder: W -> W+ -> W.

    cycle-core train encoder --generator portraits --data FOLDER --out RUN --steps N
    torchrun --nproc-per-node 8 -m cycle_core.cli train encoder ...the same options

Cycle Encoding (Mao et al. 2022), section 3: the generator stays as it is, and the encoder minimises

    l2 * L2 + lpips * LPIPS + identity * ID + adv * L_adv + delta * sum_i ||D_i||_2

at 256 px (or `size`, or the generator's resolution, if that is smaller) over the stages and weights
of `schedule`. The noise is constant and no picture is mirrored.

What a step does to a global batch does not depend on how many processes share it: every process
makes all random numbers and takes its part, gradients are averaged, batch norms see all pictures
that are in work at once, and the latent discriminator, which is tiny, is trained on the codes of
all processes in each of them.

`warmup_steps` may come before the schedule: they regress the known w of generated pictures, as many
encoder trainings do, which saves most of a short run's W phase. The paper has none.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoints.native import save_model
from ..errors import InputError
from ..images.resize import resize
from ..invert.checks import check_photos
from ..invert.objective import MAX_SIZE, Objective
from ..invert.w_scale import farthest, scale_note
from ..measure.selection import Distance, Networks
from ..models.encoder import Encoder, EncoderConfig
from ..models.generator import Generator
from ..models.irse import IdentityNet
from ..runtime import distributed
from ..runtime.devices import autocast
from ..runtime.optim import Muon, Ranger
from ..runtime.progress import Callback
from ..runtime.session import channels_last, frozen_copy
from . import loop
from .data import Order, Prefetcher, open_pictures
from .latent_discriminator import Adversary, LatentDiscriminator, sample_w
from .loop import Losses, Stretch
from .schedule import WARM_UP, Phase, phase_at, warmup_rate
from .settings import EncoderTraining
from .validation import reconstruction_errors


def train(
    generator: Generator,
    data: str | Path,
    out: str | Path,
    settings: EncoderTraining,
    perceptual: Distance | None,
    identity: Distance | None,
    config: EncoderConfig | None = None,
    body: IdentityNet | Encoder | None = None,
    callback: Callback | None = None,
) -> Encoder:
    """Train an encoder for `generator`, or resume in the folder `out`. Works on its device, and in
    all processes that `distributed.processes` joined.

    data: folder of a portrait data set, or of square aligned pictures. perceptual, identity: the
    networks of the losses (`load_perceptual`, `load_identity` or `load_moco`), None for a loss
    without them. config: of the encoder; chosen by the resolution if None. body: an identity
    network from whose body the encoder's starts. callback: see `loop`; previews are
    reconstructions of held-out pictures.
    Gives the encoder, in evaluation mode, also written to `out/encoder.safetensors` with its last
    stage and the generator's fingerprint. Nothing that is passed in is changed.
    Raises InputError for impossible settings or another run's folder, MismatchError for a body of
    another shape, CycleError where the training diverges."""
    given = generator, data, settings, perceptual, identity, config, body
    trainer = loop.train(out, partial(EncoderTrainer, *given), callback)
    return trainer.encoder.eval().requires_grad_(False)


class EncoderTrainer(loop.Trainer):
    """The arguments are those of `train`, known as `data.open_all` takes it; none is changed.
    Raises InputError for settings that cannot be."""

    PARTS = ("encoder", "optimizer", "warm_optimizer", "adversary")

    def __init__(
        self,
        generator: Generator,
        data: str | Path,
        settings: EncoderTraining,
        perceptual: Distance | None,
        identity: Distance | None,
        config: EncoderConfig | None = None,
        body: IdentityNet | Encoder | None = None,
        known: str | None = "",
    ):
        check_photos(generator)
        self.settings, self.device = settings, generator.device
        phase_at(0, generator.num_ws, settings.cycle_steps, settings.schedule)  # is it hopeless?
        distributed.check_divides(settings.batch, settings.accumulate)
        if settings.warmup_steps:
            distributed.check_divides(settings.warmup_batch, settings.accumulate)
        self.fingerprint = generator.base_fingerprint
        self.generator = frozen_copy(generator)
        config = config or EncoderConfig.for_generator(generator)
        if (config.num_ws, config.w_dim) != (generator.num_ws, generator.w_dim):
            raise InputError(
                f"The encoder gives {config.num_ws} styles of {config.w_dim} dimensions, but the "
                f"generator takes {generator.num_ws} of {generator.w_dim}: change the encoder's "
                "configuration."
            )
        if settings.size and settings.size < (read := config.input_size):
            raise InputError(f"Train at a size of {read} or more: the encoder reads {read} pixels.")
        synthesis: Any = self.generator.synthesis
        smaller = {"size": synthesis.check_size(settings.size)} if settings.size else {}
        self.render = partial(
            torch.compile(synthesis) if settings.compile else synthesis, **smaller
        )
        self.size = settings.size or min(MAX_SIZE, generator.resolution)
        self.pictures, self.held_out = open_pictures(data, self.size, settings.held_out, known)
        self.digest = self.pictures.digest
        self.validated = min(len(self.held_out), settings.held_out)
        self.objective = Objective(
            l2=settings.l2,
            lpips=settings.lpips,
            identity=settings.identity,
            networks=Networks(frozen_copy(perceptual), frozen_copy(identity)),
            max_size=self.size,
        )
        with torch.random.fork_rng(devices=[]):  # the initialisation depends on the seed alone
            torch.manual_seed(settings.seed)
            self.encoder = Encoder(config)
            discriminator = LatentDiscriminator(generator.w_dim)
        if body is not None:
            self.encoder.init_body(body)
        self.encoder.w_avg.copy_(generator.w_avg.expand_as(self.encoder.w_avg))
        self.encoder.generator_id = self.fingerprint
        self.encoder = channels_last(self.encoder.to(self.device))
        self.offsets: nn.Module = self.encoder  # in several processes, what averages its gradients
        self.rng = torch.Generator().manual_seed(settings.seed)
        self.rngs = {"run": self.rng}
        self.adversary = Adversary(
            discriminator.to(self.device), self.generator, self.rng,
            settings.discriminator_learning_rate, settings.r1_gamma, settings.r1_interval,
            settings.pool,
        )  # fmt: skip
        self.optimizer = Ranger(self.encoder.parameters(), settings.learning_rate)
        self.warm_optimizer = Muon(self.encoder.parameters(), settings.warmup_learning_rate)
        with torch.no_grad():  # a regression that knows nothing loses 1
            known_w = sample_w(self.generator, 1000, torch.Generator().manual_seed(0))
        self._w_scale = known_w.var(0).mean()
        self._see(len(self.pictures))

    def join(self) -> None:
        """Let the processes train one encoder, once each of them has loaded the run's state.

        Raises InputError where they have not the same."""
        found = distributed.everywhere((self.step, len(self.pictures)))
        if len(set(found)) > 1:
            raise InputError(
                f"The processes find {' and '.join(f'step {s}, {n} pictures' for s, n in found)}: "
                "give folders of the data and of the run that all machines share."
            )
        self.offsets = distributed.replicate(self.encoder)

    def phase(self, step: int) -> Phase:
        """What holds at a step of the run, counted from 0 and with the warm-up."""
        s = self.settings
        if step < s.warmup_steps:
            return Phase(WARM_UP, 0, 0.0, 0.0)
        num_ws = self.generator.num_ws
        return phase_at(step - s.warmup_steps, num_ws, s.cycle_steps, s.schedule)

    # ------------------------------------------------------------------ a step
    def advance(self) -> Losses:
        """One step; gives the losses, scalars, of this process's pictures."""
        phase = self.phase(self.step)
        self.encoder.stage = phase.stage
        self.encoder.train()
        losses = self._warm_up() if phase.name == WARM_UP else self._cycle(phase)
        self.step += 1
        return losses

    def _cycle(self, phase: Phase) -> Losses:
        with distributed.raise_everywhere():
            batch = self._batches(self.step - self.settings.warmup_steps)
        codes: list[Tensor] = []

        def part_losses(image: Tensor) -> Losses:
            made, losses = self._losses(image.to(self.encoder.w_avg), phase)
            codes.append(distributed.gather(made.detach()))
            return losses

        losses = self._update(self.optimizer, self._learning_rate(), part_losses, batch)
        return losses | self.adversary.train(torch.cat(codes), phase.stage, self.step)

    def _losses(self, image: Tensor, phase: Phase) -> tuple[Tensor, Losses]:
        """The codes [B, N, w_dim] of pictures, and the losses, of which "loss" is the sum."""
        with autocast(self.device, self.settings.bf16):
            w_avg = self.encoder.w_avg  # [N, w_dim]
            offsets = self.offsets(self.encoder.resize(image), phase.stage).to(w_avg.dtype)
            codes = w_avg + offsets  # [B, N, w_dim]
            made = self.render(codes)
            terms = self.objective(made, self.objective.target(image))
        losses = {"l2": terms.l2.mean(), "lpips": terms.lpips.mean(), "id": terms.identity.mean()}
        loss = terms.total.mean()
        losses["adv"] = self.adversary.loss(codes, phase.stage)
        loss = loss + phase.adv * losses["adv"]
        if phase.stage:
            losses["delta"] = delta_loss(offsets, phase.stage)
            loss = loss + phase.delta * losses["delta"]
        losses["loss"] = loss
        return codes, losses

    def _warm_up(self) -> Losses:
        """Regress the known w of generated pictures."""
        with autocast(self.device, self.settings.bf16), torch.no_grad():
            w = sample_w(self.generator, self.settings.warmup_batch, self.rng)  # [B, w_dim]

        def part_losses(w: Tensor) -> Losses:
            with autocast(self.device, self.settings.bf16):
                with torch.no_grad():
                    codes = w[:, None].expand(-1, self.generator.num_ws, -1)
                    image = self.render(codes).clamp(-1, 1)
                offsets = self.offsets(self.encoder.resize(resize(image, self.size)), 0).float()
            error = self.encoder.w_avg[0] + offsets[:, 0] - w
            return {"loss": error.square().mean() / self._w_scale}

        s = self.settings
        learning_rate = s.warmup_learning_rate * warmup_rate(self.step / s.warmup_steps)
        parts = self._own_parts(w)
        return {"w": self._update(self.warm_optimizer, learning_rate, part_losses, parts)["loss"]}

    def _update(
        self,
        optimizer: torch.optim.Optimizer,
        learning_rate: float,
        losses_of: Callable[[Tensor], Losses],
        parts: Sequence[Tensor],
    ) -> Losses:
        """One update by the mean gradient of a batch that is seen part by part; the mean losses."""
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.zero_grad(set_to_none=True)  # heads that are off must rest, see Ranger
        means: Losses = {}
        silent = getattr(self.offsets, "no_sync", contextlib.nullcontext)
        for i, part in enumerate(parts):  # the processes exchange gradients after the last one
            with contextlib.nullcontext() if i == len(parts) - 1 else silent():
                losses = losses_of(part)
                (losses["loss"] / len(parts)).backward()
            for name, value in losses.items():
                share = value.detach() / len(parts)
                means[name] = means[name] + share if name in means else share
        optimizer.step()
        return means

    def _learning_rate(self) -> float:
        s, decay = self.settings, self.settings.learning_rate_decay
        left = (s.total - self.step) / s.cycle_steps
        return s.learning_rate * (min(1.0, left / decay) if decay else 1.0)

    def _own_parts(self, batch: Tensor) -> list[Tensor]:
        """Of each part of a global batch the rows of this process, so that what is in work at once
        is the same for any number of processes."""
        return [distributed.own_part(part) for part in batch.chunk(self.settings.accumulate)]

    def _see(self, count: int) -> None:
        """Train on the first `count` pictures."""
        pictures = self.pictures = self.pictures.first(count)
        order = Order(count, self.settings.batch, self.settings.seed)

        def read(step: int) -> Sequence[Tensor]:
            parts = self._own_parts(order(step))
            return pictures[torch.cat(parts)].split(len(parts[0]))

        self._batches = Prefetcher(read)

    # ------------------------------------------------------------------ while it trains
    def status(self) -> dict[str, Any]:
        phase = self.phase(self.step - 1)  # the one that was trained, not the one to come
        return {"phase": phase.name, "stage": phase.stage}

    @torch.no_grad()
    def validate(self, count: int | None = None) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Means over `count` held-out pictures (all if None), in W and at the stage that is
        trained; and a grid of this process's first pictures, empty where it has none."""
        self.encoder.eval()
        stage = self.encoder.stage
        stages = {"W": 0} if stage == 0 else {"W": 0, f"stage {stage}": stage}
        count = min(self.validated, count or self.validated)
        ways = {name: partial(self._reconstruct, stage=s) for name, s in stages.items()}
        errors, columns = reconstruction_errors(
            ways, self.held_out, count, self.objective, self.device
        )
        return {"validation": errors}, columns

    def _reconstruct(self, image: Tensor, stage: int) -> Tensor:
        codes = self.encoder.encode(image, stage)
        return resize(self.render(codes).clamp(-1, 1), self.size)

    def export(self, folder: Path, measured: dict[str, Any]) -> None:
        """Write `encoder.safetensors`, ready for `load_encoder`."""
        metadata = {
            "generator": self.fingerprint,
            "stage": str(self.encoder.stage),
            "steps": str(self.step),
            "training": json.dumps(asdict(self.settings)),
            "validation": json.dumps(measured["validation"]),
        }
        path, state = folder / "encoder.safetensors", self.encoder.state_dict()
        config = replace(self.encoder.config, farthest=farthest(self.generator))
        save_model(path, "encoder", config, state, metadata)

    def stretches(self) -> Iterator[Stretch]:
        first = 0
        for phase, steps in groupby(map(self.phase, range(self.settings.total))):
            count = sum(1 for _ in steps)
            kind = "warm-up" if phase.name == WARM_UP else "stage"
            values = {"stage": phase.stage, "delta": phase.delta, "adv": phase.adv}
            yield Stretch(phase.name, first, count, kind, phase.stage, values)
            first += count

    def facts(self) -> list[str]:
        pictures = f"{len(self.pictures):,} pictures to train on, {len(self.held_out):,} held out"
        settings = self.settings
        return [pictures, scale_note(self.generator, settings.schedule.delta, settings.r1_gamma)]

    def models(self) -> dict[str, nn.Module]:
        models = {
            "encoder": self.encoder,
            "generator": self.generator,
            "discriminator": self.adversary.discriminator,
            "LPIPS": self.objective.networks.perceptual,
            "identity": self.objective.networks.identity,
        }
        return {name: model for name, model in models.items() if isinstance(model, nn.Module)}

    # ------------------------------------------------------------------ resuming
    def describe(self) -> dict[str, Any]:
        config = asdict(self.encoder.config)
        del config["stage"]
        return {
            **asdict(self.settings),
            "steps": self.settings.cycle_steps,
            "generator": self.fingerprint,
            "encoder": config,
            **self._networks(),
        }

    def from_older(self, stored: dict[str, Any]) -> dict[str, Any]:
        schedule = dict(stored["schedule"])
        if "path" in schedule:  # before schedules were durations
            schedule["phases"] = schedule.pop("path")
            if not schedule.pop("tighten"):
                schedule["delta_factor"] = schedule["adv_factor"] = 1.0
        return {**self._networks(), **super().from_older(stored), "schedule": schedule}

    def _networks(self) -> dict[str, str]:
        """Which networks the losses have."""
        networks, s = self.objective.networks, self.settings
        return {
            "lpips network": _name(networks.perceptual if s.lpips else None),
            "identity network": _name(networks.identity if s.identity else None),
        }

    def state(self) -> dict[str, Any]:
        return {**super().state(), "pictures": len(self.pictures), "stage": self.encoder.stage}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._see(state["pictures"])
        self.encoder.stage = state["stage"]


def delta_loss(rows: Tensor, stage: int) -> Tensor:
    """sum_i ||D_i||_2 over the active heads (e4e, Tov et al. 2021), mean over the batch, float [].

    rows: the encoder's output [B, N, w_dim], D_i = rows[:, i] - rows[:, 0]; stage: its stage."""
    deltas = rows[:, 1 : stage + 1] - rows[:, :1]  # [B, stage, w_dim]
    return deltas.norm(dim=2).sum(1).mean()


def _name(network: Any) -> str:
    return "none" if network is None else getattr(network, "name", type(network).__name__)
