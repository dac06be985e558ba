"""The nodes: what they are called, loaders, encoding to tuning, comparing."""

from __future__ import annotations

import ast
import gc
import json
import sys

import comfy_standin
import node_texts
import pytest
import small_pack
import torch
from small_pack import ROOT, pictures, same, state

from cycle_core import errors

run, world = small_pack.run, small_pack.world
portraits, tiny = small_pack.portraits, small_pack.tiny


# ------------------------------------------------------------------ registration
def test_the_schemas_are_those_that_saved_workflows_know(world):
    """Ids and the order of inputs are permanent. Renew the files by tests/node_texts.py."""
    shapes = {k: node_texts.shape(node.define_schema()) for k, node in world.nodes.items()}
    known = json.loads(node_texts.SNAPSHOT.read_text())
    assert shapes == json.loads(json.dumps(known))


def test_everything_is_explained_in_tooltips_help_and_locale(world):
    locale = json.loads(node_texts.NODE_DEFS.read_text())
    assert list(locale) == list(world.nodes)
    for node_id, node in world.nodes.items():
        schema = node.define_schema()
        assert node_id.startswith("Cycle")
        assert schema.description
        for one in schema.inputs:
            assert one.fields.get("tooltip"), f"{node_id}.{one.id}"
        for one in schema.outputs:
            assert one.tooltip, f"{node_id}.{one.display_name}"
        assert locale[node_id] == node_texts.texts(schema)
        page = node_texts.page(node_id).read_text()
        assert page == node_texts.renewed(page, locale[node_id], "en")


@pytest.mark.parametrize("language", node_texts.LANGUAGES)
def test_the_sub_categories_are_translated(world, language):
    known = {node.define_schema().category for node in world.nodes.values()}
    texts = json.loads((ROOT / "locales" / language / "main.json").read_text("utf-8"))
    translated = texts["nodeCategories"]
    assert {f"Cycle Encoding/{name}" for name in translated} == known
    assert all(text.strip() and text != name for name, text in translated.items())


def test_every_number_has_a_range_that_holds_its_default(world):
    for node_id, node in world.nodes.items():
        for one in node.define_schema().inputs:
            socket = one.fields.get("extra_dict", {}).get("forceInput")
            if one.io_type in ("INT", "FLOAT") and not socket:
                low, high = one.fields["min"], one.fields["max"]
                assert low <= one.fields["default"] <= high, f"{node_id}.{one.id}"
            if one.io_type == "COMBO" and "default" in one.fields:
                assert one.fields["default"] in one.fields["options"]


def test_fields_that_an_older_host_does_not_know_are_left_out(world):
    host = world.part("nodes.host")

    def old(name, default=None):
        return name, default

    assert host.known(old, "x", default=1, advanced=True) == ("x", 1)


def test_model_folders_are_added_to_what_is_there(world):
    known = sys.modules["folder_paths"].folder_names_and_paths
    paths, endings = known["stylegan"]
    assert paths == ["/elsewhere", str(world.comfy.models("stylegan"))]
    assert endings == {".bin", ".pkl", ".pt", ".pth", ".safetensors"}
    assert world.comfy.models("gan_directions").is_dir()


def test_embedded_models_are_first_in_their_lists_and_files_follow(world):
    (world.comfy.models("stylegan") / "mine.pkl").touch()
    (world.comfy.models("stylegan") / "notes.txt").touch()
    options = {
        node_id: world.nodes[node_id].define_schema().inputs[0].fields["options"]
        for node_id in ("CycleLoadGenerator", "CycleLoadEncoder", "CycleLoadDirection")
    }
    assert options["CycleLoadGenerator"] == ["portraits", "mine.pkl"]
    assert options["CycleLoadEncoder"] == ["portraits"]
    directions = options["CycleLoadDirection"]
    assert directions[0] == "smile"
    assert {"age", "glasses", "turn (yaw)", "open mouth (open_mouth)"} < set(directions)


# ------------------------------------------------------------------ load
def test_the_embedded_models_open_and_belong_together(run):
    (generator,) = run("CycleLoadGenerator", name="portraits")
    (encoder,) = run("CycleLoadEncoder", name="portraits")
    (smile,) = run("CycleLoadDirection", name="smile")
    (again,) = run("CycleLoadGenerator", name="portraits")
    assert again is generator
    (code,) = run("CycleEncode", images=pictures(1, 41, 41), encoder=encoder, generator=generator)
    (code,) = run("CycleLatentEdit", code=code, direction=smile, mode="to a value", strength=0.0)
    assert float(smile.value(code)) == pytest.approx(0.0, abs=1e-4)
    (drawn,) = run("CycleGenerate", code=code, generator=generator)
    assert drawn.shape == (1, generator.module.resolution, generator.module.resolution, 3)


