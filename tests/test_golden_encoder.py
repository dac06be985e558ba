"""The encoder's training against references of a few lines, written from the papers: every step of
a small cycle, on tiny networks in float64. What the method is, is here once more, in its own words:

- Cycle Encoding (Mao et al. 2022), section 3: losses, weights, heads of each stage, discriminator;
- Ranger: RAdam (Liu et al. 2020, algorithm 2), gradient centralisation (Yong et al. 2020), and
  Lookahead (Zhang et al. 2019, algorithm 1);
- R1 (Mescheder et al. 2018), lazily (Karras et al. 2020); pools (Shrivastava et al. 2017).

`benchmarks/mutations.py` has the errors that this catches."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import golden
import pytest
import torch
import torch.nn.functional as F
from golden import IDENTITY, LPIPS, gradients
from torch import Tensor

from cycle_core.images.io import save_image
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config
from cycle_core.training.data import Order
from cycle_core.training.encoder import EncoderTrainer
from cycle_core.training.settings import EncoderTraining

G, double = golden.G, golden.double
STEPS, BATCH = 24, 4  # 16 steps of R1, and pools of 50 that are full after 13
# (stage, tightenings) of every step: 20k, 34k, 446k, 146k, 68k and 36k of 750k in 24 parts, N = 6
STAGES = [(0, 0), (2, 0), *[(5, 0)] * 14, (5, 1), (5, 4), (5, 7), (5, 10), (5, 13), (5, 15),
          (2, 15), (0, 15)]  # fmt: skip


class Reference:
    """The step on copies of the networks: E the encoder, G the generator, D the discriminator."""

    def __init__(self, trainer: EncoderTrainer, seed: int):
        self.E, self.G = copy.deepcopy(trainer.encoder), trainer.generator
        discriminator = trainer.adversary.discriminator
        self.D = [p.detach().clone().requires_grad_() for p in discriminator.parameters()]
        self.w_avg = self.G.w_avg
        self.rng = torch.Generator().manual_seed(seed)
        self.pools = [(torch.Generator().manual_seed(i), []) for i in range(2)]
        self.slots: dict[Tensor, dict] = {}  # state of the optimisers

    def step(self, parts: Sequence[Tensor], number: int, stage: int, tightenings: int) -> None:
        delta, adv = 2e-4 * 1.2**tightenings, 0.1 * 0.5**tightenings
        losses, codes = zip(*(self.losses(part, stage, delta, adv) for part in parts), strict=True)
        mean, weights = torch.stack(losses).mean(), list(self.E.parameters())
        for p, g in zip(weights, gradients(mean, weights), strict=True):
            if g is not None and g.any():  # a head that is off rests
                self.ranger(p, g)
        self.discriminate(torch.cat(codes).detach(), stage, number)

    def losses(self, image: Tensor, stage: int, delta: float, adv: float) -> tuple[Tensor, Tensor]:
        """(the encoder's loss, the codes)"""
        rows = self.E.train()(image, 5)  # w_0 + D_i of all heads
        deltas = (rows - rows[:, :1]) * (torch.arange(6) <= stage)[:, None]
        w = self.w_avg + rows[:, :1] + deltas
        made = self.G.synthesis(w, noise="const")
        loss = (made - image).square().mean() + 0.8 * LPIPS(made, image)
        loss = loss + 0.1 * IDENTITY(made, image)
        loss = loss + adv * -F.logsigmoid(self.judge(w[:, : stage + 1].flatten(0, 1))).mean()
        if stage:
            loss = loss + delta * deltas[:, 1 : stage + 1].norm(dim=2).sum(1).mean()
        return loss, w

    def judge(self, w: Tensor) -> Tensor:
        for weight, bias in (self.D[0:2], self.D[2:4], self.D[4:6]):  # plain layers
            w = F.leaky_relu(w @ weight.T + bias, 0.2)
        return (w @ self.D[6].T + self.D[7])[:, 0]

    def discriminate(self, w: Tensor, stage: int, number: int) -> None:
        which = torch.randint(stage + 1, (BATCH,), generator=self.rng)
        fake = torch.stack([of_picture[i] for of_picture, i in zip(w, which, strict=True)])
        real = self.G.mapping(torch.randn(BATCH, 8, generator=self.rng))[:, 0].detach()
        real, fake = self.from_pool(0, real), self.from_pool(1, fake)
        self.update(-F.logsigmoid(self.judge(real)).mean() - F.logsigmoid(-self.judge(fake)).mean())
        if number % 16 == 0:
            real.requires_grad_()
            (slope,) = torch.autograd.grad(self.judge(real).sum(), real, create_graph=True)
            self.update(10 / 2 * 16 * slope.square().sum(1).mean())

    def from_pool(self, kind: int, vectors: Tensor) -> Tensor:
        rng, pool = self.pools[kind]
        out = []
        for vector in vectors:
            if len(pool) < 50:
                pool.append(vector)
            elif torch.rand((), generator=rng) < 0.5:
                i = int(torch.randint(50, (), generator=rng))
                pool[i], vector = vector, pool[i]
            out.append(vector)
        return torch.stack(out)

    def update(self, loss: Tensor) -> None:
        for p, g in zip(self.D, gradients(loss, self.D), strict=True):
            if g is None:  # the last bias, in R1
                continue
            t, m, v = self.moments(p, g, 0.9, 0.999)
            p.data -= 2e-5 * m / (1 - 0.9**t) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)

    def ranger(self, p: Tensor, g: Tensor, lr: float = 1e-4, b1: float = 0.95, b2: float = 0.999):
        slow = self.slots.setdefault(p, {"slow": p.detach().clone()})["slow"]
        if g.ndim > 1:  # centralisation
            g = g - g.flatten(1).mean(1).view(-1, *[1] * (g.ndim - 1))
        t, m, v = self.moments(p, g, b1, b2)
        m_hat, longest = m / (1 - b1**t), 2 / (1 - b2) - 1
        length = longest - 2 * t * b2**t / (1 - b2**t)
        if length > 5:
            rectified = (length - 4) * (length - 2) * longest
            rectified /= (longest - 4) * (longest - 2) * length
            m_hat = m_hat * math.sqrt(rectified * (1 - b2**t)) / (v.sqrt() + 1e-5)
        p.data -= lr * m_hat
        if t % 6 == 0:  # Lookahead
            slow += 0.5 * (p.data - slow)
            p.data.copy_(slow)

    def moments(self, p: Tensor, g: Tensor, b1: float, b2: float) -> tuple[int, Tensor, Tensor]:
        slot = self.slots.setdefault(p, {})
        slot["t"] = slot.get("t", 0) + 1
        slot["m"] = b1 * slot.get("m", 0) + (1 - b1) * g
        slot["v"] = b2 * slot.get("v", 0) + (1 - b2) * g**2
        return slot["t"], slot["m"], slot["v"]


