"""Train the network that predicts the detail of a picture in one pass (`cycle_core/models/
detail_encoder.py`).

    python -m people.training detail SETS --out RUN

It sees squares cut out of renders and of what the generator renders of their codes, and minimises
what tuning minimises, L2 and LPIPS, for the picture that comes of its detail. Most pictures are
made strange first, so that it learns to bring back what no render has.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cycle_core.bench.sets import open_set
from cycle_core.checkpoints.native import save_model
from cycle_core.errors import InputError
from cycle_core.files.disk import sha256
from cycle_core.invert.encode import encode
from cycle_core.invert.objective import Objective
from cycle_core.invert.settings import TuneSettings
from cycle_core.measure.selection import Networks
from cycle_core.models.detail_encoder import DetailEncoder, DetailEncoderConfig
from cycle_core.models.encoder import Encoder
from cycle_core.models.generator import Generator
from cycle_core.models.synthesis import BelowDetail
from cycle_core.runtime.devices import autocast
from cycle_core.runtime.optim import average_decay, update_average
from cycle_core.runtime.progress import Callback
from cycle_core.runtime.session import frozen_copy
from cycle_core.training import loop
from cycle_core.training.data import Order
from cycle_core.training.loop import Losses

from .settings import DetailTraining

SIDE = 32  # of a square, in features
MARGIN = 2  # features around it, whose picture is not judged: convolutions end there
SPLIT = "tuning"
SETS = ("inside", "outside")
HELD_OUT = 8  # people of each set, for validation


def train(
    G: Generator,
    E: Encoder,
    data: Path,
    out: Path,
    settings: DetailTraining,
    callback: Callback | None = None,
) -> DetailEncoder:
    """Train in the folder `out`, or resume there; gives the averaged network. data: a folder of
    `make sets SPLIT=tuning`. Raises as `loop.train` and `open_set`."""
    return loop.train(out, lambda _: DetailTrainer(G, E, data, settings), callback).average


class DetailTrainer(loop.Trainer):
    PARTS = ("net", "average", "optimizer")

    def __init__(self, G: Generator, E: Encoder, data: Path, settings: DetailTraining):
        self.settings, self.device, self.generator_id = settings, G.device, G.base_fingerprint
        self.G, self.E = frozen_copy(G), frozen_copy(E)
        self.synthesis = self.G.synthesis
        self.synthesis.add_detail(TuneSettings().detail_size)  # tells where it comes in
        self.synthesis.detail = None
        block = self.synthesis.detail_at
        channels, size, _ = self.synthesis.feature_shapes[block]
        self.scale, self.size = G.resolution // size, size
        if self.size < SIDE + 2 * MARGIN:
            raise InputError(
                f"The detail of this generator has {size} pixels, of which {SIDE + 2 * MARGIN} are "
                "cut out: a larger generator is needed."
            )
        networks = Networks.for_loss(True).to(self.device).frozen()
        self.objective = Objective(TuneSettings().l2, TuneSettings().lpips, networks=networks)
        files = [data / f"{name}-{SPLIT}.safetensors" for name in SETS]
        people = [_pictures(data, name) for name in SETS]  # uint8 [N, 1 + E, 3, R, R]
        self.digest = "".join(sha256(file)[:8] for file in files)
        self.pictures = torch.cat([one[HELD_OUT:].flatten(0, 1) for one in people])
        self.held_out = torch.cat([one[:HELD_OUT, 0] for one in people])
        self.validated = len(self.held_out)
        torch.manual_seed(settings.seed)
        config = DetailEncoderConfig(block, channels, self.scale, settings.width)
        self.net, self.average = DetailEncoder(config), DetailEncoder(config)
        with torch.no_grad():
            below, _ = self._below(_floats(self.held_out))
            self.net.deviations.copy_(below.features.std((0, 2, 3)))
        self.average.load_state_dict(self.net.state_dict())
        self.net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average.to(self.device).eval().requires_grad_(False)
        self.optimizer = torch.optim.Adam(
            self.net.parameters(), settings.learning_rate, (0.9, 0.99)
        )
        self.rng = torch.Generator().manual_seed(settings.seed)
        self.rngs = {"run": self.rng}
        self.order = Order(len(self.pictures), settings.batch, settings.seed)

    @torch.no_grad()
    def _below(self, images: Tensor, share: Tensor | None = None) -> tuple[BelowDetail, Tensor]:
        """What the generator has made of the codes of pictures [B,3,R,R], and renders of them.
        share: [B,1,1], of the way to the mean code, which codes go."""
        w = encode(self.E, images.to(self.device)).w
        if share is not None:
            w = torch.lerp(w, self.G.w_avg.expand_as(w), share.to(w))
        below = self.synthesis.below_detail(w)
        return below, self.synthesis.above_detail(below, None)

    def advance(self) -> Losses:
        s, step, rng = self.settings, self.step, self.rng
        images = _floats(self.pictures[self.order(step)])
        images = torch.where(_chance(images, 0.5, rng), images.flip(3), images)
        others = _floats(
            self.pictures[torch.randint(0, len(self.pictures), (s.batch,), generator=rng)]
        )
        share = 0.5 * torch.rand(s.batch, 1, 1, generator=rng) * _chance(images, 0.4, rng)[:, 0]
        below, rendered = self._below(images, share)
        images = strange(images, others, rng).to(self.device)
        below, parts = self._cut(below, images, rendered)
        for group in self.optimizer.param_groups:
            group["lr"] = s.learning_rate * _schedule(step, s.steps)
        image, rendered = parts
        with autocast(self.device, s.bf16):
            detail = self.net(image, rendered, below.features).float()
        made = self.synthesis.above_detail(below, detail, "none")
        edge = MARGIN * self.scale
        inner = [x[:, :, edge:-edge, edge:-edge] for x in (made, image)]
        terms = self.objective(inner[0], self.objective.target(inner[1]))
        self.optimizer.zero_grad(set_to_none=True)
        terms.total.mean().backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        decay = average_decay(step * s.batch, s.batch, s.half_life)
        update_average(self.average, self.net, decay)
        self.step += 1
        return {"l2": terms.l2.mean(), "lpips": terms.lpips.mean()}

    def _cut(self, below: BelowDetail, *images: Tensor) -> tuple[BelowDetail, list[Tensor]]:
        """`squares` of them at random places of each picture: alike of features and pictures."""
        side, count = SIDE + 2 * MARGIN, self.settings.squares
        rows = torch.arange(len(below.features)).repeat(count)
        places = torch.randint(0, (self.size - side) // 2 + 1, (len(rows), 2), generator=self.rng)

        def cut(x: Tensor, scale: float) -> Tensor:
            length = int(side * scale)
            corners = (places * (2 * scale)).int().tolist()
            return torch.stack([
                x[row, :, top : top + length, left : left + length]
                for row, (top, left) in zip(rows.tolist(), corners, strict=True)
            ])  # fmt: skip

        styles = [[style[rows] for style in block] for block in below.styles]
        assert below.image is not None
        part = BelowDetail(cut(below.features, 1), cut(below.image, 0.5), styles)
        return part, [cut(image, self.scale) for image in images]

    @torch.no_grad()
    def validate(self, count: int | None = None) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Of held-out people without and with the detail that is predicted."""
        images = _floats(self.held_out[: count or len(self.held_out)]).to(self.device)
        below, rendered = self._below(images)
        made = self.synthesis.above_detail(below, self.average(images, rendered, below.features))
        target = self.objective.target(images)
        measured = {
            name: {"l2": float(terms.l2.mean()), "lpips": float(terms.lpips.mean())}
            for name, picture in (("encoded", rendered), ("with detail", made))
            for terms in [self.objective(picture, target)]
        }
        half = HELD_OUT // 2
        shown = torch.cat([torch.arange(half), HELD_OUT + torch.arange(half)])[: len(images)]
        columns = {"picture": images, "encoded": rendered, "with detail": made}
        return {"validation": measured}, {name: x[shown] for name, x in columns.items()}

    def export(self, folder: Path, measured: dict[str, Any]) -> None:
        """Write `detail.safetensors`."""
        metadata = {
            "generator": self.generator_id,
            "steps": str(self.step),
            "training": json.dumps(asdict(self.settings)),
            "validation": json.dumps(measured["validation"]),
        }
        state = self.average.state_dict()
        save_model(folder / "detail.safetensors", "detail", self.average.config, state, metadata)


