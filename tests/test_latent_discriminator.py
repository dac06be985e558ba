"""The latent discriminator: what it sees, what it learns, and the pools of past vectors."""

import pytest
import torch
import torch.nn.functional as F

from cycle_core.errors import InputError
from cycle_core.models.generator import Generator
from cycle_core.models.layers import Linear
from cycle_core.models.stylegan2 import StyleGAN2Config
from cycle_core.training.encoder import delta_loss
from cycle_core.training.latent_discriminator import (
    Adversary,
    CodePool,
    LatentDiscriminator,
    active_vectors,
    r1_penalty,
)


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
        loss = F.softplus(-net(real)).mean() + F.softplus(net(fake)).mean()
        loss = loss + 0.1 * r1_penalty(net, real)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert net(torch.randn(100, 8) + 1).mean() > net(torch.randn(100, 8) - 1).mean() + 1


def test_the_discriminator_has_four_plain_layers():
    layers = [m for m in LatentDiscriminator(8) if isinstance(m, torch.nn.Linear)]
    assert [layer.out_features for layer in layers] == [8, 8, 8, 1]
    assert LatentDiscriminator(8)(torch.randn(5, 8)).shape == (5,)


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


def test_a_discriminator_from_before_its_layers_were_plain_goes_on_as_the_same_function():
    torch.manual_seed(0)
    layers = torch.nn.ModuleList(Linear(8, 8 if i < 3 else 1) for i in range(4))
    optimizer = torch.optim.Adam(layers.parameters(), 1e-3)

    def old(w: torch.Tensor) -> torch.Tensor:
        for layer in layers[:-1]:
            w = F.leaky_relu(layer(w), 0.2)
        return layers[-1](w)[:, 0]

    F.softplus(-old(torch.randn(4, 8))).mean().backward()
    optimizer.step()
    state = {
        "discriminator": {f"layers.{name}": value for name, value in layers.state_dict().items()},
        "optimizer": optimizer.state_dict(),
        "pools": {name: CodePool(3).state_dict() for name in ("real", "fake")},
    }
    config = StyleGAN2Config(resolution=8, z_dim=8, w_dim=8, mapping_layers=1, channels=(4, 4))
    adversary = Adversary(LatentDiscriminator(8), Generator(config), torch.Generator())
    adversary.load_state_dict(state)

    w = torch.randn(5, 8)
    assert torch.allclose(adversary.discriminator(w), old(w), atol=1e-6)
    # the first moment is a tenth of the gradient, which is now that of the plain weight
    gain, first = 1 / 8**0.5, next(layers.parameters())
    moments = adversary.optimizer.state[next(adversary.discriminator.parameters())]
    assert torch.allclose(moments["exp_avg"] * gain, optimizer.state[first]["exp_avg"])
    assert torch.allclose(moments["exp_avg_sq"] * gain**2, optimizer.state[first]["exp_avg_sq"])
