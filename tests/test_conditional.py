"""Training by classes: NVIDIA's labels, a discriminator that knows them, a generator that obeys."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torchrun import start

from cycle_core.checkpoints.native import save_model
from cycle_core.checkpoints.registry import load_generator
from cycle_core.cli import main
from cycle_core.errors import InputError
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config
from cycle_core.training.data import open_all
from cycle_core.training.discriminator import Discriminator
from cycle_core.training.generator import AdversarialTrainer, train
from cycle_core.training.labels import Labels
from cycle_core.training.loop import load_checkpoint
from cycle_core.training.packing import pack
from cycle_core.training.settings import AdversarialTraining

torch.set_num_threads(1)
COLOURS = ((230, 30, 30), (30, 30, 230), (30, 230, 30))
SMALL = AdversarialTraining(
    resolution=16,
    channels=(8, 8, 8),
    z_dim=4,
    w_dim=8,
    mapping_layers=2,
    images=96,
    batch=16,
    r1_interval=4,
    log_every=48,
    save_every=48,
    cond=True,
)


def labelled(path: Path, labels: object = None, count: int = 24, kinds: int = 3) -> Path:
    """NVIDIA's zip: pictures of a few colours, whose label is the colour."""
    names = [f"{i // 10:05d}/img{i:08d}.png" for i in range(count)]
    if labels is None:
        labels = [[name, i % kinds] for i, name in enumerate(names)]
    with zipfile.ZipFile(path, "w") as file:
        for i, name in enumerate(names):
            stream = io.BytesIO()
            Image.new("RGB", (16, 16), COLOURS[i % kinds]).save(stream, "PNG")
            file.writestr(name, stream.getvalue())
        file.writestr("dataset.json", json.dumps({"labels": labels}))
    return path


def pairs(*labels: object) -> list[list[object]]:
    return [[f"00000/img{i:08d}.png", label] for i, label in enumerate(labels)]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    return labelled(tmp_path_factory.mktemp("pictures") / "set.zip")


@pytest.fixture(scope="module")
def straight(pictures, tmp_path_factory) -> tuple[Path, Generator]:
    out = tmp_path_factory.mktemp("runs")
    return out, train(pictures, out, SMALL)


# ------------------------------------------------------------------ labels
def test_labels_are_the_same_in_a_zip_a_folder_and_shards(pictures, tmp_path):
    with zipfile.ZipFile(pictures) as file:
        file.extractall(tmp_path / "folder")
    pack(pictures, tmp_path / "packed", 16)
    for path in (pictures, tmp_path / "folder", tmp_path / "packed"):
        read = open_all(path, 16, cond=True)
        assert read.labels is not None
        assert read.labels.c_dim == 3
        places = torch.tensor([7, 0, 2])
        assert torch.equal(read.labels[places], F.one_hot(places % 3, 3).float())
        brightest = read[places].mean((2, 3)).argmax(1)
        assert brightest.tolist() == [2, 0, 1]  # blue, red, green


def test_labels_may_be_vectors(tmp_path):
    path = labelled(tmp_path / "set.zip", pairs([0.5, -1], [0, 2], [1e-3, 4]), count=3)
    labels = open_all(path, 16, cond=True).labels
    assert labels is not None
    assert labels[torch.tensor([1, 0])].tolist() == [[0, 2], [0.5, -1]]


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (pairs(0, -1, 2), "the class -1, but classes are counted from 0"),
        (pairs(0, 1, 1 << 40), "the class 1099511627776"),
        (pairs(0, 1), "no label for 1 of 3 pictures, the first of them 00000/img00000002.png"),
        (pairs(0, 1.0, 2), "a class is a whole number"),
        (pairs(0, [1.0], 2), "labels of different kinds"),
        (pairs([1, 2], [1], [1, 2]), "labels of different kinds"),
        (pairs([], [], []), "labels of different kinds"),
        (pairs([1], [1], [1e300]), "float32 cannot hold"),
        (pairs(0, 1, 2) + pairs(1), "two labels for 00000/img00000000.png"),
        (pairs(0, "1", 2), "pairs of a picture's name and its label"),
        (pairs(0, True, 2), "pairs of a picture's name and its label"),
        ([["a.png"]], "pairs of a picture's name and its label"),
        ({"a.png": 1}, "pairs of a picture's name and its label"),
        ([], "no label for 3 of 3"),
    ],
)
def test_labels_that_cannot_be_used_are_told(tmp_path, labels, told):
    path = labelled(tmp_path / "set.zip", labels, count=3)
    with pytest.raises(InputError, match=told):
        open_all(path, 16, cond=True)
    assert len(open_all(path, 16)) == 3  # nobody asked for them


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "holds no labels, which `cond` learns"),
        ("{}", "holds no labels"),
        ('{"labels": null}', "holds no labels"),
        ("[", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ('{"labels": [], "labels": []}', "names something twice"),
        ('{"labels": [["a.png", NaN]]}', "cannot be read"),
    ],
)
def test_a_dataset_json_that_is_none_is_told(tmp_path, text, told):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    if text is not None:
        (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=told):
        open_all(tmp_path, 16, cond=True)


