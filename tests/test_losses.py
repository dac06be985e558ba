import pytest
import torch
from torch import Tensor

from cycle_core.measure.perceptual import Lpips


class Pixels:
    """A backbone whose only feature is the picture itself."""

    def taps(self, image: Tensor) -> list[Tensor]:
        return [image]

    def layer_weights(self) -> list[Tensor]:
        return [torch.tensor([1.0, 2.0, 3.0])]


def test_lpips_is_the_weighted_square_of_unit_features():
    red, green = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    red[:, 0], green[:, 1] = 0.2, 5.0  # lengths do not matter, directions do
    lpips = Lpips(Pixels(), "pixels")
    assert lpips(red, green).tolist() == pytest.approx([1.0 + 2.0])
    assert lpips(red, 3 * red).tolist() == pytest.approx([0.0])
    both = red + green / 25  # halfway between them: 1 / sqrt(2) of each
    assert lpips(red, both).tolist() == pytest.approx([(1 - 0.5**0.5) ** 2 + 2 * 0.5])


def test_lpips_compares_one_kept_target_with_a_batch():
    lpips, images = Lpips(Pixels(), "pixels"), torch.randn(3, 3, 8, 8)
    target = lpips.features(images[:1])
    found = lpips.distance(lpips.features(images), target)
    assert found.shape == (3,)
    assert found[0] == 0
    assert found[1].item() == pytest.approx(lpips(images[1:2], images[:1]).item())


def test_lpips_has_a_finite_gradient_where_a_feature_is_zero():
    image = torch.zeros(1, 3, 4, 4, requires_grad=True)
    Lpips(Pixels(), "pixels")(image, torch.ones(1, 3, 4, 4)).sum().backward()
    assert image.grad is not None
    assert torch.isfinite(image.grad).all()
