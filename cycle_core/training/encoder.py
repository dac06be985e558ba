"""Train a cycle encoder: W -> W+ -> W.

    cycle-core train encoder --generator portraits --data FOLDER --out RUN --steps N
    torchrun --nproc-per-node 8 -m cycle_core.training.encoder ...the same options

Cycle Encoding (Mao et al. 2022), section 3: the generator stays as it is, and the encoder minimises

    l2 * L2 + lpips * LPIPS + identity * ID + adv * L_adv + delta * sum_i ||D_i||_2

at 256 px (or the generator's resolution, if that is smaller) over the stages and weights of
`cycle_core.schedule`. The noise is constant and no picture is mirrored. A run is a folder (see
`common`) that also holds `encoder.safetensors`; the same command resumes it, exactly to the bit on
a CPU, whatever ended it and when. Several processes give what one gives, to rounding.

`warmup` steps may come before the schedule: they regress the known w of generated pictures, as
many encoder trainings do, which saves most of a short run's W phase. The paper has none.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from ..invert.objective import Distance
from ..models.encoder import Encoder, EncoderConfig
from ..models.generator import Generator
from ..models.irse import IdentityNet
from ..runtime import distributed
from . import common
from .encoder_run import Run
from .encoder_settings import FREE, EncoderTraining

__all__ = ["EncoderTraining", "train"]
Callback = Callable[[int, int, "Tensor | None"], object]


def train(
    generator: Generator,
    data: str | Path,
    out: str | Path,
    settings: EncoderTraining,
    perceptual: Distance | None,
    identity: Distance | None,
    config: EncoderConfig | None = None,
    body: IdentityNet | None = None,
    callback: Callback | None = None,
) -> Encoder:
    """Train an encoder for `generator`, or resume in the folder `out`. Works on its device, and in
    all processes that `distributed.processes` joined.

    data: folder of a portrait data set, or of square aligned pictures. perceptual, identity: the
    networks of the losses (`load_perceptual`, `load_identity` or `load_moco`), None for a loss
    without them.
    config: of the encoder; chosen by the resolution if None. body: an identity network from whose
    body the encoder's starts.
    callback(step, total, preview): after every step; preview is None, or after a validation
    float [B,3,R,R], reconstructions of held-out pictures; an exception from it ends the run, which
    can be resumed from its last checkpoint.
    Gives the encoder, in evaluation mode, also written to `out/encoder.safetensors` with its last
    stage and the generator's fingerprint. Nothing that is passed in is changed.
    Raises InputError for impossible settings or another run's folder, MismatchError for a body of
    another shape, CycleError where the training diverges."""
    first = distributed.rank() == 0
    with distributed.together():
        out = common.make_run(out)
        state = common.load_checkpoint(out)
    known = "" if state is None else state.get("digest", "")
    run = Run(generator, data, settings, perceptual, identity, config, body, known)
    with distributed.together():
        if state is not None:
            stored = run.networks() | state["settings"]  # older checkpoints do not name them
            common.check_same(out, _fixed(stored), _fixed(run.describe()))
            run.load_state(state)
        log = common.Log(out, run.step, settings.tensorboard) if first else None
    del state  # gigabytes
    run.join()
    means = common.Means()
    while run.step < settings.total:
        means.add(**run.advance())
        preview = None
        saving = run.step == settings.total or run.step % settings.save_every == 0
        if saving or run.step % settings.log_every == 0:
            with distributed.together():
                losses = means.pop(run.step)
            losses = distributed.mean(losses)
            if log is not None:
                phase = run.phase(run.step - 1)  # the one that was trained, not the one to come
                log.write(run.step, phase=phase.name, stage=phase.stage, **losses)
        if saving:
            preview = _save(run, out, log)
        if callback is not None:
            callback(run.step, settings.total, preview)
    return run.encoder.eval().requires_grad_(False)


def _save(run: Run, out: Path, log: common.Log | None) -> Tensor | None:
    """Validate, and let the first process write what is there; gives a preview where there is one.

    The checkpoint comes last: what was written before it is written again if the run ends here."""
    measured, columns = run.validate()
    with distributed.together():
        if log is not None:
            log.write(run.step, validation=measured)
            log.save_grid(run.step, columns)
            run.export(out / "encoder.safetensors", measured)
            common.save_checkpoint(out, run.state())
    return list(columns.values())[-1] if columns else None


def _fixed(described: dict[str, Any]) -> dict[str, Any]:
    """What a resumed run must share; of a checkpoint that is older than a setting, its default."""
    described = {**asdict(EncoderTraining()), **described}
    return {name: value for name, value in described.items() if name not in FREE}


if __name__ == "__main__":
    from ..cli import main

    sys.exit(main(["train", "encoder", *sys.argv[1:]]))
