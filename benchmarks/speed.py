"""Times and memory: prints a table, as Markdown. `make benchmark`, or `python benchmarks/speed.py`.

    python benchmarks/speed.py --suite cpu > mine.md     # and all that docs/performance.md has
    python benchmarks/speed.py --suite cuda > mine.md    # what it leaves open

Each row is measured in a process of its own, so that its peak memory is its own; times are medians
of several runs after one that is not counted. Nothing passes or fails here: the goals are those of
the project for two CPU cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

ROWS = {  # name: (what it is, goal)
    "import": ("`import cycle_core`", ""),
    "help": ("`cycle-core --help`, the whole program", ""),
    "detect": ("find the face in a photograph of 512 px", "200 ms on one thread"),
    "encode": ("encode one picture", "100 ms"),
    "generate": ("generate one picture", "60 ms"),
    "refine": ("refine, preset `embedded`", ""),
    "tune": ("tune, preset `embedded`", "30 s with refine"),
    "paste": ("paste into a photograph of 512 px", ""),
    "demo": ("the whole demo", "3 min, 3 GB"),
    "synthesis-1024": ("1024 px, full size, random weights: one synthesis", ""),
    "tuning-1024": ("1024 px, full size, random weights: one tuning step", ""),
}


# the tables of docs/performance.md and docs/training.md: for a machine without and with a GPU
SUITES = {
    "cpu": (
        "speed.py",
        "tuning.py step --sizes embedded --threads 1",
        "tuning.py step --sizes 256",
        "tuning.py step --sizes 256 --usual-memory",
        "tuning.py step --sizes 1024",
        "tuning.py step --sizes 1024 --usual-memory",
        "tuning.py floor --sizes embedded 256 1024",
        "tuning.py presets --presets plain embedded fast --threads 1",
        "inference.py --threads 1",
        "inference.py --sizes full --tasks generate",
        "inference.py --sizes full --tasks encode --batch 4",
        "training.py --full --accumulate 8 --steps 2 --usual-memory",
        "threads.py",
    ),
    "cuda": (
        "tuning.py step --sizes embedded 256 1024 --device cuda --compile",
        "tuning.py step --sizes 1024 --steps 350 --rounds 3 --device cuda",
        "tuning.py presets --device cuda --presets plain paper fast embedded",
        "inference.py --sizes embedded full --device cuda --compile",
        "training.py --full --device cuda --bf16 --compile",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", nargs="*", help=f"some of: {', '.join(ROWS)} (default: all)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch")
    parser.add_argument("--suite", choices=SUITES, help="all tables, of this machine or its GPU")
    parser.add_argument("--measure", help=argparse.SUPPRESS)  # one row, in this process
    arguments = parser.parse_args()
    if arguments.measure:
        import torch

        from cycle_core.runtime.devices import peak_memory

        torch.set_num_threads(arguments.threads)
        seconds = MEASURES[arguments.measure]()
        print(json.dumps({"seconds": seconds, "peak": peak_memory(torch.device("cpu"))}))
        return
    if arguments.suite:
        sys.exit(suite(arguments.suite))
    chosen = arguments.rows or list(ROWS)
    print(f"{cpu_name()}, {arguments.threads} threads, Python {platform.python_version()}\n")
    print("| what | time | peak memory | goal |")
    print("| --- | --- | --- | --- |")
    for row in chosen:
        what, goal = ROWS[row]
        seconds, memory = measure(row, arguments.threads)
        print(f"| {what} | {told(seconds)} | {memory / 2**20:.0f} MB | {goal} |", flush=True)


def suite(device: str) -> int:
    """Run the scripts one after the other, each under its command; how many failed."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch finds no GPU here: install it for yours, or measure --suite cpu.")
    machine = torch.cuda.get_device_name() if device == "cuda" else cpu_name()
    python = platform.python_version()
    print(f"{machine}, torch {torch.__version__}, Python {python}, commit {commit()}")
    failed = 0
    for command in SUITES[device]:
        print(f"\n    python benchmarks/{command}\n", flush=True)
        script, *options = shlex.split(command)
        path = str(Path(__file__).with_name(script))
        failed += bool(subprocess.run([sys.executable, path, *options], check=False).returncode)
    return failed


def commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def measure(row: str, threads: int) -> tuple[float, int]:
    """(seconds, bytes) of one row, in a process of its own."""
    if row in PROGRAMS:
        return program(PROGRAMS[row], 1 if row == "demo" else 5, threads)
    command = [sys.executable, __file__, "--threads", str(threads), "--measure", row]
    result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return result["seconds"], result["peak"]


