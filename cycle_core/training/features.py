"""Train the networks that compare and read embedded portraits: perceptual and identity.

    cycle-core train features perceptual DATA --role metrics --out runs/p --seed 2

DATA is a folder of `cycle_core.portraits.dataset`; it may still be growing. The perceptual network
learns to read every factor as its Gaussian code; its features are the distance. The identity
network learns to point at a fixed random projection of the identity factors, whatever the pose, the
expression, the light and the glasses do: renders of one person with other attributes would share a
target. A run is resumed by the same command, exactly if the data were complete.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checkpoints.native import save_model
from ..errors import InputError
from ..measure.perceptual import Lpips, PortraitNet, PortraitNetConfig
from ..models.encoder import EMBEDDED_REDUCTION, EMBEDDED_UNITS, EMBEDDED_WIDTHS
from ..models.irse import IdentityConfig, IdentityNet
from ..portraits.dataset import PortraitData
from ..portraits.factors import (
    ATTRIBUTES,
    FACTORS,
    NAMES,
    factors_to_gaussian,
    gaussian_to_factors,
    sample_factors,
)
from ..portraits.renderer import render
from ..runtime.optim import Muon
from ..runtime.progress import Callback
from . import loop
from .data import Order
from .log import LOG
from .loop import Losses, autocast, average_decay, update_average
from .settings import FeatureTraining

# Few pixels show these, yet an edit of them must be measured: they weigh more in the regression.
HARD = {"glasses": 4.0, "mouth_open": 6.0, "smile": 5.0, "eyes_open": 6.0, "age": 8.0}
HARD |= {"light_el": 4.0, "light_az": 3.0, "pitch": 3.0, "hair_color": 2.0, "skin_tone": 2.0}
# What must be readable for a portrait to be judged; R2 on held-out renders is reported for all.
REQUIRED = ("yaw", "pitch", "smile", "mouth_open", "eyes_open", "age", "glasses", "light_az")
REQUIRED += ("light_el", "hair_color", "skin_tone")
# A person is the same in other clothes.
PERSON = tuple(i for i, f in enumerate(FACTORS) if f.group == "identity" and "cloth" not in f.name)
DISTANCE = 0.5  # mean perceptual distance of two random renders, about LPIPS of two faces
_PROJECTION_SEED = 7


def train(
    data: PortraitData,
    out: str | Path,
    settings: FeatureTraining,
    device: str | torch.device = "cpu",
    callback: Callback | None = None,
) -> nn.Module:
    """Train one network, resuming what lies in the folder `out`; gives the averaged network.

    callback: see `loop`.
    Raises InputError for other settings than those of the run, CycleError where it diverges."""
    average = loop.train(
        out, lambda _: FeatureTrainer(data, settings, torch.device(device)), callback
    ).average
    if settings.kind == "perceptual":
        calibrate(average, data)
    return average


class FeatureTrainer(loop.Trainer):
    def __init__(self, data: PortraitData, settings: FeatureTraining, device: torch.device):
        if len(data.train) == 0:
            raise InputError(f"{data.folder} holds no portraits for training yet: render more.")
        self.data, self.settings, self.device = data, settings, device
        torch.manual_seed(settings.seed)
        layout = torch.channels_last  # twice as fast on a CPU
        self.net = make(settings).to(device, memory_format=layout)  # type: ignore[call-overload]
        self.average = make(settings).to(device).eval().requires_grad_(False)
        self.average.load_state_dict(self.net.state_dict())
        self.optimizer = Muon(self.net.parameters(), lr=settings.lr)
        self.rng = torch.Generator().manual_seed(settings.seed)
        self.rngs = {"augment": self.rng}
        self.order = Order(data.recipe.count, settings.batch, settings.seed)

    def parts(self) -> dict[str, Any]:
        return {"net": self.net, "average": self.average, "optimizer": self.optimizer}

    def advance(self) -> Losses:
        s, step = self.settings, self.step
        if step % 100 == 0:
            self.data.refresh()
        places = self.data.train
        images, factors, _, _ = self.data.batch(places[self.order(step).numpy() % len(places)])
        images = augment(images, self.rng).to(self.device, memory_format=torch.channels_last)
        for group in self.optimizer.param_groups:
            group["lr"] = s.lr * _schedule(step / s.steps)
        self.net.train()
        with autocast(self.device, s.bf16):
            out = self.net(images)
        loss = objective(s.kind, out.float(), factors.to(self.device))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        update_average(self.average, self.net, average_decay(step * s.batch, s.batch, s.half_life))
        self.step += 1
        return {"loss": loss}

    def status(self) -> dict[str, Any]:
        return {"portraits": len(self.data)}

    def validate(self, count: int | None = None) -> tuple[dict[str, float], dict[str, Tensor]]:
        return measure(self.average, self.data), {}


# ------------------------------------------------------------------ networks and targets
def make(settings: FeatureTraining) -> nn.Module:
    """The untrained network of a kind and role, from torch's random numbers."""
    loss = settings.role == "loss"
    if settings.kind == "perceptual":
        widths = (32, 64, 96, 128) if loss else (32, 56, 112, 144)
        return PortraitNet(PortraitNetConfig(NAMES, widths))
    return IdentityNet(
        IdentityConfig(  # in the role "loss" the body is that of the embedded encoder
            widths=EMBEDDED_WIDTHS if loss else (20, 28, 56, 88, 144),
            units=EMBEDDED_UNITS if loss else (1, 1, 3, 2),
            reduction=EMBEDDED_REDUCTION if loss else 4,
            embedding=64,
            input_size=64,
            crop=None,
            stem_stride=2,
        )
    )


