"""Adaptive discriminator augmentation: a few hundred pictures are enough (ADA, Karras et al. 2020,
"Training Generative Adversarial Networks with Limited Data").

Real and generated pictures are moved, turned, scaled and coloured alike before the discriminator
sees them, each change with the probability p, so that it cannot learn the pictures by heart and the
generator does not learn the changes. p grows while the discriminator is too sure of the real
pictures (r_t, the mean sign of its logits, above a target) and falls otherwise.

These are the pixel, geometric and colour changes of the paper, which it found to matter; its
frequency filters, noise and cut-outs are left out. The geometric ones are one bilinear lookup.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

INTERVAL = 4  # steps between two adjustments of p


class Augmentation:
    """Changes pictures with the probability p, which follows r_t.

    target: of r_t. images: in which p can go from 0 to 1."""

    def __init__(self, target: float, images: int):
        self.target, self.images = target, images
        self.p = 0.0
        self._signs: list[float] = []

    def __call__(self, images: Tensor, rng: torch.Generator, rows: Tensor, batch: int) -> Tensor:
        """[len(rows),3,R,R], the rows of a batch. What happens to a row depends on rng alone, also
        where processes divide the batch."""
        numbers = torch.rand(batch, 32, generator=rng)[rows]
        if self.p <= 0:
            return images
        chosen = iter(self.p > numbers[:, :16].T)
        values = iter(numbers[:, 16:].T)
        place = _geometry(chosen, values, images.shape[-1]).to(images.device)
        colour = _colours(chosen, values).to(images.device)
        grid = F.affine_grid(place[:, :2], list(images.shape), align_corners=False)
        moved = F.grid_sample(images.float(), grid, padding_mode="reflection", align_corners=False)
        flat = moved.flatten(2)  # [B,3,P]
        coloured = colour[:, :3, :3] @ flat + colour[:, :3, 3:]
        return coloured.view_as(images)

    def observe(self, real: float, step: int, batch: int) -> None:
        """real: mean sign of the logits of the real pictures in a step, over all processes."""
        self._signs.append(real)
        if (step + 1) % INTERVAL == 0:
            sure = sum(self._signs) / len(self._signs) > self.target
            change = batch * len(self._signs) / self.images
            self.p = min(max(self.p + (change if sure else -change), 0.0), 1.0)
            self._signs.clear()

    def state(self) -> dict[str, Any]:
        return {"p": self.p, "signs": list(self._signs)}

    def load_state(self, state: dict[str, Any]) -> None:
        self.p, self._signs = state["p"], list(state["signs"])


def _geometry(chosen: Iterator[Tensor], values: Iterator[Tensor], size: int) -> Tensor:
    """[B,3,3]: where each picture is looked up, in its own coordinates from -1 to 1."""

    def pick(on: Tensor, value: Tensor, otherwise: float = 0.0) -> Tensor:
        return torch.where(on, value, torch.full_like(value, otherwise))

    flip = pick(next(chosen), torch.where(next(values) < 0.5, 1.0, -1.0), 1.0)
    place = _matrix(flip, 0, 0, 1)
    quarter = pick(next(chosen), (next(values) * 4).floor()) * (math.pi / 2)
    place = place @ _rotation(quarter)
    # whole pixels, an eighth of the side at most
    on, across, down = next(chosen), next(values), next(values)
    whole = [pick(on, ((x * 2 - 1) * size / 8).round() * 2 / size) for x in (across, down)]
    place = place @ _shift(*whole)
    scale = 2 ** pick(next(chosen), 0.2 * _normal(next(values)))
    place = place @ _matrix(scale, 0, 0, scale)
    # two turns, before and after another scale, each with a probability that makes p of both
    turn = pick(next(chosen), (next(values) * 2 - 1) * math.pi)
    stretch = 2 ** pick(next(chosen), 0.2 * _normal(next(values)))
    place = place @ _rotation(turn) @ _matrix(stretch, 0, 0, 1 / stretch)
    on = next(chosen)
    return place @ _shift(*(pick(on, 0.25 * _normal(next(values))) for _ in range(2)))


def _colours(chosen: Iterator[Tensor], values: Iterator[Tensor]) -> Tensor:
    """[B,4,4]: brightness, contrast, inverted luma, hue and saturation as one matrix."""
    count = len(first := next(values))
    grey = torch.full((3, 1), 3**-0.5)
    along = (grey @ grey.T).expand(count, 3, 3)  # onto the grey axis
    eye = torch.eye(3).expand(count, 3, 3)

    def pick(on: Tensor, value: Tensor, otherwise: float = 0.0) -> Tensor:
        return torch.where(on, value, torch.full_like(value, otherwise))[:, None, None]

    shift = pick(next(chosen), 0.2 * _normal(first))
    contrast = 2 ** pick(next(chosen), 0.5 * _normal(next(values)))
    turned = pick(next(chosen), torch.where(next(values) < 0.5, 0.0, 2.0))
    angle = pick(next(chosen), (next(values) * 2 - 1) * math.pi)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) * 3**-0.5
    hue = along + angle.cos() * (eye - along) + angle.sin() * cross
    saturation = 2 ** pick(next(chosen), _normal(next(values)))
    colour = (along + (eye - along) * saturation) @ hue @ (eye - turned * along) * contrast
    whole = torch.zeros(count, 4, 4)
    whole[:, :3, :3], whole[:, :3, 3] = colour, shift[:, 0]
    whole[:, 3, 3] = 1
    return whole


def _normal(uniform: Tensor) -> Tensor:
    """Standard normal numbers of uniform ones, three deviations at most."""
    return torch.special.ndtri(uniform.double().clamp(1e-9, 1 - 1e-9)).float().clamp(-3, 3)


def _matrix(a: Tensor, b: float, c: float, d: Tensor | float) -> Tensor:
    out = torch.eye(3).repeat(len(a), 1, 1)
    out[:, 0, 0], out[:, 0, 1], out[:, 1, 0], out[:, 1, 1] = a, b, c, torch.as_tensor(d)
    return out


def _rotation(angle: Tensor) -> Tensor:
    out = _matrix(angle.cos(), 0, 0, angle.cos())
    out[:, 0, 1], out[:, 1, 0] = -angle.sin(), angle.sin()
    return out


def _shift(x: Tensor, y: Tensor) -> Tensor:
    out = torch.eye(3).repeat(len(x), 1, 1)
    out[:, 0, 2], out[:, 1, 2] = x, y
    return out
