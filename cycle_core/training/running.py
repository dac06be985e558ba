"""How the training of a generator goes on: log, grids, checkpoints, in one process or several."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ..checkpoints.native import save_model
from ..models.generator import Generator
from ..runtime import distributed
from .common import Log, Means, check_same, load_checkpoint, make_run, save_checkpoint

_PARTS = ("generator", "average", "discriminator", "optimizer", "d_optimizer")
Callback = Callable[[int, int, "Tensor | None"], object]


class Run(Protocol):
    """The models, optimisers and counters of one training. What `step` draws at random depends on
    the seed and on `seen` alone: that makes resuming exact."""

    settings: Any  # a dataclass with `images`, `batch`, `every` and `tensorboard`
    seen: int  # images, by all processes together
    generator: Any
    average: Generator
    discriminator: Any
    optimizer: Any
    d_optimizer: Any

    def step(self) -> dict[str, Tensor]: ...
    def evaluate(self) -> tuple[dict[str, float], dict[str, Tensor]]: ...
    def export(self, path: Path, measured: dict[str, float]) -> None: ...

    def state(self) -> dict[str, Any]:
        """Everything that resuming needs."""
        parts = {name: getattr(self, name).state_dict() for name in _PARTS}
        return {"settings": asdict(self.settings), "seen": self.seen, **parts}

    def load_state(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"]
        for name in _PARTS:
            getattr(self, name).load_state_dict(state[name])


def follow(
    run: Run, out: str | Path, free: Collection[str], callback: Callback | None = None
) -> Generator:
    """Train (or resume) in the folder `out`; gives the averaged generator, also saved there as
    `generator.safetensors`.

    free: names of settings that may change when a run is resumed. callback(images seen, of all,
    preview): after every step; preview is None, or float [B,3,R,R] after a checkpoint.
    Raises InputError for another run's folder, CycleError where the training diverges."""
    first, settings = distributed.rank() == 0, run.settings
    with distributed.together():
        out = make_run(out)
    state = load_checkpoint(out)
    if state is not None:
        check_same(out, _without(state["settings"], free), _without(asdict(settings), free))
        run.load_state(state)
    log, means = None, Means()
    if first:
        log = Log(out, run.seen, settings.tensorboard)
    while run.seen < settings.images:
        means.add(**run.step())
        preview = None
        if run.seen % settings.every < settings.batch or run.seen >= settings.images:
            with distributed.together():
                values = means.pop(run.seen)
            values = distributed.mean(values)
            measured, columns = run.evaluate()
            preview = list(columns.values())[-1]
            if log is not None:
                log.write(run.seen, **measured, **values)
                log.save_grid(run.seen, columns)
                run.export(out / "generator.safetensors", measured)
                save_checkpoint(out, run.state())  # last: what comes before it is made anew
        if callback is not None:
            callback(run.seen, settings.images, preview)
    return run.average


@torch.no_grad()
def export(average: Generator, path: Path, seen: int, settings: Any, **metadata: str) -> None:
    """Save an averaged generator with its w_avg, the mean over 20,000 codes, which it gets, too."""
    random = torch.Generator().manual_seed(3)
    z = torch.randn(20_000, average.config.z_dim, generator=random).to(average.device)
    average.mapping.w_avg.copy_(average.mapping(z)[:, 0].mean(0))
    header = {
        "trained": f"{seen} images, seed {settings.seed}",
        "settings": repr(settings),
        **metadata,
    }
    save_model(path, "generator", average.config, average.state_dict(), header)


def _without(settings: dict[str, Any], free: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in free}
