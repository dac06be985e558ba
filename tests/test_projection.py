"""project: inversion by optimisation alone, on networks of the real classes, small and random."""

from __future__ import annotations

import copy
import json
import os
from dataclasses import replace

import pytest
import torch

from cycle_core.checkpoints.latents import load_code
from cycle_core.checkpoints.native import save_model
from cycle_core.cli import main
from cycle_core.codes import Code
from cycle_core.errors import InputError, MismatchError
from cycle_core.images.io import save_image
from cycle_core.invert.generate import generate
from cycle_core.invert.nearest import nearest_codes
from cycle_core.invert.objective import Objective
from cycle_core.invert.project import NoiseMaps, project
from cycle_core.invert.settings import ProjectSettings
from cycle_core.measure.metrics import mse
from cycle_core.measure.perceptual import Lpips, PortraitNet, PortraitNetConfig
from cycle_core.measure.selection import Networks
from cycle_core.models.factors import Factor
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config
from cycle_core.models.stylegan3 import StyleGAN3Config

SETTINGS = ProjectSettings(steps=12, identity=0.0)


@pytest.fixture(scope="module")
def G():
    torch.manual_seed(0)
    config = StyleGAN2Config(
        resolution=32, z_dim=16, w_dim=16, mapping_layers=2, channels=(16, 16, 16, 8)
    )
    return Generator(config).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def perceptual():
    torch.manual_seed(1)
    smile = Factor("smile", -1, 1, 0, 0.8, "attribute", "")
    network = PortraitNet(PortraitNetConfig((smile,), widths=(8, 8), input_size=32))
    return Lpips(network, "test").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def image(G):
    z = torch.randn(3, 16, generator=torch.Generator().manual_seed(5))
    return generate(G, Code(G.mapping(z), "W", G.fingerprint))


def test_a_picture_is_drawn_better_from_its_projection_than_from_the_mean(G, image, perceptual):
    mean = generate(G, Code(G.w_avg.expand(3, G.num_ws, -1).clone(), "W"))
    found = project(G, image, SETTINGS, perceptual=perceptual)
    assert (mse(found.image, image) < mse(mean, image)).all()
    torch.testing.assert_close(generate(G, found.code), found.image)


def test_in_w_all_styles_are_equal_and_in_w_plus_they_are_not(G, image, perceptual):
    for space in ("W", "W+"):
        found = project(G, image[:1], replace(SETTINGS, space=space), perceptual=perceptual)
        w = found.code.w
        assert found.code.space == space
        assert found.code.generator_id == G.base_fingerprint
        assert torch.equal(w, w[:, :1].expand_as(w)) == (space == "W")


def test_a_picture_is_projected_the_same_whatever_shares_its_batch(G, image, perceptual):
    gentle = replace(SETTINGS, steps=6, learning_rate=0.01)
    together = project(G, image, gentle, perceptual=perceptual)
    apart = project(G, image, replace(gentle, batch=2), perceptual=perceptual)
    # rounding differs with the batch, and Adam makes a step of any gradient, however small
    assert mse(apart.image, together.image).max() < 1e-3 * mse(apart.image, image).min()


def test_the_code_of_the_smallest_loss_is_given_even_if_the_last_is_worse(G, image, perceptual):
    wild = replace(SETTINGS, learning_rate=30.0, lr_rampup_length=0.0, lr_rampdown_length=0.0)
    found = project(G, image, wild, perceptual=perceptual)
    for index, log in enumerate(found.history):
        losses = [entry["total"] for entry in log]
        assert len(losses) == wild.steps + 1
        assert min(losses) < losses[-1]
        best = min(log, key=lambda entry: entry["total"])
        error = mse(found.image[index : index + 1], image[index : index + 1])
        assert float(error) <= best["l2"] + 1e-5  # clamping a picture only brings it nearer


def test_it_begins_at_the_codes_that_are_given(G, image, perceptual):
    z = torch.randn(3, 16, generator=torch.Generator().manual_seed(5))
    right = Code(G.mapping(z), "W", G.fingerprint)
    target = G.synthesis(right.w, "const").detach()
    settings = replace(SETTINGS, initial_noise_factor=0.0)
    found = project(G, target, settings, start=right, perceptual=perceptual)
    assert max(log[0]["total"] for log in found.history) < 1e-6
    torch.testing.assert_close(found.code.w, right.w)


