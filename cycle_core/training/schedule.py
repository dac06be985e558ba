"""The cycle W -> W+ -> W: which heads an encoder trains at a step, and how hard it is held to W.

Cycle Encoding (Mao et al. 2022), section 3.2 and the schedule of its published code, as a pure
function of step, number of styles and budget. A run of any length has the published proportions,
and a resumed run needs no memory of it. The entry `cycle` with 18 styles and 750,000 steps:

    phase      duration   stage                        weights
    w          20k        0                            as given
    grow       34k        1 ... 17, 2k steps each      as given
    w+         446k       17                           as given
    tighten    146k       17                           every 10k: delta * 1.2, adv / 2
    shrink     68k        17 ... 1, 4k steps each      the last ones
    w          36k        0                            the last ones

Stage s trains the heads 0..s; stage 0 is W, stage N - 1 is all of W+. Another schedule is one entry
of SCHEDULES, or durations on the command line: `--phases w=20k,grow=34k,w+=446k`.

Decisions, where the published code does something else than it seems to mean:

- Tightening begins with its phase: 15 times in `cycle`, at 500k, 510k, ..., 640k. The published
  adversarial weight is halved to the last step and ends at 3e-9; here it stops at 3e-6 with its
  phase.
- A phase keeps its share of the budget whatever N is, and its stages divide it evenly. The
  published steps per head would make the cycle of a small generator, N = 10, mostly waiting.
- The delta weight holds whenever a head beyond 0 is active; at stage 0 there is no delta. The
  published code leaves the delta loss out at stage number 18 alone. A run reaches that number by
  growing, but a resumed one is at 17, by the options in its checkpoint, so that the delta loss acts
  through the whole tightening: as here.
- The published budget is overwritten while the run is in its first phase. Here it is an argument,
  and a step outside of it is an error.
- Published inference and refinement switch all heads on, though the last phases trained with them
  off. Here the finished encoder records the stage of its last step, and is used at that by default.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from ..errors import InputError
from ..runtime.settings import check, setting

SCHEDULES = {
    "cycle": "w=20k,grow=34k,w+=446k,tighten=146k,shrink=68k,w=36k",  # the paper's
    "w+": "w=20k,grow=34k,w+=696k",  # e4e (Tov et al. 2021)
    "w": "w=750k",
    "w-decay": "w=500k,tighten=146k,w=104k",  # W with the adversarial weights of `cycle`
}
KINDS = {
    "w": "the first head alone",
    "grow": "one head more after the other, up to all",
    "w+": "all heads",
    "tighten": "the heads before it, with weights that change",
    "shrink": "one head fewer after the other, down to one",
}
WARM_UP = "warmup"  # the phase that may come before the schedule, of no kind: see `encoder`
_TIGHTEN_EVERY = 10_000  # steps of the schedule's own durations, however long the run is


@dataclass(frozen=True)
class ScheduleSettings:
    """The defaults are the published ones."""

    RENAMED: ClassVar = {"path": "phases"}

    phases: str = setting(
        "cycle",
        f"the schedule: {', '.join(SCHEDULES)}, or durations such as {SCHEDULES['w+']}, of "
        + "; ".join(f"{name}, {what}" for name, what in KINDS.items()),
    )
    delta: float = setting(2e-4, "first weight of the delta loss, sum_i ||D_i||_2", low=0)
    adv: float = setting(0.1, "first weight of the latent discriminator", low=0)
    delta_factor: float = setting(1.2, "of the delta weight at every tightening", low=0)
    adv_factor: float = setting(0.5, "of the adversarial weight at every tightening", low=0)

    def __post_init__(self) -> None:
        check(self)
        durations(self.phases)  # a mistake in it is reported here

    @property
    def duration(self) -> int:
        """Steps of the whole schedule where no other budget is given."""
        return sum(steps for _, steps in durations(self.phases))


@dataclass(frozen=True)
class Phase:
    """What holds at one step. name: one of KINDS, or WARM_UP; stage: 0..num_ws - 1; delta, adv: the
    weights of the delta loss and of the latent discriminator."""

    name: str
    stage: int
    delta: float
    adv: float


@lru_cache
def durations(phases: str) -> tuple[tuple[str, int], ...]:
    """((kind, steps), ...) of an entry of SCHEDULES or of text like `w=20k,grow=34k`.

    Raises InputError for anything else."""
    found = []
    for part in SCHEDULES.get(phases, phases).split(","):
        match = re.fullmatch(r"\s*([\w+]+)=(\d+(?:\.\d+)?)([kM]?)\s*", part)
        kind, steps = (match[1], float(match[2])) if match else ("", 0.0)
        steps *= {"k": 1_000, "M": 1_000_000}.get(match[3], 1) if match else 1
        if kind not in KINDS or steps < 1 or steps != int(steps):
            raise InputError(
                f"A schedule is one of {', '.join(SCHEDULES)}, or durations such as "
                f"{SCHEDULES['w+']}, of the kinds {', '.join(KINDS)}; {phases!r} was given."
            )
        found.append((kind, int(steps)))
    return tuple(found)


def phase_at(step: int, num_ws: int, total: int, settings: ScheduleSettings | None = None) -> Phase:
    """What holds at `step` (0 .. total - 1) of a run of `total` steps for `num_ws` style inputs.

    Raises InputError for a step outside of the run, or a run too short to reach its last phase (a
    `cycle` of fewer than 21 steps)."""
    settings = settings or ScheduleSettings()
    parts = durations(settings.phases)
    whole = sum(steps for _, steps in parts)
    _check(step, total, parts, whole)
    now = step * whole  # all comparisons are times total: of exact integers
    stage = tightened = end = 0
    for kind, steps in parts:
        begin, end = end, end + steps * total
        done = min(now, end - 1) - begin  # in this phase
        if kind == "tighten":
            tightened += 1 + done // (_TIGHTEN_EVERY * total)
        stage, next_stage = _stages(kind, stage, num_ws - 1, done, end - begin)
        if now < end:
            break
        stage = next_stage
    delta = settings.delta * settings.delta_factor**tightened if stage else 0.0
    return Phase(kind, stage, delta, settings.adv * settings.adv_factor**tightened)


def warmup_rate(done: float) -> float:
    """The share of the learning rate that holds at a share of the warm-up: it rises, from a
    hundredth, in the first twentieth and falls to zero in the second half."""
    return min(1.0, 20 * done + 0.01, 2 * (1 - done))


def _stages(kind: str, stage: int, last: int, done: int, length: int) -> tuple[int, int]:
    """(the stage now, the stage after this phase), where `stage` was the one before it."""
    if kind == "grow":
        return min(last, stage + 1 + done * (last - stage) // length), last
    if kind == "shrink":
        return stage - done * stage // length, 0
    now = {"w": 0, "w+": last}.get(kind, stage)
    return now, now


def _check(step: int, total: int, parts: tuple[tuple[str, int], ...], whole: int) -> None:
    if not 0 <= step < total:
        raise InputError(f"A run of {total} steps has the steps 0 to {total - 1}, not {step}.")
    last = parts[-1][1]
    if total * last < whole:
        raise InputError(
            f"A run of {total} steps ends before the last phase of its schedule ({parts[-1][0]}): "
            f"give it {-(-whole // last)} or more."
        )
