"""The loop of every training: steps, log, grids, checkpoints, resuming, several processes.

    train(out, lambda digest: EncoderTrainer(...), callback)

A run is a folder:

    log.jsonl        one line of numbers for each logged step
    checkpoint.pt    everything that resuming needs, replaced atomically
    samples/*.png    grids of pictures while it trains
    tensorboard/     the same for TensorBoard, where asked for
    *.safetensors    the model as it is now

Of several processes only the first one writes. Resuming is exact to the bit on a CPU, whatever
ended the run: random numbers come from generators whose state is in the checkpoint, or are a
function of seed and step, as is the order of the data.
"""

from __future__ import annotations

import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..checkpoints.reading import load_all, read_file
from ..errors import CheckpointError, CycleError, InputError
from ..files.disk import locked, remove_unfinished, write_atomically
from ..files.json import fits
from ..run.results import make_folder
from ..runtime import distributed
from ..runtime.progress import Callback
from .log import LOG, Log, Means

CHECKPOINT = "checkpoint.pt"
Losses = dict[str, Tensor]


@dataclass(frozen=True)
class Stretch:
    """Steps of a run that are alike: `first`, and `count` of them; for `dry_run`.

    kind: steps of one kind cost what lies on a line through their `share`. values: what holds.
    stride: by which a step moves on."""

    name: str
    first: int
    count: int
    kind: str = "a step"
    share: float = 0.0
    values: Mapping[str, float] = field(default_factory=dict)
    stride: int = 1


