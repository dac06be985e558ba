"""What is measured of a pivot and a generator: distortion, editability, seconds.

On the embedded domain edits are measured exactly, against the render of the true edit; of a
photograph no factor is known, so that no edit is right or wrong, only what it changes and keeps.
No training, refinement or tuning minimised a network that measures here: that of role "metrics"
compares pictures, that of role "reading" reads edits, and a third one calibrated the directions.
Everything is one number for each picture: intervals are made of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..codes import Code
from ..directions.base import BaseDirection
from ..directions.direction import Direction
from ..directions.discovery import random_w, sefa, w_statistics
from ..directions.editing import edit, join
from ..directions.files import load_direction
from ..errors import InputError
from ..images.io import from_pil, to_pil
from ..invert.encode import encode
from ..invert.generate import generate
from ..measure import metrics
from ..measure.perceptual import (
    Lpips,
    PortraitNet,
    find_inception,
    find_vgg,
    load_attributes,
    load_perceptual,
)
from ..measure.selection import Networks
from ..models.encoder import Encoder
from ..models.generator import Generator
from ..models.inception import FidInception
from .sets import TestSet

STRENGTHS = (0.5, 1.0, 1.5, 2.0, 3.0)  # standard deviations, towards the middle of the range
CHANGE = 1.0  # the achieved change, in standard deviations, at which edits are compared
SAMPLES = 10_000  # codes that say what W is
PHOTO_SIZE = 256
_SEFA = 5  # of a generator's strongest directions, where none are given
Numbers = dict[str, list[float]]  # measure -> one number for each picture


@dataclass(frozen=True)
class Rulers:
    """The measuring networks, the directions that edits follow, and where W and its styles lie."""

    networks: Networks
    directions: tuple[Direction, ...]
    mean: Tensor  # [w_dim], of random w
    whitening: Tensor  # [w_dim, w_dim]
    styles: tuple[Tensor, ...]  # [channels] of each layer: the mean of unit styles of random w
    attributes: PortraitNet | None = None  # None outside the embedded domain
    vgg: Lpips | None = None  # LPIPS of VGG-16, of photographs, where its files are found
    inception: FidInception | None = None  # of photographs, where its file is found

    @staticmethod
    def load(G: Generator, attributes: Sequence[str]) -> Rulers:
        """Those of the embedded domain, with the directions of some attributes.

        Raises MissingFileError, MismatchError for a generator without embedded directions."""
        edited = (load_direction(name, G.device) for name in attributes)
        directions = tuple(one for one in edited if isinstance(one, Direction))
        mean, covariance = w_statistics(G, SAMPLES, 0)
        return Rulers(
            Networks.for_metrics(embedded=True).to(G.device),
            directions,
            mean.float().to(G.device),
            whitening_of(covariance).to(G.device),
            typical_styles(G),
            load_attributes().to(G.device),
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
    pair = metrics.Pair(target, image)
    return {one.key: one.of(pair, rulers.networks).tolist() for one in compared}


@torch.no_grad()
def typical_styles(G: Generator) -> tuple[Tensor, ...]:
    """The mean [channels] of the unit styles of random codes, for every layer of StyleSpace."""
    sums: list[Tensor] | None = None
    for w in random_w(G, SAMPLES, 0):
        parts = [F.normalize(style).sum(0) for style in G.synthesis.styles(w, "none", None)]
        sums = parts if sums is None else [a + b for a, b in zip(sums, parts, strict=True)]
    return tuple(one / SAMPLES for one in sums or ())


@dataclass(frozen=True)
class MeasuredCode:
    """What a `CodeMeasure` looks at: codes, the encoder that gave them or None, the strength of
    edits, and the numbers of the measures before it."""

    rulers: Rulers
    G: Generator
    E: Encoder | None
    code: Code
    strength: float
    numbers: Numbers


@dataclass(frozen=True)
class CodeMeasure:
    """A measure of what codes are worth for editing, whatever they reconstruct.

    key: in results; title: in tables; more: whether more is better, None for neither; of: one
    number for each code; encoder: whether it needs one."""

    key: str
    title: str
    more: bool | None
    of: Callable[[MeasuredCode], list[float]]
    encoder: bool = False


def measure_code(
    rulers: Rulers, G: Generator, E: Encoder | None, code: Code, strength: float = 1.0
) -> Numbers:
    """CODE_MEASURES of codes; those that need an encoder only where there is one."""
    seen = MeasuredCode(rulers, G, E, code, strength, {})
    for measure in CODE_MEASURES:
        if E is not None or not measure.encoder:
            seen.numbers[measure.key] = measure.of(seen)
    return seen.numbers


@torch.no_grad()
def style_distance(rulers: Rulers, G: Generator, code: Code) -> list[float]:
    """NSCD (LSAP, Cao et al. 2022): the mean cosine distance of the code's styles to those of
    random codes, the mean over the layers of StyleSpace."""
    styles = G.synthesis.styles(code.w.to(G.device), "none", None)
    likeness = [
        F.normalize(style) @ typical for style, typical in zip(styles, rulers.styles, strict=True)
    ]
    return (1 - torch.stack(likeness).mean(0)).tolist()


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
    """LEC (latent editing consistency, Tov et al. 2021): how far a code is from itself after an
    edit, a new encoding, and the edit undone; the mean over the directions at a strength."""
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


def relative_consistency(seen: MeasuredCode) -> list[float]:
    """LEC in parts of the code's own distance to the mean of W: a code that lies farther out may
    come back less exactly."""
    w, mean = seen.code.w, seen.rulers.mean
    away = (w.to(mean) - mean).flatten(1).norm(dim=1) / w.shape[1] ** 0.5  # as LEC is
    return (torch.tensor(seen.numbers["lec"]) / away.cpu().clamp(min=1e-8)).tolist()


def _consistency(seen: MeasuredCode) -> list[float]:
    assert seen.E is not None
    return consistency(seen.rulers, seen.G, seen.E, seen.code, seen.strength)


# in the order of the tables, which follow it; a further one is a function and a line here
CODE_MEASURES = (
    CodeMeasure("to_w", "distance to mean W", None, lambda s: distance_to_w(s.rulers, s.code)),
    CodeMeasure("nscd", "NSCD", False, lambda s: style_distance(s.rulers, s.G, s.code)),
    CodeMeasure("lec", "LEC", False, _consistency, encoder=True),
    CodeMeasure("lec_relative", "LEC, relative", False, relative_consistency, encoder=True),
)


@torch.no_grad()
def editability(rulers: Rulers, G: Generator, code: Code, test: TestSet) -> Numbers:
    """What edits of one code do, generated by one generator, against the renders of a true edit.

    code: of one picture; test: that picture alone. Every attribute of the set is moved the way that
    has room, in steps of STRENGTHS. The numbers are means over the attributes:

    achieved: the change of the attribute at a strength of 1, in standard deviations; 1 is right
    reached: share of the attributes that can be moved by CHANGE standard deviations at all
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
    columns = [reader.config.names.index(name) for name in test.attributes]
    unit = test.deviations[[test.table.index(n) for n in reader.config.names]].to(G.device)
    before = generate(G, code)
    start = reader.factors(before) / unit  # [1, A]
    signs = test.signs[0].tolist()
    strengths = torch.tensor(STRENGTHS)
    moved = [
        edit(code, direction, (strengths * sign).tolist())
        for direction, sign in zip(rulers.directions, signs, strict=True)
    ]
    count = len(STRENGTHS)
    images = generate(G, join(moved), batch=count)  # [D * S, 3, R, R]
    changes = (reader.factors(images) / unit - start).view(len(moved), count, -1).cpu()
    needed, gains, reached = [], [], []
    for change, column, sign in zip(changes, columns, signs, strict=True):
        own = change[:, column] * sign  # [S]
        gains.append(float(own[STRENGTHS.index(1.0)]))
        at, enough = strength_for(own.tolist())
        needed.append(at)
        reached.append(float(enough))
    final = join(
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
        "kept": metrics.identity(before, image, rulers.networks.identity),
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


def check_finite(result: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises InputError where a measure of a result is not a finite number."""
    for part in result.keys() - {"costs"}:
        wrong = [name for name, values in result[part].items() if not np.isfinite(values).all()]
        if wrong:
            raise InputError(f"No finite {wrong[0]} of the {part}: look at the model that made it.")


# ------------------------------------------------------------------ photographs
def photo_rulers(
    G: Generator, directions: Sequence[str], embedded: bool
) -> tuple[Rulers, dict[str, str]]:
    """(rulers, the names of the networks that measure "lpips", "identity" and, where the user has
    their files, "lpips_vgg" and "fid").

    directions: as `load_direction` takes them, not in StyleSpace; if none, the strongest
    ones of SeFa. embedded: whether the generator is an embedded one; the pictures of any other are
    measured by AlexNet, and by insightface's recogniser or ArcFace, where their files are found.
    Raises MissingFileError, CheckpointError, InputError, MismatchError."""
    mean, covariance = w_statistics(G, SAMPLES, 0)
    given = [load_direction(name, "cpu", G) for name in directions] or sefa(G, count=_SEFA)
    # LPIPS with AlexNet is the protocol of most papers, though a loss has it, too; with VGG-16 that
    # of GANInverter's table
    networks = replace(
        Networks.for_metrics(embedded), perceptual=load_perceptual("metrics", "auto")
    )
    vgg, inception = find_vgg(), find_inception()
    names = networks.names()
    names |= {} if vgg is None else {"lpips_vgg": vgg.name}
    names |= {} if inception is None else {"fid": "Inception-v3"}
    rulers = Rulers(
        networks.to(G.device),
        tuple(_calibrated(G, direction, covariance) for direction in given),
        mean.float().to(G.device),
        whitening_of(covariance).to(G.device),
        typical_styles(G),
        vgg=None if vgg is None else vgg.to(G.device),
        inception=None if inception is None else inception.to(G.device),
    )
    return rulers, names


@torch.no_grad()
def photo_distortion(rulers: Rulers, target: Tensor, image: Tensor) -> Numbers:
    """`distortion`, with PSNR, and LPIPS of VGG-16 where its files are found."""
    numbers = distortion(rulers, target, image) | {"psnr": metrics.psnr(target, image).tolist()}
    if rulers.vgg is not None:
        numbers["lpips_vgg"] = metrics.lpips(target, image, rulers.vgg).tolist()
    return numbers


def at_256(image: Tensor) -> Tensor:
    """Pictures float [N,3,H,W] in [-1,1] as files of 256 px have them: 8 bits, PIL's bicubic
    filter; float32 [N,3,256,256]. Raises InputError for values that are not finite."""
    small = [
        to_pil(one).resize((PHOTO_SIZE, PHOTO_SIZE), Image.Resampling.BICUBIC) for one in image
    ]
    return torch.cat([from_pil(one).image for one in small]).to(image.device)


@torch.no_grad()
def edits(rulers: Rulers, G: Generator, code: Code, strength: float) -> dict[str, float]:
    """What moving one code both ways along the directions does to its picture, means over them:
    kept, the cosine of the identities, and changed, LPIPS."""
    before, networks = at_256(generate(G, code)), rulers.networks
    kept, changed = [], []
    for direction in rulers.directions:
        after = at_256(generate(G, edit(code, direction, [strength, -strength])))
        same = before.expand_as(after)
        kept.append(metrics.identity(same, after, networks.identity).mean())
        changed.append(metrics.lpips(same, after, networks.perceptual).mean())
    return {"kept": float(sum(kept)) / len(kept), "changed": float(sum(changed)) / len(changed)}


def _calibrated(G: Generator, direction: BaseDirection, covariance: Tensor) -> Direction:
    """The direction with a strength of 1 that is one standard deviation: of its attribute where it
    says so, else of random codes along it."""
    if not isinstance(direction, Direction):
        raise InputError(
            f"The direction {direction.name!r} {direction.lies()}, which cannot be calibrated by "
            "the spread of W: give directions in W."
        )
    direction.check(Code(G.w_avg.expand(1, G.num_ws, -1), "W", G.base_fingerprint))
    if direction.unit == "sd":
        return direction
    rows = direction.spread(G.num_ws).double().cpu()  # [num_ws, w_dim]
    rows = rows[rows.any(1)]
    along = torch.einsum("nd,de,ne->n", rows, covariance, rows).clamp(min=0).sqrt()
    factor = float((along / rows.square().sum(1)).mean())
    return replace(direction.scaled(factor), unit="sd")


# ------------------------------------------------------------------ costs
class Clock:
    """`with Clock(device) as clock:`, afterwards clock.seconds. On a CPU with one thread they are
    those that the processor worked: the clock's of an idle machine, whatever else this one does."""

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds = 0.0

    def __enter__(self) -> Clock:
        self._wait()
        alone = self.device.type == "cpu" and torch.get_num_threads() == 1
        self._clock = time.process_time if alone else time.perf_counter
        self._start = self._clock()
        return self

    def __exit__(self, *_: object) -> None:
        self._wait()
        self.seconds = self._clock() - self._start

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
