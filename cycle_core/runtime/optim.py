"""The optimisers, and the average of weights: Ranger trains and refines encoders, Adam tunes
generators, Muon trains the embedded one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def fused_adam(
    parameters: list[nn.Parameter], rate: float, betas: tuple[float, float] = (0.9, 0.999)
) -> torch.optim.Adam:
    """Adam in one pass over the memory, where torch has that for the device: it says so for a
    device of its own at the first step only."""
    if parameters[0].device.type in ("cpu", "cuda", "mps", "xpu"):
        with contextlib.suppress(RuntimeError):  # of an older torch
            return torch.optim.Adam(parameters, rate, betas, fused=True)
    return torch.optim.Adam(parameters, rate, betas)


class _Lookahead(torch.optim.Optimizer):
    """Gradient centralisation before an update and Lookahead after it, around any optimiser whose
    state counts "step".

    Gradient centralisation (Yong et al. 2020, equation 1): every gradient of more than one
    dimension loses its mean over all dimensions but the first; `p.grad` is changed in place.
    Lookahead (Zhang et al. 2019, algorithm 1): every `lookahead_steps` updates a slow copy goes
    `lookahead_alpha` of the way to the weights, which then start again from it. Both count for each
    parameter by its own updates, so that an encoder head that is activated late starts afresh; a
    parameter without a gradient stays as it is. All state, the slow copies too, is in
    `state_dict()`."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.95, 0.999),
        eps: float = 1e-5,
        lookahead_steps: int = 6,
        lookahead_alpha: float = 0.5,
    ):
        super().__init__(params, lr=lr, betas=betas, eps=eps)  # pyright: ignore
        for group in self.param_groups:  # in the groups, so that state_dict carries them
            group["lookahead_steps"] = lookahead_steps
            group["lookahead_alpha"] = lookahead_alpha

    @torch.no_grad()
    def step(self) -> None:
        moving = [(g, p) for g in self.param_groups for p in g["params"] if p.grad is not None]
        # the optimiser fills the state of a parameter when it is empty: the slow copy comes after
        start = {p: p.clone() for _, p in moving if not self.state[p]}
        for _, p in moving:
            if p.grad.ndim > 1:
                p.grad.sub_(p.grad.mean(dim=tuple(range(1, p.grad.ndim)), keepdim=True))
        super().step()
        for group, p in moving:
            state = self.state[p]
            if p in start:
                state["slow"] = start[p]
            if int(state["step"]) % group["lookahead_steps"] == 0:
                state["slow"].lerp_(p, group["lookahead_alpha"])
                p.copy_(state["slow"])


class Ranger(_Lookahead, torch.optim.RAdam):
    """RAdam (Liu et al. 2020) with gradient centralisation and Lookahead, which Cycle Encoding
    trains with. The defaults are those of the published encoder trainings."""


class WarmRanger(_Lookahead, torch.optim.Adam):
    """Ranger in the middle of a training, whose RAdam has become Adam: what the published
    refinement goes on with, without the training's saved state."""


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal for matrices and convolution kernels, Adam for all the rest.

    Jordan et al. 2024. A kernel [O,I,k,k] counts as the matrix [O, I*k*k]. The orthogonal update is
    scaled to a root mean square of 1 per entry, about what Adam's is, so that one learning rate
    serves both kinds. Biases, scales, the constant input and whatever has a side of at most three
    (RGB layers) go to Adam. torch.optim.Muon takes matrices only and iterates in bfloat16, which
    not every CPU can multiply: this one stays in the dtype of the gradient."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 6e-3,
        momentum: float = 0.9,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        iterations: int = 5,
    ):
        defaults = {"lr": lr, "momentum": momentum, "betas": betas, "eps": eps}
        super().__init__(params, {**defaults, "iterations": iterations})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                rule = self._momentum if is_matrix(p) else self._adam
                update = rule(p, p.grad, group)
                p.add_(update, alpha=-group["lr"])

    def _momentum(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> Tensor:
        state, beta = self.state[p], group["momentum"]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        state["momentum"].mul_(beta).add_(grad)
        update = torch.add(grad, state["momentum"], alpha=beta).flatten(1)  # Nesterov
        scale = max(update.shape) ** 0.5  # an orthogonal [m,n] has the RMS 1 / sqrt(max(m, n))
        return orthogonalize(update, group["iterations"]).mul_(scale).view(p.shape)

    def _adam(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> Tensor:
        state, (beta1, beta2) = self.state[p], group["betas"]
        if not state:
            state["step"] = torch.zeros([])
            state["mean"], state["square"] = torch.zeros_like(p), torch.zeros_like(p)
        state["step"] += 1
        step = int(state["step"])
        state["mean"].lerp_(grad, 1 - beta1)
        state["square"].lerp_(grad.square(), 1 - beta2)
        deviation = (state["square"] / (1 - beta2**step)).sqrt_().add_(group["eps"])
        return (state["mean"] / (1 - beta1**step)).div_(deviation)


def is_matrix(p: Tensor) -> bool:
    """Whether Muon treats a parameter as a matrix: [O,I] or [O,I,k,k] with more than 3 of each."""
    return p.ndim in (2, 4) and min(p.shape[:2]) > 3


def orthogonalize(matrix: Tensor, iterations: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly: all but the very smallest singular values end up
    within about 0.7 to 1.2.

    matrix: float [m,n]. A quintic Newton-Schulz iteration, with the coefficients of Jordan et al.
    that grow small singular values fastest."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if tall else matrix
    x = x / (x.norm() + 1e-12)
    for _ in range(iterations):
        gram = x @ x.mT
        polynomial = torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
        x = torch.addmm(x, polynomial, x, beta=3.4445)
    return x.mT if tall else x


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Exponential moving average of parameters; buffers (batch statistics) are copied.

    average <- decay * average + (1 - decay) * model."""
    for mean, now in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(now, 1 - decay)
    for mean, now in zip(average.buffers(), model.buffers(), strict=True):
        mean.copy_(now)


def average_decay(images: int, batch: int, half_life: int = 4000, ramp: float = 0.1) -> float:
    """Decay of one step, after `images` images were seen: the half-life, in images, grows with
    `ramp * images` up to `half_life`, so that an early average is not the initialisation."""
    return 0.5 ** (batch / max(batch, min(half_life, images * ramp)))
