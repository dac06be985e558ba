"""One training of an encoder apart from its steps: models and optimisers, validation, resuming."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoints.native import save_model
from ..errors import InputError
from ..images.resize import resize
from ..invert.objective import MAX_SIZE, Objective
from ..measure.networks import Distance, Networks
from ..models.encoder import Encoder, EncoderConfig
from ..models.generator import Generator
from ..models.irse import IdentityNet
from ..runtime import distributed
from ..runtime.optim import Muon, Ranger
from . import loop
from .adversary import Adversary, LatentDiscriminator, sample_w
from .data import Order, Prefetcher, open_pictures
from .dry_run import CHUNK
from .loop import Stretch
from .schedule import Phase, at
from .settings import EncoderTraining


class EncoderRun(loop.Trainer):
    """The arguments are those of `encoder.train`; known: as `data.open_all` takes it.

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
        self.settings, self.device = settings, generator.device
        at(0, generator.num_ws, settings.cycle_steps, settings.schedule)  # a hopeless one ends here
        distributed.check_divides(settings.batch, settings.accumulate)
        if settings.warmup_steps:
            distributed.check_divides(settings.warmup_batch, settings.accumulate)
        self.fingerprint = generator.base_fingerprint
        self.generator = _frozen_copy(generator)
        self.synthesis: Any = self.generator.synthesis
        if settings.compile:
            self.synthesis = torch.compile(self.synthesis)
        self.size = min(MAX_SIZE, generator.resolution)
        self.pictures, self.held_out = open_pictures(data, self.size, settings.held_out, known)
        self.digest = self.pictures.digest
        self.validated = min(len(self.held_out), settings.held_out)
        self.objective = Objective(
            l2=settings.l2,
            lpips=settings.lpips,
            identity=settings.identity,
            networks=Networks(_frozen_copy(perceptual), _frozen_copy(identity)),
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
        self.rng = torch.Generator().manual_seed(settings.seed)
        self.rngs = {"run": self.rng}
        self.adversary = Adversary(
            discriminator.to(self.device),
            self.generator,
            self.rng,
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

    def parts(self) -> dict[str, Any]:
        return {
            "encoder": self.encoder,
            "optimizer": self.optimizer,
            "warm_optimizer": self.warm_optimizer,
            "adversary": self.adversary,
        }

    def phase(self, step: int) -> Phase:
        """What holds at a step of the run, counted from 0 and with the warm-up."""
        if step < self.settings.warmup_steps:
            return Phase("warmup", 0, 0.0, 0.0)
        return at(
            step - self.settings.warmup_steps,
            self.generator.num_ws,
            self.settings.cycle_steps,
            self.settings.schedule,
        )

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

    @torch.no_grad()
    def _measure_w_scale(self) -> Tensor:
        """Variance of w, the mean over its dimensions: a regression that knows nothing loses 1."""
        rng = torch.Generator().manual_seed(0)
        return sample_w(self.generator, 1000, rng).var(0).mean()

    # ------------------------------------------------------------------ while it trains
    def status(self) -> dict[str, Any]:
        phase = self.phase(self.step - 1)  # the one that was trained, not the one to come
        return {"phase": phase.name, "stage": phase.stage}

    @torch.no_grad()
    def validate(self, count: int | None = None) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Means over `count` held-out pictures (all if None), in W and at the stage that is
        trained; and a grid of this process's first pictures, empty where it has none.

        mse in [-1,1]; lpips and identity as the losses have them (their networks, distances)."""
        self.encoder.eval()
        stage = self.encoder.stage
        stages = {"W": 0} if stage == 0 else {"W": 0, f"stage {stage}": stage}
        measures = {"mse": "l2", "lpips": "lpips", "identity": "identity"}
        sums = {name: dict.fromkeys(measures, 0.0) for name in stages}
        columns: dict[str, Tensor] = {}
        count = min(self.validated, count or self.validated)
        with distributed.raise_everywhere():
            for places in distributed.own_items(torch.arange(count).split(CHUNK)):
                image = self.held_out[places].to(self.device)
                target = self.objective.target(image)
                made = {name: self._reconstruct(image, s) for name, s in stages.items()}
                if not columns:
                    columns = {"target": image[:6], **{n: x[:6] for n, x in made.items()}}
                for name, picture in made.items():
                    terms = self.objective(picture, target)
                    for measure, term in measures.items():
                        sums[name][measure] += float(getattr(terms, term).sum())
        several = distributed.world_size()
        sums = {name: distributed.mean(of_stage) for name, of_stage in sums.items()}
        means = {
            n: {k: round(v * several / count, 6) for k, v in s.items()} for n, s in sums.items()
        }
        return {"validation": means}, columns

    def _reconstruct(self, image: Tensor, stage: int) -> Tensor:
        codes = self.encoder.encode(image, stage)
        return resize(self.synthesis(codes, noise="const").clamp(-1, 1), self.size)

    def export(self, folder: Path, measured: dict[str, Any]) -> None:
        """Write `encoder.safetensors`, ready for `load_encoder`."""
        metadata = {
            "generator": self.fingerprint,
            "stage": str(self.encoder.stage),
            "steps": str(self.step),
            "training": json.dumps(asdict(self.settings)),
            "validation": json.dumps(measured["validation"]),
        }
        path, encoder = folder / "encoder.safetensors", self.encoder
        save_model(path, "encoder", encoder.config, encoder.state_dict(), metadata)

    def stretches(self) -> Iterator[Stretch]:
        first = 0
        for phase, steps in groupby(map(self.phase, range(self.settings.total))):
            count = sum(1 for _ in steps)
            kind = "warm-up" if phase.name == "warmup" else "stage"
            values = {"stage": phase.stage, "delta": phase.delta, "adv": phase.adv}
            yield Stretch(phase.name, first, count, kind, phase.stage, values)
            first += count

    def facts(self) -> list[str]:
        return [f"{len(self.pictures):,} pictures to train on, {len(self.held_out):,} held out"]

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
        return {
            "lpips network": _name(
                self.objective.networks.perceptual if self.settings.lpips else None
            ),
            "identity network": _name(
                self.objective.networks.identity if self.settings.identity else None
            ),
        }

    def state(self) -> dict[str, Any]:
        return {**super().state(), "pictures": len(self.pictures), "stage": self.encoder.stage}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._see(state["pictures"])
        self.encoder.stage = state["stage"]


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