def test_the_seed_decides_where_it_wanders(G, image, perceptual):
    codes = [
        project(G, image[:1], SETTINGS, seed=seed, perceptual=perceptual).code.w
        for seed in (3, 3, 4)
    ]
    assert torch.equal(codes[0], codes[1])
    assert not torch.equal(codes[0], codes[2])


def test_it_works_under_inference_mode_and_leaves_the_generator_as_it_was(G, image, perceptual):
    before = {name: tensor.clone() for name, tensor in G.state_dict().items()}
    with torch.inference_mode():
        found = project(G, image[:1], SETTINGS, perceptual=perceptual)
    assert found.history[0][-1]["total"] < found.history[0][0]["total"]
    assert all(torch.equal(before[name], tensor) for name, tensor in G.state_dict().items())


def test_a_relative_rate_knows_how_wide_w_is(G, image, perceptual):
    """A W ten times as wide, whose codes give the same pictures, takes as many steps."""
    wide = copy.deepcopy(G)
    for name, parameter in wide.named_parameters():
        if name.startswith("mapping.layers.1."):
            parameter.mul_(10)
        elif name.endswith("affine.weight"):
            parameter.div_(10)
    wide.mapping.w_avg.mul_(10)
    settings = replace(SETTINGS, learning_rate=0.02, relative=True, initial_noise_factor=0.0)
    found, wider = (project(one, image, settings, perceptual=perceptual) for one in (G, wide))
    torch.testing.assert_close(wider.code.w / 10, found.code.w, rtol=1e-2, atol=1e-3)


def test_every_step_is_told_and_can_end_it(G, image, perceptual):
    told = []

    def look(step, total, preview):
        told.append((step, total, tuple(preview.shape)))
        if step == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        project(G, image, replace(SETTINGS, batch=2), callback=look, perceptual=perceptual)
    assert told[0] == (1, 24, (2, 3, 32, 32))
    assert told[-1] == (15, 24, (1, 3, 32, 32))


def test_the_search_for_a_start_is_told_and_can_be_ended_too(G, image, perceptual):
    told = []

    def look(step, total, preview):
        told.append((step, total, len(preview)))

    settings = replace(SETTINGS, samples=20, batch=8, steps=4)
    project(G, image, settings, callback=look, perceptual=perceptual)
    # three batches of samples, three pictures, four steps of all together
    assert [step for step, *_ in told] == list(range(1, 11))
    assert {total for _, total, _ in told} == {10}
    assert [count for *_, count in told] == [8, 8, 4, 1, 1, 1, 3, 3, 3, 3]

    def cancel(step, total, preview):
        raise KeyboardInterrupt(step)

    with pytest.raises(KeyboardInterrupt, match="1"):
        project(G, image, settings, callback=cancel, perceptual=perceptual)


def test_what_cannot_be_projected_is_refused(G, image, perceptual):
    with pytest.raises(InputError, match="one of W"):
        ProjectSettings(space="Z")
    with pytest.raises(InputError, match=r"learning_rate .* 0 was given"):
        ProjectSettings(learning_rate=0)
    two = Code(G.w_avg.expand(2, G.num_ws, -1).clone(), "W")
    with pytest.raises(InputError, match="3 pictures and 2 codes"):
        project(G, image, SETTINGS, start=two, perceptual=perceptual)
    other = Code(G.w_avg.expand(1, G.num_ws, -1).clone(), "W", "0123456789abcdef")
    with pytest.raises(MismatchError):
        project(G, image, SETTINGS, start=other, perceptual=perceptual)


# ------------------------------------------------------------------ where it begins
def test_the_nearest_of_many_samples_is_nearer_than_the_mean(G, image, perceptual):
    still = replace(SETTINGS, steps=0, initial_noise_factor=0.0)
    mean = project(G, image, still, perceptual=perceptual)
    near = project(G, image, replace(still, samples=200), perceptual=perceptual)
    for a, b in zip(near.history, mean.history, strict=True):
        assert a[0]["total"] < b[0]["total"]