@pytest.mark.parametrize("parts", [1, 2])  # in which a batch is seen, to save memory
def test_every_step_of_a_cycle_is_the_papers(G, tmp_path, parts):
    pictures = torch.randn(20, 3, 16, 16).sign()  # exact in 8 bits and in float32
    for i, picture in enumerate(pictures):
        save_image(picture.float(), tmp_path / f"{i:02d}.png")
    settings = EncoderTraining(steps=STEPS, batch=BATCH, accumulate=parts, seed=3)
    trainer = EncoderTrainer(G, tmp_path, settings, LPIPS, IDENTITY, golden.ENCODER)
    reference = Reference(trainer, seed=3)
    seen = pictures[trainer.pictures.places]  # the others are for validation
    order = Order(len(seen), BATCH, seed=3)
    for number, (stage, tightenings) in enumerate(STAGES):
        trainer.advance()
        reference.step(seen[order(number)].chunk(parts), number, stage, tightenings)
        encoders = (network.state_dict().values() for network in (trainer.encoder, reference.E))
        assert difference(*encoders) < 1e-10, f"after step {number}"
        discriminator = trainer.adversary.discriminator.parameters()
        assert difference(discriminator, reference.D) < 1e-10, f"after step {number}"
        assert trainer.encoder.stage == stage  # which inference then uses


def test_losses_are_taken_at_256_pixels(double, tmp_path):
    large = Generator(StyleGAN2Config(512, z_dim=8, w_dim=8, mapping_layers=1, channels=(2,) * 8))
    for i in range(2):
        save_image(torch.zeros(3, 512, 512), tmp_path / f"{i}.png")
    config = replace(golden.ENCODER, num_ws=large.num_ws)
    trainer = EncoderTrainer(large, tmp_path, EncoderTraining(), LPIPS, IDENTITY, config)
    assert trainer.size == trainer.objective.max_size == 256


def difference(a: Iterable[Tensor], b: Iterable[Tensor]) -> float:
    """The largest of all numbers, relative to those above 1."""
    one, other = (torch.cat([x.detach().double().flatten() for x in tensors]) for tensors in (a, b))
    return float(((one - other).abs() / other.abs().clamp(min=1)).max())
