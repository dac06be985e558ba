"""Blurring pictures; what changes their size is shown where it is used."""

from __future__ import annotations

import pytest
import torch

from cycle_core.images.resize import blur


@pytest.mark.parametrize(("border", "mode"), [("replicate", "nearest"), ("constant", "constant")])
@pytest.mark.parametrize("sigma", [0.6, 2.0, 9.0])  # the last one reaches beyond the picture
def test_a_blur_is_a_gaussian(border, mode, sigma):
    filters = pytest.importorskip("scipy.ndimage")
    image = torch.rand(2, 3, 21, 34, generator=torch.Generator().manual_seed(0))
    radius = round(3 * sigma) + 1
    expected = filters.gaussian_filter(
        image.double().numpy(), (0, 0, sigma, sigma), mode=mode, radius=(0, 0, radius, radius)
    )
    assert torch.allclose(blur(image, sigma, border), torch.from_numpy(expected).float(), atol=1e-5)