def program(arguments: list[str], runs: int, threads: int) -> tuple[float, int]:
    """A whole program from its start to its end."""
    script = (
        "import json, resource, subprocess, sys, time; began = time.perf_counter();"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(json.dumps([time.perf_counter() - began, used.ru_maxrss * 1024]))"
    )
    results = []
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(runs):
            command = [sys.executable, "-c", script, sys.executable, *arguments]
            command = [part.replace("FOLDER", folder) for part in command]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
            results.append(json.loads(done.stdout))
    return median(r[0] for r in results), max(r[1] for r in results)


PROGRAMS = {
    "import": ["-c", "import cycle_core"],
    "help": ["-m", "cycle_core.cli", "--help"],
    "demo": ["-m", "cycle_core.cli", "demo", "--quiet", "--out", "FOLDER/demo"],
}


def timed(action: Callable[[], object], runs: int = 7) -> float:
    """Median seconds of one call, after a first that is not counted."""
    action()
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return median(times)


def detect() -> float:
    from cycle_core.faces.detect import detect
    from cycle_core.run.demo import astronaut

    photo = astronaut()
    return timed(lambda: detect(photo, "embedded"))


def encode() -> float:
    from cycle_core.checkpoints.registry import load_encoder
    from cycle_core.invert.encode import encode

    encoder, crop = load_encoder("portraits"), embedded_crop()
    return timed(lambda: encode(encoder, crop))


def generate() -> float:
    from cycle_core.checkpoints.registry import load_encoder, load_generator
    from cycle_core.invert.encode import encode
    from cycle_core.invert.generate import generate

    code = encode(load_encoder("portraits"), embedded_crop())
    generator = load_generator("portraits")
    return timed(lambda: generate(generator, code))


def refine() -> float:
    from cycle_core.checkpoints.registry import load_encoder, load_generator
    from cycle_core.invert.refine import refine
    from cycle_core.invert.settings import REFINE_PRESETS

    encoder, generator = load_encoder("portraits"), load_generator("portraits")
    crop, settings = embedded_crop(), REFINE_PRESETS["embedded"]
    return timed(lambda: refine(encoder, generator, crop, settings), runs=1)


def tune() -> float:
    from cycle_core.checkpoints.registry import load_encoder, load_generator
    from cycle_core.invert.encode import encode
    from cycle_core.invert.settings import TUNE_PRESETS
    from cycle_core.invert.tune import tune

    generator, crop = load_generator("portraits"), embedded_crop()
    code = encode(load_encoder("portraits"), crop)
    settings = TUNE_PRESETS["embedded"]
    return timed(lambda: tune(generator, code, crop, settings), runs=3)


def paste() -> float:
    from cycle_core.faces.frame import align
    from cycle_core.faces.paste import paste
    from cycle_core.run.demo import astronaut

    photo = astronaut()
    crop, frame = align(photo, "centre", 256)
    return timed(lambda: paste(photo, -crop, frame, reference=crop))


def synthesis_1024() -> float:
    import torch

    generator = full_size()
    w = torch.randn(1, generator.num_ws, generator.w_dim)
    with torch.no_grad():
        return timed(lambda: generator.synthesis(w), runs=3)


def tuning_1024() -> float:
    """The difference between two steps and one, so that preparation does not count."""
    import torch

    from cycle_core.codes import Code
    from cycle_core.invert.settings import TuneSettings
    from cycle_core.invert.tune import tune

    generator = full_size()
    pivot = Code(torch.randn(1, generator.num_ws, generator.w_dim), "W+")
    image = torch.zeros(1, 3, 1024, 1024)

    def steps(count: int) -> float:
        began = time.perf_counter()
        tune(generator, pivot, image, TuneSettings(steps=count, threshold=0.0))
        return time.perf_counter() - began

    return steps(2) - steps(1)


MEASURES = {
    "detect": detect,
    "encode": encode,
    "generate": generate,
    "refine": refine,
    "tune": tune,
    "paste": paste,
    "synthesis-1024": synthesis_1024,
    "tuning-1024": tuning_1024,
}


def embedded_crop():
    """A picture of the embedded generator, float32 [1,3,R,R]."""
    import torch

    from cycle_core.checkpoints.registry import load_generator

    generator = load_generator("portraits")
    z = torch.randn(1, generator.config.z_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return generator(z).clamp(-1, 1)


def full_size():
    """A StyleGAN2 of 1024 px as published (config F), with random weights."""
    import torch

    from cycle_core.models.generator import Generator
    from cycle_core.models.stylegan2 import StyleGAN2Config

    torch.manual_seed(0)
    return Generator(StyleGAN2Config()).eval().requires_grad_(False)


def told(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
