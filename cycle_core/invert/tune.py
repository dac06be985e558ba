"""Pivotal tuning (PTI, Roich et al. 2021): the pivot is fixed, the generator moves."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..codes import Code, HasCode, as_code
from ..errors import InputError
from ..images.resize import resize
from ..measure.networks import Distance, Networks
from ..models.generator import Generator
from ..runtime.devices import compiled, say_once, supported_dtype
from ..runtime.progress import Callback
from ..runtime.session import frozen, optimising, plain, retry_on_oom, trainable_copy
from .descent import Descent, Evaluation, Losses, Report, descend, reporter
from .encode import check_image, check_photos, generate
from .locality import Locality, Rendering
from .objective import Objective, Terms
from .settings import TUNE_PRESETS, TuneSettings


@dataclass(frozen=True)
class Tuned:
    """What `tune` gives.

    generator: a new generator, in evaluation mode; codes of the original fit it.
    pivot: the code that it was tuned at.
    image: float32 [B,3,R,R] in [-1,1], what it renders of the pivot.
    history: the losses before each step and after the last one (total, l2, lpips, locality), means
        over the pictures; `best` is the index of the state that was kept.
    original: fingerprint of the generator that was tuned.
    note: a sentence for the user where no step was made although some were asked for, else "".
    """

    generator: Generator
    pivot: Code
    image: Tensor
    history: tuple[Losses, ...]
    best: int
    original: str
    note: str = ""

    @property
    def code(self) -> Code:
        return self.pivot

    def summary(self) -> str:
        """What came of it, in one line."""
        before, after = self.history[0]["lpips"], self.history[self.best]["lpips"]
        if len(self.history) == 1:
            return f"0 steps, LPIPS {before:.4f}: the generator is as it was"
        return f"LPIPS {before:.4f} -> {after:.4f} in {self.best} steps"


def tune(
    G: Generator,
    pivot: Code | HasCode,
    image: Tensor,
    settings: TuneSettings | None = None,
    callback: Callback | None = None,
    seed: int = 0,
    perceptual: Distance | None = None,
) -> Tuned:
    """Tune the generator until it renders the pictures at their pivots.

        L = l2 L2(x, G(w_p)) + lpips LPIPS(x, G(w_p)) + locality

    Locality, each step or every so many: see `Locality`. Of several pictures (of one person, with
    one generator for all) the pivots take turns in it. Tuning ends when the mean LPIPS is at most
    the threshold, by itself that of the network (`Lpips.threshold`); the state with the smallest
    l2 L2 + lpips LPIPS is kept.

    Detail (after DHR, "What Decreases Editing Capability?", Cao et al. 2023): when the weights
    are done, a map that is added to the features of one layer is fitted to the picture by the same
    two losses. It takes what the weights cannot learn in few steps. When the code is edited
    it goes where its places go (`models.flow`), unless `detail_moves` is off. One map cannot be the
    detail of several pictures: their weights take the steps that it would have had.

    pivot: a Code (or what `refine` gives) of as many rows as pictures.
    image: float [B,3,H,W] in [-1,1]; resized to the generator's resolution.
    settings: `TUNE_PRESETS` has some; the published ones if None.
    callback(step, total, preview): after each step; what it raises ends the tuning, and G, which is
        never written to, stays as it was to the bit.  preview: float [B,3,R,R], not clamped.
    perceptual: the network of LPIPS, which has a `threshold` where the settings have none; if None
        that of `Networks.for_loss`.
    Where memory ends, it begins again with smaller batches, then with `low_memory`.
    Raises InputError, MismatchError for a code of another generator, MissingFileError."""
    settings = settings or TUNE_PRESETS["paper"]
    pivot = as_code(pivot)
    check_image(image)
    check_photos(G)
    _check_pivot(G, pivot, len(image))
    settings = replace(settings, dtype=supported_dtype(settings.dtype, G.device))
    needed = settings.lpips or (settings.locality and settings.locality_lpips)
    networks = Networks(perceptual).completed(G, needed, 0)
    if settings.threshold is None:  # it belongs to the network that measures
        threshold = getattr(networks.perceptual, "threshold", None) if networks.perceptual else 0.0
        if threshold is None:
            raise InputError(
                "The perceptual network that was given has no `threshold`, the distance at which "
                "tuning stops: set TuneSettings.threshold."
            )
        settings = replace(settings, threshold=threshold)
    return retry_on_oom(
        lambda attempt: _tune(G, pivot, image, attempt, callback, seed, networks),
        _attempts(settings, len(image)),
        G.device,
        "tune this generator",
    )


def _tune(
    G: Generator,
    pivot: Code,
    image: Tensor,
    settings: TuneSettings,
    callback: Callback | None,
    seed: int,
    networks: Networks,
) -> Tuned:
    with optimising(G, *networks):
        networks = networks.frozen()
        w = plain(pivot.w, G)
        objective = Objective(settings.l2, settings.lpips, networks=networks)
        loss = PivotLoss(objective, resize(plain(image, G), G.resolution), w, settings)
        locality = Locality(frozen(G), w, settings, networks, seed) if settings.locality else None
        tuned = trainable_copy(G).tuned_from(G)
        tuned.requires_grad_(False)
        if len(w) == 1:
            tuned.synthesis.rest_detail(w)
        tuned.synthesis.gradient_checkpointing = settings.low_memory

        total = settings.steps + settings.detail_steps
        with_detail = settings.detail_steps > 0 and len(image) == 1
        steps = settings.steps if with_detail else total
        found = _tune_weights(tuned, loss, locality, settings, steps, reporter(callback, 0, total))
        history, best, rendered = found.history[0], found.steps[0], found.image
        if with_detail and not _enough(settings)(history[-1]):
            report = reporter(callback, len(history) - 1, total)
            detail = _fit_detail(tuned, loss, settings, report)
            if detail.steps[0] > 0:
                best, rendered = len(history) - 1 + detail.steps[0], detail.image
            history = history + detail.history[0][1:]
        tuned.synthesis.gradient_checkpointing = False
        tuned.requires_grad_(False)
    kept = tuple(
        {name: losses[name] for name in ("total", "l2", "lpips", "locality") if name in losses}
        for losses in history
    )
    note = ""
    if len(kept) == 1 and total:
        note = (
            f"Tuning took 0 steps: the LPIPS of the pivot, {kept[0]['lpips']:.4f}, is at most the "
            f"threshold of {settings.threshold:g}. Set the threshold to 0 to tune all the same "
            "(--threshold; early_stop of the node)."
        )
        say_once(note)
    rendered = rendered.clamp(-1, 1) if settings.dtype is None else generate(tuned, pivot)
    return Tuned(tuned, pivot, rendered, kept, best, G.fingerprint, note)


def _tune_weights(
    G: Generator,
    loss: PivotLoss,
    locality: Locality | None,
    settings: TuneSettings,
    steps: int,
    report: Report,
) -> Descent:
    """Move all weights of the synthesis network, and leave the best ones in it."""
    render: Rendering = compiled(G.synthesis) if settings.compile else G.synthesis
    weights = list(G.synthesis.requires_grad_(True).parameters())
    optimizer = _adam(weights, settings.learning_rate, settings.betas)
    localities: list[tuple[int, Tensor]] = []

    def evaluate(step: int, learn: bool) -> Evaluation:
        terms, image = loss(render, learn)
        return Evaluation(terms, image, weights)

    def add_locality(step: int) -> None:
        if locality is not None and step % settings.locality_every == 0:
            value = locality(render)
            (settings.locality_every * value).backward()
            localities.append((step, value.detach()))

    found = descend(
        evaluate, optimizer, steps,
        before_update=add_locality, enough=_enough(settings), report=report,
    )  # fmt: skip
    _put(found.state, weights)
    values = torch.stack([value for _, value in localities]).tolist() if localities else []
    for (step, _), value in zip(localities, values, strict=True):  # read when the work is done
        found.history[0][step]["locality"] = value
    return found


def _fit_detail(G: Generator, loss: PivotLoss, settings: TuneSettings, report: Report) -> Descent:
    """Move the map of one layer while the weights rest, and leave the best one in the generator."""
    synthesis, code = G.synthesis.requires_grad_(False), loss.codes[0]
    detail = synthesis.detail  # of a generator that was tuned before
    if detail is None:
        detail = synthesis.add_detail(settings.detail_size)
    synthesis.detail_code = code if settings.detail_moves else None
    detail.requires_grad_(True)
    optimizer = _adam([detail], settings.detail_rate)
    above = synthesis.above_detail(code, settings.dtype)
    above = compiled(above) if settings.compile else above

    def evaluate(step: int, learn: bool) -> Evaluation:
        terms, image = loss(lambda *_: above(), learn)
        return Evaluation(terms, image, (detail,))

    def set_rate(step: int) -> None:
        share = step / settings.detail_steps
        optimizer.param_groups[0]["lr"] = settings.detail_rate * (1 + math.cos(math.pi * share)) / 2

    found = descend(
        evaluate, optimizer, settings.detail_steps,
        before_update=set_rate, enough=_enough(settings), report=report,
    )  # fmt: skip
    _put(found.state, [detail])
    return found


class PivotLoss:
    """How far what a generator renders of the pivots is from the pictures, in batches."""

    def __init__(self, objective: Objective, image: Tensor, w: Tensor, settings: TuneSettings):
        self.objective, self.dtype, self.count = objective, settings.dtype, len(image)
        self.pictures, self.codes = image.split(settings.batch), w.split(settings.batch)
        # the features of many pictures would fill the memory: then they are computed each time
        self.target = objective.target(image) if len(self.pictures) == 1 else None

    def __call__(self, render: Rendering, learn: bool) -> tuple[Terms, Tensor]:
        """The means of the losses, and pictures [B,3,R,R]; `learn` adds the gradients of the mean
        loss, batch by batch."""
        images, parts = [], []
        for picture, w in zip(self.pictures, self.codes, strict=True):
            target = self.target or self.objective.target(picture)
            image = render(w, "const", self.dtype)
            terms = self.objective(image, target)
            if learn:
                (terms.total.sum() / self.count).backward()
            images.append(image.detach())
            parts.append(terms.detached())
        return Terms.mean(parts), torch.cat(images)


def _enough(settings: TuneSettings) -> Callable[[Losses], bool]:
    threshold = settings.threshold if settings.lpips > 0 else 0.0
    return lambda losses: bool(threshold) and losses["lpips"] <= threshold


def _attempts(settings: TuneSettings, pictures: int) -> Iterator[TuneSettings]:
    """The same tuning with ever less memory."""
    yield settings
    if min(settings.batch, pictures) > 1:
        settings = replace(settings, batch=1)
        yield settings
    if not settings.low_memory:
        yield replace(settings, low_memory=True)


def _check_pivot(G: Generator, pivot: Code, pictures: int) -> None:
    G.check_code(pivot)
    if pivot.offsets is not None:
        raise InputError(
            "The pivot was edited in StyleSpace: tune the generator at the pivot as it was before "
            "the edit, and edit afterwards."
        )
    if pivot.batch != pictures:
        raise InputError(
            f"{pictures} pictures and {pivot.batch} pivots were given to tune one generator: "
            "give one pivot for each picture."
        )


@torch.no_grad()
def _put(values: list[Tensor], parameters: list[nn.Parameter]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


def _adam(
    parameters: list[nn.Parameter], rate: float, betas: tuple[float, float] = (0.9, 0.999)
) -> torch.optim.Adam:
    """Adam in one pass over the memory, where torch has that for the device: it says so for a
    device of its own at the first step only."""
    if parameters[0].device.type in ("cpu", "cuda", "mps", "xpu"):
        with contextlib.suppress(RuntimeError):  # of an older torch
            return torch.optim.Adam(parameters, rate, betas, fused=True)
    return torch.optim.Adam(parameters, rate, betas)
