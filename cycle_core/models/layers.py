"""What the networks of StyleGAN2 and StyleGAN3 are made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight
from torch.utils.checkpoint import checkpoint

from ..errors import InputError
from .flow import flow, moved

NOISE_MODES = ("const", "random", "none")
SLOPE = 0.2  # of every leaky ReLU
ACTIVATION_GAIN = math.sqrt(2)  # keeps the variance through a leaky ReLU
MOST_LAYERS = 64  # of a mapping network; the papers have 8 and 2
BLUR_TAPS = (1.0, 3.0, 3.0, 1.0)  # the binomial filter of every up-sampling in StyleGAN2


class StyleLayer(NamedTuple):
    """A layer of StyleSpace (Wu et al. 2021): the affine map from a style to the factors of a
    convolution's input channels, the index of that style in w, and whether it gives the RGB."""

    affine: Linear
    style: int
    rgb: bool


class Synthesis(nn.Module):
    """w -> image: what the synthesis networks share; their own `forward` tells the rest.

    gradient_checkpointing: whether a block's activations are computed again in the backward pass
    instead of kept: a quarter more time and a tenth to a fifth less memory (docs/performance.md).
    The gradients are the same.
    detail: float [1,C,s,s], added to the features after block `detail_at`, or None: what a tuned
    generator renders of one picture beyond what weights and code say, see `tune`.
    detail_code: float [1, num_ws, w_dim], the code of that picture: where another code is rendered,
    the detail goes where its place went (`flow`), and fades where that is nowhere. None: it stays
    where it is."""

    detail: nn.Parameter | None
    detail_code: Tensor | None

    def __init__(self, num_ws: int, w_dim: int):
        super().__init__()
        self.num_ws, self.w_dim = num_ws, w_dim
        self.gradient_checkpointing = False
        self.register_parameter("detail", None)
        self.register_buffer("detail_code", None)
        self.detail_at = -1

    @property
    def feature_shapes(self) -> list[tuple[int, int, int]]:
        """(channels, height, width) of the features after every block."""
        raise NotImplementedError

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sides of the smaller pictures that `forward` draws by its lower blocks alone."""
        return ()

    def check_size(self, size: int) -> int:
        """Gives it. Raises InputError where it is none of `sizes`."""
        if size not in self.sizes:
            raise InputError(
                f"This generator draws no pictures of {size} pixels, but of "
                f"{', '.join(map(str, self.sizes)) or 'its own size only'}."
            )
        return size

    def add_detail(self, size: int) -> nn.Parameter:
        """Begin a map of zeros after the last block whose features are at most of this size."""
        shapes = self.feature_shapes
        sides = [max(shape[1:]) for shape in shapes]
        fitting = [i for i, side in enumerate(sides) if side <= max(size, sides[0])]
        return self.put_detail(fitting[-1], None)

    def put_detail(self, block: int, values: Tensor | None) -> nn.Parameter:
        """A map after a block, zeros if None. Raises InputError where it does not fit."""
        shapes = self.feature_shapes
        if not 0 <= block < len(shapes):
            raise InputError(f"There is no block {block}: this generator has {len(shapes)}.")
        shape = (1, *shapes[block])
        if values is None:
            values = torch.zeros(shape, device=next(self.parameters()).device)
        if values.shape != shape:
            raise InputError(
                f"The detail has the shape {list(values.shape)}, but block {block} of this "
                f"generator takes {list(shape)}."
            )
        self.detail, self.detail_at = nn.Parameter(values), block
        return self.detail

    def with_detail_code(self, w: Tensor, offsets: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The codes behind the detail's own, where the detail moves for any of them: what is
        rendered of the first row tells `moved_detail` from where. Else as they are."""
        code = self.detail_code
        if self.detail is None or code is None or (offsets is None and bool((w == code).all())):
            return w, offsets
        return torch.cat([code.to(w), w]), None if offsets is None else F.pad(offsets, (0, 0, 1, 0))

    @torch.no_grad()
    def rest_detail(self, w: Tensor) -> None:
        """Make the map the detail of another code, [1, num_ws, w_dim]: as it has moved there."""
        if self.detail is None or self.detail_code is None or bool((w == self.detail_code).all()):
            return
        rows, _ = self.with_detail_code(w, None)
        self.detail.copy_(self.moved_detail(self.detail_features(rows)))
        self.detail_code = w

    def detail_features(self, w: Tensor) -> Tensor:
        """The features to which the detail is added, [B,C,s,s], float32, with constant noise."""
        raise NotImplementedError

    def moved_detail(self, features: Tensor) -> Tensor:
        """The detail for each row but the first, whose picture it belongs to, from the features
        [1 + B, C, s, s] at its place; [B, C, s, s]."""
        assert self.detail is not None
        found, likeness = flow(features[:1], features[1:])
        return moved(self.detail, found) * likeness

    def above_detail(self, w: Tensor, dtype: torch.dtype | None = None) -> Callable[[], Tensor]:
        """A function that renders w, as `forward` with constant noise, with the detail as it is at
        each call: what lies below it is computed here, once. Gives [B, 3, R, R], differentiable in
        the detail. w, dtype: as `forward`."""
        raise NotImplementedError

    def detail_of(self, block: int) -> Tensor | None:
        return self.detail if block == self.detail_at else None

    @property
    def style_layers(self) -> list[StyleLayer]:
        """Every layer that takes a style, in the order of the styles."""
        raise NotImplementedError

    @property
    def style_channels(self) -> tuple[int, ...]:
        """The number of channels of each layer of StyleSpace."""
        return tuple(layer.affine.bias.shape[0] for layer in self.style_layers)

    def styles(self, w: Tensor, noise: str, offsets: Tensor | None) -> list[Tensor]:
        """The styles [B, channels] of every layer. Raises InputError as `forward`."""
        if w.ndim != 3 or w.shape[1:] != (self.num_ws, self.w_dim):
            raise InputError(
                f"The codes have the shape {tuple(w.shape)}, but this generator takes "
                f"[batch, {self.num_ws}, {self.w_dim}]."
            )
        if noise not in NOISE_MODES:
            raise InputError(f"The noise is one of {', '.join(NOISE_MODES)}, not {noise!r}.")
        styles = [layer.affine(w[:, layer.style]) for layer in self.style_layers]
        if offsets is None:
            return styles
        parts = offsets.split(self.style_channels, dim=1)
        return [style + part for style, part in zip(styles, parts, strict=True)]

    def run(self, block: nn.Module, *inputs: Any, random: bool = False) -> Any:
        """block(*inputs), checkpointed if wanted. random: whether it uses random numbers."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=random)
        return block(*inputs)


def check_numbers(config: Any, architecture: str, least: int) -> None:
    """Raise InputError for numbers in a generator's configuration that nothing can be made of.
    least: pixels of its smallest resolution."""
    for field in fields(config):
        value = getattr(config, field.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{field.name} is {value}, but a finite number is needed.")
    for name in ("conv_clamp", "mapping_lr_multiplier"):
        value = getattr(config, name)
        if value is not None and value <= 0:
            raise InputError(f"{name} is {value}, but a number above 0 is needed.")
    if not 1 <= config.mapping_layers <= MOST_LAYERS:
        raise InputError(
            f"A mapping network has 1 to {MOST_LAYERS} layers, not {config.mapping_layers}."
        )
    if not 1 <= config.img_channels <= 4:
        raise InputError(
            f"Pictures of {config.img_channels} channels cannot be shown: 1 is grey, 2 grey with "
            "alpha, 3 RGB, 4 RGBA."
        )
    if config.resolution < least or math.log2(config.resolution) % 1:
        raise InputError(
            f"A {architecture} resolution is a power of two from {least} on, not "
            f"{config.resolution}."
        )


class Linear(nn.Module):
    """Fully connected layer with an equalised learning rate (Progressive GAN, section 4.1)."""

    def __init__(
        self, in_features: int, out_features: int, bias: float = 0.0, lr_multiplier: float = 1.0
    ):
        super().__init__()
        self.weight = nn.Parameter(normal(out_features, in_features, std=1 / lr_multiplier))
        self.bias = nn.Parameter(torch.full((out_features,), bias / lr_multiplier))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)


def normal(*shape: int, std: float = 1.0) -> Tensor:
    """Normal numbers to begin with. On the meta device, where a model is made before it takes the
    weights of a file, drawing them and dividing them costs more than all the rest of it."""
    numbers = torch.empty(shape)
    return numbers if numbers.is_meta else numbers.normal_(std=std)


def modulated_conv(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    demodulate: bool = True,
    upsample: bool = False,
    gain: float | Tensor = 1.0,
    padding: int | None = None,
) -> Tensor:
    """Weight (de)modulation (StyleGAN2, equations 1 and 3).

    x: [B,I,H,W]; weight: [O,I,k,k]; styles: [B,I]. Gives [B,O,H,W], twice the size if `upsample`.
    A demodulated result is multiplied by `gain`. padding: on every side, k // 2 if None.
    What is scaled is the cheaper of two that give the same: the weight, in a batch of one, or the
    activations before and after one convolution that is shared, never grouped.
    """
    dtype = x.dtype
    demod = None
    if demodulate:
        energy = styles.square() @ weight.square().sum((2, 3)).t()  # [B,O]
        demod = (energy + 1e-8).rsqrt() * gain
    if x.shape[0] == 1 and _scales_weight(x, weight, styles, upsample):
        weight = weight * styles[0, :, None, None]
        if demod is not None:
            weight = weight * demod[0, :, None, None, None]
        demod = None
    else:
        x = x * styles[:, :, None, None].to(dtype)
    if upsample:
        x = _upsampling_conv(x, weight)
    else:
        padding = weight.shape[-1] // 2 if padding is None else padding
        x = F.conv2d(x, weight.to(x.dtype), padding=padding)
    return x if demod is None else x * demod[:, :, None, None].to(dtype)


def _scales_weight(x: Tensor, weight: Tensor, styles: Tensor, upsample: bool) -> bool:
    """Whether less is multiplied so: the weight by its styles and by the demodulation, or the
    activations before by the one and those after by the other. Where only the styles learn, a
    scaled weight would need a gradient all the same, which takes as long as the convolution."""
    if torch.is_grad_enabled() and styles.requires_grad and not weight.requires_grad:
        return False
    outputs, inputs = weight.shape[:2]
    pixels = x.shape[-2] * x.shape[-1]
    return 2 * weight.numel() < pixels * (inputs + outputs * (4 if upsample else 1))


def leaky_relu(x: Tensor) -> Tensor:
    """The nonlinearity of mapping networks and discriminators, which keeps the variance."""
    return F.leaky_relu(x, SLOPE) * ACTIVATION_GAIN


def normalize(x: Tensor) -> Tensor:
    """Rows [B,C] of mean square 1."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


