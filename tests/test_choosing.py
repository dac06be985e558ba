"""Which faces: by place, by points set by hand, at any angle; and the same crop again."""

from __future__ import annotations

import json

import pytest
import torch

from cycle_core.cli import main
from cycle_core.errors import InputError, MismatchError, NoFaceError, PlaceError
from cycle_core.faces.choose import Marks, choose
from cycle_core.faces.detect import detect
from cycle_core.faces.frame import Face, align
from cycle_core.faces.points import EVERY, load_points, manual
from cycle_core.faces.tracks import follow
from cycle_core.faces.video import Places, align_again, align_all, paste_all, show_places
from cycle_core.images.examples import example
from cycle_core.images.io import save_image

SHAPE = torch.tensor([[-10.0, -8.0], [10.0, -8.0], [0.0, 2.0], [-7.0, 12.0], [7.0, 12.0]])


def face(x: float, y: float, size: float = 1.0) -> Face:
    points = SHAPE * size + torch.tensor([x, y])
    half = 20 * size
    return Face((x - half, y - half, x + half, y + half), 1.0, points)


GROUP = [face(30, 40), face(80, 50, 1.4), face(140, 45, 0.7)]


# ------------------------------------------------------------------ in a video
def test_of_a_video_several_faces_are_refused_where_one_is_edited():
    frames = [GROUP, GROUP[:1]]
    assert len(follow(frames, "0", "error", 1.0, one=True)) == 2
    for several in ("0+2", "0,0,100,90"):
        with pytest.raises(InputError, match="one face is edited at a time"):
            follow(frames, several, "error", 1.0, one=True)


# ------------------------------------------------------------------ by place
@pytest.mark.parametrize(
    ("choice", "numbers"),
    [
        ("82,55", [1]),  # in a box
        ("170,0", [2]),  # beside all: the nearest
        ("10,10,100,90", [0, 1]),
        ("60,10,100,90", [1]),
    ],
)
def test_a_point_or_a_box_chooses_faces(choice, numbers):
    assert choose(GROUP, choice) == [GROUP[i] for i in numbers]


def test_of_faces_that_overlap_the_point_means_the_one_whose_middle_is_nearer():
    near, far = face(50, 50), face(75, 50)
    assert choose([near, far], "60,50") == [near]
    assert choose([near, far], "66,50") == [far]


def test_marks_limit_what_is_chosen_from():
    mask = torch.zeros(10, 20)  # stretched to the photo
    mask[:, 10:] = 1
    right = Marks(mask=mask).among(GROUP, 200, 100)
    assert choose(GROUP, "largest", among=right) == [GROUP[2]]
    left = Marks(((0, 0, 100, 100),)).among(GROUP, 200, 100)
    assert choose(GROUP, "smallest", among=left) == [GROUP[0]]
    assert choose(GROUP, "size:1", among=left) == [GROUP[0]]
    assert choose(GROUP, 1, among=left) == [GROUP[1]]  # numbers are those of all faces
    assert choose(GROUP, "all", among=Marks().among(GROUP, 200, 100)) == GROUP


def test_a_place_without_a_face_says_where_the_faces_are():
    with pytest.raises(NoFaceError, match=r"30,\d+; 80,\d+; 140,\d+"):
        choose(GROUP, "0,80,10,90")
    assert choose(GROUP, "0,80,10,90", none="skip") == []
    assert choose(GROUP, "all", "centre", among=[]) == ["centre"]


@pytest.mark.parametrize(
    ("place", "told"),
    [("90,10,20,80", "is empty"), ("1,2,3", "by a point"), ("nan,3", "by a point")],
)
def test_what_is_no_place_is_refused(place, told):
    with pytest.raises(InputError, match=told):
        choose(GROUP, place)


