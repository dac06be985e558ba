"""Random codes, directions by their number, and directions from pictures."""

from __future__ import annotations

import pytest
import torch

from cycle_core.directions.discovery import component_of, direction_from_pictures, ganspace, sefa
from cycle_core.errors import InputError
from cycle_core.invert.encode import encode
from cycle_core.invert.sampling import sample
from cycle_core.models.encoder import Encoder, EncoderConfig
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config


def generator(classes=0):
    torch.manual_seed(0)
    config = StyleGAN2Config(
        resolution=16, z_dim=8, w_dim=8, c_dim=classes, mapping_layers=2, channels=(8, 8, 8)
    )
    return Generator(config).eval().requires_grad_(False)


@pytest.fixture
def E():
    torch.manual_seed(0)
    config = EncoderConfig(
        num_ws=6,
        w_dim=8,
        input_size=32,
        widths=(8, 8, 8, 8, 8),
        units=(1, 1, 1, 1),
        reduction=4,
        head_width=8,
    )
    return Encoder(config).eval().requires_grad_(False)


# ------------------------------------------------------------------ sample
def test_a_seed_gives_the_same_codes_in_w():
    G = generator()
    one, two, other = (sample(G, 3, seed) for seed in (1, 1, 2))
    assert torch.equal(one.w, two.w)
    assert not torch.equal(one.w, other.w)
    assert (one.space, one.generator_id, one.batch) == ("W", G.fingerprint, 3)


def test_truncation_zero_gives_the_mean():
    G = generator()
    assert torch.allclose(sample(G, 2, truncation=0.0).w, G.w_avg.expand(2, 6, 8))


def test_a_class_can_be_asked_for_where_there_are_any():
    G = generator(classes=3)
    first, second = (sample(G, 2, label=label).w for label in (0, 1))
    assert not torch.equal(first, second)
    with pytest.raises(InputError, match="classes 0 to 2"):
        sample(G, 1, label=3)
    with pytest.raises(InputError, match="no classes"):
        sample(generator(), 1, label=0)


def test_no_codes_are_refused():
    with pytest.raises(InputError, match="not 0"):
        sample(generator(), 0)


# ------------------------------------------------------------------ components
def test_a_component_is_that_of_the_whole_list():
    G = generator()
    third = ganspace(G, 3, samples=300)[2]
    assert torch.equal(component_of(G, "ganspace", 2, samples=300).vectors, third.vectors)
    assert component_of(G, "sefa", 1, "0-2").name == sefa(G, "0-2", 2)[1].name


def test_a_component_that_there_is_not_is_told():
    with pytest.raises(InputError, match="numbered from 0 to 7"):
        component_of(generator(), "sefa", 8)
    with pytest.raises(InputError, match="'pca'"):
        component_of(generator(), "pca", 0)


# ------------------------------------------------------------------ from pictures
def test_a_direction_from_pictures_leads_from_one_set_to_the_other(E):
    random = torch.Generator().manual_seed(0)
    light = torch.rand(6, 3, 32, 32, generator=random)
    dark = -torch.rand(5, 3, 20, 20, generator=random)
    calls = []
    found = direction_from_pictures(
        E, light, dark, "light", batch=4, callback=lambda *call: calls.append(call[:2])
    )
    values = [found.value(encode(E, pictures, "W")) for pictures in (light, dark)]
    # between the sets as a whole; within them pictures differ as well
    assert 0.5 < float(values[0].mean() - values[1].mean()) < 2.01
    assert calls == [(4, 11), (6, 11), (10, 11), (11, 11)]


def test_too_few_pictures_are_refused(E):
    with pytest.raises(InputError, match="1 pictures with and 1 without"):
        direction_from_pictures(E, torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32))
