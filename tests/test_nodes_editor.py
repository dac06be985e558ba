"""The node of the Latent Editor."""

from __future__ import annotations

import base64
import importlib
import io
import json
from types import SimpleNamespace

import pytest
import small_pack
import torch
from PIL import Image, ImageChops, ImageStat

run, world = small_pack.run, small_pack.world
portraits, tiny = small_pack.portraits, small_pack.tiny


# ------------------------------------------------------------------ live editing
@pytest.fixture
def edit_live(world, portraits):
    """edit_live(edits, ...) -> (the edited codes, what the front end gets)."""

    def edit_live(edits, code=None, shown=0, generator=None, **plugs):
        G = generator or portraits[0]
        node = world.nodes["CycleLatentEditor"]
        with torch.inference_mode():
            if code is None:
                (code,) = world.nodes["CycleSampleCodes"].execute(G, 1, 7, 0.7, "auto").args
            output = node.execute(code=code, generator=G, edits=edits, shown=shown, **plugs)
        ((edited,), (state,)) = output.args, output.ui["latent_editor"]
        json.dumps(state)
        return edited, state

    return edit_live


def shown_picture(state):
    image = state["image"]
    size = image["width"], image["height"]
    if "rgb" in image:
        return Image.frombytes("RGB", size, base64.b64decode(image["rgb"]))
    file = Image.open(io.BytesIO(base64.b64decode(image["jpeg"])))
    assert file.size == size
    return file


def test_the_sliders_text_is_the_library_s_edit_and_so_is_the_picture(
    edit_live, portraits, run, world
):
    from cycle_core.images.io import from_comfy

    G, name = portraits[0], f"{world.pack.__name__}.cycle_core.directions.text"
    edits = importlib.import_module(name)
    (code,) = run("CycleSampleCodes", generator=G, seed=7)
    for text in ("", "smile=+2,age=-1", "smile:=0", "age=+1,keep=glasses,layers=0-5"):
        edited, state = edit_live(text, code)
        expected = edits.apply_edit(code, edits.parse_edit(text), G.module) if text else code
        assert torch.equal(edited.w, expected.w)
        (drawn,) = run("CycleGenerate", code=expected, generator=G)
        assert state["image"] == world.part("nodes.editor").picture(from_comfy(drawn))
        assert state["edits"] == text


def test_while_a_slider_moves_the_picture_is_smaller_and_the_codes_are_the_same(
    edit_live, portraits, world, tiny, monkeypatch
):
    node, G = world.nodes["CycleLatentEditor"], portraits[0].module
    full, state = edit_live("smile=2")
    assert not state["small"]
    inputs = {"edits": "smile=2", "moving": True}
    hidden = SimpleNamespace(prompt={"7": {"inputs": inputs}}, unique_id="7")
    monkeypatch.setattr(node, "hidden", hidden)
    codes, moving = edit_live("smile=2")
    assert torch.equal(codes.w, full.w)
    assert moving["small"]
    assert moving["image"]["width"] == 128 < state["image"]["width"]
    smaller = G.synthesis(codes.w, size=128).clamp(-1, 1)
    assert moving["image"] == world.part("nodes.editor").picture(smaller)
    _, moving = edit_live("", generator=tiny[0])  # is small enough
    assert not moving["small"]
    hidden.prompt["7"]["inputs"].pop("moving")
    assert edit_live("smile=2")[1] == state


def test_a_small_picture_is_shown_by_its_pixels(world):
    from cycle_core.images.io import to_pil

    wave = torch.linspace(-1, 1, 64).sin().expand(1, 3, 64, 64)
    image = world.part("nodes.editor").picture(wave)
    assert image.keys() == {"width", "height", "rgb"}
    assert shown_picture({"image": image}).tobytes() == to_pil(wave).tobytes()


def test_a_large_picture_is_shown_as_a_file_and_never_larger_than_previews_are(world):
    from cycle_core.images.io import to_pil

    wave = torch.linspace(-1, 1, 1024).sin().expand(1, 3, 1024, 1024)
    image = world.part("nodes.editor").picture(wave)
    assert (image["width"], image["height"]) == (512, 512)
    assert "rgb" not in image
    expected = to_pil(wave).resize((512, 512))
    difference = ImageChops.difference(shown_picture({"image": image}), expected).convert("L")
    assert ImageStat.Stat(difference).mean[0] < 1.5  # JPEG


