"""The nodes that write files, and those for a generator of your own."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import small_pack
import torch
from safetensors import safe_open
from small_pack import pictures, same, state

run, world = small_pack.run, small_pack.world
portraits, tiny = small_pack.portraits, small_pack.tiny


# ------------------------------------------------------------------ files
@pytest.fixture
def hidden(world):
    for node in world.nodes.values():
        node.hidden = SimpleNamespace(
            prompt={"1": {}}, extra_pnginfo={"workflow": {"nodes": []}}, unique_id="7"
        )
    yield
    sys.modules["comfy.cli_args"].args.disable_metadata = False


def header(path):
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def test_a_pivot_is_saved_with_its_workflow_and_opened_again(run, tiny, world, hidden):
    G, _ = tiny
    (code,) = run("CycleSampleCodes", generator=G, count=2)
    run("CycleSavePivot", code=code)
    (file,) = (world.comfy.folder / "output" / "cycle").glob("*.pivot.safetensors")
    assert json.loads(header(file)["prompt"]) == {"1": {}}
    assert json.loads(header(file)["workflow"]) == {"nodes": []}
    (name,) = world.nodes["CycleLoadPivot"].define_schema().inputs[0].fields["options"]
    (back,) = run("CycleLoadPivot", file=name)
    assert torch.equal(back.w, code.w)
    assert back.generator_id == code.generator_id


def test_no_workflow_is_written_where_the_user_wants_none(run, tiny, world, hidden):
    sys.modules["comfy.cli_args"].args.disable_metadata = True
    G, _ = tiny
    (code,) = run("CycleSampleCodes", generator=G)
    run("CycleSavePivot", code=code, filename_prefix="plain/pivot")
    (file,) = (world.comfy.folder / "output" / "plain").glob("*.safetensors")
    assert not {"prompt", "workflow"} & set(header(file))


def test_a_tuned_generator_is_saved_and_put_onto_the_original_again(run, tiny, world, hidden):
    G, _ = tiny
    (pivot,) = run("CycleSampleCodes", generator=G)
    tuned, drawn = run("CyclePivotTune", images=pictures(1), generator=G, pivot=pivot, steps=1)
    run("CycleSaveTunedGenerator", tuned=tuned)
    (name,) = world.nodes["CycleLoadTunedGenerator"].define_schema().inputs[1].fields["options"]
    back, code, image = run("CycleLoadTunedGenerator", generator=G, file=name)
    assert back.module.fingerprint == tuned.module.fingerprint
    assert torch.equal(code.w, pivot.w)
    assert torch.allclose(image, drawn, atol=1e-5)
    with pytest.raises(Exception, match="was not tuned"):
        run("CycleSaveTunedGenerator", tuned=G)


def test_a_saved_file_that_is_gone_is_told(run):
    with pytest.raises(Exception, match="There is no file gone"):
        run("CycleLoadPivot", file="gone.pivot.safetensors [output]")


# ------------------------------------------------------------------ a generator of your own
@pytest.mark.parametrize("space", ["W", "W+"])
def test_pictures_are_projected_without_an_encoder(run, tiny, space):
    generator, _ = tiny
    before = state(generator)
    options = {"space": space, "steps": 3, "samples": 20, "starts": 2}
    code, shown = run("CycleProject", images=pictures(2), generator=generator, **options)
    assert (code.batch, code.space, code.generator_id) == (
        2,
        space,
        generator.module.base_fingerprint,
    )
    assert shown.shape == (2, 32, 32, 3)
    assert same(before, generator)
    again, _ = run(
        "CycleProject", images=pictures(2), generator=generator, start=code, noise_maps=True,
        **options,
    )  # fmt: skip
    assert again.batch == 2


def test_the_search_for_the_nearest_sample_shows_progress_and_is_cancelled(run, world, tiny):
    options = {"images": pictures(1), "generator": tiny[0], "steps": 3, "samples": 50}
    run("CycleProject", **options)
    (bar,) = world.comfy.bars
    assert [(value, total) for value, total, _ in bar.calls] == [
        (step, 11)
        for step in range(1, 12)  # 7 batches of samples, 1 picture, 3 steps
    ]
    world.comfy.interrupt_after = 2
    cancelled = sys.modules["comfy.model_management"].InterruptProcessingException
    with pytest.raises(cancelled):
        run("CycleProject", **options)
    assert len(world.comfy.bars[-1].calls) == 2


def test_nodes_take_the_class_of_a_conditional_generator(run, world, tiny):
    module = tiny[0].module
    torch.manual_seed(2)
    config = replace(module.config, c_dim=3)
    conditional = type(module)(config).eval().requires_grad_(False)
    generator = world.part("nodes.host").LoadedModel.of(conditional, "portraits")
    codes = [run("CycleSampleCodes", generator=generator, seed=5, label=k)[0].w for k in (0, 2, 2)]
    assert torch.equal(codes[1], codes[2])
    assert not torch.allclose(codes[0], codes[1], atol=1e-3)
    options = {"images": pictures(1), "generator": generator, "steps": 1, "samples": 9}
    found = [run("CycleProject", label=k, **options)[0].w for k in (0, 2)]
    assert not torch.allclose(*found, atol=1e-3)
    for node, inputs in (("CycleSampleCodes", {"generator": generator}), ("CycleProject", options)):
        with pytest.raises(Exception, match="no class 3"):
            run(node, label=3, **inputs)


def test_two_generators_are_blended_and_codes_of_the_first_fit(run, world, tiny):
    generator, _ = tiny
    (code,) = run("CycleSampleCodes", generator=generator, count=1)
    host = world.part("nodes.host")
    torch.manual_seed(1)
    other = type(generator.module)(generator.module.config).eval().requires_grad_(False)
    second = host.LoadedModel.of(other, "portraits")
    before = state(generator), state(second)
    (mixed,) = run("CycleBlendGenerators", first=generator, second=second, resolution=16)
    plain, blended = (run("CycleGenerate", code=code, generator=g)[0] for g in (generator, mixed))
    assert not torch.allclose(plain, blended, atol=1e-3)
    (swapped,) = run(
        "CycleBlendGenerators", first=generator, second=second, part="these layers", layers="0-7"
    )
    (whole,) = run("CycleBlendGenerators", first=generator, second=second, part="all layers")
    both = [run("CycleGenerate", code=code, generator=g)[0] for g in (swapped, whole)]
    assert torch.equal(*both)
    assert same(before[0], generator)
    assert same(before[1], second)


@pytest.fixture
def child(world, tiny):
    """A generator of the same shape with weights of its own."""
    G, _ = tiny
    torch.manual_seed(1)
    other = type(G.module)(G.module.config).eval().requires_grad_(False)
    return world.part("nodes.host").LoadedModel.of(other, "child")


def test_same_space_takes_what_another_generator_of_the_shape_made(run, tiny, child, world, hidden):
    G, E = tiny
    image = pictures(1)
    (code,) = run("CycleSampleCodes", generator=G)
    tuned, _ = run("CyclePivotTune", images=image, generator=G, pivot=code, steps=1)
    run("CycleSaveTunedGenerator", tuned=tuned, original=G)
    files = world.nodes["CycleLoadTunedGenerator"].define_schema().inputs[1].fields["options"]
    ways = {
        "CycleEncode": {"images": image, "encoder": E},
        "CycleRefinePivot": {"images": image, "encoder": E, "steps": 1},
        "CyclePivotTune": {"images": image, "pivot": code, "steps": 1},
        "CycleGenerate": {"code": code},
        "CycleLatentEditor": {"code": code},
        "CycleLoadTunedGenerator": {"file": max(files)},
    }
    for node_id, inputs in ways.items():
        with pytest.raises(Exception, match="generator"):
            run(node_id, generator=child, **inputs)
        made = run(node_id, generator=child, same_space=True, **inputs)[0]
        base = getattr(made, "module", child.module).base_fingerprint
        assert base == child.module.base_fingerprint, node_id
        if node_id in ("CycleEncode", "CycleRefinePivot", "CycleLatentEditor"):
            assert (made.generator_id, made.origin) == (base, G.module.fingerprint), node_id


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_grey_and_transparent_pictures_are_shown_as_rgb(run, tiny, world, channels):
    module = type(tiny[0].module)
    config = replace(tiny[0].module.config, img_channels=channels)
    G = world.part("nodes.host").LoadedModel.of(module(config).eval(), "grey")
    (code,) = run("CycleSampleCodes", generator=G)
    (image,) = run("CycleGenerate", code=code, generator=G)
    assert image.shape == (1, 32, 32, 3)
    node = world.nodes["CycleLatentEditor"]
    output = node.execute(code=code, generator=G, edits="", shown=0)
    assert len(base64.b64decode(output.ui["latent_editor"][0]["image"]["rgb"])) == 3 * 32 * 32
