"""What a report says of a picture: every measure of METHOD section 5 that one picture has.

The networks are those that no loss uses, or the published ones where their files are found; the
report names them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import metrics
from .networks import load_attributes, load_identity, load_perceptual

NOTICEABLE = 0.5  # standard deviations of an attribute


class Judge:
    """The measuring networks on one device; nothing is trained by them."""

    def __init__(self, device: torch.device | str = "cpu", domain: bool = True):
        """domain: whether the pictures are of the embedded domain, whose attributes can be read.

        Raises MissingFileError, CheckpointError."""
        network = "embedded" if domain else "auto"
        self.perceptual = load_perceptual("metrics", "auto").to(device)
        self.identity = load_identity("metrics", network).to(device)
        self.attributes = load_attributes("metrics").to(device) if domain else None

    def names(self) -> dict[str, str]:
        """Which networks measure."""
        return {"lpips": self.perceptual.name, "identity": self.identity.name}

    @torch.no_grad()
    def compare(self, target: Tensor, image: Tensor) -> dict[str, float]:
        """How near `image` is to `target`, both float [1,3,R,R] in [-1,1]: mse (in [-1,1]), psnr
        (dB), ssim, ms_ssim, lpips (0 is equal) and identity (cosine, 1 is the same person)."""
        measured = {
            "mse": metrics.mse(target, image),
            "psnr": metrics.psnr(target, image),
            "ssim": metrics.ssim(target, image),
            "ms_ssim": metrics.ms_ssim(target, image),
            "lpips": metrics.lpips(target, image, self.perceptual),
            "identity": metrics.identity(target, image, self.identity),
        }
        return {name: round(float(value), 5) for name, value in measured.items()}

    @torch.no_grad()
    def changes(self, before: Tensor, after: Tensor) -> dict[str, float]:
        """The attributes that differ between two pictures float [1,3,R,R] by at least NOTICEABLE
        standard deviations of the domain, the largest first; {} outside the embedded domain."""
        if self.attributes is None:
            return {}
        moved = (self.attributes.codes(after) - self.attributes.codes(before))[0].tolist()
        named = zip(self.attributes.config.names, moved, strict=True)
        changed = [(name, round(x, 3)) for name, x in named if abs(x) >= NOTICEABLE]
        return dict(sorted(changed, key=lambda item: -abs(item[1])))
