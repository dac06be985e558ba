"""Faces: their choice, and the FFHQ crop against a reference in PIL and scipy."""

from __future__ import annotations

import json
import math

import astronaut as photo
import numpy as np
import pytest
import torch
from astronaut import POINTS, TEMPLATE, a_face, difference
from PIL import Image

from cycle_core.errors import (
    InputError,
    MismatchError,
    NoFaceError,
)
from cycle_core.faces.choose import choose
from cycle_core.faces.frame import Face, Frame, align, ffhq_quad, make_frame
from cycle_core.faces.points import manual
from cycle_core.images.io import Photo, to_pil
from cycle_core.images.resize import resize

astronaut = photo.astronaut


# --- choosing


def test_faces_are_chosen_by_size_or_number():
    faces = [a_face(0, 90), a_face(200, 130), a_face(400, 20)]
    assert choose(faces) == [faces[1]]
    assert choose(faces, "smallest") == [faces[2]]
    assert choose(faces, "all") == faces
    assert choose(faces, 2) == choose(faces, "2") == [faces[2]]
    assert choose(faces, "2+0") == choose(faces, [0, 2]) == [faces[0], faces[2]]


def test_an_index_that_no_face_has_is_an_error_that_counts_them():
    with pytest.raises(NoFaceError, match=r"no face 2: 2 faces were found.*to 1"):
        choose([a_face(0, 90), a_face(200, 30)], 2)


@pytest.mark.parametrize("choice", ["biggest", -1, None, True, 1.5, "1+", "1,2,3", [0, -1], []])
def test_an_unknown_choice_is_an_error(choice):
    with pytest.raises(InputError, match="largest"):
        choose([a_face(0, 90), a_face(0, 80)], choice)


def test_without_a_face_the_policy_decides(astronaut):
    with pytest.raises(NoFaceError, match="No face was found"):
        choose([])
    assert choose([], none="skip") == []
    (centre,) = choose([], none="centre")
    crop, frame = align(astronaut[..., 100:400, :], centre, 64)
    assert frame.quad == ((106.0, 0.0), (106.0, 300.0), (406.0, 300.0), (406.0, 0.0))
    expected = resize(astronaut[..., 100:400, 106:406], 64, "bicubic")
    assert difference(crop, expected).mean() < 3
    with pytest.raises(InputError, match="centre"):
        choose([], none="guess")


# --- the crop


def test_the_common_template_is_its_own_crop():
    quad = ffhq_quad(TEMPLATE)
    expected = torch.tensor([[0.0, 0], [0, 512], [512, 512], [512, 0]])
    assert (quad - expected).abs().max() < 1.5


def test_five_and_sixty_eight_points_give_one_crop():
    landmarks = torch.zeros(68, 2)
    landmarks[36:42], landmarks[42:48] = TEMPLATE[0], TEMPLATE[1]
    landmarks[48], landmarks[54] = TEMPLATE[3], TEMPLATE[4]
    five, many = ffhq_quad(TEMPLATE), ffhq_quad(landmarks)
    # docs/method.md: what five points give is enlarged by 1.0165 and moved down by 2.8 / 512
    side = (five[3] - five[0]).norm()
    assert float(side / (many[3] - many[0]).norm()) == pytest.approx(1.0165, abs=1e-4)
    assert float((five.mean(0) - many.mean(0))[1]) == pytest.approx(
        2.8 / 512 * side.item(), abs=0.01
    )


def test_the_quad_turns_and_grows_with_the_face():
    angle = math.radians(30)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    moved = ffhq_quad(TEMPLATE @ turn.T * 2 + 100)
    assert torch.allclose(moved, ffhq_quad(TEMPLATE) @ turn.T * 2 + 100, atol=1e-2)


def crop_with_pil(picture: Image.Image, quad: np.ndarray, size: int) -> np.ndarray:
    """The FFHQ crop step by step, in PIL, numpy and scipy: float [size,size,3] in 0..255.

    The last transform takes 4 x 4 samples a pixel, as FFHQ's own crops do (from 4096 to 1024)."""
    from scipy.ndimage import gaussian_filter

    side = float(np.hypot(*(quad[3] - quad[0])))
    shrink = int(np.floor(side / size * 0.5))
    if shrink > 1:
        small = (round(picture.width / shrink), round(picture.height / shrink))
        quad, side = quad * small / np.array(picture.size), side / shrink
        picture = picture.resize(small, Image.Resampling.LANCZOS)
    border = max(round(side * 0.1), 3)
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    box = (
        max(low[0] - border, 0),
        max(low[1] - border, 0),
        min(high[0] + border, picture.width),
        min(high[1] + border, picture.height),
    )
    picture, quad = picture.crop(box), quad - box[:2]
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    pad = np.array(
        [
            border - low[0],
            border - low[1],
            high[0] + border - picture.width,
            high[1] + border - picture.height,
        ]
    )
    if pad.max() > border - 4:
        left, top, right, bottom = pad = np.maximum(pad, round(side * 0.3))
        image = np.pad(
            np.asarray(picture, np.float32), ((top, bottom), (left, right), (0, 0)), mode="reflect"
        )
        y, x, _ = np.ogrid[: image.shape[0], : image.shape[1], :1]
        last_x, last_y = image.shape[1] - 1, image.shape[0] - 1
        fade = np.maximum(
            1 - np.minimum(x / left, (last_x - x) / right),
            1 - np.minimum(y / top, (last_y - y) / bottom),
        )
        blurred = gaussian_filter(image, [side * 0.02, side * 0.02, 0])
        image = image + (blurred - image) * np.clip(fade * 3 + 1, 0, 1)
        image = image + (np.median(image, axis=(0, 1)) - image) * np.clip(fade, 0, 1)
        picture = Image.fromarray(np.uint8(np.clip(np.rint(image), 0, 255)))
        quad = quad + pad[:2]
    fine = picture.transform(
        (4 * size, 4 * size),
        Image.Transform.QUAD,
        quad.flatten().tolist(),
        Image.Resampling.BILINEAR,
    )
    return np.asarray(fine.resize((size, size), Image.Resampling.BOX), np.float32)


