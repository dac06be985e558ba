"""How near an encoder's reconstructions are to pictures that it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..invert.objective import Objective
from ..runtime import distributed
from .data import Pictures

CHUNK = 16  # pictures that are validated at once
MEASURES = {"mse": "l2", "lpips": "lpips", "identity": "identity"}  # as `Terms` names them


def reconstruction_errors(
    ways: Mapping[str, Callable[[Tensor], Tensor]],
    pictures: Pictures,
    count: int,
    objective: Objective,
    device: torch.device,
) -> tuple[dict[str, dict[str, float]], dict[str, Tensor]]:
    """({way: {measure: mean}} over the first `count` pictures, which the processes share;
    columns of a grid with this process's first six, empty where it has none).

    ways: name -> a function from pictures float32 [B,3,R,R] in [-1,1] to their reconstructions.
    mse in [-1,1]; lpips and identity as the losses have them (their networks, distances)."""
    sums = {name: dict.fromkeys(MEASURES, 0.0) for name in ways}
    columns: dict[str, Tensor] = {}
    with distributed.raise_everywhere():
        for places in distributed.own_items(torch.arange(count).split(CHUNK)):
            image = pictures[places].to(device)
            target = objective.target(image)
            made = {name: reconstruct(image) for name, reconstruct in ways.items()}
            if not columns:
                columns = {"target": image[:6], **{name: x[:6] for name, x in made.items()}}
            for name, picture in made.items():
                terms = objective(picture, target)
                for measure, term in MEASURES.items():
                    sums[name][measure] += float(getattr(terms, term).sum())
    several = distributed.world_size()
    sums = {name: distributed.mean(of_way) for name, of_way in sums.items()}
    return {
        name: {measure: round(v * several / count, 6) for measure, v in of_way.items()}
        for name, of_way in sums.items()
    }, columns
