"""What every training script needs: log, checkpoints, grids, averages, random states, data order.

A run is a folder:

    log.jsonl        one line of numbers for each logged step
    checkpoint.pt    everything that resuming needs, replaced atomically
    samples/*.png    grids of pictures while it trains
    tensorboard/     the same for TensorBoard, where asked for

Of several processes only the first one writes. Resuming is exact to the bit on a CPU: random
numbers come from generators whose state is in the checkpoint, and the order of the data is a pure
function of seed and step.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, CycleError, InputError
from ..files.atomic import write_atomically
from ..images.io import read_image, save_image
from ..images.sheet import contact_sheet
from ..run.results import make_folder
from ..runtime import distributed

Item = TypeVar("Item")
CHECKPOINT, LOG = "checkpoint.pt", "log.jsonl"
_locked: dict[Path, int] = {}  # folders of runs, until this process ends


def make_run(folder: str | Path) -> Path:
    """Make the folder of a run, and keep other programs out of it until this one ends.

    Half-written files go, which a process left that was killed while it wrote.
    Raises InputError where nothing can be written, or another program trains there."""
    folder = Path(folder)
    make_folder(folder)
    make_folder(folder / "samples")
    if distributed.rank() == 0:  # the others may come when it has begun to write
        _lock(folder)
        # the last pattern is of safetensors, which writes to a file of its own first
        for pattern in (f".{CHECKPOINT}.*", f".{LOG}.*", ".*.safetensors.*", ".tmp??????"):
            for path in folder.glob(pattern):
                path.unlink(missing_ok=True)
    return folder


def _lock(folder: Path) -> None:
    """By a lock on the folder itself, which leaves no file and which the system lifts even where
    this process is killed. On Windows, and on disks without locks, there is none."""
    try:
        import fcntl
    except ImportError:
        return
    folder = folder.resolve()
    if folder in _locked:
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise InputError(
            f"Another program is training in {folder}: wait until it ends, or choose another --out."
        ) from error
    except OSError:
        os.close(handle)
    else:
        _locked[folder] = handle


# ------------------------------------------------------------------ log
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


def _open_board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            "TensorBoard is not installed here: `pip install tensorboard`, or leave --tensorboard "
            "out; the log is in log.jsonl, too."
        ) from error
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)


def _numbers(values: Mapping[str, Any], group: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a line of the log, those of a group under its name: validation/W/mse."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{group}{name}/")
        elif isinstance(value, int | float) and name not in ("step", "seconds"):
            yield group + name, float(value)


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


# ------------------------------------------------------------------ checkpoints
def save_checkpoint(folder: str | Path, state: Mapping[str, Any]) -> None:
    """Write `folder/checkpoint.pt`: nested dicts and lists of tensors, numbers and strings.

    The old checkpoint stays whole until the new one is. Raises InputError where that fails."""
    write_atomically(Path(folder) / CHECKPOINT, lambda path: torch.save(dict(state), path))


def load_checkpoint(folder: str | Path) -> dict[str, Any] | None:
    """The state in `folder/checkpoint.pt`, on the CPU; None where there is no such file.

    Nothing in the file is executed. Raises CheckpointError where it is damaged."""
    path = Path(folder) / CHECKPOINT
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds for damaged files
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}): delete it to start "
            "the run anew, or choose another folder."
        ) from error


def check_same(path: str | Path, stored: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Raise InputError unless a run is resumed with the settings that it was started with."""
    stored, given = json.loads(json.dumps(stored)), json.loads(json.dumps(given))
    for name in sorted(stored.keys() | given.keys()):
        if stored.get(name) != given.get(name):
            raise InputError(
                f"The run in {path} was started with {name}={stored.get(name)}, but "
                f"{name}={given.get(name)} was given: resume with the same settings, or choose "
                "another folder."
            )


def random_states(generators: Mapping[str, torch.Generator] | None = None) -> dict[str, Any]:
    """The states of torch's own random numbers (CPU and CUDA) and of named generators."""
    return {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "named": {name: g.get_state() for name, g in (generators or {}).items()},
    }


