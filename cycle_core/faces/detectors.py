"""The face detectors that need a file of their own: insightface's and kornia's YuNet.

Each takes an image float32 [1,3,H,W] in [-1,1] and gives Faces; `face.detect` chooses between them
and the embedded network. Nothing heavy is imported before it is used."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from ..errors import CheckpointError, InputError
from ..files import weights
from ..images.io import resize, to_pil
from .detect import Face

_INSIGHTFACE, _KORNIA = ("insightface", "onnxruntime"), ("kornia",)
INSIGHTFACE_MODEL = "buffalo_l"
YUNET_MODEL = "yunet"
_YUNET_SIDES = (320, 640, 1280)  # longest sides looked at: YuNet's anchors span 10 to 256 pixels
_YUNET_BEST = 110  # longer side of a face's box, in the pixels that YuNet sees
_YUNET_ANCHORS = {
    "min_sizes": [[10, 16, 24], [32, 48], [64, 96], [128, 192, 256]],
    "steps": [8, 16, 32, 64],
    "variance": [0.1, 0.2],
    "clip": False,
}


def has_insightface() -> bool:
    """Whether the package can be imported and its model lies on this machine."""
    return not _missing(_INSIGHTFACE) and weights.find(INSIGHTFACE_MODEL) is not None


def has_yunet() -> bool:
    """The same of kornia."""
    return not _missing(_KORNIA) and weights.find(YUNET_MODEL) is not None


def find_with_insightface(image: torch.Tensor, min_score: float = 0.5) -> list[Face]:
    """insightface's detector and, where its folder has that model, its 68 landmarks.

    Raises InputError without the package, MissingFileError or CheckpointError for its model."""
    _need(_INSIGHTFACE, "insightface")
    analysis = _insightface(weights.fetch(INSIGHTFACE_MODEL), image.device.type)
    analysis.det_model.det_thresh = min_score
    import numpy as np

    bgr = np.ascontiguousarray(np.asarray(to_pil(image))[..., ::-1])
    faces = []
    for found in analysis.get(bgr):
        if found.kps is None:
            continue
        landmarks = found.get("landmark_3d_68")
        faces.append(
            Face(
                box=_box(found.bbox.tolist()),
                score=float(found.det_score),
                points=torch.from_numpy(found.kps[:5, :2].astype("float32")),
                landmarks=None
                if landmarks is None
                else torch.from_numpy(landmarks[:, :2].astype("float32")),
                detector="insightface",
            )
        )
    return faces


def find_with_yunet(image: torch.Tensor, min_score: float = 0.8) -> list[Face]:
    """kornia's YuNet, on the image's device, at up to three sizes of the photo (never enlarged).

    Raises InputError without the package, MissingFileError or CheckpointError for its file."""
    _need(_KORNIA, "yunet")
    from kornia.contrib import face_detection

    model = _yunet(weights.fetch(YUNET_MODEL)).to(image.device)
    longest = max(image.shape[-2:])
    sides = sorted({min(side, longest) for side in _YUNET_SIDES})
    with torch.inference_mode():
        rows = torch.cat([_yunet_pass(model, image, side, min_score) for side in sides])
        rows = rows[_plausible(rows)]
        # of one face seen at several sizes the one nearest to YuNet's liking has the best points
        longer = torch.maximum(rows[:, 2] - rows[:, 0], rows[:, 3] - rows[:, 1])
        rank = 1 / (1 + (longer * rows[:, 15] / _YUNET_BEST).clamp(1e-3).log2().abs())
        keep = face_detection.nms_kornia(rows[:, :4], rank, 0.3) if len(rows) else []
        rows = rows[keep].cpu()
    return [
        Face(
            box=_box(row[:4].tolist()),
            score=float(row[14]),
            points=row[4:14].view(5, 2).clone(),
            detector="yunet",
        )
        for row in rows
    ]


def _missing(packages: tuple[str, ...]) -> list[str]:
    return [name for name in packages if importlib.util.find_spec(name) is None]


def _need(packages: tuple[str, ...], detector: str) -> None:
    """Raises InputError where one of the packages, which are all optional, is not installed."""
    if missing := " ".join(_missing(packages)):
        raise InputError(
            f"The detector {detector} needs what is not installed: `pip install {missing}`, or "
            "choose another detector."
        )


def _yunet_pass(model: Any, image: torch.Tensor, side: int, min_score: float) -> torch.Tensor:
    """[N,16]: box and five points in pixels of `image`, score, the scale at which it was found."""
    height, width = image.shape[-2:]
    scale = side / max(height, width)
    small = (max(round(height * scale), 1), max(round(width * scale), 1))
    pixels = ((resize(image, small).clamp(-1, 1) + 1) * 127.5).flip(1)  # YuNet takes BGR, 0..255
    right, below = -small[1] % 32, -small[0] % 32
    pixels = F.pad(pixels, (0, max(right, 64 - small[1]), 0, max(below, 64 - small[0])))
    model.confidence_threshold = min_score
    rows = model.postprocess(model.model(pixels), *pixels.shape[-2:])[0]
    stretch = rows.new_tensor([width / small[1], height / small[0]])
    scales = rows.new_full((len(rows), 1), scale)
    return torch.cat([rows[:, :14] * stretch.repeat(7), rows[:, 14:15], scales], dim=1)


def _plausible(rows: torch.Tensor) -> torch.Tensor:
    """[N] bool: in gravel and sky YuNet's points are far apart for their box, in faces never."""
    box = torch.maximum(rows[:, 2] - rows[:, 0], rows[:, 3] - rows[:, 1])
    eyes, mouth = rows[:, 4:8].view(-1, 2, 2), rows[:, 10:14].view(-1, 2, 2)
    spread = torch.maximum(
        (eyes[:, 1] - eyes[:, 0]).norm(dim=1), (mouth.mean(1) - eyes.mean(1)).norm(dim=1)
    )
    return (spread > 0.1 * box) & (spread < 0.65 * box)


def _yunet(path: Path) -> Any:
    """kornia's FaceDetector with the weights of that file; its own constructor would download."""
    from kornia.contrib import face_detection

    class Detector(face_detection.FaceDetector):
        def __init__(self) -> None:
            torch.nn.Module.__init__(self)
            for name, value in _YUNET_ANCHORS.items():
                setattr(self, name, value)
            self.top_k, self.keep_top_k = 5000, 750
            self.confidence_threshold, self.nms_threshold = 0.6, 0.3
            self.nms = face_detection.nms_kornia
            self.model = face_detection.YuNet("test", pretrained=False)

    detector = Detector()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        detector.model.load_state_dict(state)
    except Exception as error:  # whatever a damaged or foreign file makes torch raise
        raise CheckpointError(
            f"{path} is not the YuNet face detector that kornia uses: delete it so that it can be "
            "downloaded again, or choose another detector."
        ) from error
    return detector.eval()


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


def _box(values: list[float]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(value) for value in values)
    return x0, y0, x1, y1
