"""What is measured of a pivot and the generator that draws it: distortion, and editability exactly.

The embedded networks here are those of role "metrics", which no training, refinement or tuning
minimised.
Everything is one number for each picture, so that intervals can be drawn from the pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..codes import Code
from ..directions.direction import Direction
from ..directions.discovery import w_statistics
from ..directions.editing import edit
from ..directions.files import load_direction
from ..errors import InputError
from ..invert.encode import encode, generate
from ..measure import metrics
from ..measure.networks import Networks
from ..measure.perceptual import PortraitNet, load_attributes
from ..models.encoder import Encoder
from ..models.generator import Generator
from ..portraits.factors import index
from .sets import EDITED, TestSet, deviations

STRENGTHS = (0.5, 1.0, 1.5, 2.0, 3.0)  # standard deviations, towards the middle of the range
CHANGE = 1.0  # the achieved change, in standard deviations, at which edits are compared
SAMPLES = 10_000  # codes that say what W is
Numbers = dict[str, list[float]]  # measure -> one number for each picture


@dataclass(frozen=True)
class Rulers:
    """The measuring networks, the directions that edits follow, and where W lies."""

    networks: Networks
    directions: tuple[Direction, ...]
    mean: Tensor  # [w_dim], of random w
    whitening: Tensor  # [w_dim, w_dim]
    attributes: PortraitNet | None = None  # None outside the embedded domain

    @staticmethod
    def load(G: Generator) -> Rulers:
        """Those of the embedded domain, with the directions of EDITED.

        Raises MissingFileError, MismatchError for a generator without embedded directions."""
        edited = (load_direction(name, G.device) for name in EDITED)
        directions = tuple(one for one in edited if isinstance(one, Direction))
        mean, covariance = w_statistics(G, SAMPLES, 0)
        return Rulers(
            Networks.for_metrics(embedded=True).to(G.device),
            directions,
            mean.float().to(G.device),
            whitening_of(covariance).to(G.device),
            load_attributes("metrics").to(G.device),
        )


def whitening_of(covariance: Tensor) -> Tensor:
    """float32 [w_dim, w_dim], by which w less its mean is multiplied to become white, from the
    covariance [w_dim, w_dim] of random w."""
    values, vectors = torch.linalg.eigh(covariance)
    # a floor: W is thin in many dimensions, where a tiny step would count as a huge one
    return (vectors / values.clamp(min=1e-2 * float(values.max())).sqrt()).float()


@torch.no_grad()
def distortion(rulers: Rulers, target: Tensor, image: Tensor) -> Numbers:
    """How near pictures [N,3,R,R] in [-1,1] are to the targets, by the `METRICS` that compare."""
    compared = [metric for metric in metrics.METRICS if metric.compared]
    return {one.key: one.of(target, image, rulers.networks).tolist() for one in compared}


@torch.no_grad()
def distance_to_w(rulers: Rulers, code: Code) -> list[float]:
    """How far codes are from the mean of W, the root mean square over styles and whitened
    dimensions: what is further than random codes are lies outside of W."""
    white = (code.w.to(rulers.mean) - rulers.mean) @ rulers.whitening  # [N, styles, w_dim]
    return white.square().mean((1, 2)).sqrt().tolist()


@torch.no_grad()
def consistency(
    rulers: Rulers, G: Generator, E: Encoder, code: Code, strength: float = 1.0
) -> list[float]:
    """LEC (METHOD section 5), the mean over the directions at a strength."""
    totals = torch.zeros(code.batch)
    for direction in rulers.directions:
        totals += metrics.lec(
            code.w,
            lambda w, d=direction: edit(code.with_w(w, "W+"), d, strength).w,
            lambda w, d=direction: edit(code.with_w(w, "W+"), d, -strength).w,
            lambda w: generate(G, code.with_w(w, "W+")),
            lambda image: encode(E, image, code.space, G).w,
        ).cpu()
    return (totals / len(rulers.directions)).tolist()


@torch.no_grad()
def editability(
    rulers: Rulers, G: Generator, code: Code, test: TestSet, wanted: float = CHANGE
) -> Numbers:
    """What edits of one code do, drawn by one generator, against the renders of a true edit.

    code: of one picture; test: that picture alone. Every attribute of EDITED is moved the way that
    has room, in steps of STRENGTHS. The numbers are means over the attributes:

    achieved: the change of the attribute at a strength of 1, in standard deviations; 1 is right
    reached: share of the attributes that can be moved by `wanted` standard deviations at all
    and, at the strength that achieves them, or the one that comes nearest to it:
    unwanted: root mean square of the changes of all other attributes, in standard deviations
    kept: cosine of the identities before and after
    true_mse, true_lpips: distance to the render in which the attribute has moved by CHANGE

    Raises InputError for more than one code, and without a network that reads attributes."""
    if code.batch != 1 or len(test) != 1:
        raise InputError(f"One code of one picture is measured, not {code.batch} of {len(test)}.")
    reader = rulers.attributes
    if reader is None:
        raise InputError("Attributes are read in the embedded domain only: give its `Rulers.load`.")
    columns = [list(reader.config.names).index(name) for name in EDITED]
    unit = deviations()[[index(n) for n in reader.config.names]].to(G.device)
    before = generate(G, code)
    start = reader.factors(before) / unit  # [1, A]
    signs = test.signs[0].tolist()
    strengths = torch.tensor(STRENGTHS)
    moved = [
        edit(code, direction, (strengths * sign).tolist())
        for direction, sign in zip(rulers.directions, signs, strict=True)
    ]
    count = len(STRENGTHS)
    drawn = generate(G, _joined(moved), batch=count)  # [D * S, 3, R, R]
    changes = (reader.factors(drawn) / unit - start).view(len(moved), count, -1).cpu()
    needed, gains, reached = [], [], []
    for change, column, sign in zip(changes, columns, signs, strict=True):
        own = change[:, column] * sign  # [S]
        gains.append(float(own[STRENGTHS.index(1.0)]))
        at, enough = strength_for(own.tolist(), wanted)
        needed.append(at)
        reached.append(float(enough))
    final = _joined(
        [
            edit(code, direction, at * sign)
            for direction, at, sign in zip(rulers.directions, needed, signs, strict=True)
        ]
    )
    image = generate(G, final, batch=count)  # [D, 3, R, R]
    change = (reader.factors(image) / unit - start).cpu()
    own = torch.zeros_like(change, dtype=torch.bool)
    own[torch.arange(len(columns)), columns] = True
    unwanted = change.masked_fill(own, 0).square().sum(1) / (change.shape[1] - 1)
    truth = test.edited[0].to(image)
    values = {
        "achieved": torch.tensor(gains),
        "reached": torch.tensor(reached),
        "unwanted": unwanted.sqrt(),
        "kept": metrics.identity(before.expand_as(image), image, rulers.networks.identity),
        "true_mse": metrics.mse(truth, image),
        "true_lpips": metrics.lpips(truth, image, rulers.networks.perceptual),
    }
    return {name: [float(value.mean())] for name, value in values.items()}


def strength_for(achieved: list[float], wanted: float = CHANGE) -> tuple[float, bool]:
    """The strength at which a curve over STRENGTHS, which begins at (0, 0), first reaches `wanted`,
    by linear interpolation; and whether it does, else the strength of its highest point."""
    last_strength, last = 0.0, 0.0
    for strength, value in zip(STRENGTHS, achieved, strict=True):
        if value >= wanted:
            share = (wanted - last) / (value - last)
            return last_strength + share * (strength - last_strength), True
        last_strength, last = strength, value
    return STRENGTHS[max(range(len(achieved)), key=achieved.__getitem__)], False


def _joined(codes: list[Code]) -> Code:
    return codes[0].with_w(torch.cat([code.w for code in codes]))
