"""Train the embedded landmark networks on renders of people, in small synthetic scenes.

    python -m people.scenes runs/scenes --count 4000 --resolution 320 --workers 2
    python -m people.training landmarks runs/scenes runs/people --out runs/landmarks --minutes 45

Folders may be of `people.scenes` (turned and hatted heads, several in a picture) and of
`people.dataset` (aligned portraits, many people), in any resolutions; each is as often looked at as
the others.

Each step trains the finder and the refiner on a batch of scenes each. Scenes are made while it
trains, in pools that are gone through a few times, differently lit, mirrored and grained. The same
command resumes a run. The result is `landmarks.safetensors` in the run's folder; `log.jsonl` has
losses and, now and then, errors on scenes of people that were never trained on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cycle_core.checkpoints.native import save_model
from cycle_core.faces.landmarks import (
    FINDER_SIZE,
    MIRRORED,
    LandmarkConfig,
    Landmarks,
    cells,
    face_size,
)
from cycle_core.runtime.devices import autocast
from cycle_core.runtime.optim import Muon, update_average
from cycle_core.runtime.progress import Callback
from cycle_core.training import loop
from cycle_core.training.loop import Losses

from .scenes import FINDING, REFINING, People, Placement, Scenes, synthesise
from .settings import LandmarkTraining

WEIGHTS = "landmarks.safetensors"


def train(
    people: People,
    held_out: People,
    out: str | Path,
    settings: LandmarkTraining | None = None,
    config: LandmarkConfig | None = None,
    callback: Callback | None = None,
) -> Path:
    """Train, or resume in the folder `out`; gives the path of the weights.

    callback: see `loop`. Raises InputError for other settings than the run was started with, and
    CycleError where the training diverges."""
    settings = settings or LandmarkTraining()
    loop.train(out, lambda _: LandmarkTrainer(people, held_out, settings, config), callback)
    return Path(out) / WEIGHTS


class LandmarkTrainer(loop.Trainer):
    def __init__(
        self,
        people: People,
        held_out: People,
        settings: LandmarkTraining,
        config: LandmarkConfig | None,
    ):
        s = self.settings = settings
        torch.manual_seed(s.seed)
        self.device = torch.device("cpu")  # where scenes are made
        self.digest = people.digest
        self.model = Landmarks(config).to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = deepcopy(self.model).requires_grad_(False)
        self.optimizer = Muon(self.model.parameters(), s.learning_rate)
        self.spent, self._began = 0.0, time.monotonic()
        test_seed = 900_001 + s.seed
        self.finding = synthesise(held_out, s.checked, FINDING, test_seed)
        self.refining = synthesise(held_out, s.checked, REFINING, test_seed)
        self.pools = [
            _Pool(people, FINDING, s.finder_batch, s, 0),
            _Pool(people, REFINING, s.refiner_batch, s, 1),
        ]

    @property
    def total(self) -> int:
        """Steps; of a run by time as many as it will make at the pace so far."""
        done = self.done
        return self.settings.steps or max(self.step, round(self.step / done) if done else 1)

    @property
    def done(self) -> float:
        s = self.settings
        return self.step / s.steps if s.steps else self.spent / (60 * s.minutes)

    def parts(self) -> dict[str, Any]:
        return {"model": self.model, "average": self.average, "optimiser": self.optimizer}

    def advance(self) -> Losses:
        s, step = self.settings, self.step
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate() + 1e-5
        scenes, crops = self.pools[0].images(step), self.pools[1].images(step)  # in float32
        with autocast(self.device, s.bf16):
            heat, size, places = self.model.finder(scenes)
            found, face, each, weights = self.model.refiner(crops)
        losses = finder_losses(heat, size, places, *self.pools[0].faces(step))
        points = self.pools[1].faces(step)[0][:, 0]
        losses |= refiner_losses(found, face, each, weights, points)
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        self.step += 1
        self.spent = time.monotonic() - self._began
        update_average(self.average, self.model, min(0.998, self.step / (self.step + 20)))
        return losses

    def _learning_rate(self) -> float:
        cosine = 0.5 + 0.5 * math.cos(math.pi * min(1.0, self.done))
        return self.settings.learning_rate * min(1, (self.step + 1) / 150) * cosine

    def status(self) -> dict[str, Any]:
        return {"done": self.done, "learning_rate": self._learning_rate()}

    def validate(self, count: int | None = None) -> tuple[dict[str, float], dict[str, Tensor]]:
        if self.done >= 1:
            settle(self.average, self.pools, self.step)
        return measure(self.average, self.finding, self.refining), {}

    def export(self, folder: Path, measured: dict[str, Any]) -> None:
        s, model = self.settings, self.average
        length = f"--steps {s.steps}" if s.steps else f"--minutes {s.minutes:g}"
        command = f"python -m people.training landmarks FOLDERS {length} --seed {s.seed}"
        metadata = {
            "steps": str(self.step),
            "data": "renders of people in synthetic scenes",
            "command": command + " --bf16" * s.bf16,
        }
        state = model.state_dict()
        save_model(folder / WEIGHTS, "landmarks", model.config, state, metadata, torch.int8)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "spent": self.spent}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.spent = state["spent"]
        self._began = time.monotonic() - self.spent


def finder_losses(
    heat: Tensor, size: Tensor, places: Tensor, points: Tensor, sure: Tensor
) -> dict[str, Tensor]:
    """Of the finder's outputs for scenes with faces at points [B,N,5,2], NaN where there is none;
    cells at faces that are not sure [B,N] count for nothing.

    Heat: binary cross-entropy with a bump at each face's centre, weighted by how wrong it is.
    Points and size: smooth L1 at the cells of the nearest bump, in units of the face's size."""
    there = ~points[..., 0, 0].isnan()
    points = points.nan_to_num()
    true = face_size(points).clamp(min=8)  # [B,N]
    centres = cells(heat.shape[1], heat.shape[2], heat)[None, None, :, :, 0]  # [1,1,h,w,2]
    away = (centres - points.mean(2)[:, :, None, None]).square().sum(-1)
    width = (0.13 * true).clamp(min=4.5)[..., None, None]
    bumps = torch.exp(-away / (2 * width**2)) * there[..., None, None]  # [B,N,h,w]
    bump, nearest = (bumps * sure[..., None, None]).max(1)
    counts = (bumps * ~sure[..., None, None]).amax(1) < 0.1
    cross = F.binary_cross_entropy_with_logits(heat, bump, reduction="none")
    wrong = (heat.detach().sigmoid() - bump).abs() ** 1.5 * counts
    weight = bump * (bump > 0.3)
    total = weight.sum().clamp(min=1e-6)
    which = torch.arange(len(points)).view(-1, 1, 1), nearest  # a face for each cell
    error = (places - points[which]) / true[which][..., None, None]
    error = F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.03, reduction="none")
    scale = (true[which] / FINDER_SIZE).log()
    scale = F.smooth_l1_loss(size, scale, beta=0.1, reduction="none")
    return {
        "heat": (cross * wrong).sum((1, 2)).mean(),
        "found": 3 * (error.sum((-1, -2)) * weight).sum() / total,
        "size": 0.3 * (scale * weight).sum() / total,
    }