def test_a_sample_of_the_generator_is_found_among_samples(G, perceptual):
    objective = Objective(1.0, 1.0, networks=Networks(perceptual))
    rng = torch.Generator().manual_seed(7)
    w = G.mapping(G.draw_inputs(40, rng)[0])
    image = G.synthesis(w[[5, 33]]).clamp(-1, 1)
    found = nearest_codes(G, image, objective, 40, count=3, seed=7, batch=40)
    assert torch.allclose(found[:, 0], w[[5, 33]])
    assert found.shape == (2, 3, G.num_ws, 16)
    assert len(found[0, :, 0].unique(dim=0)) == 3


def test_of_several_starts_the_best_is_kept(G, image, perceptual):
    for samples in (0, 20):
        settings = replace(SETTINGS, steps=4, samples=samples, initial_noise_factor=0.0)
        several = project(G, image, replace(settings, starts=3), perceptual=perceptual)
        assert several.code.batch == len(several.history) == 3
        one = project(G, image, settings, perceptual=perceptual)
        best, alone = ([min(e["total"] for e in log) for log in x.history] for x in (several, one))
        assert sum(best) <= sum(alone) + 1e-3
        torch.testing.assert_close(generate(G, several.code), several.image)


def test_samples_are_of_the_class_that_is_asked_for(perceptual):
    torch.manual_seed(0)
    config = StyleGAN2Config(
        resolution=16, z_dim=16, w_dim=16, c_dim=3, mapping_layers=2, channels=(16, 16, 16)
    )
    conditional = Generator(config).eval().requires_grad_(False)
    objective = Objective(1.0, 0.0)
    image = torch.zeros(1, 3, 16, 16)
    rng = torch.Generator().manual_seed(0)
    z, _ = conditional.draw_inputs(5, rng)
    w = conditional.mapping(z, torch.eye(3)[[2] * 5])
    found = nearest_codes(conditional, image, objective, 5, count=5, label=2, batch=5)
    assert sorted(found[0, :, 0, 0].tolist()) == pytest.approx(sorted(w[:, 0, 0].tolist()))
    with pytest.raises(InputError, match="no class 3"):
        project(conditional, image, SETTINGS, label=3)


# ------------------------------------------------------------------ noise maps
@pytest.fixture(scope="module")
def noisy(G):
    """The generator, with noise that shows."""
    other = copy.deepcopy(G)
    for name, strength in other.named_parameters():
        if name.endswith("noise_strength"):
            strength.fill_(0.2)
    return other


def test_noise_maps_are_optimised_and_the_code_alone_is_kept(noisy, image, perceptual):
    before = noisy.fingerprint
    longer = replace(SETTINGS, steps=60)
    settings = replace(longer, noise_maps=True, noise_reg=0.0)  # they may show the picture itself
    found = project(noisy, image, settings, perceptual=perceptual)
    torch.testing.assert_close(found.image, generate(noisy, found.code))
    without = project(noisy, image, longer, perceptual=perceptual)
    for ours, theirs in zip(found.history, without.history, strict=True):
        assert min(e["total"] for e in ours) < min(e["total"] for e in theirs)
    assert noisy.fingerprint == before
    apart = project(noisy, image[1:2], settings, perceptual=perceptual)
    assert apart.image.shape == (1, 3, 32, 32)


def test_noise_stays_noise(noisy):
    """White maps cost nothing nearly, smooth ones much; each map has mean 0 and deviation 1."""
    maps = NoiseMaps(noisy, [torch.Generator().manual_seed(i) for i in range(2)])
    white = maps.penalty().detach()
    for one in maps.tensors:
        if one.shape[-1] > 8:
            one.data[1] = one.data[1] + torch.linspace(0, 6, one.shape[-1])
    smooth = maps.penalty().detach()
    assert float(smooth[0]) == pytest.approx(float(white[0]))
    assert float(smooth[1]) > 20 * float(white[1])
    maps.render(noisy.w_avg.expand(2, noisy.num_ws, -1))
    for one in maps.tensors:
        assert one.mean((1, 2, 3)).abs().max() < 1e-5
        assert one.var((1, 2, 3), unbiased=False).tolist() == pytest.approx([1, 1], abs=1e-4)


@pytest.fixture
def third():
    config = StyleGAN3Config(resolution=32, z_dim=8, w_dim=8, channel_base=256, channel_max=8)
    return Generator(config).eval().requires_grad_(False)


