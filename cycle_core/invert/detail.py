"""The detail of a tuned generator: a map that is added to the features of one layer.

After DHR ("What Decreases Editing Capability?", Cao et al. 2023): it takes what the weights cannot
learn in few steps. Where another code is rendered it goes where its places go, see
`models/synthesis.py` and `models/flow.py`."""

from __future__ import annotations

import math

from ..models.generator import Generator
from ..runtime.devices import compiled
from ..runtime.optim import fused_adam
from .descent import Descent, Evaluation, Report, descend
from .pivot_loss import PivotLoss
from .settings import TuneSettings


def fit_detail(G: Generator, loss: PivotLoss, settings: TuneSettings, report: Report) -> Descent:
    """Move the map of one layer while the weights rest, and leave the best one in the generator."""
    synthesis, code = G.synthesis.requires_grad_(False), loss.codes[0]
    detail = synthesis.detail  # of a generator that was tuned before
    if detail is None:
        detail = synthesis.add_detail(settings.detail_size)
    synthesis.detail_code = code if settings.detail_moves else None
    detail.requires_grad_(True)
    optimizer = fused_adam([detail], settings.detail_rate)
    above = synthesis.above_detail(code, settings.dtype)
    above = compiled(above) if settings.compile else above

    def evaluate(step: int, backward: bool) -> Evaluation:
        terms, image = loss(lambda *_: above(), backward)
        return Evaluation(terms, image, (detail,))

    def set_rate(step: int) -> None:
        share = step / settings.detail_steps
        optimizer.param_groups[0]["lr"] = settings.detail_rate * (1 + math.cos(math.pi * share)) / 2

    found = descend(
        evaluate, optimizer, settings.detail_steps,
        before_update=set_rate, enough=loss.is_enough, report=report,
    )  # fmt: skip
    found.restore([detail])
    return found