def test_half_precision_is_of_drawing_alone(run):
    (half,) = run("CycleLoadGenerator", name="portraits", precision="half")
    (code,) = run("CycleSampleCodes", generator=half)
    (drawn,) = run("CycleGenerate", code=code, generator=half)
    assert drawn.dtype == torch.float32
    assert {p.dtype for p in half.module.parameters()} == {torch.float32}


def test_a_direction_opens_by_what_the_list_shows_and_by_its_name_alone(run):
    (shown,), (bare,) = (run("CycleLoadDirection", name=x) for x in ("turn (yaw)", "yaw"))
    assert shown.name == bare.name == "yaw"


def test_a_slip_of_the_pen_is_offered_the_right_name(run):
    with pytest.raises(Exception, match=r"no direction smle \(did you mean smile\?\)"):
        run("CycleLoadDirection", name="smle")


def test_the_type_of_an_error_is_a_name_and_no_path(world):
    found = [world.part("cycle_core.errors").CycleError]
    for one in found:  # all that the nodes raise, as far as anything has imported it
        found += one.__subclasses__()
    assert {one.__module__ for one in found} == {"cycle_core"}
    assert "IncompleteError" in [one.__name__ for one in found]


def test_every_error_for_users_is_where_the_host_is_given_its_name():
    """An error that another module defines, when it is imported later, would show its path."""
    known = {name for name, one in vars(errors).items() if isinstance(one, type)}
    for path in (ROOT / "cycle_core").rglob("*.py"):
        for one in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(one, ast.ClassDef) and path.name != "errors.py":
                assert not {ast.unparse(base).split(".")[-1] for base in one.bases} & known, path


def test_what_travels_between_nodes_prints_as_a_sentence(run, portraits, tiny):
    G, _ = portraits
    (code,) = run("CycleSampleCodes", generator=G, count=2)
    (smile,) = run("CycleLoadDirection", name="smile")
    photo = run("CycleExample", which="group")[0]
    places = run("CycleAlign", images=photo, face="all", generator=G)[1]
    said = [str(one) for one in (*portraits, code, smile, places)]
    assert said[0].startswith(f"The generator portraits, {G.module.resolution}x")
    assert said[1].startswith("The encoder portraits, ")
    assert said[2].startswith("2 codes in W, ")
    assert said[3].startswith("The direction smile: ")
    assert said[4] == "The places of 3 crops in 1 photo."
    assert all(one.endswith(".") and "\n" not in one and "tensor" not in one for one in said)


def test_a_missing_file_is_told_with_its_folder(run):
    with pytest.raises(Exception, match=r"gone\.pkl.*models/stylegan") as caught:
        run("CycleLoadGenerator", name="gone.pkl")
    assert type(caught.value).__name__ == "MissingFileError"


def test_a_file_of_another_kind_is_told_what_it_is(run, world):
    from cycle_core.checkpoints.latents import save_code
    from cycle_core.codes import Code

    save_code(Code(torch.zeros(1, 8, 16), "W"), world.comfy.models("stylegan") / "code.safetensors")
    with pytest.raises(Exception, match="a code, but a generator is needed"):
        run("CycleLoadGenerator", name="code.safetensors")


def test_a_loader_runs_again_when_its_file_changes(world):
    path = world.comfy.models("stylegan") / "changing.pkl"
    path.write_bytes(b"1")
    node = world.nodes["CycleLoadGenerator"]
    before = node.fingerprint_inputs(name="changing.pkl", precision="float32")
    assert node.fingerprint_inputs(name="changing.pkl", precision="float32") == before
    path.write_bytes(b"12")
    assert node.fingerprint_inputs(name="changing.pkl", precision="float32") != before


def test_a_style_channel_needs_no_file(run, tiny):
    G, _ = tiny
    (channel,) = run("CycleLoadDirection", name="style channel", entry="1_3", generator=G)
    assert channel.space == "S"


# ------------------------------------------------------------------ the whole way
@pytest.mark.parametrize("count", [1, 17])
def test_batches_of_any_size_are_encoded_edited_and_drawn(run, tiny, count):
    G, E = tiny
    (code,) = run("CycleEncode", images=pictures(count, 37, 29), encoder=E, generator=G)
    (drawn,) = run("CycleGenerate", code=code, generator=G)
    assert drawn.shape == (count, 32, 32, 3)
    assert code.w.device.type == "cpu"
    assert 0 <= float(drawn.min()) <= float(drawn.max()) <= 1


