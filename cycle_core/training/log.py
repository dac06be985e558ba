"""What a training reports: lines of numbers in `log.jsonl`, grids of pictures, TensorBoard."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CycleError, InputError
from ..files.disk import write_atomically
from ..images.io import read_image, save_image
from ..images.sheet import contact_sheet

LOG = "log.jsonl"


class Log:
    """Appends JSON lines to `folder/log.jsonl`, each with its step and the seconds of this process.

    step: where the run resumes. Lines of later steps, whose work was lost, are dropped, so that
    the file reads as if nothing had been interrupted. tensorboard: the same into
    `folder/tensorboard`; InputError where TensorBoard is not installed."""

    def __init__(self, folder: str | Path, step: int = 0, tensorboard: bool = False):
        self.path = Path(folder) / LOG
        self._board = _open_board(self.path.with_name("tensorboard"), step) if tensorboard else None
        self._begin = time.monotonic()
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines()
            kept = "".join(f"{line}\n" for line in lines if _logged_step(line) <= step)
            kept = kept if step else ""  # a new run in an old folder
            write_atomically(self.path, lambda path: path.write_text(kept, encoding="utf-8"))

    def write(self, step: int, **values: Any) -> None:
        """Append one line; tensors of one element become numbers, numbers are shortened."""
        line = {"step": step, "seconds": round(time.monotonic() - self._begin, 1)}
        line.update({name: _plain(value) for name, value in values.items()})
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._board is not None:
            for name, value in _numbers(line):
                self._board.add_scalar(name, value, step)
            self._board.flush()

    def save_grid(self, step: int, columns: Mapping[str, Tensor]) -> None:
        """`save_grid` into `samples/`, under the step's number."""
        path = save_grid(self.path.parent / "samples" / f"{step:08d}.png", columns)
        if self._board is not None:
            picture = (read_image(path)[0] + 1) / 2
            self._board.add_image("samples", picture, step)
            self._board.flush()


def save_grid(path: str | Path, columns: Mapping[str, Tensor]) -> Path:
    """Write a labelled grid: one column for each name, one row for each picture. Gives the path.

    columns: float [B,3,H,W] in about [-1,1], clamped; small pictures become 64 pixels wide."""
    batches = [column.detach().float().cpu().clamp(-1, 1) for column in columns.values()]
    rows: Sequence[Sequence[Tensor]] = [
        [batch[i : i + 1] for batch in batches] for i in range(min(len(b) for b in batches))
    ]
    width = max(64, max(b.shape[-1] for b in batches))
    return save_image(contact_sheet(rows, list(columns), cell=width), path)


class Means:
    """Running means of named scalars, collected on the device without waiting for it."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor, int]] = {}

    def add(self, **values: Tensor | float) -> None:
        for name, value in values.items():
            total, count = self._sums.get(name, (0.0, 0))
            value = value.detach() if isinstance(value, Tensor) else torch.tensor(float(value))
            self._sums[name] = (total + value, count + 1)

    def pop(self, step: int) -> dict[str, float]:
        """The means since the last call. Raises CycleError where one is not finite."""
        means = {name: float(total) / count for name, (total, count) in self._sums.items()}
        self._sums.clear()
        bad = [name for name, mean in means.items() if not math.isfinite(mean)]
        if bad:
            raise CycleError(
                f"The training diverged before step {step}: {', '.join(bad)} is not a finite "
                "number; resume from the last checkpoint with a lower learning rate."
            )
        return means


def _open_board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            "TensorBoard is not installed here: `pip install tensorboard`, or do "
            "without; the log is in log.jsonl, too."
        ) from error
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)


def _numbers(values: Mapping[str, Any], group: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a line of the log, those of a group under its name: validation/W/mse."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{group}{name}/")
        elif isinstance(value, int | float) and name not in ("step", "seconds"):
            yield group + name, float(value)


def _logged_step(line: str) -> float:
    try:
        step = json.loads(line)["step"]
        return step if isinstance(step, int | float) else math.inf
    except (ValueError, LookupError, TypeError, RecursionError):
        return math.inf  # half a line, from a process that was killed


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        value = value.item()
    return float(f"{value:.6g}") if isinstance(value, float) else value
