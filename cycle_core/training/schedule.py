"""The cycle W -> W+ -> W: which heads an encoder trains at a step, and how hard it is held to W.

Cycle Encoding (Mao et al. 2022), section 3 and the schedule of its published code, here as a pure
function of step, number of style inputs and budget: a run of any length has the published
proportions, and a resumed run needs no memory of it. With 18 styles and 750,000 steps:

    phase      steps              stage                        weights
    w          0 - 20k            0                            as given
    rise       20k - 54k          1 ... 17, 2k steps each      as given
    w+         54k - 500k         17                           as given
    tighten    500k - 646k        17                           every 10k: delta * 1.2, adv / 2
    fall       646k - 714k        17 ... 1, 4k steps each      the last ones
    return     714k - 750k        0                            the last ones

Stage s trains the heads 0..s; stage 0 is W, stage N - 1 is all of W+.

Decisions, where the published code does something else than it seems to mean:

- Tightening begins with its phase, so it happens 15 times, at 500k, 510k, ..., 640k.
- A phase keeps its share of the budget whatever N is; its stages divide it evenly. (The published
  numbers of steps per head would make the cycle of a small generator, N = 10, mostly waiting.)
- The published delta loss is left out whenever the highest stage number is set, as it is after
  resuming, so that the growing weight first acts in `fall`. Here the weight holds whenever a head
  beyond 0 is active, and is 0 at stage 0, where there is no delta.
- The published budget is overwritten while the run is in its first phase. Here it is an argument,
  and a step outside of it is an error.
- Published inference and refinement switch all heads on, though the last phases trained with them
  off. Here `final_stage` is what the finished encoder records and is used at by default.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError

PUBLISHED_STEPS = 750_000
_ENDS = {"w": 20_000, "rise": 54_000, "w+": 500_000, "tighten": 646_000, "fall": 714_000}
_TIGHTEN_EVERY = 10_000
PATHS = ("cycle", "w+", "w")


@dataclass(frozen=True)
class ScheduleSettings:
    """The defaults are the published ones; the others are the comparisons of the benchmarks."""

    path: str = "cycle"  # "w+": stays in W+ once there, which is e4e; "w": never leaves W
    tighten: bool = True  # False: delta and adv keep their first weights
    delta: float = 2e-4  # weight of sum_i ||D_i||_2
    adv: float = 0.1  # weight of the latent discriminator
    delta_factor: float = 1.2  # at every tightening
    adv_factor: float = 0.5  # at every tightening

    def __post_init__(self) -> None:
        if self.path not in PATHS:
            raise InputError(
                f"The path of an encoder training is one of {', '.join(PATHS)}, not {self.path!r}."
            )


@dataclass(frozen=True)
class Phase:
    """What holds at one step. name: as in the table above; stage: 0..num_ws - 1; delta, adv: the
    weights of the delta loss and of the latent discriminator."""

    name: str
    stage: int
    delta: float
    adv: float


def at(step: int, num_ws: int, total: int, settings: ScheduleSettings | None = None) -> Phase:
    """What holds at `step` (0 .. total - 1) of a run of `total` steps for `num_ws` style inputs.

    Raises InputError for a step outside of the run, fewer than two styles, or a cycle too short
    to come back to W (fewer than 21 steps)."""
    settings = settings or ScheduleSettings()
    _check(step, num_ws, total, settings)
    if settings.path == "w":
        return Phase("w", 0, 0.0, settings.adv)
    now = step * PUBLISHED_STEPS  # both sides of every comparison times total: exact integers
    name = next((name for name, end in _ENDS.items() if now < end * total), "return")
    if settings.path == "w+" and name not in ("w", "rise"):
        name = "w+"
    tightened = 0
    if settings.tighten and name in ("tighten", "fall", "return"):
        since = min(now, (_ENDS["tighten"] * total) - 1) - _ENDS["w+"] * total
        tightened = 1 + since // (_TIGHTEN_EVERY * total)
    stage = _stage(name, now, num_ws, total)
    delta = settings.delta * settings.delta_factor**tightened if stage else 0.0
    return Phase(name, stage, delta, settings.adv * settings.adv_factor**tightened)


def final_stage(num_ws: int, settings: ScheduleSettings | None = None) -> int:
    """The stage at which a whole run ends: what its encoder was trained at last."""
    return num_ws - 1 if settings is not None and settings.path == "w+" else 0


def _stage(name: str, now: int, num_ws: int, total: int) -> int:
    last = num_ws - 1
    if name == "rise":
        begin, end = _ENDS["w"] * total, _ENDS["rise"] * total
        return 1 + (now - begin) * last // (end - begin)
    if name == "fall":
        begin, end = _ENDS["tighten"] * total, _ENDS["fall"] * total
        return last - (now - begin) * last // (end - begin)
    return 0 if name in ("w", "return") else last


def _check(step: int, num_ws: int, total: int, settings: ScheduleSettings) -> None:
    if not 0 <= step < total:
        raise InputError(f"A run of {total} steps has the steps 0 to {total - 1}, not {step}.")
    if num_ws < 2:
        raise InputError(f"A cycle needs a generator of two styles or more, not {num_ws}.")
    published_rest = PUBLISHED_STEPS - _ENDS["fall"]
    if settings.path == "cycle" and total * published_rest < PUBLISHED_STEPS:
        shortest = -(-PUBLISHED_STEPS // published_rest)
        raise InputError(
            f"A cycle of {total} steps ends before it is back in W: give it {shortest} or more."
        )
