"""The settings of refinement, projection and tuning, and their presets; no heavy import, so that
`--help` can show them.

Without a preset they are the published ones; docs/method.md has where each is from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..errors import InputError
from ..runtime.settings import check, setting

SPACES = ("W", "W+")
_MOST = 100_000  # steps


@dataclass(frozen=True)
class RefineSettings:
    """Pivot refinement (Cycle Encoding, Mao et al. 2022): L_S(x) + reg / images * sum_i L_S(x_i),
    L_S = l2 L2 + lpips LPIPS + identity ID. The numbers are those of the published code."""

    steps: int = setting(15, "steps for each picture", low=0, high=_MOST)
    learning_rate: float = setting(1e-4, "learning rate of all encoder weights", above=0, high=10)
    images: int = setting(7, "M, the pictures that hold the encoder in place, 0 for none", low=0)
    reg: float = setting(7.0, "weight of the M pictures beside the picture's own loss", low=0)
    l2: float = setting(1.0, "weight of L2", low=0)
    lpips: float = setting(0.8, "weight of LPIPS", low=0)
    identity: float = setting(0.1, "weight of the identity loss", low=0)
    space: str | None = setting(
        None, "space of the pivot; if not given, the one the encoder was trained last in",
        choices=SPACES,
    )  # fmt: skip
    truncation: float = setting(0.7, "truncation of the M pictures if they are generated", low=0)
    batch: int = setting(8, "pictures at once; fewer need less memory and change nothing", low=1)
    size: int | None = setting(
        None, "side of the pictures that are compared, which the generator's lower blocks render "
        "in less time where they can; if not given, whole ones at 256 pixels at most", low=8,
    )  # fmt: skip

    __post_init__ = check


@dataclass(frozen=True)
class ProjectSettings:
    """Projection (StyleGAN2, Karras et al. 2020, appendix D, whose numbers these are unless a line
    says otherwise). Noise maps stay constant unless `noise_maps` says otherwise."""

    # space, samples, starts and relative are of this project
    space: str = setting("W", "space of the code", choices=SPACES)
    steps: int = setting(1000, "steps for each picture", low=0, high=_MOST)
    samples: int = setting(
        0, "random codes of which the nearest is the start; 0 starts at the mean", low=0, high=10**6
    )
    starts: int = setting(
        1, "starts for each picture, of which the best result is kept", low=1, high=100
    )
    learning_rate: float = setting(0.1, "highest learning rate of Adam", above=0)
    relative: bool = setting(False, "measure the learning rate of w in deviations of W")
    betas: tuple[float, float] = setting((0.9, 0.999), "of Adam", low=0, high=0.99999)
    # the schedule, in the names of NVIDIA's projector
    lr_rampup_length: float = setting(
        0.05, "share of the steps in which the rate grows", low=0, high=1
    )
    lr_rampdown_length: float = setting(
        0.25, "share of the last steps in which it falls to 0", low=0, high=1
    )
    initial_noise_factor: float = setting(
        0.05, "noise on w at the start, in deviations of W", low=0
    )
    noise_ramp_length: float = setting(
        0.75, "share of the steps until the noise is 0", above=0, high=1
    )
    # L_S of `RefineSettings`, so that methods can be compared; published is LPIPS alone
    l2: float = setting(1.0, "weight of L2", low=0)
    lpips: float = setting(0.8, "weight of LPIPS", low=0)
    identity: float = setting(0.1, "weight of the identity loss", low=0)
    batch: int = setting(8, "pictures at once; fewer need less memory and change nothing", low=1)
    noise_maps: bool = setting(
        False, "optimise noise maps beside the code, as published; the code alone is kept"
    )
    noise_reg: float = setting(1e5, "weight of what keeps noise maps noise", low=0)

    __post_init__ = check


@dataclass(frozen=True)
class TuneSettings:
    """Pivotal tuning (PTI, Roich et al. 2021): l2 L2 + lpips LPIPS (section 3.2) + locality
    (section 3.3), then the map of one layer (DHR, Cao et al. 2023)."""

    steps: int = setting(350, "steps of the weights, at most", low=0, high=_MOST)
    learning_rate: float = setting(3e-4, "learning rate of all synthesis weights", above=0, high=10)
    betas: tuple[float, float] = setting(
        (0.9, 0.999), "of Adam; few steps need a shorter memory", low=0, high=0.99999
    )
    threshold: float | None = setting(
        None, "LPIPS at which tuning stops, 0 for never; if not given, that of the network: 0.07 "
        "of AlexNet, and what stands for it in others", low=0, high=10,
    )  # fmt: skip
    l2: float = setting(1.0, "weight of L2", low=0)
    lpips: float = setting(1.0, "weight of LPIPS", low=0)
    # section 3.3: w_r = w_p + alpha (w_z - w_p) / |w_z - w_p|
    locality: bool = setting(True, "what keeps pictures near the pivot as they were")
    locality_alpha: float = setting(
        30.0, "L2 distance in W+ from the pivot, never beyond the sample", low=0
    )
    locality_truncation: float = setting(0.5, "truncation of locality's samples", low=0)
    locality_l2: float = setting(0.1, "weight of locality's L2", low=0)
    locality_lpips: float = setting(0.1, "weight of locality's LPIPS", low=0)
    # what follows is not of PTI
    locality_every: int = setting(
        1, "steps from one locality to the next, which has as many times the weight", low=1
    )
    detail_predicted: bool = setting(
        False, "begin with the detail that a network predicts in one pass, for the embedded models"
    )
    detail_steps: int = setting(0, "steps of the detail, the map of one layer", low=0)
    detail_rate: float = setting(0.01, "learning rate of the detail, falling to 0", above=0)
    detail_size: int = setting(64, "size of the detail's layer, at most", low=1)
    detail_moves: bool = setting(True, "the detail going where edits move what it lies on")
    batch: int = setting(4, "pictures at once; fewer need less memory and change nothing", low=1)
    dtype: Any = setting(  # noqa: RUF009 - torch.dtype or None, without importing torch
        None, "torch.bfloat16 for the convolutions; weights and Adam stay in float32"
    )
    low_memory: bool = setting(
        False, "compute blocks again in the backward pass: 1.49 GB instead of 1.84 GB at 256 px, "
        "2.64 instead of 2.91 at 1024, a quarter more time, the same result",
    )  # fmt: skip
    compile: bool = setting(False, "torch.compile the generator: minutes before the first step")

    def __post_init__(self) -> None:
        check(self)
        if str(self.dtype) not in ("None", "torch.float32", "torch.bfloat16"):
            raise InputError(
                f"Tuning multiplies in float32 or bfloat16, not in {self.dtype}, whose range its "
                "gradients leave: take bfloat16."
            )

    def with_locality(self, factor: float) -> TuneSettings:
        """The same with as many times the weight of locality; 0 does without it."""
        return replace(
            self,
            locality=self.locality and factor > 0,
            locality_l2=self.locality_l2 * factor,
            locality_lpips=self.locality_lpips * factor,
        )

    def in_steps(self, steps: int) -> TuneSettings:
        """The same in so many steps at most: weights and detail keep their shares; what is
        predicted alone gets steps of the detail."""
        whole = self.steps + self.detail_steps
        alone = 0 if self.detail_predicted else steps
        weights = round(steps * self.steps / whole) if whole else alone
        return replace(self, steps=weights, detail_steps=steps - weights)


@dataclass(frozen=True)
class TuneSteps:
    """What `TuneSettings.in_steps` takes."""

    steps: int = setting(
        0, "steps of weights and detail, at most, in the shares of the preset", low=0, high=_MOST
    )


# A small encoder takes larger steps, and in as many needs them; a small generator has less to move.
# docs/results.md has what each of these numbers is worth.
REFINE_PRESETS = {
    "paper": RefineSettings(),
    "fast": RefineSettings(steps=10, images=3, reg=3.0),
    "instant": RefineSettings(steps=0),
    "embedded": RefineSettings(steps=30, learning_rate=3e-3, images=1, reg=1.0, size=128),
}
# a rate that knows how wide W is, a short memory of Adam, no noise: docs/performance.md
_PROJECT_FAST = ProjectSettings(
    steps=180,
    learning_rate=0.02,
    relative=True,
    betas=(0.8, 0.95),
    lr_rampup_length=0.0,
    lr_rampdown_length=1.0,
    initial_noise_factor=0.0,
)
PROJECT_PRESETS = {"paper": ProjectSettings(), "fast": _PROJECT_FAST, "embedded": _PROJECT_FAST}
TUNE_PRESETS = {
    "paper": TuneSettings(),
    "fast": TuneSettings(steps=50, learning_rate=1e-3, locality_every=4, detail_steps=100),
    "instant": TuneSettings(
        steps=0, threshold=0.0, l2=5.0, locality=False, detail_predicted=True, detail_rate=0.003
    ),
    "embedded": TuneSettings(
        steps=40,
        learning_rate=3e-3,
        betas=(0.8, 0.95),
        threshold=0.0,
        l2=5.0,  # in so few steps LPIPS alone leaves colours that no feature sees
        locality_every=4,
        detail_steps=80,
    ),
}
TUNE_STEPS = {name: TuneSteps(x.steps + x.detail_steps) for name, x in TUNE_PRESETS.items()}
