"""MoCo v2: how alike two pictures of anything are, where ArcFace has no faces to compare.

ResNet-50 (He et al. 2016) as Chen et al. (2020) trained it, without labels and without its
projection head. e4e introduced it as the identity loss of cars, churches and horses. Tensor names
are those of torchvision's ResNet-50, as in the published file behind its prefix.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..images.resize import resize
from .irse import Conv2d, Pointwise, UnitVectors, resnet_shortcut

INPUT_SIZE = 224
EXPANSION = 4  # a unit gives so many times the channels that it works with
_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # channels and number of units


class MocoNet(UnitVectors):
    """A picture -> a unit vector; the cosine of two vectors says how alike what they show is.

    As in the published losses, whose weight belongs to that, pictures come in as they are, without
    the statistics of ImageNet that the network was trained with. There they are made smaller by
    leaving rows and columns out, whose pixels then have no gradient; here they are resized."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "MoCo v2 ResNet-50"  # for reports: which network measured
        self.conv1 = Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        in_width = 64
        for i, (width, units) in enumerate(_STAGES):
            stage = nn.Sequential(_Bottleneck(in_width, width, 1 if i == 0 else 2))
            in_width = width * EXPANSION
            stage.extend(_Bottleneck(in_width, width, 1) for _ in range(units - 1))
            self.add_module(f"layer{i + 1}", stage)

    def forward(self, image: Tensor) -> Tensor:
        """image: float [B, 3, H, W] in [-1, 1], square, of any size. Gives [B, 2048] of length 1:
        the mean over the positions of the last stage."""
        x = F.relu(self.bn1(self.conv1(resize(image, INPUT_SIZE))))
        x = F.max_pool2d(x, 3, 2, 1)  # [B, 64, 56, 56]
        for i in range(len(_STAGES)):
            x = self.get_submodule(f"layer{i + 1}")(x)
        return F.normalize(x.float().mean((2, 3)), dim=1)  # halves would round cosines near 1


class _Bottleneck(nn.Module):
    """1x1, 3x3, 1x1, each with BN and the first two with ReLU, plus the shortcut, ReLU.

    The stride is that of the 3x3, as in torchvision; in the paper it is that of the first 1x1."""

    def __init__(self, in_width: int, width: int, stride: int):
        super().__init__()
        out_width = width * EXPANSION
        self.conv1 = Pointwise(in_width, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = Pointwise(width, out_width, 1)
        self.bn3 = nn.BatchNorm2d(out_width)
        self.downsample = resnet_shortcut(in_width, out_width, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + shortcut)
