"""The synthesis network of StyleGAN2 in pure torch: w -> image.

Written from the paper "Analyzing and Improving the Image Quality of StyleGAN" (Karras et al. 2020,
the skip architecture of its Figure 7). Every known checkpoint layout is translated to the one key
layout of this module by `checkpoints`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from .layers import (
    ACTIVATION_GAIN,
    SLOPE,
    Linear,
    StyleLayer,
    check_numbers,
    modulated_conv,
    normal,
    upsample,
)
from .synthesis import BelowDetail, Synthesis


@dataclass(frozen=True)
class StyleGAN2Config:
    """Everything that decides the shapes and the arithmetic of a generator."""

    resolution: int = 1024  # a power of two from 4 on
    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 0  # number of classes, 0 for an unconditional generator
    mapping_layers: int = 8
    mapping_lr_multiplier: float = 0.01
    normalize_z: bool = True  # false where z is a code whose length means something
    channel_base: int = 32768  # channels(r) = min(channel_base / r, channel_max) ...
    channel_max: int = 512
    channels: tuple[int, ...] | None = None  # ... or named one by one, for 4, 8, 16, ...
    conv_clamp: float | None = None  # activations are clamped to +- this (ADA and later)
    img_channels: int = 3  # 1 is grey, 2 grey with alpha, 3 RGB, 4 RGBA
    const_size: tuple[int, int] = (4, 4)  # height and width of the constant input

    def __post_init__(self) -> None:
        check_numbers(self, "StyleGAN2", 4)
        if not all(1 <= side <= 1024 for side in self.const_size):
            raise InputError(f"The constant input cannot be {self.const_size} pixels.")
        count, channels = len(self.resolutions), self.channels
        if channels is not None and (len(channels) != count or min(channels) < 1):
            raise InputError(
                f"{len(channels)} channel numbers were given for the {count} resolutions from 4 to "
                f"{self.resolution}: give one for each, from 1 on."
            )

    @property
    def resolutions(self) -> tuple[int, ...]:
        """4, 8, ..., resolution."""
        return tuple(2**i for i in range(2, int(math.log2(self.resolution)) + 1))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the pictures; `resolution` is a side of square ones."""
        return (self.img_channels, *self.size(self.resolution))

    def size(self, resolution: int) -> tuple[int, int]:
        """Height and width of the features of the block that is called by its `resolution`."""
        height, width = self.const_size
        return height * resolution // 4, width * resolution // 4

    @property
    def num_ws(self) -> int:
        """Number of style inputs, N = 2 log2(resolution) - 2."""
        return 2 * len(self.resolutions)

    def width(self, resolution: int) -> int:
        """Number of channels of the block that works at `resolution`."""
        if self.channels is not None:
            return self.channels[self.resolutions.index(resolution)]
        return min(self.channel_base // resolution, self.channel_max)


class StyleGAN2Synthesis(Synthesis):
    """w -> image: one block per resolution, each adding its RGB to the up-sampled sum."""

    def __init__(self, config: StyleGAN2Config):
        super().__init__(config.num_ws, config.w_dim)
        self.const = nn.Parameter(normal(config.width(4), *config.const_size))
        widths = [config.width(r) for r in config.resolutions]
        self.blocks = nn.ModuleList(
            SynthesisBlock(i, o, r, config)
            for i, o, r in zip([0, *widths[:-1]], widths, config.resolutions, strict=True)
        )

    @property
    def feature_shapes(self) -> list[tuple[int, int, int]]:
        blocks: Any = self.blocks
        return [(len(block.conv1.bias), *block.conv1.noise_const.shape) for block in blocks]

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(max(shape[1:]) for shape in self.feature_shapes)

    @property
    def style_layers(self) -> list[StyleLayer]:
        """The layers of StyleSpace in the order of its paper: 26 at 1024."""
        layers: list[StyleLayer] = []
        block: Any
        for i, block in enumerate(self.blocks):
            if block.conv0 is not None:
                layers.append(StyleLayer(block.conv0.affine, 2 * i - 1, False))
            layers.append(StyleLayer(block.conv1.affine, 2 * i, False))
            layers.append(StyleLayer(block.to_rgb.affine, 2 * i + 1, True))
        return layers

    def forward(
        self,
        w: Tensor,
        noise: str = "const",
        dtype: torch.dtype | None = None,
        offsets: Tensor | None = None,
        size: int | None = None,
    ) -> Tensor:
        """w: float [B, num_ws, w_dim]. noise: "const" (the stored maps), "random" (sampled from
        torch's generator) or "none". dtype: of the convolutions, e.g. torch.bfloat16; the image
        is summed up in float32. offsets: float [B, sum(style_channels)], added to the styles.
        size: one of `sizes`, at which to stop: nearly the whole picture made smaller.
        Gives [B, *image_shape], about [-1, 1], not clamped.
        Raises InputError where the shape, the noise mode or the size is wrong."""
        last = len(self.blocks) - 1 if size is None else self.sizes.index(self.check_size(size))
        rows = w
        if last >= self.detail_at:
            rows, offsets = self.with_detail_code(w, offsets)
        styles, first = self._of_blocks(self.styles(rows, noise, offsets)), 0
        x, image = self._start(rows, dtype), None
        if len(rows) > len(w):
            x, image, styles = self._with_moved_detail(x, styles, noise)
            first = self.detail_at + 1
        _, image = self._through(range(first, last + 1), x, image, styles, noise)
        assert image is not None  # there is at least one block
        return image

    def _with_moved_detail(
        self, x: Tensor, styles: list[list[Tensor]], noise: str
    ) -> tuple[Tensor, Tensor, list[list[Tensor]]]:
        """Features and image after the block of the detail, and the styles, all without the first
        row, whose picture says where the detail moves."""
        x, image = self._at_detail(x, styles, noise)
        detail = self.moved_detail(x)
        styles = [[style[1:] for style in one] for one in styles]
        image = None if image is None else image[1:]
        block: Any = self.blocks[self.detail_at]
        x, image = block.add_rgb(x[1:], image, styles[self.detail_at], detail)
        return x, image, styles

    def _at_detail(self, x: Tensor, styles: list[list[Tensor]], noise: str) -> tuple[Tensor, Any]:
        """The features to which the detail is added, and the image of the blocks below."""
        at = self.detail_at
        x, image = self._through(range(at), x, None, styles, noise)
        block: Any = self.blocks[at]
        return block.features(x, styles[at], noise), image

    def below_detail(self, w: Tensor, dtype: torch.dtype | None = None) -> BelowDetail:
        styles = self._of_blocks(self.styles(w, "const", None))
        return BelowDetail(*self._at_detail(self._start(w, dtype), styles, "const"), styles)

    def above_detail(
        self, below: BelowDetail, detail: Tensor | None, noise: str = "const"
    ) -> Tensor:
        at, (x, image, styles) = self.detail_at, below
        block: Any = self.blocks[at]
        x, image = block.add_rgb(x, image, styles[at], detail)
        return self._through(range(at + 1, len(self.blocks)), x, image, styles, noise)[1]

    def upper(
        self,
        w: Tensor,
        first: int,
        cut: Callable[[Tensor], Tensor],
        noise: str,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """What the blocks from `first` on, 1 or more, make of a part of the features and of the
        image before them, which `cut` chooses. noise: "random" or "none". Gradients reach these
        blocks alone. Raises InputError as `forward`."""
        styles = self._of_blocks(self.styles(w, noise, None))
        with torch.no_grad():
            x, image = self._through(range(first), self._start(w, dtype), None, styles, noise)
        above = range(first, len(self.blocks))
        return self._through(above, cut(x), cut(image), styles, noise)[1]

    def _of_blocks(self, styles: list[Tensor]) -> list[list[Tensor]]:
        """The styles of each block: two at 4x4, which has one convolution, and three elsewhere."""
        return [styles[max(3 * i - 1, 0) : 3 * i + 2] for i in range(len(self.blocks))]

    def _start(self, w: Tensor, dtype: torch.dtype | None) -> Tensor:
        x = self.const.to(dtype or self.const.dtype).expand(w.shape[0], -1, -1, -1)
        return x.contiguous(memory_format=torch.channels_last)  # twice as fast on a CPU

    def _through(
        self, blocks: range, x: Tensor, image: Tensor | None, styles: list[list[Tensor]], noise: str
    ) -> tuple[Tensor, Any]:
        """The features and the image after some blocks, from those before them."""
        for i in blocks:
            inputs = x, image, styles[i], noise, self.detail_of(i)
            x, image = self.run(self.blocks[i], *inputs, random=noise == "random")
        return x, image


class SynthesisBlock(nn.Module):
    """Two styled convolutions (one at 4x4) and the RGB output of one resolution."""

    def __init__(self, in_channels: int, channels: int, resolution: int, config: StyleGAN2Config):
        super().__init__()
        clamp, w_dim, size = config.conv_clamp, config.w_dim, config.size(resolution)
        self.conv0 = (
            StyledConv(in_channels, channels, w_dim, size, upsample=True, clamp=clamp)
            if in_channels
            else None
        )
        self.conv1 = StyledConv(channels, channels, w_dim, size, clamp=clamp)
        self.to_rgb = ToRGB(channels, config.img_channels, w_dim, clamp=clamp)

    def forward(
        self,
        x: Tensor,
        image: Tensor | None,
        styles: list[Tensor],
        noise: str,
        detail: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """styles: [B, I] of each of its layers; detail: added to what the convolutions give."""
        return self.add_rgb(self.features(x, styles, noise), image, styles, detail)

    def features(self, x: Tensor, styles: list[Tensor], noise: str) -> Tensor:
        """What the convolutions give."""
        if self.conv0 is not None:
            x = self.conv0(x, styles[0], noise)
        return self.conv1(x, styles[-2], noise)

    def add_rgb(
        self, x: Tensor, image: Tensor | None, styles: list[Tensor], detail: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The features with the detail, and the image with their RGB."""
        if detail is not None:
            x = x + detail.to(x.dtype)
        rgb = self.to_rgb(x, styles[-1])
        rgb = rgb.to(torch.promote_types(rgb.dtype, torch.float32))  # halves would lose bits
        return x, rgb if image is None else upsample(image).add_(rgb)


class StyledConv(nn.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU (StyleGAN2, Figure 2c)."""

    noise_const: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        size: tuple[int, int],
        upsample: bool = False,
        clamp: float | None = None,
    ):
        super().__init__()
        self.upsample, self.clamp = upsample, clamp
        self.affine = Linear(w_dim, in_channels, bias=1.0)
        self.weight = nn.Parameter(normal(out_channels, in_channels, 3, 3))  # [OIkk]
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", normal(*size))

    def forward(self, x: Tensor, styles: Tensor, noise: str) -> Tensor:
        # leaky ReLU keeps factors: its gain goes into the demodulation, the noise and the bias; in
        # place because memory that is new each time costs more than the arithmetic
        x = modulated_conv(x, self.weight, styles, upsample=self.upsample, gain=ACTIVATION_GAIN)
        if noise == "const":
            x = x.add_((self.noise_const * (self.noise_strength * ACTIVATION_GAIN)).to(x.dtype))
        elif noise == "random":
            sampled = torch.randn(x.shape[0], 1, *x.shape[2:], device=x.device)
            x = x.add_((sampled * (self.noise_strength * ACTIVATION_GAIN)).to(x.dtype))
        x = x.add_((self.bias * ACTIVATION_GAIN)[:, None, None].to(x.dtype))
        x = F.leaky_relu(x, SLOPE, inplace=True)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution without demodulation."""

    def __init__(self, in_channels: int, colours: int, w_dim: int, clamp: float | None = None):
        super().__init__()
        self.clamp = clamp
        self.affine = Linear(w_dim, in_channels, bias=1.0)
        self.weight = nn.Parameter(normal(colours, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(colours))

    def forward(self, x: Tensor, styles: Tensor) -> Tensor:
        styles = styles / math.sqrt(self.weight.shape[1])
        x = modulated_conv(x, self.weight, styles, demodulate=False)
        x = x.add_(self.bias[:, None, None].to(x.dtype))
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)
