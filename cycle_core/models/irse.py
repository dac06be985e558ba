"""IR-SE: the residual network with squeeze-and-excitation of ArcFace (Deng et al. 2019), and the
identity network that is made of it.

The encoders use the same body, or one of its relatives: IR, without squeeze-and-excitation, and
ResNet, which ReStyle takes for other things than faces. Tensor names are those of the published
`model_ir_se50.pth` (and of e4e, pSp and Cycle Encoding for the body), so such files load without
renaming.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..images.resize import average_pool, resize

STAGES = 4
SHRINK = 16  # the body's output is smaller than the picture by this


@dataclass(frozen=True)
class IdentityConfig:
    """The defaults are IR-SE50 as ArcFace trains and the published losses use it."""

    widths: tuple[int, ...] = (64, 64, 128, 256, 512)  # of the input layer and of the four stages
    units: tuple[int, ...] = (3, 4, 14, 3)  # residual units in each stage
    reduction: int = 16  # of the squeeze-and-excitation bottleneck
    stem_stride: int = 1  # 2 halves the size in the input layer instead of the first stage
    embedding: int = 512
    input_size: int = 112  # a multiple of 16
    # top, bottom, left, right in an aligned 256 px crop: the part that ArcFace was trained on
    crop: tuple[int, int, int, int] | None = (35, 223, 32, 220)

    def __post_init__(self) -> None:
        check_body(self.widths, self.units, self.stem_stride, self.input_size)


class UnitVectors(nn.Module):
    """A network that gives a unit vector for each picture; cosines say how alike two are."""

    def features(self, image: Tensor) -> list[Tensor]:
        """What `distance` compares: [the vectors [B, D]]. May be kept for a target."""
        return [self(image)]

    def distance(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        """1 - cosine of two results of `features`, float [B], 0 for the same."""
        return 1 - (a[0] * b[0]).sum(1)


class IdentityNet(UnitVectors):
    """An aligned face -> a unit vector; the cosine of two vectors says how alike the people are."""

    def __init__(self, config: IdentityConfig | None = None):
        super().__init__()
        self.config = config = config or IdentityConfig()
        self.name = "identity"  # for reports: which network measured
        self.input_layer, self.body = make_body(
            config.widths, config.units, config.reduction, config.stem_stride
        )
        width, size = config.widths[-1], config.input_size // SHRINK
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Dropout(),
            nn.Flatten(),
            nn.Linear(width * size * size, config.embedding),
            nn.BatchNorm1d(config.embedding),
        )

    def forward(self, image: Tensor) -> Tensor:
        """image: float [B, 3, H, W] in [-1, 1], an aligned crop of any size.
        Gives [B, embedding] of length 1."""
        x = self.body(self.input_layer(self.prepare(image)))
        return F.normalize(self.output_layer(x), dim=1)

    def prepare(self, image: Tensor) -> Tensor:
        """The part of an aligned crop that the network looks at, at its input size."""
        return face_of(image, self.config)


def face_of(image: Tensor, config: IdentityConfig) -> Tensor:
    """The part of aligned crops [B, 3, H, W] that is looked at, at the input size."""
    if config.crop is None:
        return resize(image, config.input_size)
    top, bottom, left, right = config.crop
    return average_pool(resize(image, 256)[:, :, top:bottom, left:right], config.input_size)


def make_body(
    widths: tuple[int, ...],
    units: tuple[int, ...],
    reduction: int,
    stem_stride: int,
    resnet: bool = False,
    channels: int = 3,
) -> tuple[nn.Sequential, nn.Sequential]:
    """(input_layer, body) of an IR-SE network, of IR if `reduction` is 0, of a ResNet if `resnet`.

    channels: of the input. A stage halves the size in its first unit, unless the input layer has
    done so for the first stage (half the arithmetic for small pictures; so does every ResNet)."""
    size = 7 if resnet else 3
    input_layer = nn.Sequential(
        Conv2d(channels, widths[0], size, stem_stride, size // 2, bias=False),
        nn.BatchNorm2d(widths[0]),
        nn.PReLU(widths[0]),
    )

    def unit(in_width: int, width: int, stride: int) -> nn.Module:
        if resnet:
            return BasicUnit(in_width, width, stride)
        return Unit(in_width, width, stride, reduction)

    body = []
    for in_width, width, count in zip(widths[:-1], widths[1:], units, strict=True):
        stride = 1 if not body and stem_stride == 2 else 2
        body.append(unit(in_width, width, stride))
        body += [unit(width, width, 1) for _ in range(count - 1)]
    return input_layer, nn.Sequential(*body)


def check_body(
    widths: tuple[int, ...], units: tuple[int, ...], stem_stride: int, input_size: int
) -> None:
    """Raise InputError unless the numbers describe an IR-SE body."""
    if stem_stride not in (1, 2):
        raise InputError(f"The stem of an IR-SE network has stride 1 or 2, not {stem_stride}.")
    if len(widths) != STAGES + 1 or len(units) != STAGES or min(units) < 1:
        raise InputError(
            f"An IR-SE network has {STAGES + 1} widths and {STAGES} numbers of units from 1 on, "
            f"but widths={widths} and units={units} were given."
        )
    if input_size < SHRINK or input_size % SHRINK:
        raise InputError(
            f"The input size of an IR-SE network is a multiple of {SHRINK}, not {input_size}."
        )


class Unit(nn.Module):
    """BN, 3x3, PReLU, 3x3 (with the stride), BN, squeeze-and-excitation (if `reduction` is not 0),
    plus the shortcut."""

    def __init__(self, in_width: int, width: int, stride: int, reduction: int):
        super().__init__()
        self.stride = stride
        self.shortcut_layer = (
            nn.Sequential(Pointwise(in_width, width, stride), nn.BatchNorm2d(width))
            if in_width != width
            else None
        )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(in_width),
            Conv2d(in_width, width, 3, 1, 1, bias=False),
            nn.PReLU(width),
            Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            *([SqueezeExcite(width, reduction)] if reduction else []),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.shortcut_layer is not None:
            shortcut = self.shortcut_layer(x)
        else:  # the reference writes this as a max-pooling of one pixel
            shortcut = x[:, :, :: self.stride, :: self.stride]
        return self.res_layer(x) + shortcut


class BasicUnit(nn.Module):
    """The unit of ResNet34 (He et al. 2016): 3x3 (with the stride), BN, ReLU, 3x3, BN, plus the
    shortcut, ReLU."""

    def __init__(self, in_width: int, width: int, stride: int):
        super().__init__()
        self.conv1 = Conv2d(in_width, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = resnet_shortcut(in_width, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + shortcut)


def resnet_shortcut(in_width: int, width: int, stride: int) -> nn.Module | None:
    """What brings a unit's input to its output's shape, None where it has that."""
    if in_width == width and stride == 1:
        return None
    return nn.Sequential(Pointwise(in_width, width, stride), nn.BatchNorm2d(width))


class Conv2d(nn.Conv2d):
    """A convolution that initialises no weights on the meta device, where it has no memory: that
    is half of the time that it takes to make an encoder for weights from a file."""

    def reset_parameters(self) -> None:
        if not self.weight.is_meta:
            super().reset_parameters()


class Pointwise(Conv2d):
    """1x1 convolution that leaves the skipped positions out itself: with a stride, and less than 16
    channels, oneDNN's weight gradient writes beyond its memory where several threads work."""

    def __init__(self, in_width: int, width: int, stride: int):
        super().__init__(in_width, width, 1, bias=False)
        self.skip = stride

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input[..., :: self.skip, :: self.skip])


class SqueezeExcite(nn.Module):
    """Scales every channel by a gate that sees the mean of all channels."""

    def __init__(self, width: int, reduction: int):
        super().__init__()
        self.fc1 = Conv2d(width, width // reduction, 1, bias=False)
        self.fc2 = Conv2d(width // reduction, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True))))
        return x * torch.sigmoid(gate)
