"""Train a generator on rendered portraits.

    python -m cycle_core.training.generator DATA --out RUN

Two phases. *Regression*: every render's factors are known, so z is known, and G(z) is compared with
the render itself, by pixels and by the features of the losses' perceptual network, which heed what
few pixels show; this fixes what each code means. *Adversarial*: a discriminator (non-saturating
loss, lazy R1; StyleGAN2, section 4.1) sharpens what regression averages, while the regression goes
on, so that no attribute is traded for sharpness. Each phase ends with its learning rate at zero.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checkpoints import save_model
from ..errors import InputError
from ..generator import Generator, GeneratorConfig
from ..layers import Linear
from ..networks import load_perceptual
from ..portraits import Z_DIM, factors_to_z
from ..portraits.dataset import HELD_OUT, PortraitData
from .common import (
    Log,
    Means,
    autocast,
    average_decay,
    check_same,
    load_checkpoint,
    make_run,
    save_checkpoint,
    save_grid,
    update_average,
)
from .optim import Muon


@dataclass(frozen=True)
class GeneratorTraining:
    """Settings of one run; the defaults made the embedded 64 px generator on one CPU thread."""

    channels: tuple[int, ...] = (128, 128, 128, 96, 48)  # for 4, 8, 16, ... up to the resolution
    w_dim: int = 128
    mapping_layers: int = 4
    regression_images: int = 280_000
    adversarial_images: int = 40_000
    batch: int = 32
    lr: float = 8e-3  # Muon, regression
    perceptual_weight: float = 1.0  # of the perceptual distance; 0: without the network
    adversarial_lr: float = 1e-3  # Muon for G, Adam for D
    adversarial_weight: float = 0.05  # of the non-saturating loss beside the regression
    r1_gamma: float = 0.3
    r1_interval: int = 16
    warm_up: int = 2_000  # images
    decay: float = 0.4  # share of each phase in which the learning rate falls to zero
    seed: int = 0
    device: str = "cpu"
    bf16: bool = False  # twice as fast where the processor multiplies bfloat16
    compile: bool = False
    every: int = 10_000  # images between two checkpoints, evaluations and sample grids

    @property
    def images(self) -> int:
        return self.regression_images + self.adversarial_images


def train(data: PortraitData, out: str | Path, settings: GeneratorTraining) -> Generator:
    """Train (or resume) in the folder `out`; gives the averaged generator, also saved there as
    `generator.safetensors`. Raises InputError for impossible settings or another run's folder."""
    out = make_run(out)
    run = _Run(data, settings)
    state = load_checkpoint(out)
    if state is not None:
        same = {"regression_images": 0, "adversarial_images": 0, "every": 0, "compile": False}
        same |= {"device": "", "bf16": False}
        check_same(out, {**state["settings"], **same}, {**asdict(settings), **same})
        run.load_state(state)
    log, means = Log(out, run.seen), Means()
    torch.manual_seed(settings.seed)
    while run.seen < settings.images:
        means.add(**run.step())
        if run.seen % settings.every < settings.batch or run.seen >= settings.images:
            data.refresh()  # it may still be rendered
            psnr, columns = run.evaluate()
            log.write(run.seen, psnr=psnr, lr=run.lr, **means.pop(run.seen))
            save_grid(out / "samples" / f"{run.seen:08d}.png", columns)
            save_checkpoint(out, run.state())
            run.export(out / "generator.safetensors", psnr)
    return run.average


