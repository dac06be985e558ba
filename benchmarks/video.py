"""Seconds a frame and memory of `cycle-core run` for a video with the embedded models.

    python benchmarks/video.py [--seconds 2 10] [--page docs/performance.md]

The example clip is played again and again at 25 frames a second. Each length runs in a process of
its own, in one thread, from file to file: every frame is found, encoded, generated with and without
an edit, pasted and written. Tuning, which is paid once for a video, has two frames and four steps
here. Prints a Markdown table, or puts it between the page's marks.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from cycle_core.bench.report import put

RATE = 25


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, nargs="+", default=[2, 10])
    parser.add_argument("--page", type=Path, help="put the table between the page's marks")
    arguments = parser.parse_args()
    lines = [
        "| video | frames | of the CPU | a frame | memory |",
        "| --- | --- | --- | --- | --- |",
    ]
    for seconds in arguments.seconds:
        with (
            tempfile.TemporaryDirectory() as folder,
            multiprocessing.get_context("spawn").Pool(1) as pool,
        ):
            lines.append(pool.apply(measure, (Path(folder), seconds)))
            print(lines[-1], flush=True)
    print("\n".join(lines))
    if arguments.page:
        put("\n".join(lines), arguments.page, "video")


def measure(folder: Path, seconds: int) -> str:
    """A row of the table."""
    import torch

    from cycle_core.cli import main as run
    from cycle_core.images.clips import ClipWriter
    from cycle_core.images.examples import example
    from cycle_core.runtime.devices import peak_memory

    torch.set_num_threads(1)
    images = example("clip")
    with ClipWriter(folder / "clip.mp4", RATE) as writer:
        for i in range(seconds * RATE):
            writer.write(images[i % len(images)][None], i / RATE)
    command = ["run", str(folder / "clip.mp4"), "--edit", "smile=2", "--out", str(folder / "out")]
    command += ["--tune-steps", "4", "--key-frames", "2", "--device", "cpu", "--quiet"]
    began = time.process_time()
    if run(command):
        raise SystemExit("The run failed.")
    spent, memory = time.process_time() - began, peak_memory(torch.device("cpu"))
    frames, peak = seconds * RATE, "?" if memory is None else f"{memory / 1e9:.2f} GB"
    row = (f"{seconds} s", str(frames), f"{spent:.0f} s", f"{spent / frames:.2f} s", peak)
    return f"| {' | '.join(row)} |"


if __name__ == "__main__":
    main()
