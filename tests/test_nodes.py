"""The nodes in the smallest ComfyUI there can be, under its inference mode.

Networks of the real classes, tiny and random, where the embedded ones are not the subject."""

from __future__ import annotations

import base64
import gc
import importlib
import io
import itertools
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import comfy_standin
import node_texts
import pytest
import torch
from PIL import Image, ImageChops, ImageStat
from safetensors import safe_open

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The pack, loaded as ComfyUI does from a folder with an awkward name."""
    before = set(sys.modules)
    comfy = comfy_standin.install(tmp_path_factory.mktemp("ComfyUI"))
    sys.modules["folder_paths"].folder_names_and_paths["stylegan"] = (["/elsewhere"], {".bin"})
    folder = tmp_path_factory.mktemp("custom_nodes") / "My pack-1.0 (x)"
    os.symlink(ROOT, folder, target_is_directory=True)
    pack = node_texts.load_pack(folder)
    yield SimpleNamespace(
        comfy=comfy,
        pack=pack,
        nodes=node_texts.nodes_of(pack),
        part=lambda name: sys.modules[f"{pack.__name__}.{name}"],
    )
    for name in set(sys.modules) - before:
        if name.startswith(("comfy", "folder_paths", pack.__name__)):
            del sys.modules[name]


@pytest.fixture
def run(world):
    """run(node id, ...) -> the outputs, as ComfyUI calls it; missing widgets get their defaults."""
    world.comfy.interrupt_after = None
    world.comfy.bars.clear()

    def run(node_id, **inputs):
        node = world.nodes[node_id]
        for one in node.define_schema().inputs:
            if one.id not in inputs and not one.optional and "default" in one.fields:
                inputs[one.id] = one.fields["default"]
        with torch.inference_mode():
            return node.execute(**inputs).args

    return run


@pytest.fixture(scope="module")
def tiny(world):
    """A generator and an encoder for it, held as the loaders hold them."""
    name = f"{world.pack.__name__}.cycle_core"
    module, layout, encoders = (
        importlib.import_module(f"{name}.models.{x}") for x in ("generator", "stylegan2", "encoder")
    )
    torch.manual_seed(0)
    config = layout.GeneratorConfig(
        resolution=32, z_dim=16, w_dim=16, mapping_layers=2, channels=(16, 16, 16, 8)
    )
    G = module.Generator(config).eval().requires_grad_(False)
    E = encoders.Encoder(
        encoders.EncoderConfig(
            num_ws=8,
            w_dim=16,
            input_size=32,
            widths=(8, 8, 16, 16, 16),
            units=(1, 1, 1, 1),
            reduction=4,
            head_width=16,
        )
    )
    E.eval().requires_grad_(False)
    E.generator = G.fingerprint
    held = world.part("nodes.host").LoadedModel
    return held.of(G, "portraits"), held.of(E, "portraits")


@pytest.fixture
def portraits(run):
    """The embedded pair."""
    (generator,) = run("CycleLoadGenerator", name="portraits")
    (encoder,) = run("CycleLoadEncoder", name="portraits")
    return generator, encoder


def pictures(count, height=32, width=32):
    random = torch.Generator().manual_seed(count)
    with torch.inference_mode():  # as ComfyUI's own nodes make them
        return torch.rand(count, height, width, 3, generator=random)


def state(held):
    return {name: x.clone() for name, x in held.module.state_dict().items()}


def same(before, held):
    return all(torch.equal(before[name], x) for name, x in held.module.state_dict().items())


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
        assert page.startswith("# ")
        assert page.endswith(node_texts.tables(schema))


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
    assert {"age", "glasses", "turn (yaw)", "open mouth (mouth_open)"} < set(directions)


# ------------------------------------------------------------------ your own pictures
def test_your_own_photo_takes_the_place_of_the_example(run, world):
    own = Image.effect_mandelbrot((40, 30), (-2, -1.5, 1, 1.5), 20).convert("RGB")
    own.save(world.comfy.folder / "input" / "mine.png")
    node = world.nodes["CycleExample"]
    photo = next(one for one in node.define_schema().inputs if one.id == "photo")
    assert photo.fields["options"] == ["", "mine.png"]
    (image,) = run("CycleExample", which="portrait", photo="mine.png")
    pixels = torch.frombuffer(bytearray(own.tobytes()), dtype=torch.uint8).view(1, 30, 40, 3)
    assert torch.equal((image * 255).round().byte(), pixels)
    (example,) = run("CycleExample", which="portrait", photo="")
    assert example.shape[1:3] != image.shape[1:3]
    assert node.validate_inputs(photo="gone.png").startswith("There is no file gone.png")
    assert node.validate_inputs(photo="") is True


def test_a_clip_gives_frames_sound_and_rate(run):
    from fractions import Fraction

    images, audio, fps = run("CycleClip")
    assert len(images) == 16
    assert audio is None
    assert fps == 12
    sound = {"waveform": torch.zeros(1, 1, 8), "sample_rate": 8}
    parts = SimpleNamespace(images=pictures(3), audio=sound, frame_rate=Fraction(25))
    video = SimpleNamespace(get_components=lambda: parts)
    images, audio, fps = run("CycleClip", video=video)
    assert (len(images), audio, fps) == (3, sound, 25.0)


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
    errors = world.part("cycle_core.errors")
    assert errors.NoFaceError.__module__ == "cycle_core"


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
    from cycle_core.images.io import from_comfy, to_pil

    G, name = portraits[0], f"{world.pack.__name__}.cycle_core.directions.text"
    edits = importlib.import_module(name)
    (code,) = run("CycleSampleCodes", generator=G, seed=7)
    for text in ("", "smile=+2,age=-1", "smile:=0", "age=+1,keep=glasses,layers=0-5"):
        edited, state = edit_live(text, code)
        expected = edits.apply_edit(code, edits.parse_edit(text), G.module) if text else code
        assert torch.equal(edited.w, expected.w)
        (drawn,) = run("CycleGenerate", code=expected, generator=G)
        assert state["image"].keys() == {"width", "height", "rgb"}
        one, other = shown_picture(state), to_pil(from_comfy(drawn))
        assert ImageStat.Stat(ImageChops.difference(one, other).convert("L")).extrema[0][1] <= 1
        assert state["edits"] == text


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
    embedded = world.part("nodes.host").embedded("direction")
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


def test_the_editor_runs_again_when_a_direction_file_changes(world):
    node = world.nodes["CycleLatentEditor"]
    path = world.comfy.models("gan_directions") / "changing.pt"
    path.write_bytes(b"1")
    before = node.fingerprint_inputs(edits="", shown=0)
    assert node.fingerprint_inputs(edits="", shown=0) == before
    path.write_bytes(b"12")
    assert node.fingerprint_inputs(edits="", shown=0) != before


# ------------------------------------------------------------------ faces
def mesh(x, y):
    """What ComfyUI's landmark node gives of one face, as much of it as is looked at."""
    points = torch.full((478, 2), 0.0)
    for index, (dx, dy) in {33: (-14, -8), 133: (-6, -8), 362: (6, -8), 263: (14, -8)}.items():
        points[index] = torch.tensor([dx, dy])
    for index in (160, 158, 153, 144):
        points[index] = torch.tensor([-10.0, -8.0])
    for index in (385, 387, 373, 380):
        points[index] = torch.tensor([10.0, -8.0])
    points[61], points[291] = torch.tensor([-7.0, 12.0]), torch.tensor([7.0, 12.0])
    return {"landmarks_xy": (points + torch.tensor([x, y])).numpy()}


