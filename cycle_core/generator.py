"""StyleGAN2's generator in pure torch: a mapping network z -> w and a synthesis network w -> image.

Written from the papers "Analyzing and Improving the Image Quality of StyleGAN" (Karras et al. 2020,
the skip architecture of its Figure 7) and "Training Generative Adversarial Networks with Limited
Data" (the class-conditional mapping). Every known checkpoint layout is translated to the one key
layout of this module by `checkpoints`.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .codes import Code
from .errors import InputError, MismatchError

NOISE_MODES = ("const", "random", "none")
SLOPE = 0.2  # of every leaky ReLU
ACTIVATION_GAIN = math.sqrt(2)  # keeps the variance through a leaky ReLU
BLUR_TAPS = (1.0, 3.0, 3.0, 1.0)  # the binomial filter of every up-sampling in StyleGAN2


@dataclass(frozen=True)
class GeneratorConfig:
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

    def __post_init__(self) -> None:
        log2 = math.log2(self.resolution) if self.resolution > 0 else 0.5
        if self.resolution < 4 or log2 != int(log2):
            raise InputError(
                f"A StyleGAN2 resolution is a power of two from 4 on, not {self.resolution}."
            )
        if self.channels is not None:
            object.__setattr__(self, "channels", tuple(self.channels))  # JSON gives lists
            if len(self.channels) != len(self.resolutions):
                raise InputError(
                    f"{len(self.channels)} channel numbers were given for the "
                    f"{len(self.resolutions)} resolutions {self.resolutions}: give one for each."
                )

    @property
    def resolutions(self) -> tuple[int, ...]:
        """4, 8, ..., resolution."""
        return tuple(2**i for i in range(2, int(math.log2(self.resolution)) + 1))

    @property
    def num_ws(self) -> int:
        """Number of style inputs, N = 2 log2(resolution) - 2."""
        return 2 * len(self.resolutions)

    def width(self, resolution: int) -> int:
        """Number of channels of the block that works at `resolution`."""
        if self.channels is not None:
            return self.channels[self.resolutions.index(resolution)]
        return min(self.channel_base // resolution, self.channel_max)


class Generator(nn.Module):
    """mapping + synthesis. See `Mapping.forward` and `Synthesis.forward` for the shapes."""

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.config = config
        self.mapping = Mapping(config)
        self.synthesis = Synthesis(config)
        self.name = "generator"
        self._base_fingerprint: str | None = None
        self._fingerprint: tuple[object, str] | None = None

    @property
    def num_ws(self) -> int:
        return self.config.num_ws

    @property
    def w_dim(self) -> int:
        return self.config.w_dim

    @property
    def resolution(self) -> int:
        return self.config.resolution

    @property
    def w_avg(self) -> Tensor:
        """The mean of w over random z, float32 [w_dim]."""
        return self.mapping.w_avg

    @property
    def device(self) -> torch.device:
        return self.synthesis.const.device

    def forward(self, z: Tensor, c: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """Images of the codes of z: `synthesis(mapping(z))`."""
        return self.synthesis(self.mapping(z, c, truncation))

    @property
    def fingerprint(self) -> str:
        """16 hex digits that depend on the configuration and on every weight."""
        tensors = dict(self.state_dict())
        try:  # inference tensors have no version counter: then nothing is remembered
            key = tuple((t.data_ptr(), t._version) for t in tensors.values())
        except RuntimeError:
            key = None
        if key is not None and self._fingerprint is not None and self._fingerprint[0] == key:
            return self._fingerprint[1]
        digest = hashlib.sha256(repr(self.config).encode())
        for name in sorted(tensors):
            digest.update(name.encode())
            digest.update(tensors[name].detach().float().cpu().contiguous().numpy())
        self._fingerprint = (key, digest.hexdigest()[:16])
        return self._fingerprint[1]

    @property
    def base_fingerprint(self) -> str:
        """Fingerprint of the generator whose latent space this is: the original's if tuned."""
        return self._base_fingerprint or self.fingerprint

    def tuned_from(self, base: Generator) -> Generator:
        """Record that this generator was tuned from `base`, so that its codes fit; gives self."""
        self._base_fingerprint = base.base_fingerprint
        return self

    def check_code(self, code: Code) -> None:
        """Raise MismatchError unless `code` lies in this generator's latent space."""
        if code.w.shape[1:] != (self.num_ws, self.w_dim):
            raise MismatchError(
                f"The code has {code.w.shape[1]} styles of {code.w.shape[2]} dimensions, but this "
                f"generator takes {self.num_ws} of {self.w_dim}: use the generator that the code "
                "was made for."
            )
        channels = sum(self.synthesis.style_channels)
        if code.offsets is not None and code.offsets.shape[1] != channels:
            raise MismatchError(
                f"The code moves {code.offsets.shape[1]} style channels, but this generator has "
                f"{channels}: use the generator that the code was made for."
            )
        if code.generator and code.generator not in (self.base_fingerprint, self.fingerprint):
            raise MismatchError(
                f"The code was made for the generator {code.generator}, but this is "
                f"{self.base_fingerprint}: load the generator that the code was made for, or "
                "encode the picture again with this one."
            )


