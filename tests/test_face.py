"""Faces: detectors, choice, the FFHQ crop against a reference in PIL and scipy, pasting."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cycle_core.errors import (
    CheckpointError,
    InputError,
    MismatchError,
    MissingFileError,
    NoFaceError,
)
from cycle_core.faces.choose import choose
from cycle_core.faces.detect import detect
from cycle_core.faces.detectors.registry import present
from cycle_core.faces.frame import Face, Frame, align, ffhq_quad, make_frame
from cycle_core.faces.paste import paste
from cycle_core.faces.points import manual
from cycle_core.files import weights
from cycle_core.images.io import Photo, from_pil, to_pil
from cycle_core.images.resize import resize

# eyes, nose, mouth corners of the astronaut, as YuNet finds them
POINTS = torch.tensor(
    [[201.9, 104.2], [245.0, 103.7], [221.7, 128.3], [203.2, 143.5], [241.7, 143.1]]
)
# the common template: where the five points of a crop of 512 pixels lie
TEMPLATE = torch.tensor(
    [[192.98, 239.95], [318.90, 240.19], [256.63, 314.02], [201.26, 371.41], [313.09, 371.15]]
)
MODELS = os.environ.get("CYCLE_CORE_TEST_MODELS", "")


@pytest.fixture(scope="module")
def astronaut() -> torch.Tensor:
    data = pytest.importorskip("skimage.data")
    return from_pil(Image.fromarray(data.astronaut())).image


@pytest.fixture
def no_models(monkeypatch, tmp_path) -> None:
    """A machine on which no model file lies but the embedded ones."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("CYCLE_CORE_MODELS", "")
    monkeypatch.setenv("CYCLE_CORE_OFFLINE", "1")


def a_face(x: float, width: float) -> Face:
    return Face((x, 0.0, x + width, width), 0.9, POINTS)


def difference(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """In levels of 255."""
    return (a - b).abs() * 127.5


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


# --- detectors


def scrfd(path: Path) -> None:
    """A small detector with the nine outputs of insightface's SCRFD (score, box, points at strides
    8, 16, 32, two anchors a place) that finds red squares of about 32 pixels."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, value) -> None:
        initial.append(numpy_helper.from_array(np.asarray(value), name))

    nodes, initial, outputs = [], [], {"score": [], "bbox": [], "kps": []}
    constant("red", np.array([1, -0.5, -0.5], np.float32).reshape(1, 3, 1, 1))
    nodes.append(helper.make_node("Conv", ["input", "red"], ["redness"]))
    offsets = np.array([-0.2, -0.2, 0.2, -0.2, 0.0, 0.0, -0.15, 0.2, 0.15, 0.2], np.float32)
    for stride in (8, 16, 32):
        side = 32 // stride
        sees = 1.0 if stride == 32 else 0.0
        nodes.append(
            helper.make_node(
                "AveragePool",
                ["redness"],
                [f"mean{stride}"],
                kernel_shape=[stride, stride],
                strides=[stride, stride],
            )
        )
        for kind, width, value in (
            ("score", 1, None),
            ("bbox", 4, np.array([0, 0, side, side], np.float32)),
            ("kps", 10, (offsets + 0.5) * side),
        ):
            name = f"{kind}_{stride}"
            # every anchor starts from the mean; only the score keeps it
            gain = 0.5 * sees if kind == "score" else 0.0
            constant(f"{name}_w", np.full((2 * width, 1, 1, 1), gain, np.float32))
            bias = np.zeros(2) if value is None else np.tile(value, 2)
            constant(f"{name}_b", bias.astype(np.float32))
            constant(f"{name}_s", np.array([-1, width], np.int64))
            nodes += [
                helper.make_node(
                    "Conv", [f"mean{stride}", f"{name}_w", f"{name}_b"], [f"{name}_c"]
                ),
                helper.make_node("Transpose", [f"{name}_c"], [f"{name}_t"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"{name}_t", f"{name}_s"], [name]),
            ]
            outputs[kind].append(
                helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width])
            )
    graph = helper.make_graph(
        nodes,
        "scrfd",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, None, None])],
        [*outputs["score"], *outputs["bbox"], *outputs["kps"]],
        initial,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, path)


def landmarks_68(path: Path) -> None:
    """A network shaped as insightface's 1k3d68 that always answers with the same 68 places."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    places = np.random.default_rng(0).uniform(-0.5, 0.5, (1103, 3)).astype(np.float32)
    initial = [
        numpy_helper.from_array(np.zeros((3, 3309), np.float32), "w"),
        numpy_helper.from_array(places.reshape(-1), "b"),
    ]
    nodes = [
        helper.make_node("GlobalAveragePool", ["data"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["fc1"]),
    ]
    graph = helper.make_graph(
        nodes,
        "landmarks",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, 192, 192])],
        [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [1, 3309])],
        initial,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, path)


