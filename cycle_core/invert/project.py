"""Inversion by optimisation alone: the projector of StyleGAN2 (Karras et al. 2020, appendix D).

No encoder is needed, only time. In W it edits well and reconstructs badly, in W+ the other way
round: the two ends that an encoder is measured against.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from ..codes import Code, HasCode, as_code
from ..errors import InputError
from ..images.resize import resize
from ..measure.selection import Distance, Networks
from ..models.generator import Generator
from ..runtime.progress import Callback
from ..runtime.session import frozen, like_weights, optimising, retry_on_oom, smaller_batches
from .checks import check_image, check_photos
from .descent import Descent, Evaluation, Inversion, Report, descend, reporter
from .nearest import nearest_codes, search_steps
from .objective import Objective
from .sampling import inputs
from .settings import ProjectSettings
from .w_scale import w_spread


def project(
    G: Generator,
    image: Tensor,
    settings: ProjectSettings | None = None,
    start: Code | HasCode | None = None,
    callback: Callback | None = None,
    seed: int = 0,
    perceptual: Distance | None = None,
    identity: Distance | None = None,
    label: int | None = None,
) -> Inversion:
    """Find the codes whose pictures are nearest, by descent from the mean code, or from the nearest
    of some random codes.

    image: float [B,3,H,W] in [-1,1], aligned crops of any size.
    start: codes [B or 1, N, w_dim] to begin at, such as an encoder's; as the settings say if None.
    callback(step, total, preview): after each batch of random codes, each picture whose nearest was
        chosen, and each step of each batch; what it raises ends this.
    perceptual, identity: the networks of LPIPS and ID, as for `refine`.
    label: the class of the random codes, of a class-conditional generator; all classes if None.
    Gives the codes of the smallest losses on the way, what the generator renders of them, and the
    losses. Raises InputError, MismatchError for a start of another generator, MissingFileError."""
    settings = settings or ProjectSettings()
    check_image(image)
    check_photos(G)
    inputs(G, 1, torch.Generator(), label)  # refuses a class that there is not
    given = None if start is None else _start(G, start, len(image))
    networks = Networks(perceptual, identity).completed(G, settings.lpips, settings.identity)
    # a seed for each start of each picture: the result does not depend on the batch
    rng = torch.Generator().manual_seed(seed)
    tries = settings.starts if start is None else 1
    samples = max(settings.samples, tries) if settings.samples and start is None else 0
    seeds = torch.randint(2**62, (len(image) * tries,), generator=rng).tolist()

    def attempt(batch: int) -> Inversion:
        with optimising(G, *networks):
            generator = frozen(G)
            objective = Objective.of(settings, networks.frozen())
            spread = w_spread(generator)
            pictures = like_weights(image, G)
            searched = search_steps(samples, len(image), batch)
            total = searched + math.ceil(len(image) * tries / batch) * settings.steps
            if given is not None:
                begin = given
            elif samples:
                begin = nearest_codes(
                    generator, pictures, objective, samples, tries, seed, label, batch,
                    reporter(callback, 0, total),
                ).flatten(0, 1)  # fmt: skip
            else:
                begin = _mean_and_others(generator, tries, seed, label).repeat(len(image), 1, 1)
            begin = like_weights(begin, G).expand(len(image) * tries, -1, -1).split(batch)
            found = [
                _project_batch(
                    generator, part, begin[index], settings, objective, spread,
                    seeds[index * batch :],
                    reporter(callback, searched + index * settings.steps, total),
                )
                for index, part in enumerate(pictures.repeat_interleave(tries, 0).split(batch))
            ]  # fmt: skip
        return _best(Inversion.of(found, settings.space, G), tries)

    batches = smaller_batches(settings.batch, len(image) * tries)
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
    w_opt = begin.mean(1, keepdim=True) if settings.space == "W" else begin
    w_opt = w_opt.clone().requires_grad_()  # [b, 1 or N, w_dim]
    rngs = [torch.Generator().manual_seed(seed) for seed in seeds[: len(image)]]
    maps = NoiseMaps(G, rngs) if settings.noise_maps else None
    groups = [{"params": [w_opt], "deviation": spread if settings.relative else 1.0}]
    if maps:
        groups.append({"params": maps.tensors, "deviation": 1.0})
    optimizer = torch.optim.Adam(groups, betas=settings.betas)

    def done(step: int) -> float:
        return step / settings.steps if settings.steps else 1.0  # 0 steps give the start itself

    def evaluate(step: int, backward: bool) -> Evaluation:
        fading = max(0.0, 1 - done(step) / settings.noise_ramp_length) ** 2
        noise_scale = settings.initial_noise_factor * spread * fading
        noise = torch.stack([torch.randn(w_opt.shape[1:], generator=rng) for rng in rngs])
        w = (w_opt + noise_scale * noise.to(w_opt)).expand(-1, G.num_ws, -1)
        rendered = maps.render(w) if maps else G.synthesis(w, "const")
        terms = objective(rendered, target)
        if backward:
            loss = terms.total.sum()
            if maps:
                loss = loss + settings.noise_reg * maps.penalty().sum()
            loss.backward()
        return Evaluation(terms, rendered, (w,))

    def set_rate(step: int) -> None:
        rate = settings.learning_rate * _lr_ramp(done(step), settings)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["deviation"]

    found = descend(evaluate, optimizer, settings.steps, before_update=set_rate, report=report)
    if maps:  # which are not kept: the picture is that of the code alone
        with torch.no_grad():
            found = replace(found, image=G.synthesis(found.state[0], "const"))
    return found


def _lr_ramp(done: float, settings: ProjectSettings) -> float:
    """The published ramp: linear at the start, a cosine at the end."""
    rampup, rampdown = settings.lr_rampup_length, settings.lr_rampdown_length
    falling = min(1.0, (1 - done) / rampdown) if rampdown else 1.0
    falling = 0.5 - 0.5 * math.cos(falling * math.pi)
    return falling * (min(1.0, done / rampup) if rampup else 1.0)


def _mean_and_others(G: Generator, count: int, seed: int, label: int | None) -> Tensor:
    """[count, N, w_dim]: the mean code, then random ones."""
    mean = G.w_avg.expand(1, G.num_ws, -1)
    if count == 1:
        return mean
    z = inputs(G, count - 1, torch.Generator().manual_seed(seed), label)
    with torch.no_grad():
        return torch.cat([mean, G.mapping(*z)])


def _best(found: Inversion, tries: int) -> Inversion:
    """Of the tries of each picture the one of the smallest loss."""
    if tries == 1:
        return found
    losses = [min(entry["total"] for entry in log) for log in found.history]
    best = [
        min(range(first, first + tries), key=losses.__getitem__)
        for first in range(0, len(losses), tries)
    ]
    code = found.code.with_w(found.code.w[best])
    return Inversion(code, found.image[best], tuple(found.history[i] for i in best))


def _start(G: Generator, start: Code | HasCode, count: int) -> Tensor:
    code = as_code(start)
    G.check_code(code)
    if code.batch not in (1, count):
        raise InputError(
            f"{count} pictures and {code.batch} codes to start at were given: give one code, or "
            "one for each picture."
        )
    return code.w


# ------------------------------------------------------------------ noise maps
_SMALLEST = 8  # pixels of a side down to which a map is compared with itself


class NoiseMaps:
    """Maps of a generator's layers for each of some pictures, float [B,1,h,w], random at first.

    They take up what differs from pixel to pixel, so that the code need not."""

    def __init__(self, G: Generator, rngs: list[torch.Generator]):
        """rngs: of the CPU, one for each picture. Raises InputError where there are no maps."""
        self._synthesis = G.synthesis
        self._maps = {
            name: torch.stack([torch.randn(1, *buffer.shape, generator=rng) for rng in rngs])
            .to(buffer)
            .requires_grad_()
            for name, buffer in G.synthesis.named_buffers()
            if name.endswith("noise_const")
        }
        if not self._maps:
            raise InputError(
                "This generator has no noise maps, as those of StyleGAN3: project without them."
            )

    @property
    def tensors(self) -> list[Tensor]:
        return list(self._maps.values())

    def render(self, w: Tensor) -> Tensor:
        """w [B,N,w_dim] with the maps, normalized: float [B,3,R,R], not clamped."""
        self.normalize()
        return functional_call(self._synthesis, self._maps, (w, "const"))

    def penalty(self) -> Tensor:
        """float [B]: how alike neighbouring pixels are, at every size of every map."""
        total = torch.zeros(())
        for one in self.tensors:
            while True:
                alike = [(one * one.roll(1, axis)).mean((1, 2, 3)).square() for axis in (2, 3)]
                total = total.to(one) + sum(alike)
                if min(one.shape[2:]) <= _SMALLEST:
                    break
                one = F.avg_pool2d(one, 2) * 2  # of independent pixels the deviation stays 1
        return total

    @torch.no_grad()
    def normalize(self) -> None:
        """Give every map the mean 0 and the deviation 1, which an update changes."""
        for one in self.tensors:
            one -= one.mean((1, 2, 3), keepdim=True)
            one *= one.square().mean((1, 2, 3), keepdim=True).rsqrt()
