"""Edits as one writes them."""

from __future__ import annotations

import pytest

from cycle_core.edits import Change, Edit, parse_edit
from cycle_core.errors import InputError


def test_a_strength_moves_by_and_a_value_goes_to():
    assert parse_edit("smile=2") == Edit((Change("smile", 2.0),))
    assert parse_edit("smile:=0") == Edit((Change("smile", 0.0, to=True),))


def test_options_belong_to_the_change_before_them():
    edit = parse_edit("age=+1,keep=glasses+smile,layers=0-2+5,yaw=-0.5")

    assert edit.changes == (
        Change("age", 1.0, keep=("glasses", "smile"), layers=(0, 1, 2, 5)),
        Change("yaw", -0.5),
    )


@pytest.mark.parametrize(
    "text", ["smile=+2", "smile:=0,yaw=-1,keep=age+glasses,layers=0-3+8", "age=+1.23456789"]
)
def test_an_edit_writes_itself_as_it_is_read(text: str):
    assert str(parse_edit(text)) == text


def test_the_file_name_tells_the_edit_and_holds_no_path():
    assert parse_edit("smile=2").name == "smile+2"
    assert parse_edit("age:=-1,keep=glasses").name == "age_to_-1_keep_glasses"
    assert parse_edit("/home/me/my smile.pt=2").name == "my-smile+2"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("smile", "NAME=STRENGTH"),
        ("=2", "NAME=STRENGTH"),
        ("smile=", "NAME=STRENGTH"),
        ("smile=1,", "NAME=STRENGTH"),
        ("smile=much", "'much' is not a number"),
        ("smile=nan", "'nan' is not a number"),
        ("keep=glasses", "no change before"),
        ("age=1,layers=5-2", "'5-2' cannot be read"),
        ("age=1,keep=+", "NAME=STRENGTH"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_sentence(text: str, told: str):
    with pytest.raises(InputError, match=told):
        parse_edit(text)
