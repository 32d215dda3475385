"""Numbers in messages."""

from __future__ import annotations

from SAMMed2DLib.system.formatting import counted, listed, times


def test_one_thing_is_no_things():
    assert [counted(n, "slice") for n in (0, 1, 2)] == ["0 slices", "1 slice", "2 slices"]
    assert [counted(n, "case is", "cases are") for n in (1, 3)] == ["1 case is", "3 cases are"]


def test_neighbouring_numbers_are_a_range():
    assert listed([18]) == "18"
    assert listed([18, 22, 23, 24, 30, 31]) == "18, 22 to 24, 30 to 31"


def test_a_size_is_read_as_one():
    assert times((48, 40, 12)) == "48 x 40 x 12"
