"""Train the networks that compare and read people of the embedded world: perceptual and identity.

    python -m people.training features perceptual DATA --role metrics --out runs/p --seed 2

DATA is a folder of `make people`; it may still be growing. The perceptual network
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

from cycle_core.checkpoints.native import save_model
from cycle_core.errors import InputError
from cycle_core.measure.perceptual import Lpips, PortraitNet, PortraitNetConfig
from cycle_core.models.encoder import EMBEDDED_REDUCTION, EMBEDDED_UNITS, EMBEDDED_WIDTHS
from cycle_core.models.irse import IdentityConfig, IdentityNet
from cycle_core.runtime.devices import autocast
from cycle_core.runtime.optim import Muon, average_decay, update_average
from cycle_core.runtime.progress import Callback
from cycle_core.training import loop
from cycle_core.training.data import Order
from cycle_core.training.log import LOG
from cycle_core.training.loop import Losses

from .renders import Renders
from .settings import FeatureTraining
from .world import World

# Few pixels show these, yet an edit of them must be measured: they weigh more in the regression.
HARD = {"glasses": 4.0, "open_mouth": 6.0, "smile": 5.0, "blink": 6.0, "age": 6.0, "gender": 4.0}
HARD |= {"light_elevation": 3.0, "light_direction": 3.0, "pitch": 3.0, "hair_colour": 2.0}
HARD |= {"skin_tone": 3.0, "brows": 4.0, "look_x": 4.0, "look_y": 4.0, "beard": 3.0}
# What must be readable for a picture to be judged; R2 on held-out renders is reported for all.
REQUIRED = ("yaw", "pitch", "smile", "open_mouth", "blink", "brows", "look_x", "age", "gender")
REQUIRED += ("skin_tone", "hair_length", "hair_colour", "beard", "glasses", "light_direction")
# What changes its sign in a mirror; all other factors stay as they are.
MIRRORED = ("yaw", "look_x", "hair_part", "light_direction", "background_gradient")
CLOTHES = ("clothes", "neckline")  # a person is the same in others
DISTANCE = 0.5  # mean perceptual distance of two random renders, about LPIPS of two faces
_PROJECTION_SEED = 7


def train(
    data: Renders,
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
    def __init__(self, data: Renders, settings: FeatureTraining, device: torch.device):
        if len(data.train) == 0:
            raise InputError(f"{data.folder} holds no portraits for training yet: render more.")
        self.data, self.settings, self.device = data, settings, device
        torch.manual_seed(settings.seed)
        layout = torch.channels_last  # twice as fast on a CPU
        self.net = make(settings, data.table).to(device, memory_format=layout)  # type: ignore[call-overload]
        self.average = make(settings, data.table).to(device).eval().requires_grad_(False)
        self.average.load_state_dict(self.net.state_dict())
        self.optimizer = Muon(self.net.parameters(), lr=settings.learning_rate)
        self.rng = torch.Generator().manual_seed(settings.seed)
        self.rngs = {"augment": self.rng}
        self.order = Order(data.count, settings.batch, settings.seed)

    def parts(self) -> dict[str, Any]:
        return {"net": self.net, "average": self.average, "optimizer": self.optimizer}

    def advance(self) -> Losses:
        s, step = self.settings, self.step
        if step % 100 == 0:
            self.data.refresh()
        places = self.data.train
        images, factors, _, _ = self.data.batch(places[self.order(step).numpy() % len(places)])
        images, factors = mirror(images, factors, self.data.table, self.rng)
        images = augment(images, self.rng).to(self.device, memory_format=torch.channels_last)
        for group in self.optimizer.param_groups:
            group["lr"] = s.learning_rate * _schedule(step / s.steps)
        self.net.train()
        with autocast(self.device, s.bf16):
            out = self.net(images)
        loss = objective(s.kind, out.float(), factors.to(self.device), self.data.table)
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
def make(settings: FeatureTraining, table: World) -> nn.Module:
    """The untrained network of a kind and role, from torch's random numbers."""
    loss = settings.role == "loss"
    if settings.kind == "perceptual":
        widths = (24, 48, 96, 128, 128) if loss else (28, 56, 112, 144, 144)
        levels = settings.resolution.bit_length() - 3  # down to 4 x 4
        config = PortraitNetConfig(table.factors, widths[-levels:], input_size=settings.resolution)
        return PortraitNet(config)
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