def test_all_faces_of_a_photo_come_out_and_go_back_each_with_its_own_edit(run, tiny):
    G, _ = tiny
    photo = pictures(1, 97, 131)
    landmarks = {"frames": [[mesh(40, 45), mesh(95, 50)]]}
    crops, frames, masks, found = run(
        "CycleAlign", images=photo, generator=G, face="all", landmarks=landmarks
    )
    assert crops.shape == (2, 32, 32, 3)
    assert masks.shape == (1, 97, 131)
    assert found.shape == photo.shape
    edited = crops.clone()
    edited[1] = 1.0
    pasted, changed = run(
        "CyclePasteBack", images=photo, crops=edited, frames=frames, reference=crops
    )
    assert changed.shape == (1, 97, 131)
    assert torch.allclose(pasted[:, :, :50], photo[:, :, :50], atol=1e-5)
    assert not torch.allclose(pasted[:, :, 80:], photo[:, :, 80:], atol=0.1)
    assert torch.equal(pasted[changed == 0], photo[changed == 0])


def middle(frame):
    return sum(x for x, _ in frame.quad) / 4, sum(y for _, y in frame.quad) / 4


@pytest.fixture(scope="module")
def people(world):
    """The group photo, and the middles of its three faces from left to right."""
    with torch.inference_mode():
        (photo,) = world.nodes["CycleExample"].execute("group").args
        given = ("all", 0, "error", "embedded", 0.0, 64)
        places = world.nodes["CycleAlign"].execute(photo, *given).args[1]
    return photo, sorted(middle(frame) for frame in places.frames)


