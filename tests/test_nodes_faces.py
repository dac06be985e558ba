"""The nodes that read photos, find faces in them and paste them back."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
import small_pack
import torch
import torch.nn.functional as F
from PIL import Image
from small_pack import pictures

run, world = small_pack.run, small_pack.world
portraits, tiny = small_pack.portraits, small_pack.tiny


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
        drawn = box(x - 40, y - 40, 80, 80)
        mask = torch.zeros(1, height // 2, width // 2)
        mask[:, int(y / 2) - 20 : int(y / 2) + 20, int(x / 2) - 20 : int(x / 2) + 20] = 1
        for given in (
            {"points": f"{x:.0f}, {y:.0f}"},
            {"boxes": [[drawn]]},
            {"boxes": [drawn]},
            {"boxes": drawn},
            {"mask": mask},
        ):
            places = run("CycleAlign", images=photo, face="all", **given)[1]
            assert [middle(frame) for frame in places.frames] == [(x, y)]
    for everywhere in (torch.zeros(1, 64, 64), torch.ones(1, 64, 64)):  # nothing is marked off
        assert len(run("CycleAlign", images=photo, face="all", mask=everywhere)[0]) == 3


def test_each_picture_of_a_batch_has_boxes_and_masks_of_its_own(run, people):
    photo, middles = people
    height, width = photo.shape[1:3]
    around = [[box(x - 40, y - 40, 80, 80)] for x, y in middles]
    masks = torch.zeros(3, height, width)
    for mask, (x, y) in zip(masks, middles, strict=True):
        mask[int(y) - 40 : int(y) + 40, int(x) - 40 : int(x) + 40] = 1
    batch = photo.repeat(3, 1, 1, 1)
    for given in (
        {"boxes": around},
        {"mask": masks},
        {"boxes": [], "mask": masks},  # where nothing is drawn, the masks alone say it
        {"boxes": [[], around[1], around[2]], "mask": masks},  # or either
    ):
        places = run("CycleAlign", images=batch, face="all", **given)[1]
        assert [middle(frame) for frame in places.frames] == middles, given
    one_box = [around[0], [], around[2]]
    masks[1] = 0
    for given in ({"boxes": one_box}, {"mask": masks}):  # in the second none is meant
        places = run("CycleAlign", images=batch, face="all", no_face="skip", **given)[1]
        assert places.photos == (0, 2)
        assert [middle(frame) for frame in places.frames] == [middles[0], middles[2]]
    for given, told in (
        ({"boxes": around[:2]}, "of 2 pictures were given for 3 pictures: give those of one"),
        ({"boxes": around[:2], "mask": masks}, "boxes are of 2 pictures and the masks of 3: give"),
        ({"boxes": one_box}, r"Picture 1 of 3 .*No face is at the place"),
    ):
        with pytest.raises(Exception, match=told):
            run("CycleAlign", images=batch, face="all", **given)


@pytest.mark.parametrize("face", ["number", "from the left"])
def test_a_number_that_no_face_has_names_its_widget(run, world, people, face):
    photo, _ = people
    wrong = world.part("cycle_core.errors").FaceNumberError
    with pytest.raises(wrong, match=r"no face 9: 3 faces.*choose a smaller number") as e:
        run("CycleAlign", images=photo, face=face, number=9, no_face="skip")
    assert "detector" not in str(e.value)


def test_marks_that_mean_no_face_are_told(run, people):
    photo, _ = people
    with pytest.raises(Exception, match=r"No face.*set no_face to centre"):
        run("CycleAlign", images=photo, points="5, 5")
    with pytest.raises(Exception, match="pairs of x and y"):
        run("CycleAlign", images=photo, points="5, far")
    with pytest.raises(Exception, match="five points"):
        run("CycleAlign", images=photo, points="5,5 9,9")


def box(x, y, width, height):
    return {"x": x, "y": y, "width": width, "height": height, "metadata": {}}


CANVAS = r"If .* Create Bounding Boxes, set its width and height to 640 and 400, .* around a face\."


@pytest.mark.parametrize("no_face", ["error", "centre", "skip"])
@pytest.mark.parametrize(
    ("given", "told"),
    [
        # its edge reaches into the picture, and to the face at the right
        ({"boxes": [box(500, 60, 500, 300)]}, rf"500,60,1000,360 is outside .* {CANVAS}"),
        ({"boxes": [[box(0, 0, 200, 400), box(300, 390, 90, 90)]]}, rf"is outside .* {CANVAS}"),
        ({"boxes": box(-90, 60, 100, 90)}, rf"is outside the picture of 640x400 .* {CANVAS}"),
        ({"boxes": [box(320, 200, 0, 0)]}, rf"320,200,320,200 is empty: .* {CANVAS}"),
        ({"boxes": [box(320, 200, 40, -9)]}, rf"is empty: .* {CANVAS}"),
        ({"boxes": [box(float("nan"), 0, 9, 9)]}, rf"is outside .* {CANVAS}"),
        ({"points": "641, 200"}, r"point 641,200 is outside the picture of 640x400 pixels: give"),
        ({"points": "900,80 940,80 920,99 905,120 935,120"}, r"around 920,100 lies outside .*give"),
        ({"mask": torch.eye(400)[None]}, r"mask of 400x400 .* of 640x400: give one that was"),
        (
            {"landmarks": {"frames": [[mesh(40, 45)]], "image_size": (97, 131)}},
            r"landmarks are of pictures of 131x97 .* have 640x400: connect the same pictures",
        ),
    ],
)
def test_what_is_of_another_picture_is_told_and_no_other_face_taken(
    run, people, given, told, no_face
):
    photo, _ = people
    with pytest.raises(Exception, match=told) as error:
        run("CycleAlign", images=photo, no_face=no_face, **given)
    assert ("Bounding Boxes" in str(error.value)) == ("boxes" in given)


def test_a_box_that_reaches_beyond_the_picture_means_the_face_in_it(run, people):
    photo, middles = people
    places = run("CycleAlign", images=photo, boxes=box(430, -50, 300, 600))[1]
    assert [middle(frame) for frame in places.frames] == middles[-1:]


def test_a_box_beside_every_face_names_the_canvas_too(run, people):
    photo, _ = people
    with pytest.raises(Exception, match=rf"No face is at the place .*found are at .* {CANVAS}"):
        run("CycleAlign", images=photo, boxes=box(0, 0, 9, 9))


def test_five_points_make_a_face_where_no_detector_finds_one(run):
    grey = torch.full((1, 200, 200, 3), 0.5)
    _, places, _, _ = run("CycleAlign", images=grey, points="80,80 120,80 100,100 85,120 115,120")
    (frame,) = places.frames
    assert middle(frame)[0] == pytest.approx(100, abs=1)


@pytest.mark.parametrize("turn", [1, 2, 3])
@pytest.mark.parametrize("which", ["portrait", "group"])
def test_heads_on_their_side_or_upside_down_are_found_and_cut_out_upright(run, which, turn):
    (photo,) = run("CycleExample", which=which)
    given = {"face": "all", "size": 64, "detector": "embedded"}
    upright, places, _, _ = run("CycleAlign", images=photo, **given)
    turned = torch.rot90(photo, turn, (1, 2))
    crops, there, _, _ = run("CycleAlign", images=turned, **given)
    assert len(crops) == len(upright) == (1 if which == "portrait" else 3)
    apart = (crops[:, None] - upright[None]).abs().mean((2, 3, 4))  # (turned, upright)
    assert sorted(apart.argmin(1).tolist()) == list(range(len(crops)))
    assert float(apart.amin(1).max()) < 0.01
    pasted, _ = run("CyclePasteBack", images=turned, crops=1 - crops, frames=there)
    straight, _ = run("CyclePasteBack", images=photo, crops=1 - upright, frames=places)
    assert (torch.rot90(pasted, -turn, (1, 2)) - straight).abs().mean() < 0.01


def test_each_picture_of_a_batch_may_be_turned_by_itself(run, only_embedded):
    (photo,) = run("CycleExample", which="portrait")
    batch = torch.cat([photo, torch.rot90(photo, 2, (1, 2)), photo])
    crops, places, _, _ = run("CycleAlign", images=batch, detector="auto", size=64)
    assert places.photos == (0, 1, 2)
    assert float((crops - crops[:1]).abs().mean((1, 2, 3)).max()) < 0.01


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
    second = photo[:, :, 60:460]  # square, its faces elsewhere
    side = crops.shape[1]
    resized = F.interpolate(second.movedim(-1, 1), size=(side, side)).movedim(1, -1)
    for whole in (photo, second, torch.cat([crops[:1], resized])):  # the first is not square
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
