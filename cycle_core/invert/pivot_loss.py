"""What tuning minimises at the pivots, and when it is small enough."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .descent import LossValues
from .objective import Objective, Terms
from .settings import TuneSettings

Rendering = Callable[..., Tensor]  # a synthesis network, compiled or not


class PivotLoss:
    """How far what a generator renders of the pivots is from the pictures, in batches:

    l2 L2(x, G(w_p)) + lpips LPIPS(x, G(w_p))  (PTI, section 3.2)."""

    def __init__(self, objective: Objective, image: Tensor, w: Tensor, settings: TuneSettings):
        self.objective, self.dtype, self.count = objective, settings.dtype, len(image)
        self.threshold = settings.threshold if settings.lpips > 0 else None
        self.pictures, self.codes = image.split(settings.batch), w.split(settings.batch)
        # the features of many pictures would fill the memory: then they are computed each time
        self.target = objective.target(image) if len(self.pictures) == 1 else None

    def __call__(self, render: Rendering, backward: bool) -> tuple[Terms, Tensor]:
        """The means of the losses, and pictures [B,3,R,R]. With `backward` the gradients of the
        mean loss are added, batch by batch."""
        images, parts = [], []
        for picture, w in zip(self.pictures, self.codes, strict=True):
            target = self.target or self.objective.target(picture)
            image = render(w, "const", self.dtype)
            terms = self.objective(image, target)
            if backward:
                (terms.total.sum() / self.count).backward()
            images.append(image.detach())
            parts.append(terms.detached())
        return Terms.mean(parts), torch.cat(images)

    def is_enough(self, losses: LossValues) -> bool:
        """Whether tuning may stop; never where the threshold is 0."""
        return bool(self.threshold) and losses["lpips"] <= self.threshold