def objective(kind: str, out: Tensor, factors: Tensor, table: World) -> Tensor:
    """The loss of a batch, float [].

    perceptual: out [B, N] codes, weighted squared error; of what is absent (no glasses) only
    codes above the threshold of being seen are wrong. identity: out [B, 64], 1 - cosine."""
    codes, bounds = visible_codes(factors, table)
    if kind == "identity":
        return 1 - (out * identity_target(codes, table)).sum(1).mean()
    excess = (out - bounds).clamp(min=0)
    error = torch.where(codes <= bounds, excess, out - codes)
    weights = torch.tensor([HARD.get(name, 1.0) for name in table.names]).to(out)
    return (error.square() * weights).mean() / weights.mean()


def visible_codes(factors: Tensor, table: World) -> tuple[Tensor, Tensor]:
    """(the Gaussian codes of factors [B, N], at most 3 from zero and not below the bounds;
    the bounds [N], at which a factor that can be absent begins to be seen)."""
    low, high, absent = torch.tensor([(f.low, f.high, f.absent) for f in table.factors]).T
    bounds = table.to_gaussian((low + 1e-5 * (high - low))[None])[0]
    bounds = torch.where(absent > 0, bounds, -3.0).to(factors)
    return torch.maximum(table.to_gaussian(factors).clamp(-3, 3), bounds), bounds


def identity_target(codes: Tensor, table: World) -> Tensor:
    """Gaussian codes [B, N] -> unit vectors [B, 64]: equal for equal people."""
    person = [i for i in table.group("identity") if not table.names[i].startswith(CLOTHES)]
    rng = torch.Generator().manual_seed(_PROJECTION_SEED)
    basis, _ = torch.linalg.qr(torch.randn(64, len(person), generator=rng))
    return F.normalize(codes[:, person] @ basis.T.to(codes), dim=1)


def mirror(
    images: Tensor, factors: Tensor, table: World, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Half of the pictures [B, 3, H, W] as their mirror images, and the factors [B, N] of those."""
    flip = torch.rand(len(images), generator=rng) < 0.5
    signs = torch.tensor([-1.0 if name in MIRRORED else 1.0 for name in table.names])
    factors = torch.where(flip[:, None], factors * signs, factors)
    return torch.where(flip[:, None, None, None], images.flip(3), images), factors


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
def calibrate(net: nn.Module, data: Renders) -> None:
    """Set the layer weights of the perceptual distance, see `PortraitNet.layer_weights`."""
    assert isinstance(net, PortraitNet)
    images = data.batch(data.held_out[:400]).images.to(net.tap_weights.device)
    half = len(images) // 2
    lpips = Lpips(net, "")
    a, b = lpips.features(images[:half]), lpips.features(images[half : 2 * half])
    means = torch.stack([(x - y).square().sum(1).mean() for x, y in zip(a, b, strict=True)])
    net.tap_weights.copy_(DISTANCE / len(means) / means)


@torch.no_grad()
def measure(net: nn.Module, data: Renders) -> dict[str, float]:
    """Quality on the held-out portraits: R2 of every factor, or the mean cosine with the target."""
    images, factors, _, _ = data.batch(data.held_out)
    device = next(net.parameters()).device
    out = torch.cat([net(part.to(device)).float().cpu() for part in images.split(250)])
    if isinstance(net, IdentityNet):
        codes, _ = visible_codes(factors, data.table)
        return {"cosine": float((out * identity_target(codes, data.table)).sum(1).mean())}
    error = (data.table.to_factors(out) - factors).square().mean(0)
    r2 = 1 - error / factors.var(0, unbiased=False)
    return {f"r2_{name}": float(value) for name, value in zip(data.table.names, r2, strict=True)}


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
    """Write a trained network as a model file, in 8 bits, with how it was made."""
    seconds = [json.loads(line)["seconds"] for line in (run / LOG).read_text().splitlines()]
    command = f"python -m people.training features {settings.kind} DATA --role {settings.role}"
    command += f" --seed {settings.seed} --steps {settings.steps} --batch {settings.batch}"
    command += f" --resolution {settings.resolution}"
    metadata = {
        "command": f"{command} --learning-rate {settings.learning_rate}",
        "seed": str(settings.seed),
        "steps": str(settings.steps),
        "seconds": str(round(max(seconds, default=0.0))),
        "quality": json.dumps({k: round(v, 4) for k, v in quality.items()}),
    }
    state = net.state_dict()
    save_model(path, settings.kind, net.config, state, metadata, dtype=torch.int8)