def refiner_losses(
    found: Tensor, face: Tensor, each: Tensor, weights: Tensor, points: Tensor
) -> dict[str, Tensor]:
    """Of the refiner's outputs: smooth L1 of the points, less of what single cells say, and binary
    cross-entropy of being a face."""
    there = (~points[:, 0, 0].isnan()).float()
    points = points.nan_to_num()
    size = face_size(points).clamp(min=8).view(-1, 1, 1)
    count = there.sum().clamp(min=1)
    error = (found - points) / size
    error = F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.02, reduction="none")
    single = (each - points[:, None, None]) / size[..., None, None]
    single = F.smooth_l1_loss(single, torch.zeros_like(single), beta=0.05, reduction="none")
    single = (single.sum(-1) * weights).sum((1, 2, 3))
    return {
        "points": 4 * (error.sum((1, 2)) * there).sum() / count,
        "cells": (single * there).sum() / count,
        "face": 0.5 * F.binary_cross_entropy_with_logits(face, there),
    }


@torch.no_grad()
def measure(model: Landmarks, finding: Scenes, refining: Scenes) -> dict[str, float]:
    """Errors on held-out scenes: the finder's best cell and the refiner, in eye distances (half a
    face's size, so that turned heads count alike); the share of faces and of empty scenes that are
    judged rightly at 0.5."""
    model.eval()
    looks = [model.finder(x.float() / 255) for x in finding.images.split(100)]
    heat, _, places = (torch.cat(part) for part in zip(*looks, strict=True))
    warmest = heat.flatten(1).max(1)
    found = places.flatten(1, 2)[torch.arange(len(heat)), warmest.indices]
    points = torch.where(finding.sure[..., None, None], finding.points, math.nan)
    nearest = (points.mean(2) - found.mean(1, keepdim=True)).norm(dim=-1).nan_to_num(math.inf)
    points = points[torch.arange(len(heat)), nearest.argmin(1)]
    clear = finding.sure.any(1) | finding.points.isnan().flatten(1).all(1)
    out = _summary("finder", *(x[clear] for x in (found, warmest.values, points)))
    parts = [model.refiner(x.float() / 255)[:2] for x in refining.images.split(100)]
    found, face = (torch.cat(part) for part in zip(*parts, strict=True))
    return out | _summary("refiner", found, face, refining.points[:, 0])


