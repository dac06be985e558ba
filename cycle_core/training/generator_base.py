"""What the trainings of generators share: that on pictures of which nothing else is known
(`generator`), and that of the embedded generator, on renders (`people/training/generator.py`).

They count images, seen by all processes together. Whatever is random in a step is a function of
seed and images seen. What is exported is the running average of the weights.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoints.native import save_model
from ..models.blend import layer_of
from ..models.generator import Generator
from ..models.stylegan2 import StyleGAN2Config
from ..runtime import distributed
from . import loop
from .discriminator import Discriminator, check_batch
from .loop import Losses, Stretch


class GeneratorTrainer(loop.Trainer):
    """A generator with its average, a discriminator and their optimisers, which the subclasses
    make. noise: whether the noise maps are trained."""

    PARTS = ("generator", "average", "discriminator", "optimizer", "d_optimizer")
    unit = "images"
    space: str = ""  # fingerprint of the generator whose W stays as it is, "" where W is learnt
    optimizer: torch.optim.Optimizer
    d_optimizer: torch.optim.Optimizer

    def __init__(
        self,
        settings: Any,
        config: StyleGAN2Config,
        noise: bool,
        start: Generator | None = None,
        freeze: int = 0,
    ):
        """start: a generator of the same configuration that is fine-tuned. freeze: of its layers,
        by their styles, those that stay; its mapping network then stays, too."""
        self.settings, self.device = settings, torch.device(settings.device)
        check_batch(settings.batch)
        torch.manual_seed(settings.seed)  # all processes begin with the same weights
        self.generator = Generator(config).to(self.device)
        for name, parameter in self.generator.named_parameters():
            if name.endswith("noise_strength"):
                parameter.requires_grad_(noise)
        if start is not None:
            self.generator.load_state_dict(start.state_dict())
        if freeze:
            self.generator.mapping.requires_grad_(False)
            for name, parameter in self.generator.synthesis.named_parameters():
                if layer_of(self.generator, name) < freeze:
                    parameter.requires_grad_(False)
        self.trained = [p for p in self.generator.parameters() if p.requires_grad]
        self.discriminator = self.make_discriminator(config).to(self.device)
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        # the rows of a batch that are this process's
        self.rows = torch.arange(settings.batch)[distributed.rank() :: distributed.world_size()]

    def make_discriminator(self, config: StyleGAN2Config) -> nn.Module:
        return Discriminator(config)

    @abstractmethod
    def update(self) -> Losses:
        """One update of the networks; gives the losses, scalars."""

    def draw_conditions(self, count: int, rng: torch.Generator) -> Tensor | None:
        """Classes as often as the pictures have them, [count, c_dim]; None where there are none."""
        return None

    def stretches(self) -> list[Stretch]:
        return [Stretch("training", 0, self.total, stride=self.settings.batch)]

    def advance(self) -> Losses:
        losses = self.update()
        self.step += self.settings.batch
        return losses

    def update_generator(self, loss: Tensor) -> None:
        """By the mean gradient of all processes."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        distributed.average_gradients(self.generator.parameters())
        self.optimizer.step()

    def r1_weight(self, gamma: float) -> float:
        """Of the penalty in this step: of every so many steps one pays for all (StyleGAN2)."""
        s = self.settings
        return 0.0 if self.step // s.batch % s.r1_interval else gamma / 2 * s.r1_interval

    @torch.no_grad()
    def export(self, folder: Path, measured: dict[str, Any]) -> None:
        """Write `generator.safetensors`, with w_avg, the mean over 20,000 codes."""
        average = self.average
        rng = torch.Generator().manual_seed(3)
        z = torch.randn(20_000, average.config.z_dim, generator=rng).to(average.device)
        w = average.mapping(z, self.draw_conditions(len(z), rng))
        average.mapping.w_avg.copy_(w[:, 0].mean(0))
        header = {
            "space": self.space,
            "trained": f"{self.step} images, seed {self.settings.seed}",
            "settings": repr(self.settings),
            **{name: f"{value:.2f}" for name, value in measured.items()},
        }
        path = folder / "generator.safetensors"
        save_model(path, "generator", average.config, average.state_dict(), header)
