"""What several test modules share; also lets them import the helpers that lie beside them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite("small_networks", "golden")  # before a test module imports it
# What the tests draw is so small that threads win nothing, and where other programs run they lose
# minutes by waiting for each other. Torch is imported later, here and in programs that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fixtures of a plugin named in a test module would replace those of the modules after it."""
    modules = {
        item.path.name for item in items if hasattr(getattr(item, "module", None), "pytest_plugins")
    }
    if modules:
        raise pytest.UsageError(
            f"{', '.join(sorted(modules))}: pytest_plugins reaches every module after this one. "
            "Write `name = helper.name` for each fixture of a helper instead."
        )


@pytest.fixture
def only_embedded(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory):
    """No model files but those of the package, and no downloads: what a fresh machine has."""
    empty = tmp_path_factory.mktemp("home")
    for name in ("HOME", "XDG_CACHE_HOME", "TORCH_HOME"):
        monkeypatch.setenv(name, str(empty))
    monkeypatch.delenv("CYCLE_CORE_MODELS", raising=False)
    monkeypatch.setenv("CYCLE_CORE_OFFLINE", "1")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a photograph of a face, astronaut.png, and one without, coffee.png."""
    data = pytest.importorskip("skimage.data")
    folder = tmp_path_factory.mktemp("photos")
    Image.fromarray(data.astronaut()).save(folder / "astronaut.png")
    Image.fromarray(data.coffee()).save(folder / "coffee.png")
    return folder


@pytest.fixture(scope="session")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """portrait.png: an aligned portrait of the embedded domain, 256 px, as an encoder takes it."""
    from cycle_core.bench.sets import open_set
    from cycle_core.images.io import save_image

    path = tmp_path_factory.mktemp("portrait") / "portrait.png"
    return save_image(open_set("inside", 2).images[1:], path)


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """noise.png: a small square picture of nothing, for what happens before anything is seen."""
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


@pytest.fixture(scope="module")
def comfy(tmp_path_factory: pytest.TempPathFactory):
    """A real ComfyUI in this process, see comfy_real.py."""
    import comfy_real

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("CYCLE_CORE_OFFLINE", "1")
        running = comfy_real.Comfy(tmp_path_factory.mktemp("ComfyUI"))
        yield running
        running.close()


@pytest.fixture
def run(comfy):
    """run(prompt) -> what its Collect nodes got."""
    comfy.on_progress = None
    return comfy.run
