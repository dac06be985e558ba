"""What the networks of StyleGAN2 and StyleGAN3 are made of."""

from __future__ import annotations

import math
from dataclasses import fields
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

from ..errors import InputError

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
    weights of a file, initialising them and dividing them costs more than all the rest of it."""
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
