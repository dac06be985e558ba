"""The detector YuNet, in kornia's implementation, on the image's device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from ...checkpoints.reading import load_tensors, read_file
from ...errors import CheckpointError, CycleError
from ...files import weights
from ...images.resize import resize
from ..frame import Face
from .registry import require

PACKAGES, MODEL = ("kornia",), "yunet"
_SIDES = (320, 640, 1280)  # longest sides looked at: YuNet's anchors span 10 to 256 pixels
_BEST = 110  # longer side of a face's box, in the pixels that YuNet sees
_ANCHORS = {
    "min_sizes": [[10, 16, 24], [32, 48], [64, 96], [128, 192, 256]],
    "steps": [8, 16, 32, 64],
    "variance": [0.1, 0.2],
    "clip": False,
}


def find(image: torch.Tensor, min_score: float = 0.8) -> list[Face]:
    """Faces with five points, looked for at up to three sizes of the photo (never enlarged).

    Raises InputError without the package, MissingFileError or CheckpointError for its file."""
    require("yunet", *PACKAGES)
    from kornia.contrib import face_detection

    model = _load(weights.fetch(MODEL)).to(image.device)
    longest = max(image.shape[-2:])
    sides = sorted({min(side, longest) for side in _SIDES})
    with torch.inference_mode():
        rows = torch.cat([_pass(model, image, side, min_score) for side in sides])
        rows = rows[_plausible(rows)]
        # of one face seen at several sizes the one nearest to YuNet's liking has the best points
        longer = torch.maximum(rows[:, 2] - rows[:, 0], rows[:, 3] - rows[:, 1])
        rank = 1 / (1 + (longer * rows[:, 15] / _BEST).clamp(1e-3).log2().abs())
        keep = face_detection.nms_kornia(rows[:, :4], rank, 0.3) if len(rows) else []
        rows = rows[keep].cpu()
    found = []
    for row in rows:
        x0, y0, x1, y1 = row[:4].tolist()
        points = row[4:14].view(5, 2).clone()
        found.append(Face((x0, y0, x1, y1), float(row[14]), points, detector="yunet"))
    return found


def _pass(model: Any, image: torch.Tensor, side: int, min_score: float) -> torch.Tensor:
    """[N,16]: box and five points in pixels of `image`, score, the scale at which it was found."""
    height, width = image.shape[-2:]
    scale = side / max(height, width)
    small = (max(round(height * scale), 1), max(round(width * scale), 1))
    levels = (resize(image, small, "bicubic").clamp(-1, 1) + 1) * 127.5
    pixels = levels.flip(1)  # YuNet takes BGR, 0..255
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


def _load(path: Path) -> Any:
    """kornia's FaceDetector with the weights of that file; its own constructor would download."""
    from kornia.contrib import face_detection

    class Detector(face_detection.FaceDetector):
        def __init__(self) -> None:
            torch.nn.Module.__init__(self)
            for name, value in _ANCHORS.items():
                setattr(self, name, value)
            self.top_k, self.keep_top_k = 5000, 750
            self.confidence_threshold, self.nms_threshold = 0.6, 0.3
            self.nms = face_detection.nms_kornia
            self.model = face_detection.YuNet("test", pretrained=False)

    detector = Detector()
    try:
        detector.model.load_state_dict(load_tensors(read_file(path).data))
    except (CycleError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is not the YuNet face detector that kornia uses: delete it so that it can be "
            "downloaded again, or choose another detector."
        ) from error
    return detector.eval()
