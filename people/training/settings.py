"""The settings of the trainings here. Nothing loads torch: help texts are made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cycle_core.runtime.settings import check, setting
from cycle_core.training.settings import RunSettings


@dataclass(frozen=True, kw_only=True)
class FeatureTraining(RunSettings):
    """A network that compares or reads portraits. Losses and metrics differ in width and seed."""

    KINDS: ClassVar = ("perceptual", "identity")
    ROLES: ClassVar = ("loss", "metrics")

    kind: str = setting("perceptual", "what it compares", choices=KINDS)
    role: str = setting("loss", "who uses it: they differ in width and in seed", choices=ROLES)
    seed: int = setting(1, "of everything random", low=0)
    steps: int = setting(2500, "of the training", low=1)
    batch: int = setting(64, "portraits of a step", low=2)
    resolution: int = setting(
        128,
        "at which it sees people: a divisor of that of the renders",
        low=16,
        high=128,
    )
    learning_rate: float = setting(
        6e-3, "of Muon: a tenth of the steps to warm up, then a cosine", above=0
    )
    half_life: int = setting(4000, "of the average of the weights, in portraits", low=1)
    save_every: int = setting(250, "steps between two measurements and checkpoints", low=1)

    @property
    def total(self) -> int:
        return self.steps


@dataclass(frozen=True, kw_only=True)
class LandmarkTraining(RunSettings):
    """The landmark networks; a run ends after `steps`, or after `minutes` where steps is 0."""

    RENAMED: ClassVar = {"rate": "learning_rate"}

    steps: int = setting(0, "of the training, instead of --minutes", low=0)
    minutes: float = setting(45.0, "of the training, where no steps are given", above=0)
    finder_batch: int = setting(24, "scenes of a step of the finder", low=1)
    refiner_batch: int = setting(40, "scenes of a step of the refiner", low=1)
    learning_rate: float = setting(4e-3, "of Muon: peak of a cosine with a short warm-up", above=0)
    pool: int = setting(1200, "scenes rendered at a time, for each network", low=1)
    reuse: int = setting(5, "times that a pool is gone through", low=1)
    checked: int = setting(200, "held-out scenes on which errors are measured", low=1)
    log_every: int = setting(100, "steps between two lines of the log", low=1)
    save_every: int = setting(500, "steps between two measurements and checkpoints", low=1)


@dataclass(frozen=True, kw_only=True)
class DirectionTraining:
    """The embedded directions."""

    samples: int = setting(20_000, "codes that directions are fitted to", low=1)
    pictures: int = setting(100, "codes at which each direction is measured; 0: none", low=0)
    seed: int = setting(0, "of everything random", low=0)

    __post_init__ = check
