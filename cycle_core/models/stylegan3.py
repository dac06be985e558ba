"""The synthesis network of StyleGAN3 in pure torch: w -> image, for T and R configurations.

Written from the paper "Alias-Free Generative Adversarial Networks" (Karras et al. 2021): Fourier
features that a style moves and turns, then convolutions between which the signal is treated as if
it were continuous. T (translation) has 3x3 convolutions and separable filters; R (rotation) has 1x1
convolutions and radially symmetric filters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import InputError
from .antialias import filtered_leaky_relu, low_pass
from .layers import (
    ACTIVATION_GAIN,
    SLOPE,
    Linear,
    StyleLayer,
    check_numbers,
    modulated_conv,
    normal,
    normalize,
)
from .synthesis import BelowDetail, Synthesis


class Signal(NamedTuple):
    """What flows between two layers (section 3.2). The rates are in periods per image side."""

    size: int  # pixels, the margin included
    rate: int  # pixels of the image side alone
    cutoff: float  # frequencies up to here pass
    half_width: float  # of the transition band above it
    channels: int


@dataclass(frozen=True)
class StyleGAN3Config:
    """Everything that decides the shapes and the arithmetic of a StyleGAN3 generator: the defaults
    are those of T; R has conv_kernel=1, radial_filters=True and twice the channels."""

    architecture: str = "stylegan3"  # tells the configurations in our files apart
    resolution: int = 1024  # a power of two from 16 on
    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 0  # number of classes, 0 for an unconditional generator
    mapping_layers: int = 2
    mapping_lr_multiplier: float = 0.01
    channel_base: int = 32768  # channels = min(channel_base / 2 cutoff, channel_max) ...
    channel_max: int = 512
    channels: tuple[int, ...] | None = None  # ... or named one by one, for each layer
    num_layers: int = 14  # without the last one, which gives the RGB
    num_critical: int = 2  # layers at the end that are sampled critically
    first_cutoff: float = 2.0
    first_stopband: float = 2**2.1
    last_stopband_rel: float = 2**0.3  # in parts of the last cutoff
    margin_size: int = 10  # pixels beyond the image on every side
    conv_kernel: int = 3
    filter_size: int = 6  # taps of a filter for each of its phases
    radial_filters: bool = False
    conv_clamp: float | None = 256.0  # activations are clamped to +- this
    output_scale: float = 0.25
    img_channels: int = 3  # 1 is grey, 2 grey with alpha, 3 RGB, 4 RGBA

    normalize_z: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_numbers(self, "StyleGAN3", 16)
        if not 1 <= self.num_critical < self.num_layers:
            raise InputError(
                "StyleGAN3 has at least one critically sampled layer and one that is not, but "
                f"{self.num_critical} of {self.num_layers} layers were to be critical."
            )
        if self.channels is not None and len(self.channels) != self.num_layers:
            raise InputError(
                f"{len(self.channels)} channel numbers were given for {self.num_layers} "
                "layers: give one for each."
            )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the pictures."""
        return self.img_channels, self.resolution, self.resolution

    @property
    def num_ws(self) -> int:
        """Number of style inputs: the Fourier features, the layers, the RGB."""
        return self.num_layers + 2

    @property
    def signals(self) -> tuple[Signal, ...]:
        """What each layer gives; the first is also what the Fourier features give.

        Cutoff and stopband grow geometrically up to the first critical layer (equation 1)."""
        last_cutoff = self.resolution / 2
        last_stopband = last_cutoff * self.last_stopband_rel
        signals = []
        for i in range(self.num_layers + 1):
            share = min(i / (self.num_layers - self.num_critical), 1.0)
            cutoff = self.first_cutoff * (last_cutoff / self.first_cutoff) ** share
            stopband = self.first_stopband * (last_stopband / self.first_stopband) ** share
            rate = 2 ** math.ceil(math.log2(min(2 * stopband, self.resolution)))
            half_width = max(stopband, rate / 2) - cutoff
            size = rate + 2 * self.margin_size
            if i >= self.num_layers - 1:
                size = self.resolution
            if i == self.num_layers:
                channels = self.img_channels
            elif self.channels is not None:
                channels = self.channels[i]
            else:
                channels = round(min(self.channel_base / 2 / cutoff, self.channel_max))
            signals.append(Signal(size, rate, cutoff, half_width, channels))
        return tuple(signals)


