"""Seconds of the nodes that look at pictures in a real ComfyUI on busy cores.

    COMFYUI_DIR=... python benchmarks/busy_nodes.py --busy 2

Runs in an interpreter that has ComfyUI's requirements, on the CPU, with ComfyUI's own threads
unless OMP_NUM_THREADS says otherwise, beside as many programs of one thread as --busy says. Each
row is the median of --runs runs in which that node alone runs, its networks opened before. The
goals of the project, on two busy cores: Align Faces .5 s, Compare .3 s.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import comfy_real
from comfy_real import collect, node

from workflows import load, machine

SPIN = "while True: sum(range(1000))"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--busy", type=int, default=0, help="programs that run beside it")
    parser.add_argument("--runs", type=int, default=15)
    given = parser.parse_args()
    if not comfy_real.CHECKOUT:
        parser.error(comfy_real.REASON)
    before = load()
    with tempfile.TemporaryDirectory() as folder, busy(given.busy):
        os.environ |= {"HOME": folder, "CYCLE_CORE_OFFLINE": "1"}
        comfy = comfy_real.Comfy(Path(folder))
        print("| node | seconds | of the processor |\n| --- | --- | --- |")
        for title, prompt, changed in prompts():
            seconds = [run(comfy, prompt, *changed, k) for k in range(given.runs + 1)][1:]
            wall, processor = (median(column) for column in zip(*seconds, strict=True))
            print(f"| {title} | {wall:.2f} | {processor:.2f} |", flush=True)
    print(f"\n{machine(before)} Beside {given.busy} programs of one thread.")


@contextmanager
def busy(programs: int) -> Iterator[None]:
    """Other programs of one thread, of the same priority, while this one measures."""
    running = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(programs)]
    try:
        yield
    finally:
        for program in running:
            program.kill()
            program.wait()


def prompts() -> Iterator[tuple[str, dict[str, Any], tuple[str, str]]]:
    """(title, prompt, (node, input) that is another in each run, so that only that node runs)"""
    photo = {"photo": node("CycleExample")}
    align = {**photo, "align": node("CycleAlign", images=("photo", 0))}
    yield "Align Faces", {**align, **collect(crops=("align", 0))}, ("align", "number")
    for count in (2, 3, 4):
        versions = {f"image_{k}": ("align", 0) for k in range(1, count + 1)}
        compare = {"compare": node("CycleCompare", target=("align", 0), **versions)}
        title = f"Compare, {count} versions of 256 px"
        yield title, {**align, **compare, **collect(grid=("compare", 0))}, ("compare", "cell")


def run(comfy: Any, prompt: dict[str, Any], key: str, name: str, k: int) -> tuple[float, float]:
    """Seconds of the clock and of the processor."""
    # a number of which nothing depends, and sheets of almost the same size
    prompt[key]["inputs"][name] = {"number": k, "cell": 256 + 16 * (k % 2)}[name]
    wall, processor = time.perf_counter(), time.process_time()
    comfy.run(prompt)
    return time.perf_counter() - wall, time.process_time() - processor


if __name__ == "__main__":
    main()