@pytest.fixture
def insightface_models(no_models, monkeypatch, tmp_path) -> Path:
    pytest.importorskip("insightface", reason="the optional extra `faces` is not installed")
    folder = tmp_path / "own/models/buffalo_l"
    folder.mkdir(parents=True)
    scrfd(folder / "det_10g.onnx")
    monkeypatch.setenv("CYCLE_CORE_MODELS", str(tmp_path / "own"))
    return folder


def squares(*places: tuple[int, int, int], width: int = 640, height: int = 640) -> torch.Tensor:
    """A grey photo with red squares at (x, y, side)."""
    image = torch.zeros(1, 3, height, width)
    for x, y, side in places:
        image[:, :, y : y + side, x : x + side] = torch.tensor([1.0, -1, -1]).view(1, 3, 1, 1)
    return image


def test_insightface_finds_faces_through_its_own_code(insightface_models):
    # a photo twice the detector's size: its coordinates must come back in the photo's pixels
    photo = squares((640, 320, 64), (128, 768, 64), width=1280, height=960)
    found = detect(photo, "insightface")
    assert len(found) == 2
    assert {found[0].detector, found[1].detector} == {"insightface"}
    by_x = sorted(found, key=lambda one: one.box[0])
    assert by_x[1].box == pytest.approx((640, 320, 704, 384), abs=0.1)
    expected = torch.tensor([[0.3, 0.3], [0.7, 0.3], [0.5, 0.5], [0.35, 0.7], [0.65, 0.7]])
    assert torch.allclose(by_x[1].points, expected * 64 + torch.tensor([640.0, 320]), atol=0.1)
    assert by_x[1].landmarks is None
    assert detect(torch.zeros(1, 3, 64, 64), "insightface") == []


def test_insightface_gives_68_landmarks_where_it_has_that_model(insightface_models):
    landmarks_68(insightface_models / "1k3d68.onnx")
    (found,) = detect(squares((320, 320, 32)), "insightface")
    assert found.landmarks is not None
    assert found.landmarks.shape == (68, 2)
    centre, reach = 336, 32 * 1.5 / 2 * 0.55
    assert (found.landmarks - centre).abs().max() < reach
    assert make_frame((640, 640), found, 64).source == "insightface"


def test_auto_takes_insightface_first_where_its_model_lies(insightface_models):
    assert present()[0] == "insightface"
    assert detect(squares((320, 320, 32)))[0].detector == "insightface"


def test_a_damaged_insightface_model_is_named(insightface_models):
    (insightface_models / "det_10g.onnx").write_bytes(b"not a network")
    with pytest.raises(CheckpointError, match="buffalo_l"):
        detect(squares(), "insightface")


def test_without_files_only_the_embedded_detector_is_present(no_models):
    assert present() == ("embedded",)


def test_a_detector_without_its_file_says_where_to_get_it(no_models):
    with pytest.raises(MissingFileError, match=r"yunet_final.pth.*CYCLE_CORE_OFFLINE.*https://"):
        detect(torch.zeros(1, 3, 64, 64), "yunet")