def test_grids_show_as_many_classes_as_fit():
    labels = Labels(torch.tensor([4, 0, 4, 9, 2, 0]))
    places = torch.arange(6)
    assert labels.one_of_each(places, 8).tolist() == [1, 4, 0, 3]
    assert labels.one_of_each(places, 2).tolist() == [1, 0]
    assert labels.one_of_each(places[2:], 2).tolist() == [5, 2]


# ------------------------------------------------------------------ training
def test_a_run_that_is_interrupted_ends_with_the_same_bits(pictures, straight, tmp_path):
    def stop(seen: int, total: int, preview: object) -> None:
        if seen == 64:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(pictures, tmp_path, SMALL, stop)
    assert train(pictures, tmp_path, SMALL).fingerprint == straight[1].fingerprint


def test_a_run_leaves_a_generator_with_classes(straight):
    opened = load_generator(straight[0] / "generator.safetensors")
    assert opened.config.c_dim == 3
    assert opened.fingerprint == straight[1].fingerprint


def test_grids_have_a_row_of_each_class(pictures):
    trainer = AdversarialTrainer(open_all(pictures, 16, None, True), SMALL)
    measured, columns = trainer.validate()
    assert measured == {}
    assert {name: len(column) for name, column in columns.items()} == {
        "picture": 3, "sample 0": 3, "sample 1": 3, "sample 2": 3, "sample 3": 3}  # fmt: skip
    assert columns["picture"].mean((2, 3)).argmax(1).tolist() == [0, 2, 1]  # red, blue, green


def test_a_run_does_not_go_on_with_other_labels(pictures, straight, tmp_path):
    names = [f"{i // 10:05d}/img{i:08d}.png" for i in range(24)]
    other = labelled(tmp_path / "set.zip", [[name, (i + 1) % 3] for i, name in enumerate(names)])
    with pytest.raises(InputError, match="other pictures"):
        train(other, straight[0], SMALL)
    with pytest.raises(InputError, match="cond=True"):
        train(pictures, straight[0], replace(SMALL, cond=False))


def test_classes_are_learnt(tmp_path):
    path = labelled(tmp_path / "set.zip", kinds=2)
    settings = replace(
        SMALL,
        images=640,
        log_every=640,
        save_every=640,
        path_weight=0.0,
        noise=False,
        half_life=200,
        learning_rate=4e-3,
        seed=2,
    )
    generator = train(path, tmp_path / "run", settings)
    z = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    red, blue = (
        generator(z, F.one_hot(torch.full((16,), label), 2).float()).mean((0, 2, 3))
        for label in (0, 1)
    )
    assert red[0] - blue[0] > 0.5  # of the pictures: 1.57
    assert blue[2] - red[2] > 0.5


