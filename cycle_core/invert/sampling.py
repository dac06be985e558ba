"""New codes, drawn from the generator's own distribution."""

from __future__ import annotations

import torch
from torch import Tensor

from ..codes import Code
from ..errors import InputError
from ..models.generator import Generator
from ..models.settings import SampleSettings
from ..runtime.devices import one_thread_if_small


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