@pytest.mark.parametrize(
    ("detector", "package"), [("insightface", "onnxruntime"), ("yunet", "kornia")]
)
def test_a_detector_without_its_package_names_it(no_models, monkeypatch, detector, package):
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(InputError, match=rf"{detector} needs .*`pip install .*{package}`"):
        detect(torch.zeros(1, 3, 64, 64), detector)


def test_an_unknown_detector_is_refused():
    with pytest.raises(InputError, match="auto, insightface, yunet or embedded"):
        detect(torch.zeros(1, 3, 64, 64), "haar")


def test_a_file_that_is_not_yunet_is_named(no_models, monkeypatch, tmp_path):
    (tmp_path / "yunet_final.pth").write_bytes(b"not a network")
    monkeypatch.setenv("CYCLE_CORE_MODELS", str(tmp_path))
    with pytest.raises(CheckpointError, match="not the YuNet face detector"):
        detect(torch.zeros(1, 3, 64, 64), "yunet")


@pytest.fixture
def yunet(no_models, monkeypatch) -> None:
    if not (Path(MODELS) / "yunet_final.pth").is_file() or not MODELS:
        pytest.skip("CYCLE_CORE_TEST_MODELS names no folder with yunet_final.pth")
    monkeypatch.setenv("CYCLE_CORE_MODELS", MODELS)


@pytest.mark.parametrize("scale", [0.25, 1.0, 2.0])
def test_yunet_finds_the_astronaut_at_any_size(yunet, astronaut, scale):
    photo = resize(astronaut[..., :400, :], (round(400 * scale), round(512 * scale)), "bicubic")
    found = detect(photo, "yunet")
    assert len(found) == 1
    assert (found[0].points / scale - POINTS).norm(dim=1).max() < 4.5  # of 43 between the eyes
    assert found[0].score > 0.9


def test_yunet_gives_several_faces_from_left_to_right(yunet, astronaut):
    small = resize(astronaut[..., 20:220, 120:320], 120, "bicubic")
    photo = astronaut.clone()
    photo[..., 350:470, 20:140] = small
    found = detect(photo)
    assert [one.detector for one in found] == ["yunet", "yunet"]
    assert found[0].area < found[1].area
    assert 350 < found[0].points[2, 1] < 470


@pytest.mark.parametrize("name", ["coffee", "gravel"])
def test_yunet_finds_no_face_where_there_is_none(yunet, name):
    picture = getattr(pytest.importorskip("skimage.data"), name)()
    assert detect(from_pil(Image.fromarray(picture)), "yunet") == []


def test_the_checksum_of_yunet_is_the_file_s(yunet):
    path = weights.find("yunet")
    assert path is not None
    import hashlib

    assert hashlib.sha256(path.read_bytes()).hexdigest() == weights.CATALOGUE["yunet"].sha256
    assert path.stat().st_size == weights.CATALOGUE["yunet"].size


# --- pasting


@pytest.fixture(scope="module")
def frame() -> Frame:
    return make_frame((512, 512), POINTS, 64)


