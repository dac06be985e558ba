"""Train a generator on pictures of which nothing else is known, as StyleGAN2 does.

Non-saturating loss, lazy R1, path lengths and style mixing are those of Karras et al. 2020; the
discriminator halves by averages instead of filtered strides. What is exported is the running
average of the weights.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from ..files.shards import read_json, write_json
from ..models.generator import Generator
from ..models.stylegan2 import GeneratorConfig
from ..runtime import distributed
from .common import Ahead, Order, autocast, average_decay, make_run, update_average
from .data import Pictures, open_all
from .discriminator import Discriminator, check_batch, train_discriminator
from .generator_settings import FREE, AdversarialTraining
from .running import Callback, Run, export, follow

PICTURES = "pictures.json"  # in the run's folder: what it was started with
_PATH_DECAY = 0.01  # of the running mean of path lengths


def train(
    folder: str | Path,
    out: str | Path,
    settings: AdversarialTraining,
    callback: Callback | None = None,
) -> Generator:
    """Train (or resume) in the folder `out`, alone or as one of the processes of torchrun; gives
    the averaged generator, also saved there as `generator.safetensors`.

    folder: of pictures, as `data.open_all` takes it. callback: see `running.follow`.
    Raises InputError for impossible settings, broken pictures or another run's folder, CycleError
    where the training diverges."""
    with distributed.together():
        out = make_run(out)
    known = read_json(out / PICTURES).get("digest", "")
    pictures = open_all(folder, settings.resolution, known)
    if known not in ("", pictures.digest):
        raise InputError(
            f"The run in {out} was started with other pictures than those in {folder} now: bring "
            "them back, or choose another --out."
        )
    if distributed.rank() == 0:
        found = {"folder": str(folder), "count": len(pictures), "digest": pictures.digest}
        write_json(out / PICTURES, found)
    return follow(_Run(pictures, settings), out, FREE, callback)


class _Run(Run):
    """The models, optimisers and counters of one training."""

    def __init__(self, pictures: Pictures, settings: AdversarialTraining):
        s = self.settings = settings
        self.seen, self.device = 0, torch.device(s.device)
        check_batch(s.batch)
        self.pictures = pictures
        torch.manual_seed(s.seed)  # all processes begin with the same weights
        config = GeneratorConfig(
            resolution=s.resolution,
            z_dim=s.z_dim,
            w_dim=s.w_dim,
            mapping_layers=s.mapping_layers,
            channels=s.channels,
        )
        self.generator = Generator(config).to(self.device)
        for name, parameter in self.generator.named_parameters():
            if name.endswith("noise_strength"):
                parameter.requires_grad_(s.noise)
        self.discriminator = Discriminator(config).to(self.device)
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        trained = [p for p in self.generator.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(trained, s.lr, (0.0, 0.99))
        self.d_optimizer = torch.optim.Adam(self.discriminator.parameters(), s.lr, (0.0, 0.99))
        self.path_mean = 0.0
        self.rows = torch.arange(s.batch)[distributed.rank() :: distributed.world_size()]
        order = Order(len(pictures), s.batch, s.seed)
        self._real = Ahead(lambda step: pictures[order(step)[self.rows]])

    def step(self) -> dict[str, Tensor]:
        """One update of both networks; gives the losses, scalars."""
        s = self.settings
        number, seed = self.seen // s.batch, s.seed << 40 | self.seen
        torch.manual_seed(seed + distributed.rank())  # of the noise maps
        random = torch.Generator().manual_seed(seed)  # of the rest, the same in every process
        with distributed.together():  # a damaged shard is told by whichever process meets it
            real = self._real(number)
        mirrored = torch.rand(s.batch, generator=random)[self.rows] < (0.5 if s.mirror else 0)
        real = torch.where(mirrored[:, None, None, None], real.flip(3), real).to(self.device)

        self.discriminator.requires_grad_(False)
        fake = self._draw(self._codes(random, self.rows))
        with autocast(self.device, s.bf16):
            logits = self.discriminator(fake)
        losses = {"generator": F.softplus(-logits.float()).mean()}
        loss = losses["generator"]
        if s.path_weight and number % s.path_interval == 0:
            losses["path"], losses["path_length"] = self._path_penalty(random, seed)
            loss = loss + losses["path"] * (s.path_weight * s.path_interval)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        distributed.average_gradients(self.generator.parameters())
        self.optimizer.step()

        r1_weight = 0.0 if number % s.r1_interval else s.r1 / 2 * s.r1_interval
        losses |= train_discriminator(
            self.discriminator, self.d_optimizer, fake.detach(), real, r1_weight, s.bf16
        )
        self.seen += s.batch
        decay = average_decay(self.seen, s.batch, s.half_life, ramp=0.05)
        update_average(self.average, self.generator, decay)
        return losses

    def _codes(self, random: torch.Generator, rows: Tensor) -> Tensor:
        """w of drawn z, [len(rows), num_ws, w_dim]; some change to a second z on the way."""
        s, num_ws = self.settings, self.generator.num_ws
        z = torch.randn(2, s.batch, s.z_dim, generator=random)[:, rows].to(self.device)
        mixed = torch.rand(s.batch, generator=random) < s.style_mixing
        change = torch.randint(1, num_ws, (s.batch,), generator=random)
        change = change.where(mixed, torch.full_like(change, num_ws))[rows].to(self.device)
        first, second = self.generator.mapping(z.flatten(0, 1)).chunk(2)
        late = torch.arange(num_ws, device=self.device) >= change[:, None]  # [B, num_ws]
        return torch.where(late[..., None], second, first)

    def _draw(self, w: Tensor) -> Tensor:
        dtype = torch.bfloat16 if self.settings.bf16 else None
        noise = "random" if self.settings.noise else "none"
        return self.generator.synthesis(w, noise=noise, dtype=dtype)

    def _path_penalty(self, random: torch.Generator, seed: int) -> tuple[Tensor, Tensor]:
        """How far the path lengths |J^T y| are from their running mean, and their mean now
        (StyleGAN2, equation 4), over half a batch, in float32."""
        rows = self.rows[: max(1, len(self.rows) // 2)]
        w = self._codes(random, rows)
        noise = "random" if self.settings.noise else "none"
        image = self.generator.synthesis(w, noise=noise)
        y = torch.stack([_normal(image.shape[1:], seed + 1 + row) for row in rows.tolist()])
        y = y.to(self.device) / self.settings.resolution
        (gradient,) = torch.autograd.grad((image * y).sum(), w, create_graph=True)
        lengths = gradient.square().sum(2).mean(1).sqrt()  # [B]
        now = distributed.mean({"length": float(lengths.detach().mean())})["length"]
        self.path_mean += _PATH_DECAY * (now - self.path_mean)
        return (lengths - self.path_mean).square().mean(), lengths.detach().mean()

    @torch.no_grad()
    def evaluate(self) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Nothing measured, and a grid of pictures and of what the average draws."""
        random = torch.Generator().manual_seed(2)
        z = torch.randn(32, self.settings.z_dim, generator=random).to(self.device)
        images = [self.average.synthesis(self.average.mapping(part)) for part in z.split(8)]
        real = self.pictures[torch.arange(min(8, len(self.pictures)))]
        return {}, {"picture": real, **{f"sample {i}": x for i, x in enumerate(images)}}

    def state(self) -> dict[str, Any]:
        return {**super().state(), "path_mean": self.path_mean}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.path_mean = state["path_mean"]

    def export(self, path: Path, measured: dict[str, float]) -> None:
        export(self.average, path, self.seen, self.settings)


def _normal(shape: tuple[int, ...] | torch.Size, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