class Trainer(ABC):
    """One training: its models, optimisers, random numbers and the step.

    settings: a `TrainingSettings`; of other settings a resumed run must have the same. step: steps,
    or images where a training counts those. digest: stands for the pictures, "" for none. rngs: the
    random generators whose state lasts from step to step."""

    PARTS: tuple[str, ...] = ()  # attributes of that name
    settings: Any
    device: torch.device
    unit: str = "steps"
    validated: int = 1  # pictures of a validation, where `validate` takes fewer of them
    step: int = 0
    digest: str = ""
    rngs: Mapping[str, torch.Generator] = {}

    @property
    def total(self) -> int:
        return self.settings.total

    @property
    def done(self) -> float:
        """Share of the run, 1 at its end."""
        return self.step / self.total if self.total else 1.0

    @abstractmethod
    def advance(self) -> Losses:
        """One step, which moves `step` on; gives the losses, scalars, of this process."""

    def parts(self) -> dict[str, Any]:
        """Models and optimisers by their names in the checkpoint: whatever has a `state_dict`."""
        return {name: getattr(self, name) for name in self.PARTS}

    def join(self) -> None:  # noqa: B027 - most have nothing to do
        """Let the processes train one model, once each of them has loaded the run's state."""

    def status(self) -> dict[str, Any]:
        """What the log has beside the losses: of the step that was made."""
        return {}

    def validate(self, count: int | None = None) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """(what the log gets, columns of a grid), the last column being the preview; both may be
        empty. Called in every process. count: of `validated` pictures, all if None."""
        return {}, {}

    def export(self, folder: Path, measured: dict[str, Any]) -> None:  # noqa: B027
        """Write the model as it is now; measured: by `validate`."""

    def stretches(self) -> Iterable[Stretch]:
        """The run in order, for `dry_run`."""
        return [Stretch("training", 0, self.total)]

    def facts(self) -> list[str]:
        """Lines that `dry_run` begins with."""
        return []

    def models(self) -> dict[str, nn.Module]:
        """Those that work in a step."""
        return {name: part for name, part in self.parts().items() if isinstance(part, nn.Module)}

    def describe(self) -> dict[str, Any]:
        """The settings of the run, in the checkpoint."""
        return asdict(self.settings)

    def from_older(self, stored: dict[str, Any]) -> dict[str, Any]:
        """The settings in a checkpoint, in today's words: what is newer has its default."""
        renamed = self.settings.RENAMED
        default = {f.name: f.default for f in fields(self.settings) if f.default is not MISSING}
        return {**default, **{renamed.get(name, name): value for name, value in stored.items()}}

    def state(self) -> dict[str, Any]:
        """Everything that resuming needs: nested dicts and lists of tensors, numbers, strings."""
        return {
            "step": self.step,
            "settings": json.loads(json.dumps(self.describe())),
            "digest": self.digest,
            "random": random_states(self.rngs),
            **{name: part.state_dict() for name, part in self.parts().items()},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where `state` was. Raises InputError where the pictures are others."""
        if state.get("digest", self.digest) != self.digest:  # older checkpoints have none
            raise InputError(
                "The run was started with other pictures than are in the folder now: give the "
                "folder as it was, or start a new run."
            )
        self.step = state["step"] if "step" in state else state["seen"]
        for name, part in self.parts().items():
            part.load_state_dict(state[name])
        if "random" in state:
            set_random_states(state["random"], self.rngs)


def _load(trainer: Trainer, state: dict[str, Any], folder: Path) -> None:
    try:
        trainer.load_state(state)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(
            f"{folder / CHECKPOINT} is no checkpoint of this training: delete it to start the run "
            "anew, or choose another folder."
        ) from error


Some = TypeVar("Some", bound=Trainer)


def train(out: str | Path, make: Callable[[str], Some], callback: Callback | None = None) -> Some:
    """Train in the folder `out`, or resume there, alone or as one of the processes that
    `distributed.processes` joined; gives the trainer.

    make(digest): makes the trainer; digest: of the pictures that the run in the folder has looked
    through, "" for a new run. callback: after every step, of steps or images, with a preview after
    a validation; an exception from it ends the run, which resumes from its last checkpoint.
    Raises InputError for another run's folder, CheckpointError for a damaged one, and CycleError
    where the training diverges."""
    with contextlib.ExitStack() as run:
        with distributed.raise_everywhere():
            folder = run.enter_context(open_run(out))
        return _train(folder, make, callback)


def _train(out: Path, make: Callable[[str], Some], callback: Callback | None) -> Some:
    with distributed.raise_everywhere():
        state = load_checkpoint(out)
    trainer = make("" if state is None else state.get("digest", ""))
    settings, log = trainer.settings, None
    with distributed.raise_everywhere():
        if state is not None:
            stored = trainer.from_older(state["settings"])
            check_same(out, stored, trainer.describe(), settings.FREE)
            _load(trainer, state, out)
        if distributed.rank() == 0:
            log = Log(out, trainer.step, settings.tensorboard)
    del state  # gigabytes
    trainer.join()
    means = Means()
    while trainer.done < 1:
        before = trainer.step
        means.add(**trainer.advance())
        preview = None
        saving = trainer.done >= 1 or _passes(before, trainer.step, settings.save_every)
        if saving or _passes(before, trainer.step, settings.log_every):
            with distributed.raise_everywhere():
                losses = means.pop(trainer.step)
            losses = distributed.mean(losses)
            measured, columns = trainer.validate() if saving else ({}, {})
            preview = list(columns.values())[-1] if columns else None
            with distributed.raise_everywhere():
                if log is not None:
                    log.write(trainer.step, **trainer.status(), **losses, **measured)
                    if columns:
                        log.save_grid(trainer.step, columns)
                    if saving:
                        trainer.export(out, measured)
                        save_checkpoint(out, trainer.state())  # last: the rest is made anew
        if callback is not None:
            callback(trainer.step, trainer.total, preview)
    return trainer


def _passes(before: int, now: int, every: int) -> bool:
    """Whether a multiple of `every` lies after `before` and not after `now`."""
    return before // every < now // every


# ------------------------------------------------------------------ the folder
@contextlib.contextmanager
def open_run(folder: str | Path) -> Iterator[Path]:
    """Make the folder of a run, and keep other programs out of it until the block ends.

    What a process left half-written that was killed while it wrote goes. Raises InputError where
    nothing can be written, or another program trains there."""
    folder = Path(folder)
    make_folder(folder)
    make_folder(folder / "samples")
    if distributed.rank():  # the first process writes, and has the lock for all
        yield folder
        return
    with contextlib.ExitStack() as lock:
        try:
            lock.enter_context(locked(folder, wait=False))
        except BlockingIOError as error:
            raise InputError(
                f"Another program is training in {folder}: wait until it ends, or choose another "
                "folder."
            ) from error
        remove_unfinished(folder, CHECKPOINT, LOG, "*.safetensors")
        yield folder


# ------------------------------------------------------------------ checkpoints
def save_checkpoint(folder: str | Path, state: Mapping[str, Any]) -> None:
    """Write `folder/checkpoint.pt`. The old one stays whole until the new one is.

    Raises InputError where that fails."""
    write_atomically(Path(folder) / CHECKPOINT, lambda path: torch.save(dict(state), path))


_STATE = {"settings": {str: object}, "step?": int, "seen?": int, "digest?": str}


def load_checkpoint(folder: str | Path) -> dict[str, Any] | None:
    """The state in `folder/checkpoint.pt`, on the CPU; None where there is no such file.

    Nothing in the file is executed. Raises CheckpointError where it is damaged."""
    path = Path(folder) / CHECKPOINT
    if not path.exists():
        return None
    try:
        state = load_all(read_file(path).data)
        json.dumps(state["settings"])
        if not fits(state, _STATE):
            raise TypeError
        return state
    except (CycleError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint: delete it to start the run anew, or choose "
            "another folder."
        ) from error


def check_same(
    path: Path, stored: Mapping[str, Any], given: Mapping[str, Any], free: Collection[str]
) -> None:
    """Raise InputError unless a run is resumed with the settings that it was started with, those
    that are `free` excepted."""
    stored, given = json.loads(json.dumps(stored)), json.loads(json.dumps(given))
    for name in sorted((stored.keys() | given.keys()) - set(free)):
        if stored.get(name) != given.get(name):
            raise InputError(
                f"The run in {path} was started with {name}={stored.get(name)}, but "
                f"{name}={given.get(name)} was given: resume with the same settings, or choose "
                "another folder."
            )


def random_states(rngs: Mapping[str, torch.Generator]) -> dict[str, Any]:
    """The states of torch's own random numbers (CPU and CUDA) and of named generators."""
    return {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "named": {name: rng.get_state() for name, rng in rngs.items()},
    }


def set_random_states(states: Mapping[str, Any], rngs: Mapping[str, torch.Generator]) -> None:
    """Undo: put back what `random_states` gave."""
    torch.set_rng_state(states["cpu"])
    if states["cuda"] and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
    for name, rng in rngs.items():
        rng.set_state(states["named"][name])
