"""Where a projection begins: the samples of a generator that look most like a picture."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..images.resize import resize
from ..models.generator import Generator
from .descent import Report
from .objective import Objective
from .sampling import inputs

_COMPARED = 32  # pixels at which all samples are compared by L2; the nearest ones by the objective
_RANKED = 8  # times as many as are wanted


@torch.no_grad()
def nearest_codes(
    G: Generator,
    image: Tensor,
    objective: Objective,
    samples: int,
    count: int = 1,
    seed: int = 0,
    label: int | None = None,
    batch: int = 8,
    report: Report = lambda step, preview: None,
) -> Tensor:
    """For each picture the `count` nearest of `samples` random codes: [B, count, N, w_dim].

    image: float [B,3,H,W] in [-1,1]. Small versions choose among all samples, which the lower
    blocks of a StyleGAN2 render alone, the objective among what is left. Only the codes of a batch
    are rendered at once. report(step, preview): after each of the `search_steps`."""
    rng = torch.Generator().manual_seed(seed)
    small = resize(image, min(_COMPARED, G.resolution)).flatten(1)  # [B, P]
    size = _COMPARED if _COMPARED in G.synthesis.sizes else None
    codes, distances = [], []
    for first in range(0, samples, batch):
        w = G.mapping(*inputs(G, min(batch, samples - first), rng, label))
        rendered = resize(
            G.synthesis(w, "const", size=size).clamp(-1, 1), min(_COMPARED, G.resolution)
        )
        codes.append(w[:, 0])
        distances.append(torch.cdist(small, rendered.flatten(1)))
        report(len(codes), rendered)
    kept = min(_RANKED * count, samples)
    order = torch.cat(distances, dim=1).topk(kept, largest=False).indices  # [B, kept]
    candidates = torch.cat(codes)[order]  # [B, kept, w_dim]
    found = []
    for picture, ws in zip(resize(image, G.resolution), candidates, strict=True):
        target = objective.target(picture[None])
        w = ws[:, None].expand(-1, G.num_ws, -1)
        losses = torch.cat(
            [objective(G.synthesis(part, "const"), target).total for part in w.split(batch)]
        )
        found.append(w[losses.topk(min(count, kept), largest=False).indices])
        report(len(codes) + len(found), G.synthesis(found[-1][:1], "const"))
    return torch.stack(found)


def search_steps(samples: int, pictures: int, batch: int) -> int:
    """How often `nearest_codes` reports: for each batch of samples, and for each picture."""
    return math.ceil(samples / batch) + pictures if samples else 0