def objective(kind: str, out: Tensor, factors: Tensor) -> Tensor:
    """The loss of a batch, float [].

    perceptual: out [B, COUNT] codes, weighted squared error; of what is absent (no glasses) only
    codes above the threshold of being seen are wrong. identity: out [B, 64], 1 - cosine."""
    codes, bounds = visible_codes(factors)
    if kind == "identity":
        return 1 - (out * identity_target(codes)).sum(1).mean()
    excess = (out - bounds).clamp(min=0)
    error = torch.where(codes <= bounds, excess, out - codes)
    weights = torch.tensor([HARD.get(name, 1.0) for name in NAMES]).to(out)
    return (error.square() * weights).mean() / weights.mean()


def visible_codes(factors: Tensor) -> tuple[Tensor, Tensor]:
    """(the Gaussian codes of factors [B, COUNT], at most 3 from zero and not below the bounds;
    the bounds [COUNT], at which a factor that can be absent begins to be seen)."""
    low = torch.tensor([f.low for f in FACTORS]).to(factors)
    high = torch.tensor([f.high for f in FACTORS]).to(factors)
    bounds = factors_to_gaussian((low + 1e-5 * (high - low))[None])[0]
    bounds = torch.where(torch.tensor([f.absent > 0 for f in FACTORS]).to(low.device), bounds, -3.0)
    return torch.maximum(factors_to_gaussian(factors).clamp(-3, 3), bounds), bounds


def identity_target(codes: Tensor) -> Tensor:
    """Gaussian codes [B, COUNT] -> unit vectors [B, 64]: equal for equal people."""
    rng = torch.Generator().manual_seed(_PROJECTION_SEED)
    basis, _ = torch.linalg.qr(torch.randn(64, len(PERSON), generator=rng))
    return F.normalize(codes[:, list(PERSON)] @ basis.T.to(codes), dim=1)


