import pytest
import torch
from torch import Tensor

from cycle_core.errors import InputError
from cycle_core.measure.losses import (
    CodePool,
    LatentDiscriminator,
    active_vectors,
    adversarial_loss,
    delta_loss,
    discriminator_loss,
    r1_penalty,
)
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


def test_the_delta_loss_sums_the_lengths_of_the_active_deltas():
    rows = torch.ones(2, 4, 2)
    rows[0, 1] += torch.tensor([3.0, 4.0])
    rows[:, 3] += 100.0  # not active below stage 3
    assert delta_loss(rows, stage=2).item() == pytest.approx(5.0 / 2)
    assert delta_loss(rows, stage=0).item() == 0


def test_the_delta_loss_has_a_finite_gradient_where_every_delta_is_zero():
    rows = torch.ones(1, 4, 2, requires_grad=True)
    delta_loss(rows, stage=3).backward()
    assert rows.grad is not None
    assert torch.isfinite(rows.grad).all()


def test_only_active_vectors_are_shown_to_the_discriminator():
    codes = torch.arange(2 * 4 * 3.0).view(2, 4, 3)
    assert torch.equal(active_vectors(codes, 0), codes[:, 0])
    assert active_vectors(codes, 2).shape == (6, 3)


def test_the_discriminator_learns_to_tell_two_clouds_apart():
    torch.manual_seed(0)
    net = LatentDiscriminator(8)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(100):
        real, fake = torch.randn(32, 8) + 1, torch.randn(32, 8) - 1
        loss = discriminator_loss(net(real), net(fake)) + 0.1 * r1_penalty(net, real)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert net(torch.randn(100, 8) + 1).mean() > net(torch.randn(100, 8) - 1).mean() + 1


def test_the_discriminator_has_four_layers_and_the_encoder_wants_high_logits():
    assert len(LatentDiscriminator(8).layers) == 4
    assert adversarial_loss(torch.tensor([3.0])) < adversarial_loss(torch.tensor([-3.0]))


def test_r1_is_the_squared_length_of_the_gradient():
    net = torch.nn.Linear(3, 1)
    real = torch.randn(5, 3)
    expected = net.weight.square().sum().item()
    assert r1_penalty(lambda w: net(w)[:, 0], real).item() == pytest.approx(expected)


def test_a_pool_passes_on_until_it_is_full_and_then_mixes():
    pool = CodePool(size=50, seed=0)
    first = torch.randn(50, 4)
    assert torch.equal(pool(first), first)
    second = torch.randn(50, 4) + 100
    out = pool(second)
    old = (out < 50).all(dim=1)
    assert 10 < old.sum() < 40
    assert all((row == first).all(dim=1).any() for row in out[old])


def test_a_pool_goes_on_exactly_where_it_was_saved():
    pool = CodePool(size=8, seed=3)
    pool(torch.randn(20, 4))
    other = CodePool(size=8, seed=9)
    other.load_state_dict(pool.state_dict())
    vectors = torch.randn(30, 4)
    assert torch.equal(pool(vectors), other(vectors))


def test_a_pool_of_nothing_passes_everything_on_and_a_negative_one_is_refused():
    vectors = torch.randn(3, 4, requires_grad=True)
    assert torch.equal(CodePool(size=0)(vectors), vectors)
    assert not CodePool(size=0)(vectors).requires_grad
    with pytest.raises(InputError, match="0 or more"):
        CodePool(size=-1)
