"""Train the embedded landmark networks on renders pasted into synthetic scenes.

    python -m cycle_core.portraits.dataset data/wide128 --count 6000 --resolution 128 --wide
    cycle-core train landmarks data/wide128 --out runs/landmarks --minutes 45

Several folders may be given, of any resolutions; portraits with wide poses are the better ones.

Each step trains the finder and the refiner on a batch of scenes each. Scenes are made while it
trains, in pools that are gone through a few times, differently lit, mirrored and grained. The same
command resumes a run. The result is `landmarks.safetensors` in the run's folder; `log.jsonl` has
losses and, now and then, errors on scenes of portraits that were never trained on.
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

from ..checkpoints.native import save_model
from ..errors import InputError
from ..faces.landmarks import FINDER_SIZE, MIRRORED, LandmarkConfig, Landmarks, cells, face_size
from ..images.resize import resize
from ..portraits.renderer import render
from ..portraits.scenes import FINDING, REFINING, Placement, Portraits, Scenes, synthesise
from ..runtime.optim import Muon
from ..runtime.progress import Callback
from . import loop
from .loop import Losses, autocast, update_average
from .renders import Renders
from .settings import LandmarkTraining

WEIGHTS = "landmarks.safetensors"
_HEADS = 24  # resolution of the masks of the heads


def train(
    portraits: Portraits,
    held_out: Portraits,
    out: str | Path,
    settings: LandmarkTraining | None = None,
    config: LandmarkConfig | None = None,
    callback: Callback | None = None,
) -> Path:
    """Train, or resume in the folder `out`; gives the path of the weights.

    callback: see `loop`. Raises InputError for other settings than the run was started with, and
    CycleError where the training diverges."""
    settings = settings or LandmarkTraining()
    loop.train(out, lambda _: LandmarkTrainer(portraits, held_out, settings, config), callback)
    return Path(out) / WEIGHTS


class LandmarkTrainer(loop.Trainer):
    def __init__(
        self,
        portraits: Portraits,
        held_out: Portraits,
        settings: LandmarkTraining,
        config: LandmarkConfig | None,
    ):
        s = self.settings = settings
        torch.manual_seed(s.seed)
        self.device = portraits.images.device
        self.model = Landmarks(config).to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = deepcopy(self.model).requires_grad_(False)
        self.optimizer = Muon(self.model.parameters(), s.rate)
        self.spent, self._began = 0.0, time.monotonic()
        test_seed = 900_001 + s.seed
        self.finding = synthesise(held_out, s.checked, FINDING, test_seed)
        self.refining = synthesise(held_out, s.checked, REFINING, test_seed)
        self.pools = [
            _Pool(portraits, FINDING, s.finder_batch, s, 0),
            _Pool(portraits, REFINING, s.refiner_batch, s, 1),
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
            group["lr"] = self._rate() + 1e-5
        scenes, crops = self.pools[0].images(step), self.pools[1].images(step)  # in float32
        with autocast(self.device, s.bf16):
            heat, size, places = self.model.finder(scenes)
            found, face, each, weights = self.model.refiner(crops)
        losses = finder_losses(heat, size, places, self.pools[0].points(step))
        losses |= refiner_losses(found, face, each, weights, self.pools[1].points(step))
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        self.step += 1
        self.spent = time.monotonic() - self._began
        update_average(self.average, self.model, min(0.998, self.step / (self.step + 20)))
        return losses

    def _rate(self) -> float:
        cosine = 0.5 + 0.5 * math.cos(math.pi * min(1.0, self.done))
        return self.settings.rate * min(1, (self.step + 1) / 150) * cosine

    def status(self) -> dict[str, Any]:
        return {"done": self.done, "rate": self._rate()}

    def validate(self, count: int | None = None) -> tuple[dict[str, float], dict[str, Tensor]]:
        if self.done >= 1:
            settle(self.average, self.pools, self.step)
        return measure(self.average, self.finding, self.refining), {}

    def export(self, folder: Path, measured: dict[str, Any]) -> None:
        s, model = self.settings, self.average
        length = f"--steps {s.steps}" if s.steps else f"--minutes {s.minutes:g}"
        command = f"cycle-core train landmarks DATA {length} --seed {s.seed}"
        metadata = {
            "steps": str(self.step),
            "data": "renders of cycle_core.portraits in synthetic scenes",
            "command": command + " --bf16" * s.bf16,
        }
        state = model.state_dict()
        save_model(folder / WEIGHTS, "landmarks", model.config, state, metadata, torch.float16)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "spent": self.spent}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.spent = state["spent"]
        self._began = time.monotonic() - self.spent


def finder_losses(heat: Tensor, size: Tensor, places: Tensor, points: Tensor) -> dict[str, Tensor]:
    """Of the finder's outputs for scenes with points [B,5,2], NaN where there is no face.

    Heat: binary cross-entropy with a bump at the face's centre, weighted by how wrong it is.
    Points and size: smooth L1 at the cells of the bump, in units of the face's size."""
    there = ~points[:, 0, 0].isnan()
    points = points.nan_to_num()
    true = face_size(points).clamp(min=8)
    centres = cells(heat.shape[1], heat.shape[2], heat)[None, :, :, 0]  # [1,h,w,2]
    away = (centres - points.mean(1)[:, None, None]).square().sum(-1)
    width = (0.13 * true).clamp(min=4.5)[:, None, None]
    bump = torch.exp(-away / (2 * width**2)) * there[:, None, None]
    cross = F.binary_cross_entropy_with_logits(heat, bump, reduction="none")
    wrong = (heat.detach().sigmoid() - bump).abs() ** 1.5
    weight = bump * (bump > 0.3)
    total = weight.sum().clamp(min=1e-6)
    error = (places - points[:, None, None]) / true.view(-1, 1, 1, 1, 1)
    error = F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.03, reduction="none")
    sizes = (true / FINDER_SIZE).log()[:, None, None].expand_as(size)
    scale = F.smooth_l1_loss(size, sizes, beta=0.1, reduction="none")
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
    best = heat.flatten(1).argmax(1)
    rows = torch.arange(len(best))
    found = places.flatten(1, 2)[rows, best]
    out = _summary("finder", found, heat.flatten(1)[rows, best], finding.points)
    parts = [model.refiner(x.float() / 255)[:2] for x in refining.images.split(100)]
    found, face = (torch.cat(part) for part in zip(*parts, strict=True))
    return out | _summary("refiner", found, face, refining.points)


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
        self, portraits: Portraits, place: Placement, batch: int, s: LandmarkTraining, number: int
    ) -> None:
        self.portraits, self.place, self.batch = portraits, place, batch
        self.steps = max(1, s.pool // batch)  # in which the pool is gone through once
        self.reuse, self.seed = s.reuse, s.seed * 10 + number
        self._round, self._step = -1, -1
        self._scenes: Scenes | None = None
        self._batch: tuple[Tensor, Tensor] | None = None

    def images(self, step: int) -> Tensor:
        """[batch,1,side,side] in 0..1"""
        return self._take(step)[0]

    def points(self, step: int) -> Tensor:
        """[batch,5,2], NaN where there is no face"""
        return self._take(step)[1]

    def _take(self, step: int) -> tuple[Tensor, Tensor]:
        if step == self._step and self._batch is not None:
            return self._batch
        number = step // (self.steps * self.reuse)
        if number != self._round or self._scenes is None:
            seed = self.seed * 1_000_003 + number
            self._scenes = synthesise(self.portraits, self.steps * self.batch, self.place, seed)
            self._round = number
        rng = torch.Generator().manual_seed(self.seed * 1_000_003 + step // self.steps)
        order = torch.randperm(self.steps * self.batch, generator=rng)
        at = order[(step % self.steps) * self.batch :][: self.batch]
        rng.manual_seed(self.seed * 7_000_003 + step)
        self._batch = _vary(self._scenes, at, rng)
        self._step = step
        return self._batch


def _vary(scenes: Scenes, at: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    images, points = scenes.images[at].float() / 255, scenes.points[at].clone()
    mirror = torch.rand(len(at), generator=rng) < 0.5
    images[mirror] = images[mirror].flip(3)
    flipped = points[mirror][:, MIRRORED]
    flipped[..., 0] = images.shape[-1] - flipped[..., 0]
    points[mirror] = flipped
    u = torch.rand(2, len(at), 1, 1, 1, generator=rng)
    images = images.clamp(min=1e-3) ** torch.exp(0.5 * (u[0] - 0.5))
    grain = torch.randn(images.shape, generator=rng)
    return (images + 0.02 * u[1] * grain).clamp(0, 1), points


def open_portraits(
    folders: Sequence[str | Path], part: str = "train", most: int = 8000
) -> Portraits:
    """The training or the "held_out" portraits of data sets, at most `most` of each; all at the
    largest resolution among them, heads rendered anew in coarse.

    Raises MissingFileError, CheckpointError, and InputError where a folder has none."""
    sets = [Renders(folder) for folder in folders]
    side = max(data.resolution for data in sets)
    images, points, heads = [], [], []
    for data in sets:
        indices = torch.as_tensor(data.train if part == "train" else data.held_out)
        if not len(indices):
            raise InputError(
                f"{data.folder} holds {len(data)} portraits, but the first 1,000 are held out: "
                "render more of them."
            )
        resolution = data.resolution
        for chunk in indices[:most].split(200):
            image, factors, point, _ = data.batch(chunk)
            images.append(((resize(image, side) + 1) * 127.5).round().clamp(0, 255).byte())
            points.append(point * (side / resolution))
            # the data sets' masks end where the hair begins
            made = render(
                factors, _HEADS, supersample=1, aligned=data.recipe.get("aligned", True)
            ).head
            heads.append((made * 255).round().byte())
    return Portraits(torch.cat(images), torch.cat(heads), torch.cat(points))


if __name__ == "__main__":
    import runpy
    import sys

    sys.argv[1:1] = ["train", "landmarks"]
    runpy.run_module("cycle_core.cli", run_name="__main__")
