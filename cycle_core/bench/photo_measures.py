"""What is measured of a photograph, of which no factors are known, so that no edit is right or
wrong: distortion as the field measures it, what an edit changes, and what it keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from PIL import Image
from torch import Tensor

from ..codes import Code
from ..directions.base import BaseDirection
from ..directions.direction import Direction
from ..directions.discovery import sefa, w_statistics
from ..directions.editing import edit
from ..directions.files import load_direction
from ..errors import InputError
from ..images.io import from_pil, to_pil
from ..invert.encode import generate
from ..measure import metrics
from ..measure.networks import Networks
from ..measure.perceptual import load_perceptual
from ..models.generator import Generator
from .measures import SAMPLES, Rulers, whitening_of

SIZE = 256
_SEFA = 5  # of the generator's strongest directions, where none are given


def photo_rulers(G: Generator, names: Sequence[str], domain: bool) -> tuple[Rulers, dict[str, str]]:
    """(rulers, the names of the networks that measure "lpips" and "identity").

    names: of directions as `load_direction` takes them, not in StyleSpace; if none, the strongest
    ones of SeFa. domain: whether the generator is an embedded one; the pictures of any other are
    measured by AlexNet, and by insightface's recogniser or ArcFace, where their files are found.
    Raises MissingFileError, CheckpointError, InputError, MismatchError."""
    mean, covariance = w_statistics(G, SAMPLES, 0)
    given = [load_direction(name, "cpu", G) for name in names] or sefa(G, count=_SEFA)
    # LPIPS with AlexNet is the protocol of the field, though a loss has it, too
    networks = replace(Networks.for_metrics(domain), perceptual=load_perceptual("metrics", "auto"))
    rulers = Rulers(
        networks.to(G.device),
        tuple(_calibrated(G, direction, covariance) for direction in given),
        mean.float().to(G.device),
        whitening_of(covariance).to(G.device),
    )
    return rulers, networks.names()


def at_256(image: Tensor) -> Tensor:
    """Pictures float [N,3,H,W] in [-1,1] as files of 256 px have them: 8 bits, PIL's bicubic
    filter; float32 [N,3,256,256]. Raises InputError for values that are not finite."""
    small = [to_pil(one).resize((SIZE, SIZE), Image.Resampling.BICUBIC) for one in image]
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
