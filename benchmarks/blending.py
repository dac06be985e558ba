"""Seconds and memory to blend two 1024 px generators and to convert one for other projects.

    python benchmarks/blending.py [--page docs/own-generators.md]

Prints a Markdown table, or puts it between the page's marks. Weights are random. Each command runs
in a process of its own, forked after the imports, from file to file, after the same with small
generators, which loads what it needs of the libraries. Seconds are medians, on the clock and of the
CPU; memory is the most that the process grew by, as a multiple of the weights of one generator,
files that are mapped into it included.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from cycle_core.bench.report import put

COMMANDS = {
    "blend, layers": ("blend", "a.safetensors", "b.safetensors", "--from", "32", "--out"),
    "blend, weights": ("blend", "a.safetensors", "b.safetensors", "--amount", "0.5", "--out"),
    "convert to rosinality": ("convert", "a.safetensors", "--layout", "rosinality"),
    "convert to NVIDIA": ("convert", "a.safetensors", "--layout", "nvidia"),
    "convert from rosinality": ("convert", "rosinality.pt"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="of each command")
    parser.add_argument("--resolution", type=int, default=1024)
    parser.add_argument("--page", type=Path, help="put the table between the page's marks")
    arguments = parser.parse_args()

    import torch

    from cycle_core.checkpoints.registry import load_generator
    from cycle_core.models.stylegan2 import StyleGAN2Config

    torch.set_num_threads(1)
    load_generator("portraits")  # the imports, and what torch sets up at its first use
    gc.freeze()  # else the collector of a forked process touches, and so copies, all that was there
    with (
        tempfile.TemporaryDirectory() as folder,
        multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool,
    ):
        small = StyleGAN2Config(32, 16, 16, mapping_layers=2, channels=(16, 16, 8, 8))
        pool.apply(write, (Path(folder, "small"), small))
        size = pool.apply(write, (Path(folder), StyleGAN2Config(arguments.resolution)))
        lines = [f"Generators of {arguments.resolution} px, {size / 1e6:.0f} MB of weights each:\n"]
        lines += ["| command | seconds | of the CPU | memory |", "| --- | --- | --- | --- |"]
        for what, command in COMMANDS.items():
            runs = [pool.apply(measure, (Path(folder), command)) for _ in range(arguments.runs)]
            clock, cpu, memory = (median(column) for column in zip(*runs, strict=True))
            lines.append(f"| {what} | {clock:.2f} | {cpu:.2f} | {memory / size:.2f} x |")
    print("\n".join(lines))
    if arguments.page:
        put("\n".join(lines), arguments.page, "blending")


def write(folder: Path, config: Any) -> int:
    """The files that the commands take; gives the bytes of the weights."""
    import torch

    from cycle_core.checkpoints.exporting import export_generator
    from cycle_core.checkpoints.native import save_model
    from cycle_core.models.generator import Generator

    folder.mkdir(exist_ok=True)
    for seed, name in enumerate("ba"):
        torch.manual_seed(seed)
        generator = Generator(config).requires_grad_(False)
        path = folder / f"{name}.safetensors"
        save_model(path, "generator", generator.config, generator.state_dict(), {})
    export_generator(generator, folder / "rosinality.pt")
    return sum(tensor.nbytes for tensor in generator.state_dict().values())


def measure(folder: Path, command: tuple[str, ...]) -> tuple[float, float, int]:
    """(seconds, of the CPU, bytes) of a command."""
    import os

    import torch

    from cycle_core.cli import main as run
    from cycle_core.runtime.devices import peak_memory

    out = "out.pt" if "--layout" in command else "out.safetensors"
    place = 2 if command[0] == "convert" else len(command)
    before, clock, cpu = None, 0.0, 0.0
    for where in (folder / "small", folder):
        os.chdir(where)
        Path(out).unlink(missing_ok=True)
        before = peak_memory(torch.device("cpu"))
        clock, cpu = time.perf_counter(), time.process_time()
        if run([*command[:place], out, *command[place:], "--quiet"]):
            raise SystemExit(f"{' '.join(command)} failed.")
        clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
    after = peak_memory(torch.device("cpu"))
    if before is None or after is None:
        raise SystemExit("This system does not tell how much memory a process takes: take Linux.")
    return clock, cpu, after - before


if __name__ == "__main__":
    main()
