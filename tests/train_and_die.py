"""A training whose last process is killed once, for torchrun: `train_and_die.py DATA OUT SETTINGS`.

It dies without warning at its 5th step. Started again, it goes on to the end."""

from __future__ import annotations

import json
import os
import signal
import sys

import torch

from cycle_core.runtime import distributed
from cycle_core.training.generator import train
from cycle_core.training.settings import AdversarialTraining

if __name__ == "__main__":
    data, out, settings = sys.argv[1], sys.argv[2], AdversarialTraining(**json.loads(sys.argv[3]))
    doomed = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    torch.set_num_threads(1)

    def die(seen: int, total: int, preview: object) -> None:
        last = distributed.rank() == distributed.world_size() - 1
        if doomed and last and seen == 5 * settings.batch:
            os.kill(os.getpid(), signal.SIGKILL)

    with distributed.processes("cpu"):
        train(data, out, settings, die)