def _summary(name: str, found: Tensor, logit: Tensor, points: Tensor) -> dict[str, float]:
    there = ~points[:, 0, 0].isnan()
    error = (found - points).norm(dim=-1).mean(1)[there] / (face_size(points[there]) / 2)
    return {
        f"{name}_error": float(error.median()),
        f"{name}_mean_error": float(error.clamp(max=1).mean()),
        f"{name}_seen": float((logit[there] > 0).float().mean()),
        f"{name}_false": float((logit[~there] > 0).float().mean()),
    }


@torch.no_grad()
def settle(model: Landmarks, pools: Sequence[_Pool], step: int, batches: int = 30) -> None:
    """Batch statistics of the averaged weights, which no training step has seen, in place."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean
    model.train()
    for k in range(batches):
        model.finder(pools[0].images(step + k))
        model.refiner(pools[1].images(step + k))
    model.eval()


# -------------------------------------------------------------------------------------- data
class _Pool:
    """Endless batches of scenes, a pure function of the seed and the step."""

    def __init__(
        self, people: People, place: Placement, batch: int, s: LandmarkTraining, number: int
    ) -> None:
        self.people, self.place, self.batch = people, place, batch
        self.steps = max(1, s.pool // batch)  # in which the pool is gone through once
        self.reuse, self.seed = s.reuse, s.seed * 10 + number
        self._round, self._step = -1, -1
        self._scenes: Scenes | None = None
        self._batch: tuple[Tensor, Tensor, Tensor] | None = None

    def images(self, step: int) -> Tensor:
        """[batch,1,side,side] in 0..1"""
        return self._take(step)[0]

    def faces(self, step: int) -> tuple[Tensor, Tensor]:
        """Points [batch,MOST,5,2] and whether they are sure [batch,MOST], as in `Scenes`."""
        return self._take(step)[1:]

    def _take(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        if step == self._step and self._batch is not None:
            return self._batch
        number = step // (self.steps * self.reuse)
        if number != self._round or self._scenes is None:
            seed = self.seed * 1_000_003 + number
            self._scenes = synthesise(self.people, self.steps * self.batch, self.place, seed)
            self._round = number
        rng = torch.Generator().manual_seed(self.seed * 1_000_003 + step // self.steps)
        order = torch.randperm(self.steps * self.batch, generator=rng)
        at = order[(step % self.steps) * self.batch :][: self.batch]
        rng.manual_seed(self.seed * 7_000_003 + step)
        self._batch = _vary(self._scenes, at, rng)
        self._step = step
        return self._batch


def _vary(scenes: Scenes, at: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    images, points = scenes.images[at].float() / 255, scenes.points[at].clone()
    mirror = torch.rand(len(at), generator=rng) < 0.5
    images[mirror] = images[mirror].flip(3)
    flipped = points[mirror][:, :, MIRRORED]
    flipped[..., 0] = images.shape[-1] - flipped[..., 0]
    points[mirror] = flipped
    u = torch.rand(2, len(at), 1, 1, 1, generator=rng)
    images = images.clamp(min=1e-3) ** torch.exp(0.5 * (u[0] - 0.5))
    grain = torch.randn(images.shape, generator=rng)
    return (images + 0.02 * u[1] * grain).clamp(0, 1), points, scenes.sure[at]