class Mapping(nn.Module):
    """z -> w: normalised z (and class embedding) through fully connected layers."""

    w_avg: Tensor

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.config = config
        lr = config.mapping_lr_multiplier
        self.embed = Linear(config.c_dim, config.w_dim) if config.c_dim else None
        width = config.z_dim + (config.w_dim if config.c_dim else 0)
        sizes = [width] + [config.w_dim] * config.mapping_layers
        self.layers = nn.ModuleList(
            Linear(i, o, lr_multiplier=lr) for i, o in itertools.pairwise(sizes)
        )
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(self, z: Tensor, c: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """z: float [B, z_dim], standard normal; c: float [B, c_dim], one-hot, if conditional.
        truncation: 1 keeps w, 0 gives the mean (W space, psi of the StyleGAN paper).
        Gives w: [B, num_ws, w_dim], the same vector num_ws times.
        Raises InputError where a shape or the class is wrong."""
        self._check(z, c)
        x = _normalize(z) if self.config.normalize_z else z
        if self.embed is not None and c is not None:
            x = torch.cat([x, _normalize(self.embed(c.to(x.dtype)))], dim=1)
        for layer in self.layers:
            x = _leaky_relu(layer(x))
        if truncation != 1.0:
            x = torch.lerp(self.w_avg.to(x.dtype), x, truncation)
        return x[:, None].repeat(1, self.config.num_ws, 1)  # [B, N, w_dim]

    def _check(self, z: Tensor, c: Tensor | None) -> None:
        config = self.config
        if z.ndim != 2 or z.shape[1] != config.z_dim:
            raise InputError(
                f"z has the shape {tuple(z.shape)}, but this generator takes "
                f"[batch, {config.z_dim}]."
            )
        if bool(config.c_dim) != (c is not None):
            raise InputError(
                f"This generator has {config.c_dim} classes: "
                + ("give a one-hot class vector c." if config.c_dim else "leave the class c out.")
            )
        if c is not None and c.shape != (z.shape[0], config.c_dim):
            raise InputError(
                f"The class vector has the shape {tuple(c.shape)}, but "
                f"[{z.shape[0]}, {config.c_dim}] is needed."
            )


class StyleLayer(NamedTuple):
    """A layer of StyleSpace (Wu et al. 2021): the affine map from a style to the factors of a
    convolution's input channels, the index of that style in w, and whether the RGB is drawn."""

    affine: Linear
    style: int
    rgb: bool


class Synthesis(nn.Module):
    """w -> image: one block per resolution, each adding its RGB to the up-sampled sum."""

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.config = config
        self.const = nn.Parameter(torch.randn(config.width(4), 4, 4))
        widths = [config.width(r) for r in config.resolutions]
        self.blocks = nn.ModuleList(
            SynthesisBlock(i, o, r, config)
            for i, o, r in zip([0, *widths[:-1]], widths, config.resolutions, strict=True)
        )

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

    @property
    def style_channels(self) -> tuple[int, ...]:
        """The number of channels of each layer of StyleSpace."""
        return tuple(layer.affine.bias.shape[0] for layer in self.style_layers)

    def forward(
        self,
        w: Tensor,
        noise: str = "const",
        dtype: torch.dtype | None = None,
        offsets: Tensor | None = None,
    ) -> Tensor:
        """w: float [B, num_ws, w_dim]. noise: "const" (the stored maps), "random" (drawn anew from
        torch's generator) or "none". dtype: of the convolutions, e.g. torch.bfloat16; the image
        is summed up in float32. offsets: float [B, sum(style_channels)], added to the styles.
        Gives [B, 3, R, R], about [-1, 1], not clamped.
        Raises InputError where the shape or the noise mode is wrong."""
        if w.ndim != 3 or w.shape[1:] != (self.config.num_ws, self.config.w_dim):
            raise InputError(
                f"The codes have the shape {tuple(w.shape)}, but this generator takes "
                f"[batch, {self.config.num_ws}, {self.config.w_dim}]."
            )
        if noise not in NOISE_MODES:
            raise InputError(f"The noise is one of {', '.join(NOISE_MODES)}, not {noise!r}.")
        styles = [layer.affine(w[:, layer.style]) for layer in self.style_layers]  # [B, I] each
        if offsets is not None:
            parts = offsets.split(self.style_channels, dim=1)
            styles = [style + part for style, part in zip(styles, parts, strict=True)]
        dtype = dtype or self.const.dtype
        x = self.const.to(dtype).expand(w.shape[0], -1, -1, -1)
        x = x.contiguous(memory_format=torch.channels_last)  # twice as fast on a CPU
        image, remaining = None, iter(styles)
        for block in self.blocks:
            x, image = block(x, image, remaining, noise)
        assert image is not None  # there is at least one block
        return image


class SynthesisBlock(nn.Module):
    """Two styled convolutions (one at 4x4) and the RGB output of one resolution."""

    def __init__(self, in_channels: int, channels: int, resolution: int, config: GeneratorConfig):
        super().__init__()
        clamp, w_dim = config.conv_clamp, config.w_dim
        self.conv0 = (
            StyledConv(in_channels, channels, w_dim, resolution, upsample=True, clamp=clamp)
            if in_channels
            else None
        )
        self.conv1 = StyledConv(channels, channels, w_dim, resolution, clamp=clamp)
        self.to_rgb = ToRGB(channels, w_dim, clamp=clamp)

    def forward(
        self, x: Tensor, image: Tensor | None, styles: Iterator[Tensor], noise: str
    ) -> tuple[Tensor, Tensor]:
        """Takes the next styles [B, I], one for each of its layers."""
        if self.conv0 is not None:
            x = self.conv0(x, next(styles), noise)
        x = self.conv1(x, next(styles), noise)
        rgb = self.to_rgb(x, next(styles)).float()
        return x, rgb if image is None else upsample(image) + rgb


class StyledConv(nn.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU (StyleGAN2, Figure 2c)."""

    noise_const: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        upsample: bool = False,
        clamp: float | None = None,
    ):
        super().__init__()
        self.upsample, self.clamp = upsample, clamp
        self.affine = Linear(w_dim, in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))  # [OIkk]
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))

    def forward(self, x: Tensor, styles: Tensor, noise: str) -> Tensor:
        # leaky ReLU keeps factors: its gain goes into the demodulation, the noise and the bias
        x = modulated_conv(x, self.weight, styles, upsample=self.upsample, gain=ACTIVATION_GAIN)
        if noise == "const":
            x = x + (self.noise_const * (self.noise_strength * ACTIVATION_GAIN)).to(x.dtype)
        elif noise == "random":
            drawn = torch.randn(x.shape[0], 1, *x.shape[2:], device=x.device)
            x = x + (drawn * (self.noise_strength * ACTIVATION_GAIN)).to(x.dtype)
        x = x + (self.bias * ACTIVATION_GAIN)[:, None, None].to(x.dtype)
        x = F.leaky_relu(x, SLOPE)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution without demodulation."""

    def __init__(self, in_channels: int, w_dim: int, clamp: float | None = None):
        super().__init__()
        self.clamp = clamp
        self.affine = Linear(w_dim, in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(3, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, styles: Tensor) -> Tensor:
        styles = styles / math.sqrt(self.weight.shape[1])
        x = modulated_conv(x, self.weight, styles, demodulate=False)
        x = x + self.bias[:, None, None].to(x.dtype)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class Linear(nn.Module):
    """Fully connected layer with an equalised learning rate (Progressive GAN, section 4.1)."""

    def __init__(
        self, in_features: int, out_features: int, bias: float = 0.0, lr_multiplier: float = 1.0
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), bias / lr_multiplier))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)


