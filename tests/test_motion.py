"""The displacement that an edit made, recovered from two small pictures."""

from __future__ import annotations

import pytest
import torch

from cycle_core.faces.paste import displacement, moved
from cycle_core.images.resize import resize


@pytest.fixture
def picture() -> torch.Tensor:
    """Smooth random structure, [1,3,64,64]."""
    noise = torch.rand(1, 3, 14, 14, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return resize(noise, 64, "bicubic")


def middle(flow: torch.Tensor) -> torch.Tensor:
    return flow[..., 16:48, 16:48]


@pytest.mark.parametrize("shift", [(0.03, 0.0), (0.0, -0.06), (-0.05, 0.04)])
def test_a_shift_is_recovered(picture, shift):
    wanted = torch.tensor(shift).view(1, 2, 1, 1).expand(1, 2, 64, 64)
    flow = displacement(moved(picture, wanted), picture)
    assert (middle(flow) - middle(wanted)).norm(dim=1).mean() < 0.006  # 0.4 pixels


def test_a_shift_under_another_colour_is_recovered(picture):
    wanted = torch.tensor([0.04, 0.02]).view(1, 2, 1, 1).expand(1, 2, 64, 64)
    tinted = moved(picture, wanted) + torch.tensor([0.3, -0.2, 0.1]).view(1, 3, 1, 1)
    flow = displacement(tinted, picture)
    assert (middle(flow) - middle(wanted)).norm(dim=1).mean() < 0.006


def test_only_what_moved_is_displaced(picture):
    at = (torch.arange(64) + 0.5) / 64
    y, x = torch.meshgrid(at, at, indexing="ij")
    bump = torch.exp(-((x - 0.5) ** 2 + (y - 0.5) ** 2) / (2 * 0.08**2))
    flow = displacement(moved(picture, torch.stack([bump * 0.05, bump * 0])[None]), picture)
    assert flow[0, 0, 32, 32] == pytest.approx(0.05, abs=0.015)
    assert flow[..., :8, :].abs().max() < 0.004


def test_the_same_picture_does_not_move(picture):
    assert displacement(picture, picture).abs().max() == 0


def test_something_new_is_not_taken_for_motion(picture):
    edited = picture.clone()
    edited[..., 20:44, 20:44] = torch.where(edited[..., 20:44, 20:44] > 0, -0.9, 0.9)
    assert displacement(edited, picture).norm(dim=1).mean() < 0.01
