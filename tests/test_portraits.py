"""The portrait domain: factors, renderer, data set."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from cycle_core.errors import InputError, MismatchError, MissingFileError
from cycle_core.portraits.dataset import Recipe, write_portraits
from cycle_core.portraits.factors import (
    COUNT,
    FACTORS,
    NAMES,
    TABLE,
    WIDE_YAW,
    Z_DIM,
    defaults,
    factors_to_gaussian,
    factors_to_z,
    gaussian_to_factors,
    index,
    replace,
    rotation,
    sample_factors,
    sample_wide,
    z_to_factors,
)
from cycle_core.portraits.renderer import Extras, ffhq_frame, points_of, render
from cycle_core.training.renders import HELD_OUT, Renders

# --------------------------------------------------------------------------------------- factors


def test_samples_depend_on_the_seed_alone():
    assert torch.equal(sample_factors(8, 3), sample_factors(8, 3))
    assert not torch.equal(sample_factors(8, 3), sample_factors(8, 4))


def test_samples_stay_inside_the_ranges_of_the_table():
    f = sample_factors(4000, 0)
    low, high = torch.tensor([[x.low, x.high] for x in FACTORS]).T
    assert (f >= low).all()
    assert (f <= high).all()


def test_the_origin_of_the_code_is_the_default_portrait():
    assert torch.allclose(gaussian_to_factors(torch.zeros(1, COUNT)), defaults(), atol=1e-5)


def test_every_factor_rises_with_its_own_coordinate_and_with_no_other():
    n = torch.randn(1, COUNT, generator=torch.Generator().manual_seed(5))
    for i, name in enumerate(NAMES):
        sweep = n.repeat(9, 1)
        sweep[:, i] = torch.linspace(-2, 2, 9)
        f = gaussian_to_factors(sweep)
        assert (f[1:, i] >= f[:-1, i]).all(), name
        assert f[-1, i] > f[0, i], name
        others = torch.arange(COUNT) != i
        assert torch.equal(f[:, others], f[:1, others].expand(9, -1)), name


def test_factors_survive_the_way_through_z():
    f = sample_factors(500, 1)
    z = factors_to_z(f)
    assert z.shape == (500, Z_DIM)
    assert torch.allclose(z_to_factors(z), f, atol=1e-4)


def test_z_of_sampled_factors_is_standard_gaussian():
    z = factors_to_z(sample_factors(20000, 2), torch.Generator().manual_seed(1))
    assert z.mean(0).abs().max() < 0.05
    covariance = torch.cov(z.T)
    assert (covariance - torch.eye(Z_DIM)).abs().max() < 0.06


def test_the_rotation_is_orthogonal_and_spreads_each_factor():
    q = rotation(torch.zeros(1))
    assert torch.allclose(q @ q.T, torch.eye(COUNT), atol=1e-5)
    assert q.abs().max() < 0.9


def test_codes_of_absent_factors_are_drawn_from_the_absent_part():
    bare = replace(defaults(300), glasses=0.0)
    g = torch.Generator().manual_seed(7)
    n = factors_to_gaussian(bare, g)[:, index("glasses")]
    assert n.std() > 0.3
    assert torch.equal(gaussian_to_factors(factors_to_gaussian(bare)), gaussian_to_factors(
        factors_to_gaussian(bare)))  # fmt: skip
    assert (gaussian_to_factors(factors_to_gaussian(bare))[:, index("glasses")] == 0).all()


def test_about_half_wear_glasses_and_half_open_the_mouth():
    f = sample_factors(4000, 6)
    assert 0.40 < (f[:, index("glasses")] > 0).float().mean() < 0.50
    assert 0.45 < (f[:, index("mouth_open")] > 0).float().mean() < 0.55


def test_wide_samples_turn_to_one_radian():
    yaw = sample_wide(2000, 0)[:, index("yaw")]
    assert WIDE_YAW - 0.05 < yaw.max() <= WIDE_YAW
    assert -WIDE_YAW <= yaw.min() < -WIDE_YAW + 0.05


def test_wide_mouths_are_as_wide_and_noses_as_low_as_in_photographs():
    """A mouth 0.87 and a nose 0.59 times as far as the mouth is from the eyes."""
    f = replace(sample_wide(400, 1), yaw=0.0, pitch=0.0)
    p = points_of(f)
    height = p[:, 3:, 1].mean(1) - p[:, :2, 1].mean(1)
    width = (p[:, 4, 0] - p[:, 3, 0]) / height
    nose = (p[:, 2, 1] - p[:, 0, 1]) / height
    assert width.mean() == pytest.approx(0.87, abs=0.06)
    assert nose.mean() == pytest.approx(0.59, abs=0.04)


def test_an_unknown_factor_and_a_wrong_shape_are_refused():
    with pytest.raises(InputError, match="moustache"):
        index("moustache")
    with pytest.raises(InputError, match=str(COUNT)):
        gaussian_to_factors(torch.zeros(2, 7))
    with pytest.raises(InputError, match="sample_factors"):
        render(torch.zeros(2, 7))


# -------------------------------------------------------------------------------------- renderer


@pytest.fixture(scope="module")
def portraits():
    factors = sample_factors(6, 21)
    return factors, render(factors, 64)


def test_a_render_has_the_documented_shapes_and_ranges(portraits):
    _, r = portraits
    assert r.image.shape == (6, 3, 64, 64)
    assert r.points.shape == (6, 5, 2)
    assert r.mask.shape == r.head.shape == (6, 1, 64, 64)
    assert r.image.dtype == torch.float32
    assert r.image.min() >= -1
    assert r.image.max() <= 1
    assert torch.isfinite(r.image).all()


def test_a_portrait_does_not_depend_on_its_neighbours(portraits):
    factors, r = portraits
    alone = render(factors[2:3], 64)
    assert torch.allclose(alone.image, r.image[2:3], atol=2e-3)
    assert torch.allclose(alone.points, r.points[2:3], atol=1e-3)


def test_every_factor_changes_the_picture_visibly():
    low, high = [], []
    for f in FACTORS:
        low.append(replace(defaults(), **{f.name: f.low}))
        high.append(replace(defaults(), **{f.name: f.high}))
    a = render(torch.cat(low), 32, supersample=1).image
    b = render(torch.cat(high), 32, supersample=1).image
    # Small features count where they are: the 10 pixels that change most, of 1024.
    change = (a - b).abs().mean(1).flatten(1).topk(10).values.mean(1)
    weak = {n: round(c.item(), 3) for n, c in zip(NAMES, change, strict=True) if c < 0.08}
    assert not weak


def test_glasses_are_opaque_and_grow_monotonously():
    values = (0.0, 0.1, 0.4, 0.7, 1.0)
    f = torch.cat([replace(defaults(), glasses=v) for v in values])
    images = render(f, 64).image
    eyes = images[:, :, 20:36, 8:56].mean((1, 2, 3))
    assert (eyes[1:] < eyes[:-1]).all()
    assert images[1, :, 20:36, 8:56].amin() < images[0, :, 16:40, 8:14].amin() + 0.2


def test_the_eyes_lie_at_their_points():
    # Closing the eyes changes the picture around the two eye points and hardly anywhere else.
    f = replace(sample_factors(3, 4), glasses=0.0, yaw=torch.linspace(-1, 1, 3))
    wide, shut = (render(replace(f, eyes_open=v), 64) for v in (1.0, 0.1))
    change = (wide.image - shut.image).abs().sum(1)
    for i in range(3):
        assert _near(change[i], wide.points[i, :2], radius=9) > 0.9


def test_the_mouth_lies_between_its_points():
    f = replace(sample_factors(3, 4), beard=0.0, glasses=0.0)
    red, pale = (render(replace(f, lip_red=v), 64) for v in (1.0, 0.0))
    change = (red.image - pale.image).abs().sum(1)
    for i in range(3):
        left, right = red.points[i, 3], red.points[i, 4]
        columns = change[i].sum(0)
        inside = columns[int(left[0]) - 2 : int(right[0]) + 3].sum() / columns.sum()
        assert inside > 0.95


def test_the_points_are_in_the_order_of_the_image(portraits):
    _, r = portraits
    left_eye, right_eye, nose, left_mouth, right_mouth = r.points.unbind(1)
    assert (left_eye[:, 0] < right_eye[:, 0]).all()
    assert (left_mouth[:, 0] < right_mouth[:, 0]).all()
    assert (nose[:, 1] > left_eye[:, 1]).all()
    assert (left_mouth[:, 1] > nose[:, 1]).all()


def test_aligning_an_aligned_render_changes_nothing(portraits):
    _, r = portraits
    centre, axis = ffhq_frame(r.points)
    assert torch.allclose(centre, torch.full_like(centre, 32.0), atol=0.01)
    assert torch.allclose(axis, axis.new_tensor([32.0, 0.0]).expand_as(axis), atol=0.01)


def test_the_common_template_is_an_aligned_face():
    template = torch.tensor(
        [[[192.98, 239.95], [318.90, 240.19], [256.63, 314.02], [201.26, 371.41], [313.09, 371.15]]]
    )
    centre, axis = ffhq_frame(template)
    assert torch.allclose(centre, torch.full_like(centre, 256.0), atol=1.5)
    assert torch.allclose(axis, torch.tensor([[256.0, 0.0]]), atol=1.5)


def test_the_scene_camera_keeps_still_when_the_head_turns():
    f = replace(defaults(2), yaw=torch.tensor([0.0, WIDE_YAW]), bg_light=0.9)
    r = render(f, 32, aligned=False)
    # The lower corners show the shoulders, which do not turn.
    assert (r.image[0, :, -2:, 8:24] - r.image[1, :, -2:, 8:24]).abs().mean() < 0.1
    assert (r.points >= 0).all()
    assert (r.points <= 32).all()


def test_the_mask_covers_the_face_and_not_the_hair_or_the_corners(portraits):
    _, r = portraits
    assert ((r.mask >= 0) & (r.mask <= 1)).all()
    assert (r.head - r.mask).min() > -1e-4
    for i in range(6):
        for x, y in r.points[i].long().tolist():
            assert r.mask[i, 0, y, x] > 0.9
    share = r.mask.mean((1, 2, 3))
    assert (share > 0.10).all()
    assert (share < 0.50).all()


def test_an_extra_nose_stands_out_from_a_turned_head():
    f = replace(defaults(), yaw=1.0)
    plain, out = (render(f, 32, extras=Extras(nose=v)).points[0] for v in (0.0, 1.0))
    assert out[2, 0] - plain[2, 0] > 1.0
    assert torch.allclose(out[3:], plain[3:], atol=0.3)


def test_hair_colour_changes_outside_the_face_mask():
    f = replace(defaults(), brow_thick=-1.0, beard=0.0)
    dark, light = (render(replace(f, hair_color=v), 32) for v in (0.0, 1.0))
    change = (dark.image - light.image).abs().sum(1, keepdim=True)
    on_face = (change * (dark.mask > 0.99)).sum() / change.sum()
    assert on_face < 0.15


def test_extras_change_only_what_they_are_given_for():
    f = defaults()
    plain = render(f, 32).image
    assert torch.equal(plain, render(f, 32, extras=Extras()).image)
    for name in ("hat", "paint", "moles", "pattern", "light"):
        assert (render(f, 32, extras=Extras(**{name: 1.0})).image - plain).abs().mean() > 1e-3, name


def test_the_domain_cannot_sample_an_extra():
    assert not set(Extras.__dataclass_fields__) & set(NAMES)


def test_extras_of_a_wrong_length_are_refused():
    with pytest.raises(InputError, match="hat"):
        render(defaults(2), 32, extras=Extras(hat=torch.ones(3)))


# -------------------------------------------------------------------------------------- data set


def _recipe(**changes) -> Recipe:
    return Recipe(**{"count": 10, "resolution": 16, "seed": 3, "shard": 4, **changes})


def test_a_data_set_gives_back_what_was_rendered(tmp_path):
    write_portraits(tmp_path, _recipe())
    data = Renders(tmp_path)
    assert len(data) == 10
    images, factors, points, masks = data.batch([9, 0, 5])
    again = render(factors, 16)
    assert (images - again.image).abs().max() < 0.02
    assert torch.allclose(points, again.points, atol=1e-3)
    assert torch.equal(masks, (again.mask > 0.998).float())
    assert torch.equal(data.factors()[[9, 0, 5]], factors)


def test_rendering_resumes_where_it_was_stopped(tmp_path):
    write_portraits(tmp_path, _recipe())
    images = tmp_path / "00001-images.npy"
    before = images.read_bytes()
    images.unlink()
    (tmp_path / "00001-images.123.part").write_bytes(b"half a file")
    assert len(Renders(tmp_path)) == 4
    assert write_portraits(tmp_path, _recipe()) == 1
    assert images.read_bytes() == before
    assert len(Renders(tmp_path)) == 10


def test_two_workers_share_the_shards(tmp_path):
    assert write_portraits(tmp_path, _recipe(), worker=0, workers=2) == 2
    data = Renders(tmp_path)
    assert len(data) == 4  # the shard in between is still missing
    assert write_portraits(tmp_path, _recipe(), worker=1, workers=2) == 1
    assert data.refresh() == 10


def test_no_unfinished_file_stays_behind(tmp_path):
    write_portraits(tmp_path, _recipe(count=4))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "00000-factors.npy", "00000-images.npy", "00000-masks.npy", "00000-points.npy", "index.json"
    ]  # fmt: skip


def test_a_longer_data_set_begins_with_the_shorter_one(tmp_path):
    write_portraits(tmp_path / "a", _recipe(count=3))
    write_portraits(tmp_path / "b", _recipe(count=4))
    a, b = Renders(tmp_path / "a"), Renders(tmp_path / "b")
    assert torch.equal(a.factors(), b.factors()[:3])


def test_the_first_ones_never_train(tmp_path):
    recipe = {"count": HELD_OUT + 50, "resolution": 1, "shard": HELD_OUT + 50}
    index = {"recipe": recipe, "factors": TABLE.rows()}
    tmp_path.joinpath("index.json").write_text(json.dumps(index))
    np.save(tmp_path / "00000-images.npy", np.zeros((HELD_OUT + 50, 3, 1, 1), np.uint8))
    data = Renders(tmp_path)
    assert data.held_out.tolist() == list(range(HELD_OUT))
    assert data.train.tolist() == list(range(HELD_OUT, HELD_OUT + 50))


def test_a_folder_of_other_portraits_is_refused(tmp_path):
    write_portraits(tmp_path, _recipe(count=1, shard=1))
    with pytest.raises(MismatchError, match="choose another folder"):
        write_portraits(tmp_path, _recipe(count=1, shard=1, seed=4))


def test_a_folder_without_portraits_is_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"index\.json"):
        Renders(tmp_path)


def test_an_index_beyond_what_is_ready_is_refused(tmp_path):
    write_portraits(tmp_path, _recipe(count=1, shard=1))
    with pytest.raises(InputError, match="expected 0 to 0"):
        Renders(tmp_path).batch([1])


def _near(change: torch.Tensor, points: torch.Tensor, radius: float) -> float:
    """Share of a change map [R,R] within `radius` pixels of any of the points [K,2]."""
    r = len(change)
    v, u = torch.meshgrid(torch.arange(r) + 0.5, torch.arange(r) + 0.5, indexing="ij")
    near = torch.zeros(r, r, dtype=torch.bool)
    for x, y in points.tolist():
        near |= (u - x) ** 2 + (v - y) ** 2 < radius**2
    return (change[near].sum() / change.sum()).item()