@pytest.mark.parametrize("smoothing", [0.0, 2.0])
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"marks": Marks(((120, 2, 340, 60),))}, "middle of the box 120,2,340,60 is outside the"),
        ({"marks": Marks(((20, 2, 20, 60),))}, "box 20,2,20,60 is empty"),
        ({"marks": Marks(points=((20, 101),))}, "point 20,101 is outside the picture of 200x100"),
        ({"marks": Marks(mask=torch.ones(12, 20))}, "mask of 20x12 pixels has another shape"),
        ({"choice": "900,50"}, "point 900,50 is outside the picture of 200x100"),
        ({"choice": "220,2,340,60"}, "is outside the picture of 200x100"),
    ],
)
def test_a_mark_of_another_picture_is_refused_for_a_batch(given, told, smoothing):
    with pytest.raises(PlaceError, match=told):
        align_all(torch.zeros(2, 3, 100, 200), 16, faces=[GROUP] * 2, smoothing=smoothing, **given)


@pytest.mark.parametrize("smoothing", [0.0, 1.0])
def test_each_picture_of_a_batch_has_marks_of_its_own(smoothing):
    photos = torch.zeros(2, 3, 100, 200)
    at_left, at_right = Marks(((0, 0, 60, 100),)), Marks(((100, 0, 200, 100),))

    def chosen(marks, **options):
        faces = [GROUP[:1], GROUP[2:]]  # another person in each
        given = {"marks": marks, "faces": faces, "choice": "all", "none": "skip", **options}
        return list(align_all(photos, 16, smoothing=smoothing, **given)[1].photos)

    assert chosen([at_left, at_right]) == [0, 1]
    assert chosen(at_left) == chosen([at_left]) == [0]
    assert chosen([at_left, Marks(())]) == [0]  # boxes, but none in the second picture
    assert chosen([at_right, at_left]) == []
    with pytest.raises(InputError, match="of 3 pictures were given for 2"):
        chosen([at_left] * 3)
    with pytest.raises(PlaceError, match=r"Picture 1 of 2.*box 20,2,20,60 is empty"):
        chosen([at_left, Marks(((20, 2, 20, 60),))])


@pytest.mark.parametrize("size", [(213, 171), (107, 86), (106, 85), (53, 42), (640, 514)])
def test_a_mask_may_have_another_size_of_the_same_shape(size):
    mask = torch.ones(size[1], size[0])
    assert Marks(mask=mask).among([face(50, 50)], 213, 171)


@pytest.mark.parametrize(
    ("mask", "photo"),
    [((4032, 3024), (1182, 887)), ((4096, 3072), (1023, 767)), ((664, 496), (1333, 1000))],
)
def test_a_mask_of_the_photo_before_it_was_scaled_is_taken(mask, photo):
    Marks(mask=torch.ones(mask[1], mask[0])).check(*photo)


def test_a_box_that_chooses_may_reach_beyond_the_picture():
    align_all(torch.zeros(1, 3, 100, 200), 16, choice="0,0,99999,99999", faces=[GROUP])


@pytest.mark.parametrize("command", ["align", "run"])
@pytest.mark.parametrize(
    ("option", "told"),
    [
        (("--face", "900,50"), "point 900,50 is outside the picture of 400x480"),
        (("--points", "900,80,940,80,920,99,905,120,935,120"), "around 920,100 lies outside"),
    ],
)
def test_the_command_line_takes_no_place_of_another_picture(
    option, told, command, tmp_path, capsys, only_embedded
):
    photo = save_image(example("portrait"), tmp_path / "a.png")
    out = tmp_path / ("out" if command == "run" else "crop.png")
    assert main([command, str(photo), *option, "--out", str(out)]) == 2
    assert told in capsys.readouterr().err


def test_in_a_video_people_are_numbered_from_left_to_right_and_found_by_a_point():
    video = torch.zeros(4, 3, 100, 200)
    moving = [[face(30 + i, 40), face(140 + i, 45, 0.7)] for i in range(4)]
    for choice in ("1", "141,45", "smallest"):
        _, places = align_all(video, 16, choice=choice, smoothing=1.0, faces=moving)
        assert all(sum(x for x, _ in frame.quad) / 4 > 130 for frame in places.frames)


