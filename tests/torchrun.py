"""Starts real processes by torchrun, on this machine alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def start(processes: int, *program: object, restarts: int = 0) -> subprocess.Popen[str]:
    """`torchrun --nproc-per-node PROCESSES PROGRAM...` on the CPU, which says into pipes.

    program: a file or `-m` and a module, and its arguments."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += [f"--nproc-per-node={processes}", f"--max-restarts={restarts}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [*launcher, "--monitor-interval=0.1", *map(str, program)],
        env=environment,
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def workers(job: subprocess.Popen[str]) -> list[int]:
    """The numbers of the processes that torchrun has started."""
    found = subprocess.run(["pgrep", "-P", str(job.pid)], capture_output=True, check=True)
    return [int(line) for line in found.stdout.split()]
