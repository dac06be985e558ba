"""The networks of the losses as their projects publish them: bare state dicts.

ArcFace's `model_ir_se50.pth`, the linear heads of lpips 0.1, and the AlexNet and VGG-16 of
torchvision that lie under them. `networks` puts heads and features together.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..irse import IdentityNet
from .format import Format
from .ours import build
from .reading import Contents, load_tensors
from .records import StoredTensor

Shapes = dict[str, tuple[int, ...]]


def _load_identity(contents: Contents) -> IdentityNet:
    with torch.device("meta"):
        network = IdentityNet()
    build(network, load_tensors(contents.data), contents.path)
    network.name = "ArcFace IR-SE50"
    return network


def _load_tensors(contents: Contents) -> dict[str, Tensor]:
    """What LPIPS takes: the features or the heads, but not the classifier."""
    wanted = {k: v for k, v in contents.data.items() if str(k).startswith(("features.", "lin"))}
    return load_tensors(wanted)


def _format(name: str, kind: str, shapes: Shapes) -> Format:
    """shapes: of some tensors, by which no other network is taken for this one."""

    def detect(contents: Contents) -> bool:
        data = contents.data
        if not isinstance(data, dict):
            return False
        found = ((data.get(name), shape) for name, shape in shapes.items())
        return all(isinstance(t, StoredTensor) and t.shape == shape for t, shape in found)

    return Format(name, kind, detect, _load_identity if kind == "identity" else _load_tensors)


FORMATS = (
    _format(
        "ArcFace IR-SE50",
        "identity",
        {"input_layer.0.weight": (64, 3, 3, 3), "output_layer.3.weight": (512, 25088)},
    ),
    _format(
        "torchvision's AlexNet",
        "perceptual",
        {"features.0.weight": (64, 3, 11, 11), "features.10.weight": (256, 256, 3, 3)},
    ),
    _format(
        "torchvision's VGG-16",
        "perceptual",
        {"features.0.weight": (64, 3, 3, 3), "features.17.weight": (512, 256, 3, 3)},
    ),
    _format(
        "the heads of LPIPS for AlexNet",
        "perceptual",
        {"lin1.model.1.weight": (1, 192, 1, 1), "lin4.model.1.weight": (1, 256, 1, 1)},
    ),
    _format(
        "the heads of LPIPS for VGG-16",
        "perceptual",
        {"lin1.model.1.weight": (1, 128, 1, 1), "lin4.model.1.weight": (1, 512, 1, 1)},
    ),
)