def test_faces_are_found_from_left_to_right_and_shown_with_their_numbers():
    photo = example("group")
    crops, places = align_all(photo, 32, "embedded", choice="0+2")
    (found,) = places.found
    middles = [float(one.points[:, 0].mean()) for one in found]
    assert len(found) == 3
    assert middles == sorted(middles)
    assert [one.box for one in places.faces if one] == [found[0].box, found[2].box]
    assert len(crops) == 2
    changed = (show_places(photo, places) - photo).abs().amax(1)[0] > 0.2
    for one in found:
        x0, y0, x1, y1 = (round(value) for value in one.box)
        assert changed[max(y0 - 40, 0) : y1, x0:x1].any()


# ------------------------------------------------------------------ by hand
FACE = "70,72,90,72,80,82,73,92,87,92"


def test_points_stand_on_the_command_line_or_in_a_small_file(tmp_path):
    (wanted,) = load_points(FACE)[EVERY]
    pairs = wanted.points.tolist()
    texts = {
        "a.json": json.dumps(pairs),
        "b.json": json.dumps([pairs]),
        "c.json": json.dumps([value for pair in pairs for value in pair]),
        "d.txt": FACE.replace(",", " ") + "\n",
        "e.txt": "\n".join(f"{x} {y}" for x, y in pairs),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        (found,) = load_points(str(tmp_path / name))[EVERY]
        assert torch.equal(found.points, wanted.points), name


def test_a_file_of_points_may_name_the_pictures(tmp_path):
    other = FACE.replace("7", "3")
    (tmp_path / "a.txt").write_text(f"anna.jpg {FACE}\nbob 2.png: {other}\n")
    (tmp_path / "a.json").write_text(
        json.dumps({"anna.jpg": load_points(FACE)[EVERY][0].points.tolist()})
    )
    named = load_points(str(tmp_path / "a.txt"))
    assert set(named) == {"anna.jpg", "bob 2.png"}
    assert named["anna.jpg"][0].points[0].tolist() == [70, 72]
    assert set(load_points(str(tmp_path / "a.json"))) == {"anna.jpg"}


def test_several_faces_by_hand_are_numbered_from_left_to_right():
    left = "20,72,40,72,30,82,23,92,37,92"
    both = load_points(f"{FACE},{left}")[EVERY]
    assert [one.points[0].tolist() for one in both] == [[20, 72], [70, 72]]


@pytest.mark.parametrize("order", [[1, 0, 2, 3, 4], [0, 1, 2, 4, 3], [1, 0, 2, 4, 3]])
@pytest.mark.parametrize("degrees", [0, 80, 180])
def test_left_and_right_may_be_exchanged(order, degrees):
    angle = torch.deg2rad(torch.tensor(float(degrees)))
    turn = torch.stack(
        [torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])]
    )
    points = SHAPE @ turn.T + 90
    assert torch.equal(manual(points[order]).points, points)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("1,2,3", "pairs of x and y"),
        ("1,2,3,4", "4 numbers"),
        ("missing.txt", "neither points"),
        ("50,50,50,50,50,50,50,50,50,50", "coincide"),
        ("1e400,1,2,3,4,5,6,7,8,9", "pairs of x and y"),
        ("1.2.3,1,2,3,4,5,6,7,8,9", "pairs of x and y"),
    ],
)
def test_what_are_no_points_is_told(given, told):
    with pytest.raises(InputError, match=told):
        load_points(given)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '[["a", 1]]', "[true]", "{", "[NaN]", "[]", "no numbers here", "\0\0"]
)
def test_a_file_that_holds_no_points_is_told(tmp_path, text):
    (tmp_path / "points").write_text(text)
    with pytest.raises(InputError):
        load_points(str(tmp_path / "points"))


# ------------------------------------------------------------------ heads at any angle
@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_head_on_its_side_or_upside_down_is_found_and_cut_out_upright(turn):
    photo = example("portrait")
    (upright,) = detect(photo, "embedded")
    (found,) = detect(torch.rot90(photo, turn, (2, 3)), "embedded")
    expected, _ = align(photo, upright, 64)
    crop, _ = align(torch.rot90(photo, turn, (2, 3)), found, 64)
    assert (crop - expected).abs().mean() < 0.02


