"""What a report says of a picture: every measure of `METRICS`, and the attributes that changed."""

from __future__ import annotations

import torch
from torch import Tensor

from ..runtime.devices import one_thread_if_small
from .metrics import METRICS, Pair
from .perceptual import load_attributes
from .selection import Networks

NOTICEABLE = 0.5  # standard deviations of an attribute


class Judge:
    """The measuring networks on one device; nothing is trained by them.

    They are other networks than those of the losses where there are others; `names` says where
    there are not."""

    def __init__(self, device: torch.device | str = "cpu", embedded: bool = True):
        """embedded: whether the pictures are of the embedded domain, whose attributes can be read.

        Raises MissingFileError, CheckpointError."""
        self.networks = Networks.for_metrics(embedded).to(device)
        self.attributes = load_attributes().to(device) if embedded else None

    def names(self, losses: Networks | None = None) -> dict[str, str]:
        """Which networks measure, and which of them `losses` minimise too."""
        return self.networks.names(losses)

    @torch.no_grad()
    def compare(self, target: Tensor, image: Tensor) -> dict[str, float]:
        """How near `image` is to `target`, both float [1,3,R,R] in [-1,1], by each of METRICS."""
        return self.compare_all(target, image)[0]

    @torch.no_grad()
    def compare_all(self, target: Tensor, images: Tensor) -> list[dict[str, float]]:
        """The same for each of several pictures [B,3,R,R] of one target, which is read once."""
        with one_thread_if_small(self.networks.perceptual, self.networks.identity):
            pair = Pair(target, images)
            measured = {metric.key: metric.of(pair, self.networks).tolist() for metric in METRICS}
        return [
            {key: round(values[k], 5) for key, values in measured.items()}
            for k in range(len(images))
        ]

    @torch.no_grad()
    def changes(self, before: Tensor, after: Tensor) -> dict[str, float]:
        """The attributes that differ between two pictures float [1,3,R,R] by at least NOTICEABLE
        standard deviations of the domain, the largest first; {} outside the embedded domain."""
        if self.attributes is None:
            return {}
        with one_thread_if_small(self.attributes):
            moved = (self.attributes.codes(after) - self.attributes.codes(before))[0].tolist()
        named = zip(self.attributes.config.names, moved, strict=True)
        changed = [(name, round(x, 3)) for name, x in named if abs(x) >= NOTICEABLE]
        return dict(sorted(changed, key=lambda item: -abs(item[1])))
