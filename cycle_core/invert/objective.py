"""What makes two pictures alike: the L_S of refinement and tuning, one number for each picture
(`Objective`); and the loss of pivotal tuning (PTI, section 3.2), in batches (`PivotLoss`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..images.resize import resize
from ..measure.selection import NONE, Networks
from .settings import ProjectSettings, RefineSettings, TuneSettings

LossValues = dict[str, float]  # of one picture, by the names of `Terms`
MAX_SIZE = 256  # the encoder's losses are taken at 256 px, as published


@dataclass(frozen=True)
class Objective:
    """L_S = l2 * L2 + lpips * LPIPS + identity * ID (Cycle Encoding, Mao et al. 2022).

    max_size: larger pictures are made smaller first, None compares at full size.
    """

    l2: float
    lpips: float
    identity: float = 0.0
    networks: Networks = NONE
    max_size: int | None = None

    @staticmethod
    def of(settings: RefineSettings | ProjectSettings, networks: Networks) -> Objective:
        """L_S with the weights of some settings, at their size or MAX_SIZE at most."""
        size = settings.size if isinstance(settings, RefineSettings) else None
        weights = settings.l2, settings.lpips, settings.identity
        return Objective(*weights, networks, size or MAX_SIZE)

    def target(self, image: Tensor) -> Target:
        """Prepare pictures [B,3,R,R] to be compared with: their features are computed once."""
        image = self._fit(image)
        networks = self.networks
        with torch.no_grad():
            return Target(
                image,
                networks.perceptual.features(image) if networks.perceptual and self.lpips else None,
                networks.identity.features(image) if networks.identity and self.identity else None,
            )

    def __call__(self, image: Tensor, target: Target) -> Terms:
        """Compare generated pictures [B,3,R,R] with the prepared ones."""
        image = self._fit(image)
        networks = self.networks
        l2 = (image - target.image).square().mean((1, 2, 3))
        lpips = identity = torch.zeros_like(l2)
        if target.lpips is not None:
            lpips = networks.perceptual.distance(networks.perceptual.features(image), target.lpips)
        if target.identity is not None:
            identity = networks.identity.distance(
                networks.identity.features(image), target.identity
            )
        total = self.l2 * l2 + self.lpips * lpips + self.identity * identity
        return Terms(total, l2, lpips, identity)

    def _fit(self, image: Tensor) -> Tensor:
        if self.max_size is None or image.shape[-1] <= self.max_size:
            return image
        return resize(image, self.max_size)


@dataclass(frozen=True)
class Target:
    """Pictures and their features."""

    image: Tensor
    lpips: Any  # what the networks' `features` gave, None where they are not used
    identity: Any


@dataclass(frozen=True)
class Terms:
    """The loss of each picture and its unweighted parts, each float [B]."""

    total: Tensor
    l2: Tensor
    lpips: Tensor
    identity: Tensor

    def rows(self) -> list[dict[str, float]]:
        """The losses of each picture, read from the device at once."""
        values = torch.stack([value.detach() for value in vars(self).values()], dim=1).tolist()
        return [dict(zip(vars(self), row, strict=True)) for row in values]

    def detached(self) -> Terms:
        return Terms(*(value.detach() for value in vars(self).values()))

    @staticmethod
    def mean(parts: Sequence[Terms]) -> Terms:
        """The means over the pictures of several batches, float [1] each."""
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        return Terms(*(torch.cat(column).mean(0, keepdim=True) for column in columns))


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
