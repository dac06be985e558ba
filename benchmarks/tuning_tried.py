"""Ways to tune that were tried and not built in: prints a table, as Markdown.

    python benchmarks/tuning_tried.py --pictures 6

Each changes the same plain loop in one way, for the same pictures outside the domain, pivots, steps
and losses, so that it can be held against the first row and the presets of benchmarks/tuning.py.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from tempfile import gettempdir

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from tuning import Bench

from cycle_core.bench.page import put
from cycle_core.codes import Code
from cycle_core.images.resize import resize
from cycle_core.invert.objective import Objective, trainable_copy
from cycle_core.invert.tune import Locality, TuneSettings
from cycle_core.measure.losses import Lpips
from cycle_core.models.generator import Generator
from cycle_core.training.optim import Muon

COARSE = 32  # px, where coarse-to-fine begins


@dataclass(frozen=True)
class Way:
    title: str
    rate: float = 6e-3
    betas: tuple[float, float] = (0.8, 0.95)
    steps: int = 60
    weights: Callable[[str], bool] = lambda name: True  # which are moved
    rank: int = 0  # of what is added to each kernel, 0: the kernel itself is moved
    muon: bool = False
    coarse: int = 0  # first steps, at COARSE px
    reduced: bool = False  # LPIPS compares at COARSE px
    fall: bool = False  # whether the rate falls to zero, as a cosine
    dtype: torch.dtype | None = None


def _block(name: str) -> int:
    return int(name.split(".")[1]) if name.startswith("blocks.") else 0


PLAIN = Way("all weights, Adam, 60 steps")
WAYS = (
    PLAIN,
    replace(PLAIN, title="Adam as published, (0.9, 0.999)", betas=(0.9, 0.999)),
    replace(PLAIN, title="twice the rate", rate=1.2e-2),
    replace(PLAIN, title="the rate falls to zero", fall=True),
    replace(PLAIN, title="without the affine layers", weights=lambda name: "affine" not in name),
    replace(PLAIN, title="affine layers alone", weights=lambda name: "affine" in name),
    replace(PLAIN, title="from 16 px on", weights=lambda name: _block(name) >= 2),
    replace(PLAIN, title="rank 4", rank=4),
    replace(PLAIN, title="rank 16", rank=16),
    replace(PLAIN, title="Muon", muon=True, rate=1e-2),
    replace(PLAIN, title=f"the first half at {COARSE} px", coarse=30),
    replace(PLAIN, title=f"LPIPS at {COARSE} px", reduced=True),
    replace(PLAIN, title="bfloat16", dtype=torch.bfloat16),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=int, default=6)
    parser.add_argument("--sets", default=gettempdir(), help="folder that keeps the portraits")
    parser.add_argument("--card", help="Markdown file that takes the table")
    a = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(a.sets, a.pictures, torch.device("cpu"))
    for way in WAYS:
        bench.row(way.title, lambda pivot, image, way=way: tuned(bench, pivot, image, way))
    if a.card is not None:
        put("\n".join(bench.lines), a.card, "tried")


def tuned(bench: Bench, pivot: Code, image: Tensor, way: Way) -> Generator:
    G = trainable_copy(bench.G).tuned_from(bench.G).requires_grad_(False)
    moved = chosen(G, way)
    optimizer = Muon(moved, way.rate) if way.muon else torch.optim.Adam(moved, way.rate, way.betas)
    perceptual = Reduced(bench.perceptual) if way.reduced else bench.perceptual
    objective = Objective(1.0, 1.0, perceptual=perceptual)
    targets = objective.target(resize(image, COARSE)), objective.target(image)
    near = Locality(bench.G, pivot.w, TuneSettings(), bench.perceptual, seed=0)
    best, kept = math.inf, copied(moved)
    for step in range(way.steps + 1):
        optimizer.zero_grad(set_to_none=True)
        whole = step >= way.coarse
        drawn = G.synthesis(pivot.w, "const", way.dtype) if whole else coarse(G, pivot.w)
        loss = objective(drawn, targets[whole]).total.mean()
        if whole and float(loss.detach()) < best:
            best, kept = float(loss.detach()), copied(moved)
        loss.backward()
        if step % 4 == 0:
            near.aim(step // 4)
            (4 * near(G.synthesis)).backward()
        if way.fall:
            optimizer.param_groups[0]["lr"] = way.rate * (
                (1 + math.cos(math.pi * step / way.steps)) / 2
            )
        optimizer.step()
    with torch.no_grad():
        for p, value in zip(moved, kept, strict=True):
            p.copy_(value)
    return G.requires_grad_(False)


class Reduced:
    """LPIPS of pictures that are made smaller first."""

    def __init__(self, network: Lpips):
        self.network, self.distance = network, network.distance

    def features(self, image: Tensor) -> list[Tensor]:
        return self.network.features(resize(image, COARSE))


def chosen(G: Generator, way: Way) -> list[nn.Parameter]:
    """The parameters of a way, which alone are trained."""
    if way.rank:
        for module in list(G.synthesis.modules()):
            if hasattr(module, "noise_strength"):  # a styled convolution
                parametrize.register_parametrization(module, "weight", Added(module, way.rank))
    moved = [
        p
        for name, p in G.synthesis.named_parameters()
        if way.weights(name) and not (way.rank and name.endswith("weight.original"))
    ]
    for p in moved:
        p.requires_grad_(True)
    return moved


class Added(nn.Module):
    """A kernel [O,I,k,k] and a product of rank r (Hu et al. 2021)."""

    def __init__(self, module: nn.Module, rank: int):
        super().__init__()
        matrix = module.get_parameter("weight").flatten(1)
        self.a = nn.Parameter(torch.zeros(matrix.shape[0], rank))
        self.b = nn.Parameter(torch.randn(rank, matrix.shape[1]))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.a @ self.b).view(weight.shape)


def coarse(G: Generator, w: Tensor) -> Tensor:
    """What the generator has drawn when it comes to COARSE px."""
    net = G.synthesis
    styles, x, image = net.styles(w, "const", None), net.get_parameter("const")[None], None
    for block in net.get_submodule("blocks").children():
        count = 3 if getattr(block, "conv0") is not None else 2  # noqa: B009
        x, image = block(x, image, styles[:count], "const")
        styles = styles[count:]
        if image.shape[-1] == COARSE:
            return image
    raise ValueError("the generator is too small")


def copied(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


if __name__ == "__main__":
    main()
