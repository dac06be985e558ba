"""Memory of inverting and tuning: the most that a process holds that does nothing else.

In the process that compares, it would depend on what was measured before. Pictures do not matter,
and a few steps tell: later ones need no more.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..checkpoints.native import resolve
from ..checkpoints.registry import load_encoder, load_generator
from ..codes import Code
from ..errors import CycleError
from ..files.atomic import write_atomically
from ..files.weights import sha256
from ..invert.refine import RefineSettings
from ..invert.tune import TuneSettings, tune
from ..measure.networks import load_identity, load_perceptual
from ..runtime.devices import keep_memory, out_of_memory, peak_memory, release, say_once
from .methods import Encoded, Method, Models, Projected, Refined

STEPS = 3  # of each kind, where there would be more
_CHILD = "from cycle_core.bench.memory import answer; answer()"


@dataclass(frozen=True)
class Job:
    """Pictures inverted by a method, or tuned together.

    generator, encoder: as `load_generator` and `load_encoder` take them; losses: as the network
    of `load_perceptual`."""

    generator: str
    device: str
    what: Method | TuneSettings
    encoder: str | None = None
    pictures: int = 1
    losses: str = "auto"


def peaks(
    path: str | Path, jobs: Mapping[str, Job], told: Callable[[str], object] | None = None
) -> dict[str, int | None]:
    """{name of a job: bytes}, on a GPU of tensors, else of the whole process; None where a system
    does not tell, or the work failed. They are kept in a file, and measured where it lacks them.

    told(name): before a job is measured."""
    path = Path(path)
    known = _read(path)
    found: dict[str, int | None] = {}
    digests: dict[str, str] = {}
    for name, job in jobs.items():
        if peak_memory(torch.device(job.device)) is None:
            found[name] = None
            continue
        facts = _facts(job, digests)
        if facts not in known:
            if told is not None:
                told(name)
            found[name] = peak(job)
            if found[name] is None:
                continue  # perhaps it can be measured the next time
            known[facts] = found[name]
            text = json.dumps(known, indent=1)
            write_atomically(path, lambda to, text=text: to.write_text(text + "\n"))
        found[name] = known[facts]
    return found


def peak(job: Job) -> int | None:
    """Bytes, as `peaks` has them, of one job in a process of its own."""
    release(torch.device(job.device))  # on a GPU both need room
    package = str(Path(__file__).parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    child = subprocess.run(
        [sys.executable, "-c", _CHILD],
        input=_written(job),
        text=True,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        check=False,
    )
    try:
        return int(child.stdout.split()[-1])
    except (IndexError, ValueError):
        say_once("The memory of some work could not be measured: its process ended with an error.")
        return None


def answer() -> None:
    """The process of one job, which comes from the process that measures."""
    job = _read_job(sys.stdin.read())
    keep_memory()  # as the command line does
    try:
        work(job)
    except (CycleError, RuntimeError, MemoryError) as error:
        if not isinstance(error, CycleError) and not out_of_memory(error):
            raise
        sys.exit(str(error))
    print(peak_memory(torch.device(job.device)))


def work(job: Job) -> None:
    """Invert or tune."""
    G = load_generator(job.generator, job.device)
    shape = job.pictures, 3, G.resolution, G.resolution
    image = torch.rand(shape, device=G.device) * 2 - 1
    if isinstance(job.what, TuneSettings):
        settings = replace(
            job.what,
            steps=min(STEPS, job.what.steps),
            detail_steps=min(STEPS, job.what.detail_steps),
            threshold=0.0,
        )
        w = G.w_avg.expand(job.pictures, G.num_ws, -1)
        perceptual = load_perceptual("loss", job.losses).to(G.device)
        tune(G, Code(w, "W"), image, settings, perceptual=perceptual)
        return
    encoder = None if job.encoder is None else load_encoder(job.encoder, G.device, G)
    perceptual = identity = None
    if job.what.steps:
        perceptual = load_perceptual("loss", job.losses).to(G.device)
        identity = load_identity("loss", job.losses).to(G.device)
    models = Models(G, encoder, perceptual, identity)
    job.what.pivots(models, image, min(STEPS, job.what.steps), seed=0)


def _read(path: Path) -> dict[str, int | None]:
    """What a file holds, nothing where it is no file of `peaks`: it is made anew."""
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    known = known if isinstance(known, dict) else {}
    return {facts: count for facts, count in known.items() if isinstance(count, int)}


def _facts(job: Job, digests: dict[str, str]) -> str:
    """What a job is, with the content of its generator and encoder in place of their names."""

    def digest(name: str, kind: str) -> str:
        file = str(resolve(name, kind))
        digests[file] = digests.get(file) or sha256(file)
        return digests[file]

    encoder = job.encoder and digest(job.encoder, "encoder")
    of = replace(job, generator=digest(job.generator, "generator"), encoder=encoder)
    return f"{_written(of)}, torch {torch.__version__}"


def _written(job: Job) -> str:
    """A job as JSON, for another process."""
    return json.dumps(asdict(job), default=str)  # a dtype as "torch.bfloat16"


def _read_job(text: str) -> Job:
    fields: dict[str, Any] = json.loads(text)
    what: dict[str, Any] = fields["what"]
    if "run" not in what:
        what["betas"] = tuple(what["betas"])
        what["dtype"] = what["dtype"] and getattr(torch, what["dtype"].removeprefix("torch."))
        fields["what"] = TuneSettings(**what)
        return Job(**fields)
    if "settings" in what["run"]:
        what["run"] = Refined(RefineSettings(**what["run"]["settings"]))
    else:
        what["run"] = (Encoded if what["encoder"] else Projected)(**what["run"])
    fields["what"] = Method(**what)
    return Job(**fields)
