"""The detail of a tuned generator: a map that is added to the features of one layer.

After DHR ("What Decreases Editing Capability?", Cao et al. 2023): it takes what the weights cannot
learn in few steps. Where another code is rendered it goes where its places go, see
`models/synthesis.py` and `models/flow.py`."""

from __future__ import annotations

import math

import torch

from ..checkpoints.registry import load_detail_encoder
from ..errors import MismatchError, MissingFileError
from ..files.assets import ASSETS
from ..models.detail_encoder import DetailEncoder
from ..models.fingerprints import same, short
from ..models.generator import Generator
from ..runtime.devices import compiled
from ..runtime.optim import fused_adam
from .descent import Descent, Evaluation, Report, descend
from .objective import PivotLoss
from .settings import TuneSettings


def detail_encoder_for(G: Generator) -> DetailEncoder:
    """The embedded network that predicts the detail of a generator's pictures, on its device.
    Raises MissingFileError where none was trained for it."""
    for path in ASSETS.glob("*_detail.safetensors"):
        network = load_detail_encoder(path, G.device)
        if same(network.generator_id, G.base_fingerprint):
            return network
    raise MissingFileError(
        f"No network predicts the detail of the pictures of {G.name}; only the embedded generator "
        "has one: choose the preset fast or paper."
    )


@torch.no_grad()
def predict_detail(
    G: Generator, network: DetailEncoder, loss: PivotLoss, settings: TuneSettings
) -> Descent:
    """The detail as the network sees it in one pass, beside what there is already: one step, which
    is kept where it brings the picture nearer.

    Raises MismatchError where the network was trained for another generator."""
    if not same(network.generator_id, G.base_fingerprint):
        raise MismatchError(
            f"This detail encoder was trained for the generator {short(network.generator_id)}, but "
            f"{short(G.base_fingerprint)} ({G.name}) was given."
        )
    synthesis, code = G.synthesis, loss.codes[0]
    detail = synthesis.detail
    if detail is None:
        detail = synthesis.put_detail(network.config.block, None)
    synthesis.detail_code = code if settings.detail_moves else None
    below = synthesis.below_detail(code)
    rendered = synthesis.above_detail(below, detail)
    states = detail.clone(), detail + network(loss.pictures[0], rendered, below.features)
    found = [loss(lambda *_, s=state: synthesis.above_detail(below, s), False) for state in states]
    history = [terms.rows()[0] for terms, _ in found]
    best = int(history[1]["total"] < history[0]["total"])
    detail.copy_(states[best])
    return Descent([best], found[best][1], [states[best]], [history])


def fit_detail(G: Generator, loss: PivotLoss, settings: TuneSettings, report: Report) -> Descent:
    """Move the map of one layer while the weights rest, and leave the best one in the generator."""
    synthesis, code = G.synthesis.requires_grad_(False), loss.codes[0]
    detail = synthesis.detail  # of a generator that was tuned before
    if detail is None:
        detail = synthesis.add_detail(settings.detail_size)
    synthesis.detail_code = code if settings.detail_moves else None
    detail.requires_grad_(True)
    optimizer = fused_adam([detail], settings.detail_rate)
    with torch.no_grad():  # once: it does not change
        below = synthesis.below_detail(code, settings.dtype)
    above = compiled(synthesis.above_detail) if settings.compile else synthesis.above_detail

    def evaluate(step: int, backward: bool) -> Evaluation:
        terms, image = loss(lambda *_: above(below, detail), backward)
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
