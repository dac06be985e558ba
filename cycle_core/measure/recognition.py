"""A face recogniser that is in no loss here nor in the published trainings: insightface's."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import CheckpointError
from ..files import weights
from ..models.irse import IdentityConfig, face_of

_FOLDER, _FILE = "buffalo_l", "w600k_r50.onnx"


def find_recognizer() -> Recognizer | None:
    """insightface's ResNet-50 where onnxruntime and its file are on this machine, else None.

    Raises CheckpointError for a file that cannot be used."""
    folder = weights.find(_FOLDER)
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
