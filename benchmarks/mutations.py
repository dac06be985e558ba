"""Deliberate errors in the method, and whether its tests catch them.

    python benchmarks/mutations.py            # all: prints a line for each, fails if one survives
    python benchmarks/mutations.py encoder    # those whose name has this in it

Each is made in a copy of the working tree, in which the tests that should notice it are run. A new
one is a line of MUTATIONS.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest
import torch

ROOT = Path(__file__).parents[1]
ENCODER, ADVERSARY = "cycle_core/training/encoder.py", "cycle_core/training/adversary.py"
SCHEDULE, OPTIM = "cycle_core/training/schedule.py", "cycle_core/runtime/optim.py"
OBJECTIVE, SETTINGS = "cycle_core/invert/objective.py", "cycle_core/training/settings.py"
GOLDEN = "tests/test_golden_encoder.py"


class Mutation(NamedTuple):
    name: str
    file: str
    old: str  # once in the file
    new: str
    tests: str


MUTATIONS = [
    Mutation(f"encoder: {name}", file, old, new, GOLDEN)
    for name, file, old, new in (
        ("no delta loss", ENCODER, "loss + phase.delta * losses", "loss + 0 * losses"),
        ("no adversarial loss", ENCODER, "loss + phase.adv * losses", "loss + 0 * losses"),
        ("delta loss of all heads", ENCODER, "delta_loss(offsets, phase.stage)",
         "delta_loss(offsets, offsets.shape[1] - 1) * 2"),
        ("delta loss squared", ENCODER, "deltas.norm(dim=2).sum(1)", "deltas.square().sum((1, 2))"),
        ("all heads on", ENCODER, "self.encoder.resize(image), phase.stage)",
         "self.encoder.resize(image), self.generator.num_ws - 1)"),
        ("one head too many", ENCODER, "self.encoder.resize(image), phase.stage)",
         "self.encoder.resize(image), min(phase.stage + 1, self.generator.num_ws - 1))"),
        ("learning rate ten times as high", ENCODER, "self._lr(), part_losses",
         "10 * self._lr(), part_losses"),
        ("pictures mirrored", ENCODER, "self._losses(image.to(", "self._losses(image.flip(3).to("),
        ("random noise", ENCODER, 'codes, noise="const")\n            terms',
         'codes, noise="random")\n            terms'),
        ("batch norm by running statistics", ENCODER, "self.encoder.train()",
         "self.encoder.eval()"),
        ("generator's codes without w_avg", ENCODER, "codes = w_avg + offsets", "codes = offsets"),
        ("w_avg missing on the encoder's side", ENCODER, "self.adversary.loss(codes,",
         "self.adversary.loss(offsets,"),
        ("w_avg missing on the fake side", ENCODER, "distributed.gather(made.detach())",
         "distributed.gather((made - self.encoder.w_avg).detach())"),
        ("discriminator learns from codes after the step", ENCODER,
         "self.adversary.train(torch.cat(codes),",
         "self.adversary.train(self._losses(batch[0].to(codes[0]), phase)[0],"),
        ("discriminator learns before the encoder", ENCODER,
         "            codes.append(distributed.gather(made.detach()))\n            return losses\n",
         "            codes.append(distributed.gather(made.detach()))\n"
         "            self.adversary.train(codes[0], phase.stage, self.step)\n"
         "            return self._losses(image.to(self.encoder.w_avg), phase)[1]\n"),
        ("squared differences weigh twice", SETTINGS, "l2: float = setting(1.0",
         "l2: float = setting(2.0"),
        ("LPIPS weighs 1", SETTINGS, "lpips: float = setting(0.8", "lpips: float = setting(1.0"),
        ("no identity loss", OBJECTIVE, " + self.identity * identity", ""),
        ("first delta weight", SCHEDULE, "delta: float = setting(2e-4",
         "delta: float = setting(2e-3"),
        ("delta not tightened", SCHEDULE, "settings.delta * settings.delta_factor**tightened",
         "settings.delta"),
        ("adversarial weight kept", SCHEDULE, "settings.adv * settings.adv_factor**tightened",
         "settings.adv"),
        ("heads all at once", SCHEDULE, "stage + 1 + done * (last - stage) // length", "last"),
        ("real and fake swapped", ADVERSARY,
         "on_real, on_fake = self.discriminator(real), self.discriminator(fake)",
         "on_real, on_fake = self.discriminator(fake), self.discriminator(real)"),
        ("saturating loss", ADVERSARY, "F.softplus(-self.discriminator(active",
         "-F.softplus(self.discriminator(active"),
        ("all vectors judged", ADVERSARY, "codes[:, : stage + 1]", "codes"),
        ("only w_0 is fake", ADVERSARY, "torch.randint(stage + 1, (batch,), generator=self.rng)",
         "0 * torch.randint(stage + 1, (batch,), generator=self.rng)"),
        ("pools ignored", ADVERSARY, 'self.pools["real"](real), self.pools["fake"](fake)',
         "real, fake"),
        ("pools of 5", SETTINGS, "pool: int = setting(50", "pool: int = setting(5"),
        ("no R1", ADVERSARY, "if step % self.r1_interval == 0", "if False"),
        ("R1 without the interval's factor", ADVERSARY, "self.r1_gamma / 2 * self.r1_interval",
         "self.r1_gamma / 2"),
        ("R1 without the half", ADVERSARY, "self.r1_gamma / 2 *", "self.r1_gamma *"),
        ("R1 at every step", ADVERSARY, "step % self.r1_interval == 0", "True"),
        ("R1 of the fake vectors", ADVERSARY, "r1_penalty(self.discriminator, real)",
         "r1_penalty(self.discriminator, fake)"),
        ("R1 in place of the step", ADVERSARY, "        self._update(loss)\n        if step",
         "        if step % self.r1_interval:\n            self._update(loss)\n        if step"),
        ("equalised layers", ADVERSARY, "from ..errors import InputError\n",
         "from ..errors import InputError\nfrom ..models import layers\n\n"
         "nn.Linear = layers.Linear\n"),
        ("discriminator's rate", SETTINGS, "discriminator_lr: float = setting(2e-5",
         "discriminator_lr: float = setting(1e-4"),
        ("no centralisation", OPTIM, "if p.grad.ndim > 1:", "if False:"),
        ("no Lookahead", OPTIM, 'if int(state["step"]) % group["lookahead_steps"] == 0:',
         "if False:"),
        ("Lookahead of all the way", OPTIM, "lookahead_alpha: float = 0.5",
         "lookahead_alpha: float = 1.0"),
        ("Adam's betas", OPTIM, "(0.95, 0.999)", "(0.9, 0.999)"),
    )
]  # fmt: skip


def main() -> int:
    torch.set_num_threads(1)
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    chosen = [one for one in MUTATIONS if wanted in one.name]
    survivors = [one.name for one in chosen if not caught(one)]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} caught")
    return 1 if survivors else 0


def caught(mutation: Mutation) -> bool:
    """Whether the tests fail with the error; that they pass without it is the suite's to say."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("cycle_core", "tests", "pyproject.toml"):
            path = Path(folder, name)
            if (ROOT / name).is_file():
                path.symlink_to(ROOT / name)
            else:
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, path, ignore=ignored, copy_function=os.symlink)
        path = Path(folder, mutation.file)
        text = path.read_text(encoding="utf-8")
        if text.count(mutation.old) != 1:
            sys.exit(f"{mutation.name}: {mutation.old!r} is not once in {mutation.file}")
        path.unlink()
        path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
        log = Path(folder, "log")
        child = os.fork()  # which has torch already: importing it takes longer than the tests
        if not child:
            run_tests(Path(folder), mutation.tests.split(), log)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said = log.read_text(encoding="utf-8")
    if status not in (0, 1):
        sys.exit(f"{mutation.name}: the tests could not run\n{said}")
    reason = [line[1:].strip() for line in said.splitlines() if line.startswith("E  ")][:1]
    print(f"{'caught' if status else 'SURVIVES':9} {mutation.name}:", *reason, flush=True)
    return status == 1


def run_tests(folder: Path, tests: list[str], log: Path) -> NoReturn:
    """The child's part: never to come back."""
    stream = log.open("w", encoding="utf-8")
    os.dup2(stream.fileno(), 1)
    os.dup2(stream.fileno(), 2)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    status = pytest.main(["-q", "-x", "-p", "no:cacheprovider", *tests])
    sys.stdout.flush()
    os._exit(int(status))


if __name__ == "__main__":
    sys.exit(main())
