"""The paper's comparison from nothing, by one command; the same command again goes on.

    python benchmarks/paper.py FOLDER --jobs 2

Renders the people, trains an encoder of every kind with every seed, all with the budget of the
embedded one, measures them with `cycle-core bench`, and then compares; what follows `--` is given
to that:

    python benchmarks/paper.py FOLDER -- --card docs/results.md --pictures docs/images

--size 64 compares on smaller pictures, of the lower blocks of the generator, so that ten seeds of
six kinds are affordable; --steps and --warmup-steps are the budget of each training.

Each step is one of the project's own commands and is printed before it runs.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from cycle_core.bench.methods import METHODS
from cycle_core.checkpoints.native import save_model
from cycle_core.checkpoints.registry import load_generator
from cycle_core.errors import InputError
from cycle_core.models.blend import lower_blocks
from cycle_core.training.loop import load_checkpoint, save_checkpoint
from cycle_core.training.schedule import ScheduleSettings
from people.training.embedded import PRESETS

_WHOLE = 750  # thousands of steps of the schedule
# run -> (the run whose last step it goes on from, thousands of steps, options); the trainings of a
# seed are the same until the first of them parts, and those steps are made once
RUNS: dict[str, tuple[str, int, dict[str, str]]] = {
    "start": ("", 20, {"phases": "w=20k"}),
    "in-w": ("start", 500, {"phases": "w=500k"}),
    "in-w+": ("start", 500, {"phases": "w=20k,grow=34k,w+=446k"}),
    "w": ("in-w", _WHOLE, {"phases": "w"}),
    "w-decay": ("in-w", _WHOLE, {"phases": "w-decay"}),
    "w+": ("in-w+", _WHOLE, {"phases": "w+"}),
    "cycle": ("in-w+", _WHOLE, {}),
    "untightened": ("in-w+", _WHOLE, {"delta-factor": "1", "adv-factor": "1"}),
    "cycle-delta": ("in-w+", _WHOLE, {"adv-factor": "1"}),
}
_DECAY = 1 - 500 / _WHOLE  # of the learning rate, from where the last of them parts
_CLI = (sys.executable, "-m", "cycle_core.cli")
_PROJECT = Path(__file__).resolve().parents[1]  # whose Makefile renders


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="for people, encoders and results")
    parser.add_argument("--data", type=Path, help="rendered people, if there are some already")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--jobs", type=int, default=1, help="seeds at once, one thread each")
    parser.add_argument("--size", type=int, help="of the pictures, in pixels")
    parser.add_argument(
        "--steps", type=int, default=4500, help="of each training's schedule, a multiple of 75"
    )
    parser.add_argument("--warmup-steps", default="1500", help="before them")
    parser.add_argument("--learning-rate", default="3e-4", help="of each; shorter ones want more")
    parser.add_argument("--body", help="encoder from whose body all start")
    parser.add_argument("--float32", action="store_true", help="for processors without bfloat16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dry-run", action="store_true", help="print the commands only")
    given = sys.argv[1:]
    cut = given.index("--") if "--" in given else len(given)
    a, more = parser.parse_args(given[:cut]), given[cut + 1 :]
    a.folder = a.folder.absolute()
    if a.steps % 75:
        parser.error("--steps is a multiple of 75: the trainings of a seed part after whole steps")
    data = (a.data or a.folder / "people").absolute()
    encoders, sets = a.folder / "encoders", a.folder / "sets"
    count = PRESETS["cpu"].people
    rendering = ["make", "people", f"PEOPLE={data}", f"PEOPLE_COUNT={count}"]
    if a.data is None:
        run([*rendering, f"PEOPLE_WORKERS={a.jobs}"], a.dry_run)
    if not (sets / "person-test.safetensors").is_file():
        run(["make", "sets", f"SETS={sets}"], a.dry_run)
    generator = "portraits"
    if a.size:
        generator = str(a.folder / f"generator-{a.size}.safetensors")
        if not a.dry_run:
            write_lower_blocks(generator, a.size)
    options = ["--generator", generator, "--data", str(data), "--device", a.device]
    options += [*PRESETS["cpu"].encoder, "--warmup-steps", a.warmup_steps]  # of two the last counts
    options += [
        "--learning-rate",
        a.learning_rate,
        "--held-out",
        "50",
        *([] if a.float32 else ["--bf16"]),
    ]
    options += ["--size", str(a.size)] if a.size else []
    options += ["--body", a.body] if a.body else []

    comparing = [*_CLI, "bench", "--encoders", str(encoders), "--sets", str(sets)]
    comparing += ["--out", str(a.folder / "bench"), "--device", a.device]
    comparing += ["--size", str(a.size)] if a.size else []

    def train_and_measure(seed: int) -> None:
        for name in RUNS:
            train(encoders, name, seed, a.steps, options, a.dry_run)
        # what has no encoder is measured once
        methods = [one.key for one in METHODS if one.encoder or seed == a.seeds[0]]
        command = [*comparing, "--seeds", str(seed), "--methods", *methods, *without_report(more)]
        run(command, a.dry_run, a.folder / f"bench-{seed}.log")

    with ThreadPoolExecutor(a.jobs) as pool:
        list(pool.map(train_and_measure, a.seeds))
    run([*comparing, "--seeds", *map(str, a.seeds), *more], a.dry_run)


def without_report(options: Sequence[str]) -> list[str]:
    """Options of `cycle-core bench` without those that say where tables and pictures go."""
    reporting = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--card", "--plot", "--pictures"):
        reporting.add_argument(name)
    return reporting.parse_known_args(options)[1]


def write_lower_blocks(path: str, size: int) -> None:
    """What draws pictures of this size."""
    small = lower_blocks(load_generator("portraits"), size)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    header = {"space": small.base_fingerprint}
    save_model(path, "generator", small.config, small.state_dict(), header)


def train(
    folder: Path, name: str, seed: int, whole: int, options: Sequence[str], dry_run: bool
) -> None:
    """One of RUNS with a seed, in `folder/NAME-SEED`; one that has ended is over in seconds.

    whole: steps of the schedule; options: of `cycle-core train encoder`."""
    start, _, own = RUNS[name]
    out, settings = folder / f"{name}-{seed}", settings_of(name, whole)
    command = [*_CLI, "train", "encoder", *options, "--out", str(out), "--seed", str(seed)]
    command += ["--steps", str(settings["steps"])]
    command += ["--learning-rate-decay", str(settings["learning_rate_decay"])]
    command += [part for key, value in own.items() for part in (f"--{key}", value)]
    if start and not dry_run:
        go_on(folder / f"{start}-{seed}", out, settings)
    run(command, dry_run, out.with_suffix(".log"))


def settings_of(name: str, whole: int) -> dict[str, Any]:
    """In which a run differs from the one that it goes on from."""
    _, thousands, own = RUNS[name]
    weights = {key.replace("-", "_"): float(value) for key, value in own.items() if key != "phases"}
    return {
        "schedule": asdict(ScheduleSettings(phases=own.get("phases", "cycle"), **weights)),
        "steps": whole * thousands // _WHOLE,
        "learning_rate_decay": _DECAY if thousands == _WHOLE else 0.0,
    }


def go_on(start: Path, out: Path, settings: dict[str, Any]) -> None:
    """Begin a run where another one ended, unless it has begun."""
    if load_checkpoint(out) is None:
        state = load_checkpoint(start)
        assert state is not None
        out.mkdir(parents=True, exist_ok=True)
        save_checkpoint(out, {**state, "settings": {**state["settings"], **settings}})


def run(command: Sequence[str], dry_run: bool, log: Path | None = None) -> None:
    """One command, whose progress goes to a file where others run beside it.

    Raises InputError where it fails."""
    print(shlex.join(command), flush=True)
    if dry_run:
        return
    project = _PROJECT if command[0] == "make" else None
    if log is None:
        failed = subprocess.run(command, cwd=project).returncode
    else:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as to:
            failed = subprocess.run(command, env=environment, stdout=to, stderr=to).returncode
    if failed:
        where = f": {log} says why" if log else ""
        raise InputError(f"This command failed{where}; the same one goes on there.")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
