"""Versions of pictures beside their targets, with measures."""

from __future__ import annotations

import pytest
import torch

from cycle_core.errors import InputError
from cycle_core.measure.comparison import as_table, compare
from cycle_core.measure.judge import Judge


@pytest.fixture(scope="module")
def judge():
    return Judge(domain=False)


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


def test_one_picture_of_another_size_is_compared_with_all(judge, target):
    calls = []
    one = torch.zeros(1, 3, 50, 40)
    _, means = compare(target, {"grey": one}, judge, callback=lambda *call: calls.append(call))
    assert calls == [(1, 2, None), (2, 2, None)]
    assert means["grey"]["mse"] == pytest.approx(float(target.square().mean()), rel=1e-3)


def test_numbers_that_do_not_fit_are_refused(judge, target):
    with pytest.raises(InputError, match="3 pictures 'mine'"):
        compare(target, {"mine": torch.zeros(3, 3, 32, 32)}, judge)


def test_the_table_has_a_line_for_each_name():
    table = as_table({"a": {"mse": 0.5, "lpips": 0.25}, "long name": {"mse": 1.0, "lpips": 0.0}})
    assert [line.split() for line in table.splitlines()] == [
        ["mse", "lpips"],
        ["a", "0.5000", "0.2500"],
        ["long", "name", "1.0000", "0.0000"],
    ]
