"""An edited crop goes back into its photo."""

from __future__ import annotations

from pathlib import Path

import astronaut as photo
import pytest
import torch
from astronaut import POINTS, difference

from cycle_core.errors import (
    InputError,
    MismatchError,
)
from cycle_core.faces.frame import Frame, align, make_frame
from cycle_core.faces.paste import displacement, moved, paste
from cycle_core.images.io import Photo
from cycle_core.images.resize import resize

astronaut = photo.astronaut


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


# --- what an edit moved, recovered from two small pictures


@pytest.fixture
def picture() -> torch.Tensor:
    """Smooth random structure, [1,3,64,64]."""
    noise = torch.rand(1, 3, 14, 14, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return resize(noise, 64, "bicubic")


def middle(flow: torch.Tensor) -> torch.Tensor:
    return flow[..., 16:48, 16:48]


@pytest.mark.parametrize("shift", [(0.03, 0.0), (0.0, -0.06), (-0.05, 0.04)])
def test_a_shift_is_recovered(picture, shift):
    wanted = torch.tensor(shift).view(1, 2, 1, 1).expand(1, 2, 64, 64)
    flow = displacement(moved(picture, wanted), picture)
    assert (middle(flow) - middle(wanted)).norm(dim=1).mean() < 0.006  # 0.4 pixels


def test_a_shift_under_another_colour_is_recovered(picture):
    wanted = torch.tensor([0.04, 0.02]).view(1, 2, 1, 1).expand(1, 2, 64, 64)
    tinted = moved(picture, wanted) + torch.tensor([0.3, -0.2, 0.1]).view(1, 3, 1, 1)
    flow = displacement(tinted, picture)
    assert (middle(flow) - middle(wanted)).norm(dim=1).mean() < 0.006


def test_only_what_moved_is_displaced(picture):
    at = (torch.arange(64) + 0.5) / 64
    y, x = torch.meshgrid(at, at, indexing="ij")
    bump = torch.exp(-((x - 0.5) ** 2 + (y - 0.5) ** 2) / (2 * 0.08**2))
    flow = displacement(moved(picture, torch.stack([bump * 0.05, bump * 0])[None]), picture)
    assert flow[0, 0, 32, 32] == pytest.approx(0.05, abs=0.015)
    assert flow[..., :8, :].abs().max() < 0.004


def test_the_same_picture_does_not_move(picture):
    assert displacement(picture, picture).abs().max() == 0


def test_something_new_is_not_taken_for_motion(picture):
    edited = picture.clone()
    edited[..., 20:44, 20:44] = torch.where(edited[..., 20:44, 20:44] > 0, -0.9, 0.9)
    assert displacement(edited, picture).norm(dim=1).mean() < 0.01
