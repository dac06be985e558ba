"""A photograph of a face, and its points."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from cycle_core.faces.frame import Face
from cycle_core.images.io import from_pil

# eyes, nose, mouth corners of the astronaut, as YuNet finds them
POINTS = torch.tensor(
    [[201.9, 104.2], [245.0, 103.7], [221.7, 128.3], [203.2, 143.5], [241.7, 143.1]]
)
# the common template: where the five points of a crop of 512 pixels lie
TEMPLATE = torch.tensor(
    [[192.98, 239.95], [318.90, 240.19], [256.63, 314.02], [201.26, 371.41], [313.09, 371.15]]
)


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
