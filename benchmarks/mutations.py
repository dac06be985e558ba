"""Deliberate errors in the method, and whether its tests catch them.

    python benchmarks/mutations.py            # all: prints a line for each, fails if one survives
    python benchmarks/mutations.py refine:    # those whose name has this in it; encoder:, tune:,
                                              # project:, lpips:

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
ENCODER, ADVERSARY = "cycle_core/training/encoder.py", "cycle_core/training/latent_discriminator.py"
SCHEDULE, OPTIM = "cycle_core/training/schedule.py", "cycle_core/runtime/optim.py"
OBJECTIVE, SETTINGS = "cycle_core/invert/objective.py", "cycle_core/training/settings.py"
MODEL, PERCEPTUAL = "cycle_core/models/encoder.py", "cycle_core/measure/perceptual.py"
PROJECT, W_SCALE = "cycle_core/invert/project.py", "cycle_core/invert/w_scale.py"
REFINE, TUNE = "cycle_core/invert/refine.py", "cycle_core/invert/tune.py"
DESCENT, LOCALITY = "cycle_core/invert/descent.py", "cycle_core/invert/locality.py"
INVERTING = "cycle_core/invert/settings.py"


class Mutation(NamedTuple):
    name: str
    file: str
    old: str  # once in the file
    new: str
    tests: str


MUTATIONS = [
    Mutation(f"encoder: {name}", file, old, new, "tests/test_golden_encoder.py")
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
        ("learning rate ten times as high", ENCODER, "self._learning_rate(), part_losses",
         "10 * self._learning_rate(), part_losses"),
        ("pictures mirrored", ENCODER, "self._losses(image.to(", "self._losses(image.flip(3).to("),
        ("random noise", ENCODER, "made = self.render(codes)",
         'made = self.render(codes, noise="random")'),
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
        ("discriminator's rate", SETTINGS, "discriminator_learning_rate: float = setting(2e-5",
         "discriminator_learning_rate: float = setting(1e-4"),
        ("no centralisation", OPTIM, "if p.grad.ndim > 1:", "if False:"),
        ("no Lookahead", OPTIM, 'if int(state["step"]) % group["lookahead_steps"] == 0:',
         "if False:"),
        ("Lookahead of all the way", OPTIM, "lookahead_alpha: float = 0.5",
         "lookahead_alpha: float = 1.0"),
        ("Adam's betas", OPTIM, "(0.95, 0.999)", "(0.9, 0.999)"),
        ("delta loss, a mean over heads", ENCODER, "deltas.norm(dim=2).sum(1)",
         "deltas.norm(dim=2).mean(1)"),
        ("delta loss of whole vectors", ENCODER, "rows[:, 1 : stage + 1] - rows[:, :1]",
         "rows[:, 1 : stage + 1]"),
        ("delta loss of the wrong sign", ENCODER, "loss + phase.delta * losses",
         "loss - phase.delta * losses"),
        ("adversarial loss of the wrong sign", ADVERSARY, "F.softplus(-self.discriminator(active",
         "F.softplus(self.discriminator(active"),
        ("heads beyond the stage act", MODEL, "if i > stage:", "if False:"),
        ("heads that are off go on by momentum", ENCODER, "optimizer.zero_grad(set_to_none=True)",
         "optimizer.zero_grad(set_to_none=False)"),
        ("another stage is recorded", ENCODER, "self.encoder.stage = phase.stage",
         "self.encoder.stage = self.generator.num_ws - 1"),
        ("a part counts as a batch", ENCODER, '(losses["loss"] / len(parts)).backward()',
         'losses["loss"].backward()'),
        ("pictures clamped before they are compared", ENCODER, "made = self.render(codes)",
         "made = self.render(codes).clamp(-1, 1)"),
        ("losses at full size", ENCODER, "min(MAX_SIZE, generator.resolution)",
         "generator.resolution"),
        ("encoder without w_avg", ENCODER, "self.encoder.w_avg.copy_(generator.w_avg.",
         "self.encoder.w_avg.copy_(0 * generator.w_avg."),
        ("absolute differences", OBJECTIVE, "target.image).square().mean(",
         "target.image).abs().mean("),
        ("sums of squares", OBJECTIVE, "target.image).square().mean(",
         "target.image).square().sum("),
        ("no LPIPS", OBJECTIVE, "self.lpips * lpips + ", ""),
        ("never back to W", SCHEDULE, "w+=446k,tighten=146k,shrink=68k,w=36k", "w+=696k"),
        ("tightened after the way back", SCHEDULE, "tighten=146k,shrink=68k,w=36k",
         "shrink=68k,tighten=146k,w=36k"),
        ("tightened 10k steps late", SCHEDULE, "tightened += 1 + done", "tightened += done"),
        ("tightened on the way back too", SCHEDULE, 'if kind == "tighten":',
         'if kind in ("tighten", "shrink"):'),
        ("tightened every 5k steps", SCHEDULE, "_TIGHTEN_EVERY = 10_000",
         "_TIGHTEN_EVERY = 5_000"),
        ("delta loosened", SCHEDULE, "delta_factor: float = setting(1.2",
         "delta_factor: float = setting(0.8"),
        ("heads off all at once", SCHEDULE, "return stage - done * stage // length, 0",
         "return 0, 0"),
        ("real codes truncated", ADVERSARY, "generator.draw_inputs(count, rng))[:, 0]",
         "generator.draw_inputs(count, rng), truncation=0.7)[:, 0]"),
        ("discriminator's loss halved", ADVERSARY,
         "F.softplus(-on_real).mean() + F.softplus(on_fake).mean()",
         "(F.softplus(-on_real).mean() + F.softplus(on_fake).mean()) / 2"),
        ("hinge loss", ADVERSARY, "F.softplus(-on_real).mean() + F.softplus(on_fake).mean()",
         "F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()"),
        ("ReLUs of another slope", ADVERSARY, "nn.LeakyReLU(0.2)", "nn.LeakyReLU(0.01)"),
        ("three layers", ADVERSARY, "layers: int = 4", "layers: int = 3"),
        ("pools always exchange", ADVERSARY, "generator=self._rng) < 0.5",
         "generator=self._rng) < 1.0"),
        ("one pool for real and fake", ADVERSARY, 'self.pools["fake"](fake)',
         'self.pools["real"](fake)'),
        ("R1 by the length of the slope", ADVERSARY, "gradient.square().sum(1).mean()",
         "gradient.norm(dim=1).mean()"),
        ("R1 a mean over dimensions", ADVERSARY, "gradient.square().sum(1).mean()",
         "gradient.square().mean()"),
        ("R1 at the interval's end", ADVERSARY, "step % self.r1_interval == 0",
         "(step + 1) % self.r1_interval == 0"),
        ("discriminator's Adam as StyleGAN's", ADVERSARY,
         "discriminator.parameters(), learning_rate)",
         "discriminator.parameters(), learning_rate, (0.0, 0.99))"),
        ("no rectification", OPTIM, "class Ranger(_Lookahead, torch.optim.RAdam)",
         "class Ranger(_Lookahead, torch.optim.Adam)"),
        ("Ranger's epsilon", OPTIM, "eps: float = 1e-5,", "eps: float = 1e-8,"),
        ("vectors centralised", OPTIM, "if p.grad.ndim > 1:", "if p.grad.ndim > 0:"),
        ("centralised over all dimensions", OPTIM, "dim=tuple(range(1, p.grad.ndim))",
         "dim=tuple(range(p.grad.ndim))"),
        ("Lookahead every five steps", OPTIM, "lookahead_steps: int = 6",
         "lookahead_steps: int = 5"),
        ("Lookahead from the weights after the first step", OPTIM, 'state["slow"] = start[p]',
         'state["slow"] = p.clone()'),
    )
]  # fmt: skip
MUTATIONS += [
    Mutation(f"refine: {name}", file, old, new, "tests/test_golden_refine.py")
    for name, file, old, new in (
        ("learning rate ten times as high", REFINE, "WarmRanger(E.parameters(), settings",
         "WarmRanger(E.parameters(), 10 * settings"),
        ("last state for best", DESCENT, 'found["total"] < log[best[row]]["total"]', "True"),
        ("first state for best", DESCENT, 'found["total"] < log[best[row]]["total"]', "False"),
        ("M drawn once", REFINE, "        others = sample_domain()\n",
         '        others = vars(add_domain_gradients).setdefault("first", sample_domain())\n'),
        ("no Lookahead", OPTIM, 'if int(state["step"]) % group["lookahead_steps"] == 0:',
         "if False:"),
        ("Lookahead every five steps", OPTIM, "lookahead_steps: int = 6",
         "lookahead_steps: int = 5"),
        ("Lookahead from the weights after the first step", OPTIM, 'state["slow"] = start[p]',
         'state["slow"] = p.clone()'),
        ("no centralisation", OPTIM, "if p.grad.ndim > 1:", "if False:"),
        ("Adam's betas", OPTIM, "(0.95, 0.999)", "(0.9, 0.999)"),
        ("all heads on", REFINE, "w = E.encode(image, stage, G)", "w = E.encode(image, 5, G)"),
        ("all heads on for the M pictures", REFINE, "E.encode(part, stage, G)",
         "E.encode(part, 5, G)"),
        ("reg without 1 / M", REFINE, "settings.reg / len(others) *", "settings.reg *"),
        ("no reg", REFINE, "settings.reg / len(others) *", "0 *"),
        ("random noise", REFINE, 'rendered = G.synthesis(w, "const", size=size)',
         'rendered = G.synthesis(w, "random", size=size)'),
        ("no noise for the M pictures", REFINE, 'E.encode(part, stage, G), "const",',
         'E.encode(part, stage, G), "none",'),
        ("batch norm by the batch's statistics", REFINE, "trainable_copy(E), generator",
         "trainable_copy(E).train(), generator"),
        ("samples without truncation", REFINE, "truncation=settings.truncation", "truncation=1.0"),
        ("no identity loss", OBJECTIVE, " + self.identity * identity", ""),
        ("LPIPS weighs 1", INVERTING, "lpips: float = setting(0.8, \"weight of LPIPS\", low=0)\n"
         "    identity: float = setting(0.1, \"weight of the identity loss\", low=0)\n    space",
         "lpips: float = setting(1.0, \"weight of LPIPS\", low=0)\n"
         "    identity: float = setting(0.1, \"weight of the identity loss\", low=0)\n    space"),
        ("encoder not restored for the next picture", REFINE, "trainable_copy(E), generator",
         'vars(attempt).setdefault("E", trainable_copy(E)), generator'),
        ("rate falls", DESCENT, "        optimizer.step()\n",
         '        optimizer.param_groups[0]["lr"] *= 0.9\n        optimizer.step()\n'),
        ("one step fewer", DESCENT, "last = step == steps", "last = step == steps - 1"),
        ("without the picture's own loss", REFINE, "            terms.total.sum().backward()",
         "            (0 * terms.total.sum()).backward()"),
        ("M of a batch drawn with repeats", REFINE,
         "pictures[torch.randperm(len(pictures), generator=rng)[:count]]",
         "pictures[torch.randint(len(pictures), (count,), generator=rng)]"),
        ("the first M files", REFINE, "torch.randperm(len(files), generator=rng)[:count]",
         "torch.arange(len(files))[:count]"),
        ("always in W+", REFINE, "stage_of(E, settings.space)", 'stage_of(E, "W+")'),
        ("only heads move", REFINE, "WarmRanger(E.parameters()",
         "WarmRanger(E.styles.parameters()"),
        ("samples not clamped", REFINE, "torch.cat(parts).clamp(-1, 1)", "torch.cat(parts)"),
        ("samples with random noise", REFINE, 'G.synthesis(part, "const") for part',
         'G.synthesis(part, "random") for part'),
        ("losses at full size", OBJECTIVE, "size or MAX_SIZE)", "size)"),
        ("the M pictures at full size", REFINE, 'G), "const", size=size)',
         'G), "const")'),
        ("smaller pictures compared at full size", OBJECTIVE, "size or MAX_SIZE)", "MAX_SIZE)"),
        ("losses at 128 pixels", OBJECTIVE, "MAX_SIZE = 256", "MAX_SIZE = 128"),
        ("Lookahead of most of the way", OPTIM, "lookahead_alpha: float = 0.5",
         "lookahead_alpha: float = 0.8"),
        ("reg of 1", INVERTING, "reg: float = setting(7.0", "reg: float = setting(1.0"),
        ("M of 3", INVERTING, "images: int = setting(7,", "images: int = setting(3,"),
        ("20 steps", INVERTING, "steps: int = setting(15,", "steps: int = setting(20,"),
        ("a preset that is not the paper's", INVERTING, '"paper": RefineSettings(),',
         '"paper": RefineSettings(reg=1.0),'),
    )
]  # fmt: skip
MUTATIONS += [
    Mutation(f"tune: {name}", file, old, new, "tests/test_golden_tune.py")
    for name, file, old, new in (
        ("learning rate ten times as high", TUNE, "fused_adam(weights, settings.learning_rate",
         "fused_adam(weights, 10 * settings.learning_rate"),
        ("last state for best", DESCENT, 'found["total"] < log[best[row]]["total"]', "True"),
        ("best state not put back", TUNE, "    found.restore(weights)\n", ""),
        ("best of all but the last state", DESCENT, 'if log and found["total"]',
         'if log and not last and found["total"]'),
        ("alpha of 1", LOCALITY, "clamp(max=settings.locality_alpha)", "clamp(max=1.0)"),
        ("alpha beyond the sample", LOCALITY, "distance.clamp(max=settings.locality_alpha)",
         "torch.full_like(distance, settings.locality_alpha)"),
        ("alpha not of unit length", LOCALITY, "alpha / distance.clamp(min=1e-8)", "alpha"),
        ("locality at the sample", LOCALITY, "w_r = pivot + (w_z - pivot) * (alpha /",
         "w_r = w_z + 0 * (w_z - pivot) * (alpha /"),
        ("locality at the pivot", LOCALITY, "w_r = pivot + (w_z - pivot) * (alpha /",
         "w_r = pivot + 0 * (w_z - pivot) * (alpha /"),
        ("locality away from the sample", LOCALITY, "w_r = pivot + (w_z - pivot) * (alpha /",
         "w_r = pivot - (w_z - pivot) * (alpha /"),
        ("locality without truncation", LOCALITY, "truncation=settings.locality_truncation",
         "truncation=1.0"),
        ("locality with noise, tuned", LOCALITY, 'tuned(w_r, "none"', 'tuned(w_r, "const"'),
        ("locality with noise, original", LOCALITY, 'self.render(w_r, "none"',
         'self.render(w_r, "const"'),
        ("locality against itself", LOCALITY, 'self.render(w_r, "none"', 'tuned(w_r, "none"'),
        ("locality sampled once", LOCALITY, "self.original.draw_inputs(1, self.rng)",
         "self.original.draw_inputs(1, torch.Generator().manual_seed(4))"),
        ("locality of the first pivot alone", LOCALITY, "self.calls % len(self.pivots)", "0"),
        ("locality by L2 alone", LOCALITY, "settings.locality_l2, settings.locality_lpips",
         "settings.locality_l2, 0.0"),
        ("locality by LPIPS alone", LOCALITY, "settings.locality_l2, settings.locality_lpips",
         "0.0, settings.locality_lpips"),
        ("locality weighs 1", INVERTING, "locality_l2: float = setting(0.1",
         "locality_l2: float = setting(1.0"),
        ("no locality", TUNE, "(settings.locality_every * value).backward()",
         "(0 * settings.locality_every * value).backward()"),
        ("locality every k steps without the weight", TUNE,
         "(settings.locality_every * value).backward()", "value.backward()"),
        ("random noise", OBJECTIVE, 'render(w, "const", self.dtype)',
         'render(w, "random", self.dtype)'),
        ("no noise", OBJECTIVE, 'render(w, "const", self.dtype)', 'render(w, "none", self.dtype)'),
        ("sum over pictures", OBJECTIVE, "(terms.total.sum() / self.count)",
         "terms.total.sum()"),
        ("mean of each batch", OBJECTIVE, "(terms.total.sum() / self.count)",
         "terms.total.mean()"),
        ("only convolutions move", TUNE,
         "weights = list(G.synthesis.requires_grad_(True).parameters())",
         "weights = [p for p in G.synthesis.requires_grad_(True).parameters() if p.ndim == 4]"),
        ("Adam's betas of StyleGAN", INVERTING, '(0.9, 0.999), "of Adam; few',
         '(0.0, 0.99), "of Adam; few'),
        ("never stops", OBJECTIVE, 'bool(self.threshold) and losses["lpips"] <= self.threshold',
         "False"),
        ("stops at the total loss", OBJECTIVE, 'losses["lpips"] <= self.threshold',
         'losses["total"] <= self.threshold'),
        ("locality of the wrong sign", TUNE, "(settings.locality_every * value)",
         "(-settings.locality_every * value)"),
        ("alpha of the first style", LOCALITY, "distance = (w_z - pivot).norm()",
         "distance = (w_z - pivot)[:, 0].norm()"),
        ("alpha of 3", INVERTING, "locality_alpha: float = setting(\n        30.0",
         "locality_alpha: float = setting(\n        3.0"),
        ("locality's truncation", INVERTING, "locality_truncation: float = setting(0.5",
         "locality_truncation: float = setting(0.7"),
        ("pivot brought to W", TUNE, "w = like_weights(pivot.w, G)",
         "w = like_weights(pivot.w[:, :1].expand_as(pivot.w), G)"),
        ("losses at 256 pixels", TUNE, "Objective(settings.l2, settings.lpips, networks=networks)",
         "Objective(settings.l2, settings.lpips, networks=networks, max_size=256)"),
        ("weight decay", OPTIM, "rate, betas, fused=True",
         "rate, betas, weight_decay=1e-2, fused=True"),
        ("rate falls", DESCENT, "        optimizer.step()\n",
         '        optimizer.param_groups[0]["lr"] *= 0.9\n        optimizer.step()\n'),
        ("one step fewer", DESCENT, "last = step == steps", "last = step == steps - 1"),
        ("stops below the threshold alone", OBJECTIVE, 'losses["lpips"] <= self.threshold',
         'losses["lpips"] < self.threshold'),
        ("one threshold for all networks", TUNE,
         'getattr(networks.perceptual, "threshold", None) if networks.perceptual else 0.0', "0.07"),
        ("AlexNet's threshold", PERCEPTUAL, '"AlexNet": 0.07', '"AlexNet": 0.06'),
        ("another rate", INVERTING, "learning_rate: float = setting(3e-4",
         "learning_rate: float = setting(1e-3"),
        ("detail", INVERTING, "detail_steps: int = setting(0", "detail_steps: int = setting(80"),
        ("a preset that is not the paper's", INVERTING, '"paper": TuneSettings(),',
         '"paper": TuneSettings(locality=False),'),
    )
]  # fmt: skip
MUTATIONS += [
    Mutation(f"project: {name}", file, old, new, "tests/test_golden_project.py")
    for name, file, old, new in (
        ("no noise on w", PROJECT, "settings.initial_noise_factor * spread *",
         "0.0 * spread *"),
        ("noise by the deviation of one dimension", W_SCALE, ".square().sum(1).mean().sqrt()",
         ".square().mean().sqrt()"),
        ("noise to the end", PROJECT, "done(step) / settings.noise_ramp_length", "done(step)"),
        ("noise falls linearly", PROJECT, "settings.noise_ramp_length) ** 2",
         "settings.noise_ramp_length)"),
        ("noise is not in the code", PROJECT, "rendered, (w,))",
         "rendered, (w_opt.expand(-1, G.num_ws, -1),))"),
        ("rate does not rise", PROJECT, "return falling * (min(", "return falling + 0 * (min("),
        ("rate does not fall", PROJECT, "0.5 - 0.5 * math.cos(falling * math.pi)", "1.0"),
        ("rate falls linearly", PROJECT, "0.5 - 0.5 * math.cos(falling * math.pi)", "falling"),
        ("another rate", INVERTING, "learning_rate: float = setting(0.1",
         "learning_rate: float = setting(0.05"),
        ("W+ in place of W", PROJECT, 'if settings.space == "W" else begin', "if False else begin"),
        ("W in place of W+", PROJECT, 'if settings.space == "W" else begin', "if True else begin"),
        ("starts at zero", PROJECT, "mean = G.w_avg.expand(",
         "mean = 0 * G.w_avg.expand("),
        ("random noise maps", PROJECT, 'G.synthesis(w, "const")', 'G.synthesis(w, "random")'),
        ("last state for best", DESCENT, 'found["total"] < log[best[row]]["total"]', "True"),
        ("1000 steps", INVERTING, "steps: int = setting(1000", "steps: int = setting(500"),
    )
]  # fmt: skip
MUTATIONS += [
    Mutation(f"lpips: {name}", PERCEPTUAL, old, new, "tests/test_losses.py")
    for name, old, new in (
        ("features not of unit length", "x / (x.square()", "x + 0 / (x.square()"),
        ("absolute differences", "(x - y).square() *", "(x - y).abs() *"),
        ("all channels weigh the same", " * weight.view(-1, 1, 1)", ""),
        ("mean over channels", "difference.sum(1)", "difference.mean(1)"),
        ("sum over positions", ".mean((1, 2))", ".sum((1, 2))"),
    )
]  # fmt: skip


def main() -> int:
    torch.set_num_threads(1)
    torch.optim.Adam([torch.zeros(1)]).zero_grad()  # imports what the children share
    if lost := cannot_be_made():
        sys.exit("\n".join(lost))
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    chosen = [one for one in MUTATIONS if wanted in one.name]
    survivors = [one.name for one in chosen if not caught(one)]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} caught")
    return 1 if survivors else 0


def cannot_be_made() -> list[str]:
    """What there is to say of errors whose text is not once in its file any more."""
    return [
        f"{one.name}: {one.old!r} is not once in {one.file}"
        for one in MUTATIONS
        if (ROOT / one.file).read_text(encoding="utf-8").count(one.old) != 1
    ]


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
