"""Versions of pictures beside their targets, with measures."""

from __future__ import annotations

import pytest
import torch

from cycle_core.errors import InputError
from cycle_core.measure.comparison import Judge, as_table, compare


@pytest.fixture(scope="module")
def judge():
    return Judge(embedded=False)


@pytest.fixture
def target():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_the_means_are_those_of_the_judge_over_all_pictures(judge, target):
    other = target.flip(-1)
    sheet, means = compare(target, {"same": target, "other": other}, judge, cell=64)
    assert sheet.shape[:2] == (1, 3)
    assert means["same"]["mse"] == 0.0
    each = [judge.compare(target[i : i + 1], other[i : i + 1])["mse"] for i in range(2)]
    assert means["other"]["mse"] == pytest.approx(sum(each) / 2)


def test_versions_of_one_target_are_measured_at_once_as_each_alone(judge, target):
    versions = torch.cat([target, target.flip(-1)])
    at_once = judge.compare_all(target[:1], versions)
    alone = [judge.compare(target[:1], versions[k : k + 1]) for k in range(4)]
    for both, one in zip(at_once, alone, strict=True):
        assert both == pytest.approx(one, abs=2e-5)


def test_one_picture_of_another_size_is_compared_with_all(judge, target):
    calls = []
    one = torch.zeros(1, 3, 50, 40)
    _, means = compare(target, {"grey": one}, judge, callback=lambda *call: calls.append(call))
    assert calls == [(1, 2, None), (2, 2, None)]
    assert means["grey"]["mse"] == pytest.approx(float(target.square().mean()), rel=1e-3)


def test_numbers_that_do_not_fit_are_refused(judge, target):
    with pytest.raises(InputError, match="3 pictures 'mine'"):
        compare(target, {"mine": torch.zeros(3, 3, 32, 32)}, judge)


def test_pictures_of_a_target_stand_in_as_many_columns_as_wanted(judge, target):
    versions = {"one": target, "two": target, "three": target.flip(-1)}
    wide, means = compare(target[:1], {k: x[:1] for k, x in versions.items()}, judge, cell=64)
    square, same = compare(
        target[:1], {k: x[:1] for k, x in versions.items()}, judge, cell=64, columns=2
    )
    assert same == means
    assert square.shape[3] < wide.shape[3]
    assert square.shape[2] > 1.5 * wide.shape[2]
    uneven, _ = compare(target, {k: versions[k] for k in ("one", "two")}, judge, 64, columns=2)
    assert uneven.shape[3] == square.shape[3]
    assert (uneven[:, :, -64:-32, -48:] > 0.9).all()  # paper, where there is no picture


def test_the_table_has_a_line_for_each_measure():
    table = as_table({"a": {"mse": 0.5, "lpips": 0.25}, "long name": {"mse": 1.0, "lpips": 0.0}})
    assert [line.split() for line in table.splitlines()] == [
        ["a", "long", "name"],
        ["mse", "0.5000", "1.0000"],
        ["lpips", "0.2500", "0.0000"],
    ]
    assert len({len(line) for line in table.splitlines()}) == 1