class StyleGAN3Synthesis(Synthesis):
    """w -> image: Fourier features, filtered convolutions, one convolution that gives the RGB."""

    def __init__(self, config: StyleGAN3Config):
        super().__init__(config.num_ws, config.w_dim)
        self.output_scale = config.output_scale
        signals = config.signals
        # of all layers but that of the RGB
        self._shapes = [(signal.channels, signal.size, signal.size) for signal in signals[:-1]]
        self.input = FourierFeatures(signals[0], config.w_dim)
        self.layers = nn.ModuleList(
            FilteredConv(
                signals[max(i - 1, 0)],
                signals[i],
                config,
                critical=i >= config.num_layers - config.num_critical,
                rgb=i == config.num_layers,
            )
            for i in range(len(signals))
        )

    @property
    def feature_shapes(self) -> list[tuple[int, int, int]]:
        return self._shapes

    @property
    def style_layers(self) -> list[StyleLayer]:
        """One layer for each style: the first moves and turns the Fourier features."""
        layers = [StyleLayer(self.input.affine, 0, False)]
        layer: Any
        for i, layer in enumerate(self.layers):
            layers.append(StyleLayer(layer.affine, i + 1, layer.rgb))
        return layers

    def forward(
        self,
        w: Tensor,
        noise: str = "const",
        dtype: torch.dtype | None = None,
        offsets: Tensor | None = None,
        size: int | None = None,
    ) -> Tensor:
        """w: float [B, num_ws, w_dim]. noise: StyleGAN3 has none, every mode gives the same. dtype:
        of the convolutions, e.g. torch.bfloat16. offsets: float [B, sum(style_channels)], added to
        the styles. Gives float32 [B, *image_shape], about [-1, 1], not clamped.
        Raises InputError where the shape or the noise mode is wrong, and for any `size`: no block
        of StyleGAN3 but the last one gives a picture."""
        if size is not None:
            self.check_size(size)
        rows, offsets = self.with_detail_code(w, offsets)
        first, *styles = self.styles(rows, noise, offsets)
        x, begin = self.input(first), 0
        x = x.to(dtype or x.dtype)
        if len(rows) > len(w):  # the first row says where the detail moves
            x = self._at_detail(x, styles)
            x = x[1:] + self.moved_detail(x).to(x.dtype)
            styles, begin = [style[1:] for style in styles], self.detail_at + 1
        x = self._through(range(begin, len(styles)), x, styles)
        return x.float() * self.output_scale

    def below_detail(self, w: Tensor, dtype: torch.dtype | None = None) -> BelowDetail:
        first, *styles = self.styles(w, "none", None)
        x = self.input(first)
        return BelowDetail(self._at_detail(x.to(dtype or x.dtype), styles), None, styles)

    def above_detail(
        self, below: BelowDetail, detail: Tensor | None, noise: str = "const"
    ) -> Tensor:
        at, x = self.detail_at, below.features
        x = x if detail is None else x + detail.to(x.dtype)
        x = self._through(range(at + 1, len(self.layers)), x, below.styles)
        return x.float() * self.output_scale

    def _through(self, layers: range, x: Tensor, styles: list[Tensor]) -> Tensor:
        """The features after some layers, from those before them."""
        for i in layers:
            x, detail = self.run(self.layers[i], x, styles[i]), self.detail_of(i)
            x = x if detail is None else x + detail.to(x.dtype)
        return x

    def _at_detail(self, x: Tensor, styles: list[Tensor]) -> Tensor:
        """The features to which the detail is added."""
        at = self.detail_at
        return self.layers[at](self._through(range(at), x, styles), styles[at])


