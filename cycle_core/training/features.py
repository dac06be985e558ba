"""Train the networks that compare and read embedded portraits: perceptual and identity.

    python -m cycle_core.training.features perceptual DATA --role metrics --out runs/p --seed 2

DATA is a folder of `cycle_core.portraits.dataset`; it may still be growing. The perceptual network
learns to read every factor as its Gaussian code; its features are the distance. The identity
network learns to point at a fixed random projection of the identity factors, whatever the pose, the
expression, the light and the glasses do: renders of one person with other attributes would share a
target. A run is resumed by the same command, exactly if the data were complete.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from ..checkpoints.native import save_model
from ..errors import CycleError, InputError
from ..files.assets import ASSETS
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
from . import common

KINDS, ROLES = ("perceptual", "identity"), ("loss", "metrics")
# Few pixels show these, yet an edit of them must be measured: they weigh more in the regression.
HARD = {"glasses": 4.0, "mouth_open": 6.0, "smile": 5.0, "eyes_open": 6.0, "age": 8.0}
HARD |= {"light_el": 4.0, "light_az": 3.0, "pitch": 3.0, "hair_color": 2.0, "skin_tone": 2.0}
# What must be readable for a portrait to be judged; R2 on held-out renders is reported for all.
REQUIRED = ("yaw", "pitch", "smile", "mouth_open", "eyes_open", "age", "glasses", "light_az")
REQUIRED += ("light_el", "hair_color", "skin_tone")
# A person is the same in other clothes.
PERSON = tuple(i for i, f in enumerate(FACTORS) if f.group == "identity" and "cloth" not in f.name)
DISTANCE = 0.5  # mean perceptual distance of two random renders, about LPIPS of two faces
LOG_EVERY, SAVE_EVERY, MEASURE_EVERY = 50, 250, 500  # steps; all three also at the end
_PROJECTION_SEED = 7


@dataclass(frozen=True)
class FeatureTraining:
    """The settings of a run; a resumed run must have the same."""

    kind: str  # "perceptual" or "identity"
    role: str  # "loss" or "metrics": they differ in width, and should in seed
    seed: int = 1
    steps: int = 600
    batch: int = 64
    lr: float = 6e-3  # Muon's; a tenth of the steps to warm up, then a cosine down to zero
    half_life: int = 4000  # images, of the averaged weights
    bf16: bool = False  # see `common.autocast`

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.role not in ROLES:
            raise InputError(
                f"The kinds are {', '.join(KINDS)} and the roles {', '.join(ROLES)}, but "
                f"{self.kind!r} and {self.role!r} were given."
            )
        if self.steps < 1 or self.batch < 2:
            raise InputError(
                f"A training needs at least 1 step and a batch of at least 2, but {self.steps} and "
                f"{self.batch} were given."
            )


def train(
    data: PortraitData,
    out: str | Path,
    settings: FeatureTraining,
    device: str | torch.device = "cpu",
    callback: Callable[[int, int], None] | None = None,
) -> nn.Module:
    """Train one network, resuming what lies in the folder `out`; gives the averaged network.

    callback(step, total) may raise to stop; at most the work since the last checkpoint is lost.
    Raises InputError for other settings than those of the run, CycleError where it diverges."""
    run = _Run(common.make_run(out), data, settings, torch.device(device))
    for step in range(run.step, settings.steps):
        run.train_step(step)
        run.keep(step + 1)
        if callback is not None:
            callback(step + 1, settings.steps)
    if settings.kind == "perceptual":
        calibrate(run.average, data)
    return run.average


class _Run:
    """What changes while a network is trained, and where it is kept."""

    def __init__(
        self, folder: Path, data: PortraitData, settings: FeatureTraining, device: torch.device
    ):
        if len(data.train) == 0:
            raise InputError(f"{data.folder} holds no portraits for training yet: render more.")
        self.folder, self.data, self.settings, self.device = folder, data, settings, device
        torch.manual_seed(settings.seed)
        layout = torch.channels_last  # twice as fast on a CPU
        self.net = make(settings).to(device, memory_format=layout)  # type: ignore[call-overload]
        self.average = make(settings).to(device).eval().requires_grad_(False)
        self.average.load_state_dict(self.net.state_dict())
        self.optimizer = Muon(self.net.parameters(), lr=settings.lr)
        self.random = torch.Generator().manual_seed(settings.seed)
        self.order = common.Order(data.recipe.count, settings.batch, settings.seed)
        self.means, self.step = common.Means(), 0
        stored = common.load_checkpoint(folder)
        if stored is not None:
            common.check_same(folder, stored["settings"], asdict(settings))
            self.net.load_state_dict(stored["net"])
            self.average.load_state_dict(stored["average"])
            self.optimizer.load_state_dict(stored["optimizer"])
            common.set_random_states(stored["random"], {"augment": self.random})
            self.step = stored["step"]
        self.log = common.Log(folder, self.step)

    def train_step(self, step: int) -> None:
        s = self.settings
        if step % 100 == 0:
            self.data.refresh()
        places = self.data.train
        images, factors, _, _ = self.data.batch(places[self.order(step).numpy() % len(places)])
        images = augment(images, self.random).to(self.device, memory_format=torch.channels_last)
        for group in self.optimizer.param_groups:
            group["lr"] = s.lr * _schedule(step / s.steps)
        self.net.train()
        with common.autocast(self.device, s.bf16):
            out = self.net(images)
        loss = objective(s.kind, out.float(), factors.to(self.device))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        decay = common.average_decay(step * s.batch, s.batch, s.half_life)
        common.update_average(self.average, self.net, decay)
        self.means.add(loss=loss)

    def keep(self, step: int) -> None:
        """Log, measure and save where it is time."""
        last = step == self.settings.steps
        if step % LOG_EVERY == 0 or last:
            values = self.means.pop(step)
            if step % MEASURE_EVERY == 0 or last:
                values |= measure(self.average, self.data)
            self.log.write(step, portraits=len(self.data), **values)
        if step % SAVE_EVERY == 0 or last:
            common.save_checkpoint(
                self.folder,
                {
                    "settings": asdict(self.settings),
                    "step": step,
                    "net": self.net.state_dict(),
                    "average": self.average.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "random": common.random_states({"augment": self.random}),
                },
            )


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
    random = torch.Generator().manual_seed(_PROJECTION_SEED)
    basis, _ = torch.linalg.qr(torch.randn(64, len(PERSON), generator=random))
    return F.normalize(codes[:, list(PERSON)] @ basis.T.to(codes), dim=1)


def augment(images: Tensor, random: torch.Generator) -> Tensor:
    """What a generator's pictures differ by from renders: a shift of up to 2 pixels, blur, noise,
    a slight change of colour. images: [B, 3, H, W] in [-1, 1]; gives the same shape."""
    b, size = len(images), images.shape[-1]

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(b, *shape, generator=random)

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
    return images + strength * torch.randn(images.shape, generator=random)


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


def _table(quality: Mapping[str, float]) -> str:
    """R2 values as lines of text, the required ones first, or whatever there is."""
    names = [n.removeprefix("r2_") for n in quality]
    names.sort(key=lambda n: (n not in REQUIRED, n))
    rows = [f"{n:12s} {quality.get(f'r2_{n}', quality.get(n, 0.0)):7.4f}" for n in names]
    return "\n".join("   ".join(rows[i : i + 3]) for i in range(0, len(rows), 3))


# ------------------------------------------------------------------ command
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m cycle_core.training.features", description="Train a network over portraits."
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("data", help="folder of cycle_core.portraits.dataset")
    parser.add_argument("--role", choices=ROLES, required=True)
    parser.add_argument("--out", help="folder of the run; runs/KIND_ROLE by default")
    parser.add_argument("--save", help="model file; the embedded one by default")
    parser.add_argument("--seed", type=int, default=None, help="1 for losses, 2 for metrics")
    parser.add_argument("--steps", type=int, default=FeatureTraining.steps)
    parser.add_argument("--batch", type=int, default=FeatureTraining.batch)
    parser.add_argument("--lr", type=float, default=FeatureTraining.lr)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    a = parser.parse_args(arguments)
    torch.set_num_threads(a.threads)
    name = f"{a.kind}_{a.role}"
    settings = FeatureTraining(a.kind, a.role, steps=a.steps, batch=a.batch, lr=a.lr, bf16=a.bf16)
    settings = replace(settings, seed=1 + ROLES.index(a.role) if a.seed is None else a.seed)
    out = Path(a.out or f"runs/{name}")
    try:
        data = PortraitData(a.data)
        with tqdm(total=a.steps, desc=name, mininterval=5) as bar:
            net = train(data, out, settings, a.device, lambda step, _: _advance(bar, step))
        quality = measure(net, data)
        if a.kind == "identity":
            quality |= verify(net)
        _save(
            Path(a.save) if a.save else ASSETS / f"{name}.safetensors", net, settings, out, quality
        )
    except CycleError as error:
        print(error, file=sys.stderr)
        return 2
    print(_table(quality))
    return 0


def _advance(bar: Any, step: int) -> None:
    bar.update(step - bar.n)


def _save(
    path: Path, net: nn.Module, settings: FeatureTraining, run: Path, quality: Mapping[str, float]
) -> None:
    seconds = [json.loads(line)["seconds"] for line in (run / common.LOG).read_text().splitlines()]
    command = f"python -m cycle_core.training.features {settings.kind} DATA --role {settings.role}"
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
    sys.exit(main())
