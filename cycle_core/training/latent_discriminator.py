"""The latent discriminator's side of the training: are the encoder's vectors like mapped z?

Cycle Encoding's L_adv, which it has from encoder4editing (Tov et al. 2021, section 4): a
discriminator of single w, non-saturating loss, lazy R1 on the real vectors, and pools of past
vectors that steady it.

Where the published code is another:

- The encoder's vectors are shown with `w_avg` added, as codes; Cycle Encoding shows the bare output
  as fake beside whole w as real, which e4e mended in August 2021.
- The discriminator learns after the encoder's step, from the codes that this step had before it;
  the published one learns before, from the same codes, for which it encodes the batch a second
  time. So it is one update behind in the encoder's loss, and no more.

As published, layers are plain and R1 is a step of its own. Layers of an equalised learning rate
(StyleGAN) learn next to nothing at the published rate: an update moves a weight whose deviation is
1 by 2e-5.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..models.generator import Generator


class Adversary:
    """A latent discriminator with its optimiser and pools.

    rng: of the CPU, which the caller keeps. The defaults are those of the published code."""

    def __init__(
        self,
        discriminator: LatentDiscriminator,
        generator: Generator,
        rng: torch.Generator,
        learning_rate: float = 2e-5,
        r1_gamma: float = 10.0,
        r1_interval: int = 16,
        pool: int = 50,
    ):
        self.discriminator, self.generator, self.rng = discriminator, generator, rng
        self.optimizer = torch.optim.Adam(discriminator.parameters(), learning_rate)
        self.r1_gamma, self.r1_interval = r1_gamma, r1_interval
        self.pools = {"real": CodePool(pool, seed=0), "fake": CodePool(pool, seed=1)}

    def loss(self, codes: Tensor, stage: int) -> Tensor:
        """The encoder's L_adv, a scalar: mean of softplus(-D(w_i)) over the active vectors.

        codes: float [B, N, w_dim]; those of stage `stage` are active, 0..stage."""
        self.discriminator.requires_grad_(False)
        return F.softplus(-self.discriminator(active_vectors(codes, stage))).mean()

    def train(self, codes: Tensor, stage: int, step: int) -> dict[str, Tensor]:
        """One update of the discriminator on as many real and fake vectors as there are codes,
        and every `r1_interval` steps a second one, by R1 alone. Gives the losses, scalars.

        Fake: one active vector of each code, chosen at random, so that the discriminator sees
        those that make W+ too."""
        batch = len(codes)
        rows = torch.randint(stage + 1, (batch,), generator=self.rng)
        fake = codes.detach()[torch.arange(batch), rows.to(codes.device)]
        with torch.no_grad():
            real = sample_w(self.generator, batch, self.rng)
        real, fake = self.pools["real"](real), self.pools["fake"](fake)
        self.discriminator.requires_grad_(True)
        on_real, on_fake = self.discriminator(real), self.discriminator(fake)
        loss = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
        losses = {"discriminator": loss, "real": on_real.mean(), "fake": on_fake.mean()}
        self._update(loss)
        if step % self.r1_interval == 0:
            losses["r1"] = r1_penalty(self.discriminator, real)
            self._update(losses["r1"] * (self.r1_gamma / 2 * self.r1_interval))
        return losses

    def _update(self, loss: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "pools": {name: pool.state_dict() for name, pool in self.pools.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        state = _plain_layers(state)
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])
        device = next(self.discriminator.parameters()).device
        for name, pool in self.pools.items():
            stored = state["pools"][name]
            pool.load_state_dict({**stored, "vectors": stored["vectors"].to(device)})


class LatentDiscriminator(nn.Sequential):
    """w [B, w_dim] -> logits [B], positive for mapped z: four plain layers (e4e, section 4)."""

    def __init__(self, w_dim: int = 512, layers: int = 4):
        parts: list[nn.Module] = []
        for _ in range(layers - 1):
            parts += [nn.Linear(w_dim, w_dim), nn.LeakyReLU(0.2)]
        super().__init__(*parts, nn.Linear(w_dim, 1), nn.Flatten(0))


class CodePool:
    """The last vectors, so that the discriminator does not forget (Shrivastava et al. 2017).

    Until `size` vectors are stored, each one is stored and passed on. From then on each is, with
    probability 1/2, passed on, or exchanged for a random stored one."""

    def __init__(self, size: int = 50, seed: int = 0):
        if size < 0:
            raise InputError(f"A pool of codes holds 0 or more vectors, not {size}.")
        self.size = size
        self._vectors: list[Tensor] = []
        self._rng = torch.Generator().manual_seed(seed)

    def __call__(self, vectors: Tensor) -> Tensor:
        """vectors: [B, w_dim] -> [B, w_dim] of the same device, without gradients."""
        if self.size == 0:
            return vectors.detach()
        out = []
        for vector in vectors.detach():
            if len(self._vectors) < self.size:
                self._vectors.append(vector.clone())
                out.append(vector)
            elif torch.rand((), generator=self._rng) < 0.5:
                i = int(torch.randint(self.size, (), generator=self._rng))
                out.append(self._vectors[i])
                self._vectors[i] = vector.clone()
            else:
                out.append(vector)
        return torch.stack(out)

    def state_dict(self) -> dict[str, Any]:
        vectors = torch.stack(self._vectors) if self._vectors else torch.empty(0, 0)
        return {"vectors": vectors, "random": self._rng.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._vectors = list(state["vectors"].unbind(0))
        self._rng.set_state(state["random"])


def active_vectors(codes: Tensor, stage: int) -> Tensor:
    """Codes [B, N, w_dim] -> the vectors of the active heads, [B * (stage + 1), w_dim]: what the
    latent discriminator sees of an encoder."""
    return codes[:, : stage + 1].flatten(0, 1)


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """||dD / dw||^2 at real vectors [B, w_dim], mean over the batch, float [].

    The loss is gamma / 2 times this (Mescheder et al. 2018, equation 9), times the interval where
    it is taken every so many steps."""
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return gradient.square().sum(1).mean()


def sample_w(generator: Generator, count: int, rng: torch.Generator) -> Tensor:
    """Mapped random z, and classes where there are some: float [count, w_dim]. rng: of the CPU."""
    return generator.mapping(*generator.draw_inputs(count, rng))[:, 0]


def _plain_layers(state: dict[str, Any]) -> dict[str, Any]:
    """The state of a run from before the layers were plain: equal functions, gradients and moments.

    There a weight was multiplied by 1 / sqrt(width) wherever it was used."""
    old = state["discriminator"]
    if "layers.0.weight" not in old:
        return state
    gains, weights = [], {}
    for name, value in old.items():  # layers.2.weight -> 4.weight
        _, number, kind = name.split(".")
        gains.append(1 / math.sqrt(value.shape[1]) if kind == "weight" else 1.0)
        weights[f"{2 * int(number)}.{kind}"] = value * gains[-1]
    optimizer = state["optimizer"]
    moments = {
        i: {
            **of,
            "exp_avg": of["exp_avg"] / gains[i],
            "exp_avg_sq": of["exp_avg_sq"] / gains[i] ** 2,
        }
        for i, of in optimizer["state"].items()
    }
    return {**state, "discriminator": weights, "optimizer": {**optimizer, "state": moments}}
