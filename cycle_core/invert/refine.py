"""Pivot refinement (METHOD section 2): the encoder, not the code, is optimised for one picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..codes import Code
from ..errors import InputError
from ..images.resize import resize
from ..models.encoder import Encoder
from ..models.generator import Generator
from ..runtime.devices import one_thread_if_small, with_less
from ..runtime.optim import WarmRanger
from .encode import check_image, check_pair, stage_of
from .objective import Distance, Objective, frozen, similarity, trainable_copy

Callback = Callable[[int, int, Tensor], object]  # (step from 1, total, preview [B,3,R,R])
Domain = str | Path | Tensor | None


@dataclass(frozen=True)
class RefineSettings:
    """The defaults are the published ones (METHOD section 2)."""

    steps: int = 15
    learning_rate: float = 1e-4  # of all encoder weights
    images: int = 7  # M: pictures of the domain that hold the encoder in place; 0 for none
    reg: float = 7.0  # their weight against the picture's own loss
    l2: float = 1.0
    lpips: float = 0.8
    identity: float = 0.1
    space: str | None = None  # "W", "W+", None: as `encode`
    truncation: float = 0.7  # of the M pictures where they are drawn by the generator
    batch: int = 8  # pictures at once: smaller needs less memory and changes nothing else

    def __post_init__(self) -> None:
        if self.steps < 0 or self.images < 0 or self.batch < 1:
            raise InputError(
                f"Refining takes steps and images from 0 on and a batch from 1 on, but steps="
                f"{self.steps}, images={self.images}, batch={self.batch} was given."
            )


REFINE_PRESETS = {
    "paper": RefineSettings(),
    "fast": RefineSettings(steps=10, images=3, reg=3.0),
    # a small encoder takes, and in as many steps needs, larger ones; docs/results.md has what M is
    # worth there
    "embedded": RefineSettings(steps=20, learning_rate=1e-3, images=3, reg=3.0),
}


@dataclass(frozen=True)
class Refined:
    """What `refine` gives.

    code: the pivot, of as many rows as pictures were given.
    image: float32 [B,3,R,R] in [-1,1], what the generator draws of it.
    history: for each picture the losses before each step and after the last one
        (total, l2, lpips, identity); the pivot is of the step with the smallest total.
    """

    code: Code
    image: Tensor
    history: tuple[tuple[dict[str, float], ...], ...]


def refine(
    E: Encoder,
    G: Generator,
    image: Tensor,
    settings: RefineSettings | None = None,
    domain: Domain = "generator",
    callback: Callback | None = None,
    seed: int = 0,
    perceptual: Distance | None = None,
    faces: Distance | None = None,
) -> Refined:
    """Refine the encoder for each picture in turn and give the codes that it then makes.

        L_ref(x) = L_S(x) + reg / M * sum_i L_S(x_i),   L_S = l2 L2 + lpips LPIPS + id ID

    The M pictures x_i are drawn anew each step. Where the published code has traps, this decides:
    the encoder is copied, the caller's stays as it is; batch norm uses its running statistics, so
    that the pivot does not depend on which x_i share the batch; noise is constant; the pivot is the
    best of all steps by L_S(x), the encoder after the last step included; the space is that of the
    stage trained last; few pictures in the domain, or none (M = 0), will do. The optimiser is Adam
    with Ranger's constants, gradient centralisation and Lookahead: Ranger in mid-training, whose
    RAdam has become Adam, without needing its saved state.

    image: float [B,3,H,W] in [-1,1], aligned crops of any size.
    domain: "generator" for pictures that it samples, a folder of aligned crops, float
        [K,3,h,w] in [-1,1], or None for no pictures.
    callback(step, total, preview): after each step; what it raises ends the refinement and leaves
        everything as it was.  preview: float [1,3,R,R], not clamped.
    perceptual, faces: the networks of LPIPS and ID; if None AlexNet and ArcFace where their files
        are on this machine, else the embedded ones.
    Where memory ends, it begins again with fewer pictures at once; the result is the same to
    rounding, and the callback counts from 1 again.
    Raises InputError, MismatchError for an encoder of another generator, MissingFileError."""
    settings = settings or REFINE_PRESETS["paper"]
    check_image(image)
    check_pair(E, G)
    stage = stage_of(E, settings.space)
    return with_less(
        lambda attempt: _refine(
            E, G, image, attempt, stage, domain, callback, seed, perceptual, faces
        ),
        _attempts(settings, domain),
        G.device,
        "refine with this generator",
    )


def _attempts(settings: RefineSettings, domain: Domain) -> Iterator[RefineSettings]:
    """The same refinement with ever less memory."""
    yield settings
    most = 0 if domain is None else min(settings.batch, settings.images)
    for batch in dict.fromkeys((most // 2, 1)):
        if 0 < batch < most:
            yield replace(settings, batch=batch)


def _refine(
    E: Encoder,
    G: Generator,
    image: Tensor,
    settings: RefineSettings,
    stage: int,
    domain: Domain,
    callback: Callback | None,
    seed: int,
    perceptual: Distance | None,
    faces: Distance | None,
) -> Refined:
    # ComfyUI runs nodes in inference mode, in which nothing can be trained: step out and copy
    with torch.inference_mode(False), torch.enable_grad():
        image = image.detach().to(G.device, torch.float32).clone()
        G = frozen(G)
        objective = similarity(settings, G.device, perceptual, faces)
        random = torch.Generator().manual_seed(seed)
        draw = _pictures(domain, settings, G, random)
        codes, pictures, history = [], [], []
        for index in range(image.shape[0]):

            def report(step: int, preview: Tensor, index: int = index) -> None:
                if callback is not None:
                    total = image.shape[0] * settings.steps
                    callback(index * settings.steps + step, total, preview)

            with one_thread_if_small(E, G, objective.perceptual, objective.faces):
                best, log = _refine_one(
                    trainable_copy(E), G, image[index : index + 1], settings, stage, objective,
                    draw, report,
                )  # fmt: skip
            codes.append(best.w)
            pictures.append(best.image.clamp(-1, 1))
            history.append(tuple(log))
    code = Code(torch.cat(codes), "W" if stage == 0 else "W+", G.base_fingerprint, stage)
    return Refined(code, torch.cat(pictures), tuple(history))


@dataclass(frozen=True)
class _State:
    """The target's code, picture and losses at one step."""

    w: Tensor  # [1,N,w_dim]
    image: Tensor  # [1,3,R,R]
    loss: float


