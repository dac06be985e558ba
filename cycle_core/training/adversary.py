"""The latent discriminator's side of the training: are the encoder's vectors like mapped z?

Cycle Encoding's loss L_adv, which it has from encoder4editing: non-saturating loss, lazy R1 on the
real vectors, and pools of past vectors that steady it.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..measure.losses import (
    CodePool,
    LatentDiscriminator,
    active_vectors,
    adversarial_loss,
    discriminator_loss,
    r1_penalty,
)
from ..models.generator import Generator


class Adversary:
    """A latent discriminator with its optimiser, pools and random numbers.

    random: a generator of the CPU, which the caller keeps. lr, r1_gamma, r1_interval, pool: 2e-5,
    10, 16 and 50 in the paper's code."""

    def __init__(
        self,
        discriminator: LatentDiscriminator,
        generator: Generator,
        random: torch.Generator,
        lr: float = 2e-5,
        r1_gamma: float = 10.0,
        r1_interval: int = 16,
        pool: int = 50,
    ):
        self.discriminator, self.generator, self.random = discriminator, generator, random
        self.optimizer = torch.optim.Adam(discriminator.parameters(), lr)
        self.r1_gamma, self.r1_interval = r1_gamma, r1_interval
        self.pools = {"real": CodePool(pool, seed=0), "fake": CodePool(pool, seed=1)}

    def loss(self, codes: Tensor, stage: int) -> Tensor:
        """The encoder's L_adv, a scalar: mean of softplus(-D(w_i)) over the active vectors.

        codes: float [B, N, w_dim]; those of stage `stage` are active, 0..stage."""
        self.discriminator.requires_grad_(False)
        return adversarial_loss(self.discriminator(active_vectors(codes, stage)))

    def train(self, codes: Tensor, stage: int, step: int) -> dict[str, Tensor]:
        """One update of the discriminator on as many real and fake vectors as there are codes.

        Fake: one active vector of each code, drawn at random, so that the discriminator sees those
        that make W+ too.
        Gives the losses, scalars."""
        batch = len(codes)
        rows = torch.randint(stage + 1, (batch,), generator=self.random)
        fake = codes.detach()[torch.arange(batch), rows.to(codes.device)]
        with torch.no_grad():
            real = sample_w(self.generator, batch, self.random)
        real, fake = self.pools["real"](real), self.pools["fake"](fake)
        self.discriminator.requires_grad_(True)
        decision, fooled = self.discriminator(real), self.discriminator(fake)
        loss = discriminator_loss(decision, fooled)
        losses = {"discriminator": loss, "real": decision.mean(), "fake": fooled.mean()}
        if step % self.r1_interval == 0:
            losses["r1"] = r1_penalty(self.discriminator, real)
            loss = loss + losses["r1"] * (self.r1_gamma / 2 * self.r1_interval)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return losses

    def state(self) -> dict[str, Any]:
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "pools": {name: pool.state_dict() for name, pool in self.pools.items()},
        }

    def load_state(self, state: dict[str, Any], device: torch.device) -> None:
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name, pool in self.pools.items():
            stored = state["pools"][name]
            pool.load_state_dict({**stored, "vectors": stored["vectors"].to(device)})


def sample_w(generator: Generator, count: int, random: torch.Generator) -> Tensor:
    """Mapped random z, float [count, w_dim], on the generator's device; of a conditional generator
    the classes are drawn too. `random` is a generator of the CPU, so that every device agrees."""
    config = generator.config
    z = torch.randn(count, config.z_dim, generator=random).to(generator.device)
    c = None
    if config.c_dim:
        drawn = torch.randint(config.c_dim, (count,), generator=random)
        c = F.one_hot(drawn, config.c_dim).to(z)
    return generator.mapping(z, c)[:, 0]
