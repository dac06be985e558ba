"""Train a generator on rendered portraits; on other pictures `adversarial` does that.

    cycle-core train generator DATA --out RUN
    torchrun --nproc-per-node 8 -m cycle_core.training.generator DATA --out RUN

Two phases. *Regression*: every render's factors are known, so z is known, and G(z) is compared with
the render itself, by pixels and by the features of the losses' perceptual network, which heed what
few pixels show; this fixes what each code means. *Adversarial*: a discriminator (non-saturating
loss, lazy R1; StyleGAN2, section 4.1) sharpens what regression averages, while the regression goes
on, so that no attribute is traded for sharpness. Each phase ends with its learning rate at zero.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from ..measure.perceptual import load_perceptual
from ..models.generator import Generator
from ..models.stylegan2 import GeneratorConfig
from ..portraits.dataset import HELD_OUT, PortraitData
from ..portraits.factors import Z_DIM, factors_to_z
from ..runtime import distributed
from ..runtime.optim import Muon
from .common import autocast, average_decay, update_average
from .discriminator import Discriminator, check_batch, train_discriminator
from .generator_settings import FREE, GeneratorTraining
from .running import Callback, Run, export, follow


def train(
    data: PortraitData,
    out: str | Path,
    settings: GeneratorTraining,
    callback: Callback | None = None,
) -> Generator:
    """Train (or resume) in the folder `out`, alone or as one of the processes of torchrun; gives
    the averaged generator, also saved there as `generator.safetensors`.

    callback: see `running.follow`.
    Raises InputError for impossible settings or another run's folder."""
    return follow(_Run(data, settings), out, FREE, callback)


class _Run(Run):
    """The models, optimisers and counters of one training."""

    def __init__(self, data: PortraitData, settings: GeneratorTraining):
        self.data, self.settings = data, settings
        self.seen = 0  # images, of both phases
        check_batch(settings.batch)
        self.rows = torch.arange(settings.batch)[distributed.rank() :: distributed.world_size()]
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
        distributed.average_gradients(self.generator.parameters())
        self.optimizer.step()
        if adversarial:
            real = self.data.batch(self._indices(drawn)[self.rows])[0].to(device)
            first = (self.seen // s.batch) % s.r1_interval == 0
            r1_weight = s.r1_gamma / 2 * s.r1_interval if first else 0.0
            losses |= train_discriminator(
                self.discriminator, self.d_optimizer, image.detach(), real, r1_weight, s.bf16
            )
        update_average(self.average, self.generator, average_decay(self.seen + s.batch, s.batch))
        self.seen += s.batch
        return losses

    def _indices(self, rng: torch.Generator) -> Tensor:
        if len(self.data) <= HELD_OUT:
            raise InputError(
                f"The data set holds {len(self.data)} portraits, of which the first {HELD_OUT} are "
                "kept for evaluation: render more before training."
            )
        return torch.randint(HELD_OUT, len(self.data), (self.settings.batch,), generator=rng)

    def _batch(self) -> tuple[tuple[Tensor, Tensor, Tensor], torch.Generator]:
        """Target, z and pixel weights of this process, drawn from (seed, images seen)."""
        rng = torch.Generator().manual_seed(self.settings.seed << 40 | self.seen)
        image, factors, points, _ = self.data.batch(self._indices(rng))
        z = factors_to_z(factors, rng)
        weight = feature_weights(points, image.shape[-1])
        image, z, weight = (x[self.rows].to(self.settings.device) for x in (image, z, weight))
        return (image, z, weight), rng

    @torch.no_grad()
    def evaluate(self) -> tuple[dict[str, float], dict[str, Tensor]]:
        """PSNR (dB, peak to peak 2) of the averaged generator on held-out renders, and a grid."""
        self.data.refresh()  # it may still be rendered
        device = self.settings.device
        target, factors, _, _ = self.data.batch(torch.arange(min(200, HELD_OUT)))
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
        return {"psnr": psnr, "lr": self.lr}, columns

    def export(self, path: Path, measured: dict[str, float]) -> None:
        export(self.average, path, self.seen, self.settings, psnr=f"{measured['psnr']:.2f}")


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


def main(argv: list[str] | None = None) -> int:
    from ..cli import main as command

    return command(["train", "generator", *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    sys.exit(main())
