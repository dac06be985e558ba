"""How wide W is, and what the method's absolute numbers, made for FFHQ's W, are in it."""

from __future__ import annotations

import torch

from ..models.generator import Generator

_MEASURED = 10_000  # random codes from which the spread of W is measured
# Spreads from the mean of W. Of the embedded one .8 % of random codes lie beyond, none of 300
# people of its domain, and of 300 outside of it (with a hat, a scarf, paint) 40, far beyond.
_FARTHEST = 1.6


@torch.no_grad()
def w_spread(G: Generator) -> float:
    """How far random w are from their mean, the root mean square of the Euclidean distance: the
    published projector takes it as the deviation of every dimension."""
    z, c = G.draw_inputs(_MEASURED, torch.Generator().manual_seed(0))
    w = G.mapping(z, c)[:, 0]
    return float((w - w.mean(0)).square().sum(1).mean().sqrt())


def farthest(G: Generator) -> float:
    """Where the codes of a trained encoder end, as a distance from their mean."""
    return _FARTHEST * w_spread(G)


def in_spreads(
    G: Generator, alpha: float = 30.0, delta: float = 2e-4, r1_gamma: float = 10.0
) -> dict[str, float]:
    """The spread of W, and three constants as multiples of it.

    alpha: of locality, a distance in W+, so that each of the N styles moves alpha / sqrt(N): in
    spreads. delta: the loss of one head whose delta is one spread long. r1_gamma: the weight of the
    squared slope of the latent discriminator per spread. Settings for another W that mean the
    same have the same multiples."""
    spread = w_spread(G)
    return {
        "spread": spread,
        "alpha": alpha / G.num_ws**0.5 / spread,
        "delta": delta * spread,
        "r1_gamma": r1_gamma / spread**2,
    }


def scale_note(G: Generator, delta: float, r1_gamma: float) -> str:
    """What a training's numbers are in this W, in one line."""
    found = in_spreads(G, delta=delta, r1_gamma=r1_gamma)
    return (
        f"W has a spread of {found['spread']:.3g}, in which the delta weight is "
        f"{found['delta']:.2g} and R1's gamma {found['r1_gamma']:.2g}"
    )