def test_an_empty_batch_is_told(run, tiny):
    G, E = tiny
    with pytest.raises(Exception, match="batch of pictures is empty"):
        run("CycleEncode", images=torch.zeros(0, 32, 32, 3), encoder=E, generator=G)
    with pytest.raises(Exception, match="batch of pictures is empty"):
        run("CycleAlign", images=torch.zeros(0, 32, 32, 3))


def test_refining_and_tuning_work_in_inference_mode_and_show_how_far_they_are(
    run, portraits, world
):
    G, E = portraits
    before = state(G), state(E)
    size = G.module.resolution
    image = pictures(2, size, size)
    pivot, refined = run("CycleRefinePivot", images=image, encoder=E, generator=G, steps="2")
    assert world.comfy.bars[-1].total == 4
    assert world.comfy.bars[-1].calls[0][2][0] == "JPEG"
    tuned, drawn = run("CyclePivotTune", images=image, generator=G, pivot=pivot, steps=3)
    assert [call[0] for call in world.comfy.bars[-1].calls] == [1, 2, 3]
    assert refined.shape == drawn.shape == (2, size, size, 3)
    assert float((drawn - image).square().mean()) < float((refined - image).square().mean())
    (again,) = run("CycleGenerate", code=pivot, generator=tuned)
    assert torch.allclose(again, drawn, atol=1e-5)
    assert same(before[0], G)
    assert same(before[1], E)


def test_a_tuning_that_stops_before_its_first_step_says_so_on_the_node(run, tiny, world):
    G, _ = tiny
    (code,) = run("CycleSampleCodes", generator=G, seed=3)
    (image,) = run("CycleGenerate", code=code, generator=G)
    world.comfy.notices.clear()  # of the tests before
    run("CyclePivotTune", images=image, generator=G, pivot=code, steps=1, early_stop=0)
    assert world.comfy.notices == []
    run("CyclePivotTune", images=image, generator=G, pivot=code, early_stop=1)
    ((_, said),) = world.comfy.notices
    assert said.startswith("Tuning took 0 steps")


def test_the_same_seed_gives_the_same_pivot(run, portraits):
    G, E = portraits
    one, two, other = (
        run("CycleRefinePivot", images=pictures(1), encoder=E, generator=G, steps=1, seed=seed)[0]
        for seed in (1, 1, 2)
    )
    assert torch.equal(one.w, two.w)
    assert not torch.equal(one.w, other.w)


@pytest.mark.parametrize("node_id", ["CycleRefinePivot", "CyclePivotTune"])
def test_an_interruption_ends_it_and_leaves_every_model_as_it_was(run, portraits, world, node_id):
    G, E = portraits
    (pivot,) = run("CycleEncode", images=pictures(1), encoder=E, generator=G)
    extra = {"pivot": pivot} if node_id == "CyclePivotTune" else {"encoder": E}
    before = state(G), state(E)
    world.comfy.interrupt_after = 1
    with pytest.raises(comfy_standin.InterruptProcessingException):
        run(node_id, images=pictures(1), generator=G, steps=4, **extra)
    assert len(world.comfy.bars[-1].calls) == 1
    assert same(before[0], G)
    assert same(before[1], E)


def test_a_strip_of_strengths_is_a_batch(run, tiny):
    G, _ = tiny
    (code,) = run("CycleSampleCodes", generator=G, seed=3)
    (found,) = run("CycleDiscoverDirections", generator=G, samples=200)
    (strip,) = run("CycleLatentEdit", code=code, direction=found, strengths="-2:2:5")
    assert strip.batch == 5
    assert torch.allclose(strip.w[2:3], code.w, atol=1e-6)
    (one,) = run("CycleLatentEdit", code=code, direction=found, strength=2.0)
    assert torch.allclose(strip.w[4:], one.w, atol=1e-6)


def test_what_is_kept_is_not_moved(run, tiny):
    G, _ = tiny
    (code,) = run("CycleSampleCodes", generator=G)
    first, second = (
        run("CycleDiscoverDirections", generator=G, component=k, samples=200)[0] for k in (0, 1)
    )
    both = first.scaled(1.0)
    object.__setattr__(both, "vectors", first.vectors + second.vectors)
    (moved,) = run("CycleLatentEdit", code=code, direction=both, strength=1.0, keep=second)
    assert float(second.value(moved)) == pytest.approx(float(second.value(code)), abs=1e-3)


