"""Train a generator on pictures of which nothing else is known, as StyleGAN2 does.

Non-saturating loss, lazy R1, path lengths and style mixing are those of Karras et al. 2020; the
discriminator halves by averages instead of filtered strides. What is exported is the running
average of the weights.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from ..models.fingerprints import short
from ..models.generator import Generator
from ..models.stylegan2 import StyleGAN2Config
from ..runtime import distributed
from ..runtime.devices import autocast
from ..runtime.optim import average_decay, update_average
from ..runtime.progress import Callback
from . import loop
from .augment import Augmentation
from .data import Order, Pictures, Prefetcher, open_all
from .discriminator import train_discriminator
from .generator_base import GeneratorTrainer
from .loop import Losses
from .settings import AdversarialTraining

_PATH_DECAY = 0.01  # of the running mean of path lengths


def train(
    folder: str | Path,
    out: str | Path,
    settings: AdversarialTraining,
    callback: Callback | None = None,
    start: Generator | None = None,
) -> Generator:
    """Train (or resume) in the folder `out`, alone or as one of the processes of torchrun; gives
    the averaged generator, also saved there as `generator.safetensors`.

    folder: of pictures, as `data.open_all` takes it. callback: see `loop`, of images. start: a
        generator to be fine-tuned, whose size and layers the settings then take, see `fine_tuning`.
    Raises InputError for impossible settings, broken pictures or another run's folder, CycleError
    where the training diverges."""

    if start is not None:
        settings = fine_tuning(settings, start)

    def make(digest: str) -> AdversarialTrainer:
        pictures = open_all(folder, settings.resolution, digest, settings.cond)
        return AdversarialTrainer(pictures, settings, start)

    return loop.train(out, make, callback).average


def fine_tuning(settings: AdversarialTraining, start: Generator) -> AdversarialTraining:
    """The settings of a training that begins at a generator: its size and layers.

    Raises InputError for StyleGAN3, pictures of other channels, classes without `cond` and the
    other way round, and where nothing would be trained."""
    config = start.config
    if not isinstance(config, StyleGAN2Config) or config.image_shape[0] != 3:
        raise InputError(
            f"The generator {start.name} cannot be fine-tuned: only a StyleGAN2 of RGB pictures "
            "can."
        )
    if bool(config.c_dim) != settings.cond:
        raise InputError(
            f"The generator {start.name} has {config.c_dim} classes: train with `cond`, on "
            "pictures with labels."
            if config.c_dim
            else f"The generator {start.name} has no classes: leave out `cond`."
        )
    sizes: dict[str, Any] = {
        "resolution": config.resolution,
        "channels": tuple(map(config.width, config.resolutions)),
        "z_dim": config.z_dim,
        "w_dim": config.w_dim,
        "mapping_layers": config.mapping_layers,
    }
    for name, size in sizes.items():
        if getattr(settings, name) not in (size, getattr(AdversarialTraining(), name)):
            raise InputError(
                f"`{name}` is that of the generator {start.name}, which is fine-tuned "
                "as it is: leave it out."
            )
    if config.const_size != (4, 4):
        raise InputError(f"The generator {start.name} is oblong; only square ones are fine-tuned.")
    if settings.freeze >= config.num_ws:
        raise InputError(
            f"To freeze {settings.freeze} layers leaves nothing to be trained: the generator has "
            f"the layers 0 to {config.num_ws - 1}."
        )
    return replace(settings, **sizes, start=short(start.fingerprint))


class AdversarialTrainer(GeneratorTrainer):
    def __init__(
        self, pictures: Pictures, settings: AdversarialTraining, start: Generator | None = None
    ):
        s = settings
        if s.freeze and start is None:
            raise InputError(
                "Layers are frozen of a generator to start from: give one, or leave out `freeze`."
            )
        config = StyleGAN2Config(
            resolution=s.resolution,
            z_dim=s.z_dim,
            w_dim=s.w_dim,
            mapping_layers=s.mapping_layers,
            channels=s.channels,
            c_dim=0 if pictures.labels is None else pictures.labels.c_dim,
        )
        if start is not None:
            assert isinstance(start.config, StyleGAN2Config)  # by `fine_tuning`
            if start.config.c_dim != config.c_dim:
                raise InputError(
                    f"The generator {start.name} has {start.config.c_dim} classes, but the labels "
                    f"of the pictures have {config.c_dim}: both must have the same."
                )
            config = start.config
        super().__init__(s, config, s.noise, start, s.freeze)
        self.augment = Augmentation(s.ada, s.ada_images, s.augpipe) if s.ada else None
        self.pictures, self.digest = pictures, pictures.digest
        self.optimizer = torch.optim.Adam(self.trained, s.learning_rate, (0.0, 0.99))
        self.d_optimizer = torch.optim.Adam(
            self.discriminator.parameters(), s.discriminator_rate, (0.0, 0.99)
        )
        self.path_mean = 0.0
        self._order = Order(len(pictures), s.batch, s.seed)
        self._real = Prefetcher(lambda step: pictures[self._order(step)[self.rows]])

    def update(self) -> Losses:
        s = self.settings
        number, seed = self.step // s.batch, s.seed << 40 | self.step
        torch.manual_seed(seed + distributed.rank())  # of the noise maps
        rng = torch.Generator().manual_seed(seed)  # of the rest, the same in every process
        with distributed.raise_everywhere():  # a damaged shard is reported by any process
            real = self._real(number)
        mirrored = torch.rand(s.batch, generator=rng)[self.rows] < (0.5 if s.mirror else 0)
        real = torch.where(mirrored[:, None, None, None], real.flip(3), real).to(self.device)

        self.discriminator.requires_grad_(False)
        c = self._conditions(rng, self.rows)
        fake = self._generate(self._codes(rng, self.rows, c), s.bf16)
        with autocast(self.device, s.bf16):
            logits = self.discriminator(self._augmented(fake, rng), c)
        losses = {"generator": F.softplus(-logits.float()).mean()}
        loss = losses["generator"]
        if s.path_weight and number % s.path_interval == 0:
            losses["path"], losses["path_length"] = self._path_penalty(rng, seed)
            loss = loss + losses["path"] * (s.path_weight * s.path_interval)
        self.update_generator(loss)

        losses |= train_discriminator(
            self.discriminator,
            self.d_optimizer,
            self._augmented(fake.detach(), rng),
            self._augmented(real, rng),
            self.r1_weight(s.r1),
            s.bf16,
            (c, self._of_pictures(self._order(number)[self.rows])),
        )
        if self.augment is not None:
            sure = distributed.mean({"real": float(losses["real"].detach())})["real"]
            self.augment.observe(sure, number, s.batch)
            losses["ada_p"] = torch.tensor(self.augment.p, device=self.device)
        decay = average_decay(self.step + s.batch, s.batch, s.half_life, ramp=0.05)
        update_average(self.average, self.generator, decay)
        return losses

    def _augmented(self, images: Tensor, rng: torch.Generator) -> Tensor:
        if self.augment is None:
            return images
        return self.augment(images, rng, self.rows, self.settings.batch)

    def _of_pictures(self, indices: Tensor) -> Tensor | None:
        """The conditions of pictures, [B, c_dim]; None where there are no classes."""
        labels = self.pictures.labels
        return None if labels is None else labels[self.pictures.places[indices]].to(self.device)

    def draw_conditions(self, count: int, rng: torch.Generator) -> Tensor | None:
        if self.pictures.labels is None:  # nothing is drawn, so that all else stays as it is
            return None
        return self._of_pictures(torch.randint(len(self.pictures), (count,), generator=rng))

    def _conditions(self, rng: torch.Generator, rows: Tensor) -> Tensor | None:
        """Those of random pictures, for the rows of a batch."""
        c = self.draw_conditions(self.settings.batch, rng)
        return None if c is None else c[rows.to(c.device)]

    def _codes(self, rng: torch.Generator, rows: Tensor, c: Tensor | None) -> Tensor:
        """w of random z, [len(rows), num_ws, w_dim]; some change to a second z on the way, of the
        same class."""
        s, num_ws = self.settings, self.generator.num_ws
        z = torch.randn(2, s.batch, s.z_dim, generator=rng)[:, rows].to(self.device)
        mixed = torch.rand(s.batch, generator=rng) < s.style_mixing
        change = torch.randint(1, num_ws, (s.batch,), generator=rng)
        change = change.where(mixed, torch.full_like(change, num_ws))[rows].to(self.device)
        twice = None if c is None else torch.cat([c, c])
        first, second = self.generator.mapping(z.flatten(0, 1), twice).chunk(2)
        late = torch.arange(num_ws, device=self.device) >= change[:, None]  # [B, num_ws]
        return torch.where(late[..., None], second, first)

    def _generate(self, w: Tensor, bf16: bool) -> Tensor:
        dtype = torch.bfloat16 if bf16 else None
        noise = "random" if self.settings.noise else "none"
        return self.generator.synthesis(w, noise=noise, dtype=dtype)

    def _path_penalty(self, rng: torch.Generator, seed: int) -> tuple[Tensor, Tensor]:
        """How far the path lengths |J^T y| are from their running mean, and their mean now
        (StyleGAN2, equation 4), over half a batch, in float32."""
        rows = self.rows[: max(1, len(self.rows) // 2)]
        w = self._codes(rng, rows, self._conditions(rng, rows))
        w = w if w.requires_grad else w.requires_grad_()  # of a mapping network that stays
        image = self._generate(w, bf16=False)
        rngs = (torch.Generator().manual_seed(seed + 1 + row) for row in rows.tolist())
        y = torch.stack([torch.randn(image.shape[1:], generator=of_row) for of_row in rngs])
        y = y.to(self.device) / self.settings.resolution
        (gradient,) = torch.autograd.grad((image * y).sum(), w, create_graph=True)
        lengths = gradient.square().sum(2).mean(1).sqrt()  # [B]
        now = distributed.mean({"length": float(lengths.detach().mean())})["length"]
        self.path_mean += _PATH_DECAY * (now - self.path_mean)
        return (lengths - self.path_mean).square().mean(), lengths.detach().mean()

    @torch.no_grad()
    def validate(self, count: int | None = None) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Nothing measured, and a grid of pictures and of what the average generates; of each class
        a row, if there are some, with the same z in a column."""
        rng = torch.Generator().manual_seed(2)
        labels, places = self.pictures.labels, self.pictures.places
        if labels is None:
            z = torch.randn(32, self.settings.z_dim, generator=rng).to(self.device)
            images = [self.average.synthesis(self.average.mapping(part)) for part in z.split(8)]
            real = self.pictures[torch.arange(min(8, len(self.pictures)))]
        else:
            shown = labels.one_of_each(places, 8)
            c, real = labels[shown].to(self.device), self.pictures.read(shown)
            z = torch.randn(4, self.settings.z_dim, generator=rng).to(self.device)
            images = [self.average(one.expand(len(c), -1), c) for one in z]
        return {}, {"picture": real, **{f"sample {i}": x for i, x in enumerate(images)}}

    def facts(self) -> list[str]:
        labels = self.pictures.labels
        classes = "" if labels is None else f", with {labels.c_dim} classes"
        return [f"{len(self.pictures):,} pictures to train on{classes}"]

    def state(self) -> dict[str, Any]:
        ada = {} if self.augment is None else {"ada": self.augment.state()}
        return {**super().state(), "path_mean": self.path_mean, **ada}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.path_mean = state["path_mean"]
        if self.augment is not None:
            self.augment.load_state(state["ada"])
