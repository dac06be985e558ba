"""The detector of insightface, an optional package, with its models of the catalogue."""

from __future__ import annotations

import contextlib
import io
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ...errors import CheckpointError
from ...files import weights
from ...images.io import to_pil
from ..frame import Face
from .registry import require

PACKAGES, MODEL = ("insightface", "onnxruntime"), "buffalo_l"


def find(image: torch.Tensor, min_score: float = 0.5) -> list[Face]:
    """Faces with five points and, where its folder has that model, 68 landmarks.

    Raises InputError without the package, MissingFileError or CheckpointError for its model."""
    require("insightface", *PACKAGES)
    analysis = _insightface(weights.fetch(MODEL), image.device.type)
    analysis.det_model.det_thresh = min_score
    import numpy as np

    bgr = np.ascontiguousarray(np.asarray(to_pil(image))[..., ::-1])
    faces = []
    for found in analysis.get(bgr):
        if found.kps is None:
            continue
        x0, y0, x1, y1 = map(float, found.bbox)
        landmarks = found.get("landmark_3d_68")
        faces.append(
            Face(
                box=(x0, y0, x1, y1),
                score=float(found.det_score),
                points=torch.from_numpy(found.kps[:5, :2].astype("float32")),
                landmarks=None
                if landmarks is None
                else torch.from_numpy(landmarks[:, :2].astype("float32")),
                detector="insightface",
            )
        )
    return faces


@lru_cache(maxsize=1)  # its sessions take seconds to start, and a folder of photos needs one
def _insightface(folder: Path, device: str) -> Any:
    """A prepared FaceAnalysis of `<root>/models/<name>`, detection and 68 landmarks only."""
    import onnxruntime
    from insightface.app import FaceAnalysis

    wanted = ["CPUExecutionProvider"]
    if device == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        wanted.insert(0, "CUDAExecutionProvider")
    if folder.parent.name != "models":
        raise CheckpointError(
            f"insightface looks for its models in a folder models/{folder.name}, but they lie in "
            f"{folder}: move them there."
        )
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it loads
            analysis = FaceAnalysis(
                name=folder.name,
                root=str(folder.parent.parent),
                allowed_modules=["detection", "landmark_3d_68"],
                providers=wanted,
            )
            analysis.prepare(ctx_id=0 if len(wanted) > 1 else -1, det_size=(640, 640))
    except Exception as error:  # onnxruntime's, onnx's and plain assertions
        raise CheckpointError(
            f"insightface cannot use the models in {folder}: download {folder.name} again, or "
            "choose another detector."
        ) from error
    return analysis
