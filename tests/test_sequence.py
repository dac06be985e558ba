"""Batches of photos and frames of a video: crops of all faces, and all of them pasted back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cycle_core.errors import InputError, MismatchError, NoFaceError
from cycle_core.faces.frame import align
from cycle_core.faces.points import from_mesh, manual
from cycle_core.faces.tracks import smooth_over_time
from cycle_core.faces.video import align_all, cover, paste_all, show_places

SHAPE = torch.tensor([[-10.0, -8.0], [10.0, -8.0], [0.0, 2.0], [-7.0, 12.0], [7.0, 12.0]])


def face(x: float, y: float, size: float = 1.0):
    found = manual(SHAPE * size + torch.tensor([x, y]))
    return replace(found, box=(x - 20 * size, y - 20 * size, x + 20 * size, y + 20 * size))


@pytest.fixture
def photos():
    return torch.rand(3, 3, 97, 131, generator=torch.Generator().manual_seed(0)) * 2 - 1


# ------------------------------------------------------------------ align
def test_each_photo_gives_the_crop_that_align_gives(photos):
    faces = [[face(60 + i, 40)] for i in range(3)]
    crops, places = align_all(photos, 32, faces=faces)
    for i in range(3):
        crop, frame = align(photos[i : i + 1], faces[i][0], 32)
        assert torch.equal(crops[i : i + 1], crop)
        assert places.frames[i] == frame
    assert (places.photos, places.count) == ((0, 1, 2), 3)


def test_all_faces_of_a_photo_follow_each_other(photos):
    faces = [[face(60, 40), face(30, 60)], [], [face(70, 50)]]
    crops, places = align_all(photos, 16, choice="all", none="skip", faces=faces)
    assert places.photos == (0, 0, 2)
    assert crops.shape == (3, 3, 16, 16)


def test_a_photo_without_a_face_is_named(photos):
    with pytest.raises(NoFaceError, match="Picture 1 of 3"):
        align_all(photos, 16, faces=[[face(60, 40)], [], [face(60, 40)]])


def test_nothing_found_anywhere_gives_no_crops_where_that_is_wanted(photos):
    crops, places = align_all(photos, 16, none="skip", faces=[[], [], []])
    assert crops.shape == (0, 3, 16, 16)
    assert torch.equal(paste_all(photos, crops, places), photos)
    assert not cover(places, photos).any()


def test_the_callback_sees_every_photo_and_can_end_it(photos):
    class Interrupted(Exception):
        pass

    def callback(done, total, photo):
        assert (total, photo.shape) == (3, (1, 3, 97, 131))
        if done == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        align_all(photos, 16, faces=[[face(60, 40)]] * 3, callback=callback)


def test_landmarks_of_another_batch_are_refused(photos):
    with pytest.raises(InputError, match="2 pictures"):
        align_all(photos, 16, faces=[[], []])


# ------------------------------------------------------------------ video
def jitter(i):
    return 1.5 if i % 2 else -1.5


def centre(places):
    return [sum(x for x, _ in frame.quad) / 4 for frame in places.frames]


def test_smoothing_takes_the_trembling_out_and_leaves_the_way():
    video = torch.zeros(12, 3, 97, 131)
    faces = [[face(50 + 2 * i + jitter(i), 45)] for i in range(12)]
    _, rough = align_all(video, 16, faces=faces)
    _, smooth = align_all(video, 16, smoothing=2.0, faces=faces)
    way = [50 + 2 * i for i in range(12)]

    def off(places):
        return [abs(a - b) for a, b in zip(centre(places), way, strict=True)]

    assert min(off(rough)) > 1.4
    assert max(off(smooth)) < 1.0
    assert sum(off(smooth)) < 0.35 * sum(off(rough))


def test_an_even_movement_is_left_as_it_is_even_at_its_ends():
    path = torch.arange(9.0, dtype=torch.double)[:, None] * 3
    assert torch.allclose(smooth_over_time(path, 2.0), path)
    assert torch.equal(smooth_over_time(path[:1], 2.0), path[:1])


def test_a_frame_in_which_the_face_was_missed_is_filled_in():
    video = torch.zeros(5, 3, 97, 131)
    faces = [[face(50 + 2 * i, 45)] for i in range(5)]
    faces[2] = []
    _, places = align_all(video, 16, smoothing=1.0, faces=faces)
    assert places.photos == (0, 1, 2, 3, 4)
    assert centre(places)[2] == pytest.approx((centre(places)[1] + centre(places)[3]) / 2, abs=0.1)


def test_a_person_is_followed_even_where_another_is_larger_for_a_moment():
    video = torch.zeros(6, 3, 97, 131)
    faces = [[face(30, 45, 1.0), face(100, 45, 0.8)] for _ in range(6)]
    faces[3] = [face(100, 45, 1.2), face(30, 45, 1.0)]
    _, places = align_all(video, 16, smoothing=1.0, faces=faces)
    assert max(centre(places)) < 40
    _, second = align_all(video, 16, choice=1, smoothing=1.0, faces=faces)
    assert min(centre(second)) > 90
    _, both = align_all(video, 16, choice="all", smoothing=1.0, faces=faces)
    assert both.photos == (0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5)


def test_a_face_that_comes_late_is_an_error_or_left_out_before():
    video = torch.zeros(4, 3, 97, 131)
    faces = [[], [face(50, 45)], [face(50, 45)], [face(50, 45)]]
    with pytest.raises(NoFaceError):
        align_all(video, 16, smoothing=1.0, faces=faces)
    _, places = align_all(video, 16, none="skip", smoothing=1.0, faces=faces)
    assert places.photos == (1, 2, 3)


def test_a_video_without_any_face_is_an_error_that_says_so():
    with pytest.raises(NoFaceError, match="No face was found"):
        align_all(torch.zeros(3, 3, 97, 131), 16, smoothing=1.0, faces=[[], [], []])


def test_sixty_eight_landmarks_are_smoothed_all(photos):
    mesh = torch.rand(478, 2) * 30 + 40
    found = from_mesh(mesh)
    _, places = align_all(photos, 16, smoothing=1.0, faces=[[found]] * 3)
    smoothed = places.faces[1]
    assert smoothed is not None
    assert found.landmarks is not None
    assert smoothed.landmarks is not None
    assert torch.allclose(smoothed.landmarks, found.landmarks, atol=1e-4)


# ------------------------------------------------------------------ paste
@pytest.fixture
def group(photos):
    faces = [[face(60, 40), face(30, 60)], [face(55, 45)], [face(70, 50)]]
    return align_all(photos, 32, choice="all", faces=faces)


def test_crops_that_were_not_edited_leave_the_photos_as_they_are(photos, group):
    crops, places = group
    assert torch.allclose(paste_all(photos, crops, places, references=crops), photos, atol=1e-6)


def test_every_face_gets_its_own_edit(photos, group):
    crops, places = group
    edited = crops.clone()
    edited[1] = 1.0
    pasted = paste_all(photos, edited, places, references=crops)
    changed = (pasted - photos).abs().amax((1, 2, 3)) > 0.1
    assert changed.tolist() == [True, False, False]


def test_several_versions_of_all_faces_give_as_many_batches(photos, group):
    crops, places = group
    pasted = paste_all(photos, torch.cat([crops, torch.ones_like(crops)]), places, crops)
    assert pasted.shape == (6, 3, 97, 131)
    assert torch.allclose(pasted[:3], photos, atol=1e-6)
    assert not torch.allclose(pasted[3:], photos, atol=0.1)


def test_a_mask_says_what_is_pasted(photos, group):
    crops, places = group
    white = torch.ones_like(crops)
    nothing = torch.zeros(1, 1, 8, 8)
    assert torch.equal(paste_all(photos, white, places, masks=nothing), photos)


def test_nothing_changes_where_the_cover_is_zero(photos, group):
    crops, places = group
    pasted = paste_all(photos, -crops, places, detail=0.0)
    covered = cover(places, photos)
    assert covered.shape == (3, 1, 97, 131)
    assert float(covered.amax()) == pytest.approx(1.0)
    outside = (covered == 0).expand_as(photos)
    assert torch.equal(pasted[outside], photos[outside])
    assert cover(places, photos, crops=8).shape == (6, 1, 97, 131)


def test_numbers_that_do_not_fit_are_refused(photos, group):
    crops, places = group
    with pytest.raises(InputError, match="4 faces were aligned, but 3"):
        paste_all(photos, crops[:3], places)
    with pytest.raises(InputError, match="3 pictures were aligned, but 2"):
        paste_all(photos[:2], crops, places)
    with pytest.raises(InputError, match="3 references"):
        paste_all(photos, crops, places, references=crops[:3])
    with pytest.raises(MismatchError):
        paste_all(photos[..., :90], crops, places)


def test_what_was_found_is_drawn_onto_the_photos(photos, group):
    _, places = group
    shown = show_places(photos, places)
    assert shown.shape == photos.shape
    assert not torch.allclose(shown, photos, atol=0.1)
