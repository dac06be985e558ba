"""Detectors of faces: insightface, YuNet and the embedded one."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path
from typing import Any

import astronaut as photo
import numpy as np
import pytest
import torch
from astronaut import POINTS
from PIL import Image

from cycle_core.errors import (
    CheckpointError,
    InputError,
    MissingFileError,
)
from cycle_core.faces.detect import detect
from cycle_core.faces.detectors.registry import present
from cycle_core.faces.frame import Face, make_frame
from cycle_core.files import weights
from cycle_core.files.catalogue import DETECTORS
from cycle_core.images.io import from_pil
from cycle_core.images.resize import resize

MODELS = os.environ.get("CYCLE_CORE_TEST_MODELS", "")
astronaut, no_models = photo.astronaut, photo.no_models


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


def test_one_more_detector_is_a_module_and_its_name(no_models, monkeypatch):
    middle = Face((16.0, 16.0, 48.0, 48.0), 1.0, torch.full((5, 2), 32.0), detector="middle")
    module: Any = types.ModuleType("cycle_core.faces.detectors.middle")
    module.PACKAGES = ()
    module.find = lambda image, min_score=0.5: [middle]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(DETECTORS, "middle", None)
    assert present() == ("embedded", "middle")
    assert detect(torch.zeros(1, 3, 64, 64), "middle")[0].box == middle.box


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
