"""The networks of losses and measures as their projects publish them: bare state dicts.

ArcFace's `model_ir_se50.pth`, the linear heads of lpips 0.1, and the AlexNet and VGG-16 of
torchvision that lie under them. `measure/perceptual.py` puts heads and features together. The
Inception of FID is pytorch-fid's. MoCo v2 alone is published as the checkpoint of its training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ..models.inception import FidInception
from ..models.irse import IdentityNet
from ..models.moco import MocoNet
from .building import build, build_on_meta
from .lazy_tensors import StoredTensor
from .reading import Contents, Format, load_tensors
from .state_dicts import beside

Shapes = dict[str, tuple[int, ...]]
_QUERY = "module.encoder_q."  # the encoder that MoCo trains; the other follows it slowly


def _load_identity(contents: Contents) -> IdentityNet:
    network = build_on_meta(IdentityNet, load_tensors(contents.data), contents.path)
    network.name = "ArcFace IR-SE50"
    return network


def _load_moco(contents: Contents) -> MocoNet:
    """The encoder without its projection head `fc`."""
    stored = contents.data["state_dict"]
    wanted = {k: v for k, v in stored.items() if not str(k).startswith(f"{_QUERY}fc.")}
    return build_on_meta(MocoNet, load_tensors(wanted, _QUERY), contents.path)


def _load_inception(contents: Contents) -> FidInception:
    """Without its classifier, and with what counts the batches of a training left out or not."""
    network = FidInception()
    wanted = {k: v for k, v in contents.data.items() if not str(k).startswith("fc.")}
    counts = {k: v for k, v in network.state_dict().items() if k.endswith("num_batches_tracked")}
    return build(network, counts | load_tensors(wanted), contents.path)


def _load_tensors(contents: Contents) -> dict[str, Tensor]:
    """What LPIPS takes: the features or the heads, but not the classifier."""
    wanted = {k: v for k, v in contents.data.items() if str(k).startswith(("features.", "lin"))}
    return load_tensors(wanted)


def _format(
    name: str, kind: str, shapes: Shapes, load: Callable[[Contents], Any], under: str = ""
) -> Format:
    """shapes: of some tensors, by which no other network is taken for this one; under: the entry
    of the file that holds them, "" for a bare state dict."""

    def detect(contents: Contents) -> bool:
        data = beside(contents, under) if under else contents.data
        if not isinstance(data, dict):
            return False
        found = ((data.get(name), shape) for name, shape in shapes.items())
        return all(isinstance(t, StoredTensor) and t.shape == shape for t, shape in found)

    return Format(name, kind, detect, load)


FORMATS = (
    _format("Inception-v3", "fid",
            {"Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3), "fc.weight": (1008, 2048)},
            _load_inception),
    _format("ArcFace IR-SE50", "identity",
            {"input_layer.0.weight": (64, 3, 3, 3), "output_layer.3.weight": (512, 25088)},
            _load_identity),
    _format("MoCo v2 ResNet-50", "identity",
            {f"{_QUERY}conv1.weight": (64, 3, 7, 7), f"{_QUERY}fc.2.weight": (128, 2048)},
            _load_moco, under="state_dict"),
    _format("torchvision's AlexNet", "perceptual",
            {"features.0.weight": (64, 3, 11, 11), "features.10.weight": (256, 256, 3, 3)},
            _load_tensors),
    _format("torchvision's VGG-16", "perceptual",
            {"features.0.weight": (64, 3, 3, 3), "features.17.weight": (512, 256, 3, 3)},
            _load_tensors),
    _format("the heads of LPIPS for AlexNet", "perceptual",
            {"lin1.model.1.weight": (1, 192, 1, 1), "lin4.model.1.weight": (1, 256, 1, 1)},
            _load_tensors),
    _format("the heads of LPIPS for VGG-16", "perceptual",
            {"lin1.model.1.weight": (1, 128, 1, 1), "lin4.model.1.weight": (1, 512, 1, 1)},
            _load_tensors),
)  # fmt: skip