def test_every_embedded_direction_has_a_slider_with_a_name_and_a_group(edit_live, world):
    _, state = edit_live("")
    embedded = world.part("nodes.folders").embedded("direction")
    assert state["sliders"] is None  # the front end has them from the schema
    (generator,) = [
        one
        for one in world.nodes["CycleLatentEditor"].define_schema().inputs
        if one.id == "generator"
    ]
    sliders = {slider["name"]: slider for slider in generator.fields["extra_dict"]["sliders"]}
    assert sorted(sliders) == sorted(embedded)
    assert next(iter(sliders)) == "smile"
    assert "Other" not in {slider["group"] for slider in sliders.values()}
    assert all("_" not in slider["label"] for slider in sliders.values())


def test_a_number_of_another_node_drives_a_slider(edit_live, portraits, run):
    (code,) = run("CycleSampleCodes", generator=portraits[0], seed=7)
    driven, _ = edit_live("smile=number_2,age=+1", code, number_2=-1.5)
    assert torch.equal(driven.w, edit_live("smile=-1.5,age=+1", code)[0].w)


def test_all_codes_of_a_batch_are_edited_and_one_is_shown(edit_live, portraits, run):
    (codes,) = run("CycleSampleCodes", generator=portraits[0], count=3)
    edited, state = edit_live("smile=2", codes, shown=1)
    assert edited.batch == state["batch"] == 3
    assert state["shown"] == 1
    _, alone = edit_live("smile=2", codes.one(1))
    assert state["image"] == alone["image"]
    _, last = edit_live("smile=2", codes, shown=99)
    assert last["shown"] == 2


def test_a_generator_without_known_directions_says_what_to_do(edit_live, tiny, run):
    _, state = edit_live("", generator=tiny[0])
    assert state["sliders"] == []
    assert state["says"].startswith("No directions are known for this generator: connect one")
    with pytest.raises(Exception, match="use a direction of the same generator"):
        edit_live("smile=1", generator=tiny[0])


def test_a_connected_direction_and_those_of_files_get_sliders(edit_live, tiny, run, world):
    from cycle_core.directions.files import save_directions

    G = tiny[0]
    found = [
        run("CycleDiscoverDirections", generator=G, component=k, samples=200)[0] for k in (0, 1)
    ]
    save_directions(found, world.comfy.models("gan_directions") / "mine.safetensors")
    (world.comfy.models("gan_directions") / "damaged.pt").write_bytes(b"damaged")
    (code,) = run("CycleSampleCodes", generator=G, seed=7, truncation=0.7)
    edited, state = edit_live("direction_2=1.5", code, generator=G, direction_2=found[0])
    names = [(slider["name"], slider["group"]) for slider in state["sliders"]]
    assert names[0] == ("direction_2", "Connected")
    assert names[1][1] == "mine.safetensors"
    (moved,) = run("CycleLatentEdit", code=code, direction=found[0], strength=1.5)
    assert torch.equal(edited.w, moved.w)
    again, _ = edit_live(f"{names[1][0]}=1.5", code, generator=G)
    assert torch.equal(again.w, moved.w)


@pytest.mark.parametrize(
    ("edits", "told"),
    [
        ("smile", "cannot be read at 'smile'"),
        ("smile=much", "'much' is not a number"),
        ("smile=1,smile=2", "name smile twice"),
        ("direction_1=1", "nothing is connected there"),
        ("grin=1", r"no direction grin: .*gan_directions"),
        ("/etc/passwd.pt=1", r"no direction /etc/passwd\.pt"),
        ("smile=1,keep=smile", "Nothing of the direction"),
        ("smile=number_1", "number_1, but nothing is connected"),
        ("smile=1e9", "1e9|1000"),
    ],
)
def test_edits_that_cannot_be_followed_are_told_in_a_sentence(edit_live, edits, told):
    with pytest.raises(Exception, match=told) as caught:
        edit_live(edits)
    assert "\n" not in str(caught.value)


def test_a_whole_number_of_another_node_drives_a_slider_as_a_fraction_does(world, edit_live):
    whole, _ = edit_live("smile=number_1", number_1=2)
    fraction, _ = edit_live("smile=number_1", number_1=2.0)
    assert torch.equal(whole.w, fraction.w)
    schema = world.nodes["CycleLatentEditor"].define_schema()
    kinds = {one.id: one.io_type for one in schema.inputs}
    assert set(kinds["number_1"].split(",")) == {"FLOAT", "INT"}


def test_the_editor_runs_again_when_a_direction_file_changes(world):
    node = world.nodes["CycleLatentEditor"]
    path = world.comfy.models("gan_directions") / "changing.pt"
    path.write_bytes(b"1")
    before = node.fingerprint_inputs(edits="", shown=0)
    assert node.fingerprint_inputs(edits="", shown=0) == before
    path.write_bytes(b"12")
    assert node.fingerprint_inputs(edits="", shown=0) != before
