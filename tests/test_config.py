"""`--config`: options that a file holds, and the files of benchmarks/configs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import refused

from cycle_core.cli import main, parser
from cycle_core.commands.options import with_config

CONFIGS = sorted((Path(__file__).parents[1] / "benchmarks" / "configs").glob("*.json"))


def test_options_stand_in_the_place_of_the_file_and_later_ones_win(tmp_path):
    file = tmp_path / "small.json"
    file.write_text(json.dumps(
        {"tuned": 3, "quick": True, "questions": False, "methods": ["cycle", "e4e"]}
    ))  # fmt: skip
    argv = with_config(["bench", f"--config={file}", "--tuned", "5"])
    assert argv == [
        "bench", "--tuned", "3", "--quick", "--methods", "cycle", "e4e", "--tuned", "5",
    ]  # fmt: skip
    parsed = parser().parse_args(argv)
    assert (parsed.tuned, parsed.quick, parsed.methods) == (5, True, ["cycle", "e4e"])
    assert not parsed.questions


def test_half_of_an_option_is_not_taken_for_it(capsys):
    assert "unrecognized arguments: --conf" in refused(capsys, "bench", "--conf", "x.json")


def test_a_command_takes_what_a_file_holds(tmp_path, capsys):
    (tmp_path / "ask.json").write_text('{"questions": true}')
    assert main(["bench", "--config", str(tmp_path / "ask.json")]) == 0
    assert "nearer pivot" in capsys.readouterr().out


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_files_of_this_project_are_options_of_their_command(path):
    command = ["bench"] if "photos" in json.loads(path.read_text()) else ["train", "encoder"]
    parsed = parser().parse_args(with_config([*command, "--config", str(path)]))
    assert parsed.device == "cuda"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "does not hold what this program writes there"),
        ('{"tuned": {}}', "it holds something else"),
        ('{"tuned": null}', "it holds something else"),
        ('{"config": "other.json"}', "names another configuration"),
    ],
)
def test_a_file_that_holds_no_options_is_refused(text, sentence, tmp_path, capsys):
    (tmp_path / "bad.json").write_text(text)
    assert sentence in refused(capsys, "bench", "--config", tmp_path / "bad.json")


def test_a_file_that_is_not_there_and_an_unknown_option_are_named(tmp_path, capsys):
    assert "There is no file" in refused(capsys, "bench", "--config", tmp_path / "none.json")
    assert "--config needs the name" in refused(capsys, "train", "encoder", "--config")
    (tmp_path / "odd.json").write_text('{"magic": 1}')
    assert "--magic" in refused(capsys, "bench", "--config", tmp_path / "odd.json")
