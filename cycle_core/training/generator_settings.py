"""The settings of the generators' trainings. Nothing here loads torch: help texts show them."""

from __future__ import annotations

from dataclasses import dataclass


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
    tensorboard: bool = False  # the log and the grids also for TensorBoard

    @property
    def images(self) -> int:
        return self.regression_images + self.adversarial_images


@dataclass(frozen=True)
class AdversarialTraining:
    """Settings of one run; the defaults are those of StyleGAN2 for pictures of 256 pixels."""

    resolution: int = 256  # a power of two
    channels: tuple[int, ...] | None = None  # for 4, 8, ...; None: at most 512, 32768 / resolution
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    noise: bool = True  # whether the generator has noise maps for what is random in a picture
    images: int = 25_000_000  # seen by the discriminator
    batch: int = 32  # of all processes together
    lr: float = 2e-3  # Adam, of both networks
    r1_gamma: float | None = None  # None: see `r1`
    r1_interval: int = 16
    path_weight: float = 2.0  # of the path length regularisation; 0: without
    path_interval: int = 4
    style_mixing: float = 0.9  # share of the codes that are made of two
    half_life: int = 10_000  # images, of the average of the weights
    mirror: bool = False  # show pictures as their mirror images, too
    seed: int = 0
    device: str = "cpu"
    bf16: bool = False  # see `common.autocast`
    every: int = 50_000  # images between two checkpoints and sample grids
    tensorboard: bool = False  # the log and the grids also for TensorBoard

    @property
    def r1(self) -> float:
        """Of the R1 penalty: 0.0002 resolution^2 / batch (Karras et al. 2020, ADA), but no less
        than 0.3: with 0.006, at 32 pixels, the discriminator outran a small generator."""
        guess = max(0.3, 0.0002 * self.resolution**2 / self.batch)
        return guess if self.r1_gamma is None else self.r1_gamma


# settings that may change when a run is resumed
FREE = ("images", "regression_images", "adversarial_images", "every", "tensorboard", "compile")
FREE += ("device", "bf16")
