"""FID: the network of pytorch-fid, and the distances that `bench --photos` reports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cycle_core.bench.measures import at_256
from cycle_core.bench.photos import compare_photos
from cycle_core.bench.report import photo_tables
from cycle_core.bench.settings import PhotoSettings
from cycle_core.checkpoints.inspecting import inspect
from cycle_core.checkpoints.registry import load_encoder, load_generator, open_model
from cycle_core.errors import CheckpointError, InputError
from cycle_core.images.io import read_image, save_image
from cycle_core.invert.encode import encode
from cycle_core.invert.generate import generate
from cycle_core.invert.sampling import sample
from cycle_core.invert.settings import TuneSettings
from cycle_core.measure.metrics import frechet_distance
from cycle_core.measure.perceptual import find_inception
from cycle_core.models.inception import FidInception

FILE = "pt_inception-2015-12-05-6726825d.pth"
SETTINGS = PhotoSettings(
    methods=("portraits-w",),
    tuned=2,
    tune=TuneSettings(steps=1, learning_rate=3e-3, threshold=0.0),
)


def seeded_state() -> dict[str, torch.Tensor]:
    """Weights that anybody can make again, in the layout of the file."""
    shapes = {name: tuple(value.shape) for name, value in FidInception().state_dict().items()}
    shapes |= {"fc.weight": (1008, 2048), "fc.bias": (1008,)}
    state = {}
    for seed, (name, shape) in enumerate(sorted(shapes.items())):
        values = np.random.RandomState(seed).randn(*shape)
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(0)
            continue
        if name.endswith("conv.weight"):
            values *= (2 / np.prod(shape[1:])) ** 0.5
        elif name.endswith("bn.weight"):
            values = 1 + 0.1 * values
        elif name.endswith("running_var"):
            values = 1 + 0.5 * np.abs(values)
        else:
            values *= 0.1
        state[name] = torch.from_numpy(values).float()
    return state


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inception")
    torch.save(seeded_state(), folder / FILE)
    return folder


def test_features_are_those_of_pytorch_fid(weights):
    """The fixture: every 32nd feature of pytorch-fid 0.3 with the same weights and pictures."""
    wanted = json.loads((Path(__file__).parent / "fixtures" / "inception.json").read_text())
    picture = np.random.RandomState(99).randint(0, 256, (2, 3, 80, 64)).astype(np.float32) / 255
    network = open_model(weights / FILE, "fid")
    with torch.no_grad():
        found = network(torch.from_numpy(picture) * 2 - 1)
    assert found.shape == (2, 2048)
    torch.testing.assert_close(
        found[:, ::32], torch.tensor(wanted["features"]), atol=2e-4, rtol=1e-3
    )


def test_a_file_without_counts_of_batches_is_the_same_network(weights, tmp_path):
    state = {k: v for k, v in seeded_state().items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "older.pth")
    image = torch.rand(1, 3, 40, 40)
    with torch.no_grad():
        older, newer = (
            open_model(p, "fid")(image) for p in (tmp_path / "older.pth", weights / FILE)
        )
    assert torch.equal(older, newer)


def test_its_file_is_told_by_its_content(weights, tmp_path):
    (holds,) = inspect(weights / FILE)["holds"]
    assert holds["kind"] == "FID network"
    with pytest.raises(CheckpointError, match="is a FID network"):
        load_generator(weights / FILE)
    state = seeded_state() | {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    torch.save(state, tmp_path / "inception_v3_google.pth")  # torchvision's own, of ImageNet
    with pytest.raises(CheckpointError, match="another Inception"):
        open_model(tmp_path / "inception_v3_google.pth", "fid")


def test_without_its_file_there_is_no_fid(only_embedded):
    assert find_inception() is None


def test_photographs_are_told_with_their_fid(weights, tmp_path, monkeypatch, photographs):
    monkeypatch.setenv("CYCLE_CORE_MODELS", str(weights))
    out = tmp_path / "out"

    def compare():
        return compare_photos(out, photographs, "portraits", {"portraits": "portraits"},
                              ["smile"], SETTINGS)  # fmt: skip

    compared = compare()
    (result,) = compared.results
    assert result["fid"]["pivot"]["pictures"] == 3
    assert result["fid"]["tuned"]["pictures"] == 2
    network = find_inception()
    assert network is not None
    G, E = load_generator("portraits"), load_encoder("portraits")
    images = [read_image(path) for path in sorted(photographs.glob("*.png"))]
    with torch.no_grad():
        seen = torch.cat([network(image) for image in images])
        made = torch.cat([network(at_256(generate(G, encode(E, x, "W", G)))) for x in images])
    assert result["fid"]["pivot"]["fid"] == pytest.approx(frechet_distance(seen, made), rel=1e-3)
    for path in sorted(out.glob("*/*.fid.safetensors"))[:1]:
        path.unlink()  # it is made anew, and what is there stays
    again = compare()
    assert again.results[0]["fid"]["pivot"]["fid"] == pytest.approx(result["fid"]["pivot"]["fid"])
    text = photo_tables(compared)
    assert f"| portraits, W | pivot | 3 | {result['fid']['pivot']['fid']:.4f} |" in text
    assert "| PSNR |" in text
    path = next(out.glob("*/*.fid.safetensors"))
    path.write_bytes(b"damaged")
    with pytest.raises(InputError, match="delete it, and it is made anew"):
        compare()


@pytest.fixture
def photographs(tmp_path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    codes = sample(load_generator("portraits"), 3, seed=1)
    for i, image in enumerate(generate(load_generator("portraits"), codes).split(1)):
        save_image(image, folder / f"{i}.png")
    return folder