def test_where_something_upright_is_found_nothing_else_is_looked_for():
    photo = example("portrait")
    both = torch.cat([photo, torch.rot90(photo, 2, (2, 3))], dim=3)
    (found,) = detect(both, "embedded")
    assert found.points[:, 0].max() < photo.shape[-1]


# ------------------------------------------------------------------ the same crop again
def test_the_places_of_one_picture_serve_for_others_of_its_shape():
    photo = torch.rand(1, 3, 100, 200, generator=torch.Generator().manual_seed(0)) * 2 - 1
    crops, places = align_all(photo, 32, choice="all", faces=[GROUP[:2]])
    clip = torch.cat([photo, -photo])
    again, there = align_again(clip, places, 32)
    assert there.photos == (0, 0, 1, 1)
    assert torch.equal(again[:2], crops)
    assert torch.equal(again[2:3], align(-photo, places.frames[0], 32)[0])
    assert torch.allclose(paste_all(clip, again, there), clip, atol=1e-5)
    one, _ = align_again(clip, Places(places.frames[1:], (0,), 1, (None,)), 32)
    assert torch.equal(one[:1], crops[1:])
    large = torch.nn.functional.interpolate(photo, scale_factor=2)
    bigger, doubled = align_again(large, places, 64)
    assert doubled.frames[0].side == pytest.approx(2 * places.frames[0].side)
    assert (torch.nn.functional.avg_pool2d(bigger, 2) - crops).abs().mean() < 0.1


def test_places_of_other_pictures_are_refused():
    photo = torch.zeros(1, 3, 100, 200)
    _, places = align_all(photo.expand(2, -1, -1, -1), 32, faces=[GROUP[:1], GROUP[:1]])
    with pytest.raises(InputError, match="of 2 pictures, and 3"):
        align_again(photo.expand(3, -1, -1, -1), places, 32)
    with pytest.raises(MismatchError, match=r"Picture 0 of 2 .*200x100 pixels and this one has 90"):
        align_again(torch.zeros(2, 3, 100, 90), places, 32)


# ------------------------------------------------------------------ errors name the picture
@pytest.mark.parametrize("smoothing", [0.0, 2.0])
def test_the_picture_without_a_face_is_named(smoothing):
    faces = [[face(50, 50)], [face(50, 50)], []]
    with pytest.raises(NoFaceError, match=r"Picture 2 of 3 \(counted from 0\): No face"):
        align_all(torch.zeros(3, 3, 100, 200), 16, smoothing=smoothing, faces=faces)


def test_points_of_another_picture_are_told_with_the_picture():
    with pytest.raises(InputError, match=r"Picture 1 of 2 .*outside the photo of 200x100"):
        align_all(torch.zeros(2, 3, 100, 200), 16, faces=[[face(50, 50)], [face(900, 50)]])


def test_a_crop_that_cannot_be_pasted_is_told_with_the_picture():
    photos = torch.zeros(2, 3, 100, 200)
    crops, places = align_all(photos, 16, faces=[[face(50, 50)], [face(50, 50)]])
    crops[1] = float("nan")
    with pytest.raises(InputError, match=r"Picture 1 of 2 .*NaN"):
        paste_all(photos, crops, places)


def test_half_of_a_video_without_faces_is_left_as_it_is():
    photos = torch.rand(6, 3, 100, 200) * 2 - 1
    faces = [[], [], [face(50, 50)], [face(52, 50)], [], []]
    crops, places = align_all(photos, 16, none="skip", smoothing=2.0, faces=faces)
    assert places.photos == (2, 3)
    pasted = paste_all(photos, -crops, places)
    assert torch.equal(pasted[[0, 1, 4, 5]], photos[[0, 1, 4, 5]])
    assert not torch.equal(pasted[2], photos[2])
