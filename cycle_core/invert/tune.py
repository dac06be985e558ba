"""Pivotal tuning (PTI, Roich et al. 2021): the pivot is fixed, the generator moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..codes import Code, HasCode, as_code
from ..errors import InputError
from ..images.resize import resize
from ..measure.selection import Distance, Networks
from ..models.detail_encoder import DetailEncoder
from ..models.generator import Generator
from ..runtime.devices import compiled, say_once, supported_dtype
from ..runtime.optim import fused_adam
from ..runtime.progress import Callback
from ..runtime.session import frozen, like_weights, optimising, retry_on_oom, trainable_copy
from .checks import check_image, check_photos
from .descent import Descent, Evaluation, Report, descend, reporter
from .detail import detail_encoder_for, fit_detail, predict_detail
from .generate import generate
from .locality import Locality
from .objective import LossValues, Objective, PivotLoss, Rendering
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
    history: tuple[LossValues, ...]
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
    detail_encoder: DetailEncoder | None = None,
) -> Tuned:
    """Tune the generator until it renders the pictures at their pivots.

        L = l2 L2(x, G(w_p)) + lpips LPIPS(x, G(w_p)) + locality  (PTI, section 3)

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
    detail_encoder: what predicts the detail where the settings have `detail_predicted`; if None
        the embedded one of this generator.
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
    if settings.detail_predicted and len(image) == 1:
        detail_encoder = detail_encoder or detail_encoder_for(G)
    elif settings.detail_predicted and not settings.steps + settings.detail_steps:
        raise InputError(
            f"In one pass the detail of one picture is predicted, and {len(image)} pictures were "
            "given for one generator: choose another preset than instant, or give steps."
        )
    else:  # one map cannot be the detail of several pictures
        detail_encoder = None
    return retry_on_oom(
        lambda attempt: _tune(G, pivot, image, attempt, callback, seed, networks, detail_encoder),
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
    detail_encoder: DetailEncoder | None,
) -> Tuned:
    """PTI at the pivots, then the detail, with as much memory as these settings take."""
    steps, detail_steps = settings.steps, settings.detail_steps
    if len(image) > 1:  # one map cannot be the detail of several pictures
        steps, detail_steps = steps + detail_steps, 0
    total = steps + detail_steps + (detail_encoder is not None)
    with optimising(G, *networks):
        networks = networks.frozen()
        w = like_weights(pivot.w, G)
        objective = Objective(settings.l2, settings.lpips, networks=networks)
        loss = PivotLoss(objective, resize(like_weights(image, G), G.resolution), w, settings)
        locality = Locality(frozen(G), w, settings, networks, seed) if settings.locality else None
        tuned = _copy_to_tune(G, w, settings.low_memory)
        found = _tune_weights(tuned, loss, locality, settings, steps, reporter(callback, 0, total))
        if detail_encoder is not None and not loss.is_enough(found.history[0][-1]):
            found = found.followed_by(predict_detail(tuned, detail_encoder, loss, settings))
            reporter(callback, found.steps - 1, total)(1, found.image)
        if detail_steps and not loss.is_enough(found.history[0][-1]):
            report = reporter(callback, found.steps, total)
            found = found.followed_by(fit_detail(tuned, loss, settings, report))
        tuned.synthesis.gradient_checkpointing = False
        tuned.requires_grad_(False)
    history = tuple(
        {name: losses[name] for name in ("total", "l2", "lpips", "locality") if name in losses}
        for losses in found.history[0]
    )
    note = _no_steps(history[0], settings) if len(history) == 1 and total else ""
    rendered = found.image.clamp(-1, 1) if settings.dtype is None else generate(tuned, pivot)
    return Tuned(tuned, pivot, rendered, history, found.best_steps[0], G.fingerprint, note)


def _copy_to_tune(G: Generator, w: Tensor, low_memory: bool) -> Generator:
    """A copy of which nothing is trained yet; a detail that it has, of a tuning before, becomes
    that of w, which one map can be for one code alone."""
    tuned = trainable_copy(G).tuned_from(G)
    tuned.requires_grad_(False)
    if len(w) == 1:
        tuned.synthesis.rest_detail(w)
    tuned.synthesis.gradient_checkpointing = low_memory
    return tuned


def _tune_weights(
    G: Generator,
    loss: PivotLoss,
    locality: Locality | None,
    settings: TuneSettings,
    steps: int,
    report: Report,
) -> Descent:
    """Move all weights of the synthesis network (section 3.2), and leave the best ones in it."""
    render: Rendering = compiled(G.synthesis) if settings.compile else G.synthesis
    weights = list(G.synthesis.requires_grad_(True).parameters())
    optimizer = fused_adam(weights, settings.learning_rate, settings.betas)
    localities: list[tuple[int, Tensor]] = []

    def evaluate(step: int, backward: bool) -> Evaluation:
        terms, image = loss(render, backward)
        return Evaluation(terms, image, weights)

    def add_locality(step: int) -> None:
        if locality is not None and step % settings.locality_every == 0:
            value = locality(render)
            (settings.locality_every * value).backward()
            localities.append((step, value.detach()))

    found = descend(
        evaluate, optimizer, steps,
        before_update=add_locality, enough=loss.is_enough, report=report,
    )  # fmt: skip
    found.restore(weights)
    values = torch.stack([value for _, value in localities]).tolist() if localities else []
    for (step, _), value in zip(localities, values, strict=True):  # read when the work is done
        found.history[0][step]["locality"] = value
    return found


def _no_steps(losses: LossValues, settings: TuneSettings) -> str:
    """The note of a tuning that made none although some were asked for; it is logged, too."""
    note = (
        f"Tuning took 0 steps: the LPIPS of the pivot, {losses['lpips']:.4f}, is at most the "
        f"threshold of {settings.threshold:g}. Set the threshold to 0 to tune all the same "
        "(early_stop of the node)."
    )
    say_once(note)
    return note


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