def test_stylegan3_which_draws_no_smaller_pictures_begins_among_samples_too(
    third, image, perceptual
):
    settings = replace(SETTINGS, steps=0, initial_noise_factor=0.0, samples=20)
    near = project(third, image, settings, perceptual=perceptual)
    mean = project(third, image, replace(settings, samples=0), perceptual=perceptual)
    assert near.history[0][0]["total"] < mean.history[0][0]["total"]
    with pytest.raises(InputError, match="no pictures of 16 pixels"):
        generate(third, near, size=16)


def test_a_generator_without_noise_maps_is_told(third, image, perceptual):
    with pytest.raises(InputError, match="has no noise maps"):
        project(third, image, replace(SETTINGS, noise_maps=True), perceptual=perceptual)


# ------------------------------------------------------------------ the command line
@pytest.fixture
def own(G, tmp_path):
    """A generator of one's own, and a crop that it can render."""
    save_model(tmp_path / "own.safetensors", "generator", G.config, G.state_dict())
    z = torch.randn(1, 16, generator=torch.Generator().manual_seed(5))
    save_image(generate(G, Code(G.mapping(z), "W")), tmp_path / "crop.png")
    return tmp_path


def test_the_command_line_projects_crops_into_one_file(own, G):
    out = own / "codes.safetensors"
    command = ["project", str(own / "crop.png"), str(own / "crop.png"), "--out", str(out)]
    command += ["--generator", str(own / "own.safetensors"), "--device", "cpu", "--quiet"]
    assert main([*command, "--steps", "3", "--space", "W+", "--samples", "20", "--noise-maps"]) == 0
    code = load_code(out)
    assert (code.batch, code.space, code.generator_id) == (2, "W+", G.base_fingerprint)
    more = str(own / "more.safetensors")
    assert (
        main([*command[:3], "--out", more, *command[5:], "--steps", "2", "--start", str(out)]) == 0
    )
    assert main([*command, "--class", "1"]) == 2
    assert main([*command, "--steps", "-1"]) == 2
    assert main([*command, "--space", "Z"]) == 2
    assert main([*command, "--learning-rate", "inf"]) == 2


def test_the_whole_way_without_an_encoder(own, G):
    command = ["run", str(own / "crop.png"), "--generator", str(own / "own.safetensors")]
    command += ["--no-face", "centre", "--project-steps", "3", "--tune-steps", "2"]
    torch.save(torch.randn(16), own / "round.pt")
    command += ["--edit", f"{own}/round.pt=2", "--device", "cpu", "--quiet"]
    assert main([*command, "--out", str(own / "out")]) == 0
    folder = own / "out" / "crop"
    report = json.loads((folder / "report.json").read_text("utf-8"))
    assert list(report["steps"]) == ["align", "project", "tune"]
    assert report["steps"]["project"]["steps"] == 3
    assert load_code(folder / "project.safetensors").generator_id == G.base_fingerprint
    assert (folder / "project.png").is_file()
    assert not {"encode.png", "refine.png", "encode.safetensors"} & set(os.listdir(folder))
    assert (folder / "photo_round+2.png").is_file()
    command += ["--edit", f"{own}/round.pt=-1"]  # from the files that are there
    assert main([*command, "--out", str(own / "out")]) == 0
    assert (folder / "edit_round-1.png").is_file()


def test_a_video_without_an_encoder(own):
    av = pytest.importorskip("av")
    assert av
    from cycle_core.images.clips import ClipWriter, open_clip

    with ClipWriter(own / "clip.mp4", 25) as writer:
        for k in range(3):
            writer.write(torch.full((1, 3, 48, 48), 0.1 * k), k / 25)
    command = ["run", str(own / "clip.mp4"), "--generator", str(own / "own.safetensors")]
    command += ["--no-face", "centre", "--project-steps", "3", "--tune-steps", "2", "--quiet"]
    assert main([*command, "--out", str(own / "out"), "--device", "cpu"]) == 0
    assert len(list(open_clip(own / "out" / "clip" / "video.mp4"))) == 3
    report = json.loads((own / "out" / "clip" / "report.json").read_text("utf-8"))
    assert list(report["steps"]) == ["find", "project", "tune"]


def test_no_steps_give_the_code_that_it_starts_at(G, image, perceptual):
    """No noise of the start is left in it."""
    start = Code(G.mapping(torch.randn(3, 16, generator=torch.Generator().manual_seed(8))), "W")
    found = project(G, image, replace(SETTINGS, steps=0), start=start, perceptual=perceptual)
    torch.testing.assert_close(found.code.w, start.w)
