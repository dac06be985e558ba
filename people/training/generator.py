"""Train a generator on rendered people, whose factors are known.

    python -m people.training generator DATA --resolution 256 --out RUN

Two phases. *Regression*: a render's factors are known, so z is known, and G(z) is compared with
the render itself, by pixels and by the features of the losses' perceptual network, which heed what
few pixels show; this fixes what each code means. *Adversarial*: the upper blocks learn what
regression averages from a discriminator of patches (see `texture`), while the regression goes on,
so that no attribute is traded for sharpness. Each phase ends with its learning rate at zero.

A generator grows: one of 64 pixels is the `start` of one of 128, whose new blocks first add nothing
to the picture, so that what the small one cost in a day is not paid again at the large one's price.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cycle_core.errors import InputError
from cycle_core.measure.metrics import psnr_of
from cycle_core.measure.perceptual import load_perceptual
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config
from cycle_core.runtime import distributed
from cycle_core.runtime.devices import autocast
from cycle_core.runtime.optim import Muon, average_decay, update_average
from cycle_core.runtime.progress import Callback
from cycle_core.training import loop
from cycle_core.training.discriminator import train_discriminator
from cycle_core.training.generator_base import GeneratorTrainer
from cycle_core.training.loop import Losses, Stretch

from .renders import HELD_OUT, Renders
from .settings import RegressionTraining
from .texture import Crops, PatchDiscriminator, begin_noise

VALIDATED = 200  # pictures


def train(
    data: Renders,
    out: str | Path,
    settings: RegressionTraining,
    callback: Callback | None = None,
    start: Generator | None = None,
) -> Generator:
    """Train (or resume) in the folder `out`, alone or as one of the processes of torchrun; gives
    the averaged generator, also saved there as `generator.safetensors`.

    callback: see `loop`, of images. start: a generator of the same world, of this size or smaller,
    from which the run begins.
    Raises InputError for impossible settings, for a generator of another world as `start`, or for
    another run's folder."""
    settings = replace(settings, start="" if start is None else start.fingerprint)
    return loop.train(out, lambda _: RegressionTrainer(data, settings, start), callback).average


