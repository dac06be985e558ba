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

from cycle_core.images.io import save_image
from cycle_core.images.resize import resize
from cycle_core.invert.objective import Objective
from cycle_core.invert.refine import refine
from cycle_core.invert.settings import REFINE_PRESETS, RefineSettings
from cycle_core.measure.selection import NONE
from cycle_core.models.encoder import Encoder
from cycle_core.models.generator import Generator

E, G, double = golden.E, golden.G, golden.double
STEPS, M, REG, RATE = 7, 3, 5.0, 5e-2  # Lookahead pulls once, after six


def similarity(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().mean() + 0.8 * LPIPS(a, b) + 0.1 * IDENTITY(a, b)


def reference(
    E: Encoder, G: Generator, x: Tensor, stage: int, domain: Callable[[], Tensor], size: int
) -> tuple[Tensor, list[float]]:
    """(the best code, the losses), of pictures of this size"""
    E = copy.deepcopy(E).requires_grad_(True)
    parameters = list(E.parameters())
    adam, slow = Adam(parameters, RATE, (0.95, 0.999), 1e-5), copy.deepcopy(parameters)

    def inverted(pictures: Tensor) -> tuple[Tensor, Tensor]:
        w = E.w_avg + E(pictures, stage)  # heads beyond the stage are off
        return w, G.synthesis(w, "const", size=size if size < 16 else None)

    codes, losses = [], []
    for step in range(STEPS + 1):
        w, image = inverted(x)
        loss = similarity(image, resize(x, size))
        codes.append(w.detach())
        losses.append(loss.item())
        if step == STEPS:
            break
        for one in domain().split(1):
            loss = loss + REG / M * similarity(inverted(one)[1], resize(one, size))
        adam.step([
            g if g is None or g.ndim < 2 else g - g.mean(tuple(range(1, g.ndim)), keepdim=True)
            for g in gradients(loss, parameters)
        ])  # fmt: skip
        if (step + 1) % 6 == 0:
            for p, s in zip(parameters, slow, strict=True):
                p.data = s.data = s.data + 0.5 * (p.data - s.data)
    return codes[losses.index(min(losses))], losses


@pytest.mark.parametrize(
    ("kind", "stage", "size"),
    [("pictures", 0, None), ("folder", 3, None), ("generator", 3, None), ("pictures", 3, 8)],
)
def test_every_step_is_the_papers(E, G, tmp_path, kind, stage, size):
    E.stage = stage  # what it was trained at last
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    pictures, rng = torch.randn(5, 3, 16, 16).sign(), torch.Generator().manual_seed(4)
    for i, picture in enumerate(pictures):  # exact in 8 bits
        save_image(picture.float(), tmp_path / f"{i}.png")

    def drawn() -> Tensor:
        if kind != "generator":
            return pictures[torch.randperm(5, generator=rng)[:M]]
        w = G.mapping(torch.randn(M, 8, generator=rng))
        return G.synthesis(G.w_avg + 0.7 * (w - G.w_avg), "const").clamp(-1, 1)

    # each from E as it was
    expected = [reference(E, G, one, stage, drawn, size or 16) for one in x.split(1)]
    domain = {"pictures": pictures, "folder": tmp_path, "generator": "generator"}[kind]
    settings = RefineSettings(
        steps=STEPS, learning_rate=RATE, images=M, reg=REG, batch=2, size=size
    )
    refined = refine(E, G, x, settings, domain, seed=4, perceptual=LPIPS, identity=IDENTITY)
    assert refined.code.stage == stage
    for i, (w, losses) in enumerate(expected):
        found = [entry["total"] for entry in refined.history[i]]
        assert found == pytest.approx(losses, rel=1e-9)
        torch.testing.assert_close(refined.code.w[i : i + 1], w, rtol=1e-9, atol=1e-11)
        picture = G.synthesis(w, "const").clamp(-1, 1)
        torch.testing.assert_close(refined.image[i : i + 1], picture)
    # the last state is not always the best one, which would hide which of them is given
    assert {losses.index(min(losses)) for _, losses in expected} - {0, STEPS}


def test_losses_are_taken_at_256_pixels():
    fine = (torch.arange(512) % 2 * 2.0 - 1).expand(1, 3, 512, 512)  # a grid of single pixels
    coarse = (torch.arange(512) // 2 % 2 * 2.0 - 1).expand(1, 3, 512, 512)
    grey, objective = torch.zeros(1, 3, 512, 512), Objective.of(RefineSettings(), NONE)
    assert objective(fine, objective.target(grey)).l2 == 0
    assert objective(coarse, objective.target(grey)).l2 == 1


@pytest.mark.parametrize("size", [None, 12, 64])
def test_sizes_that_the_generator_does_not_render_are_compared_whole_or_made_smaller(E, G, size):
    x = torch.rand(1, 3, 16, 16) * 2 - 1
    settings = RefineSettings(steps=0, images=0, size=size)
    refined = refine(E, G, x, settings, perceptual=LPIPS, identity=IDENTITY)
    rendered = G.synthesis(refined.code.w, "const")
    side = min(size or 16, 16)
    expected = similarity(resize(rendered, side), resize(x, side)).item()
    assert refined.history[0][0]["total"] == pytest.approx(expected, rel=1e-9)


def test_the_defaults_are_the_published_ones():
    published = REFINE_PRESETS["paper"]
    assert (published.steps, published.learning_rate) == (15, 1e-4)
    assert (published.images, published.reg) == (7, 7.0)
    assert (published.l2, published.lpips, published.identity) == (1.0, 0.8, 0.1)