def test_faces_are_numbered_from_the_left(run, people):
    photo, middles = people
    for number, wanted in enumerate(middles):
        _, places, _, found = run("CycleAlign", images=photo, face="from the left", number=number)
        assert [middle(frame) for frame in places.frames] == [wanted]
        assert [len(faces) for faces in places.found] == [3]
        assert float((found - photo).abs().max()) > 0.2


def test_a_face_is_chosen_by_a_point_a_box_or_a_mask(run, people):
    photo, middles = people
    height, width = photo.shape[1:3]
    for x, y in middles:
        box = {"x": x - 40, "y": y - 40, "width": 80, "height": 80, "metadata": {}}
        mask = torch.zeros(1, height // 2, width // 2)
        mask[:, int(y / 2) - 20 : int(y / 2) + 20, int(x / 2) - 20 : int(x / 2) + 20] = 1
        for given in (
            {"points": f"{x:.0f}, {y:.0f}"},
            {"boxes": [[box]]},
            {"boxes": [box]},
            {"boxes": box},
            {"mask": mask},
        ):
            places = run("CycleAlign", images=photo, face="all", **given)[1]
            assert [middle(frame) for frame in places.frames] == [(x, y)]
    nothing_painted = torch.zeros(1, 64, 64)
    assert len(run("CycleAlign", images=photo, face="all", mask=nothing_painted)[0]) == 3


def test_marks_that_mean_no_face_are_told(run, people):
    photo, _ = people
    beside = {"x": 2000, "y": 0, "width": 9, "height": 9}
    with pytest.raises(Exception, match="outside the picture of 640x400"):
        run("CycleAlign", images=photo, boxes=[beside])
    with pytest.raises(Exception, match=r"No face.*set no_face to centre"):
        run("CycleAlign", images=photo, points="5, 5")
    with pytest.raises(Exception, match="pairs of x and y"):
        run("CycleAlign", images=photo, points="5, far")
    with pytest.raises(Exception, match="five points"):
        run("CycleAlign", images=photo, points="5,5 9,9")


def test_five_points_make_a_face_where_no_detector_finds_one(run):
    grey = torch.full((1, 200, 200, 3), 0.5)
    _, places, _, _ = run("CycleAlign", images=grey, points="80,80 120,80 100,100 85,120 115,120")
    (frame,) = places.frames
    assert middle(frame)[0] == pytest.approx(100, abs=1)


def test_another_take_is_cut_at_the_same_places(run, people):
    photo, _ = people
    crops, places, _, _ = run("CycleAlign", images=photo, face="all", size=64)
    take = torch.cat([photo, 1 - photo, photo])
    again, same, _, _ = run("CycleAlign", images=take, same_as=places, size=64)
    assert same.photos == (0, 0, 0, 1, 1, 1, 2, 2, 2)
    assert torch.equal(again[:3], crops)
    assert torch.allclose(again[3:6], 1 - crops, atol=0.02)
    with pytest.raises(Exception, match="give the photo that was aligned"):
        run("CycleAlign", images=photo[:, :, :300], same_as=places)


def test_a_whole_photo_that_is_encoded_gets_a_notice(run, portraits, people, world):
    G, E = portraits
    photo, _ = people
    crops = run("CycleAlign", images=photo, generator=G)[0]
    world.comfy.notices.clear()
    run("CycleEncode", images=crops, encoder=E)
    assert world.comfy.notices == []
    for whole in (photo, photo[:, :, 60:460]):  # not square; square, its faces elsewhere
        run("CycleEncode", images=whole, encoder=E)
        ((node, said),) = world.comfy.notices
        assert node == "7"
        assert "Align Faces" in said
        world.comfy.notices.clear()


def test_a_strip_of_one_face_makes_a_photo_of_each(run):
    photo = pictures(1, 61, 83)
    crops, frames, _, _ = run(
        "CycleAlign", images=photo, size=32, landmarks={"frames": [[mesh(40, 30)]]}
    )
    pasted, masks = run(
        "CyclePasteBack", images=photo, crops=crops.repeat(3, 1, 1, 1), frames=frames
    )
    assert pasted.shape == (3, 61, 83, 3)
    assert masks.shape == (3, 61, 83)


def test_the_frames_of_a_video_share_one_way(run):
    video = pictures(5, 97, 131)
    faces = [[mesh(50 + (3 if i % 2 else 0), 45)] for i in range(5)]
    _, frames, _, _ = run(
        "CycleAlign", images=video, size=16, smoothing=2.0, landmarks={"frames": faces}
    )
    left = [frame.quad[0][0] for frame in frames.frames]
    assert max(abs(a - b) for a, b in itertools.pairwise(left)) < 2


def test_a_picture_without_a_face_is_told_or_left_out(run):
    empty = {"frames": [[]]}
    with pytest.raises(Exception, match="No face was found"):
        run("CycleAlign", images=pictures(1), landmarks=empty)
    crops, frames, masks, _ = run(
        "CycleAlign", images=pictures(1), no_face="skip", size=16, landmarks=empty
    )
    assert crops.shape == (0, 16, 16, 3)
    assert not masks.any()
    pasted, _ = run("CyclePasteBack", images=pictures(1), crops=crops, frames=frames)
    assert torch.allclose(pasted, pictures(1))


# ------------------------------------------------------------------ files
@pytest.fixture
def hidden(world):
    for node in world.nodes.values():
        node.hidden = SimpleNamespace(prompt={"1": {}}, extra_pnginfo={"workflow": {"nodes": []}})
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
    assert back.generator == code.generator


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
    assert lines[1].startswith("same")
    assert lines[2].startswith("image 2")
    assert float(lines[1].split()[1]) == 0.0
    assert "measured by" in lines[3]


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


# ------------------------------------------------------------------ a generator of your own
@pytest.mark.parametrize("space", ["W", "W+"])
def test_pictures_are_projected_without_an_encoder(run, tiny, space):
    generator, _ = tiny
    before = state(generator)
    options = {"space": space, "steps": 3, "samples": 20, "starts": 2}
    code, shown = run("CycleProject", images=pictures(2), generator=generator, **options)
    assert (code.batch, code.space, code.generator) == (2, space, generator.module.base_fingerprint)
    assert shown.shape == (2, 32, 32, 3)
    assert same(before, generator)
    again, _ = run("CycleProject", images=pictures(2), generator=generator, start=code, **options)
    assert again.batch == 2


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
            assert (made.generator, made.origin) == (base, G.module.fingerprint), node_id


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