@pytest.mark.parametrize(
    ("name", "points", "size"),
    [
        ("enlarged", POINTS, 256),
        ("reduced", POINTS, 64),
        ("shrunk first", (POINTS - POINTS.mean(0)) * 2 + 256, 64),
        ("turned", POINTS @ torch.tensor([[0.9, 0.436], [-0.436, 0.9]]), 128),
        ("over the top edge", POINTS - torch.tensor([0.0, 70.0]), 128),
        ("over the corner, shrunk", (POINTS - POINTS.mean(0)) * 2.2 + 130, 64),
    ],
)
def test_the_crop_agrees_with_the_procedure_in_pil(astronaut, name, points, size):
    crop, frame = align(astronaut, points, size)
    expected = crop_with_pil(to_pil(astronaut), np.array(frame.quad), size)
    ours = (crop[0].permute(1, 2, 0).numpy() + 1) * 127.5
    error = np.abs(ours - expected)
    assert crop.shape == (1, 3, size, size)
    assert error.mean() < 1.0, f"{name}: {error.mean():.2f} levels on average"
    assert np.percentile(error, 99) < 6, f"{name}: {np.percentile(error, 99):.1f} levels"


def test_a_crop_larger_than_the_photo_reflects_as_often_as_needed(astronaut):
    small = resize(astronaut, 40, "bicubic")
    crop, _ = align(small, TEMPLATE / 512 * 200 - 80, 64)
    assert torch.isfinite(crop).all()
    assert crop.abs().max() <= 1.01


def test_shrinking_does_not_alias():
    stripes = torch.ones(1, 3, 1024, 1024)
    stripes[..., ::2] = -1
    crop, _ = align(stripes, TEMPLATE * 2, 64)
    assert crop.abs().max() < 0.05


def test_a_face_uses_its_landmarks_and_a_frame_repeats_a_crop(astronaut):
    landmarks = torch.zeros(68, 2)
    landmarks[36:42], landmarks[42:48] = POINTS[0], POINTS[1]
    landmarks[48], landmarks[54] = POINTS[3], POINTS[4]
    found = Face((0, 0, 9, 9), 1.0, POINTS * 0, landmarks, "insightface")
    crop, frame = align(astronaut, found, 64)
    assert frame.source == "insightface"
    assert torch.equal(crop, align(astronaut, landmarks, 64)[0])
    again, larger = align(Photo(astronaut), frame, 128)
    assert larger.quad == frame.quad
    assert difference(resize(again, 64, "bicubic"), crop).mean() < 2


def test_a_frame_survives_json(astronaut):
    frame = make_frame((512, 512), POINTS, 64)
    assert Frame.from_json(json.loads(json.dumps(frame.to_json()))) == frame
    for broken in ({}, {"quad": [[0, 0]] * 4, "size": 64, "photo_size": [512, 512]}):
        with pytest.raises(InputError):
            Frame.from_json(broken)
    with pytest.raises(MismatchError, match=r"512x512.*100x100"):
        align(torch.zeros(1, 3, 100, 100), frame, 64)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (torch.zeros(4, 2), "shape"),
        (torch.full((5, 2), 50.0), "coincide"),
        (POINTS * float("nan"), "finite"),
        (POINTS + 5000, "outside the photo"),
        (POINTS * 1e5, "beyond the edge"),
        ("middle", "centre"),
    ],
)
def test_points_that_span_no_face_are_refused(astronaut, points, message):
    with pytest.raises(InputError, match=message):
        align(astronaut, points, 64)


def test_what_is_no_photo_is_refused(astronaut):
    with pytest.raises(InputError, match="shape"):
        align(astronaut.expand(2, 3, 512, 512), POINTS, 64)
    with pytest.raises(InputError, match="side"):
        align(astronaut, POINTS, 0)


def test_points_by_hand_become_a_face(astronaut):
    given = manual(POINTS.tolist())
    assert torch.equal(given.points, POINTS)
    assert align(astronaut, given, 64)[1].quad == make_frame((512, 512), POINTS, 64).quad
    with pytest.raises(InputError):
        manual([[1.0, 2.0], [3.0]])
