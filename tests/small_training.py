"""An encoder's training that takes seconds: small random networks, and pictures of theirs."""

from __future__ import annotations

import torch

from cycle_core.images.io import save_image
from cycle_core.measure.perceptual import Lpips, PortraitNet, PortraitNetConfig
from cycle_core.models.encoder import EncoderConfig
from cycle_core.models.factors import Factor
from cycle_core.models.generator import Generator
from cycle_core.models.irse import IdentityConfig, IdentityNet
from cycle_core.models.stylegan2 import StyleGAN2Config
from cycle_core.training.encoder import train
from cycle_core.training.settings import EncoderTraining

BODY = {"widths": (8, 8, 8, 8, 16), "units": (1, 1, 1, 1), "reduction": 4}

AGE = Factor("age", 0, 1, 0.5, 1, "attribute", "young to old")


class Parts:
    """A tiny generator with its networks, and a folder of its pictures."""

    def __init__(self, folder):
        torch.manual_seed(0)
        config = StyleGAN2Config(
            resolution=32, z_dim=8, w_dim=16, mapping_layers=2, channels=(8, 8, 8, 8)
        )
        self.generator = Generator(config).eval()
        self.perceptual = Lpips(PortraitNet(PortraitNetConfig((AGE,), (4, 4), 1, 32, 8)), "tiny")
        self.perceptual.eval()
        self.identity = IdentityNet(IdentityConfig(**BODY, embedding=8, input_size=32, crop=None))
        self.identity.eval()
        self.config = EncoderConfig(num_ws=8, w_dim=16, input_size=32, head_width=8, **BODY)
        self.folder = folder
        with torch.no_grad():
            pictures = self.generator(torch.randn(12, 8)).clamp(-1, 1)
        for i, picture in enumerate(pictures):
            save_image(picture, folder / f"{i}.png")

    def train(self, out, callback=None, **settings):
        defaults = {"steps": 24, "batch": 2, "learning_rate": 1e-3, "save_every": 7, "log_every": 5}
        return train(
            self.generator,
            self.folder,
            out,
            EncoderTraining(**{**defaults, **settings}),
            self.perceptual,
            self.identity,
            self.config,
            self.identity,
            callback,
        )
