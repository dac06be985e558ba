"""The embedded detector: what it finds in photographs and in renders, what it leaves alone, and
how it is trained."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cycle_core.checkpoints.native import read_model
from cycle_core.errors import InputError
from cycle_core.faces import landmarks
from cycle_core.faces.detectors.embedded import find as find_faces
from cycle_core.faces.frame import Face, ffhq_quad
from cycle_core.faces.landmarks import face_size
from people.training.landmarks import finder_losses, refiner_losses, train
from people.training.renders import Renders
from people.training.scenes import FINDING, REFINING, People, synthesise
from people.training.settings import LandmarkTraining

# `python -m people.dataset people --count 6 --resolution 128`, and
# `python -m people.scenes scenes --count 4 --resolution 160`
FIXTURES = Path(__file__).parent / "fixtures"
FOLDERS = FIXTURES / "scenes", FIXTURES / "people"

# eyes, nose, mouth corners of the astronaut: the mean of what YuNet (kornia) finds in the picture
# and in its mirror image, at three sizes (benchmarks/landmarks.py)
ASTRONAUT = torch.tensor(
    [[202.16, 103.81], [245.36, 104.45], [222.47, 127.66], [203.97, 144.50], [242.35, 145.00]]
)
FACELESS = (
    *("brick", "chelsea", "clock", "coffee", "colorwheel", "grass", "gravel", "hubble_deep_field"),
    *("immunohistochemistry", "moon", "page", "retina", "rocket", "text"),
)


def photograph(name: str) -> torch.Tensor:
    """A picture that comes with scikit-image, float [1,3,H,W] in [-1,1], at most 700 pixels."""
    data = pytest.importorskip("skimage.data")
    pixels = torch.from_numpy(getattr(data, name)()).float()
    pixels = pixels if pixels.ndim == 3 else pixels[..., None].expand(-1, -1, 3)
    image = pixels[..., :3].permute(2, 0, 1)[None] / 127.5 - 1
    shrink = min(1.0, 700 / max(image.shape[-2:]))
    return F.interpolate(image, scale_factor=shrink, mode="area") if shrink < 1 else image


@pytest.fixture(scope="module")
def people() -> People:
    return People(FOLDERS)


@pytest.fixture(scope="module")
def held_out() -> People:
    return People(FOLDERS, "held_out")


def put(image: torch.Tensor, points: torch.Tensor, size: float, angle: float, side: int):
    """A picture [1,3,side,side] with the face in its middle, turned and scaled, and its points;
    size: of the face (half the side of its crop), in pixels."""
    n, factor = image.shape[-1], size / float(face_size(points))
    centre = points.mean(0)
    turn = torch.tensor(
        [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    )  # of row vectors
    c = torch.arange(side) + 0.5 - side / 2
    y, x = torch.meshgrid(c, c, indexing="ij")
    grid = ((torch.stack([x, y], -1) @ turn.T) / factor + centre) / n * 2 - 1
    if factor < 1:
        step = 2 ** round(-math.log2(factor))
        image = F.avg_pool2d(image, step) if step > 1 else image
    picture = F.grid_sample(image, grid[None], padding_mode="zeros", align_corners=False)
    return picture, (points - centre) @ turn * factor + side / 2


def overlap(points: torch.Tensor, others: torch.Tensor) -> float:
    """Intersection over union of the FFHQ crops of two sets of points."""
    masks = []
    lo = torch.cat([ffhq_quad(points), ffhq_quad(others)]).amin(0)
    hi = torch.cat([ffhq_quad(points), ffhq_quad(others)]).amax(0)
    steps = torch.linspace(0, 1, 400)
    y, x = torch.meshgrid(*(lo[k] + (hi[k] - lo[k]) * steps for k in (1, 0)), indexing="ij")
    for quad in (ffhq_quad(points), ffhq_quad(others)):
        origin, down, right = quad[0], quad[1] - quad[0], quad[3] - quad[0]
        p = torch.stack([x, y], -1) - origin
        u, v = (p @ right) / right.square().sum(), (p @ down) / down.square().sum()
        masks.append((u >= 0) & (u <= 1) & (v >= 0) & (v <= 1))
    return float((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum())


def error(face: Face, points: torch.Tensor) -> float:
    """Mean distance of the points in eye distances."""
    eyes = float((points[1] - points[0]).norm())
    return float((face.points - points).norm(dim=1).mean()) / eyes


# ------------------------------------------------------------------------------------ finding
def test_the_astronaut_is_found_where_another_detector_finds_her() -> None:
    faces = find_faces(photograph("astronaut"))
    assert len(faces) == 1
    assert error(faces[0], ASTRONAUT) < 0.08
    assert overlap(faces[0].points, ASTRONAUT) > 0.92
    x0, y0, x1, y1 = faces[0].box
    assert x0 < 202 < 245 < x1
    assert y0 < 104 < 143 < y1


@pytest.mark.parametrize(
    ("height", "degrees"),
    [(32, 0), (48, 0), (100, 0), (100, -45), (100, -30), (100, 30), (100, 45), (300, 0), (600, 0)],
)
def test_the_astronaut_is_found_at_any_size_and_turn(height: int, degrees: int) -> None:
    """height: of her face, from brow to chin, in pixels."""
    size, side = height / 1.3, max(256, int(2.6 * height))
    picture, points = put(photograph("astronaut"), ASTRONAUT, size, math.radians(degrees), side)
    faces = find_faces(picture)
    assert len(faces) == 1
    assert error(faces[0], points) < 0.10
    assert overlap(faces[0].points, points) > 0.88


def test_points_are_in_the_order_of_the_picture_also_when_mirrored() -> None:
    mirror = find_faces(photograph("astronaut").flip(3))[0].points
    expected = ASTRONAUT[list(landmarks.MIRRORED)]
    expected = torch.stack([512 - expected[:, 0], expected[:, 1]], 1)
    assert (mirror - expected).norm(dim=1).max() < 0.25 * 43


@pytest.mark.parametrize(
    ("number", "size", "angle"),
    [(0, 40, 0.0), (1, 90, 0.5), (2, 90, -0.7), (3, 200, 0.2), (4, 400, 0.0)],
)
def test_people_are_found_at_any_size_and_turn(number: int, size: int, angle: float) -> None:
    made = Renders(FIXTURES / "people").batch([number])
    side = max(256, int(2 * size))
    picture, points = put(made.images, made.points[0], size / 1.3, angle, side)
    faces = find_faces(picture)
    assert len(faces) == 1
    assert error(faces[0], points) < 0.12


@pytest.mark.parametrize("name", FACELESS)
def test_no_face_is_found_where_there_is_none(name: str) -> None:
    assert find_faces(photograph(name)) == []


def test_tiny_and_empty_pictures_have_no_faces() -> None:
    assert find_faces(torch.zeros(1, 3, 5, 9)) == []
    assert find_faces(torch.rand(1, 3, 70, 33) * 2 - 1) == []


# ------------------------------------------------------------------------------------- scenes
def test_scenes_are_the_same_for_the_same_seed(people: People) -> None:
    one, two = (synthesise(people, 6, FINDING, 7, batch=3) for _ in range(2))
    assert torch.equal(one.images, two.images)
    assert torch.equal(one.points.nan_to_num(), two.points.nan_to_num())
    assert torch.equal(one.sure, two.sure)
    assert not torch.equal(one.images, synthesise(people, 6, FINDING, 8, batch=3).images)


def test_points_follow_the_face_into_the_scene(tmp_path) -> None:
    """Renders are replaced by dark pictures with a light disc at each point: there it is light."""
    shutil.copytree(FIXTURES / "people", tmp_path / "marked")
    data = Renders(tmp_path / "marked")
    n, points = data.resolution, data.batch(list(range(len(data)))).points
    c = torch.arange(n) + 0.5
    y, x = torch.meshgrid(c, c, indexing="ij")
    away = (x - points[..., 0, None, None]).square() + (y - points[..., 1, None, None]).square()
    discs = torch.exp(-away / 32).sum(1).clamp(0, 1) * 200 + 20
    images = discs.byte()[:, None].expand(-1, 3, -1, -1).numpy()
    np.save(tmp_path / "marked" / "00000-images.npy", images)
    np.save(tmp_path / "marked" / "00000-masks.npy", np.full((len(data), n, n), 255, np.uint8))
    place = replace(REFINING, empty=0.0, missed=0.0)
    scenes = synthesise(People([tmp_path / "marked"]), 200, place, 1)

    def brightness(points: torch.Tensor) -> float:
        grid = points[:, 0, :, None] / scenes.images.shape[-1] * 2 - 1
        return float(F.grid_sample(scenes.images.float(), grid, align_corners=False).mean())

    assert brightness(scenes.points) > brightness(scenes.points + torch.tensor([5.0, 3.0])) + 40


def test_the_faces_of_a_scene_are_all_known_but_only_clear_ones_are_asked_for(people) -> None:
    scenes = synthesise(people, 100, FINDING, 2)
    there = ~scenes.points.isnan().flatten(2).any(2)
    assert 0.7 < float(there[:, 0].float().mean()) < 0.9  # the others are empty
    assert (there.sum(1) >= 2).any()
    assert (scenes.sure.sum(1) >= 2).any()
    assert not (scenes.sure & ~there).any()
    assert (there & ~scenes.sure).any()
    size = face_size(scenes.points[scenes.sure])
    assert 13 < float(size.min()) < float(size.max()) < 70


def test_folders_must_hold_enough_people_of_enough_pixels(people: People, tmp_path) -> None:
    with pytest.raises(InputError, match="give a folder"):
        People([])
    with pytest.raises(InputError, match="higher resolution"):
        synthesise(people, 1, replace(FINDING, face=(300.0, 400.0)), 0)
    shutil.copytree(FIXTURES / "people", tmp_path / "few")
    index = json.loads((tmp_path / "few" / "index.json").read_text())
    index["recipe"]["count"] = 1
    (tmp_path / "few" / "index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="too few to train on"):
        People([tmp_path / "few"])


# ----------------------------------------------------------------------------------- training
def test_right_points_cost_nothing_and_empty_scenes_do_not_count() -> None:
    points = torch.rand(2, 5, 2) * 40 + 20
    there = points.clone()
    there[1] = math.nan
    each = points[:, None, None].expand(-1, 2, 2, -1, -1)
    weights = torch.full((2, 2, 2, 5), 0.25)
    right = refiner_losses(points, torch.tensor([20.0, -20.0]), each, weights, there)
    assert sum(map(float, right.values())) == pytest.approx(0, abs=1e-6)
    wrong = points + torch.tensor([[[0.0]], [[9.0]]])  # in the empty one
    assert float(refiner_losses(wrong, torch.zeros(2), each, weights, there)["points"]) < 1e-9

    places = points[:, None, None].expand(-1, 14, 14, -1, -1)
    size = (face_size(points) / landmarks.FINDER_SIZE).log().view(2, 1, 1).expand(-1, 14, 14)
    cold, sure = torch.full((2, 14, 14), -20.0), torch.tensor([[True], [False]])
    losses = finder_losses(cold, size, places, there[:, None], sure)
    assert float(losses["found"]) == pytest.approx(0, abs=1e-6)
    assert float(losses["size"]) == pytest.approx(0, abs=1e-6)
    assert float(losses["heat"]) > 0.1  # the face that is there was not seen


def test_each_face_is_asked_for_at_its_own_cells_and_unsure_ones_nowhere() -> None:
    face = torch.tensor([[-9.0, -9], [9, -9], [0, 0], [-7, 9], [7, 9]])
    points = torch.stack([face * 0.7 + 28, face + 84])[None]  # up left, down right
    places = points[:, 0, None, None].expand(-1, 14, 14, -1, -1).clone()
    places[:, 7:] = points[:, 1]
    size = (face_size(points) / landmarks.FINDER_SIZE).log()[:, :1, None].expand(-1, 14, 14).clone()
    size[:, 7:] = (face_size(points[:, 1]) / landmarks.FINDER_SIZE).log()
    both, one = torch.tensor([[True, True]]), torch.tensor([[True, False]])
    heat = torch.full((1, 14, 14), -20.0)
    right = finder_losses(heat, size, places, points, both)
    assert float(right["found"]) == pytest.approx(0, abs=1e-6)
    assert float(right["size"]) == pytest.approx(0, abs=1e-6)
    heat[:, 10, 10] = 20.0  # at the second face
    seen = float(finder_losses(heat, size, places, points, both)["heat"])
    assert seen < float(right["heat"])
    unsure = finder_losses(heat, size, places, points, one)["heat"]
    heat[:, 10, 10] = -20.0
    assert float(finder_losses(heat, size, places, points, one)["heat"]) == float(unsure)


def test_an_interrupted_training_continues_to_the_bit(
    people: People, held_out: People, tmp_path
) -> None:
    settings = LandmarkTraining(
        steps=4, finder_batch=4, refiner_batch=4, pool=8, reuse=1, checked=8, save_every=2
    )
    config = landmarks.LandmarkConfig((4, 4, 8, 8), (4, 4, 8, 8))

    def stop(step: int, total: int, preview: object) -> None:
        if step == 3:
            raise KeyboardInterrupt

    whole = train(people, held_out, tmp_path / "a", settings, config)
    with pytest.raises(KeyboardInterrupt):
        train(people, held_out, tmp_path / "b", settings, config, stop)
    resumed = train(people, held_out, tmp_path / "b", settings, config)
    states = [read_model(path, "landmarks")[1] for path in (whole, resumed)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    lines = [json.loads(line) for line in (tmp_path / "b" / "log.jsonl").read_text().splitlines()]
    assert "refiner_error" in lines[-1]
    model = landmarks.load_landmarks(str(resumed))
    assert model.config == config
    with pytest.raises(InputError, match="seed"):
        train(people, held_out, tmp_path / "b", replace(settings, seed=1), config)


def test_training_in_bfloat16_says_so_in_its_file(
    people: People, held_out: People, tmp_path
) -> None:
    settings = LandmarkTraining(
        steps=2, finder_batch=4, refiner_batch=4, pool=4, reuse=1, checked=8, bf16=True
    )
    config = landmarks.LandmarkConfig((4, 4, 8, 8), (4, 4, 8, 8))
    path = train(people, held_out, tmp_path, settings, config)
    _, state, metadata = read_model(path, "landmarks")
    assert metadata["command"].endswith("landmarks FOLDERS --steps 2 --seed 0 --bf16")
    assert all(value.isfinite().all() for value in state.values())
