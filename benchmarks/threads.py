"""Small networks with one thread and with all: prints a table, as Markdown.

    python benchmarks/threads.py

Refinement, encoding and generating with the embedded models, by the clock, medians, while nothing
else runs and while one other program takes all it can of a core. "spinning" is how torch's threads
wait by default, as in ComfyUI, "sleeping" how those of the command line do
(OMP_WAIT_POLICY=PASSIVE).
The library takes one thread for such networks, by `devices.one_thread_if_small`, which finds none
small where all threads work here."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from statistics import median

from cycle_core.checkpoints.registry import load_encoder, load_generator
from cycle_core.invert.encode import encode
from cycle_core.invert.generate import generate
from cycle_core.invert.refine import refine
from cycle_core.invert.sampling import sample
from cycle_core.invert.settings import REFINE_PRESETS
from cycle_core.measure.perceptual import load_perceptual
from cycle_core.measure.recognition import load_identity
from cycle_core.runtime import devices
from cycle_core.runtime.devices import keep_memory

BUSY = "import os; ours = os.getppid()\nwhile os.getppid() == ours: pass"
WAYS: dict[str, dict[str, str]] = {  # name -> what its process finds in the environment
    "all threads, spinning": {},
    "all threads, sleeping": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--measure", choices=list(WAYS), help=argparse.SUPPRESS)  # here
    a = parser.parse_args()
    if a.measure:
        print(*measured(alone=a.measure == "one thread"))
        return
    heading = ["other programs", "way", "refine", "encode one picture", "generate one picture"]
    print(f"| {' | '.join(heading)} |\n{'| --- ' * len(heading)}|")
    usual = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    for others in (0, 1):
        with busy(others):
            for way, names in WAYS.items():
                command = [sys.executable, __file__, "--measure", way]
                told = subprocess.run(
                    command, check=True, stdout=subprocess.PIPE, env=usual | names
                ).stdout
                cells = [f"{1000 * float(seconds):.1f} ms" for seconds in told.split()]
                print(f"| {others} | {way} | {' | '.join(cells)} |", flush=True)


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Other programs that take all they can of a core each."""
    command = [sys.executable, "-c", BUSY]
    others = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def measured(alone: bool) -> list[float]:
    keep_memory()
    if not alone:
        devices.SMALL_WEIGHTS = 0  # no network is small
    G, E = load_generator("portraits"), load_encoder("portraits")
    networks = load_perceptual("loss"), load_identity("loss")
    code = sample(G, 1, seed=1)
    image = generate(G, code)
    settings = REFINE_PRESETS["embedded"]
    return [
        timed(lambda: refine(E, G, image, settings, "generator", None, 0, *networks), 3),
        timed(lambda: encode(E, image), 30),
        timed(lambda: generate(G, code), 30),
    ]


def timed(work: Callable[[], object], times: int) -> float:
    """Seconds, after a first time that is not counted."""
    work()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return median(seconds)


if __name__ == "__main__":
    main()
