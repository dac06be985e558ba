"""Inversion by optimisation alone: the projector of StyleGAN2 (Karras et al. 2020, appendix D).

No encoder is needed, only time. In W it edits well and reconstructs badly, in W+ the other way
round: the two ends that an encoder is measured against.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..codes import Code, HasCode, as_code
from ..errors import InputError
from ..images.resize import resize
from ..measure.networks import Distance, Networks
from ..models.generator import Generator
from ..runtime.progress import Callback
from ..runtime.session import frozen, halved, optimising, plain, retry_on_oom
from .descent import Descent, Evaluation, Report, descend, reporter
from .encode import check_image, check_photos
from .objective import Objective
from .refine import Refined
from .settings import ProjectSettings

_MEASURED = 10_000  # random codes from which the spread of W is measured


def project(
    G: Generator,
    image: Tensor,
    settings: ProjectSettings | None = None,
    start: Code | HasCode | None = None,
    callback: Callback | None = None,
    seed: int = 0,
    perceptual: Distance | None = None,
    faces: Distance | None = None,
) -> Refined:
    """Find the codes whose pictures are nearest, by descent from the mean code.

    image: float [B,3,H,W] in [-1,1], aligned crops of any size.
    start: codes [B or 1, N, w_dim] to begin at, such as an encoder's; w_avg if None.
    callback(step, total, preview): after each step of each batch; what it raises ends this.
    perceptual, faces: the networks of LPIPS and ID, as for `refine`.
    Gives the codes of the smallest losses on the way, what the generator renders of them, and the
    losses. Raises InputError, MismatchError for a start of another generator, MissingFileError."""
    settings = settings or ProjectSettings()
    check_image(image)
    check_photos(G)
    begin = G.w_avg.expand(1, G.num_ws, -1) if start is None else _start(G, start, len(image))
    networks = Networks(perceptual, faces).completed(G, settings.lpips, settings.identity)
    # a seed for each picture: the result does not depend on the batch
    rng = torch.Generator().manual_seed(seed)
    seeds = torch.randint(2**62, (len(image),), generator=rng).tolist()

    def attempt(batch: int) -> Refined:
        with optimising(G, *networks):
            generator = frozen(G)
            objective = Objective.of(settings, networks.frozen())
            spread = w_spread(generator)
            starts = plain(begin, G.device).expand(len(image), -1, -1).split(batch)
            total = len(starts) * settings.steps
            found = [
                _project_batch(
                    generator, pictures, starts[index], settings, objective, spread,
                    seeds[index * batch :], reporter(callback, index * settings.steps, total),
                )
                for index, pictures in enumerate(plain(image, G.device).split(batch))
            ]  # fmt: skip
        return Refined.of(found, settings.space, G)

    batches = halved(settings.batch, len(image))
    return retry_on_oom(attempt, batches, G.device, "project with this generator")


def _project_batch(
    G: Generator,
    image: Tensor,
    begin: Tensor,
    settings: ProjectSettings,
    objective: Objective,
    spread: float,
    seeds: list[int],
    report: Report,
) -> Descent:
    """The best codes [b,N,w_dim] on the way. Adam looks at every number by itself, so pictures in a
    batch do not influence each other."""
    target = objective.target(resize(image, G.resolution))
    free = begin.mean(1, keepdim=True) if settings.space == "W" else begin
    free = free.clone().requires_grad_()  # [b, 1 or N, w_dim]
    rngs = [torch.Generator().manual_seed(seed) for seed in seeds[: len(image)]]
    optimizer = torch.optim.Adam([free])

    def done(step: int) -> float:
        return step / max(settings.steps, 1)

    def evaluate(step: int, learn: bool) -> Evaluation:
        wander = settings.wander * spread * max(0.0, 1 - done(step) / settings.settled) ** 2
        noise = torch.stack([torch.randn(free.shape[1:], generator=rng) for rng in rngs])
        w = (free + wander * noise.to(free)).expand(-1, G.num_ws, -1)
        rendered = G.synthesis(w, "const")
        terms = objective(rendered, target)
        if learn:
            terms.total.sum().backward()
        return Evaluation(terms, rendered, (w,))

    def set_rate(step: int) -> None:
        optimizer.param_groups[0]["lr"] = settings.learning_rate * _rate(done(step), settings)

    return descend(evaluate, optimizer, settings.steps, before_update=set_rate, report=report)


def _rate(done: float, settings: ProjectSettings) -> float:
    """The published ramp: linear at the start, a cosine at the end."""
    falling = min(1.0, (1 - done) / settings.fall) if settings.fall else 1.0
    falling = 0.5 - 0.5 * math.cos(falling * math.pi)
    return falling * (min(1.0, done / settings.rise) if settings.rise else 1.0)


@torch.no_grad()
def w_spread(G: Generator) -> float:
    """How far random w are from their mean, the root mean square of the Euclidean distance: the
    published projector takes it as the deviation of every dimension."""
    z, c = G.draw_inputs(_MEASURED, torch.Generator().manual_seed(0))
    w = G.mapping(z, c)[:, 0]
    return float((w - w.mean(0)).square().sum(1).mean().sqrt())


def _start(G: Generator, start: Code | HasCode, count: int) -> Tensor:
    code = as_code(start)
    G.check_code(code)
    if code.batch not in (1, count):
        raise InputError(
            f"{count} pictures and {code.batch} codes to start at were given: give one code, or "
            "one for each picture."
        )
    return code.w
