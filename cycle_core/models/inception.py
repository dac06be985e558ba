"""The Inception-v3 of the Frechet inception distance: the network of 2015 (Szegedy et al.) that
Heusel et al. 2017 measure with, in the layout of pytorch-fid's file, whose names are torchvision's.

Other than torchvision's, averages in the blocks leave the padding out, and the last block takes the
maximum in the place of an average."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE = 299  # pixels, at which it sees pictures

_average = partial(F.avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False)
_maximum = partial(F.max_pool2d, kernel_size=3, stride=1, padding=1)
_halve = partial(F.max_pool2d, kernel_size=3, stride=2)
_WIDE, _TALL = (1, 7), (7, 1)


class _Conv(NamedTuple):
    """name: of the module; size: of the kernel; halves: whether it has a stride of 2."""

    name: str
    channels: int
    size: int | tuple[int, int] = 1
    halves: bool = False


class FidInception(nn.Module):
    """Pictures -> the features [B, 2048] whose Gaussians the distance compares."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Unit(3, 32, 3, 2, 0)
        self.Conv2d_2a_3x3 = _Unit(32, 32, 3, 1, 0)
        self.Conv2d_2b_3x3 = _Unit(32, 64, 3)
        self.Conv2d_3b_1x1 = _Unit(64, 80)
        self.Conv2d_4a_3x3 = _Unit(80, 192, 3, 1, 0)
        self.Mixed_5b = _fives(192, 32)
        self.Mixed_5c = _fives(256, 64)
        self.Mixed_5d = _fives(288, 64)
        self.Mixed_6a = _Block(
            288,
            ((_Conv("branch3x3", 384, 3, halves=True),),),
            (
                (_Conv("branch3x3dbl_1", 64),),
                (_Conv("branch3x3dbl_2", 96, 3),),
                (_Conv("branch3x3dbl_3", 96, 3, halves=True),),
            ),
            pool=_halve,
        )
        self.Mixed_6b = _sevens(128)
        self.Mixed_6c = _sevens(160)
        self.Mixed_6d = _sevens(160)
        self.Mixed_6e = _sevens(192)
        self.Mixed_7a = _Block(
            768,
            ((_Conv("branch3x3_1", 192),), (_Conv("branch3x3_2", 320, 3, halves=True),)),
            (
                (_Conv("branch7x7x3_1", 192),),
                (_Conv("branch7x7x3_2", 192, _WIDE),),
                (_Conv("branch7x7x3_3", 192, _TALL),),
                (_Conv("branch7x7x3_4", 192, 3, halves=True),),
            ),
            pool=_halve,
        )
        self.Mixed_7b = _threes(1280, _average)
        self.Mixed_7c = _threes(2048, _maximum)

    def forward(self, image: Tensor) -> Tensor:
        """image: float [B, 3, H, W] in [-1, 1], of any size, enlarged or not without smoothing, as
        published. Gives float [B, 2048]."""
        x = F.interpolate(image, (SIZE, SIZE), mode="bilinear", align_corners=False)
        for name, layer in self.named_children():
            x = layer(x)
            if name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3"):
                x = _halve(x)
        return x.mean((2, 3))


class _Unit(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(
        self,
        inputs: int,
        channels: int,
        size: int | tuple[int, int] = 1,
        stride: int = 1,
        padding: int | tuple[int, int] | None = None,
    ):
        """padding: if None, what keeps the size at a stride of 1."""
        super().__init__()
        if padding is None:
            tall, wide = (size, size) if isinstance(size, int) else size
            padding = (tall // 2, wide // 2)
        self.conv = nn.Conv2d(inputs, channels, size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Block(nn.Module):
    """Branches side by side, joined along the channels, a pooling the last of them."""

    def __init__(
        self,
        inputs: int,
        *branches: tuple[tuple[_Conv, ...], ...],
        pool: partial[Tensor],
        pooled: int = 0,
    ):
        """branches: of steps, a step of convolutions side by side. pooled: channels of the 1x1
        convolution after the pooling, 0 for none."""
        super().__init__()
        self.steps = [[[conv.name for conv in step] for step in branch] for branch in branches]
        self.pool = pool
        for branch in branches:
            width = inputs
            for step in branch:
                for conv in step:
                    stride, padding = (2, 0) if conv.halves else (1, None)
                    unit = _Unit(width, conv.channels, conv.size, stride, padding)
                    self.add_module(conv.name, unit)
                width = sum(conv.channels for conv in step)
        self.branch_pool = _Unit(inputs, pooled) if pooled else None

    def forward(self, x: Tensor) -> Tensor:
        found = []
        for branch in self.steps:
            y = x
            for names in branch:
                y = torch.cat([self.get_submodule(name)(y) for name in names], 1)
            found.append(y)
        pooled = self.pool(x)
        return torch.cat([*found, self.branch_pool(pooled) if self.branch_pool else pooled], 1)


def _fives(inputs: int, pooled: int) -> _Block:
    return _Block(
        inputs,
        ((_Conv("branch1x1", 64),),),
        ((_Conv("branch5x5_1", 48),), (_Conv("branch5x5_2", 64, 5),)),
        (
            (_Conv("branch3x3dbl_1", 64),),
            (_Conv("branch3x3dbl_2", 96, 3),),
            (_Conv("branch3x3dbl_3", 96, 3),),
        ),
        pool=_average,
        pooled=pooled,
    )


def _sevens(width: int) -> _Block:
    return _Block(
        768,
        ((_Conv("branch1x1", 192),),),
        (
            (_Conv("branch7x7_1", width),),
            (_Conv("branch7x7_2", width, _WIDE),),
            (_Conv("branch7x7_3", 192, _TALL),),
        ),
        (
            (_Conv("branch7x7dbl_1", width),),
            (_Conv("branch7x7dbl_2", width, _TALL),),
            (_Conv("branch7x7dbl_3", width, _WIDE),),
            (_Conv("branch7x7dbl_4", width, _TALL),),
            (_Conv("branch7x7dbl_5", 192, _WIDE),),
        ),
        pool=_average,
        pooled=192,
    )


def _threes(inputs: int, pool: partial[Tensor]) -> _Block:
    across = ((1, 3), (3, 1))
    return _Block(
        inputs,
        ((_Conv("branch1x1", 320),),),
        (
            (_Conv("branch3x3_1", 384),),
            tuple(
                _Conv(f"branch3x3_2{k}", 384, size) for k, size in zip("ab", across, strict=True)
            ),
        ),
        (
            (_Conv("branch3x3dbl_1", 448),),
            (_Conv("branch3x3dbl_2", 384, 3),),
            tuple(
                _Conv(f"branch3x3dbl_3{k}", 384, size) for k, size in zip("ab", across, strict=True)
            ),
        ),
        pool=pool,
        pooled=192,
    )