def _refine_one(
    E: Encoder,
    G: Generator,
    image: Tensor,
    settings: RefineSettings,
    stage: int,
    objective: Objective,
    draw: Callable[[], Tensor | None],
    report: Callable[[int, Tensor], None],
) -> tuple[_State, list[dict[str, float]]]:
    """The best state over all steps for one picture [1,3,H,W]. E is consumed."""
    optimizer = WarmRanger(E.parameters(), settings.learning_rate)
    target = objective.target(resize(image, G.resolution))
    best: _State | None = None
    log: list[dict[str, float]] = []

    def look(learn: bool) -> Tensor:
        nonlocal best
        with torch.set_grad_enabled(learn):
            w = E.encode(image, stage, G)
            drawn = G.synthesis(w, "const")
            terms = objective(drawn, target)
        if learn:
            terms.total.sum().backward()
        log.append(terms.means())
        loss = log[-1]["total"]
        if best is None or loss < best.loss:
            best = _State(w.detach(), drawn.detach(), loss)
        return drawn.detach()

    for step in range(settings.steps):
        optimizer.zero_grad(set_to_none=True)
        drawn = look(learn=True)
        others = draw()
        if others is not None:
            for part in others.split(settings.batch):
                held = objective.target(resize(part, G.resolution))
                terms = objective(G.synthesis(E.encode(part, stage, G), "const"), held)
                (settings.reg / len(others) * terms.total.sum()).backward()
        optimizer.step()
        report(step + 1, drawn)
    look(learn=False)
    assert best is not None
    if not bool(torch.isfinite(best.w).all()):
        raise InputError(
            "Refining gave a code that is not finite: the encoder or the generator holds unusable "
            "weights; load them again."
        )
    return best, log


def _pictures(
    domain: Domain, settings: RefineSettings, G: Generator, random: torch.Generator
) -> Callable[[], Tensor | None]:
    """A function that draws up to M pictures [M,3,h,w] of the domain, or None for no pictures."""
    count = settings.images
    if domain is None or count == 0:
        return lambda: None
    if isinstance(domain, str) and domain == "generator":
        return lambda: _sample(G, settings, random)
    if isinstance(domain, Tensor):
        check_image(domain)
        pictures = domain.detach().to(G.device, torch.float32).clone()
        return lambda: pictures[torch.randperm(len(pictures), generator=random)[:count]]

    from ..images.io import list_images, read_crop

    files = list_images(domain)

    def read() -> Tensor:
        chosen = torch.randperm(len(files), generator=random)[:count]
        crops = [resize(read_crop(files[int(i)]), G.resolution) for i in chosen]
        return torch.cat(crops).to(G.device)

    return read


@torch.no_grad()
def _sample(G: Generator, settings: RefineSettings, random: torch.Generator) -> Tensor:
    """Random pictures of the generator: float32 [M,3,R,R]."""
    w = G.mapping(*G.draw_inputs(settings.images, random), truncation=settings.truncation)
    parts = [G.synthesis(part, "const") for part in w.split(settings.batch)]
    return torch.cat(parts).clamp(-1, 1)