def modulated_conv(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    demodulate: bool = True,
    upsample: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """Weight (de)modulation (StyleGAN2, equations 1 and 3).

    x: [B,I,H,W]; weight: [O,I,k,k]; styles: [B,I]. Gives [B,O,H,W], twice the size if `upsample`.
    A demodulated result is multiplied by `gain`.
    A batch of one scales the weight; a larger one scales the activations before and after one
    shared convolution, which is the same and avoids a grouped convolution.
    """
    dtype = x.dtype
    demod = None
    if demodulate:
        energy = styles.square() @ weight.square().sum((2, 3)).t()  # [B,O]
        demod = (energy + 1e-8).rsqrt() * gain
    if x.shape[0] == 1:
        weight = weight * styles[0, :, None, None]
        if demod is not None:
            weight = weight * demod[0, :, None, None, None]
        demod = None
    else:
        x = x * styles[:, :, None, None].to(dtype)
    x = _upsampling_conv(x, weight) if upsample else _conv(x, weight)
    return x if demod is None else x * demod[:, :, None, None].to(dtype)


def upsample(image: Tensor) -> Tensor:
    """Twice the size with the binomial filter: [B,C,H,W] -> [B,C,2H,2W]."""
    kernel = _blur_kernel(image)
    return F.conv_transpose2d(image, kernel, stride=2, padding=1, groups=image.shape[1])


def _conv(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight.to(x.dtype), padding=weight.shape[-1] // 2)


def _upsampling_conv(x: Tensor, weight: Tensor) -> Tensor:
    """Transposed convolution of stride two, then the binomial blur; [B,I,H,W] -> [B,O,2H,2W].

    One sub-pixel convolution with the product of both kernels gives the same, but took three times
    as long on a CPU: it has four times the multiplications."""
    x = F.conv_transpose2d(x, weight.to(x.dtype).transpose(0, 1), stride=2)  # [B,O,2H+1,2W+1]
    return F.conv2d(x, _blur_kernel(x), padding=1, groups=x.shape[1])


def _blur_kernel(x: Tensor) -> Tensor:
    """[C,1,4,4], sums to 4: the gain that makes up for the zeros between the pixels."""
    taps = torch.tensor(BLUR_TAPS, dtype=x.dtype, device=x.device) / 4
    return (taps[:, None] * taps).expand(x.shape[1], 1, 4, 4)


def _leaky_relu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE) * ACTIVATION_GAIN


def _normalize(x: Tensor) -> Tensor:
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
