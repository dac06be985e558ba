"""JSON from anybody: what does not have the shape that was asked for is refused at once."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest
import torch

from cycle_core.errors import CheckpointError, InputError
from cycle_core.faces.points import load_points
from cycle_core.files.disk import write_atomically, write_json
from cycle_core.files.json import JsonError, fits, parse_json, read_json
from cycle_core.training.loop import load_checkpoint

HOSTILE = {
    "deep lists": "[" * 100_000,
    "deep tables": '{"a":' * 100_000,
    "closed, deep": "[" * 1000 + "]" * 1000,
    "NaN": '{"a": NaN}',
    "infinity": '{"a": -Infinity}',
    "too large a float": '{"a": 1e999}',
    "digits": '{"a": ' + "9" * 5000 + "}",
    "a key twice": '{"a": 1, "a": 2}',
    "no table": "[1]",
    "half": '{"a": 1',
    "nothing": "",
    "many values": "[" + "0," * 3_000_000 + "0]",
    "quotes without end": '"' + '\\"' * 500_000,
    "backslashes": '"\\"' * 500_000 + "\\",
    "surrogates": '{"a": "\\ud800"}x',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hostile_is_refused_quickly(name):
    before = time.process_time()
    with pytest.raises(JsonError):
        parse_json(HOSTILE[name])
    assert time.process_time() - before < 2


def test_a_pipe_a_device_and_a_large_file_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    with open(tmp_path / "large.json", "wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe{}")
    (tmp_path / "folder.json").mkdir()
    for path in tmp_path.iterdir():
        with pytest.raises(InputError, match=path.name):
            read_json(path)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("value", "schema", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": int}, True),
        ({"b": 2}, {"a": int}, False),
        ({"b": 2}, {"a?": int}, True),
        ({"a": "x"}, {"a?": int}, False),
        ({"a": True}, {"a": int}, False),
        ({"a": 1}, {"a": float}, True),
        ({"a": None}, {"a": (int, None)}, True),
        ([1, 2], [int], True),
        ([1, "x"], [int], False),
        ({"x": [1]}, {str: [int]}, True),
        ([], {}, False),
    ],
)
def test_shapes(value, schema, expected):
    assert fits(value, schema) is expected


def test_what_is_written_is_read_again_whatever_the_names(tmp_path):
    value = {"é": ["头", "a\x1b[2J"], "n": 0.1, "none": None}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == value


def test_eight_threads_write_with_the_rights_that_the_process_gives(tmp_path):
    before = os.umask(0o027)
    try:

        def work(i: int) -> None:
            for k in range(20):
                write_atomically(tmp_path / f"{i}-{k}", lambda path: path.write_text("x"))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    files = list(tmp_path.iterdir())
    assert len(files) == 160
    assert {Path(path).stat().st_mode & 0o777 for path in files} == {0o640}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", "[" * 100_000),
        ("a.json", json.dumps([[10**400, 0]] * 5)),
        ("a.json", "[[1e999, 0]]"),
        ("a.json", json.dumps({"\x1b[2J": 5})),
        ("a.txt", "1" * 60 + "x"),
        ("a.txt", "photo " + "1" * 200_000 + "x"),
        ("a.txt", "photo " + "1 " * 9),
    ],
)
def test_a_file_of_points_that_holds_something_else_is_refused_quickly(name, content, tmp_path):
    (tmp_path / name).write_text(content)
    started = time.process_time()
    with pytest.raises(InputError):
        load_points(str(tmp_path / name))
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    "state",
    [
        [1],
        {"settings": 5},
        {"settings": {"x": torch.zeros(1)}},
        {"settings": {}, "step": "1"},
        {"settings": {}, "digest": 5},
    ],
)
def test_a_checkpoint_of_a_run_that_holds_something_else_is_told(state, tmp_path):
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="delete it to start the run anew"):
        load_checkpoint(tmp_path)
