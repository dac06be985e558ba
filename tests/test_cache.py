"""Models that are shared while they are in use."""

from __future__ import annotations

import gc
import os

import pytest

from cycle_core.runtime.cache import shared, stamp


class Model:
    pass


def test_what_is_in_use_is_made_once():
    first = shared("a", Model)
    assert shared("a", Model) is first
    assert shared("b", Model) is not first


def test_what_nobody_holds_is_made_again():
    made = []

    def make():
        made.append(1)
        return Model()

    shared("c", make)
    gc.collect()
    shared("c", make)
    assert len(made) == 2


def test_a_failure_is_not_remembered():
    def fail():
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - raised two lines above
        shared("d", fail)
    assert isinstance(shared("d", Model), Model)


def test_a_stamp_changes_with_the_file(tmp_path):
    path = tmp_path / "model.pt"
    none = stamp(path)
    path.write_bytes(b"1")
    one = stamp(path)
    os.utime(path, ns=(1, 1))
    assert len({none, one, stamp(path)}) == 3
    assert stamp(path) == stamp(path)
