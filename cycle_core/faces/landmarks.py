"""The networks of the embedded face detector, and the size and the direction of a face.

Both see grey pictures whose local contrast is normalised: light and colour are what renders and
photographs differ in most. How a photo is searched with them is in `detectors/embedded.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..images.resize import pixels

CELL = 8  # pixels of one cell of the finder and of the refiner
REACH = 24.0  # pixels that one unit of a network's offsets means
FINDER_SIZE = 33.0  # face size (half the side of its FFHQ crop) for which the finder's output is 0
REFINER_SIDE, REFINER_SIZE = 96, 40.0  # the refiner's upright crop, and the face's size in it
MIRRORED = (1, 0, 2, 4, 3)  # order of the points in the mirror image


@dataclass(frozen=True)
class LandmarkConfig:
    """Channels at strides 2, 4, 8 and 16."""

    finder: tuple[int, ...] = (16, 32, 48, 72)
    refiner: tuple[int, ...] = (24, 48, 96, 128)


# ------------------------------------------------------------------------------- the networks
class Landmarks(nn.Module):
    """Finder and refiner together, as they are trained and stored."""

    def __init__(self, config: LandmarkConfig | None = None) -> None:
        super().__init__()
        self.config = config or LandmarkConfig()
        self.finder = Finder(*self.config.finder)
        self.refiner = Refiner(*self.config.refiner)


class Finder(nn.Module):
    """Grey pictures [B,1,H,W] in 0..1, sides multiples of 16 -> heat logits [B,h,w], logarithms of
    size / FINDER_SIZE [B,h,w], and points [B,h,w,5,2] in pixels, h = H/8."""

    def __init__(self, a: int, b: int, c: int, d: int) -> None:
        super().__init__()
        self.trunk = _Trunk(a, b, c, d, deep=2)
        self.out = nn.Conv2d(c, 12, 1)
        nn.init.normal_(self.out.weight, 0, 0.01)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.out.bias[:1], -4.0)  # type: ignore[index]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y = _exact(self.out, self.trunk(normalise(x))[0])
        return y[:, 0], y[:, 1], _places(y[:, 2:])


class Refiner(nn.Module):
    """Upright grey crops [B,1,96,96] in 0..1 -> points [B,5,2] in pixels, logits of being a face
    [B], and what each cell says: points [B,12,12,5,2] and its weights [B,12,12,5], of sum 1."""

    def __init__(self, a: int, b: int, c: int, d: int) -> None:
        super().__init__()
        self.trunk = _Trunk(a, b, c, d, deep=2)
        self.out = nn.Conv2d(c, 15, 1)
        self.face = nn.Linear(c + d, 1)
        nn.init.normal_(self.out.weight, 0, 0.01)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        fine, coarse = self.trunk(normalise(x))
        y = _exact(self.out, fine)
        each = _places(y[:, 5:])
        weights = y[:, :5].flatten(2).softmax(-1).view(y.shape[0], 5, *y.shape[2:])
        weights = weights.permute(0, 2, 3, 1)  # [B,h,w,5]
        points = (each * weights[..., None]).sum((1, 2))
        face = _exact(self.face, torch.cat([fine.amax((2, 3)), coarse.mean((2, 3))], 1))[:, 0]
        return points, face, each, weights


class _Trunk(nn.Module):
    """Strides 2, 4, 8 and 16, and back to 8: features [B,c,H/8,W/8] and [B,d,H/16,W/16]."""

    def __init__(self, a: int, b: int, c: int, d: int, deep: int) -> None:
        super().__init__()
        self.to8 = nn.Sequential(
            _conv(1, a, 2, 5),
            *(_conv(a, b, 2), _Residual(b)),
            *(_conv(b, c, 2), _Residual(c), _Residual(c)),
        )
        self.to16 = nn.Sequential(_conv(c, d, 2), *(_Residual(d) for _ in range(deep)))
        self.back = nn.Conv2d(d, c, 1)
        self.mix = nn.Sequential(_Residual(c), _conv(c, c))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.to8(x.contiguous(memory_format=torch.channels_last))
        coarse = self.to16(fine)
        back = F.interpolate(
            self.back(coarse), size=fine.shape[-2:], mode="bilinear", align_corners=False
        )
        return self.mix(fine + back), coarse


def _exact(layer: nn.Module, x: Tensor) -> Tensor:
    """A last layer in float32 also where the rest trains in bfloat16: places need its digits."""
    with torch.autocast(x.device.type, enabled=False):
        return layer(x.float())


def _conv(i: int, o: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(i, o, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(o),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.one = _conv(c, c)
        self.two = nn.Conv2d(c, c, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(c)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm(self.two(self.one(x))))


def normalise(y: Tensor) -> Tensor:
    """Local mean off, local deviation divided out, of [B,1,H,W] (sides multiples of 4).

    The statistics, over about 34 pixels, are taken at a quarter of the resolution."""
    small, square = F.avg_pool2d(y, 4), F.avg_pool2d(y * y, 4)
    mean = _box_mean(_box_mean(small, 2), 2)
    deviation = (_box_mean(_box_mean(square, 2), 2) - mean * mean).clamp(min=0).add(1e-5).sqrt()
    size = y.shape[-2:]
    mean = F.interpolate(mean, size=size, mode="bilinear", align_corners=False)
    deviation = F.interpolate(deviation, size=size, mode="bilinear", align_corners=False)
    return ((y - mean) / (deviation + 0.02)).clamp(-4, 4)


def _box_mean(x: Tensor, radius: int) -> Tensor:
    width = 2 * radius + 1
    x = F.avg_pool2d(F.pad(x, (radius, radius, 0, 0), mode="replicate"), (1, width), 1)
    return F.avg_pool2d(F.pad(x, (0, 0, radius, radius), mode="replicate"), (width, 1), 1)


def _places(offsets: Tensor) -> Tensor:
    """Offsets [B,10,h,w] of each cell to places [B,h,w,5,2] in pixels."""
    b, _, h, w = offsets.shape
    return offsets.permute(0, 2, 3, 1).reshape(b, h, w, 5, 2) * REACH + cells(h, w, offsets)


def cells(h: int, w: int, like: Tensor) -> Tensor:
    """The centres of the cells [h,w,1,2] in pixels."""
    return (pixels((h, w), like)[:, :, None] + 0.5) * CELL


def load_landmarks(name: str, device: str | torch.device = "cpu") -> Landmarks:
    """The networks of a file, or of the embedded one named "landmarks", ready to use.

    Raises MissingFileError, CheckpointError."""
    from ..checkpoints.building import build, make_config
    from ..checkpoints.native import read_model

    config, state, _ = read_model(name, kind="landmarks")
    model = build(Landmarks(make_config(LandmarkConfig, config, name)), state, name)
    return model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def face_size(points: Tensor) -> Tensor:
    """Half the side of the FFHQ crop (docs/method.md) of points [...,5,2] -> [...]."""
    across = (points[..., 1, :] - points[..., 0, :]).norm(dim=-1)
    down = points[..., 3, :] + points[..., 4, :] - points[..., 0, :] - points[..., 1, :]
    return torch.maximum(2 * across, 0.9 * down.norm(dim=-1)).clamp(min=1e-3)


def face_axis(points: Tensor) -> Tensor:
    """The unit vector to the right of an upright face, of points [...,5,2] -> [...,2]."""
    e2e = points[..., 1, :] - points[..., 0, :]
    e2m = (points[..., 3, :] + points[..., 4, :] - points[..., 0, :] - points[..., 1, :]) / 2
    x = e2e + torch.stack([e2m[..., 1], -e2m[..., 0]], -1)
    return x / x.norm(dim=-1, keepdim=True).clamp(min=1e-6)
