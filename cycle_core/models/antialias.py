"""Alias-free signal processing of StyleGAN3: low-pass filters, and the leaky ReLU between them.

"Alias-Free Generative Adversarial Networks" (Karras et al. 2021), section 3 and appendix C: a
leaky ReLU makes frequencies that the grid cannot hold, so it is applied at a higher sampling rate,
between an interpolating and a decimating filter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# The up-sampled signal is only ever held in parts of about this many bytes. What fits into the
# cache of a CPU takes a third of the time, and a 1024 generator would need gigabytes otherwise.
PART = {"cpu": 8 << 20}
PART_ELSEWHERE = 512 << 20


def low_pass(taps: int, cutoff: float, width: float, rate: float, radial: bool = False) -> Tensor:
    """A windowed-sinc low-pass filter, float32 [taps], or [taps, taps] if radially symmetric.

    The window is Kaiser's for a transition band of `width`; cutoff, width and the sampling rate are
    in the same unit. The sum is 1."""
    attenuation = 2.285 * (taps - 1) * math.pi * width / (rate / 2) + 7.95
    if attenuation > 50:
        beta = 0.1102 * (attenuation - 8.7)
    else:
        above = max(attenuation - 21, 0.0)
        beta = 0.5842 * above**0.4 + 0.07886 * above
    window = torch.kaiser_window(taps, periodic=False, beta=beta, dtype=torch.double)
    x = (torch.arange(taps, dtype=torch.double) - (taps - 1) / 2) / rate
    if radial:  # jinc, the sinc of two dimensions; taps is even, so that no radius is 0
        radius = torch.hypot(x[:, None], x)
        ideal = torch.special.bessel_j1(2 * math.pi * cutoff * radius) / (math.pi * radius)
        window = window[:, None] * window
    else:
        ideal = torch.sinc(2 * cutoff * x)
    taper = ideal * window
    return (taper / taper.sum()).float()


def filtered_leaky_relu(
    x: Tensor,
    up_filter: Tensor,
    down_filter: Tensor,
    up: int,
    down: int,
    size: int,
    slope: float,
    gain: float,
    clamp: float | None = None,
) -> Tensor:
    """Up-sample, leaky ReLU, gain and clamp, down-sample: [B,C,H,H] -> [B,C,size,size].

    up_filter: [n], symmetric. down_filter: [m], or [m,m] if not separable. The pixels outside of x
    are 0; of the up-sampled signal the middle is kept, as much as `size` pixels are made of.
    Differentiable once, with respect to x: the backward pass computes the up-sampled signal again
    instead of keeping it."""
    plan = _Plan(up, down, size, slope, clamp)
    if torch.jit.is_tracing():  # for ONNX, which has no functions of our own
        return _in_one_piece(x, up_filter * gain**0.5, down_filter, plan)
    return _FilteredLeakyReLU.apply(x, up_filter * gain**0.5, down_filter, plan)


class _Plan(NamedTuple):
    up: int
    down: int
    size: int
    slope: float
    clamp: float | None

    def inner(self, down_filter: Tensor) -> int:
        """Side of the up-sampled signal that the result is made of."""
        return (self.size - 1) * self.down + down_filter.shape[0]

    def crop(self, x: Tensor, up_filter: Tensor, down_filter: Tensor) -> int:
        """What the up-sampled signal has more than that, on every side."""
        whole = (x.shape[2] - 1) * self.up + up_filter.shape[0]
        return (whole - self.inner(down_filter)) // 2


class _FilteredLeakyReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, up_filter: Tensor, down_filter: Tensor, plan: _Plan) -> Tensor:
        ctx.save_for_backward(x, up_filter, down_filter)
        ctx.plan = plan
        up, down = _kernels(up_filter * plan.up, x), _kernels(down_filter, x)
        crop, inner = plan.crop(x, up_filter, down_filter), plan.inner(down_filter)
        taps = down_filter.shape[0]
        y = _empty(x, plan.size)
        for part, first, last in _parts(y, inner, plan.down):
            rows = first * plan.down, (last - 1) * plan.down + taps
            inside = _stretch(x[part], up, plan.up, crop, *rows)
            inside = F.leaky_relu_(inside, plan.slope)
            if plan.clamp is not None:
                inside.clamp_(-plan.clamp, plan.clamp)
            y[part, :, first:last] = _shrink(inside, down, plan.down)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        x, up_filter, down_filter = ctx.saved_tensors
        plan: _Plan = ctx.plan
        g = gradients[0].contiguous(memory_format=torch.channels_last)
        up, down = _kernels(up_filter * plan.up, x), _kernels(down_filter, x)
        crop, inner = plan.crop(x, up_filter, down_filter), plan.inner(down_filter)
        taps = up_filter.shape[0]
        gx = _empty(x, x.shape[2]).zero_()
        for part, first, last in _parts(gx, inner, plan.up):
            begin, end = first * plan.up - crop, (last - 1) * plan.up + taps - crop
            rows = max(begin, 0), min(end, inner)
            if rows[0] >= rows[1]:
                continue  # all that these rows of x touch is cropped
            inside = _stretch(x[part], up, plan.up, crop, *rows)
            back = _stretch(g[part], down, plan.down, 0, *rows)
            # the fused derivatives: comparisons and a choice took ten times as long
            back = torch.ops.aten.leaky_relu_backward(back, inside, plan.slope, False)
            if plan.clamp is not None:
                low, high = -plan.clamp / plan.slope, plan.clamp
                back = torch.ops.aten.hardtanh_backward(back, inside, low, high)
            back = F.pad(back, (0, 0, rows[0] - begin, end - rows[1]))
            gx[part, :, first:last] = _shrink(back, up, plan.up, crop)
        return gx, None, None, None


def _in_one_piece(x: Tensor, up_filter: Tensor, down_filter: Tensor, plan: _Plan) -> Tensor:
    up, down = _kernels(up_filter * plan.up, x), _kernels(down_filter, x)
    crop, inner = int(plan.crop(x, up_filter, down_filter)), plan.inner(down_filter)
    inside = F.leaky_relu(_stretch(x, up, plan.up, crop, 0, inner), plan.slope)
    if plan.clamp is not None:
        inside = inside.clamp(-plan.clamp, plan.clamp)
    return _shrink(inside, down, plan.down)


def _parts(like: Tensor, inner: int, stride: int) -> Iterator[tuple[slice, int, int]]:
    """Divides the work: (samples, first row, last row), of the result that is like `like`."""
    batch, channels, height, _ = like.shape
    row = stride * inner * channels * like.element_size()  # bytes inside for one row outside
    budget = PART.get(like.device.type, PART_ELSEWHERE)
    samples = max(1, budget // (row * height))
    bands = max(1, min(row * height // budget, height // 8))  # fewer rows repeat too much
    for sample in range(0, batch, samples):
        for band in range(bands):
            first, last = height * band // bands, height * (band + 1) // bands
            yield slice(sample, sample + samples), first, last


def _stretch(
    x: Tensor, kernels: list[Tensor], factor: int, crop: int, first: int, last: int
) -> Tensor:
    """Put factor - 1 zeros after each pixel and filter; crop every side; give some of the rows.

    x: [B,C,H,W]. Gives [B, C, last - first, (W - 1) * factor + taps - 2 * crop]."""
    taps = kernels[0].shape[2]
    first, last = first + crop, last + crop
    above = max(0, -((taps - 1 - first) // factor))  # rows of x that reach the first row ...
    below = min(int(x.shape[2]), (last - 1) // factor + 1)  # ... and the last
    x = x[:, :, above:below]
    groups, skip = x.shape[1], first - above * factor
    if len(kernels) == 1:
        x = F.conv_transpose2d(x, kernels[0], stride=factor, padding=(0, crop), groups=groups)
        return x[:, :, skip : skip + last - first]
    x = F.conv_transpose2d(x, kernels[0], stride=(factor, 1), groups=groups)
    x = x[:, :, skip : skip + last - first]
    return F.conv_transpose2d(x, kernels[1], stride=(1, factor), padding=(0, crop), groups=groups)


def _shrink(x: Tensor, kernels: list[Tensor], factor: int, padding: int = 0) -> Tensor:
    """Filter and keep every factor-th row and column; `padding` zeros on the left and the right."""
    groups = x.shape[1]
    if len(kernels) == 1:
        return F.conv2d(x, kernels[0], stride=factor, padding=(0, padding), groups=groups)
    x = F.conv2d(x, kernels[1], stride=(1, factor), padding=(0, padding), groups=groups)
    return F.conv2d(x, kernels[0], stride=(factor, 1), groups=groups)


def _kernels(taps: Tensor, x: Tensor) -> list[Tensor]:
    """Depthwise kernels for x: a vertical and a horizontal one, or one that does not separate."""
    taps = taps.to(x)
    both = [taps] if taps.ndim == 2 else [taps[:, None], taps[None]]
    return [kernel.expand(int(x.shape[1]), 1, *kernel.shape).contiguous() for kernel in both]


def _empty(x: Tensor, size: int) -> Tensor:
    shape = (x.shape[0], x.shape[1], size, size)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
