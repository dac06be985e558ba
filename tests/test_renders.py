"""The table of factors, and folders of rendered people."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from people_data import FOLDER, TABLE, replace, write

from cycle_core.errors import CheckpointError, InputError, MissingFileError
from cycle_core.models.factors import FactorTable
from cycle_core.training.data import open_all, open_pictures
from people.factors import FACTORS, gaussian_to_factors
from people.training.renders import HELD_OUT, Renders


def median(count: int = 1) -> torch.Tensor:
    return torch.tensor([f.low if f.absent else f.default for f in TABLE.factors]).repeat(count, 1)


def test_samples_depend_on_the_seed_alone_and_stay_inside_the_ranges():
    f = TABLE.sample(4000, 0)
    assert torch.equal(f, TABLE.sample(4000, 0))
    assert not torch.equal(f[:8], TABLE.sample(8, 4))
    low, high = torch.tensor([[x.low, x.high] for x in TABLE.factors]).T
    assert (f >= low).all()
    assert (f <= high).all()


def test_the_renderer_and_the_library_read_one_table():
    assert [f.name for f in FACTORS] == list(TABLE.names)
    codes = torch.randn(50, len(TABLE), generator=torch.Generator().manual_seed(1))
    rendered = torch.from_numpy(gaussian_to_factors(codes.numpy()))
    torch.testing.assert_close(TABLE.to_factors(codes), rendered, atol=1e-4, rtol=0)


def test_the_origin_of_the_code_is_the_median_person():
    plain = [i for i, f in enumerate(TABLE.factors) if not f.absent]
    middle = TABLE.to_factors(torch.zeros(1, len(TABLE)))
    assert torch.allclose(middle[:, plain], median()[:, plain], atol=1e-5)


def test_every_factor_rises_with_its_own_coordinate_and_with_no_other():
    n = torch.randn(1, len(TABLE), generator=torch.Generator().manual_seed(5))
    for i, name in enumerate(TABLE.names):
        sweep = n.repeat(9, 1)
        sweep[:, i] = torch.linspace(-2, 2, 9)
        f = TABLE.to_factors(sweep)
        assert (f[1:, i] >= f[:-1, i]).all(), name
        assert f[-1, i] > f[0, i], name
        others = torch.arange(len(TABLE)) != i
        assert torch.equal(f[:, others], f[:1, others].expand(9, -1)), name


def test_factors_survive_the_way_through_z():
    f = TABLE.sample(500, 1)
    assert torch.allclose(TABLE.from_z(TABLE.to_z(f)), f, atol=1e-4)


def test_z_of_sampled_factors_is_standard_gaussian():
    z = TABLE.to_z(TABLE.sample(20000, 2), torch.Generator().manual_seed(1))
    assert z.mean(0).abs().max() < 0.05
    assert (torch.cov(z.T) - torch.eye(len(TABLE))).abs().max() < 0.06


def test_the_rotation_is_orthogonal_and_spreads_each_factor():
    q = TABLE.rotation(torch.zeros(1))
    assert torch.allclose(q @ q.T, torch.eye(len(TABLE)), atol=1e-5)
    assert q.abs().max() < 0.9


def test_codes_of_absent_factors_are_drawn_from_the_absent_part():
    bare = replace(median(300), glasses=0.0)
    codes = TABLE.to_gaussian(bare, torch.Generator().manual_seed(7))
    at = TABLE.index("glasses")
    assert codes[:, at].std() > 0.3
    assert (TABLE.to_factors(codes)[:, at] == 0).all()


def test_an_unknown_factor_a_wrong_shape_and_another_table_are_refused():
    with pytest.raises(InputError, match="moustache"):
        TABLE.index("moustache")
    with pytest.raises(InputError, match=str(len(TABLE))):
        TABLE.to_factors(torch.zeros(2, 7))
    with pytest.raises(InputError, match="not a table of factors"):
        FactorTable.of([{"name": "smile"}])
    with pytest.raises(InputError, match="a range that is empty"):
        FactorTable.of([{**TABLE.rows()[0], "low": 1.0, "high": 1.0}])


# ------------------------------------------------------------------ folders
def test_a_batch_has_the_documented_ranges_and_is_averaged_to_a_smaller_size():
    whole, half = Renders(FOLDER), Renders(FOLDER, 64)
    a, b = whole.batch([1, 0]), half.batch([1, 0])
    assert -1 <= a.images.min() < a.images.max() <= 1
    assert a.masks.unique().tolist() == [0, 1]
    averaged = torch.nn.functional.avg_pool2d(a.images, 2)
    torch.testing.assert_close(b.images, averaged, atol=1e-5, rtol=0)
    assert torch.equal(b.points, a.points / 2)
    assert torch.equal(whole.factors()[[1, 0]], a.factors)
    with pytest.raises(InputError, match="do not divide into 48"):
        Renders(FOLDER, 48)


def test_a_folder_is_read_while_it_grows(tmp_path):
    data = write(tmp_path, 10, 4, {"images": torch.zeros(10, 3, 2, 2, dtype=torch.uint8)})
    assert len(data) == 10
    (tmp_path / "00001-images.npy").rename(tmp_path / "later")
    data = Renders(tmp_path)
    assert len(data) == 4  # what lies behind a gap is not ready
    (tmp_path / "later").rename(tmp_path / "00001-images.npy")
    assert data.refresh() == 10


def test_the_first_ones_never_train(tmp_path):
    count = HELD_OUT + 50
    data = write(tmp_path, count, count, {"images": torch.zeros(count, 3, 1, 1, dtype=torch.uint8)})
    assert data.held_out.tolist() == list(range(HELD_OUT))
    assert data.train.tolist() == list(range(HELD_OUT, count))


def test_a_folder_without_people_and_a_damaged_index_are_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"index\.json"):
        Renders(tmp_path)
    index = json.loads((FOLDER / "index.json").read_text())
    index["factors"][3]["spread"] = 0
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="not an index of renders"):
        Renders(tmp_path)


def test_an_index_beyond_what_is_ready_is_refused():
    with pytest.raises(InputError, match="expected 0 to"):
        Renders(FOLDER).batch(np.array([1000]))


def test_an_encoder_trains_on_renders_as_on_any_pictures(tmp_path):
    count = HELD_OUT + 20
    images = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8)
    data = write(tmp_path, count, 100, {"images": images})
    train, held_out = open_pictures(tmp_path, 4)
    assert (len(train), len(held_out)) == (20, HELD_OUT)
    assert train.digest == data.digest[:16]
    small = Renders(tmp_path, 4).batch([HELD_OUT + 3, HELD_OUT + 1]).images
    assert torch.equal(train[torch.tensor([3, 1])], small)
    with pytest.raises(InputError, match="no labels"):
        open_all(tmp_path, 4, cond=True)
