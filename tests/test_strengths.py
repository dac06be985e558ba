"""Lists and ranges of numbers as one writes them."""

from __future__ import annotations

import pytest

from cycle_core.directions.syntax import read_layers
from cycle_core.directions.text import parse_numbers
from cycle_core.errors import InputError


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", []),
        (" 1.5 ", [1.5]),
        ("-2, 0 2;+3", [-2, 0, 2, 3]),
        ("-3:3:7", [-3, -2, -1, 0, 1, 2, 3]),
        ("0:1:3, 5", [0, 0.5, 1, 5]),
        ("2:4:1", [2]),
    ],
)
def test_lists_and_ranges(text, numbers):
    assert parse_numbers(text) == pytest.approx(numbers)


@pytest.mark.parametrize("text", ["smile", "1:2", "0:1:0", "0:1:2000", "nan", "1:inf:3", "0:1:1.5"])
def test_what_cannot_be_read_is_named(text):
    with pytest.raises(InputError, match="cannot be read"):
        parse_numbers(f"1, {text}")


@pytest.mark.parametrize("text", ["0-3+6", "6+0-3", " 0-3, 6 ", "0 1 2 3 6", "0-2+1-3+6"])
def test_layers_are_numbers_and_ranges(text):
    assert read_layers(text) == (0, 1, 2, 3, 6)


@pytest.mark.parametrize("text", ["", "3-2", "a", "-1", "0-", "+", "1.0"])
def test_layers_that_cannot_be_read_are_told_with_how_to_write_them(text):
    with pytest.raises(InputError, match=r"cannot be read.* 0-3\+6\.$"):
        read_layers(text)
