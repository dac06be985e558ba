"""The discriminator of the generators' trainings, and how it learns.

Non-saturating loss and lazy R1 on the real pictures (StyleGAN2, section 4.1). With labels the logit
is the projection of the features on an embedding of the condition (StyleGAN2-ADA).
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..models.layers import Linear, leaky_relu, normalize
from ..models.stylegan2 import StyleGAN2Config
from ..runtime import distributed
from ..runtime.devices import autocast

GROUP = 8  # pictures whose deviations are pooled


def train_discriminator(
    discriminator: nn.Module,
    optimizer: torch.optim.Optimizer,
    fake: Tensor,
    real: Tensor,
    r1_weight: float = 0.0,
    bf16: bool = False,
    conditions: tuple[Tensor | None, Tensor | None] = (None, None),
) -> dict[str, Tensor]:
    """One update on fake and real pictures, [B,3,R,R] each; gives the losses, scalars.

    r1_weight: of the mean squared gradient at the real pictures, in float32 (Mescheder et al. 2018,
        equation 9); 0 leaves it out.
    conditions: of the fake and the real ones, [B, c_dim] each, where there are classes."""
    fake_c, real_c = conditions
    discriminator.requires_grad_(True)
    with autocast(real.device, bf16):
        wrong, right = discriminator(fake, fake_c), discriminator(real, real_c)
    loss = F.softplus(wrong.float()).mean() + F.softplus(-right.float()).mean()
    losses = {"discriminator": loss, "real": right.float().sign().mean()}
    if r1_weight:
        real = real.requires_grad_()
        logits = discriminator(real, real_c)
        patches = math.sqrt(logits[0].numel())  # each of them is penalised, not their sum
        (gradient,) = torch.autograd.grad(logits.sum() / patches, real, create_graph=True)
        losses["r1"] = gradient.square().sum((1, 2, 3)).mean()
        loss = loss + losses["r1"] * r1_weight
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    distributed.average_gradients(discriminator.parameters())
    optimizer.step()
    return losses


def check_batch(batch: int) -> None:
    """Raise InputError unless a global batch divides into whole groups in every process."""
    distributed.check_divides(batch)
    own = batch // distributed.world_size()
    if own > GROUP and own % GROUP:
        raise InputError(
            f"A batch of {batch} is {own} pictures for each process, which the discriminator "
            f"cannot divide into groups of {GROUP}: give a multiple of {GROUP} for each."
        )


class Discriminator(nn.Module):
    """Residual discriminator with minibatch standard deviation (StyleGAN2, Figure 7)."""

    def __init__(self, config: StyleGAN2Config):
        super().__init__()
        sizes = config.resolutions[::-1]
        self.from_rgb = EqualConv(3, config.width(sizes[0]), 1)
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(config.width(a), config.width(b))
            for a, b in itertools.pairwise(sizes)
        )
        width = config.width(4)
        self.conv = EqualConv(width + 1, width, 3)
        self.cmap = ConditionMap(config.c_dim, width) if config.c_dim else None
        self.hidden, self.out = Linear(width * 16, width), Linear(width, width if self.cmap else 1)

    def forward(self, image: Tensor, c: Tensor | None = None) -> Tensor:
        """[B,3,R,R], and conditions [B, c_dim] where there are classes -> logits [B,1]; high means
        real. B is a multiple of GROUP or less."""
        x = leaky_relu(self.from_rgb(image.contiguous(memory_format=torch.channels_last)))
        for block in self.blocks:
            x = block(x)
        group = min(GROUP, x.shape[0])
        deviation = x.reshape(group, -1, *x.shape[1:]).var(0, unbiased=False).add(1e-8).sqrt()
        deviation = deviation.mean((1, 2, 3)).repeat(group)[:, None, None, None]
        x = torch.cat([x, deviation.expand(-1, 1, 4, 4)], dim=1)
        x = self.out(leaky_relu(self.hidden(leaky_relu(self.conv(x)).flatten(1))))
        if self.cmap is None:
            return x
        return (x * self.cmap(c)).sum(1, keepdim=True) / math.sqrt(x.shape[1])


class ConditionMap(nn.Module):
    """A condition as a direction of the features: the mapping network of StyleGAN2-ADA without z.
    Its layers learn at a hundredth of the rate."""

    def __init__(self, c_dim: int, width: int, layers: int = 8):
        super().__init__()
        self.embed = Linear(c_dim, width)
        self.layers = nn.ModuleList(Linear(width, width, lr_multiplier=0.01) for _ in range(layers))

    def forward(self, c: Tensor) -> Tensor:
        """[B, c_dim] -> [B, width]."""
        x = normalize(self.embed(c))
        for layer in self.layers:
            x = leaky_relu(layer(x))
        return x


class DiscriminatorBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv0 = EqualConv(in_channels, in_channels, 3)
        self.conv1 = EqualConv(in_channels, out_channels, 3)
        self.skip = EqualConv(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = leaky_relu(self.conv1(F.avg_pool2d(leaky_relu(self.conv0(x)), 2)))
        return (y + self.skip(F.avg_pool2d(x, 2))) * math.sqrt(0.5)


class EqualConv(nn.Module):
    """Convolution with an equalised learning rate."""

    def __init__(self, in_channels: int, out_channels: int, size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, size, size))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.gain = 1 / math.sqrt(in_channels * size * size)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.gain
        return F.conv2d(x, weight, self.bias, padding=self.weight.shape[-1] // 2)
