"""Train a cycle encoder: W -> W+ -> W.

    cycle-core train encoder --generator portraits --data FOLDER --out RUN --steps N
    torchrun --nproc-per-node 8 -m cycle_core.cli train encoder ...the same options

Cycle Encoding (Mao et al. 2022), section 3: the generator stays as it is, and the encoder minimises

    l2 * L2 + lpips * LPIPS + identity * ID + adv * L_adv + delta * sum_i ||D_i||_2

at 256 px (or the generator's resolution, if that is smaller) over the stages and weights of
`schedule`. The noise is constant and no picture is mirrored.

What a step does to a global batch does not depend on how many processes share it: every process
makes all random numbers and takes its part, gradients are averaged, batch norms see all pictures
that are in work at once, and the latent discriminator, which is tiny, is trained on the codes of
all processes in each of them.

`warmup_steps` may come before the schedule: they regress the known w of generated pictures, as many
encoder trainings do, which saves most of a short run's W phase. The paper has none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..images.resize import resize
from ..measure.networks import Distance
from ..models.encoder import Encoder, EncoderConfig
from ..models.generator import Generator
from ..models.irse import IdentityNet
from ..runtime import distributed
from ..runtime.progress import Callback
from . import loop
from .adversary import sample_w
from .encoder_run import EncoderRun
from .loop import Losses, autocast
from .schedule import Phase
from .settings import EncoderTraining


def train(
    generator: Generator,
    data: str | Path,
    out: str | Path,
    settings: EncoderTraining,
    perceptual: Distance | None,
    identity: Distance | None,
    config: EncoderConfig | None = None,
    body: IdentityNet | None = None,
    callback: Callback | None = None,
) -> Encoder:
    """Train an encoder for `generator`, or resume in the folder `out`. Works on its device, and in
    all processes that `distributed.processes` joined.

    data: folder of a portrait data set, or of square aligned pictures. perceptual, identity: the
    networks of the losses (`load_perceptual`, `load_identity` or `load_moco`), None for a loss
    without them.
    config: of the encoder; chosen by the resolution if None. body: an identity network from whose
    body the encoder's starts.
    callback: see `loop`; previews are reconstructions of held-out pictures.
    Gives the encoder, in evaluation mode, also written to `out/encoder.safetensors` with its last
    stage and the generator's fingerprint. Nothing that is passed in is changed.
    Raises InputError for impossible settings or another run's folder, MismatchError for a body of
    another shape, CycleError where the training diverges."""

    def make(digest: str) -> EncoderTrainer:
        return EncoderTrainer(
            generator, data, settings, perceptual, identity, config, body, known=digest
        )

    return loop.train(out, make, callback).encoder.eval().requires_grad_(False)


class EncoderTrainer(EncoderRun):
    """The steps of a run."""

    def advance(self) -> Losses:
        """One step; gives the losses, scalars, of this process's pictures."""
        phase = self.phase(self.step)
        self.encoder.stage = phase.stage
        self.encoder.train()
        losses = self._warm_up() if phase.name == "warmup" else self._cycle(phase)
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

        losses = self._update(self.optimizer, self._lr(), part_losses, batch)
        return losses | self.adversary.train(torch.cat(codes), phase.stage, self.step)

    def _losses(self, image: Tensor, phase: Phase) -> tuple[Tensor, Losses]:
        """The codes [B, N, w_dim] of pictures, and the losses, of which "loss" is the sum."""
        with autocast(self.device, self.settings.bf16):
            w_avg = self.encoder.w_avg  # [N, w_dim]
            offsets = self.offsets(self.encoder.resize(image), phase.stage).to(w_avg.dtype)
            codes = w_avg + offsets  # [B, N, w_dim]
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
        with autocast(self.device, self.settings.bf16), torch.no_grad():
            w = sample_w(self.generator, self.settings.warmup_batch, self.rng)  # [B, w_dim]

        def part_losses(w: Tensor) -> Losses:
            with autocast(self.device, self.settings.bf16):
                with torch.no_grad():
                    codes = w[:, None].expand(-1, self.generator.num_ws, -1)
                    image = self.synthesis(codes, noise="const").clamp(-1, 1)
                offsets = self.offsets(self.encoder.resize(resize(image, self.size)), 0).float()
            error = self.encoder.w_avg[0] + offsets[:, 0] - w
            return {"loss": error.square().mean() / self._w_scale}

        done = self.step / self.settings.warmup_steps
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
        left = (settings.total - self.step) / settings.cycle_steps
        return settings.lr * (min(1.0, left / settings.lr_decay) if settings.lr_decay else 1.0)


def delta_loss(rows: Tensor, stage: int) -> Tensor:
    """sum_i ||D_i||_2 over the active heads, mean over the batch, float [].

    rows: the encoder's output [B, N, w_dim], D_i = rows[:, i] - rows[:, 0]; stage: its stage."""
    deltas = rows[:, 1 : stage + 1] - rows[:, :1]  # [B, stage, w_dim]
    return deltas.norm(dim=2).sum(1).mean()
