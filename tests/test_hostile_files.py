"""Files that want to do harm: each ends in one sentence, nothing in it runs, and it costs little.

A process of its own opens them all with every function and command that opens files; see `hostile`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile import PROOF, Result, work_through, write_corpus, write_mutations, write_samples

MUTATIONS = 2000
SECONDS = 2.0  # of the processor
MEMORY = 400 << 20  # bytes beyond what the process had before


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def results(folder: Path) -> list[Result]:
    write_corpus(folder / "files")
    write_mutations(write_samples(folder / "samples"), folder / "files", MUTATIONS)
    return work_through(folder / "files", folder / "work")


def is_whole(result: Result) -> bool:
    return result.file.startswith("whole/")


def is_damaged(result: Result) -> bool:
    """A mutation: of some the reader cannot know, such as another bit of a weight."""
    return result.file.startswith("load_")


def test_the_whole_files_open(results):
    # or else nothing would be learned of their damaged copies
    whole = [r for r in results if is_whole(r)]
    assert len(whole) > 20
    assert not [(r.file, r.message) for r in whole if r.error]


def test_every_hostile_file_ends_in_a_named_error(results):
    # `inspect` may say of a file what else it is
    hostile = [r for r in results if not is_damaged(r) and not is_whole(r)]
    opened = [r for r in hostile if not r.error and r.function != "inspect"]
    assert len({r.file for r in hostile}) > 500
    assert not [(r.file, r.function) for r in opened]


def test_what_is_raised_is_of_our_family(results):
    other = [r for r in results if r.error not in ("", "CycleError")]
    assert not [(r.file, r.function, r.error, r.message) for r in other]


def test_damaged_files_of_every_layout_open_or_end_in_a_named_error(results):
    damaged = [r for r in results if is_damaged(r)]
    assert len(damaged) == MUTATIONS
    assert sum(r.error != "" for r in damaged) > MUTATIONS / 4


def test_every_error_is_one_sentence_that_the_terminal_can_show(results):
    wrong = [r for r in results if not _is_sentence(r)]
    assert not [(r.file, r.function, r.message) for r in wrong]


def _is_sentence(result: Result) -> bool:
    text = result.message.strip()
    whole = text.endswith(".") and len(text) < 1200
    return result.error == "" or (whole and text.isprintable() and "Traceback" not in text)


def test_nothing_runs(results, folder):
    assert not list(folder.rglob(PROOF))
    assert not [(r.file, r.function, r.events) for r in results if r.events]


def test_no_file_takes_two_seconds(results):
    assert not [(r.file, r.function, r.seconds) for r in results if r.seconds > SECONDS]


def test_no_file_takes_much_memory(results):
    grown = [r for r in results if r.growth > MEMORY]
    assert not [(r.file, r.function, r.growth >> 20) for r in grown]
