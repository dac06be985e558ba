"""The settings of an encoder training; no heavy import, so that `--help` can show them."""

from __future__ import annotations

from dataclasses import dataclass, field

from .schedule import ScheduleSettings


@dataclass(frozen=True)
class EncoderTraining:
    """Settings of one run; the defaults are those of the published code."""

    steps: int = 750_000  # of the schedule
    batch: int = 8  # pictures of a step, of all processes together
    lr: float = 1e-4  # Ranger
    l2: float = 1.0
    lpips: float = 0.8
    identity: float = 0.1
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)  # delta and adv too
    discriminator_lr: float = 2e-5  # Adam
    r1_gamma: float = 10.0
    r1_interval: int = 16
    pool: int = 50
    warmup: int = 0  # steps on generated pictures before the schedule (not the paper's) ...
    warmup_batch: int = 32
    warmup_lr: float = 6e-3  # ... by Muon, falling to zero: Ranger needs ten times the steps
    lr_decay: float = 0.0  # share at the end in which lr falls to zero (the paper's is constant)
    accumulate: int = 1  # parts in which a batch is seen, one after the other, to save memory
    seed: int = 0
    bf16: bool = False  # see `common.autocast`
    compile: bool = False  # torch.compile the generator
    held_out: int = 200  # pictures of a folder that are kept for validation, at most a tenth
    log_every: int = 50  # steps between two lines of the log
    save_every: int = 1000  # steps between two validations, sample grids and checkpoints
    tensorboard: bool = False  # the log for TensorBoard, too

    @property
    def total(self) -> int:
        return self.warmup + self.steps


# settings that may change when a run is resumed
FREE = ("log_every", "save_every", "tensorboard", "compile")