class RegressionTrainer(GeneratorTrainer):
    def __init__(self, data: Renders, settings: RegressionTraining, start: Generator | None = None):
        config = StyleGAN2Config(
            resolution=data.resolution,
            z_dim=len(data.table),
            w_dim=settings.w_dim,
            mapping_layers=settings.mapping_layers,
            mapping_lr_multiplier=1.0,  # 0.01, made for Adam, leaves the regression far behind
            normalize_z=False,  # the length of z is part of what it says
            channels=settings.channels,
        )
        super().__init__(settings, config, noise=settings.noise)
        if start is not None:
            grow(start, self.generator)
            if not settings.regression_images:  # texture alone
                self.space = start.base_fingerprint
            self.average.load_state_dict(self.generator.state_dict())
        self.data = data
        self.perceptual = (
            load_perceptual("loss").to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            if settings.perceptual_weight
            else None
        )
        self.optimizer = Muon(self.trained, settings.learning_rate)
        self.d_optimizer = Muon(self.discriminator.parameters(), settings.discriminator_rate)
        synthesis = self.generator.synthesis
        self.synthesis: Callable[..., Tensor] = (
            torch.compile(synthesis) if settings.compile else synthesis
        )

    @property
    def learning_rate(self) -> float:
        """Of the generator, at its highest in the phase that the run is in."""
        s = self.settings
        adversarial = self.step >= s.regression_images
        return s.adversarial_learning_rate if adversarial else s.learning_rate

    @property
    def share(self) -> float:
        """Of the learning rates: warm-up, constant, then linear to zero, within the phase that the
        run is in."""
        s = self.settings
        adversarial = self.step >= s.regression_images
        begin = s.regression_images if adversarial else 0
        length = s.adversarial_images if adversarial else s.regression_images
        left = max(0.0, 1 - (self.step - begin) / max(length, 1))
        return min(1.0, (self.step - begin + s.batch) / s.warm_up, left / s.decay)

    def make_discriminator(self, config: StyleGAN2Config) -> nn.Module:
        return PatchDiscriminator()

    def update(self) -> Losses:
        s = self.settings
        for optimizer, peak in (
            (self.optimizer, self.learning_rate),
            (self.d_optimizer, s.discriminator_rate),
        ):
            optimizer.param_groups[0]["lr"] = peak * self.share
        step = self._adversarial_step if self.step >= s.regression_images else self._regression_step
        losses = step(torch.bfloat16 if s.bf16 else None)
        update_average(self.average, self.generator, average_decay(self.step + s.batch, s.batch))
        return losses

    def _regression_step(self, dtype: torch.dtype | None) -> Losses:
        (target, z, weight), _ = self._batch()
        # a render is one picture of its factors: what noise draws, only a discriminator can judge
        image = self.synthesis(self.generator.mapping(z), noise="none", dtype=dtype)
        loss = pyramid_loss(image, target, weight)
        losses = {"regression": loss}
        if self.perceptual is not None:
            with autocast(self.device, dtype is not None):
                losses["perceptual"] = self.perceptual(image, target).mean()
            loss = loss + self.settings.perceptual_weight * losses["perceptual"]
        self.update_generator(loss)
        return losses

    def _adversarial_step(self, dtype: torch.dtype | None) -> Losses:
        s = self.settings
        if s.noise and self.step < s.regression_images + s.batch:  # the first of these steps
            begin_noise(self.generator)
            begin_noise(self.average)
        (target, z, weight), rng = self._batch()
        torch.manual_seed((s.seed << 40 | self.step) + distributed.rank())
        crops = Crops(self.generator, len(z), rng)
        with torch.no_grad():
            w = self.generator.mapping(z)
        image = crops.render(w, "random" if s.noise else "none", dtype)
        target, weight = crops.of(target), crops.of(weight)
        losses = {"regression": pyramid_loss(image, target, weight, s.detail)}
        self.discriminator.requires_grad_(False)
        with autocast(self.device, s.bf16):
            logits = self.discriminator(image)
        losses["generator"] = F.softplus(-logits.float()).mean()
        self.update_generator(losses["regression"] + s.adversarial_weight * losses["generator"])
        real = self.data.batch(self._indices(rng)[self.rows]).images.to(self.device)
        return losses | train_discriminator(
            self.discriminator,
            self.d_optimizer,
            image.detach(),
            Crops(self.generator, len(real), rng).of(real),
            self.r1_weight(s.r1_gamma or 0.0),
            s.bf16,
        )

    def stretches(self) -> list[Stretch]:
        s, first = self.settings, 0
        stretches = []
        for name in ("regression", "adversarial"):
            if images := getattr(s, f"{name}_images"):
                stretches.append(Stretch(name, first, images, name, stride=s.batch))
                first += images
        return stretches

    def status(self) -> dict[str, Any]:
        return {"learning_rate": self.learning_rate * self.share}

    def _indices(self, rng: torch.Generator) -> Tensor:
        if len(self.data) < HELD_OUT + VALIDATED:
            raise InputError(
                f"{self.data.folder} holds {len(self.data)} pictures, of which the first "
                f"{HELD_OUT} are kept for evaluation: render more before training."
            )
        return torch.randint(HELD_OUT, len(self.data), (self.settings.batch,), generator=rng)

    def _batch(self) -> tuple[tuple[Tensor, Tensor, Tensor], torch.Generator]:
        """Target, z and pixel weights of this process, of (seed, images seen) alone."""
        rng = torch.Generator().manual_seed(self.settings.seed << 40 | self.step)
        image, factors, points, masks = self.data.batch(self._indices(rng))
        z = self.data.table.to_z(factors, rng)
        weight = feature_weights(points, masks)
        image, z, weight = (x[self.rows].to(self.device) for x in (image, z, weight))
        return (image, z, weight), rng

    @torch.no_grad()
    def validate(self, count: int | None = None) -> tuple[dict[str, float], dict[str, Tensor]]:
        """PSNR (dB, peak to peak 2) of the averaged generator on held-out renders, on their faces
        alone and on renders that it was trained on; the same for its share of their finest detail;
        and a grid."""
        self.data.refresh()  # it may still be rendered
        measured: dict[str, float] = {}
        images, shown = torch.zeros(0), torch.zeros(0)
        for name, first in (("own", HELD_OUT), ("", 0)):
            target, factors, _, face = self.data.batch(torch.arange(first, first + VALIDATED))
            z = self.data.table.to_z(factors, torch.Generator().manual_seed(1)).to(self.device)
            images = torch.cat([self._render(part) for part in z.split(25)]).clamp(-1, 1).cpu()
            error = (images - target).square().mean(1, keepdim=True)
            measured[f"detail{name and '_' + name}"] = float(_finest(images) / _finest(target))
            measured[f"psnr{name and '_' + name}"] = float(psnr_of(error.mean((1, 2, 3))).mean())
            if not name:
                share = (error * face).sum((1, 2, 3)) / face.sum((1, 2, 3)).clamp(min=1)
                measured["psnr_face"], shown = float(psnr_of(share).mean()), target
        z = torch.randn(24, len(self.data.table), generator=torch.Generator().manual_seed(2))
        samples = self._render(z.to(self.device))
        columns = {"render": shown[:8], "G(z)": images[:8]}
        columns |= {f"sample {i}": samples[8 * i : 8 * i + 8] for i in range(3)}
        return measured, columns

    def _render(self, z: Tensor) -> Tensor:
        return self.average.synthesis(self.average.mapping(z))


