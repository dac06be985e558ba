"""The paper's comparison from nothing, by one command; the same command again goes on.

    python benchmarks/paper.py FOLDER --jobs 2

Renders the people, trains an encoder of every kind with every seed, all with the budget
of the embedded one, then compares them with `cycle-core bench`; what follows `--` is given to that:

    python benchmarks/paper.py FOLDER -- --card docs/results.md --pictures docs/images

--size 64 compares on smaller pictures, which the lower blocks of the generator draw, so that ten
seeds of six kinds are affordable; --steps and --warmup-steps are the budget of each training.

Each step is one of the project's own commands and is printed before it runs.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from cycle_core.checkpoints.native import save_model
from cycle_core.checkpoints.registry import load_generator
from cycle_core.models.blend import lower_blocks
from people.training.embedded import PRESETS

# training -> its options of `cycle-core train encoder`
TRAININGS = {
    "w": ("--phases", "w"),
    "w+": ("--phases", "w+"),
    "cycle": (),
    "untightened": ("--delta-factor", "1", "--adv-factor", "1"),
    "w-decay": ("--phases", "w-decay"),
    "cycle-delta": ("--adv-factor", "1"),
}
_CLI = (sys.executable, "-m", "cycle_core.cli")
_PROJECT = Path(__file__).resolve().parents[1]  # whose Makefile renders


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="for people, encoders and results")
    parser.add_argument("--data", type=Path, help="rendered people, if there are some already")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--jobs", type=int, default=1, help="trainings at once, one thread each")
    parser.add_argument("--size", type=int, help="of the pictures, in pixels")
    parser.add_argument("--steps", help="of each training's schedule")
    parser.add_argument("--warmup-steps", help="before them")
    parser.add_argument("--float32", action="store_true", help="for processors without bfloat16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dry-run", action="store_true", help="print the commands only")
    given = sys.argv[1:]
    cut = given.index("--") if "--" in given else len(given)
    a, more = parser.parse_args(given[:cut]), given[cut + 1 :]
    a.folder = a.folder.absolute()
    run = show if a.dry_run else together
    data = (a.data or a.folder / "people").absolute()
    encoders, sets = a.folder / "encoders", a.folder / "sets"
    count = PRESETS["cpu"].people
    rendering = ["make", "people", f"PEOPLE={data}", f"PEOPLE_COUNT={count}"]
    if a.data is None and not run({"": [*rendering, f"PEOPLE_WORKERS={a.jobs}"]}, 1):
        return 1
    if not (sets / "person-test.safetensors").is_file() and not run(
        {"": ["make", "sets", f"SETS={sets}"]}, 1
    ):
        return 1
    generator = "portraits"
    if a.size:
        generator = str(a.folder / f"generator-{a.size}.safetensors")
        if not a.dry_run:
            write_lower_blocks(generator, a.size)
    budget = ["--device", a.device, *PRESETS["cpu"].encoder, *([] if a.float32 else ["--bf16"])]
    for option, value in (
        ("--size", a.size), ("--steps", a.steps), ("--warmup-steps", a.warmup_steps)
    ):  # fmt: skip
        budget += [option, str(value)] if value else []  # of two the last counts
    if not run(trainings(encoders, data, generator, a.seeds, budget), a.jobs):
        return 1
    seeds = [str(seed) for seed in a.seeds]
    comparing = [*_CLI, "bench", "--encoders", str(encoders), "--seeds", *seeds]
    comparing += ["--sets", str(sets), "--out", str(a.folder / "bench")]
    comparing += ["--device", a.device, *(["--size", str(a.size)] if a.size else []), *more]
    return 0 if run({"": comparing}, 1) else 1


def write_lower_blocks(path: str, size: int) -> None:
    """What draws pictures of this size."""
    small = lower_blocks(load_generator("portraits"), size)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    header = {"space": small.base_fingerprint}
    save_model(path, "generator", small.config, small.state_dict(), header)


def trainings(
    folder: Path, data: Path, generator: str, seeds: list[int], budget: list[str]
) -> dict[str, list[str]]:
    """{name of a run: its command}; a run that has ended is over in seconds."""
    return {
        f"{training}-{seed}": [
            *_CLI, "train", "encoder", "--generator", generator,
            "--data", str(data), "--out", str(folder / f"{training}-{seed}"),
            "--seed", str(seed), *budget, *options,
        ]
        for seed in seeds
        for training, options in TRAININGS.items()
    }  # fmt: skip


def show(commands: dict[str, list[str]], jobs: int) -> bool:
    for command in commands.values():
        print(shlex.join(command))
    return True


def together(commands: dict[str, list[str]], jobs: int) -> bool:
    """Run commands, some at once; whether all went well. Named ones write to a log beside `--out`,
    for their progress would mix."""
    waiting, running, well = list(commands.items()), [], True
    environment = dict(os.environ)
    if len(commands) > 1:
        environment |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                name, command = waiting.pop(0)
                print(shlex.join(command), flush=True)
                running.append((name, start(name, command, environment)))
            time.sleep(0.2)
            for name, process in list(running):
                if process.poll() is not None:
                    running.remove((name, process))
                    if process.returncode:
                        print(f"The step {name} failed; the same command goes on there.",
                              file=sys.stderr)  # fmt: skip
                        well, waiting = False, []
    finally:
        for _, process in running:
            process.terminate()
    return well


def start(name: str, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    if not name:
        project = _PROJECT if command[0] == "make" else None
        return subprocess.Popen(command, env=environment, cwd=project)
    log = Path(command[command.index("--out") + 1]).with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        return subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)


if __name__ == "__main__":
    sys.exit(main())
