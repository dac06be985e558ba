"""Pivot refinement (Cycle Encoding, Mao et al. 2022): the encoder, not the code, is
optimised for one picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..images.resize import resize
from ..measure.selection import Distance, Networks
from ..models.encoder import Encoder
from ..models.generator import Generator
from ..runtime.optim import WarmRanger
from ..runtime.progress import Callback
from ..runtime.session import (
    frozen,
    like_weights,
    optimising,
    retry_on_oom,
    smaller_batches,
    trainable_copy,
)
from .checks import check_image, check_pair, check_photos
from .descent import Descent, Evaluation, Inversion, Report, descend, reporter
from .encode import stage_of
from .objective import Objective
from .settings import REFINE_PRESETS, RefineSettings

Domain = str | Path | Tensor | None
Refined = Inversion  # what it was called once


def refine(
    E: Encoder,
    G: Generator,
    image: Tensor,
    settings: RefineSettings | None = None,
    domain: Domain = "generator",
    callback: Callback | None = None,
    seed: int = 0,
    perceptual: Distance | None = None,
    identity: Distance | None = None,
) -> Inversion:
    """Refine the encoder for each picture in turn and give the codes that it then makes.

        L_ref(x) = L_S(x) + reg / M * sum_i L_S(x_i),   L_S = l2 L2 + lpips LPIPS + id ID

    The M pictures x_i are drawn anew each step. Where it differs from the published code:
    the encoder is copied, the caller's stays as it is; batch norm uses its running statistics, so
    that the pivot does not depend on which x_i share the batch; noise is constant; the pivot is the
    best of all steps by L_S(x), the encoder after the last step included; the space is that of the
    stage trained last; few pictures in the domain, or none (M = 0), will do; the optimiser is
    `WarmRanger`, which needs no state of the training. docs/method.md has the reasons.

    image: float [B,3,H,W] in [-1,1], aligned crops of any size.
    domain: "generator" for pictures that it samples, a folder of aligned crops, float
        [K,3,h,w] in [-1,1], or None for no pictures.
    callback(step, total, preview): after each step; what it raises ends the refinement and leaves
        everything as it was.  preview: float [1,3,R,R], not clamped, smaller where `size` is.
    perceptual, identity: the networks of LPIPS and ID; if None those of `Networks.for_loss`. They
        are two arguments, as a caller may have one of them alone.
    Where memory ends, it begins again with fewer pictures at once; the result is the same to
    rounding, and the callback counts from 1 again.
    Raises InputError, MismatchError for an encoder of another generator, MissingFileError."""
    settings = settings or REFINE_PRESETS["paper"]
    check_image(image)
    check_photos(G)
    check_pair(E, G)
    stage = stage_of(E, settings.space)
    networks = Networks(perceptual, identity).completed(G, settings.lpips, settings.identity)

    def attempt(batch: int) -> Inversion:
        with optimising(E, G, *networks):
            generator = frozen(G)
            objective = Objective.of(settings, networks.frozen())
            fitting = replace(settings, batch=batch)
            sample_domain = _domain_sampler(
                domain, fitting, generator, torch.Generator().manual_seed(seed)
            )
            total = len(image) * settings.steps
            found = [
                _refine_one(
                    trainable_copy(E), generator, picture, stage, fitting, objective,
                    sample_domain,
                    reporter(callback, index * settings.steps, total),
                )
                for index, picture in enumerate(like_weights(image, G).split(1))
            ]  # fmt: skip
        return Inversion.of(found, "W" if stage == 0 else "W+", G, stage, E.origin)

    others = 0 if domain is None else settings.images
    return retry_on_oom(
        attempt, smaller_batches(settings.batch, others), G.device, "refine with this generator"
    )


def _refine_one(
    E: Encoder,
    G: Generator,
    image: Tensor,
    stage: int,
    settings: RefineSettings,
    objective: Objective,
    sample_domain: Callable[[], Tensor | None],
    report: Report,
) -> Descent:
    """The best code [1,N,w_dim] on the way for one picture [1,3,H,W]. E is consumed."""
    optimizer = WarmRanger(E.parameters(), settings.learning_rate)
    size = settings.size if settings.size in G.synthesis.sizes else None
    target = objective.target(resize(image, G.resolution))

    def evaluate(step: int, backward: bool) -> Evaluation:
        w = E.encode(image, stage, G)
        rendered = G.synthesis(w, "const", size=size)
        terms = objective(rendered, target)
        if backward:
            terms.total.sum().backward()
        return Evaluation(terms, rendered, (w,))

    def add_domain_gradients(step: int) -> None:
        others = sample_domain()
        if others is None:
            return
        for part in others.split(settings.batch):
            target = objective.target(resize(part, G.resolution))
            rendered = G.synthesis(E.encode(part, stage, G), "const", size=size)
            terms = objective(rendered, target)
            (settings.reg / len(others) * terms.total.sum()).backward()

    found = descend(
        evaluate, optimizer, settings.steps, before_update=add_domain_gradients, report=report
    )
    if size is None:
        return found
    with torch.no_grad():
        return replace(found, image=G.synthesis(found.state[0], "const"))


def _domain_sampler(
    domain: Domain, settings: RefineSettings, G: Generator, rng: torch.Generator
) -> Callable[[], Tensor | None]:
    """A function that samples up to M pictures [M,3,h,w] of the domain, or None for no pictures."""
    count = settings.images
    if domain is None or count == 0:
        return lambda: None
    if isinstance(domain, str) and domain == "generator":
        return lambda: _sample(G, settings, rng)
    if isinstance(domain, Tensor):
        check_image(domain)
        pictures = like_weights(domain, G)
        return lambda: pictures[torch.randperm(len(pictures), generator=rng)[:count]]

    from ..images.io import list_images, read_crop

    files = list_images(domain)

    def read() -> Tensor:
        chosen = torch.randperm(len(files), generator=rng)[:count]
        crops = [resize(read_crop(files[int(i)]), G.resolution) for i in chosen]
        return like_weights(torch.cat(crops), G)

    return read


@torch.no_grad()
def _sample(G: Generator, settings: RefineSettings, rng: torch.Generator) -> Tensor:
    """Random pictures of the generator: float32 [M,3,R,R]."""
    w = G.mapping(*G.draw_inputs(settings.images, rng), truncation=settings.truncation)
    parts = [G.synthesis(part, "const") for part in w.split(settings.batch)]
    return torch.cat(parts).clamp(-1, 1)