def test_a_morph_goes_from_the_first_to_the_second(run, tiny):
    G, _ = tiny
    a, b = (run("CycleSampleCodes", generator=G, seed=seed)[0] for seed in (1, 2))
    (morph,) = run("CycleMixCodes", first=a, second=b, amount="0:1:3", generator=G)
    assert torch.allclose(morph.w[:1], a.w, atol=1e-5)
    assert torch.allclose(morph.w[2:], b.w, atol=1e-5)
    (mixed,) = run("CycleMixCodes", first=a, second=b, mode="layers", layers="4-7")
    assert torch.equal(mixed.w[:, 4:], b.w[:, 4:])
    assert torch.equal(mixed.w[:, :4], a.w[:, :4])


def test_a_direction_from_pictures_separates_them(run, tiny):
    G, E = tiny
    light, dark = pictures(4) * 0.4 + 0.6, pictures(5) * 0.4
    (found,) = run("CycleDirectionFromImages", having=light, lacking=dark, encoder=E, name="light")
    (one,) = run("CycleEncode", images=light, encoder=E, generator=G)
    (other,) = run("CycleEncode", images=dark, encoder=E, generator=G)
    assert float(found.value(one).mean() - found.value(other).mean()) > 1.0


def test_a_code_of_another_generator_is_told(run, tiny):
    G, _ = tiny
    (portraits,) = run("CycleLoadGenerator", name="portraits")
    (code,) = run("CycleSampleCodes", generator=portraits)
    with pytest.raises(Exception, match="use the generator that the code was made for"):
        run("CycleGenerate", code=code, generator=G)


# ------------------------------------------------------------------ compare
def test_a_strip_is_one_picture_in_rows(run):
    (small,) = run("CycleStrip", images=pictures(5), size=64, columns=5)
    (rows,) = run("CycleStrip", images=pictures(5), size=64, columns=3)
    (labelled,) = run("CycleStrip", images=pictures(5), size=64, columns=5, labels="-2:2:5")
    assert len(small) == len(rows) == len(labelled) == 1
    assert small.shape[2] > 5 * 64 > rows.shape[2] > 3 * 64
    assert rows.shape[1] > 2 * 64 > small.shape[1]
    assert labelled.shape[1] > small.shape[1]


def test_before_and_after_are_shown(world):
    node = world.nodes["CycleBeforeAfter"]
    assert node.execute(pictures(1), pictures(2)).ui.keys() == {"images"}  # without the slider
    assert node.define_schema().is_output_node
    with pytest.raises(Exception, match="empty"):
        node.execute(pictures(1)[:0], pictures(1))


def test_versions_are_shown_beside_their_target_and_measured(run):
    target = pictures(2, 40, 40)
    grid, text = run(
        "CycleCompare", target=target, image_1=target, image_2=1 - target, names="same", cell=64
    )
    assert grid.shape[0] == 1
    lines = text.splitlines()
    assert lines[0].split() == ["same", "image", "2"]
    assert lines[1].split()[:2] == ["mse", "0.0000"]
    assert "measured by" in lines[-1]
    saved_before, _ = run(
        "CycleCompare", target=target, image_1=target, image_2=1 - target, names="same", cell=64,
        columns=0,
    )  # fmt: skip
    assert torch.equal(saved_before, grid)


def test_the_networks_that_measure_are_opened_once(run, world):
    opened = world.part("nodes.host")._judge
    opened.cache_clear()
    world.comfy.moved.clear()
    for images in (pictures(1, 40, 40), pictures(2, 40, 40)):
        run("CycleCompare", target=images, image_1=images, names="", cell=64)
    assert opened.cache_info().misses == 1
    parts = {id(part.patcher) for part in opened()[1]}
    assert parts
    assert parts <= {id(patcher) for patcher in world.comfy.moved}  # by the host, which counts them


def test_models_are_shared_while_somebody_holds_them_and_no_longer(run, world):
    (held,) = run("CycleLoadGenerator", name="portraits", precision="half")
    module = held.module
    (again,) = run("CycleLoadGenerator", name="portraits", precision="half")
    assert again.module is module
    del held, again
    world.comfy.moved.clear()
    gc.collect()
    (new,) = run("CycleLoadGenerator", name="portraits", precision="half")
    assert new.module is not module
