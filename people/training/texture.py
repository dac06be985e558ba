"""What regression averages, learnt again: the upper layers learn from a discriminator of patches.

Hair, skin and cloth have details that no code holds: of two renders of the same factors the strands
differ, and a generator that is compared with both gives their mean. A discriminator that sees a few
pixels around each place (PatchGAN; Isola et al. 2017, section 3.2.2) asks only that they look like
some strands. It needs whole pictures as little as the layers that render such details, so both see
crops; all layers below, which decide what a code means, stay as they are, and with them every
encoder and direction that was made for the generator.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Synthesis

UPPER = 3  # blocks that learn texture: at 256 pixels those of 64, 128 and 256
NOISE = 0.05  # strength at which the noise of these blocks begins, where it has none


class PatchDiscriminator(nn.Module):
    """Logits of overlapping patches of 54 pixels. Plain layers: with an equalised learning rate
    it hardly learned here."""

    def __init__(self, width: int = 48):
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(3, width, 4, 2, 1),
                nn.Conv2d(width, 2 * width, 4, 2, 1),
                nn.Conv2d(2 * width, 4 * width, 4, 2, 1),
                nn.Conv2d(4 * width, 4 * width, 3, 1, 1),
            ]
        )
        self.out = nn.Conv2d(4 * width, 1, 3, padding=1)

    def forward(self, image: Tensor, c: None = None) -> Tensor:
        """[B,3,H,W] -> [B,1,H/8,W/8]; high means real."""
        x = image.contiguous(memory_format=torch.channels_last)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
        return self.out(x)


class Crops:
    """The same square of pictures and of what a generator renders there: half a side, and whole
    pictures where they are small. A margin of one pixel of the features that the upper blocks begin
    with is rendered and cut off, because there the convolutions see no neighbours."""

    def __init__(self, generator: Generator, count: int, rng: torch.Generator):
        """count: of pictures; rng decides where."""
        assert isinstance(generator.synthesis, StyleGAN2Synthesis)
        self.synthesis, sizes = generator.synthesis, generator.synthesis.sizes
        self.first = max(len(sizes) - UPPER, 1)
        base = sizes[self.first - 1]
        self.scale, self.margin = sizes[-1] // base, int(base >= 16)
        self.side = base // 2 if self.margin else base  # both in pixels of those features
        room = base - self.side - 2 * self.margin + 1
        self.corners = torch.randint(0, room, (count, 2), generator=rng) + self.margin

    def of(self, images: Tensor) -> Tensor:
        """[B,C,R,R] -> [B,C,S,S]."""
        return self._cut(images, self.scale, 0)

    def render(self, w: Tensor, noise: str, dtype: torch.dtype | None = None) -> Tensor:
        """[B,num_ws,w_dim] -> [B,3,S,S]. noise: "random" or "none". Gradients reach the layers of
        the upper blocks alone."""

        def cut(features: Tensor) -> Tensor:
            return self._cut(features, 1, self.margin)

        image = self.synthesis.upper(w, self.first, cut, noise, dtype)
        outside = self.margin * self.scale
        return image[..., outside : image.shape[-2] - outside, outside : image.shape[-1] - outside]

    def _cut(self, x: Tensor, scale: int, margin: int) -> Tensor:
        side = (self.side + 2 * margin) * scale
        squares = [
            one[:, top : top + side, left : left + side]
            for one, (top, left) in zip(x, (self.corners - margin) * scale, strict=True)
        ]
        return torch.stack(squares)


@torch.no_grad()
def begin_noise(generator: Generator) -> None:
    """Give the noise of the upper blocks a strength where it has none: from zero it would take the
    discriminator long to find a use for it."""
    blocks: Any = generator.synthesis.blocks
    for block in blocks[max(len(blocks) - UPPER, 1) :]:
        for layer in (block.conv0, block.conv1):
            if not layer.noise_strength:
                layer.noise_strength.fill_(NOISE)
