"""New codes, drawn from the generator's own distribution, and those of them whose pictures look
most like a given one: where a projection begins."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..codes import Code
from ..errors import InputError
from ..images.resize import resize
from ..models.generator import Generator
from ..models.settings import SampleSettings
from ..runtime.devices import one_thread_if_small
from .descent import Report
from .objective import Objective


def sample(
    G: Generator,
    count: int,
    seed: int = 0,
    truncation: float = SampleSettings.truncation,
    label: int | None = None,
) -> Code:
    """`count` random codes in W: float32 [count, num_ws, w_dim].

    seed: the same number gives the same codes on every device.
    truncation: 1 for the whole variety, 0 for the mean code, between them fewer and safer ones.
    label: the class, of a class-conditional generator; random ones if None.
    Raises InputError for fewer than one code, or a class that there is not."""
    if count < 1:
        raise InputError(f"At least one code can be drawn, not {count}.")
    z, c = inputs(G, count, torch.Generator().manual_seed(seed), label)
    with torch.no_grad(), one_thread_if_small(G):
        w = G.mapping(z, c, truncation)
    return Code(w, "W", G.base_fingerprint, 0)


def inputs(
    G: Generator, count: int, rng: torch.Generator, label: int | None = None
) -> tuple[Tensor, Tensor | None]:
    """Random inputs of the mapping network, of one class where `label` says so.

    Raises InputError for a class that there is not."""
    classes = G.config.c_dim
    if label is not None and not 0 <= label < classes:
        raise InputError(
            f"There is no class {label}: this generator has "
            + (f"the classes 0 to {classes - 1}." if classes else "no classes, leave it out.")
        )
    z, c = G.draw_inputs(count, rng)
    if label is not None:
        c = torch.eye(classes, device=z.device)[[label] * count]
    return z, c


_COMPARED = 32  # pixels at which all samples are compared by L2; the nearest ones by the objective
_RANKED = 8  # times as many as are wanted


@torch.no_grad()
def nearest_codes(
    G: Generator,
    image: Tensor,
    objective: Objective,
    samples: int,
    count: int = 1,
    seed: int = 0,
    label: int | None = None,
    batch: int = 8,
    report: Report = lambda step, preview: None,
) -> Tensor:
    """For each picture the `count` nearest of `samples` random codes: [B, count, N, w_dim].

    image: float [B,3,H,W] in [-1,1]. Small versions choose among all samples, which the lower
    blocks of a StyleGAN2 render alone, the objective among what is left. Only the codes of a batch
    are rendered at once. report(step, preview): after each of the `search_steps`."""
    rng = torch.Generator().manual_seed(seed)
    small = resize(image, min(_COMPARED, G.resolution)).flatten(1)  # [B, P]
    size = _COMPARED if _COMPARED in G.synthesis.sizes else None
    codes, distances = [], []
    for first in range(0, samples, batch):
        w = G.mapping(*inputs(G, min(batch, samples - first), rng, label))
        rendered = resize(
            G.synthesis(w, "const", size=size).clamp(-1, 1), min(_COMPARED, G.resolution)
        )
        codes.append(w[:, 0])
        distances.append(torch.cdist(small, rendered.flatten(1)))
        report(len(codes), rendered)
    kept = min(_RANKED * count, samples)
    order = torch.cat(distances, dim=1).topk(kept, largest=False).indices  # [B, kept]
    candidates = torch.cat(codes)[order]  # [B, kept, w_dim]
    found = []
    for picture, ws in zip(resize(image, G.resolution), candidates, strict=True):
        target = objective.target(picture[None])
        w = ws[:, None].expand(-1, G.num_ws, -1)
        losses = torch.cat(
            [objective(G.synthesis(part, "const"), target).total for part in w.split(batch)]
        )
        found.append(w[losses.topk(min(count, kept), largest=False).indices])
        report(len(codes) + len(found), G.synthesis(found[-1][:1], "const"))
    return torch.stack(found)


def search_steps(samples: int, pictures: int, batch: int) -> int:
    """How often `nearest_codes` reports: for each batch of samples, and for each picture."""
    return math.ceil(samples / batch) + pictures if samples else 0
