"""The rules of the house, on the library and on small libraries that break them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from house import LONGEST, circles, house
from mutations import cannot_be_made

HERE, LONGEST_TESTS = Path(__file__).parent, 450


def test_nothing_lies_loose_and_nothing_is_imported_in_a_circle():
    built = house()
    told = [fault for fault in built.faults() if "lines" not in fault]
    assert not told, told


def test_no_file_grows_beyond_what_can_be_read_at_once():
    built = house()
    sizes = {**built.lengths, **built.nodes}
    assert not {name: lines for name, lines in sizes.items() if lines > LONGEST}
    tests = {path.name: len(path.read_text("utf-8").splitlines()) for path in HERE.rglob("*.py")}
    assert not {name: lines for name, lines in tests.items() if lines > LONGEST_TESTS}


def test_every_deliberate_error_in_the_method_can_be_made():
    assert cannot_be_made() == []


def test_faults_are_found(tmp_path: Path):
    root = tmp_path / "library"
    (root / "room").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / "loose.py").write_text("")
    (root / "room" / "__init__.py").write_text("")
    (root / "room" / "a.py").write_text("from ..room.b import x\n")
    (root / "room" / "b.py").write_text("def f():\n    from . import a\n")
    (root / "room" / "c.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .d import y\n"
        "class Two: ...\n"
    )
    (root / "room" / "d.py").write_text("from .c import z\nTwo = int\n" + "\n" * (LONGEST - 1))
    assert house(root).faults() == [
        "loose.py lies loose at the top",
        "a circle of imports: room.a, room.b",
        f"room/d.py has {LONGEST + 1} lines",
        "Two is in library/room/c.py and in library/room/d.py",
    ]


def test_circles_are_whole():
    imports = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"e"}}
    assert circles(imports) == [["a", "b", "c"], ["e"]]
