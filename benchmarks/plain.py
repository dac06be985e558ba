"""The plain way: what the speed of this project is measured against.

StyleGAN2's synthesis, encoder4editing's encoder and pivotal tuning, written from the papers (Karras
et al. 2020, equations 1 and 3; Tov et al. 2021, section 3; Roich et al. 2021, equations 1 to 4) as
directly as published code does it: float32, a weight of its own for every picture and a grouped
convolution, the blur as padding and convolving, nothing kept from step to step, LPIPS of both
pictures in each step, Adam on everything.

It works on the networks of `cycle_core`, so both ways have the same weights; the tests hold the
fast ways against this one.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cycle_core.measure.perceptual import Lpips
from cycle_core.models.encoder import Encoder
from cycle_core.models.generator import Generator
from cycle_core.models.layers import BLUR_TAPS


def synthesis(G: Generator, w: Tensor, noise: bool = True) -> Tensor:
    """w: float [B, num_ws, w_dim] -> [B, 3, R, R]. noise: the stored maps, or none."""
    net: Any = G.synthesis
    x = net.const.repeat(len(w), 1, 1, 1)
    image = None
    for number, block in enumerate(net.blocks):
        if block.conv0 is not None:
            x = styled_conv(block.conv0, x, w[:, 2 * number - 1], noise)
        x = styled_conv(block.conv1, x, w[:, 2 * number], noise)
        styles = linear(block.to_rgb.affine, w[:, 2 * number + 1])
        styles = styles / math.sqrt(styles.shape[1])
        rgb = modulated(x, block.to_rgb.weight, styles, demodulate=False)
        rgb = rgb + block.to_rgb.bias[:, None, None]
        image = rgb if image is None else blurred(spread(image), 2, 1) + rgb
    assert image is not None
    return image


def styled_conv(layer: Any, x: Tensor, w: Tensor, noise: bool) -> Tensor:
    """Modulated convolution, noise, bias, leaky ReLU and its gain."""
    x = modulated(x, layer.weight, linear(layer.affine, w), upsample=layer.upsample)
    if noise:
        x = x + layer.noise_const * layer.noise_strength
    return F.leaky_relu(x + layer.bias[:, None, None], 0.2) * math.sqrt(2)


def modulated(
    x: Tensor, weight: Tensor, styles: Tensor, demodulate: bool = True, upsample: bool = False
) -> Tensor:
    """Every picture has a weight of its own: one grouped convolution."""
    count, channels, height, width = x.shape
    weight = weight[None] * styles[:, None, :, None, None]  # [B,O,I,k,k]
    if demodulate:
        weight = weight * (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    outputs, size = weight.shape[1], weight.shape[-1]
    x = x.reshape(1, count * channels, height, width)
    if upsample:
        kernel = weight.transpose(1, 2).reshape(count * channels, outputs, size, size)
        x = F.conv_transpose2d(x, kernel, stride=2, groups=count)
        x = x.reshape(count, outputs, *x.shape[2:])
        return blurred(x, 1, 1)
    x = F.conv2d(x, weight.flatten(0, 1), padding=size // 2, groups=count)
    return x.reshape(count, outputs, *x.shape[2:])


def spread(image: Tensor) -> Tensor:
    """Zeros between the pixels: [B,C,H,W] -> [B,C,2H,2W]."""
    count, channels, height, width = image.shape
    image = image.reshape(count, channels, height, 1, width, 1)
    return F.pad(image, (0, 1, 0, 0, 0, 1)).reshape(count, channels, 2 * height, 2 * width)


def blurred(x: Tensor, before: int, after: int) -> Tensor:
    """The binomial filter, with the gain that makes up for the zeros."""
    taps = torch.tensor(BLUR_TAPS, device=x.device)
    kernel = taps[:, None] * taps / taps.sum() ** 2 * 4
    count, channels = x.shape[:2]
    x = F.pad(x, (before, after, before, after)).flatten(0, 1)[:, None]
    return F.conv2d(x, kernel[None, None]).unflatten(0, (count, channels))[:, :, 0]


def linear(layer: Any, w: Tensor) -> Tensor:
    return F.linear(w, layer.weight * layer.weight_gain, layer.bias * layer.bias_gain)


def tune(
    G: Generator, pivot: Tensor, image: Tensor, perceptual: Lpips, steps: int = 350,
    learning_rate: float = 3e-4, seed: int = 0, callback: Callable[[int], object] | None = None,
) -> Generator:  # fmt: skip
    """Pivotal tuning with the published settings, without the early end.

    pivot: [1, num_ws, w_dim]; image: float32 [1,3,R,R] in [-1,1]. callback(steps that are done).
    Gives a tuned copy of G."""
    tuned = copy.deepcopy(G).requires_grad_(False)
    tuned.synthesis.requires_grad_(True)
    optimizer = torch.optim.Adam(tuned.synthesis.parameters(), learning_rate)
    random = torch.Generator().manual_seed(seed)
    for step in range(steps):
        optimizer.zero_grad()
        loss(G, tuned, pivot, image, perceptual, random).backward()
        optimizer.step()
        if callback is not None:
            callback(step + 1)
    return tuned.requires_grad_(False)


def loss(
    G: Generator, tuned: Generator, pivot: Tensor, image: Tensor, perceptual: Lpips,
    random: torch.Generator,
) -> Tensor:  # fmt: skip
    """L2 + LPIPS + locality (PTI, equations 1 to 4); `random` draws the locality's sample."""
    rendered = synthesis(tuned, pivot)
    total = (rendered - image).square().mean() + perceptual(rendered, image).mean()
    z = torch.randn(1, G.config.z_dim, generator=random).to(pivot.device)
    way = G.mapping(z, None, truncation=0.5) - pivot
    near = pivot + way / way.norm() * way.norm().clamp(max=30.0)
    held, original = synthesis(tuned, near, noise=False), synthesis(G, near, noise=False)
    total = total + 0.1 * (held - original).square().mean()
    return total + 0.1 * perceptual(held, original).mean()


def encode(E: Encoder, image: Tensor, stage: int | None = None) -> Tensor:
    """image: float32 [B, 3, S, S] of the encoder's input size -> the code [B, num_ws, w_dim] of
    the heads up to a stage, all if None: layer by layer, each normalisation and each head by
    itself."""
    net: Any = E
    features, x = [], net.input_layer(image)
    for unit in net.body:
        x = unit(x)
        features.append(x)
    middle, fine = (features[sum(E.config.units[: i + 1]) - 1] for i in (2, 1))
    active = len(net.styles) if stage is None else stage + 1
    if active > E.config.coarse:
        middle = enlarged(x, middle) + net.latlayer1(middle)
    if active > E.config.middle:
        fine = enlarged(middle, fine) + net.latlayer2(fine)
    rows = []
    for i, head in enumerate(net.styles[:active]):
        level = x if i < E.config.coarse else middle if i < E.config.middle else fine
        rows.append(head(level) if i == 0 else rows[0] + head(level))
    rows += rows[:1] * (len(net.styles) - active)
    return net.w_avg + torch.stack(rows, dim=1)


def enlarged(small: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(small, like.shape[-2:], mode="bilinear", align_corners=True)