def test_two_processes_train_classes_as_one_does(pictures, tmp_path):
    """Augmented, too, whose probability follows what both see."""
    command = ["train", "generator", str(pictures), "--cond", "--device", "cpu", "--quiet"]
    command += ["--resolution", "16", "--channels", "8-8-8", "--z-dim", "4", "--w-dim", "8"]
    command += ["--mapping-layers", "2", "--images", "128", "--batch", "16", "--no-noise"]
    command += ["--learning-rate", "2e-4", "--ada", "0.01", "--ada-images", "256"]
    assert main([*command, "--out", str(tmp_path / "one")]) == 0
    job = start(2, "-m", "cycle_core.cli", *command, "--out", tmp_path / "two")
    _, told = job.communicate(timeout=600)
    assert job.returncode == 0, told
    one, two = (load_generator(tmp_path / n / "generator.safetensors") for n in ("one", "two"))
    for name, value in one.state_dict().items():
        assert torch.allclose(two.state_dict()[name], value, atol=1e-4), name
    states = [load_checkpoint(tmp_path / name) for name in ("one", "two")]
    assert states[0] is not None
    assert states[1] is not None
    assert states[0]["ada"] == states[1]["ada"]
    assert states[0]["ada"]["p"] > 0
    for name, value in states[0]["discriminator"].items():
        assert torch.allclose(states[1]["discriminator"][name], value, atol=1e-3), name


def test_both_codes_of_a_mixed_style_have_one_class(pictures):
    settings = replace(SMALL, style_mixing=1.0)
    trainer = AdversarialTrainer(open_all(pictures, 16, None, True), settings)
    mapping = trainer.generator.mapping
    mapping.layers = torch.nn.ModuleList()  # z and the embedding as they are
    seen: list[torch.Tensor] = []
    mapping.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    c = trainer.draw_conditions(16, torch.Generator().manual_seed(0))
    trainer._codes(torch.Generator().manual_seed(1), torch.arange(16), c)
    first, second = seen[0].chunk(2)
    assert c is not None
    assert torch.equal(first, c)
    assert torch.equal(second, c)


def test_the_discriminator_projects_on_the_condition():
    torch.manual_seed(0)
    config = StyleGAN2Config(resolution=16, channels=(8, 8, 8), c_dim=3)
    critic, image = Discriminator(config), torch.randn(4, 3, 16, 16)
    logits = [critic(image, F.one_hot(torch.full((4,), i), 3).float()) for i in range(3)]
    assert logits[0].shape == (4, 1)
    assert not torch.allclose(logits[0], logits[1])
    plain = Discriminator(replace(config, c_dim=0))
    assert not any("cmap" in name for name in plain.state_dict())


# ------------------------------------------------------------------ fine-tuning, command line
def test_a_generator_with_these_classes_is_fine_tuned(pictures, straight, tmp_path):
    parent = load_generator(straight[0] / "generator.safetensors")
    settings = replace(SMALL, images=32, freeze=2)
    child = train(pictures, tmp_path / "child", settings, start=parent)
    ours, theirs = (one.mapping.state_dict()["embed.weight"] for one in (child, parent))
    assert torch.equal(ours, theirs)
    with pytest.raises(InputError, match="has 3 classes: train with `cond`"):
        train(pictures, tmp_path / "plain", replace(settings, cond=False), start=parent)
    two = labelled(tmp_path / "two.zip", pairs(0, 1, 1), count=3)
    with pytest.raises(InputError, match=r"has 3 classes, but the labels .* have 2"):
        train(two, tmp_path / "two", settings, start=parent)
    plain = Generator(replace(parent.config, c_dim=0))
    with pytest.raises(InputError, match="has no classes: leave out `cond`"):
        train(pictures, tmp_path / "none", settings, start=plain)


def test_the_command_line_trains_by_class(pictures, straight, tmp_path, capsys):
    parent = straight[1]
    save_model(tmp_path / "G.safetensors", "generator", parent.config, parent.state_dict())
    command = ["train", "generator", str(pictures), "--start", str(tmp_path / "G.safetensors")]
    command += ["--cond", "--images", "16", "--batch", "8", "--device", "cpu"]
    assert main([*command, "--out", str(tmp_path / "run"), "--quiet"]) == 0
    out = str(tmp_path / "one.png")
    made = str(tmp_path / "run" / "generator.safetensors")
    assert load_generator(made).config.c_dim == 3
    assert main([*command, "--out", out, "--dry-run"]) == 0
    assert "24 pictures to train on, with 3 classes" in capsys.readouterr().out
