"""How much the comparisons measure; no heavy import, so that `--help` can show it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..invert.settings import TUNE_PRESETS, ProjectSettings, RefineSettings, TuneSettings
from ..runtime.settings import check, setting

# the paper's tuning: a map of detail would hide what the pivots are worth
_PIVOTAL = replace(TUNE_PRESETS["embedded"], detail_steps=0, l2=1.0)


@dataclass(frozen=True)
class ComparisonSettings:
    """What both comparisons have."""

    methods: tuple[str, ...] | None = setting(None, "only these methods", several=True)
    projected: int = setting(
        50, "pictures that are inverted where a method optimises or refines for each", low=0
    )
    tuned: int = setting(20, "pictures that are tuned", low=0)
    device: str = "cpu"

    __post_init__ = check


@dataclass(frozen=True)
class BenchSettings(ComparisonSettings):
    """On the embedded domain. The defaults are the whole comparison, hours; QUICK takes minutes."""

    seeds: tuple[int, ...] = setting(tuple(range(10)), "of the trainings", low=0, several=True)
    inside: int = setting(200, "portraits of the domain", low=0)
    outside: int = setting(100, "portraits outside the domain", low=0)
    person: int = setting(20, "portraits of one person", low=0)
    edited: int = setting(50, "portraits of these that are edited", low=0)
    share: float = 1.0  # of the steps of every method; below 1 it is a quick look
    tune: TuneSettings = _PIVOTAL
    size: int | None = setting(
        None,
        "pixels of the pictures, which the lower blocks of the generator render: a comparison of "
        "many trainings becomes affordable",
        low=1,
    )

    def pictures(self, name: str) -> int:
        return {"inside": self.inside, "outside": self.outside, "person": self.person}[name]


# the same pictures and the same share of the steps for every method
QUICK = BenchSettings(
    methods=("optimise-w", "optimise-w+", "cycle", "cycle-stale", "cycle-refined"),
    seeds=(0,),
    inside=3,
    outside=4,
    person=0,
    edited=1,
    tuned=1,
    projected=4,
    share=0.1,
    tune=TuneSettings(steps=30, learning_rate=3e-3, threshold=0.0),
)


@dataclass(frozen=True)
class PhotoSettings(ComparisonSettings):
    """On aligned photographs. The schedules are the published ones."""

    count: int | None = setting(None, "only the first pictures, by name", low=1)
    strength: float = setting(2.0, "of the edits, both ways, in standard deviations")
    steps: int = ProjectSettings().steps  # of optimisation
    refine: RefineSettings = field(default_factory=RefineSettings)
    tune: TuneSettings = field(default_factory=TuneSettings)
