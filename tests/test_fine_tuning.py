"""Fine-tuning of a generator on few pictures: frozen layers, adaptive augmentation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cycle_core.checkpoints.native import save_model
from cycle_core.checkpoints.registry import load_generator
from cycle_core.cli import main
from cycle_core.errors import InputError
from cycle_core.images.io import save_image
from cycle_core.models.blend import layer_of
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config
from cycle_core.training.augment import INTERVAL, Augmentation, _Draws, _octaves, _uncut
from cycle_core.training.generator import fine_tuning, train
from cycle_core.training.settings import AdversarialTraining

torch.set_num_threads(1)
CONFIG = StyleGAN2Config(resolution=16, z_dim=8, w_dim=8, mapping_layers=2, channels=(8, 8, 8))
TUNED = AdversarialTraining(
    images=96,
    batch=16,
    r1_interval=4,
    log_every=32,
    save_every=32,
    ada=0.6,
    ada_images=64,
    freeze=3,
)


def parent(seed: int = 0) -> Generator:
    torch.manual_seed(seed)
    return Generator(CONFIG).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(24):
        save_image(torch.full((3, 16, 16), i / 12 - 1), folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def tuned(pictures, tmp_path_factory):
    return train(pictures, tmp_path_factory.mktemp("run"), TUNED, start=parent())


# ------------------------------------------------------------------ frozen layers
def test_lower_layers_and_the_mapping_stay_and_the_others_learn(tuned):
    before, after = parent().state_dict(), tuned.state_dict()
    for name, tensor in before.items():
        if name == "mapping.w_avg" or name.endswith(("noise_const", "noise_strength")):
            continue
        layer = layer_of(tuned, name.removeprefix("synthesis."))
        stays = name.startswith("mapping.") or layer < 3
        assert torch.equal(tensor, after[name]) == stays, name


def test_a_run_that_is_interrupted_ends_with_the_same_bits(pictures, tuned, tmp_path):
    def stop(seen, total, preview):
        if seen == 48:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(pictures, tmp_path, TUNED, stop, parent())
    assert train(pictures, tmp_path, TUNED, start=parent()).fingerprint == tuned.fingerprint


@pytest.mark.parametrize(
    ("change", "setting"),
    [({"resolution": 64}, "`resolution`"), ({"channels": (4, 4)}, "`channels`"),
     ({"mapping_layers": 5}, "`mapping_layers`")],
)  # fmt: skip
def test_sizes_that_are_not_the_generators_are_refused(pictures, tmp_path, change, setting):
    with pytest.raises(InputError, match=f"{setting} is that of the generator"):
        train(pictures, tmp_path, replace(TUNED, **change), start=parent())


def test_a_run_does_not_go_on_from_another_generator(pictures, tmp_path):
    short = replace(TUNED, images=16)
    train(pictures, tmp_path, short, start=parent())
    with pytest.raises(InputError, match="start="):
        train(pictures, tmp_path, short, start=parent(1))


def test_what_cannot_be_fine_tuned_is_refused(pictures, tmp_path):
    with pytest.raises(InputError, match="train with `cond`"):
        fine_tuning(TUNED, Generator(replace(CONFIG, c_dim=3)))
    with pytest.raises(InputError, match="leaves nothing"):
        fine_tuning(replace(TUNED, freeze=6), parent())
    with pytest.raises(InputError, match="generator to start from"):
        train(pictures, tmp_path, replace(TUNED, resolution=16, channels=(8, 8, 8)))


def test_the_command_line_fine_tunes(pictures, tmp_path):
    save_model(tmp_path / "G.safetensors", "generator", CONFIG, parent().state_dict())
    out = tmp_path / "run"
    command = ["train", "generator", str(pictures), "--out", str(out), "--device", "cpu", "--quiet"]
    start = ["--start", str(tmp_path / "G.safetensors"), "--ada", "0.6", "--freeze", "2"]
    assert main([*command, *start, "--images", "16", "--batch", "8"]) == 0
    child = load_generator(out / "generator.safetensors")
    ours, theirs = (x.state_dict()["mapping.layers.0.weight"] for x in (child, parent()))
    assert torch.equal(ours, theirs)
    assert main([*command, "--ada", "2"]) == 2
    assert main([*command, "--start", str(tmp_path / "none.pkl")]) == 2


# ------------------------------------------------------------------ augmentation
ALL = AdversarialTraining.PIPES[-1]


def augmented(p: float, images, seed: int = 0, rows=None, pipe: str = "bgc") -> torch.Tensor:
    augment = Augmentation(0.6, 1000, pipe)
    augment.p = p
    rows = torch.arange(len(images)) if rows is None else rows
    rng = torch.Generator().manual_seed(seed)
    return augment(images[rows], rng, rows, len(images))


def some(count: int = 16) -> torch.Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize(
    ("pipe", "changes"), list(zip(AdversarialTraining.PIPES, (3, 7, 12, 16, 17, 18), strict=True))
)
def test_without_probability_pictures_stay_and_with_it_about_as_many_change(pipe, changes):
    images = some(256)
    assert torch.equal(augmented(0.0, images, pipe=pipe), images)
    changed = (augmented(0.05, images, pipe=pipe) - images).abs().amax((1, 2, 3)) > 1e-4
    # half of the flips and inverted lumas, and a quarter of the turns, leave a picture as it was
    same = {"b": 1.25}.get(pipe, 1.25 if len(pipe) < 3 else 1.75)
    expected = 1 - 0.95 ** (changes - same)
    assert float(changed.float().mean()) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("pipe", AdversarialTraining.PIPES)
def test_a_row_is_changed_alike_whichever_process_has_it(pipe):
    images, rows = some(), torch.tensor([1, 5, 9])
    assert torch.allclose(
        augmented(1.0, images, rows=rows, pipe=pipe),
        augmented(1.0, images, pipe=pipe)[rows],
        atol=1e-5,
    )


def test_gradients_flow_through_it():
    images = some().requires_grad_()
    augmented(1.0, images, pipe=ALL).square().sum().backward()
    assert images.grad is not None
    assert float(images.grad.abs().sum()) > 0


def test_blits_move_pixels_and_make_no_new_ones():
    images = some()
    moved = augmented(1.0, images, pipe="b")
    assert not torch.allclose(moved, images, atol=0.1)
    for before, after in zip(images, moved, strict=True):
        near = (after.flatten()[:, None] - before.flatten()[None]).abs().amin(1)
        assert float(near.max()) < 1e-4


def test_a_grey_picture_keeps_its_grey_or_gets_another():
    moved = augmented(1.0, torch.full((16, 3, 16, 16), 0.25), pipe="bgcf")
    assert torch.allclose(moved, moved.mean(1, keepdim=True).expand_as(moved), atol=1e-4)
    assert torch.allclose(moved, moved[:, :, :1, :1].expand_as(moved), atol=1e-4)


def test_octaves_together_are_the_picture_and_each_holds_its_own():
    for count, taps in ((2, 7), (3, 19), (4, 43)):
        filters = _octaves(count)
        whole = torch.zeros(taps)
        whole[taps // 2] = 1
        assert torch.allclose(filters.sum(0), whole, atol=1e-6)
        spectra = torch.fft.rfft(filters, 64).abs()  # [count, 33]
        assert spectra[:, 0].tolist() == pytest.approx([1] + [0] * (count - 1), abs=1e-5)
        assert spectra[:, -1].tolist() == pytest.approx([0] * (count - 1) + [1], abs=1e-5)


def test_noise_and_a_missing_square_are_of_the_published_sizes():
    grey = torch.zeros(256, 3, 32, 32)
    deviations = augmented(1.0, grey, pipe="bgcfn").std((1, 2, 3))
    assert float(deviations.square().mean().sqrt()) == pytest.approx(0.1, rel=0.15)
    draws = _Draws(torch.rand(2, 24, 64, generator=torch.Generator().manual_seed(0)), 1.0)
    gone = 1 - _uncut(32, draws)
    sides = gone.amax(2).sum(2).flatten(), gone.amax(3).sum(2).flatten()
    assert max(float(side.max()) for side in sides) == 16  # half, or less at the border
    assert min(float(side.min()) for side in sides) >= 8


@pytest.mark.parametrize(("real", "rises"), [(0.9, True), (0.2, False)])
def test_the_probability_follows_how_sure_the_discriminator_is(real, rises):
    augment = Augmentation(0.6, 1000)
    augment.p = 0.5
    for step in range(INTERVAL):
        augment.observe(real, step, batch=10)
    assert augment.p == pytest.approx(0.5 + (0.04 if rises else -0.04))
    for step in range(400):
        augment.observe(real, step, batch=10)
    assert augment.p == (1.0 if rises else 0.0)
    again = Augmentation(0.6, 1000)
    again.load_state(augment.state())
    assert again.p == augment.p
