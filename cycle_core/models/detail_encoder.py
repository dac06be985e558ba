"""The network that predicts the detail of a picture in one pass, where tuning takes steps.

After StyleFeatureEditor (Bobkov et al. 2024), whose feature encoder predicts what the features of
one layer lack: it sees the picture, what the generator renders of the pivot, and those features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class DetailEncoderConfig:
    block: int  # of the synthesis network, whose features get the detail
    channels: int  # of these features
    scale: int  # pixels of the picture along a side of one feature
    width: int = 64
    fine: int = 4  # residual blocks at the size of the features
    coarse: int = 3  # and at half of it


class DetailEncoder(nn.Module):
    """Fresh it predicts no detail. generator_id: fingerprint of the generator that it was trained
    for."""

    deviations: Tensor

    def __init__(self, config: DetailEncoderConfig):
        super().__init__()
        self.config, self.generator_id = config, ""
        width, channels = config.width, config.channels
        self.input = nn.Conv2d(6 * config.scale**2 + channels, width, 3, padding=1)
        first, last = config.fine // 2, config.fine - config.fine // 2
        self.first = nn.Sequential(*(Residual(width) for _ in range(first)))
        self.down = nn.Conv2d(width, width, 4, stride=2, padding=1)
        self.coarse = nn.Sequential(*(Residual(width) for _ in range(config.coarse)))
        self.up = nn.Conv2d(width, width, 1)
        self.last = nn.Sequential(*(Residual(width) for _ in range(last)))
        self.output = _silent(nn.Conv2d(width, channels, 3, padding=1))
        self.register_buffer("deviations", torch.ones(channels))  # of the features, by channel

    def forward(self, image: Tensor, rendered: Tensor, features: Tensor) -> Tensor:
        """image, rendered: float [B,3,S,S], what is to be rendered and what is without a detail;
        features: [B,C,S/scale,S/scale], of the pivot. Gives the detail, of the same shape."""
        scale = self.deviations[:, None, None]
        rendered = rendered.clamp(-1, 1)  # of a code far from all that it was trained on, it is not
        pixels = F.pixel_unshuffle(torch.cat([image - rendered, rendered], 1), self.config.scale)
        x = self.first(self.input(torch.cat([pixels, features / scale], 1)))
        x = x + self.up(F.interpolate(self.coarse(self.down(x)), scale_factor=2))
        return self.output(F.leaky_relu(self.last(x), 0.2)) * scale


class Residual(nn.Module):
    """Two convolutions, which begin as the identity."""

    def __init__(self, width: int):
        super().__init__()
        self.conv0 = nn.Conv2d(width, width, 3, padding=1)
        self.conv1 = _silent(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv1(F.leaky_relu(self.conv0(F.leaky_relu(x, 0.2)), 0.2))


def _silent(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