def augment(images: Tensor, rng: torch.Generator) -> Tensor:
    """What a generator's pictures differ by from renders: a shift of up to 2 pixels, blur, noise,
    a slight change of colour. images: [B, 3, H, W] in [-1, 1]; gives the same shape."""
    b, size = len(images), images.shape[-1]

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(b, *shape, generator=rng)

    theta = torch.zeros(b, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = uniform(0.97, 1.03)
    theta[:, :, 2] = uniform(-4 / size, 4 / size, 2)  # in units of half the picture
    theta[uniform(0, 1) < 0.3] = torch.eye(2, 3)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    share = uniform(0, 1, 1, 1, 1) * (uniform(0, 1, 1, 1, 1) < 0.25)
    window = torch.tensor([1.0, 2.0, 1.0]) / 4
    window = (window[:, None] * window).expand(3, 1, 3, 3)
    blurred = F.conv2d(F.pad(images, (1, 1, 1, 1), mode="reflect"), window, groups=3)
    images = torch.lerp(images, blurred, share)
    images = images * uniform(0.95, 1.05, 3, 1, 1) + uniform(-0.03, 0.03, 3, 1, 1)
    strength = uniform(0, 0.05, 1, 1, 1) * (uniform(0, 1, 1, 1, 1) < 0.3)
    return images + strength * torch.randn(images.shape, generator=rng)


# ------------------------------------------------------------------ quality
@torch.no_grad()
def calibrate(net: nn.Module, data: PortraitData) -> None:
    """Set the layer weights of the perceptual distance, see `PortraitNet.layer_weights`."""
    assert isinstance(net, PortraitNet)
    images = _held_out(data)[0].to(net.tap_weights.device)
    half = len(images) // 2
    lpips = Lpips(net, "")
    a, b = lpips.features(images[:half]), lpips.features(images[half : 2 * half])
    means = torch.stack([(x - y).square().sum(1).mean() for x, y in zip(a, b, strict=True)])
    net.tap_weights.copy_(DISTANCE / len(means) / means)


@torch.no_grad()
def measure(net: nn.Module, data: PortraitData) -> dict[str, float]:
    """Quality on the held-out portraits: R2 of every factor, or the mean cosine with the target."""
    images, factors = _held_out(data)
    device = next(net.parameters()).device
    out = torch.cat([net(part.to(device)).float().cpu() for part in images.split(250)])
    if isinstance(net, IdentityNet):
        return {"cosine": float((out * identity_target(visible_codes(factors)[0])).sum(1).mean())}
    error = (gaussian_to_factors(out) - factors).square().mean(0)
    r2 = 1 - error / factors.var(0, unbiased=False)
    return {f"r2_{name}": float(value) for name, value in zip(NAMES, r2, strict=True)}


@torch.no_grad()
def verify(net: nn.Module, people: int = 30, seed: int = 0) -> dict[str, float]:
    """Does the identity network know people again? Four renders of each with random attributes.

    same, other: mean cosine of pairs; auc: how often a same pair is above another; rank1: how often
    the nearest of all other pictures is of the same person."""
    factors = sample_factors(4 * people, seed + 99_991)
    factors = factors.view(people, 4, -1)
    who = [i for i in range(len(NAMES)) if i not in ATTRIBUTES]
    factors[:, 1:, who] = factors[:, :1, who]
    size = net.config.input_size if isinstance(net, IdentityNet) else 64
    e = net(render(factors.flatten(0, 1), size).image).cpu()
    cosine = e @ e.T
    label = torch.arange(len(e)) // 4
    same = (label[:, None] == label) & ~torch.eye(len(e), dtype=torch.bool)
    other = label[:, None] != label
    a, b = cosine[same], cosine[other].sort().values
    nearest = (cosine - 2 * torch.eye(len(e))).argmax(1)
    return {
        "same": float(a.mean()),
        "other": float(b.mean()),
        "auc": float(torch.searchsorted(b, a).float().mean() / len(b)),
        "rank1": float((label[nearest] == label).float().mean()),
    }


def _held_out(data: PortraitData) -> tuple[Tensor, Tensor]:
    images, factors, _, _ = data.batch(data.held_out)
    return images, factors


def _schedule(progress: float) -> float:
    return min(1.0, progress / 0.1 + 0.01) * 0.5 * (1 + math.cos(math.pi * progress))


def table(quality: Mapping[str, float]) -> str:
    """R2 values as lines of text, the required ones first, or whatever there is."""
    names = [n.removeprefix("r2_") for n in quality]
    names.sort(key=lambda n: (n not in REQUIRED, n))
    rows = [f"{n:12s} {quality.get(f'r2_{n}', quality.get(n, 0.0)):7.4f}" for n in names]
    return "\n".join("   ".join(rows[i : i + 3]) for i in range(0, len(rows), 3))


def save(
    path: Path, net: nn.Module, settings: FeatureTraining, run: Path, quality: Mapping[str, float]
) -> None:
    """Write a trained network as a model file, in half precision, with how it was made."""
    seconds = [json.loads(line)["seconds"] for line in (run / LOG).read_text().splitlines()]
    command = f"cycle-core train features {settings.kind} DATA --role {settings.role}"
    command += f" --seed {settings.seed} --steps {settings.steps} --batch {settings.batch}"
    metadata = {
        "command": f"{command} --lr {settings.lr}",
        "seed": str(settings.seed),
        "steps": str(settings.steps),
        "seconds": str(round(max(seconds, default=0.0))),
        "quality": json.dumps({k: round(v, 4) for k, v in quality.items()}),
    }
    state = net.state_dict()
    save_model(path, settings.kind, net.config, state, metadata, dtype=torch.float16)


if __name__ == "__main__":
    import runpy
    import sys

    sys.argv[1:1] = ["train", "features"]
    runpy.run_module("cycle_core.cli", run_name="__main__")
