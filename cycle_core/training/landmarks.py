"""Train the embedded landmark networks on renders pasted into made-up scenes.

    python -m cycle_core.portraits.dataset data/wide128 --count 6000 --resolution 128 --wide
    python -m cycle_core.training.landmarks data/wide128 --out runs/landmarks --minutes 45

Several folders may be given, of any resolutions; portraits with wide poses are the better ones.

Each step trains the finder and the refiner on a batch of scenes each. Scenes are made while it
trains, in pools that are gone through a few times, differently lit, mirrored and grained. The
command continues a run whose folder holds a checkpoint. The result is `landmarks.safetensors` in
the run's folder; `runs/landmarks/log.jsonl` has losses and, now and then, errors on scenes of
portraits that were never trained on.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checkpoints.native import save_model
from ..errors import InputError
from ..faces.landmarks import FINDER_SIZE, MIRRORED, LandmarkConfig, Landmarks, cells, face_size
from ..images.resize import resize
from ..portraits.dataset import PortraitData
from ..portraits.renderer import render
from ..portraits.scenes import FINDING, REFINING, Placement, Portraits, Scenes, synthesise
from ..runtime.optim import Muon
from .common import (
    Log,
    Means,
    autocast,
    check_same,
    load_checkpoint,
    make_run,
    random_states,
    save_checkpoint,
    set_random_states,
    update_average,
)

WEIGHTS = "landmarks.safetensors"
_HEADS = 24  # resolution of the masks of the heads


@dataclass(frozen=True)
class LandmarkTraining:
    """Settings of a run; it ends after `steps`, or after `minutes` where steps is 0."""

    steps: int = 0
    minutes: float = 45.0
    finder_batch: int = 24
    refiner_batch: int = 40
    rate: float = 4e-3  # of Muon: peak of a cosine with a short warm-up
    pool: int = 1200  # scenes made at a time, for each network
    reuse: int = 5  # times that a pool is gone through
    checked: int = 200  # held-out scenes, for each network, on which errors are measured
    seed: int = 0
    bf16: bool = False


def train_landmarks(
    portraits: Portraits,
    held_out: Portraits,
    out: str | Path,
    settings: LandmarkTraining = LandmarkTraining(),
    config: LandmarkConfig | None = None,
    every: int = 500,
    callback: Callable[[int, float, None], None] | None = None,
) -> Path:
    """Train, write checkpoints every `every` steps and the weights at the end; gives their path.

    callback(step, share of the run that is done, None) after each step. Continues the run in `out`
    if there is one. Raises InputError for other settings than the run was started with, and
    CycleError where the training diverges."""
    torch.manual_seed(settings.seed)
    device = portraits.images.device
    folder = make_run(out)
    model = Landmarks(config).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = deepcopy(model).requires_grad_(False)
    optimiser = Muon(model.parameters(), settings.rate)
    step, spent = 0, 0.0
    if state := load_checkpoint(folder):
        check_same(folder, state["settings"], asdict(settings))
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        set_random_states(state["random"])
        step, spent = state["step"], state["spent"]
    log, means, start = Log(folder, step), Means(), time.monotonic() - spent
    test_seed = 900_001 + settings.seed
    finding = synthesise(held_out, settings.checked, FINDING, test_seed)
    refining = synthesise(held_out, settings.checked, REFINING, test_seed)
    pools = [
        _Pool(portraits, FINDING, settings.finder_batch, settings, 0),
        _Pool(portraits, REFINING, settings.refiner_batch, settings, 1),
    ]

    def save() -> None:
        state = {"step": step, "spent": time.monotonic() - start, "settings": asdict(settings)}
        state |= {"model": model.state_dict(), "average": average.state_dict()}
        state |= {"optimiser": optimiser.state_dict(), "random": random_states()}
        save_checkpoint(folder, state)

    while (done := _done(settings, step, time.monotonic() - start)) < 1:
        rate = settings.rate * min(1, (step + 1) / 150) * (0.5 + 0.5 * math.cos(math.pi * done))
        for group in optimiser.param_groups:
            group["lr"] = rate + 1e-5
        scenes, crops = pools[0].images(step), pools[1].images(step)  # made in float32
        with autocast(device, settings.bf16):
            heat, size, places = model.finder(scenes)
            found, face, each, weights = model.refiner(crops)
        losses = finder_losses(heat, size, places, pools[0].points(step))
        losses |= refiner_losses(found, face, each, weights, pools[1].points(step))
        total = torch.stack(list(losses.values())).sum()
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        step += 1
        update_average(average, model, min(0.998, step / (step + 20)))
        means.add(**losses)
        if step % 100 == 0:
            log.write(step, done=done, rate=rate, **means.pop(step))
        if step % every == 0:
            save()
            log.write(step, **measure(average, finding, refining))
            _save(folder, average, step, settings)
        if callback:
            callback(step, done, None)
    save()
    settle(average, pools, step)
    log.write(step, **measure(average, finding, refining))
    return _save(folder, average, step, settings)


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
        dice = torch.Generator().manual_seed(self.seed * 1_000_003 + step // self.steps)
        order = torch.randperm(self.steps * self.batch, generator=dice)
        at = order[(step % self.steps) * self.batch :][: self.batch]
        dice.manual_seed(self.seed * 7_000_003 + step)
        self._batch = _vary(self._scenes, at, dice)
        self._step = step
        return self._batch


def _vary(scenes: Scenes, at: Tensor, dice: torch.Generator) -> tuple[Tensor, Tensor]:
    images, points = scenes.images[at].float() / 255, scenes.points[at].clone()
    mirror = torch.rand(len(at), generator=dice) < 0.5
    images[mirror] = images[mirror].flip(3)
    flipped = points[mirror][:, MIRRORED]
    flipped[..., 0] = images.shape[-1] - flipped[..., 0]
    points[mirror] = flipped
    u = torch.rand(2, len(at), 1, 1, 1, generator=dice)
    images = images.clamp(min=1e-3) ** torch.exp(0.5 * (u[0] - 0.5))
    grain = torch.randn(images.shape, generator=dice)
    return (images + 0.02 * u[1] * grain).clamp(0, 1), points


def open_portraits(
    folders: Sequence[str | Path], part: str = "train", most: int = 8000
) -> Portraits:
    """The training or the "held_out" portraits of data sets, at most `most` of each; all at the
    largest resolution among them, heads rendered anew in coarse.

    Raises MissingFileError, CheckpointError, and InputError where a folder has none."""
    sets = [PortraitData(folder) for folder in folders]
    side = max(data.recipe.resolution for data in sets)
    images, points, heads = [], [], []
    for data in sets:
        indices = torch.as_tensor(data.train if part == "train" else data.held_out)
        if not len(indices):
            raise InputError(
                f"{data.folder} holds {len(data)} portraits, but the first 1,000 are held out: "
                "render more of them."
            )
        resolution = data.recipe.resolution
        for chunk in indices[:most].split(200):
            image, factors, point, _ = data.batch(chunk)
            images.append(((resize(image, side) + 1) * 127.5).round().clamp(0, 255).byte())
            points.append(point * (side / resolution))
            # the data sets' masks end where the hair begins
            made = render(factors, _HEADS, supersample=1, aligned=data.recipe.aligned).head
            heads.append((made * 255).round().byte())
    return Portraits(torch.cat(images), torch.cat(heads), torch.cat(points))


# ------------------------------------------------------------------------------------- parts
def _done(settings: LandmarkTraining, step: int, seconds: float) -> float:
    return step / settings.steps if settings.steps else seconds / (60 * settings.minutes)


def _save(folder: Path, model: Landmarks, step: int, s: LandmarkTraining) -> Path:
    path = folder / WEIGHTS
    length = f"--steps {s.steps}" if s.steps else f"--minutes {s.minutes:g}"
    command = f"python -m cycle_core.training.landmarks DATA {length} --seed {s.seed}"
    metadata = {
        "steps": str(step),
        "data": "renders of cycle_core.portraits in synthetic scenes",
        "command": command + " --bf16" * s.bf16,
    }
    save_model(path, "landmarks", model.config, model.state_dict(), metadata, torch.float16)
    return path


def main(arguments: list[str] | None = None) -> int:
    defaults = LandmarkTraining()
    parser = argparse.ArgumentParser(
        prog="python -m cycle_core.training.landmarks",
        description="Train the embedded landmark networks; run it again to continue.",
    )
    parser.add_argument("data", nargs="+", help="folders of portraits, best --wide ones of 128 px")
    parser.add_argument("--out", required=True, help="folder of the run")
    parser.add_argument("--steps", type=int, default=0, help="instead of --minutes")
    parser.add_argument("--minutes", type=float, default=defaults.minutes)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bf16", action="store_true", help="where the processor multiplies it")
    a = parser.parse_args(arguments)
    torch.set_num_threads(a.threads)
    settings = LandmarkTraining(a.steps, a.minutes, seed=a.seed, bf16=a.bf16)
    train = open_portraits(a.data)
    held_out = open_portraits(a.data[:1], "held_out", 200)
    path = train_landmarks(train, held_out, a.out, settings)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