class FourierFeatures(nn.Module):
    """Sinusoids of random frequencies, moved and turned as the style says, mixed by a matrix
    (section 3.2 and appendix F)."""

    freqs: Tensor
    phases: Tensor
    transform: Tensor

    def __init__(self, signal: Signal, w_dim: int):
        super().__init__()
        self.signal, channels = signal, signal.channels
        self.weight = nn.Parameter(normal(channels, channels))
        self.affine = Linear(w_dim, 4)
        with torch.no_grad():  # no movement to begin with
            self.affine.weight.zero_()
            self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
        with torch.device("cpu"):  # arithmetic is slow on the meta device
            freqs = torch.randn(channels, 2)  # made uniform over the disc within the cutoff
            radii = freqs.square().sum(1, keepdim=True)
            freqs = freqs / (radii.sqrt() * radii.exp() ** 0.25) * signal.cutoff
            phases, transform = torch.rand(channels) - 0.5, torch.eye(3)
        self.register_buffer("freqs", freqs)
        self.register_buffer("phases", phases)
        self.register_buffer("transform", transform)  # of the whole picture, by the user

    def forward(self, styles: Tensor) -> Tensor:
        """styles: [B, 4], cosine and sine of the rotation, then the translation, all times a
        factor. Gives [B, C, size, size], channels last in memory."""
        freqs, phases = self._moved(styles)  # [B,C,2], [B,C]
        size, rate, cutoff, *_ = self.signal
        # what was turned beyond the pass band fades, so that it cannot alias
        fade = (1 - (freqs.norm(dim=2) - cutoff) / (rate / 2 - cutoff)).clamp(0, 1)  # [B,C]
        places = torch.arange(size, dtype=freqs.dtype, device=freqs.device)
        places = (places + 0.5 - size / 2) / rate  # 0 in the middle of the image, whose side is 1
        across = places[None, None, :, None] * freqs[:, None, None, :, 0]  # [B,1,W,C]
        down = places[None, :, None, None] * freqs[:, None, None, :, 1]  # [B,H,1,C]
        waves = torch.sin(2 * math.pi * (across + down + phases[:, None, None]))  # [B,H,W,C]
        mixed = (waves * fade[:, None, None]) @ self.weight.t() / math.sqrt(len(self.weight))
        return mixed.permute(0, 3, 1, 2)

    def _moved(self, styles: Tensor) -> tuple[Tensor, Tensor]:
        """Frequencies and phases after the style's translation and rotation, then `transform`."""
        styles = styles / styles[:, :2].norm(dim=1, keepdim=True)
        cos, sin, right, below = styles[:, :, None].unbind(1)  # [B,1] each
        turn = torch.stack([torch.cat([cos, -sin], 1), torch.cat([sin, cos], 1)], 1)  # [B,2,2]
        shift = -turn @ torch.stack([right, below], 1)  # [B,2,1]
        moves = torch.cat([turn, shift], 2) @ self.transform  # [B,2,3]
        phases = self.phases + (self.freqs @ moves[:, :, 2:])[:, :, 0]
        return self.freqs @ moves[:, :, :2], phases


class FilteredConv(nn.Module):
    """Modulated convolution, bias and the filtered leaky ReLU (Figure 4b); the layer that gives the
    RGB has neither demodulation nor a nonlinearity."""

    magnitude_ema: Tensor
    up_filter: Tensor
    down_filter: Tensor

    def __init__(
        self, source: Signal, target: Signal, config: StyleGAN3Config, critical: bool, rgb: bool
    ):
        super().__init__()
        self.rgb, self.clamp, self.size = rgb, config.conv_clamp, target.size
        kernel = 1 if rgb else config.conv_kernel
        self.affine = Linear(config.w_dim, source.channels, bias=1.0)
        self.weight = nn.Parameter(normal(target.channels, source.channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(target.channels))
        self.register_buffer("magnitude_ema", torch.ones([]))  # mean square of what comes in
        if rgb:
            return
        inner = 2 * max(source.rate, target.rate)  # where the leaky ReLU is applied
        self.up, self.down = inner // source.rate, inner // target.rate
        with torch.device("cpu"):  # arithmetic is slow on the meta device
            up = low_pass(config.filter_size * self.up, source.cutoff, 2 * source.half_width, inner)
            down = low_pass(
                config.filter_size * self.down,
                target.cutoff,
                2 * target.half_width,
                inner,
                radial=config.radial_filters and not critical,
            )
        self.register_buffer("up_filter", up)
        self.register_buffer("down_filter", down)

    def forward(self, x: Tensor, styles: Tensor) -> Tensor:
        """x: [B,I,H,H], the styles [B,I]. Gives [B,O,size,size]."""
        gain, kernel = self.magnitude_ema.rsqrt(), self.weight.shape[-1]
        if self.rgb:
            styles = styles * (gain / math.sqrt(self.weight.shape[1]))
            x = modulated_conv(x, self.weight, styles, demodulate=False)
        else:
            # demodulation undoes any factor of the styles: this one keeps half precision in range
            styles = normalize(styles)
            x = modulated_conv(x, self.weight, styles, gain=gain, padding=kernel - 1)
        x = x.add_(self.bias[:, None, None].to(x.dtype))
        if self.rgb:
            return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)
        return filtered_leaky_relu(
            x,
            self.up_filter,
            self.down_filter,
            self.up,
            self.down,
            self.size,
            SLOPE,
            ACTIVATION_GAIN,
            self.clamp,
        )
