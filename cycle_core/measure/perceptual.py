"""Perceptual distance: LPIPS over a network's features, the networks, and their loader.

Those that come with the package are each trained from a seed of its own. Role "loss" is what
trainings, refinement and tuning minimise; "metrics" is in no loss, and compares pictures;
"reading", perceptual alone, is in no loss and no distance, and reads what an edit did."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from ..checkpoints.building import build
from ..checkpoints.native import load_network
from ..checkpoints.registry import open_model
from ..errors import InputError, MissingFileError
from ..files.weights import find
from ..images.resize import resize
from ..models.factors import Factor, FactorTable
from ..models.inception import FidInception

ROLES = ("loss", "metrics")  # of networks that compare
# Where pivotal tuning stops, by the network that measures. AlexNet: as published, in Cycle
# Encoding's fork of PTI. The others stand for the same distance: of VGG-16 what GANInverter reports
# for PTI's results, whose MSE is .0082; of the embedded networks what they say where a tuning has
# that MSE, by `python benchmarks/threshold.py`.
THRESHOLDS = {"AlexNet": 0.07, "VGG16": 0.0817, "embedded": 0.035}


# ------------------------------------------------------------------ distance
class Backbone(Protocol):
    """What `Lpips` needs of a network."""

    def taps(self, image: Tensor) -> list[Tensor]:
        """[B, 3, H, W] in [-1, 1] -> features [B, C_l, H_l, W_l] of several layers."""
        ...

    def layer_weights(self) -> list[Tensor]:
        """One weight [] or one for each channel [C_l], for every layer."""
        ...


class Lpips(nn.Module):
    """Learned perceptual distance (Zhang et al. 2018, equation 1): features of unit length at every
    position, weighted squared differences, mean over positions, sum over layers."""

    def __init__(self, network: Backbone, name: str, threshold: float = 0.07):
        """threshold: the distance at which pivotal tuning stops, see THRESHOLDS."""
        super().__init__()
        self.network = network
        self.name = name  # for reports: which network measured
        self.threshold = threshold

    def features(self, image: Tensor) -> list[Tensor]:
        """Unit-normalised features of pictures [B, 3, H, W] in [-1, 1], for `distance`."""
        taps = [x.float() for x in self.network.taps(image)]  # halves lose small differences
        # the published normalisation, epsilon outside the root, but with a gradient at zero
        return [x / (x.square().sum(1, keepdim=True).clamp(min=1e-20).sqrt() + 1e-10) for x in taps]

    def distance(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        """Two results of `features` for pictures of one size -> float [B], 0 for equal pictures.

        A batch of one is compared with every picture of the other."""
        total = torch.zeros((), device=a[0].device)
        for x, y, weight in zip(a, b, self.network.layer_weights(), strict=True):
            difference = (x - y).square() * weight.view(-1, 1, 1)
            total = total + difference.sum(1).mean((1, 2))
        return total

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """The distance of pictures [B, 3, H, W] in [-1, 1], float [B]."""
        return self.distance(self.features(a), self.features(b))


# ------------------------------------------------------------------ loaders
def load_perceptual(role: str = "loss", network: str = "embedded") -> Lpips:
    """The perceptual distance, on the CPU, frozen. Its `name` belongs in every report.

    network: "embedded"; "alex" or "vgg", LPIPS 0.1 with AlexNet or VGG-16 from the files `alexnet`
    and `lpips-alex`, or `vgg16` and `lpips-vgg`, of `weights` (one network for both roles); "auto",
    alex where its files are found, else embedded.
    Raises InputError for another name, MissingFileError, CheckpointError."""
    check_choice("role", role, ROLES)
    check_choice("network", network, ("embedded", *_PUBLISHED, "auto"))
    if network != "embedded":
        kind, features, heads = _PUBLISHED["alex" if network == "auto" else network]
        lower, upper = find(features), find(heads)
        if lower and upper:
            net = kind()
            build(net, open_model(lower, "perceptual") | open_model(upper, "perceptual"), lower)
            name = f"LPIPS ({kind.__name__})"
            return Lpips(net, name, THRESHOLDS[kind.__name__]).eval().requires_grad_(False)
        if network != "auto":
            raise MissingFileError(
                f"LPIPS with {kind.__name__} needs the file `{heads if lower else features}`, "
                'which is not on this machine: fetch it or use network="embedded".'
            )
    net = load_attributes(role)
    return (
        Lpips(net, f"LPIPS (embedded, {role})", THRESHOLDS["embedded"]).eval().requires_grad_(False)
    )


def find_vgg() -> Lpips | None:
    """LPIPS with VGG-16 where both of its files are on this machine, else None.
    Raises CheckpointError."""
    try:
        return load_perceptual("metrics", "vgg")
    except MissingFileError:
        return None


def find_inception() -> FidInception | None:
    """The network of the Frechet inception distance, on the CPU, frozen; None where its file,
    `inception` of `weights`, is not on this machine. Raises CheckpointError."""
    file = find("inception")
    return None if file is None else open_model(file, "fid")


def load_attributes(role: str = "reading") -> PortraitNet:
    """The network that reads the factors of embedded portraits, on the CPU, frozen.

    Those of the roles "loss" and "metrics" are the backbones of the embedded perceptual distances.
    Raises InputError, MissingFileError, CheckpointError."""
    check_choice("role", role, (*ROLES, "reading"))
    return open_attributes(f"perceptual_{role}")


def open_attributes(name: str | Path) -> PortraitNet:
    """The same of a file of `people.training features perceptual`, or an embedded name.

    Raises MissingFileError, CheckpointError."""
    net = load_network("perceptual", name, lambda config: PortraitNet(PortraitNetConfig(**config)))
    return net.fold()


def check_choice(what: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise InputError(f"The {what} of a network is one of {', '.join(known)}, not {given!r}.")


# ------------------------------------------------------------------ embedded
@dataclass(frozen=True)
class PortraitNetConfig:
    factors: tuple[Factor, ...]  # that it reads; rows of a table where it comes from a file
    widths: tuple[int, ...] = (32, 64, 96, 128)  # of the levels at 1/2, 1/4, 1/8 and 1/16 size
    blocks: int = 1  # residual blocks in each level
    input_size: int = 64  # at which factors are read; features are taken at any size
    hidden: int = 256

    @property
    def table(self) -> FactorTable:
        return FactorTable(self.factors)

    @property
    def names(self) -> tuple[str, ...]:
        return self.table.names

    def __post_init__(self) -> None:
        rows = [f if isinstance(f, dict) else asdict(f) for f in self.factors]  # JSON gives dicts
        object.__setattr__(self, "factors", FactorTable.of(rows).factors)


class PortraitNet(nn.Module):
    """A small residual network over portraits: features at several scales, and all factors."""

    tap_weights: Tensor

    def __init__(self, config: PortraitNetConfig):
        super().__init__()
        self.config = config
        levels, in_width = [], 3
        for width in config.widths:
            levels.append(_level(in_width, width, config.blocks))
            in_width = width
        self.levels = nn.ModuleList(levels)
        grid = config.input_size // 2 ** len(config.widths)
        self.hidden = nn.Sequential(
            nn.Flatten(),
            nn.Linear(in_width * grid * grid, config.hidden),
            nn.BatchNorm1d(config.hidden),
            nn.ReLU(),
        )
        self.head = nn.Linear(config.hidden, len(config.names))
        self.register_buffer("tap_weights", torch.ones(len(config.widths)))

    def fold(self) -> PortraitNet:
        """The batch norms of a frozen network put into its convolutions, in place: the same to
        rounding, in less time. It gives itself."""
        levels: Any = self.levels
        for level in levels:
            level[0], level[1] = fuse_conv_bn_eval(level[0], level[1]), nn.Identity()
            for block in level[3:]:
                block.conv1 = fuse_conv_bn_eval(block.conv1, block.norm1)
                block.conv2 = fuse_conv_bn_eval(block.conv2, block.norm2)
                block.norm1 = block.norm2 = nn.Identity()
        return self

    def taps(self, image: Tensor) -> list[Tensor]:
        """image: float [B, 3, H, W] in [-1, 1] -> features [B, C_l, H / 2^(l+1), W / 2^(l+1)]."""
        features, x = [], image
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features

    def layer_weights(self) -> list[Tensor]:
        """The weight of each tap in the perceptual distance, [] each.

        They make the mean distance of two random renders 0.5, to which every level adds as much,
        so that weights and thresholds of LPIPS keep their meaning."""
        return list(self.tap_weights)

    def codes(self, image: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] of aligned portraits -> [B, len(names)], the standard Gaussian code
        of every factor, unbounded; of something absent, any low enough code."""
        taps = self.taps(resize(image, self.config.input_size))
        return self.head(self.hidden(taps[-1]))

    def factors(self, image: Tensor) -> Tensor:
        """The same as `codes`, as factors in their ranges."""
        return self.config.table.to_factors(self.codes(image))

    forward = codes