def set_random_states(
    states: Mapping[str, Any], generators: Mapping[str, torch.Generator] | None = None
) -> None:
    """Undo: put back what `random_states` gave."""
    torch.set_rng_state(states["cpu"])
    if states["cuda"] and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
    for name, generator in (generators or {}).items():
        generator.set_state(states["named"][name])


# ------------------------------------------------------------------ data order
class Order:
    """Endless shuffled indices as a pure function of (seed, step): nothing to save or restore.

    Every epoch is a new permutation of 0..count-1; a batch may span two epochs. The last
    permutations are remembered, which changes nothing but speed."""

    def __init__(self, count: int, batch: int, seed: int = 0):
        if count < 1 or batch < 1:
            raise InputError(
                f"A training needs at least one picture and a batch of at least one, but there "
                f"are {count} pictures and the batch is {batch}."
            )
        self.count, self.batch, self.seed = count, batch, seed
        self._epochs: dict[int, Tensor] = {}

    def __call__(self, step: int) -> Tensor:
        """The indices of the batch of `step` (0, 1, ...), int64 [batch]."""
        places = range(step * self.batch, (step + 1) * self.batch)
        return torch.stack([self._epoch(k // self.count)[k % self.count] for k in places])

    def _epoch(self, epoch: int) -> Tensor:
        if epoch not in self._epochs:
            if len(self._epochs) > 1:
                del self._epochs[min(self._epochs)]
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._epochs[epoch] = torch.randperm(self.count, generator=generator)
        return self._epochs[epoch]


class Ahead(Generic[Item]):
    """`read(step)`, a pure function, in a thread of its own: while a step is computed, what the
    next one needs is read. An error comes out of the call that needs what could not be read."""

    def __init__(self, read: Callable[[int], Item]):
        self._read, self._thread = read, ThreadPoolExecutor(1)
        self._coming: tuple[int, Future[Item]] | None = None

    def __call__(self, step: int) -> Item:
        if self._coming is None or self._coming[0] != step:
            self._coming = step, self._thread.submit(self._read, step)
        value = self._coming[1].result()
        self._coming = step + 1, self._thread.submit(self._read, step + 1)
        return value


# ------------------------------------------------------------------ averages and pictures
@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Exponential moving average of parameters; buffers (batch statistics) are copied.

    average <- decay * average + (1 - decay) * model."""
    for ours, theirs in zip(average.parameters(), model.parameters(), strict=True):
        ours.lerp_(theirs, 1 - decay)
    for ours, theirs in zip(average.buffers(), model.buffers(), strict=True):
        ours.copy_(theirs)


def average_decay(images: int, batch: int, half_life: int = 4000, ramp: float = 0.1) -> float:
    """Decay of one step, after `images` images were seen: the half-life, in images, grows with
    `ramp * images` up to `half_life`, so that an early average is not the initialisation."""
    return 0.5 ** (batch / max(batch, min(half_life, images * ramp)))


def save_grid(path: str | Path, columns: Mapping[str, Tensor], cell: int | None = None) -> Path:
    """Write a labelled grid: one column for each name, one row for each picture. Gives the path.

    columns: float [B,3,H,W] in about [-1,1], clamped. cell: width of a picture on the sheet, at
    least 64; its own width if None."""
    batches = [column.detach().float().cpu().clamp(-1, 1) for column in columns.values()]
    rows: Sequence[Sequence[Tensor]] = [
        [batch[i : i + 1] for batch in batches] for i in range(min(len(b) for b in batches))
    ]
    width = cell or max(64, max(b.shape[-1] for b in batches))
    return save_image(contact_sheet(rows, list(columns), cell=width), path)


def autocast(device: torch.device, bf16: bool) -> torch.autocast:
    """bfloat16 arithmetic where asked for: on CUDA, and on CPUs that multiply it in hardware. Some
    virtual CPUs announce that they do, and trap."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)


def _logged_step(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return math.inf  # half a line, from a process that was killed


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        value = value.item()
    return float(f"{value:.6g}") if isinstance(value, float) else value
