"""Folders of results: whole or not there, and nobody else's files are touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cycle_core.errors import InputError
from cycle_core.run import results
from cycle_core.run.results import (
    make_folder,
    older_result,
    read_report,
    whole_folder,
    write_report,
)


def fill(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)
    write_report(folder, {"cycle_core": "0", "files": sorted(files)})


def content(folder: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in folder.iterdir() if p.name != "report.json"}


def test_a_folder_appears_when_it_is_whole(tmp_path: Path):
    with whole_folder(tmp_path / "anna") as part:
        fill(part, crop="1")
        assert not (tmp_path / "anna").exists()

    assert content(tmp_path / "anna") == {"crop": "1"}
    assert [p.name for p in tmp_path.iterdir()] == ["anna"]


@pytest.mark.parametrize("end", [ValueError, KeyboardInterrupt])
def test_an_interrupted_run_leaves_the_older_result(tmp_path: Path, end: type[BaseException]):
    with whole_folder(tmp_path / "anna") as part:
        fill(part, crop="old")

    def run() -> None:
        with whole_folder(tmp_path / "anna") as part:
            fill(part, crop="new")
            raise end

    with pytest.raises(end):
        run()

    assert content(tmp_path / "anna") == {"crop": "old"}
    assert [p.name for p in tmp_path.iterdir()] == ["anna"]


def test_a_new_result_replaces_the_old_one_and_carries_over_what_the_user_put_there(tmp_path: Path):
    with whole_folder(tmp_path / "anna") as part:
        fill(part, crop="old", tuned="old", stale="old")
    (tmp_path / "anna" / "notes").write_text("mine")

    with whole_folder(tmp_path / "anna", keep=["tuned"]) as part:
        (part / "crop").write_text("new")

    assert content(tmp_path / "anna") == {"crop": "new", "tuned": "old", "notes": "mine"}


def test_an_older_result_is_kept_under_a_free_name(tmp_path: Path):
    assert older_result(tmp_path / "anna") is None
    for text in ("first", "second", "third"):
        with whole_folder(tmp_path / "anna", older=older_result(tmp_path / "anna")) as part:
            fill(part, crop=text)
    assert [
        content(tmp_path / name)["crop"] for name in ("anna", "anna.older-1", "anna.older-2")
    ] == [*("third", "first", "second")]
    older = older_result(tmp_path / "anna")
    with pytest.raises(ValueError, match="no"), whole_folder(tmp_path / "anna", older=older):
        raise ValueError("no")
    assert content(tmp_path / "anna") == {"crop": "third"}
    assert not (tmp_path / "anna.older-3").exists()


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "disk").mkdir()
    (tmp_path / "out" / "anna").symlink_to(tmp_path / "disk")

    for crop in ("old", "new"):
        with whole_folder(tmp_path / "out" / "anna") as part:
            fill(part, crop=crop)

    assert (tmp_path / "out" / "anna").is_symlink()
    assert content(tmp_path / "disk") == {"crop": "new"}
    assert sorted(p.name for p in tmp_path.rglob("*")) == [
        "anna", "crop", "disk", "out", "report.json",
    ]  # fmt: skip


def test_the_longest_name_that_a_disk_takes_is_no_trouble(tmp_path: Path):
    with whole_folder(tmp_path / ("€" * 85)) as part:
        fill(part, crop="1")

    assert content(tmp_path / ("€" * 85)) == {"crop": "1"}


def test_a_folder_of_the_users_own_is_refused(tmp_path: Path):
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "holiday.jpg").write_text("mine")

    with pytest.raises(InputError, match="not written by this program"):
        whole_folder(tmp_path / "anna").__enter__()

    assert content(tmp_path / "anna") == {"holiday.jpg": "mine"}


def test_a_report_that_is_not_ours_is_no_report(tmp_path: Path):
    (tmp_path / "report.json").write_text('{"sales": 3}')

    assert read_report(tmp_path) is None


def test_a_place_that_cannot_be_written_is_said_before_any_work(tmp_path: Path):
    (tmp_path / "file").write_text("")

    with pytest.raises(InputError, match="choose another folder"):
        make_folder(tmp_path / "file" / "out")


# ------------------------------------------------------------------ killed, and hostile reports
def test_a_process_that_was_killed_between_two_renames_is_repaired_by_the_next(tmp_path):
    folder = tmp_path / "picture"
    with whole_folder(folder) as part:
        (part / "mine.txt").write_text("kept")
        write_report(part, {"cycle_core": "0", "files": []})
    tag = results._tag(folder)
    os.replace(folder, tmp_path / f".{tag}.old")  # and here it was killed
    (tmp_path / f".{tag}-999999-12345678.part").mkdir()
    living = tmp_path / f".{tag}-{os.getpid()}-12345678.part"
    living.mkdir()
    results.repair(folder)
    assert (folder / "mine.txt").read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([living.name, "picture"])


@pytest.mark.parametrize(
    "change",
    [
        {"faces": ["../elsewhere"]},
        {"faces": ["/etc"]},
        {"files": ["a/b"]},
        {"edits": [{"edit": "x", "image": "../../secret.png"}]},
        {"edits": ["x"]},
        {"faces": 5},
        {"steps": [1]},
        {"name": ["x"]},
    ],
)
def test_a_report_that_leads_elsewhere_is_no_report(change, tmp_path):
    write_report(tmp_path, {"cycle_core": "0", **change})
    assert read_report(tmp_path) is None
