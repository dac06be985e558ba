"""The settings of all trainings. Nothing here loads torch: help texts are made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..runtime.settings import check, setting
from .schedule import ScheduleSettings


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What every training has. FREE: settings that may change when a run is resumed; RENAMED: what
    they were called in older checkpoints and command lines."""

    FREE: ClassVar[tuple[str, ...]] = ("log_every", "save_every", "tensorboard", "compile")
    RENAMED: ClassVar[dict[str, str]] = {"lr": "learning_rate"}

    seed: int = setting(0, "of everything random", low=0)
    bf16: bool = setting(False, "multiply in bfloat16")
    log_every: int = setting(50, "steps between two lines of the log", low=1)
    save_every: int = setting(
        1000, "steps between two validations, sample grids and checkpoints", low=1
    )
    tensorboard: bool = setting(False, "the log for TensorBoard too, into the run")

    __post_init__ = check


@dataclass(frozen=True, kw_only=True)
class EncoderTraining(TrainingSettings):
    """An encoder; the defaults are those of the published code."""

    RENAMED: ClassVar = {
        **TrainingSettings.RENAMED,
        "lr_decay": "learning_rate_decay",
        "discriminator_lr": "discriminator_learning_rate",
        "warmup": "warmup_steps",
        "warmup_samples": "warmup_steps",
        "warmup_lr": "warmup_learning_rate",
    }

    steps: int | None = setting(
        None, "of the schedule, whose phases keep their shares; their sum if not given", low=1
    )
    batch: int = setting(8, "pictures of a step, of all processes together", low=1)
    accumulate: int = setting(
        1, "parts in which a batch is seen one after the other, to save memory", low=1
    )
    learning_rate: float = setting(1e-4, "of Ranger", above=0)
    learning_rate_decay: float = setting(
        0.0, "share at the end in which it falls to zero; the paper's is constant", low=0, high=1
    )
    l2: float = setting(1.0, "weight of the squared differences", low=0)
    lpips: float = setting(0.8, "weight of the perceptual distance; 0: without its network", low=0)
    identity: float = setting(0.1, "weight of the identity distance; 0: without its network", low=0)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)  # delta and adv too
    discriminator_learning_rate: float = setting(2e-5, "of Adam", above=0)
    r1_gamma: float = setting(10.0, "of its R1 penalty", low=0)
    r1_interval: int = setting(16, "steps between two of them", low=1)
    pool: int = setting(50, "past codes that it remembers of each kind", low=0)
    size: int | None = setting(
        None,
        "of the pictures that the losses see, which StyleGAN2 renders by its lower blocks; "
        "256, or the generator's where that is less",
        low=16,
    )
    warmup_steps: int = setting(0, "regression of known w before the schedule", low=0)
    warmup_batch: int = setting(32, "pictures of such a step", low=1)
    warmup_learning_rate: float = setting(
        6e-3, "of Muon, falling to zero: Ranger needs ten times the steps", above=0
    )
    held_out: int = setting(200, "pictures that are kept for validation, at most a tenth", low=1)
    compile: bool = setting(False, "torch.compile the generator")

    @property
    def cycle_steps(self) -> int:
        """Steps of the schedule."""
        return self.steps or self.schedule.duration

    @property
    def total(self) -> int:
        return self.warmup_steps + self.cycle_steps


@dataclass(frozen=True, kw_only=True)
class GeneratorSettings(TrainingSettings):
    """What the trainings of generators share. They count images, seen by all processes together."""

    FREE: ClassVar = (*TrainingSettings.FREE, "images", "device", "bf16")
    RENAMED: ClassVar = {**TrainingSettings.RENAMED, "every": "save_every"}

    channels: tuple[int, ...] | None = setting(
        None, "for 4, 8, 16, ... pixels, joined by -; by the resolution if not given"
    )
    w_dim: int = setting(512, "dimensions of w", low=1)
    mapping_layers: int = setting(8, "of z -> w", low=1)
    batch: int = setting(32, "pictures of a step, of all processes together", low=1)
    learning_rate: float = setting(2e-3, "of Adam", above=0)
    discriminator_learning_rate: float | None = setting(
        None,
        "of its optimiser, that of the generator if not given: higher where it begins anew "
        "beside a trained generator",
        above=0,
    )
    r1_gamma: float | None = setting(
        None, "of the R1 penalty; by resolution and batch if not given", low=0
    )
    r1_interval: int = setting(16, "steps between two of them", low=1)
    log_every: int = setting(5_000, "images between two lines of the log", low=1)
    save_every: int = setting(50_000, "images between two checkpoints and sample grids", low=1)
    device: str = "cpu"

    @property
    def discriminator_rate(self) -> float:
        return self.discriminator_learning_rate or self.learning_rate


@dataclass(frozen=True, kw_only=True)
class AdversarialTraining(GeneratorSettings):
    """A generator of pictures; the defaults are those of StyleGAN2 for 256 pixels."""

    # b: flips, quarter turns, whole pixels; g: scales, turns, fractions; c: colours; f: octaves
    # filtered; n: noise; the last c: a square cut out
    PIPES: ClassVar = ("b", "bg", "bgc", "bgcf", "bgcfn", "bgcfnc")

    resolution: int = setting(256, "a power of two", low=1)
    z_dim: int = setting(512, "dimensions of z", low=1)
    noise: bool = setting(True, "noise maps for what is random in a picture")
    images: int = setting(25_000_000, "to be seen in all", low=1)
    path_weight: float = setting(2.0, "of the path lengths; 0: without", low=0)
    path_interval: int = setting(4, "steps between two of them", low=1)
    style_mixing: float = setting(0.9, "share of the codes that are made of two", low=0, high=1)
    half_life: int = setting(10_000, "of the average of the weights, in images", low=1)
    mirror: bool = setting(False, "show pictures as their mirror images, too")
    cond: bool = setting(False, "learn the classes of the data's dataset.json")
    ada: float = setting(
        0.0, "ADA's target for the sign of real logits, 0.6 as published; 0: without", low=0, high=1
    )
    ada_images: int = setting(500_000, "in which ADA's probability can rise from 0 to 1", low=1)
    augpipe: str = setting("bgc", "ADA's changes, as the paper names them", choices=PIPES)
    freeze: int = setting(
        0, "lower layers of the generator to start from that stay, with the mapping network", low=0
    )
    start: str = ""  # fingerprint of the generator that is fine-tuned, "" for a new one

    @property
    def total(self) -> int:
        return self.images

    @property
    def r1(self) -> float:
        """Of the R1 penalty: 0.0002 resolution^2 / batch (Karras et al. 2020, ADA), but no less
        than 0.3: with 0.006, at 32 pixels, the discriminator outran a small generator."""
        guess = max(0.3, 0.0002 * self.resolution**2 / self.batch)
        return guess if self.r1_gamma is None else self.r1_gamma