class _Run:
    """The models, optimisers and counters of one training."""

    def __init__(self, data: PortraitData, settings: GeneratorTraining):
        self.data, self.settings = data, settings
        self.seen = 0  # images, of both phases
        device = torch.device(settings.device)
        torch.manual_seed(settings.seed)
        config = GeneratorConfig(
            resolution=data.recipe.resolution,
            z_dim=Z_DIM,
            w_dim=settings.w_dim,
            mapping_layers=settings.mapping_layers,
            mapping_lr_multiplier=1.0,  # 0.01, made for Adam, leaves the regression far behind
            normalize_z=False,  # the length of z is part of what it says
            channels=settings.channels,
        )
        self.generator = Generator(config).to(device)
        for name, parameter in self.generator.named_parameters():
            if name.endswith("noise_strength"):  # the renders have no noise to learn
                parameter.requires_grad_(False)
        self.discriminator = Discriminator(config).to(device)
        self.perceptual = (
            load_perceptual("loss").to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            if settings.perceptual_weight
            else None
        )
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        trained = [p for p in self.generator.parameters() if p.requires_grad]
        self.optimizer = Muon(trained, settings.lr)
        self.d_optimizer = torch.optim.Adam(
            self.discriminator.parameters(), settings.adversarial_lr, (0.0, 0.99)
        )
        synthesis = self.generator.synthesis
        self.synthesis: Callable[..., Tensor] = (
            torch.compile(synthesis) if settings.compile else synthesis
        )

    @property
    def lr(self) -> float:
        """Warm-up, constant, then linear to zero, within the phase that the run is in."""
        s = self.settings
        adversarial = self.seen >= s.regression_images
        begin = s.regression_images if adversarial else 0
        length = s.adversarial_images if adversarial else s.regression_images
        left = 1 - (self.seen - begin) / max(length, 1)
        peak = s.adversarial_lr if adversarial else s.lr
        return peak * min(1.0, (self.seen - begin + s.batch) / s.warm_up, left / s.decay)

    def step(self) -> dict[str, Tensor]:
        """One batch; gives the losses."""
        s, device = self.settings, torch.device(self.settings.device)
        batch, drawn = self._batch()
        target, z, weight = batch
        for group in self.optimizer.param_groups + self.d_optimizer.param_groups:
            group["lr"] = self.lr
        dtype = torch.bfloat16 if s.bf16 else None
        image = self.synthesis(self.generator.mapping(z), noise="none", dtype=dtype)
        loss = pyramid_loss(image, target, weight)
        losses = {"regression": loss}
        if self.perceptual is not None:
            with autocast(device, s.bf16):
                losses["perceptual"] = self.perceptual(image, target).mean()
            loss = loss + s.perceptual_weight * losses["perceptual"]
        adversarial = self.seen >= s.regression_images
        if adversarial:
            self.discriminator.requires_grad_(False)
            with autocast(device, s.bf16):
                logits = self.discriminator(image)
            losses["generator"] = F.softplus(-logits.float()).mean()
            loss = loss + s.adversarial_weight * losses["generator"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        if adversarial:
            self.discriminator.requires_grad_(True)
            real = self.data.batch(self._indices(drawn))[0].to(device)
            losses |= self._train_discriminator(image.detach(), real)
        update_average(self.average, self.generator, average_decay(self.seen + s.batch, s.batch))
        self.seen += s.batch
        return losses

    def _train_discriminator(self, fake: Tensor, real: Tensor) -> dict[str, Tensor]:
        s, losses = self.settings, {}
        with autocast(real.device, s.bf16):
            wrong, right = self.discriminator(fake), self.discriminator(real)
        losses["discriminator"] = (
            F.softplus(wrong.float()).mean() + F.softplus(-right.float()).mean()
        )
        loss = losses["discriminator"]
        if (self.seen // s.batch) % s.r1_interval == 0:
            real = real.requires_grad_()
            (gradient,) = torch.autograd.grad(
                self.discriminator(real).sum(), real, create_graph=True
            )
            losses["r1"] = gradient.square().sum((1, 2, 3)).mean()
            loss = loss + losses["r1"] * (s.r1_gamma / 2 * s.r1_interval)
        self.d_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.d_optimizer.step()
        return losses

    def _indices(self, rng: torch.Generator) -> Tensor:
        if len(self.data) <= HELD_OUT:
            raise InputError(
                f"The data set holds {len(self.data)} portraits, of which the first {HELD_OUT} are "
                "kept for evaluation: render more before training."
            )
        return torch.randint(HELD_OUT, len(self.data), (self.settings.batch,), generator=rng)

    def _batch(self) -> tuple[tuple[Tensor, Tensor, Tensor], torch.Generator]:
        """Target, z and pixel weights, drawn from (seed, images seen): resuming is exact."""
        rng = torch.Generator().manual_seed(self.settings.seed << 40 | self.seen)
        image, factors, points, _ = self.data.batch(self._indices(rng))
        z = factors_to_z(factors, rng)
        device = self.settings.device
        weight = feature_weights(points, image.shape[-1])
        return (image.to(device), z.to(device), weight.to(device)), rng

    @torch.no_grad()
    def evaluate(self, count: int = 200) -> tuple[float, dict[str, Tensor]]:
        """PSNR (dB, peak to peak 2) of the averaged generator on held-out renders, and a grid."""
        device = self.settings.device
        target, factors, _, _ = self.data.batch(torch.arange(min(count, HELD_OUT)))
        z = factors_to_z(factors, torch.Generator().manual_seed(1)).to(device)
        images = [self.average.synthesis(self.average.mapping(part)) for part in z.split(50)]
        image = torch.cat(images).clamp(-1, 1)
        error = (image - target.to(device)).square().mean((1, 2, 3))
        psnr = float((10 * torch.log10(4 / error)).mean())
        rng = torch.Generator().manual_seed(2)
        drawn = torch.randn(24, Z_DIM, generator=rng).to(device)
        sample = self.average.synthesis(self.average.mapping(drawn))
        columns = {"render": target[:8], "G(z)": image[:8]}
        columns |= {f"sample {i}": sample[8 * i : 8 * i + 8] for i in range(3)}
        return psnr, columns

    def state(self) -> dict[str, Any]:
        return {
            "settings": asdict(self.settings),
            "seen": self.seen,
            "generator": self.generator.state_dict(),
            "average": self.average.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "d_optimizer": self.d_optimizer.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"]
        for name in ("generator", "average", "discriminator", "optimizer", "d_optimizer"):
            getattr(self, name).load_state_dict(state[name])

    def export(self, path: Path, psnr: float) -> None:
        """Save the averaged generator with its w_avg, the mean over 20,000 codes."""
        with torch.no_grad():
            rng = torch.Generator().manual_seed(3)
            z = torch.randn(20_000, Z_DIM, generator=rng).to(self.settings.device)
            self.average.mapping.w_avg.copy_(self.average.mapping(z)[:, 0].mean(0))
        metadata = {
            "trained": f"{self.seen} images, seed {self.settings.seed}",
            "settings": repr(self.settings),
            "psnr": f"{psnr:.2f}",
        }
        save_model(path, "generator", self.average.config, self.average.state_dict(), metadata)


def pyramid_loss(image: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Distance over a Laplacian pyramid: squares at three scales, absolute values of five bands.

    image, target: [B,3,R,R]; weight: [B,1,R,R], of each pixel. The absolute values keep edges
    sharp where squares alone would blur; the coarse squares hold colour and light."""
    error = image - target
    loss = 1.5 * (weight * error.square()).mean()
    for scale in (4, 8):
        loss = loss + 1.5 * F.avg_pool2d(error, scale).square().mean()
    for gain in (2.0, 1.4, 1.0, 0.8):
        coarse = F.avg_pool2d(error, 2)
        band = error - F.interpolate(coarse, scale_factor=2, mode="nearest")
        loss = loss + gain * (weight * band.abs()).mean()
        error, weight = coarse, F.avg_pool2d(weight, 2)
    return loss + error.abs().mean()


def feature_weights(points: Tensor, resolution: int) -> Tensor:
    """Pixel weights [B,1,R,R]: 1, rising to 4 at the eyes (with the glasses) and the mouth.

    points: the five landmarks in pixels, [B,5,2]."""
    mouth = points[:, 3:].mean(1, keepdim=True)
    centres = torch.cat([points[:, :2], mouth], dim=1) / resolution  # [B,3,2]
    axis = (torch.arange(resolution) + 0.5) / resolution
    dx = axis[None, None, None, :] - centres[:, :, 0, None, None]
    dy = axis[None, None, :, None] - centres[:, :, 1, None, None]
    bumps = torch.exp(-(dx.square() + dy.square()) / (2 * 0.07**2))  # [B,3,R,R]
    return 1 + 3 * bumps.amax(1, keepdim=True)


class Discriminator(nn.Module):
    """Residual discriminator with minibatch standard deviation (StyleGAN2, Figure 7)."""

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        sizes = config.resolutions[::-1]
        self.from_rgb = EqualConv(3, config.width(sizes[0]), 1)
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(config.width(a), config.width(b))
            for a, b in itertools.pairwise(sizes)
        )
        width = config.width(4)
        self.conv = EqualConv(width + 1, width, 3)
        self.hidden, self.out = Linear(width * 16, width), Linear(width, 1)

    def forward(self, image: Tensor) -> Tensor:
        """[B,3,R,R] -> logits [B,1]; high means real. B is a multiple of 8 or less than 8."""
        x = _act(self.from_rgb(image.contiguous(memory_format=torch.channels_last)))
        for block in self.blocks:
            x = block(x)
        group = min(8, x.shape[0])
        deviation = x.reshape(group, -1, *x.shape[1:]).var(0, unbiased=False).add(1e-8).sqrt()
        deviation = deviation.mean((1, 2, 3)).repeat(group)[:, None, None, None]
        x = torch.cat([x, deviation.expand(-1, 1, 4, 4)], dim=1)
        return self.out(_act(self.hidden(_act(self.conv(x)).flatten(1))))


class DiscriminatorBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv0 = EqualConv(in_channels, in_channels, 3)
        self.conv1 = EqualConv(in_channels, out_channels, 3)
        self.skip = EqualConv(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = _act(self.conv1(F.avg_pool2d(_act(self.conv0(x)), 2)))
        return (y + self.skip(F.avg_pool2d(x, 2))) * math.sqrt(0.5)


class EqualConv(nn.Module):
    """Convolution with an equalised learning rate."""

    def __init__(self, in_channels: int, out_channels: int, size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, size, size))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.gain = 1 / math.sqrt(in_channels * size * size)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.gain
        return F.conv2d(x, weight, self.bias, padding=self.weight.shape[-1] // 2)


def _act(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def main(argv: list[str] | None = None) -> None:
    defaults = GeneratorTraining()
    parser = argparse.ArgumentParser(prog="cycle_core.training.generator", description=__doc__)
    parser.add_argument("data", help="folder written by cycle_core.portraits.dataset")
    parser.add_argument("--out", required=True, help="folder of the run; resumes if it holds one")
    parser.add_argument(
        "--channels",
        type=lambda text: tuple(int(c) for c in text.split("-")),
        default=defaults.channels,
        help="for 4, 8, 16, ..., joined by -",
    )
    parser.add_argument("--compile", action="store_true", help="torch.compile the synthesis")
    parser.add_argument("--bf16", action="store_true", help="multiply in bfloat16")
    parser.add_argument("--device", default=defaults.device)
    parser.add_argument("--threads", type=int, default=1)
    for name, default in asdict(defaults).items():  # every number of the settings is an option
        if type(default) in (int, float):
            option = "--" + name.replace("_", "-")
            parser.add_argument(option, type=type(default), default=default)
    args = vars(parser.parse_args(argv))
    data, out, threads = args.pop("data"), args.pop("out"), args.pop("threads")
    torch.set_num_threads(threads)
    train(PortraitData(data), out, GeneratorTraining(**args))


if __name__ == "__main__":
    main()
