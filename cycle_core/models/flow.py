"""How what a generator renders moves when its code does, read from its own features.

The map of detail of a tuned generator (`tune`) belongs to the places of one picture. In the picture
of another code the same things lie elsewhere: the flow from the one picture's features to the
other's says where, and the map goes along.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 32  # pixels at most, of the features that are compared
LEVELS = 3  # of the pyramid, each half as large as the one before it
ITERATIONS = 3  # of each level
MOST = 1.5  # pixels of a level, by which one of them moves at most
CHANNELS = 16  # principal ones, in which features are compared
WINDOW = 1.5  # deviation in pixels of the Gaussian over which a place is compared
NOISE = 0.3  # variance of what differs without a move, of features of variance 1
SMOOTH = 2.0  # deviation in pixels of the Gaussian that smooths the flow
SURE = 16.0  # how sharply it is told whether moving explains a place better than staying


@torch.no_grad()
def flow(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """Where what lies at each place of some features came from, and how like it is.

    before: float [1,C,H,W], features of one picture; after: [B,C,H,W], those of others by the same
    layer. Gives float32 [B,2,H,W], pixels to the right and down, such that after(x, y) resembles
    before(x + flow[0], y + flow[1]), and the likeness [B,1,H,W], 1 where nothing differs, falling
    to 0. By iterated least squares over a pyramid (Lucas and Kanade 1981) in the principal
    components of the features; where moving explains them no better than staying, it is 0."""
    size = after.shape[-2:]
    pair = before.float(), after.float()
    while max(pair[0].shape[-2:]) > SIDE:
        pair = F.avg_pool2d(pair[0], 2), F.avg_pool2d(pair[1], 2)
    pyramid = [pair := _principal(*pair)]
    while len(pyramid) < LEVELS and min(pair[0].shape[-2:]) >= 8:
        pair = F.avg_pool2d(pair[0], 2), F.avg_pool2d(pair[1], 2)
        pyramid.append(pair)
    found = after.new_zeros(len(after), 2, *pair[1].shape[-2:], dtype=torch.float32)
    for before, after in reversed(pyramid):
        found = _grown(found, after.shape[-2:])
        for _ in range(ITERATIONS):
            step = shift(moved(before, found), after, lambda x: _blur(x, WINDOW), NOISE, MOST)
            found = _blur(found + step, SMOOTH)
    found = found * torch.sigmoid(
        SURE * (_unlike(before, after) - _unlike(moved(before, found), after)) - 1
    )
    likeness = torch.exp(-_unlike(moved(before, found), after))
    return _grown(found, size), F.interpolate(likeness, size=size, mode="bilinear")


def moved(x: Tensor, flow: Tensor) -> Tensor:
    """[1,C,H,W] as `flow`, [B,2,H,W], moves it: [B,C,H,W], bicubic, differentiable in x."""
    from kornia.geometry.transform import remap  # here: it takes half a second to import

    height, width = x.shape[-2:]
    across = torch.arange(width, device=x.device) + flow[:, 0]
    down = torch.arange(height, device=x.device)[:, None] + flow[:, 1]
    x = x.expand(len(flow), -1, -1, -1)
    return remap(x, across, down, mode="bicubic", padding_mode="border", align_corners=True)


def _principal(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """The components of both in which `before` varies most, each picture's of mean 0, square 1."""
    centred = before[0].flatten(1)
    centred = centred - centred.mean(1, keepdim=True)
    _, vectors = torch.linalg.eigh((centred @ centred.t()).cpu())  # not every device has it
    axes = vectors[:, -CHANNELS:].to(before.device)
    return _standard(before, axes), _standard(after, axes)


def _standard(x: Tensor, axes: Tensor) -> Tensor:
    x = torch.einsum("bchw,ck->bkhw", x, axes)
    x = x - x.mean((2, 3), keepdim=True)
    return x / x.square().mean((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-8)


def _grown(flow: Tensor, size: torch.Size) -> Tensor:
    """A flow at another size, in its pixels."""
    height, width = flow.shape[-2:]
    across, down = F.interpolate(flow, size=size, mode="bilinear").unbind(1)
    return torch.stack([across * (size[1] / width), down * (size[0] / height)], 1)


def shift(
    now: Tensor, after: Tensor, window: Callable[[Tensor], Tensor], noise: float, most: float
) -> Tensor:
    """The move of each place, [B,2,H,W] in pixels, that brings `now` nearest to `after` around it:
    a step of Lucas and Kanade's method. now, after: [B,C,H,W].

    window: gives the means over what moves together. noise: of a squared difference, which keeps
    flat places where they are. most: pixels."""
    padded = F.pad(now, (1, 1, 1, 1), mode="replicate")
    dx = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    dy = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
    rest = after - now
    products = (dx * dx, dx * dy, dy * dy, dx * rest, dy * rest)
    sums = window(torch.stack([one.mean(1) for one in products], 1))
    xx, xy, yy, right, down = sums.unbind(1)
    xx, yy = xx + noise, yy + noise
    step = torch.stack([yy * right - xy * down, xx * down - xy * right], 1)
    return (step / (xx * yy - xy * xy)[:, None]).clamp(-most, most)


def _unlike(now: Tensor, after: Tensor) -> Tensor:
    """How much features differ around each place, [B,1,H,W]."""
    return _blur((after - now).square().mean(1, keepdim=True), 1.0)


def _blur(x: Tensor, deviation: float) -> Tensor:
    from kornia.filters import gaussian_blur2d

    side = 2 * round(3 * deviation) + 1
    return gaussian_blur2d(x, (side, side), (deviation, deviation), border_type="replicate")
