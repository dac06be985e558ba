"""Inversion by optimisation alone: the projector of StyleGAN2 (Karras et al. 2020, appendix D).

No encoder is needed, only time. In W it edits well and reconstructs badly, in W+ the other way
round (METHOD section 5): the two ends that an encoder is measured against.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..codes import SPACES, Code, HasCode, as_code
from ..errors import InputError
from ..images.resize import resize
from ..models.generator import Generator
from ..runtime.devices import one_thread_if_small
from .encode import check_image
from .objective import Distance, Objective, Terms, frozen, similarity
from .refine import Refined

Callback = Callable[[int, int, Tensor], object]  # (step from 1, total, preview [b,3,R,R])
_MEASURED = 10_000  # random codes from which the spread of W is measured


@dataclass(frozen=True)
class ProjectSettings:
    """The schedule is the published one; the losses are those of `RefineSettings`, so that methods
    can be compared. Noise maps stay constant and are not optimised."""

    space: str = "W"
    steps: int = 1000
    learning_rate: float = 0.1  # of Adam at its highest
    rise: float = 0.05  # share of the steps in which the rate grows
    fall: float = 0.25  # share of the steps, at the end, in which it goes to zero
    wander: float = 0.05  # noise on w at the start, in deviations of W; gone after `settled`
    settled: float = 0.75  # share of the steps
    l2: float = 1.0
    lpips: float = 0.8
    identity: float = 0.1
    batch: int = 8  # pictures at once: smaller needs less memory and changes nothing else

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise InputError(f'A picture is projected into "W" or "W+", not {self.space!r}.')
        if self.steps < 0 or not self.learning_rate > 0 or self.batch < 1:
            raise InputError(
                f"Projecting takes steps from 0 on, a positive learning rate and a batch from 1 "
                f"on, but steps={self.steps}, learning_rate={self.learning_rate}, "
                f"batch={self.batch} was given."
            )


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
    Gives the codes of the smallest losses on the way, what the generator draws of them, and the
    losses. Raises InputError, MismatchError for a start of another generator, MissingFileError."""
    settings = settings or ProjectSettings()
    check_image(image)
    begin = G.w_avg.expand(1, G.num_ws, -1) if start is None else _start(G, start, len(image))
    with torch.inference_mode(False), torch.enable_grad():
        image = image.detach().to(G.device, torch.float32).clone()
        begin = begin.detach().to(G.device, torch.float32).clone().expand(len(image), -1, -1)
        G = frozen(G)
        objective = similarity(settings, G.device, perceptual, faces)
        spread = _spread(G)
        # one for each picture: the result does not depend on the batch
        random = torch.Generator().manual_seed(seed)
        seeds = torch.randint(2**62, (len(image),), generator=random).tolist()
        codes, pictures, history = [], [], []
        for first in range(0, len(image), settings.batch):
            rows = slice(first, first + settings.batch)

            def report(step: int, preview: Tensor, batch: int = first // settings.batch) -> None:
                if callback is not None:
                    batches = -(-len(image) // settings.batch)
                    callback(batch * settings.steps + step, batches * settings.steps, preview)

            with one_thread_if_small(G, objective.perceptual, objective.faces):
                w, drawn, logs = _descend(
                    G, image[rows], begin[rows], settings, objective, spread, seeds[rows], report
                )
            codes.append(w)
            pictures.append(drawn.clamp(-1, 1))
            history += logs
    code = Code(torch.cat(codes), settings.space, G.base_fingerprint)
    return Refined(code, torch.cat(pictures), tuple(map(tuple, history)))


def _descend(
    G: Generator,
    image: Tensor,
    begin: Tensor,
    settings: ProjectSettings,
    objective: Objective,
    spread: float,
    seeds: list[int],
    report: Callable[[int, Tensor], None],
) -> tuple[Tensor, Tensor, list[list[dict[str, float]]]]:
    """(w [b,N,w_dim], pictures [b,3,R,R], losses of each picture) of the best steps. Adam looks at
    every number by itself, so pictures in a batch do not influence each other."""
    target = objective.target(resize(image, G.resolution))
    vectors = 1 if settings.space == "W" else G.num_ws
    free = begin.mean(1, keepdim=True) if vectors == 1 else begin
    free = free.clone().requires_grad_()  # [b, 1 or N, w_dim]
    randoms = [torch.Generator().manual_seed(seed) for seed in seeds]
    optimizer = torch.optim.Adam([free])
    best = torch.full((len(image),), math.inf, device=image.device)
    best_w, best_image = free.detach().expand(-1, G.num_ws, -1).clone(), torch.zeros_like(image)
    logs: list[list[dict[str, float]]] = [[] for _ in seeds]
    for step in range(settings.steps + 1):
        done = step / max(settings.steps, 1)
        last = step == settings.steps
        wander = settings.wander * spread * max(0.0, 1 - done / settings.settled) ** 2
        noise = torch.stack([torch.randn(free.shape[1:], generator=r) for r in randoms])
        with torch.set_grad_enabled(not last):
            w = (free + wander * noise.to(free)).expand(-1, G.num_ws, -1)
            drawn = G.synthesis(w, "const")
            terms = objective(drawn, target)
        better = terms.total.detach() < best
        if step == 0:
            best_image = drawn.detach()
        best = torch.where(better, terms.total.detach(), best)
        best_w = torch.where(better[:, None, None], w.detach(), best_w)
        best_image = torch.where(better[:, None, None, None], drawn.detach(), best_image)
        if not last:
            optimizer.param_groups[0]["lr"] = settings.learning_rate * _rate(done, settings)
            optimizer.zero_grad(set_to_none=True)
            terms.total.sum().backward()
            optimizer.step()
        _log(logs, terms)  # waits for the device, which has its work by now
        if last:
            break
        report(step + 1, drawn.detach())
    if not bool(torch.isfinite(best).all()):
        raise InputError(
            "Projecting gave losses that are not numbers: the generator holds unusable weights; "
            "load it again."
        )
    return best_w, best_image, logs


def _rate(done: float, settings: ProjectSettings) -> float:
    """The published ramp: linear at the start, a cosine at the end."""
    falling = min(1.0, (1 - done) / settings.fall) if settings.fall else 1.0
    falling = 0.5 - 0.5 * math.cos(falling * math.pi)
    return falling * (min(1.0, done / settings.rise) if settings.rise else 1.0)


def _log(logs: list[list[dict[str, float]]], terms: Terms) -> None:
    """Add the losses of a step, read from the device at once."""
    values = torch.stack([value.detach() for value in vars(terms).values()], dim=1).tolist()
    for log, row in zip(logs, values, strict=True):
        log.append(dict(zip(vars(terms), row, strict=True)))


@torch.no_grad()
def _spread(G: Generator) -> float:
    """How far random w are from their mean, the root mean square of the Euclidean distance: the
    published projector takes it as the deviation of every dimension."""
    random = torch.Generator().manual_seed(0)
    z, c = G.draw_inputs(_MEASURED, random)
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
