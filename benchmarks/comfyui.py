"""Seconds to load the node pack into a real ComfyUI, under several folder names.

`COMFYUI_DIR=... python benchmarks/comfyui.py`, with an interpreter that has ComfyUI's requirements,
prints a Markdown table. Each row is the median of several processes in which ComfyUI, and so torch,
is imported already. Seconds are on the clock and of the CPU (which says more on a busy machine).
ComfyUI also reads the pack's pyproject.toml, for which it imports pydantic once: that is in the
first number only. The goal of the project is 0.5 s.
"""

# what is imported below is the host's
# pyright: reportMissingImports=false
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import comfy_real

NAMES = ("cycle-encoding", "cycle.encoding-0.1", "Cycle Encoding (copy)")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="processes of each row")
    parser.add_argument("--measure", metavar="FOLDER", help=argparse.SUPPRESS)  # in this process
    parser.add_argument("--compiled", help=argparse.SUPPRESS)  # where its bytecode is kept
    arguments = parser.parse_args()
    if not comfy_real.CHECKOUT:
        parser.error(comfy_real.REASON)
    if arguments.measure:
        with tempfile.TemporaryDirectory() as folder:
            loading = Loading(Path(folder), arguments.measure, arguments.compiled)
        print(json.dumps(loading.seconds))
        return
    print("| folder in custom_nodes | load | without pydantic | of that, CPU |")
    print("| --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as compiled:
        first = [run(NAMES[0], f"{compiled}/{k}") for k in range(arguments.runs)]
        tell(f"`{NAMES[0]}`, for the first time", first)
        for name in NAMES:
            run(name, f"{compiled}/0")  # is not counted
            tell(f"`{name}`", [run(name, f"{compiled}/0") for _ in range(arguments.runs)])


def run(name: str, compiled: str) -> dict[str, float]:
    """Seconds to load the pack from a folder of that name, a symlink to this one, in a new process
    that keeps bytecode in `compiled`."""
    command = [sys.executable, __file__, "--measure", name, "--compiled", compiled]
    environment = {**os.environ, "CYCLE_CORE_OFFLINE": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])  # before it are the host's messages


def tell(what: str, runs: list[dict[str, float]]) -> None:
    medians = [median(run[k] for run in runs) * 1000 for k in ("whole", "ours", "cpu")]
    print(f"| {what} | {' | '.join(f'{ms:.0f} ms' for ms in medians)} |", flush=True)


class Loading(comfy_real.Comfy):
    """A ComfyUI that measures how long it takes to load the pack."""

    def __init__(self, base: Path, name: str, compiled: str):
        self.name, self.compiled = name, compiled
        self.seconds: dict[str, float] = {}
        super().__init__(base)

    async def _load(self, folder: Path) -> bool:
        folder = folder.rename(folder.with_name(self.name))
        await self.nodes.init_public_apis()
        began = time.perf_counter()
        import comfy_config.config_parser  # noqa: F401

        sys.pycache_prefix = self.compiled
        clock, cpu = time.perf_counter(), time.process_time()
        loaded = await self.nodes.load_custom_node(str(folder))
        ended = time.perf_counter()
        cpu = time.process_time() - cpu
        self.seconds = {"whole": ended - began, "ours": ended - clock, "cpu": cpu}
        return loaded


if __name__ == "__main__":
    main()
