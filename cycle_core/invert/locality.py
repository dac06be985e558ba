"""The locality regularisation of PTI (Roich et al. 2021, section 3.3): faces near the pivot are to
stay what they were before tuning."""

from __future__ import annotations

import torch
from torch import Tensor

from ..measure.selection import Networks
from ..models.generator import Generator
from ..runtime.devices import compiled
from .objective import Objective, Rendering
from .settings import TuneSettings


class Locality:
    """Each call samples w_z (truncation 0.5), goes from a pivot towards it,

        w_r = w_p + alpha (w_z - w_p) / |w_z - w_p|  (PTI, section 3.3)

    and holds the pictures of the tuned and of the original generator at w_r together by
    L2 and LPIPS (0.1 of each and an alpha of 30 in the paper, see `TuneSettings`), without noise.
    alpha is at most |w_z - w_p|: in a latent space smaller than FFHQ's, 30 would end beyond the
    domain. Several pivots take turns."""

    def __init__(
        self,
        original: Generator,
        pivots: Tensor,
        settings: TuneSettings,
        networks: Networks,
        seed: int,
    ):
        self.original, self.pivots, self.settings, self.calls = original, pivots, settings, 0
        self.render: Rendering = (
            compiled(original.synthesis) if settings.compile else original.synthesis
        )
        self.rng = torch.Generator().manual_seed(seed)
        self.objective = Objective(settings.locality_l2, settings.locality_lpips, networks=networks)

    def __call__(self, tuned: Rendering) -> Tensor:
        """The loss of one sample, float []. tuned: as the synthesis network of the original."""
        settings = self.settings
        pivot = self.pivots[self.calls % len(self.pivots)][None]  # [1,N,w_dim]
        self.calls += 1
        z, c = self.original.draw_inputs(1, self.rng)
        with torch.no_grad():
            w_z = self.original.mapping(z, c, truncation=settings.locality_truncation)
            distance = (w_z - pivot).norm()
            alpha = distance.clamp(max=settings.locality_alpha)
            w_r = pivot + (w_z - pivot) * (alpha / distance.clamp(min=1e-8))
            target = self.objective.target(self.render(w_r, "none", settings.dtype))
        return self.objective(tuned(w_r, "none", settings.dtype), target).total.mean()
