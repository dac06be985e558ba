"""The whole way on a device whose memory is not that of the host, as a GPU's: nothing mixes both,
and next to nothing crosses while it works, because a GPU's queue runs empty there."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import small_networks
import torch
from other_device import THERE, other_device
from small_networks import code_of
from small_training import Parts

from cycle_core.directions.discovery import sefa
from cycle_core.directions.editing import edit
from cycle_core.invert.encode import encode
from cycle_core.invert.generate import generate
from cycle_core.invert.project import project
from cycle_core.invert.refine import refine
from cycle_core.invert.sampling import sample
from cycle_core.invert.settings import ProjectSettings, RefineSettings, TuneSettings
from cycle_core.invert.tune import tune
from cycle_core.measure.perceptual import AlexNet
from cycle_core.models.generator import Generator
from cycle_core.models.irse import IdentityConfig, IdentityNet
from cycle_core.models.stylegan3 import StyleGAN3Config

E, G, seeded = small_networks.E, small_networks.G, small_networks.seeded
image, perceptual = small_networks.image, small_networks.perceptual
pytestmark = pytest.mark.usefixtures("seeded")
TUNE = TuneSettings(threshold=0.0, locality_every=2, detail_steps=2, detail_size=8)


@pytest.fixture
def there():
    with other_device() as device:
        yield device


def test_memories_do_not_mix(there):
    a, b = torch.ones(3), torch.ones(3).to(THERE)
    assert b.device == THERE
    assert (b + 1).tolist() == [2.0, 2.0, 2.0]
    with pytest.raises(RuntimeError, match="same device"):
        _ = a + b
    assert len(there.into) == len(there.back) == 1


@pytest.fixture
def identity():
    config = IdentityConfig(
        widths=(4, 4, 4, 8, 8), units=(1, 1, 1, 1), reduction=2, embedding=8, input_size=32,
        crop=None,
    )  # fmt: skip
    return IdentityNet(config).eval().requires_grad_(False)


WAYS = {
    "encode": lambda n, image, code, steps: generate(n.G, encode(n.E, image)),
    "sample": lambda n, image, code, steps: generate(n.G, sample(n.G, 2, seed=1), truncation=0.5),
    "edit": lambda n, image, code, steps: generate(n.G, edit(code, sefa(n.G, count=1)[0], 1.0)),
    "refine": lambda n, image, code, steps: (
        refine(
            n.E,
            n.G,
            image,
            RefineSettings(steps, images=2),
            perceptual=n.perceptual,
            identity=n.identity,
        ).image
    ),
    "tune": lambda n, image, code, steps: (
        tune(n.G, code, image, replace(TUNE, steps=steps), perceptual=n.perceptual).image
    ),
    "project": lambda n, image, code, steps: (
        project(
            n.G, image, ProjectSettings(steps=steps), perceptual=n.perceptual, identity=n.identity
        ).image
    ),
}


@pytest.mark.parametrize("name", WAYS)
def test_it_is_the_same_there_and_waits_once_in_a_step(
    name, E, G, perceptual, identity, image, there
):
    code, way = code_of(G, 1, seed=6), WAYS[name]
    here = SimpleNamespace(E=E, G=G, perceptual=perceptual, identity=identity)
    copies = {key: copy.deepcopy(net).to(THERE) for key, net in vars(here).items()}
    crossings, found = [], None
    for steps in (2, 2, 4):  # the first time some numbers are sent that stay there
        there.into.clear()
        there.back.clear()
        found = way(SimpleNamespace(**copies), image, code, steps)
        crossings.append((len(there.into), len(there.back)))
    assert torch.allclose(found.to("cpu"), way(here, image, code, 4), atol=1e-5)
    into, back = (b - a for a, b in zip(*crossings[1:], strict=True))
    # random numbers are those of the host; of two steps of tuning one holds the neighbourhood
    assert into == {"refine": 2, "tune": 1, "project": 2}.get(name, 0)
    assert back == {"refine": 2, "tune": 2, "project": 2}.get(name, 0)


@pytest.mark.parametrize("kind", ["stylegan2", "stylegan3", "encoder", "identity", "lpips", "alex"])
def test_nothing_crosses_inside_a_network(kind, E, G, perceptual, identity, there):
    picture, w = torch.rand(1, 3, 64, 64) * 2 - 1, torch.randn(1, G.num_ws, G.w_dim)
    if kind == "stylegan3":
        G = Generator(
            StyleGAN3Config(resolution=16, z_dim=16, w_dim=16, channel_base=256, channel_max=16)
        ).eval()
        w = torch.randn(1, G.num_ws, G.w_dim)
    network, x = {
        "stylegan2": (G.synthesis, w),
        "stylegan3": (G.synthesis, w),
        "encoder": (E, picture[..., ::2, ::2]),
        "identity": (identity, picture),
        "lpips": (perceptual.network, picture),
        "alex": (AlexNet(), picture),
    }[kind]
    run = network.taps if hasattr(network, "taps") else network
    network.to(THERE)
    run(x.to(THERE))
    there.into.clear()
    run(x.to(THERE))
    assert (len(there.into), there.back) == (1, [])  # x itself


def test_another_device_trains_the_same(tmp_path, there):
    """The encoder, in W and in W+, with its discriminator, checkpoints and validation."""
    logs = []
    for device in ("cpu", THERE):
        folder = tmp_path / torch.device(device).type
        (folder / "pictures").mkdir(parents=True)
        parts = Parts(folder / "pictures")
        for network in (parts.generator, parts.perceptual, parts.identity):
            network.to(device)
        parts.train(folder / "run", log_every=1)
        logs.append((folder / "run" / "log.jsonl").read_text().splitlines())
    assert len(logs[0]) >= 24
    for here, other in zip(*(map(numbers_of, log) for log in logs), strict=True):
        assert other == pytest.approx(here, rel=1e-3, abs=1e-4)


def numbers_of(line: str) -> dict[str, float]:
    """The losses of a line of a log, of a validation those of each space."""
    values = json.loads(line)
    for space, losses in values.pop("validation", {}).items():
        values |= {f"{space}, {name}": loss for name, loss in losses.items()}
    return {k: x for k, x in values.items() if isinstance(x, float) and k != "seconds"}
