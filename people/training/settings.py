"""The settings of the trainings here. Nothing loads torch: help texts are made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cycle_core.runtime.settings import check, setting
from cycle_core.training.settings import GeneratorSettings, TrainingSettings


@dataclass(frozen=True, kw_only=True)
class FeatureTraining(TrainingSettings):
    """A network that compares or reads portraits. The losses' has another width than the rest."""

    KINDS: ClassVar = ("perceptual", "identity")
    ROLES: ClassVar = ("loss", "metrics", "reading", "calibration")

    kind: str = setting("perceptual", "what it compares", choices=KINDS)
    role: str = setting("loss", "what it is for, which gives its seed", choices=ROLES)
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
class RegressionTraining(GeneratorSettings):
    """A generator of rendered people."""

    FREE: ClassVar = (*GeneratorSettings.FREE, "regression_images", "adversarial_images")
    RENAMED: ClassVar = {
        **GeneratorSettings.RENAMED,
        "adversarial_lr": "adversarial_learning_rate",
    }

    channels: tuple[int, ...] | None = setting(
        (128, 128, 128, 96, 48), "for 4, 8, 16, ... pixels, joined by -"
    )
    w_dim: int = setting(128, "dimensions of w", low=1)
    resolution: int | None = setting(None, "a divisor of that of the renders, if not theirs", low=8)
    mapping_layers: int = setting(4, "of z -> w", low=1)
    learning_rate: float = setting(8e-3, "of Muon, regression", above=0)
    r1_gamma: float | None = setting(0.02, "of the R1 penalty", low=0)
    r1_interval: int = setting(8, "steps between two of them", low=1)
    save_every: int = setting(10_000, "images between two checkpoints and sample grids", low=1)
    regression_images: int = setting(280_000, "length of the first phase", low=0)
    adversarial_images: int = setting(40_000, "length of the second phase", low=0)
    perceptual_weight: float = setting(1.0, "of the perceptual distance; 0: without", low=0)
    adversarial_learning_rate: float = setting(
        7e-4, "of Muon in the second phase: a faster generator evades what it should learn", above=0
    )
    discriminator_learning_rate: float | None = setting(1e-3, "of its Muon", above=0)
    adversarial_weight: float = setting(0.5, "of its loss beside the regression", low=0)
    noise: bool = setting(True, "noise maps for what is random in a picture; second phase")
    detail: float = setting(
        0.1, "weight of the finest bands in the second phase, whose detail it judges", low=0
    )
    warm_up: int = setting(2_000, "images until the learning rate is reached", low=1)
    decay: float = setting(0.4, "share of a phase in which it falls to zero", above=0, high=1)
    compile: bool = setting(False, "torch.compile the synthesis")
    start: str = ""  # fingerprint of the generator from which it grows, "" for none

    @property
    def total(self) -> int:
        return self.regression_images + self.adversarial_images


@dataclass(frozen=True, kw_only=True)
class LandmarkTraining(TrainingSettings):
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
class DetailTraining(TrainingSettings):
    """The network that predicts the detail of a picture."""

    steps: int = setting(3500, "of the training", low=1)
    batch: int = setting(3, "pictures of a step", low=1)
    squares: int = setting(2, "cut out of each of them", low=1)
    width: int = setting(64, "channels of the network", low=1)
    learning_rate: float = setting(1e-3, "of Adam: a short warm-up, then a cosine", above=0)
    half_life: int = setting(1000, "of the average of the weights, in pictures", low=1)
    save_every: int = setting(500, "steps between two validations and checkpoints", low=1)

    @property
    def total(self) -> int:
        return self.steps


@dataclass(frozen=True, kw_only=True)
class DirectionTraining:
    """The embedded directions."""

    samples: int = setting(20_000, "codes that directions are fitted to", low=1)
    pictures: int = setting(100, "codes at which each direction is measured; 0: none", low=0)
    seed: int = setting(0, "of everything random", low=0)

    __post_init__ = check
