"""Pivotal tuning (METHOD section 3, Roich et al. 2021): the pivot is fixed, the generator moves."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from ..codes import Code, HasCode, as_code
from ..errors import InputError
from ..images.resize import resize
from ..models.generator import Generator
from ..runtime.devices import compiled, one_thread_if_small, usable, with_less
from ..runtime.recording import Recorder
from .encode import check_image, generate
from .objective import Distance, Objective, Terms, frozen, perceptual_network, trainable_copy

Callback = Callable[[int, int, Tensor], object]  # (step from 1, total, preview [B,3,R,R])
Drawing = Callable[..., Tensor]  # a synthesis network, compiled or not


@dataclass(frozen=True)
class TuneSettings:
    """The defaults are the published ones (METHOD section 3)."""

    steps: int = 350  # at most
    learning_rate: float = 3e-4  # Adam, all synthesis weights
    betas: tuple[float, float] = (0.9, 0.999)  # of Adam; few steps need a shorter memory
    threshold: float = 0.07  # stop at this LPIPS (0.06 in PTI, 0.07 in Cycle Encoding); 0: never
    l2: float = 1.0
    lpips: float = 1.0
    locality: bool = True
    locality_alpha: float = 30.0  # L2 distance in W+ from the pivot, never beyond the sample
    locality_truncation: float = 0.5
    locality_l2: float = 0.1
    locality_lpips: float = 0.1
    locality_every: int = 1  # every so many steps, with as many times the weight
    detail_steps: int = 0  # after the weights: of the map of one layer, see `tune`
    detail_rate: float = 0.01  # Adam, falling to zero
    detail_size: int = 64  # of the layer's features, at most
    batch: int = 4  # pictures at once: smaller needs less memory and changes nothing else
    dtype: torch.dtype | None = (
        None  # of the convolutions, e.g. torch.bfloat16; weights keep theirs
    )
    low_memory: bool = False  # a third more time, a fraction of the memory, the same result
    compile: bool = False  # with torch.compile, minutes for the first picture: for many pictures
    # a step is recorded and repeated, on a GPU that can (CUDA graphs); takes more memory, and a
    # `perceptual` of one's own has to keep the rules of `recording.Recorder`
    graphs: bool = False

    def __post_init__(self) -> None:
        counts = self.batch, self.locality_every
        rates = self.learning_rate, self.detail_rate
        if min(self.steps, self.detail_steps) < 0 or not min(rates) > 0 or min(counts) < 1:
            raise InputError(
                f"Tuning takes numbers of steps from 0 on, positive rates, a batch and locality "
                f"from 1 on, but steps={self.steps}, learning_rate={self.learning_rate}, "
                f"batch={self.batch}, locality_every={self.locality_every}, detail_steps="
                f"{self.detail_steps}, detail_rate={self.detail_rate} was given."
            )
        if not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(f"The betas of Adam are from 0 to below 1, not {self.betas}.")
        if self.dtype not in (None, torch.float32, torch.bfloat16):
            raise InputError(
                f"Tuning multiplies in float32 or bfloat16, not in {self.dtype}, whose range its "
                "gradients leave: take bfloat16."
            )

    def in_steps(self, count: int) -> TuneSettings:
        """The same in `count` steps at most: weights and detail keep their shares."""
        whole = self.steps + self.detail_steps
        steps = round(count * self.steps / whole) if whole else count
        return replace(self, steps=steps, detail_steps=count - steps)


TUNE_PRESETS = {
    "paper": TuneSettings(),
    "fast": TuneSettings(steps=50, learning_rate=1e-3, locality_every=4, detail_steps=100),
    # a small generator has less to move and a perceptual network of its own scale; docs/results.md
    # has what each of these numbers is worth
    "embedded": TuneSettings(
        steps=40,
        learning_rate=3e-3,
        betas=(0.8, 0.95),
        threshold=0.0,
        locality_every=4,
        detail_steps=80,
        detail_size=16,
    ),
}


@dataclass(frozen=True)
class Tuned:
    """What `tune` gives.

    generator: a new generator, in evaluation mode; codes of the original fit it.
    pivot: the code that it was tuned at.
    image: float32 [B,3,R,R] in [-1,1], what it draws of the pivot.
    history: the losses before each step and after the last one (total, l2, lpips, locality), means
        over the pictures; `best` is the index of the state that was kept.
    original: fingerprint of the generator that was tuned.
    """

    generator: Generator
    pivot: Code
    image: Tensor
    history: tuple[dict[str, float], ...]
    best: int
    original: str

    @property
    def code(self) -> Code:
        return self.pivot


def tune(
    G: Generator,
    pivot: Code | HasCode,
    image: Tensor,
    settings: TuneSettings | None = None,
    callback: Callback | None = None,
    seed: int = 0,
    perceptual: Distance | None = None,
) -> Tuned:
    """Tune the generator until it draws the pictures at their pivots.

        L = l2 L2(x, G(w_p)) + lpips LPIPS(x, G(w_p)) + locality

    Locality, each step or every so many: a sample w_z (truncation 0.5), and from the pivot towards
    it w_r = w_p + alpha (w_z - w_p) / |w_z - w_p|; there the pictures of the tuned and of the
    original generator are held together by 0.1 L2 + 0.1 LPIPS, without noise. alpha is at most
    |w_z - w_p|: in a latent space smaller than FFHQ's, 30 would end beyond the domain. Of several
    pictures (of one person, with one generator for all) the pivots take turns. Tuning ends when the
    mean LPIPS is at most the threshold; the state with the smallest l2 L2 + lpips LPIPS is kept.

    Detail (after DHR, "What Decreases Editing Capability?", Cao et al. 2023): when the weights
    are done, a map that is added to the features of one layer is fitted to the picture by the same
    two losses. It takes what the weights cannot learn in few steps, and stays where it is when
    the code is edited. One map cannot be the detail of several pictures: their weights take the
    steps that it would have had.

    pivot: a Code (or what `refine` gives) of as many rows as pictures.
    image: float [B,3,H,W] in [-1,1]; resized to the generator's resolution.
    settings: `TUNE_PRESETS` has some; the published ones if None.
    callback(step, total, preview): after each step; what it raises ends the tuning, and G, which is
        never written to, stays as it was to the bit.  preview: float [B,3,R,R], not clamped.
    perceptual: the network of LPIPS; if None AlexNet where its files are on this machine, else the
        embedded one.
    Where memory ends, it begins again with smaller batches, then with `low_memory`.
    Raises InputError, MismatchError for a code of another generator, MissingFileError."""
    settings = settings or TUNE_PRESETS["paper"]
    pivot = as_code(pivot)
    check_image(image)
    G.check_code(pivot)
    if pivot.offsets is not None:
        raise InputError(
            "The pivot was edited in StyleSpace: tune the generator at the pivot as it was before "
            "the edit, and edit afterwards."
        )
    if pivot.batch != image.shape[0]:
        raise InputError(
            f"{image.shape[0]} pictures and {pivot.batch} pivots were given to tune one generator: "
            "give one pivot for each picture."
        )
    return with_less(
        lambda attempt: _tune(G, pivot, image, attempt, callback, seed, perceptual),
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
    perceptual: Distance | None,
) -> Tuned:
    # ComfyUI runs nodes in inference mode, in which nothing can be trained: step out and copy
    with torch.inference_mode(False), torch.enable_grad():
        needed = settings.lpips or (settings.locality and settings.locality_lpips)
        network = perceptual_network(perceptual, G.device) if needed else None
        w = pivot.w.detach().to(G.device, torch.float32).clone()
        objective = Objective(settings.l2, settings.lpips, perceptual=network)
        x = resize(image.detach().to(G.device, torch.float32).clone(), G.resolution)
        settings = replace(settings, dtype=usable(settings.dtype, G.device))
        look = _Look(objective, x, w, settings)
        tuned = trainable_copy(G).tuned_from(G)
        tuned.mapping.requires_grad_(False)
        locality = Locality(frozen(G), w, settings, network, seed) if settings.locality else None
        tuned.synthesis.recompute = settings.low_memory
        recorder = Recorder(G.device, settings.graphs)
        with one_thread_if_small(G, network), recorder as record:
            descent = _Descent(tuned, look, settings, callback, record)
            descent.of_weights(locality)
            if descent.with_detail and not descent.ended:
                descent.of_detail()
        tuned.synthesis.recompute = False
        tuned.requires_grad_(False)
    best, history = descent.best, tuple(descent.history)
    drawn = best.image.clamp(-1, 1) if settings.dtype is None else generate(tuned, pivot)
    return Tuned(tuned, pivot, drawn, history, best.step, G.fingerprint)


def _attempts(settings: TuneSettings, pictures: int) -> Iterator[TuneSettings]:
    """The same tuning with ever less memory."""
    yield settings
    if settings.graphs:
        settings = replace(settings, graphs=False)
        yield settings
    if min(settings.batch, pictures) > 1:
        settings = replace(settings, batch=1)
        yield settings
    if not settings.low_memory:
        yield replace(settings, low_memory=True)


@dataclass
class _Best:
    """The best state so far, but for the parameters."""

    loss: float
    step: int
    image: Tensor


class _Descent:
    """Moves parameters of G by Adam; knows the best state and the losses on the way."""

    def __init__(
        self,
        G: Generator,
        look: _Look,
        settings: TuneSettings,
        callback: Callback | None,
        record: Recorder,
    ):
        self.G, self.look, self.settings, self.callback = G, look, settings, callback
        self.record = record
        self.draw = _drawing(G, settings)
        self.best = _Best(math.inf, 0, torch.empty(0))
        self.history: list[dict[str, float]] = []
        self.ended = False  # by the threshold
        self.done = 0  # steps
        self.total = settings.steps + settings.detail_steps
        self.with_detail = settings.detail_steps > 0 and look.count == 1

    def of_weights(self, locality: Locality | None) -> None:
        """All weights of the synthesis network."""
        settings, every = self.settings, self.settings.locality_every
        weights = list(self.G.synthesis.parameters())
        optimizer = _adam(weights, settings.learning_rate, settings.betas)
        steps = settings.steps if self.with_detail else self.total
        held: list[tuple[dict[str, float], Tensor]] = []  # read when the work is done
        hold = None if locality is None else self.record(partial(self._hold, locality))

        def before(step: int) -> None:
            if locality is None or hold is None or step % every:
                return
            locality.aim(step // every)
            held.append((self.history[-1], *hold()))

        self._run(optimizer, weights, steps, before)
        values = torch.stack([loss for _, loss in held]).tolist() if held else []
        for (losses, _), value in zip(held, values, strict=True):
            losses["locality"] = value

    def of_detail(self) -> None:
        """The map of one layer; the weights are at rest."""
        settings = self.settings
        self.G.synthesis.requires_grad_(False)
        synthesis = self.G.synthesis
        detail = synthesis.detail  # of a generator that was tuned before
        if detail is None:
            detail = synthesis.add_detail(settings.detail_size)
        detail.requires_grad_(True)
        optimizer = _adam([detail], settings.detail_rate)
        draw = synthesis.above_detail(self.look.codes[0], settings.dtype)
        draw = compiled(draw) if settings.compile else draw
        self.draw = lambda *_: draw()  # the pivot, which alone is looked at

        def fall(step: int) -> None:
            share = step / settings.detail_steps
            optimizer.param_groups[0]["lr"] = (
                settings.detail_rate * (1 + math.cos(math.pi * share)) / 2
            )

        self._run(optimizer, [detail], settings.detail_steps, fall, known=True)

    def _run(
        self,
        optimizer: torch.optim.Optimizer,
        moved: list[nn.Parameter],
        steps: int,
        before: Callable[[int], None],
        known: bool = False,
    ) -> None:
        """before(step): what a step needs beside the gradients of the pictures. known: whether it
        begins at the best state so far, which the history has already."""
        values = [torch.empty_like(parameter) for parameter in moved]  # of the best state

        def learn() -> tuple[Tensor, Tensor]:
            optimizer.zero_grad(set_to_none=True)
            return self.look(self.draw, learn=True)

        @torch.no_grad()
        def keep() -> tuple[()]:
            for value, parameter in zip(values, moved, strict=True):
                value.copy_(parameter)
            return ()

        learn, keep = self.record(learn), self.record(keep)
        for step in range(steps + 1):
            last = step == steps
            drawn, averages = self.look(self.draw, learn=False) if last else learn()
            losses = Terms.told(averages)  # here the host waits for the device, once in a step
            loss, again = losses["total"], known and step == 0
            if not again:
                self.history.append({name: losses[name] for name in ("total", "l2", "lpips")})
            if loss < self.best.loss or step == 0:
                at = self.best.step if again else len(self.history) - 1
                self.best = _Best(loss, at, drawn)
                keep()
            self.ended = _good_enough(losses, self.settings)
            if last or loss != loss or self.ended:
                break
            before(step)
            optimizer.step()
            self.done += 1
            if self.callback is not None:
                self.callback(self.done, self.total, drawn)
        if self.best.loss != self.best.loss:
            raise InputError(
                "Tuning began with a loss that is not a number: the generator holds unusable "
                "weights or the picture unusable values; load them again."
            )
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for parameter, value in zip(moved, values, strict=True):
                parameter.copy_(value)

    def _hold(self, locality: Locality) -> tuple[Tensor]:
        """Add the gradients of locality where it aims; its loss, float []."""
        loss = locality(self.draw)
        (self.settings.locality_every * loss).backward()
        return (loss.detach(),)


class _Look:
    """What the generator draws of the pivots, and how far it is from the pictures."""

    def __init__(self, objective: Objective, image: Tensor, w: Tensor, settings: TuneSettings):
        self.objective, self.dtype, self.count = objective, settings.dtype, len(image)
        self.pictures, self.codes = image.split(settings.batch), w.split(settings.batch)
        # the features of many pictures would fill the memory: then they are computed each time
        self.target = objective.target(image) if len(self.pictures) == 1 else None

    def __call__(self, draw: Drawing, learn: bool) -> tuple[Tensor, Tensor]:
        """Pictures [B,3,R,R] and the means of their losses, as `Terms.averages`; `learn` adds up
        the gradients of the mean loss."""
        drawn, found = [], []
        for picture, w in zip(self.pictures, self.codes, strict=True):
            target = self.target or self.objective.target(picture)
            with torch.set_grad_enabled(learn):
                image = draw(w, "const", self.dtype)
                terms = self.objective(image, target)
            if learn:
                (terms.total.sum() / self.count).backward()
            drawn.append(image.detach())
            found.append(terms.detached())
        return torch.cat(drawn), Terms.together(found).averages()


class Locality:
    """The locality regularisation of PTI, equations 3 and 4: see `tune`. `aim` comes before each
    call."""

    def __init__(
        self,
        original: Generator,
        pivots: Tensor,
        settings: TuneSettings,
        perceptual: Distance | None,
        seed: int,
    ):
        self.original, self.pivots, self.settings = original, pivots, settings
        self.draw = _drawing(original, settings)
        self.random = torch.Generator().manual_seed(seed)
        self.objective = Objective(
            settings.locality_l2, settings.locality_lpips, perceptual=perceptual
        )
        # where `aim` writes what the loss is taken of: the pivot [1,N,w_dim], the sample's inputs
        self.pivot = pivots[:1].clone()
        self.z, self.c = original.draw_inputs(1, torch.Generator())

    def aim(self, step: int) -> None:
        """Choose the pivot and the sample of a step."""
        z, c = self.original.draw_inputs(1, self.random)
        self.pivot.copy_(self.pivots[step % len(self.pivots)][None])
        self.z.copy_(z)
        if self.c is not None and c is not None:
            self.c.copy_(c)

    def __call__(self, tuned: Drawing) -> Tensor:
        """The loss where `aim` says, float []."""
        truncation, dtype = self.settings.locality_truncation, self.settings.dtype
        with torch.no_grad():
            way = self.original.mapping(self.z, self.c, truncation=truncation) - self.pivot
            length = way.norm()
            alpha = length.clamp(max=self.settings.locality_alpha)
            near = self.pivot + way * (alpha / length.clamp(min=1e-8))
            target = self.objective.target(self.draw(near, "none", dtype))
        return self.objective(tuned(near, "none", dtype), target).total.mean()


def _drawing(G: Generator, settings: TuneSettings) -> Drawing:
    return compiled(G.synthesis) if settings.compile else G.synthesis


def _adam(
    parameters: list[nn.Parameter], rate: float, betas: tuple[float, float] = (0.9, 0.999)
) -> torch.optim.Adam:
    """Adam in one pass over the memory, where torch has that for the device: it says so for a
    device of its own at the first step only."""
    if parameters[0].device.type in ("cpu", "cuda", "mps", "xpu"):
        with contextlib.suppress(RuntimeError):  # of an older torch
            return torch.optim.Adam(parameters, rate, betas, fused=True)
    return torch.optim.Adam(parameters, rate, betas)


def _good_enough(losses: dict[str, float], settings: TuneSettings) -> bool:
    threshold = settings.threshold if settings.lpips > 0 else 0.0
    return threshold > 0 and losses["lpips"] <= threshold