def generator_like(crop: torch.Tensor) -> torch.Tensor:
    """What a small generator makes of a crop: soft, and a little off in its colours."""
    soft = resize(resize(crop, crop.shape[-1] * 2 // 3, "bicubic"), crop.shape[-1], "bicubic")
    return soft * 0.95 + torch.tensor([0.04, -0.03, 0.0]).view(1, 3, 1, 1)


def smiling(crop: torch.Tensor) -> torch.Tensor:
    """The crop with its mouth corners drawn outwards and up."""
    size = crop.shape[-1]
    at = (torch.arange(size) + 0.5) / size
    y, x = torch.meshgrid(at, at, indexing="ij")
    left = torch.exp(-((x - 0.38) ** 2 + (y - 0.73) ** 2) / (2 * 0.05**2))
    right = torch.exp(-((x - 0.62) ** 2 + (y - 0.73) ** 2) / (2 * 0.05**2))
    places = torch.stack([x + 0.035 * (left - right), y + 0.03 * (left + right)], dim=-1)
    return torch.nn.functional.grid_sample(
        crop, places[None] * 2 - 1, padding_mode="border", align_corners=False
    )


def sharpness(image: torch.Tensor) -> float:
    return float((image[..., 1:, :] - image[..., :-1, :]).square().mean())


@pytest.mark.parametrize("size", [64, 175, 300])
def test_pasting_the_untouched_crop_changes_nothing(astronaut, frame, size):
    crop, place = align(astronaut, frame, size)
    assert difference(paste(astronaut, crop, place), astronaut).max() < 0.01


def test_pasting_an_unedited_reconstruction_changes_nothing(astronaut, frame):
    seen = generator_like(align(astronaut, frame, 64)[0])
    pasted = paste(astronaut, seen, frame, reference=seen)
    assert difference(pasted, astronaut).max() < 0.01


def test_the_crop_as_it_is_agrees_with_the_photo_at_equal_resolution(astronaut):
    # as smooth as sampling it twice can carry it
    smooth = resize(resize(astronaut, 32, "bicubic"), 512, "bicubic")
    frame = make_frame((512, 512), POINTS, 175)
    crop, _ = align(smooth, frame, 175)
    assert difference(paste(smooth, crop, frame, detail=0), smooth).max() < 1


def test_outside_the_mask_every_bit_stays(astronaut, frame):
    black = torch.full((1, 3, 64, 64), -1.0)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 20:40, 10:50] = 1
    pasted = paste(astronaut, black, frame, mask=mask, detail=0)
    # where each pixel of the photo lies in the mask, by the crop's own geometry
    origin, below, _, beside = torch.tensor(frame.quad, dtype=torch.float64)
    at = torch.arange(512, dtype=torch.float64) + 0.5
    y, x = torch.meshgrid(at, at, indexing="ij")
    to_crop = torch.linalg.inv(torch.stack([beside - origin, below - origin], dim=1))
    u, v = ((torch.stack([x, y], dim=-1) - origin) @ to_crop.T * 64).unbind(-1)
    inside = (u > 10) & (u < 50) & (v > 20) & (v < 40)
    changed = (pasted != astronaut).any(1)[0]
    assert not changed[~inside].any()
    assert changed[inside].float().mean() > 0.9
    everywhere = paste(astronaut, black, frame, detail=0)
    corner = torch.tensor(frame.quad)
    outside = torch.ones(512, 512, dtype=torch.bool)
    (x0, y0), (x1, y1) = corner.amin(0).floor().int(), corner.amax(0).ceil().int()
    outside[y0:y1, x0:x1] = False
    assert torch.equal(everywhere[0][:, outside], astronaut[0][:, outside])
    assert not torch.equal(everywhere, astronaut)


def test_the_edge_of_a_mask_is_soft_and_inside_of_it(astronaut, frame):
    grey = torch.zeros(1, 3, 512, 512)
    pasted = paste(grey, torch.ones(1, 3, 64, 64), frame, detail=0)
    steps = (pasted[..., 1:] - pasted[..., :-1]).abs()
    assert pasted.max() > 0.999
    assert steps.max() < 0.12
    thin = torch.zeros(1, 1, 64, 64)
    thin[..., 30:34, :] = 1  # narrower than the feather: still pasted
    assert paste(grey, torch.ones(1, 3, 64, 64), frame, mask=thin, detail=0).max() > 0.8


def test_an_edit_arrives_and_the_photo_s_detail_stays(astronaut, frame):
    reconstruction = generator_like(align(astronaut, frame, 64)[0])
    edited = smiling(reconstruction)
    pasted = paste(astronaut, edited, frame, reference=reconstruction)
    mouth = (..., slice(132, 156), slice(192, 254))
    assert difference(pasted, astronaut)[mouth].mean() > 4
    # sharper than the generator could draw it, and close to the same smile made in the photo
    soft = paste(astronaut, edited, frame, detail=0)
    assert sharpness(pasted[mouth]) > 2 * sharpness(soft[mouth])
    fine, place = align(astronaut, frame, 350)
    wanted = paste(astronaut, smiling(fine), place, detail=0)
    assert difference(pasted, wanted)[mouth].mean() < 0.5 * difference(soft, wanted)[mouth].mean()
    eyes = (..., slice(90, 115), slice(190, 256))
    assert difference(pasted, astronaut)[eyes].mean() < 0.5


def test_what_is_new_hides_the_old_detail(astronaut, frame):
    reconstruction = generator_like(align(astronaut, frame, 64)[0])
    edited = reconstruction.clone()
    edited[..., 26:36, 14:50] = -1  # a black bar over the eyes
    pasted = paste(astronaut, edited, frame, reference=reconstruction)
    bar, _ = align(pasted, frame, 64)
    assert bar[..., 28:34, 18:46].mean() < -0.95
    assert bar[..., 28:34, 18:46].max() < -0.6  # eyes and skin reach from -0.9 to 0.7


def test_the_colours_of_an_edit_arrive(astronaut, frame):
    reconstruction = generator_like(align(astronaut, frame, 64)[0])
    warmer = reconstruction + torch.tensor([0.1, 0.0, -0.1]).view(1, 3, 1, 1)
    pasted = paste(astronaut, warmer, frame, reference=reconstruction)
    cheek = (pasted - astronaut)[..., 120:135, 205:235].mean((0, 2, 3))
    assert cheek.tolist() == pytest.approx([0.1, 0.0, -0.1], abs=0.015)


def test_a_photo_keeps_its_alpha_and_is_not_changed_itself(astronaut, frame):
    photo = Photo(astronaut.clone(), torch.rand(1, 1, 512, 512), Path("a.png"))
    pasted = paste(photo, torch.zeros(1, 3, 64, 64), frame)
    assert isinstance(pasted, Photo)
    assert pasted.alpha is photo.alpha
    assert pasted.path == photo.path
    assert torch.equal(photo.image, astronaut)


def test_several_faces_are_pasted_one_after_the_other(astronaut):
    both = torch.cat([astronaut, astronaut], dim=3)
    frames = [make_frame((1024, 512), POINTS + torch.tensor([x, 0.0]), 64) for x in (0, 512)]
    out = both
    for place in frames:
        crop, _ = align(out, place, 64)
        out = paste(out, smiling(crop), place)
    assert difference(out[..., :512], out[..., 512:]).max() < 0.05
    assert difference(out, both).max() > 10


def test_a_crop_beyond_the_edge_is_pasted_as_far_as_the_photo_goes(astronaut):
    points = POINTS - torch.tensor([170.0, 80.0])
    crop, place = align(astronaut, points, 64)
    assert difference(paste(astronaut, crop, place), astronaut).max() < 0.01
    assert torch.isfinite(paste(astronaut, -crop, place)).all()


def test_what_does_not_fit_is_refused(astronaut, frame):
    crop = torch.zeros(1, 3, 64, 64)
    with pytest.raises(MismatchError, match="512x512"):
        paste(astronaut[..., :400], crop, frame)
    with pytest.raises(InputError, match="reference"):
        paste(astronaut, crop, frame, reference=torch.zeros(1, 3, 32, 32))
    with pytest.raises(InputError, match="NaN"):
        paste(astronaut, crop * float("nan"), frame)
    with pytest.raises(InputError, match="shape"):
        paste(astronaut, torch.zeros(1, 4, 64, 64), frame)
    with pytest.raises(InputError, match="mask"):
        paste(astronaut, crop, frame, mask=torch.zeros(1, 3, 64, 64))
