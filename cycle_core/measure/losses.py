"""The terms of an encoder's loss beside the pictures': deltas, latent discriminator, pools, R1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..models.layers import Linear


def delta_loss(rows: Tensor, stage: int) -> Tensor:
    """sum_i ||D_i||_2 over the active heads, mean over the batch, float [].

    rows: the encoder's output [B, N, w_dim] with D_i = rows[:, i] - rows[:, 0]; stage: its stage.
    The published code leaves it out at the last stage; here it counts whenever heads are active."""
    deltas = rows[:, 1 : stage + 1] - rows[:, :1]  # [B, stage, w_dim]
    return deltas.norm(dim=2).sum(1).mean()


def active_vectors(codes: Tensor, stage: int) -> Tensor:
    """Codes [B, N, w_dim] -> the vectors of the active heads, [B * (stage + 1), w_dim]: what the
    latent discriminator sees of an encoder."""
    return codes[:, : stage + 1].flatten(0, 1)


class LatentDiscriminator(nn.Module):
    """Tells mapped z from the encoder's vectors: four layers on single vectors (e4e, section 4)."""

    def __init__(self, w_dim: int = 512, layers: int = 4):
        super().__init__()
        self.layers = nn.ModuleList(
            Linear(w_dim, w_dim if i < layers - 1 else 1) for i in range(layers)
        )

    def forward(self, w: Tensor) -> Tensor:
        """w: float [B, w_dim] -> logits [B], positive for mapped z."""
        for layer in list(self.layers)[:-1]:
            w = F.leaky_relu(layer(w), 0.2)
        return self.layers[-1](w)[:, 0]


def adversarial_loss(fake_logits: Tensor) -> Tensor:
    """What the encoder minimises: non-saturating, softplus(-D(fake)), mean, float []."""
    return F.softplus(-fake_logits).mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """What the discriminator minimises: softplus(-D(real)) + softplus(D(fake)), means, float []."""
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """||dD / dw||^2 at real vectors [B, w_dim], mean over the batch, float [].

    The loss is gamma / 2 times this, times the interval where it is taken every so many steps."""
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return gradient.square().sum(1).mean()


class CodePool:
    """The last vectors, so that the discriminator does not forget (Shrivastava et al. 2017).

    Until `size` vectors are stored, each one is stored and passed on. From then on each is, with
    probability 1/2, passed on, or exchanged for a random stored one."""

    def __init__(self, size: int = 50, seed: int = 0):
        if size < 0:
            raise InputError(f"A pool of codes holds 0 or more vectors, not {size}.")
        self.size = size
        self._vectors: list[Tensor] = []
        self._random = torch.Generator().manual_seed(seed)

    def __call__(self, vectors: Tensor) -> Tensor:
        """vectors: [B, w_dim] -> [B, w_dim] of the same device, without gradients."""
        if self.size == 0:
            return vectors.detach()
        out = []
        for vector in vectors.detach():
            if len(self._vectors) < self.size:
                self._vectors.append(vector.clone())
                out.append(vector)
            elif torch.rand((), generator=self._random) < 0.5:
                i = int(torch.randint(self.size, (), generator=self._random))
                out.append(self._vectors[i])
                self._vectors[i] = vector.clone()
            else:
                out.append(vector)
        return torch.stack(out)

    def state_dict(self) -> dict[str, Any]:
        vectors = torch.stack(self._vectors) if self._vectors else torch.empty(0, 0)
        return {"vectors": vectors, "random": self._random.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._vectors = list(state["vectors"].unbind(0))
        self._random.set_state(state["random"])
