"""How long every shipped workflow takes in a real ComfyUI, and how much memory: each in a process
of its own, from pressing Run the first time, models unopened, to the saved pictures.

    python benchmarks/workflows.py CHECKOUT [CHECKOUT ...] [--page docs/workflows.md]

runs in an interpreter that has ComfyUI's requirements, on the CPU, with ComfyUI's own threads
unless OMP_NUM_THREADS says otherwise."""

# pyright: reportMissingImports=false
from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from speed import cpu_name

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


def main() -> None:
    parser = argparse.ArgumentParser(description="Times and memory of the shipped workflows.")
    parser.add_argument("checkouts", nargs="*", help="folders of ComfyUI, one for each version")
    parser.add_argument("--page", type=Path, help="put the table between the page's marks")
    parser.add_argument("--run", metavar="NAME", help=argparse.SUPPRESS)  # in a process of its own
    given = parser.parse_args()
    if given.run:
        print(json.dumps(measure(given.run)))
        return
    import workflow_files

    busy = load()
    versions = {version(checkout): checkout for checkout in given.checkouts}
    rows = {}
    for name in workflow_files.names():
        rows[name] = {v: in_own_process(name, checkout) for v, checkout in versions.items()}
        print(name, rows[name], flush=True)
    table = f"{as_table(rows, list(versions))}\n\n{machine(busy)}"
    if given.page is None:
        print(table)
        return
    from cycle_core.bench.report import put

    put(table, given.page, "measured")


def in_own_process(name: str, checkout: str) -> dict[str, float]:
    environment = {**os.environ, "COMFYUI_DIR": checkout}
    command = [sys.executable, __file__, "--run", name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} in {checkout} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(name: str) -> dict[str, float]:
    """Seconds of the clock and of the processor, the most memory held, and how much of that was
    there before, in MB."""
    import comfy_real
    import workflow_files

    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"HOME": folder, "CYCLE_CORE_OFFLINE": "1"}
        comfy = comfy_real.Comfy(Path(folder))
        prompt = workflow_files.self_contained(workflow_files.read_api(name))
        before, wall, processor = peak(), time.perf_counter(), time.process_time()
        comfy.run(prompt)
        return {
            "seconds": time.perf_counter() - wall,
            "processor": time.process_time() - processor,
            "memory": peak(),
            "empty": before,
        }


def peak() -> float:
    """MB."""
    from cycle_core.runtime.devices import peak_memory

    return (peak_memory(torch.device("cpu")) or 0) / 1e6


def version(checkout: str) -> str:
    text = Path(checkout, "comfyui_version.py").read_text()
    return text.split('"')[1]


def load() -> float:
    """How many cores other programs keep busy."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0  # Windows has none


def machine(busy: float) -> str:
    """Where this was measured. busy: the load before."""
    threads = os.environ.get("OMP_NUM_THREADS")
    return (
        f"On {os.cpu_count()} cores of {cpu_name()}, {platform.system()}, Python "
        f"{platform.python_version()}, torch {torch.__version__}, "
        f"{f'{threads} threads' if threads else 'the default number of threads'}; other programs "
        f"kept {busy:.1f} cores busy when it began."
    )


def as_table(rows: dict[str, dict[str, Any]], versions: list[str]) -> str:
    heads = [f"{v}: seconds | processor seconds | peak MB" for v in versions]
    lines = [f"| workflow | {' | '.join(heads)} |", "| --- |" + " --- |" * 3 * len(versions)]
    for name, row in rows.items():
        cells = [
            f"{m['seconds']:.1f} | {m['processor']:.1f} | {m['memory']:.0f}" for m in row.values()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    empty = [m["empty"] for row in rows.values() for m in row.values()]
    lines.append(f"\nAn empty ComfyUI takes {min(empty):.0f} to {max(empty):.0f} MB of that.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
