"""Identity: the networks of losses and measures, and insightface's recogniser, which is in no loss
here nor in the published trainings."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checkpoints.native import load_network
from ..checkpoints.registry import open_model
from ..errors import CheckpointError, MissingFileError
from ..files.weights import find
from ..models.irse import IdentityConfig, IdentityNet, face_of
from ..models.moco import MocoNet
from .perceptual import ROLES, check_choice

_FOLDER, _FILE = "buffalo_l", "w600k_r50.onnx"


def load_identity(role: str = "loss", network: str = "embedded") -> IdentityNet:
    """The identity network, on the CPU, frozen.

    network: "embedded"; "arcface", the IR-SE50 of the file `arcface` of `weights` (one network for
    both roles); "auto", arcface where its file is found, else embedded.
    Raises InputError for another name, MissingFileError, CheckpointError."""
    check_choice("role", role, ROLES)
    check_choice("network", network, ("embedded", "arcface", "auto"))
    file = find("arcface")
    if network != "embedded" and file is not None:
        return open_model(file, "identity")
    if network == "arcface":
        raise MissingFileError(
            "The identity network of ArcFace needs the file `arcface` (model_ir_se50.pth), which "
            'is not on this machine: get it or use network="embedded".'
        )
    name = f"identity_{role}"
    net = load_network("identity", name, lambda config: IdentityNet(IdentityConfig(**config)))
    net.name = f"identity (embedded, {role})"
    return net


def load_moco() -> MocoNet:
    """What takes the place of the identity network where there are no faces: the ResNet-50 of the
    file `moco` of `weights`, on the CPU, frozen. None is embedded.

    Raises MissingFileError, CheckpointError."""
    file = find("moco")
    if file is None:
        raise MissingFileError(
            "The identity loss for other things than faces needs the file `moco` "
            "(moco_v2_800ep_pretrain.pth.tar), which is not on this machine: fetch it, or train "
            "without that loss."
        )
    return open_model(file, "identity")


def find_recognizer() -> Recognizer | None:
    """insightface's ResNet-50 where onnxruntime and its file are on this machine, else None.

    Raises CheckpointError for a file that cannot be used."""
    folder = find(_FOLDER)
    if folder is None or not (folder / _FILE).is_file():
        return None
    return Recognizer(folder / _FILE) if importlib.util.find_spec("onnxruntime") else None


class Recognizer:
    """An aligned face -> a unit vector, as `IdentityNet`; without gradients, on the CPU."""

    name = "insightface w600k_r50"

    def __init__(self, path: Path):
        import onnxruntime

        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(path), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has its own for every kind of damage
            raise CheckpointError(
                f"{path} cannot be used by onnxruntime: download {_FOLDER} again, or remove it."
            ) from error
        self._input = self._session.get_inputs()[0].name

    def __call__(self, image: Tensor) -> Tensor:
        """image: float [B,3,H,W] in [-1,1], crops aligned as FFHQ's, of any size. Gives float32
        [B,512] of length 1."""
        face = face_of(image, IdentityConfig())  # ArcFace's networks are trained on the same part
        (vectors,) = self._session.run(None, {self._input: face.float().cpu().numpy()})
        return F.normalize(torch.from_numpy(vectors).to(image.device), dim=1)
