"""Refinement against a reference of a few lines, written from the papers, on tiny networks in
float64. What the method is, is here once more, in its own words:

- Cycle Encoding (Mao et al. 2022): L_ref(x) = L_S(x) + reg / M sum_i L_S(x_i), with
  L_S = L2 + 0.8 LPIPS + 0.1 ID and M pictures drawn anew each step; the encoder moves;
- gradient centralisation (Yong et al. 2020) and Lookahead (Zhang et al. 2019, algorithm 1) around
  Adam, which Ranger has become by then.

`benchmarks/mutations.py` has the errors that this catches."""

from __future__ import annotations

import copy
from collections.abc import Callable

import golden
import pytest
import torch
from golden import IDENTITY, LPIPS, Adam, gradients
from torch import Tensor

from cycle_core.invert.refine import refine
from cycle_core.invert.settings import RefineSettings
from cycle_core.models.encoder import Encoder
from cycle_core.models.generator import Generator

E, G, double = golden.E, golden.G, golden.double
STEPS, M, REG, RATE = 9, 3, 5.0, 5e-2  # nine: Lookahead pulls once, after six


def similarity(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().mean() + 0.8 * LPIPS(a, b) + 0.1 * IDENTITY(a, b)


def reference(
    E: Encoder, G: Generator, x: Tensor, stage: int, domain: Callable[[], Tensor]
) -> tuple[Tensor, list[float]]:
    """(the best code, the losses)"""
    E = copy.deepcopy(E).requires_grad_(True)
    parameters = list(E.parameters())
    adam, slow = Adam(parameters, RATE, (0.95, 0.999), 1e-5), copy.deepcopy(parameters)

    def inverted(pictures: Tensor) -> tuple[Tensor, Tensor]:
        w = E.w_avg + E(pictures, stage)  # heads beyond the stage are off
        return w, G.synthesis(w, "const")

    codes, losses = [], []
    for step in range(STEPS + 1):
        w, image = inverted(x)
        loss = similarity(image, x)
        codes.append(w.detach())
        losses.append(loss.item())
        if step == STEPS:
            break
        for one in domain().split(1):
            loss = loss + REG / M * similarity(inverted(one)[1], one)
        adam.step([
            g if g is None or g.ndim < 2 else g - g.mean(tuple(range(1, g.ndim)), keepdim=True)
            for g in gradients(loss, parameters)
        ])  # fmt: skip
        if (step + 1) % 6 == 0:
            for p, s in zip(parameters, slow, strict=True):
                p.data = s.data = s.data + 0.5 * (p.data - s.data)
    return codes[losses.index(min(losses))], losses


@pytest.mark.parametrize("stage", [0, 3])
@pytest.mark.parametrize("kind", ["pictures", "generator"])
def test_every_step_is_the_papers(E, G, stage, kind):
    E.stage = stage  # what it was trained at last
    x = torch.rand(1, 3, 16, 16) * 2 - 1
    pictures, rng = torch.rand(5, 3, 16, 16) * 2 - 1, torch.Generator().manual_seed(4)

    def domain() -> Tensor:
        if kind == "pictures":
            return pictures[torch.randperm(5, generator=rng)[:M]]
        w = G.mapping(torch.randn(M, 8, generator=rng))
        return G.synthesis(G.w_avg + 0.7 * (w - G.w_avg), "const").clamp(-1, 1)

    w, losses = reference(E, G, x, stage, domain)
    settings = RefineSettings(steps=STEPS, learning_rate=RATE, images=M, reg=REG, batch=2)
    refined = refine(
        E, G, x, settings, pictures if kind == "pictures" else kind, seed=4,
        perceptual=LPIPS, identity=IDENTITY,
    )  # fmt: skip
    assert [entry["total"] for entry in refined.history[0]] == pytest.approx(losses, rel=1e-9)
    torch.testing.assert_close(refined.code.w, w, rtol=1e-9, atol=1e-11)
    assert refined.code.stage == stage
    # the last state is not the best one, which would hide which of them is given
    assert losses.index(min(losses)) not in (0, STEPS)
    torch.testing.assert_close(refined.image, G.synthesis(w, "const").clamp(-1, 1))


def test_the_defaults_are_the_published_ones():
    published = RefineSettings()
    assert (published.steps, published.learning_rate) == (15, 1e-4)
    assert (published.images, published.reg) == (7, 7.0)
    assert (published.l2, published.lpips, published.identity) == (1.0, 0.8, 0.1)
