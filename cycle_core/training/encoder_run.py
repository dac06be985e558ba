"""One training of an encoder: its models, optimisers, random numbers and counter.

What a step does to a global batch does not depend on how many processes share it: every process
draws all random numbers and takes its part, gradients are averaged, batch norms see all pictures
that are in work at once, and the latent discriminator, which is tiny, is trained on the codes of
all processes in each of them.
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoints.native import save_model
from ..errors import InputError
from ..images.resize import resize
from ..invert.objective import MAX_SIZE, Distance, Objective
from ..measure.losses import LatentDiscriminator, delta_loss
from ..models.encoder import Encoder, EncoderConfig
from ..models.generator import Generator
from ..models.irse import IdentityNet
from ..runtime import distributed
from ..runtime.optim import Muon, Ranger
from . import common
from .adversary import Adversary, sample_w
from .data import open_pictures
from .encoder_settings import EncoderTraining
from .schedule import Phase, at

Losses = dict[str, Tensor]
CHUNK = 16  # pictures that are validated at once


class Run:
    """`advance` until `step` is `settings.total`. See `encoder.train` for the arguments, and
    `data.open_all` for `known`.

    Nothing that is passed in is changed. Raises InputError for settings that cannot be."""

    def __init__(
        self,
        generator: Generator,
        data: str | Path,
        settings: EncoderTraining,
        perceptual: Distance | None,
        identity: Distance | None,
        config: EncoderConfig | None = None,
        body: IdentityNet | None = None,
        known: str | None = "",
    ):
        self.settings, self.step, self.device = settings, 0, generator.device
        at(0, generator.num_ws, settings.steps, settings.schedule)  # a hopeless schedule ends here
        distributed.check_divides(settings.batch, settings.accumulate)
        if settings.warmup:
            distributed.check_divides(settings.warmup_batch, settings.accumulate)
        self.fingerprint = generator.base_fingerprint
        self.generator = _frozen_copy(generator)
        self.synthesis: Any = self.generator.synthesis
        if settings.compile:
            self.synthesis = torch.compile(self.synthesis)
        self.size = min(MAX_SIZE, generator.resolution)
        self.pictures, self.held_out = open_pictures(data, self.size, settings.held_out, known)
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
        self.offsets: nn.Module = self.encoder  # in several processes, what averages its gradients
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
        self._w_scale = self._measure_w_scale()
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
        if step < self.settings.warmup:
            return Phase("warmup", 0, 0.0, 0.0)
        step -= self.settings.warmup
        return at(step, self.generator.num_ws, self.settings.steps, self.settings.schedule)

    # ------------------------------------------------------------------ a step
    def advance(self) -> Losses:
        """One step; gives the losses, scalars, of this process's pictures."""
        phase = self.phase(self.step)
        self.encoder.stage = phase.stage
        self.encoder.train()
        losses = self._warm_up() if phase.name == "warmup" else self._cycle(phase)
        self.step += 1
        return losses

    def _cycle(self, phase: Phase) -> Losses:
        with distributed.together():
            batch = self._batches(self.step - self.settings.warmup)
        codes: list[Tensor] = []

        def part_losses(image: Tensor) -> Losses:
            made, losses = self._losses(image.to(self.device), phase)
            codes.append(distributed.gather(made.detach()))
            return losses

        losses = self._update(self.optimizer, self._lr(), part_losses, batch)
        return losses | self.adversary.train(torch.cat(codes), phase.stage, self.step)

    def _losses(self, image: Tensor, phase: Phase) -> tuple[Tensor, Losses]:
        """The codes [B, N, w_dim] of pictures, and the losses, of which "loss" is the sum."""
        with common.autocast(self.device, self.settings.bf16):
            offsets = self.offsets(self.encoder.resize(image), phase.stage).float()
            codes = self.encoder.w_avg + offsets  # [B, N, w_dim]
            made = self.synthesis(codes, noise="const")
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
        with common.autocast(self.device, self.settings.bf16), torch.no_grad():
            w = sample_w(self.generator, self.settings.warmup_batch, self.random)  # [B, w_dim]

        def part_losses(w: Tensor) -> Losses:
            with common.autocast(self.device, self.settings.bf16):
                with torch.no_grad():
                    codes = w[:, None].expand(-1, self.generator.num_ws, -1)
                    image = self.synthesis(codes, noise="const").clamp(-1, 1)
                offsets = self.offsets(self.encoder.resize(resize(image, self.size)), 0).float()
            error = self.encoder.w_avg[0] + offsets[:, 0] - w
            return {"loss": error.square().mean() / self._w_scale}

        done = self.step / self.settings.warmup
        lr = self.settings.warmup_lr * min(1.0, 20 * done + 0.01, 2 * (1 - done))
        return {"w": self._update(self.warm_optimizer, lr, part_losses, self._own_parts(w))["loss"]}

    def _update(
        self,
        optimizer: torch.optim.Optimizer,
        lr: float,
        losses_of: Callable[[Tensor], Losses],
        parts: Sequence[Tensor],
    ) -> Losses:
        """One update by the mean gradient of a batch that is seen part by part; the mean losses."""
        for group in optimizer.param_groups:
            group["lr"] = lr
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

    def _lr(self) -> float:
        settings = self.settings
        left = (settings.total - self.step) / settings.steps
        return settings.lr * (min(1.0, left / settings.lr_decay) if settings.lr_decay else 1.0)

    def _own_parts(self, batch: Tensor) -> list[Tensor]:
        """Of each part of a global batch the rows of this process, so that what is in work at once
        is the same for any number of processes."""
        return [distributed.own_part(part) for part in batch.chunk(self.settings.accumulate)]

    def _see(self, count: int) -> None:
        """Train on the first `count` pictures."""
        pictures = self.pictures = self.pictures.first(count)
        order = common.Order(count, self.settings.batch, self.settings.seed)

        def read(step: int) -> Sequence[Tensor]:
            parts = self._own_parts(order(step))
            return pictures[torch.cat(parts)].split(len(parts[0]))

        self._batches = common.Ahead(read)

    @torch.no_grad()
    def _measure_w_scale(self) -> Tensor:
        """Variance of w, the mean over its dimensions: a regression that knows nothing loses 1."""
        random = torch.Generator().manual_seed(0)
        return sample_w(self.generator, 1000, random).var(0).mean()

    # ------------------------------------------------------------------ while it trains
    @torch.no_grad()
    def validate(
        self, count: int | None = None
    ) -> tuple[dict[str, dict[str, float]], dict[str, Tensor]]:
        """Means over `count` held-out pictures (all if None), in W and at the stage that is
        trained; and a grid of this process's first pictures, empty where it has none.

        mse in [-1,1]; lpips and identity as the losses have them (their networks, distances)."""
        self.encoder.eval()
        stage = self.encoder.stage
        stages = {"W": 0} if stage == 0 else {"W": 0, f"stage {stage}": stage}
        sums: dict[str, dict[str, float]] = {
            name: {"mse": 0.0, "lpips": 0.0, "identity": 0.0} for name in stages
        }
        columns: dict[str, Tensor] = {}
        count = min(len(self.held_out), self.settings.held_out, count or len(self.held_out))
        with distributed.together():
            for places in distributed.own_items(torch.arange(count).split(CHUNK)):
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
        several = distributed.world_size()
        sums = {name: distributed.mean(of_stage) for name, of_stage in sums.items()}
        means = {
            n: {k: round(v * several / count, 6) for k, v in s.items()} for n, s in sums.items()
        }
        return means, columns

    def _reconstruct(self, image: Tensor, stage: int) -> Tensor:
        codes = self.encoder.encode(image, stage)
        return resize(self.synthesis(codes, noise="const").clamp(-1, 1), self.size)

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
        """The settings that a resumed run must share, and those that are free."""
        config = asdict(self.encoder.config)
        del config["stage"]
        return {
            **asdict(self.settings),
            "generator": self.fingerprint,
            "encoder": config,
            **self.networks(),
        }

    def networks(self) -> dict[str, str]:
        """Which networks the losses have."""
        return {
            "lpips network": _name(self.objective.perceptual if self.settings.lpips else None),
            "identity network": _name(self.objective.faces if self.settings.identity else None),
        }

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "settings": json.loads(json.dumps(self.describe())),
            "pictures": len(self.pictures),
            "digest": self.pictures.digest,
            "stage": self.encoder.stage,
            "encoder": self.encoder.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "warm_optimizer": self.warm_optimizer.state_dict(),
            "adversary": self.adversary.state(),
            "random": common.random_states({"run": self.random}),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where `state` was. Raises InputError where the pictures are others."""
        digest = self.pictures.digest
        if state.get("digest", digest) != digest:  # older checkpoints have none
            raise InputError(
                "The run was started with other pictures than are in the folder now: give the "
                "folder as it was, or start a new run."
            )
        self.step = state["step"]
        self._see(state["pictures"])
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


def _name(network: Any) -> str:
    return "none" if network is None else getattr(network, "name", type(network).__name__)


def _frozen_copy(model: Any) -> Any:
    """A copy of a module without gradients, channels last; the caller's is left as it is."""
    if not isinstance(model, nn.Module):
        return model
    return _channels_last(copy.deepcopy(model).eval().requires_grad_(False))


def _channels_last(model: Any) -> Any:
    """The model itself: convolutions are faster in this layout on CPUs and GPUs alike."""
    return model.to(memory_format=torch.channels_last)
