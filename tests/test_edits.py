"""Edits as one writes them."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from cycle_core.checkpoints.registry import load_generator
from cycle_core.directions.files import load_direction
from cycle_core.directions.text import (
    Change,
    Edit,
    apply_edit,
    check_edit,
    check_names,
    names_in,
    parse_edit,
    parse_numbers,
)
from cycle_core.errors import InputError
from cycle_core.invert.sampling import sample


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


def test_a_long_edit_has_a_name_that_a_disk_takes_and_no_other_edit_has():
    names = [parse_edit(",".join(["smile=1"] * 60 + [last])).name for last in ("age=1", "age=2")]

    assert names[0] != names[1]
    assert max(len(name.encode()) for name in names) <= 160


def test_two_edits_of_one_name_are_refused():
    edits = [parse_edit("a/smile.pt=1"), parse_edit("b/smile.pt=1")]
    with pytest.raises(InputError, match="would both be written as smile"):
        check_names((str(edit), edit.name) for edit in edits)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("smile=1,layers=99", "99"),
        ("smile=1,keep=smile", "Nothing of the direction"),
    ],
)
def test_an_edit_that_cannot_be_followed_is_told_before_there_is_a_code(text: str, told: str):
    with pytest.raises(InputError, match=told):
        check_edit(parse_edit(text), load_generator("portraits"))


def test_an_edit_that_leaves_all_numbers_is_told_before_there_is_a_code(tmp_path):
    np.save(tmp_path / "far.npy", np.full(128, 3e38, np.float32))
    with pytest.raises(InputError, match="beyond all numbers"):
        check_edit(parse_edit(f"{tmp_path}/far.npy=2"), load_generator("portraits"))


@pytest.mark.parametrize(
    "strength", ["1e9", "-1001", "1e39", "1e999", "9" * 5000, "0." + "9" * 400 + "e500"]
)
def test_a_strength_that_leads_beyond_every_picture_is_refused_in_one_sentence(strength: str):
    for text in (f"smile={strength}", f"smile:={strength},keep=age"):
        with pytest.raises(InputError, match="from -1000 to 1000") as told:
            parse_edit(text)
        assert len(str(told.value)) < 200
    with pytest.raises(InputError):
        parse_numbers(f"-1, {strength}")


# ------------------------------------------------------------------ paths
@pytest.mark.parametrize(
    "name",
    [
        "a,b.pt",
        "a=b.pt",
        "a:b.npy",
        "C:\\models\\smile.pt",
        "a=2,b.pt",  # a change, unless there is such a file
        "strength=1,smile.safetensors:smile",
        "my,folder/pca.npz:3",
        "a:=1.pt",
    ],
)
def test_commas_colons_and_equals_signs_in_a_path_are_of_the_path(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name.startswith(("a=2", "strength")):
        (tmp_path / name.removesuffix(":smile")).touch()
    edit = parse_edit(f"yaw=-1,{name}=+2,keep=glasses,{name}:=0.5")
    assert edit.changes == (
        Change("yaw", -1.0),
        Change(name, 2.0, keep=("glasses",)),
        Change(name, 0.5, to=True),
    )
    assert parse_edit(str(edit)) == edit


def test_a_kept_file_may_hold_a_comma_and_a_plus(tmp_path):
    for name in ("one,two.pt", "one+two.pt"):
        (tmp_path / name).touch()
        edit = parse_edit(f"age=1,keep={tmp_path / name},smile=2")
        assert edit.changes == (
            Change("age", 1.0, keep=(str(tmp_path / name),)),
            Change("smile", 2.0),
        )


def test_a_path_with_all_the_signs_is_opened(tmp_path):
    folder = tmp_path / "a,b=c:d"
    folder.mkdir()
    np.save(folder / "smile:=1,2.npy", np.eye(128, dtype=np.float32)[0])
    G = load_generator("portraits")
    code = sample(G, 1)
    moved = apply_edit(code, parse_edit(f"{folder}/smile:=1,2.npy=3"), G)
    assert torch.allclose(moved.w - code.w, 3 * torch.eye(128)[0].expand_as(code.w), atol=1e-5)


def test_an_edit_of_a_megabyte_is_refused_at_once():
    with pytest.raises(InputError, match="too long"):
        parse_edit("a.pt+" * 200_000)
    for text in ("a.pt+" * 1999, "a=b.pt:c" * 1200, ",.pt" * 2499, "keep=" + "a.pt:" * 1900):
        began = time.monotonic()
        with pytest.raises(InputError):
            parse_edit(text)
        assert time.monotonic() - began < 2


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


def test_directions_that_are_open_already_are_taken_by_their_names():
    G = load_generator("portraits")
    code, smile = sample(G, 1, 7), load_direction("smile")
    moved = apply_edit(code, parse_edit("mine=2,keep=age"), G, {"mine": smile})
    expected = apply_edit(code, parse_edit("smile=2,keep=age"), G)
    assert torch.equal(moved.w, expected.w)
    assert names_in(parse_edit("mine=2,keep=age,age=1")) == ["mine", "age"]