def upsample(image: Tensor) -> Tensor:
    """Twice the size with the binomial filter: [B,C,H,W] -> [B,C,2H,2W]."""
    kernel = _blur_kernel(image)
    return F.conv_transpose2d(image, kernel, stride=2, padding=1, groups=image.shape[1])


def _upsampling_conv(x: Tensor, weight: Tensor) -> Tensor:
    """Transposed convolution of stride two, then the binomial blur; [B,I,H,W] -> [B,O,2H,2W].

    One sub-pixel convolution with the product of both kernels gives the same, but took three times
    as long on a CPU: it has four times the multiplications."""
    kernel = weight.to(x.dtype).transpose(0, 1)
    if SpreadingConv.is_faster(x, kernel):
        x = SpreadingConv.apply(x, kernel)
    else:
        x = F.conv_transpose2d(x, kernel, stride=2)  # [B,O,2H+1,2W+1]
    return F.conv2d(x, _blur_kernel(x), padding=1, groups=x.shape[1])


class SpreadingConv(torch.autograd.Function):
    """conv_transpose2d of stride two, [B,I,H,W] and [I,O,3,3] -> [B,O,2H+1,2W+1]. Its kernel's
    gradient takes a CPU half the time where the pictures are copied out of channels-last first."""

    @staticmethod
    def is_faster(x: Tensor, kernel: Tensor) -> bool:
        learns = torch.is_grad_enabled() and kernel.requires_grad
        return learns and x.device.type == "cpu" and kernel.shape[1] >= 128

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor) -> Tensor:
        ctx.save_for_backward(x, kernel)
        return F.conv_transpose2d(x, kernel, stride=2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, kernel = ctx.saved_tensors
        gradient = gradients[0].to(kernel.dtype)  # autocast may have made it another one
        of_x = of_kernel = None
        if ctx.needs_input_grad[0]:
            of_x = F.conv2d(gradient, kernel, stride=2)
        if ctx.needs_input_grad[1]:
            inner, outer = gradient.contiguous(), x.contiguous()
            of_kernel = conv2d_weight(inner, kernel.shape, outer, stride=2)
        return of_x, of_kernel


def _blur_kernel(x: Tensor) -> Tensor:
    """[C,1,4,4], sums to 4: the gain that makes up for the zeros between the pixels."""
    kernel = _binomial if torch.compiler.is_compiling() else _kept_binomial
    return kernel(x.dtype, x.device).expand(int(x.shape[1]), 1, 4, 4)  # int: a constant in ONNX


def _binomial(dtype: torch.dtype, device: torch.device) -> Tensor:
    taps = torch.tensor(BLUR_TAPS, dtype=dtype, device=device) / 4
    return taps[:, None] * taps


@lru_cache(maxsize=64)
def _kept_binomial(dtype: torch.dtype, device: torch.device) -> Tensor:
    """The same, sent to the device once: a GPU's queue runs empty whenever numbers are sent."""
    with torch.inference_mode(False):  # it may be differentiated through later
        return _binomial(dtype, device)