def _level(in_width: int, width: int, blocks: int) -> nn.Sequential:
    """Half the size: a convolution of stride 2 (wide enough to miss no pixel), residual blocks."""
    size = 6 if in_width == 3 else 3
    layers: list[nn.Module] = [
        nn.Conv2d(in_width, width, size, 2, (size - 1) // 2, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]
    return nn.Sequential(*layers, *[_Residual(width) for _ in range(blocks)])


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(y)).add_(x), inplace=True)


# ------------------------------------------------------------------ published
class _Published(nn.Module):
    """The features of a network of torchvision with the linear heads of LPIPS 0.1 (Zhang et al.
    2018), one head behind each layer of `tapped`. Tensor names are those of the two files."""

    shift: Tensor
    scale: Tensor

    def __init__(self, features: list[nn.Module], tapped: dict[int, int]):
        """tapped: index of a layer in `features` -> number of its channels."""
        super().__init__()
        self.features = nn.Sequential(*features)
        self.tapped = tapped
        for i, width in enumerate(tapped.values()):
            head = nn.Conv2d(width, 1, 1, bias=False)  # its weight [1, C, 1, 1] weighs channels
            self.add_module(f"lin{i}", nn.ModuleDict({"model": nn.ModuleDict({"1": head})}))
        # ImageNet's statistics for pictures in [-1, 1], with the rounding of LPIPS
        shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        self.register_buffer("shift", shift.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", scale.view(1, 3, 1, 1), persistent=False)

    def taps(self, image: Tensor) -> list[Tensor]:
        """image: float [B, 3, H, W] in [-1, 1], H and W at least 35 -> the features to compare."""
        x, taps = (image - self.shift) / self.scale, []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.tapped:
                taps.append(x)
        return taps

    def layer_weights(self) -> list[Tensor]:
        """The weight of every channel in the distance, one [C] for each tap."""
        heads = range(len(self.tapped))
        return [self.get_parameter(f"lin{i}.model.1.weight").flatten() for i in heads]


class AlexNet(_Published):
    """AlexNet up to its fifth ReLU; every ReLU is tapped."""

    def __init__(self) -> None:
        features = [
            nn.Conv2d(3, 64, 11, 4, 2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
        ]
        super().__init__(features, {1: 64, 4: 192, 7: 384, 9: 256, 11: 256})


class VGG16(_Published):
    """VGG-16 up to its last ReLU; the last ReLU before each pooling is tapped."""

    def __init__(self) -> None:
        features: list[nn.Module] = []
        tapped, in_width = {}, 3
        for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            if features:
                features.append(nn.MaxPool2d(2))
            for _ in range(count):
                features += [nn.Conv2d(in_width, width, 3, padding=1), nn.ReLU()]
                in_width = width
            tapped[len(features) - 1] = width
        super().__init__(features, tapped)


# network of `load_perceptual` -> its class, the names of its features and its heads in `weights`
_PUBLISHED: dict[str, tuple[type[AlexNet | VGG16], str, str]] = {
    "alex": (AlexNet, "alexnet", "lpips-alex"),
    "vgg": (VGG16, "vgg16", "lpips-vgg"),
}
