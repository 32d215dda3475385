"""Charts: what is drawn where, and the awkward numbers and names of real runs."""

import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from SAMMed2DLib.plots.charts import SERIES_COLORS, bar_chart, line_chart, value_text

ROOT = Path(__file__).resolve().parents[2]
BLUE, ORANGE = (np.round(np.array(color) * 255) for color in SERIES_COLORS[:2])
SHAPE = (960, 1520, 3)  # two pixels for one of a common screen


def where_it_has(color, picture):
    """Rows and columns of the pixels of a colour."""
    return np.nonzero((np.abs(picture.astype(float) - color) < 2).all(axis=2))


def ink_in(picture):
    """Rows and columns of what is dark."""
    return np.nonzero((picture < 120).all(axis=2))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.934, "0.93"), (0.9, "0.90"), (1.0, "1"), (0.05, "0.05"), (3.14159, "3.1"), (250.4, "250"),
     (1200.0, "1200"), (12345.0, "12.3K"), (2e7, "20M"), (-0.5, "-0.50"), (np.nan, ""), (np.inf, "")],
)  # fmt: skip
def test_values_over_bars_are_short(value, text):
    assert value_text(value) == text


def test_a_rising_curve_rises():
    picture = line_chart({"a": ([0, 1, 2], [0, 1, 2])})
    rows, columns = where_it_has(BLUE, picture)
    assert picture.shape == SHAPE and picture.dtype == np.uint8
    assert rows[columns.argmin()] > rows[columns.argmax()] + 600


def test_nan_leaves_a_gap():
    picture = line_chart({"a": (np.arange(9), [1, 1, 1, 1, np.nan, 1, 1, 1, 1])})
    _, columns = where_it_has(BLUE, picture)
    assert np.diff(np.unique(columns)).max() > 100


def test_a_long_noisy_curve_keeps_its_single_peak():
    y = np.zeros(50_000)
    y[31_234] = 1
    rows, _ = where_it_has(BLUE, line_chart({"a": (np.arange(len(y)), y)}))
    assert rows.max() - rows.min() > 600


@pytest.mark.parametrize("series", [{}, {"a": ([], [])}, {"a": ([1], [np.nan])}, {"a": ([1], [2])}])
def test_nothing_or_a_single_point_is_still_a_chart(series):
    assert line_chart(series, "title", "x", "y").shape == SHAPE


def test_values_beyond_the_limits_stay_within_the_plot():
    low = line_chart({"a": ([0, 1], [0.5, 0.5])}, y_limits=(0, 1))
    high = line_chart({"a": ([0, 1], [5, 5])}, y_limits=(0, 1))
    assert len(where_it_has(BLUE, low)[0]) and not len(where_it_has(BLUE, high)[0])


def test_x_and_y_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="'a' has 2 x values and 3 y values"):
        line_chart({"a": ([1, 2], [1, 2, 3])})


def test_several_series_have_a_legend_and_colours_of_their_own():
    picture = line_chart({"a": ([0, 1], [0, 1]), "b": ([0, 1], [1, 0])})
    assert len(where_it_has(BLUE, picture)[0]) and len(where_it_has(ORANGE, picture)[0])


def test_bars_are_as_high_as_their_values():
    picture = bar_chart(["a", "b"], [1, 2], y_limits=(0, 2))
    _, columns = where_it_has(BLUE, picture)
    middle = columns.mean()
    rows_a, _ = where_it_has(BLUE, picture[:, : int(middle)])
    rows_b, _ = where_it_has(BLUE, picture[:, int(middle) :])
    height_a, height_b = np.ptp(rows_a) + 1, np.ptp(rows_b) + 1
    assert abs(height_b - 2 * height_a) <= 4 and height_b > 600


def test_bars_below_zero_hang_from_it():
    picture = bar_chart(["a", "b"], [-1, 1])
    rows, columns = where_it_has(BLUE, picture)
    left = columns < columns.mean()
    assert rows[left].min() >= rows[~left].max()


def test_grouped_bars_with_a_missing_value():
    picture = bar_chart(["a", "b"], {"one": [1, np.nan], "two": [2, 1]}, "title", numbers=True)
    assert len(where_it_has(BLUE, picture)[0]) and len(where_it_has(ORANGE, picture)[0])


def test_the_number_over_a_bar_that_reaches_the_limit_stands_between_the_bar_and_the_legend():
    picture = bar_chart(["a"], {"one": [1], "two": [1]}, "title", y_limits=(0, 1), numbers=True)
    rows, columns = where_it_has(BLUE, picture)
    widths = np.bincount(rows)
    bar_top = int(np.flatnonzero(widths > 100)[0])  # a key of the legend is narrower
    key_end = int(np.flatnonzero(widths[:bar_top])[-1])
    bar = columns[rows == bar_top]
    above = ink_in(picture[:bar_top, bar.min() : bar.max()])[0]
    number = above[above > key_end]
    assert np.ptp(number) > 8 and number.max() < bar_top - 2
    assert not (np.diff(np.unique(above[above > number.min() - 12])) > 8).any() and number.min() > key_end + 8


def test_many_long_labels_are_turned_and_still_fit():
    picture = bar_chart([f"vertebra number {n}" for n in range(80)], np.arange(80))
    assert picture.shape == SHAPE and len(where_it_has(BLUE, picture)[0])


def test_bars_without_labels_are_refused():
    with pytest.raises(ValueError, match="2 bars of 'dice' for 1 labels"):
        bar_chart(["a"], {"dice": [1, 2]})


def test_no_bars_are_an_empty_chart():
    assert bar_chart([], []).shape == SHAPE


# What is the same everywhere


def test_the_user_s_settings_of_matplotlib_change_nothing_and_stay():
    def draw():
        return bar_chart(["a", "b"], {"one": [1, 2], "two": [2, 1]}, "title", "x", "y", numbers=True)

    plain = draw()
    theirs = {"font.size": 30.0, "axes.facecolor": "black", "font.family": ["serif"], "axes.grid": True}
    with matplotlib.rc_context(theirs):
        np.testing.assert_array_equal(draw(), plain)
        assert {key: matplotlib.rcParams[key] for key in theirs} == theirs


def test_nothing_of_pyplot_is_loaded():
    script = """
import sys
from SAMMed2DLib.plots.charts import line_chart
line_chart({"a": ([0, 1], [0, 1])}, "title")
print([name for name in sys.modules if name.startswith("matplotlib.pyplot")])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stdout == "[]\n", done.stderr


def test_names_are_shown_as_they_are_not_as_formulas_and_none_is_left_out(recwarn):
    names = ["cost in $ or $x^{$", "_hidden", "\N{CJK UNIFIED IDEOGRAPH-732B}"]
    few = line_chart({"a": ([0, 1], [0, 1]), "b": ([0, 1], [1, 0]), "?": ([0], [0])})
    odd = line_chart({name: ([0, 1], [0, 1]) for name in names}, *names)
    bars = bar_chart(names, [1, 2, 3], *names)
    assert odd.shape == bars.shape == few.shape == SHAPE and not recwarn.list
    keys = [where_it_has(np.round(np.array(color) * 255), odd[:300])[0].size for color in SERIES_COLORS[:3]]
    assert min(keys) > 100
