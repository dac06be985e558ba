"""Adaptive discriminator augmentation: a few hundred pictures are enough (ADA, Karras et al. 2020,
"Training Generative Adversarial Networks with Limited Data").

Real and generated pictures are moved, turned, scaled and coloured alike before the discriminator
sees them, each change with the probability p, so that it cannot learn the pictures by heart and the
generator does not learn the changes. p grows while the discriminator is too sure of the real
pictures (r_t, the mean sign of its logits, equation 1, above a target) and falls otherwise.

All changes of the paper's appendix B are here, with its deviations; `AdversarialTraining.PIPES`
names its sets of them. Where it differs: pictures are looked up bilinearly at their own size, there
in pictures of twice the size; of pictures below 32 pixels fewer octaves are filtered.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

INTERVAL = 4  # steps between two adjustments of p
_NUMBERS = 24  # of a picture, at most, of each kind
_SYM2 = (-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025)
_POWER = (10.0, 1.0, 1.0, 1.0)  # of natural pictures in the octaves, from the lowest on


class Augmentation:
    """Changes pictures with the probability p, which follows r_t.

    target: of r_t. images: in which p can go from 0 to 1. pipe: one of
    `AdversarialTraining.PIPES`."""

    def __init__(self, target: float, images: int, pipe: str = "bgc"):
        self.target, self.images, self.pipe = target, images, pipe
        self.p = 0.0
        self._signs: list[float] = []

    def __call__(self, images: Tensor, rng: torch.Generator, rows: Tensor, batch: int) -> Tensor:
        """[len(rows),3,R,R], the rows of a batch. What happens to a row depends on rng alone, also
        where processes divide the batch."""
        draws = _Draws(torch.rand(2, _NUMBERS, batch, generator=rng)[..., rows], self.p)
        seed = int(torch.randint(1 << 62, (), generator=rng))
        if self.p <= 0:
            return images
        images, kinds = images.float(), len(self.pipe)
        place = _blits(draws, images.shape[-1])
        if kinds > 1:
            place = place @ _geometry(draws)
        grid = F.affine_grid(place[:, :2].to(images), list(images.shape), align_corners=False)
        images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
        if kinds > 2:
            colour, shift = _colours(draws)
            flat = colour.to(images) @ images.flatten(2) + shift.to(images)  # [B,3,P]
            images = flat.view_as(images)
        if kinds > 3:
            images = _filtered(images, draws)
        if kinds > 4:
            images = images + _noise(images.shape[1:], draws, seed, rows).to(images)
        if kinds > 5:
            images = images * _uncut(images.shape[-1], draws).to(images)
        return images

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


class _Draws:
    """The random numbers of pictures, used up one after the other."""

    def __init__(self, numbers: Tensor, p: float):
        """numbers: [2, _NUMBERS, B], uniform."""
        self.p, self._chances, self._values = p, iter(numbers[0]), iter(numbers[1])

    def uniform(self) -> Tensor:
        return next(self._values)

    def normal(self) -> Tensor:
        return torch.special.ndtri(self.uniform().double().clamp(1e-9, 1 - 1e-9)).float()

    def chosen(self, p: float | None = None) -> Tensor:
        return next(self._chances) < (self.p if p is None else p)

    def pick(self, value: Tensor, otherwise: float = 0.0, p: float | None = None) -> Tensor:
        return torch.where(self.chosen(p), value, torch.full_like(value, otherwise))


def _blits(draws: _Draws, size: int) -> Tensor:
    """[B,3,3]: where each picture is looked up, in its own coordinates from -1 to 1."""
    flip = draws.pick(torch.where(draws.uniform() < 0.5, 1.0, -1.0), 1.0)
    quarter = draws.pick((draws.uniform() * 4).floor()) * (math.pi / 2)
    # whole pixels, an eighth of the side at most
    whole = [((draws.uniform() * 2 - 1) * size / 8).round() * 2 / size for _ in range(2)]
    across, down = torch.where(draws.chosen(), torch.stack(whole), torch.zeros(2, 1))
    return _matrix(flip, 0, 0, 1) @ _rotation(quarter) @ _shift(across, down)


def _geometry(draws: _Draws) -> Tensor:
    """[B,3,3] of the same coordinates."""
    scale = 2 ** draws.pick(0.2 * draws.normal())
    turned = 1 - math.sqrt(1 - draws.p)  # of each of two turns, so that p of the pictures turn
    before = draws.pick((draws.uniform() * 2 - 1) * math.pi, p=turned)
    stretch = 2 ** draws.pick(0.2 * draws.normal())
    after = draws.pick((draws.uniform() * 2 - 1) * math.pi, p=turned)
    part = 0.25 * torch.stack([draws.normal(), draws.normal()])  # an eighth of the side
    across, down = torch.where(draws.chosen(), part, torch.zeros(2, 1))
    turns = _rotation(before) @ _matrix(stretch, 0, 0, 1 / stretch) @ _rotation(after)
    return _matrix(scale, 0, 0, scale) @ turns @ _shift(across, down)


def _colours(draws: _Draws) -> tuple[Tensor, Tensor]:
    """[B,3,3] and [B,3,1]: brightness, contrast, inverted luma, hue, saturation as one."""
    grey = torch.full((3, 1), 3**-0.5)
    along = grey @ grey.T  # onto the grey axis
    eye = torch.eye(3)
    brightness = draws.pick(0.2 * draws.normal())
    contrast = 2 ** draws.pick(0.5 * draws.normal())
    inverted = draws.pick(torch.where(draws.uniform() < 0.5, 0.0, 2.0))
    angle = draws.pick((draws.uniform() * 2 - 1) * math.pi)
    saturation = 2 ** draws.pick(draws.normal())
    contrast, inverted, angle, saturation = (
        x[:, None, None] for x in (contrast, inverted, angle, saturation)
    )
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) * 3**-0.5
    hue = along + angle.cos() * (eye - along) + angle.sin() * cross
    colour = (along + (eye - along) * saturation) @ hue @ (eye - inverted * along) * contrast
    return colour, colour @ brightness[:, None, None].expand(-1, 3, 1)


def _filtered(images: Tensor, draws: _Draws) -> Tensor:
    """Octaves are amplified or damped, at the power that pictures have in all."""
    from kornia.filters import filter2d_separable  # here: it takes a second to import

    octaves = next(n for n in (4, 3, 2) if n == 2 or images.shape[-1] > _octaves(n).shape[1] // 2)
    power = torch.tensor(_POWER[:octaves]) / sum(_POWER[:octaves])
    gains = torch.ones(len(images), octaves)
    for octave in range(octaves):
        one = torch.ones_like(gains)
        one[:, octave] = 2 ** draws.pick(draws.normal())
        gains = gains * one / (one.square() @ power).sqrt()[:, None]
    taps = (gains @ _octaves(octaves)).to(images)  # [B, K]
    return filter2d_separable(images, taps, taps)


@lru_cache
def _octaves(count: int) -> Tensor:
    """The filters that divide a picture into octaves, from the lowest on, [count, K]: together they
    leave it as it is (appendix B, of the wavelet sym2)."""
    low = torch.tensor(_SYM2, dtype=torch.float64)
    high = low * torch.tensor([1.0, -1, 1, -1])
    low, high = (_convolved(h, h.flip(0)) / 2 for h in (low, high))
    filters = [torch.ones(1, dtype=torch.float64)]
    for _ in range(count - 1):  # each octave so far is divided among twice the samples
        spread = [torch.stack([f, torch.zeros_like(f)], 1).flatten()[:-1] for f in filters]
        filters = [_convolved(f, low) for f in spread]
        beside = (len(filters[0]) - len(high)) // 2
        filters.append(F.pad(high, (beside, beside)))
    return torch.stack(filters).float()


def _convolved(a: Tensor, b: Tensor) -> Tensor:
    return F.conv1d(a[None, None], b.flip(0)[None, None], padding=len(b) - 1)[0, 0]


def _noise(shape: torch.Size, draws: _Draws, seed: int, rows: Tensor) -> Tensor:
    """[B,3,R,R], of a deviation that is random, too."""
    deviations = draws.pick(0.1 * draws.normal().abs())
    noise = torch.zeros(len(rows), *shape)
    for place, (row, deviation) in enumerate(zip(rows.tolist(), deviations.tolist(), strict=True)):
        if deviation:
            rng = torch.Generator().manual_seed(seed + row)
            noise[place] = deviation * torch.randn(shape, generator=rng)
    return noise


def _uncut(size: int, draws: _Draws) -> Tensor:
    """[B,1,R,R], 0 in a square of half the side somewhere, else 1."""
    middles = torch.stack([draws.uniform(), draws.uniform()])[..., None]  # [2, B, 1]
    half = draws.pick(torch.full_like(middles[0, :, 0], 0.25))[:, None]
    across, down = ((torch.arange(size) + 0.5) / size - middles).abs() < half  # [B, R] each
    return 1 - (down[:, :, None] & across[:, None, :]).float()[:, None]


def _matrix(a: Tensor, b: Tensor | float, c: Tensor | float, d: Tensor | float) -> Tensor:
    out = torch.eye(3).repeat(len(a), 1, 1)
    for row, column, value in ((0, 0, a), (0, 1, b), (1, 0, c), (1, 1, d)):
        out[:, row, column] = torch.as_tensor(value)
    return out


def _rotation(angle: Tensor) -> Tensor:
    return _matrix(angle.cos(), -angle.sin(), angle.sin(), angle.cos())


def _shift(x: Tensor, y: Tensor) -> Tensor:
    out = torch.eye(3).repeat(len(x), 1, 1)
    out[:, 0, 2], out[:, 1, 2] = x, y
    return out