def _pictures(folder: Path, name: str) -> Tensor:
    """uint8 [N, 1 + E, 3, R, R]: each person and the true edits."""
    people = open_set(name, None, folder, SPLIT)
    pictures = torch.empty(*people.edited.shape, dtype=torch.uint8)
    pictures = torch.cat([pictures[:, :1], pictures], 1)
    for person, image, edited in zip(pictures, people.images, people.edited, strict=True):
        person.copy_(torch.cat([image[None], edited]).mul_(127.5).add_(127.5).round_())
    return pictures


def _floats(pictures: Tensor) -> Tensor:
    return pictures.float() / 127.5 - 1


def _schedule(step: int, steps: int) -> float:
    """A warm-up of 100 steps, then a cosine."""
    return min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _chance(images: Tensor, chance: float, rng: torch.Generator) -> Tensor:
    """Which pictures something happens to: bool [B,1,1,1]."""
    return torch.rand(len(images), 1, 1, 1, generator=rng) < chance


def strange(images: Tensor, others: Tensor, rng: torch.Generator) -> Tensor:
    """Pictures [B,3,R,R] in [-1,1] with things that renders do not have: pieces of others, flat
    shapes, stripes and grain, other tones and colours, sharper and softer ones."""
    size = images.shape[-1]

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(len(images), *(shape or (1, 1, 1)), generator=rng)

    def blobs(cells: int, least: float, most: float) -> Tensor:
        field = torch.randn(len(images), 1, cells, cells, generator=rng)
        return F.interpolate(field, size=size, mode="bicubic") - uniform(least, most)

    piece = torch.sigmoid(20 * blobs(12, 0.3, 1.2)) * _chance(images, 0.35, rng)
    x = torch.lerp(images, others, piece)
    flat = (blobs(16, 0.8, 1.5) > 0) & _chance(images, 0.2, rng)
    x = torch.where(flat, uniform(-1, 1, 3, 1, 1), x)
    coarse = size >> int(torch.randint(0, 4, (), generator=rng))
    grain = F.interpolate(torch.randn(len(x), 3, coarse, coarse, generator=rng), size=size)
    x = x + grain * uniform(0, 0.25) * ((blobs(10, 0, 0) > 0) & _chance(x, 0.25, rng))
    angle, period, places = uniform(0, math.tau), uniform(3, 24), torch.arange(size)
    waves = torch.sin((places * angle.cos() + places[:, None] * angle.sin()) * math.tau / period)
    striped = (blobs(10, 0.3, 0.3) > 0) & _chance(x, 0.15, rng)
    x = x + waves.sign() * uniform(-0.5, 0.5, 3, 1, 1) * striped
    toned = _chance(x, 0.6, rng)
    light = (x.clamp(-1, 1) / 2 + 0.5 + 1e-4) ** uniform(-0.4, 0.4).exp()
    light = (2 * light - 1) * uniform(0.75, 1.25, 3, 1, 1) + uniform(-0.15, 0.15, 3, 1, 1)
    x = torch.where(toned, light, x)
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
    x = torch.lerp(x, soft, uniform(-1.5, 1.0) * _chance(x, 0.6, rng))
    return x.clamp(-1, 1)