def grow(start: Generator, generator: Generator) -> None:
    """Give a generator the weights of a smaller one, or of one of its size; blocks that are new add
    nothing to the picture yet. Raises InputError where the layers that both have differ."""
    state, known = generator.state_dict(), start.state_dict()
    if start.resolution > generator.resolution or any(
        name not in state or state[name].shape != value.shape for name, value in known.items()
    ):
        raise InputError(
            f"The generator {start.name} cannot grow into one of {generator.resolution} pixels: z, "
            "w, the mapping layers and the channels of the sizes that it has must stay as they are."
        )
    generator.load_state_dict({**state, **known})
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name not in known and "to_rgb" in name and ".affine." not in name:
                parameter.zero_()


def _finest(images: Tensor) -> Tensor:
    """Mean absolute value of the finest band of a Laplacian pyramid."""
    coarse = F.interpolate(F.avg_pool2d(images, 2), scale_factor=2, mode="nearest")
    return (images - coarse).abs().mean()


def pyramid_loss(image: Tensor, target: Tensor, weight: Tensor, detail: float = 1.0) -> Tensor:
    """Distance over a Laplacian pyramid: squares at three scales, absolute values of five bands.

    image, target: [B,3,R,R]; weight: [B,1,R,R], of each pixel; detail: weight of what single pixels
    show, the first squares and the two finest bands. The absolute values keep edges sharp where
    squares alone would blur; the coarse squares hold colour and light."""
    error = image - target
    loss = 1.5 * detail * (weight * error.square()).mean()
    for scale in (4, 8):
        loss = loss + 1.5 * F.avg_pool2d(error, scale).square().mean()
    for gain in (2.0 * detail, 1.4 * detail, 1.0, 0.8):
        coarse = F.avg_pool2d(error, 2)
        band = error - F.interpolate(coarse, scale_factor=2, mode="nearest")
        loss = loss + gain * (weight * band.abs()).mean()
        error, weight = coarse, F.avg_pool2d(weight, 2)
    return loss + error.abs().mean()


def feature_weights(points: Tensor, masks: Tensor) -> Tensor:
    """Pixel weights [B,1,R,R]: 1, 2 on the face, rising to 5 at the eyes and the mouth.

    points: the five landmarks in pixels, [B,5,2]; masks: the face, [B,1,R,R] in 0..1."""
    size = masks.shape[-1]
    mouth = points[:, 3:].mean(1, keepdim=True)
    centres = torch.cat([points[:, :2], mouth], dim=1) / size  # [B,3,2]
    axis = (torch.arange(size) + 0.5) / size
    dx, dy = (axis - centres[..., i, None] for i in (0, 1))  # [B,3,R]
    across, down = (torch.exp(-d.square() / (2 * 0.07**2)) for d in (dx, dy))
    bumps = (down[..., :, None] * across[..., None, :]).amax(1, keepdim=True)
    return 1 + masks + 3 * bumps
