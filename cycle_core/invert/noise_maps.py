"""Noise maps that are optimised beside a code (StyleGAN2, Karras et al. 2020, appendix D)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from ..errors import InputError
from ..models.generator import Generator

_SMALLEST = 8  # pixels of a side down to which a map is compared with itself


class NoiseMaps:
    """Maps of a generator's layers for each of some pictures, float [B,1,h,w], random at first.

    They take up what differs from pixel to pixel, so that the code need not."""

    def __init__(self, G: Generator, rngs: list[torch.Generator]):
        """rngs: of the CPU, one for each picture. Raises InputError where there are no maps."""
        self._synthesis = G.synthesis
        self._maps = {
            name: torch.stack([torch.randn(1, *buffer.shape, generator=rng) for rng in rngs])
            .to(buffer)
            .requires_grad_()
            for name, buffer in G.synthesis.named_buffers()
            if name.endswith("noise_const")
        }
        if not self._maps:
            raise InputError(
                "This generator has no noise maps, as those of StyleGAN3: project without them."
            )

    @property
    def tensors(self) -> list[Tensor]:
        return list(self._maps.values())

    def render(self, w: Tensor) -> Tensor:
        """w [B,N,w_dim] with the maps, normalized: float [B,3,R,R], not clamped."""
        self.normalize()
        return functional_call(self._synthesis, self._maps, (w, "const"))

    def penalty(self) -> Tensor:
        """float [B]: how alike neighbouring pixels are, at every size of every map."""
        total = torch.zeros(())
        for one in self.tensors:
            while True:
                alike = [(one * one.roll(1, axis)).mean((1, 2, 3)).square() for axis in (2, 3)]
                total = total.to(one) + sum(alike)
                if min(one.shape[2:]) <= _SMALLEST:
                    break
                one = F.avg_pool2d(one, 2) * 2  # of independent pixels the deviation stays 1
        return total

    @torch.no_grad()
    def normalize(self) -> None:
        """Give every map the mean 0 and the deviation 1, which an update changes."""
        for one in self.tensors:
            one -= one.mean((1, 2, 3), keepdim=True)
            one *= one.square().mean((1, 2, 3), keepdim=True).rsqrt()
