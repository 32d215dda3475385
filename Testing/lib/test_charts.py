"""Charts: what is drawn where, legible ticks, and the awkward numbers of real runs."""

import numpy as np
import pytest

from SAMMed2DLib.pictures import ink
from SAMMed2DLib.pictures.axes import axis_for, number_text, round_step
from SAMMed2DLib.pictures.chart_frame import SERIES_COLORS
from SAMMed2DLib.pictures.charts import bar_chart, line_chart

BLUE, ORANGE = (np.round(np.array(color) * 255) for color in SERIES_COLORS[:2])


def where_it_has(color, picture):
    """Rows and columns of the pixels of a colour."""
    return np.nonzero((np.abs(picture.astype(float) - color) < 2).all(axis=2))


# Ink


def test_a_thick_line_covers_what_is_within_half_its_width():
    cover = ink.polyline((7, 9), np.array([[2, 3], [6, 3]]), 3)
    assert (cover[2:5, 2:7] == 1).all()
    assert cover[:1].sum() == cover[6:].sum() == 0


def test_a_line_beyond_the_picture_covers_nothing():
    assert ink.polyline((5, 5), np.array([[20, 20], [30, 20]]), 2).sum() == 0


def test_a_rectangle_covers_parts_of_pixels():
    assert np.array_equal(ink.rectangle((2, 3), 0.5, 0, 2.25, 1), [[0.5, 1, 0.25], [0, 0, 0]])


def test_text_is_as_wide_as_said():
    assert ink.text("Dice 0.9", 1.5).shape == (11, ink.text_width("Dice 0.9", 1.5))


def test_letters_have_ink_and_spaces_none():
    assert ink.text("I", 2).max() > 0.7
    assert ink.text(" ", 2).sum() == 0


def test_paint_cuts_what_lies_beyond_the_edges():
    picture = np.zeros((2, 2, 3), np.float32)
    ink.paint(picture, np.ones((2, 2)), (1, 1, 1), (-1, 1))
    assert np.array_equal(picture[..., 0], [[0, 255], [0, 0]])


# Axes


@pytest.mark.parametrize(
    ("values", "options", "texts"),
    [
        ([0.12, 0.97], {}, "0 0.2 0.4 0.6 0.8 1.0"),
        ([3, 3999], {"from_zero": True}, "0 1000 2000 3000 4000"),
        ([0, 12000], {}, "0 2.5K 5.0K 7.5K 10.0K 12.5K"),
        ([0, 8], {"rounded": False}, "0 2 4 6 8"),
        ([-1, 1], {}, "-1.0 -0.5 0 0.5 1.0"),
        ([3, 900], {"log": True}, "1 10 100 1000"),
        ([0, 0], {"from_zero": True}, "0 0.2 0.4 0.6 0.8 1.0"),
        ([5, 5], {}, "4.4 4.6 4.8 5.0 5.2 5.4 5.6"),
        ([], {}, "0 0.2 0.4 0.6 0.8 1.0"),
        ([np.nan, np.inf, 0, 1], {}, "0 0.2 0.4 0.6 0.8 1.0"),
        ([1e-5, 3e-5], {}, "1e-05 1.5e-05 2e-05 2.5e-05 3e-05"),
    ],
)
def test_ticks_are_round_numbers(values, options, texts):
    axis = axis_for([np.array(values, float)], **options)
    assert " ".join(axis.texts) == texts


def test_decades_are_equally_long_on_a_logarithmic_axis():
    axis = axis_for([np.array([1, 1000])], log=True)
    assert np.allclose(axis.share(np.array([1, 10, 100, 1000])), [0, 1 / 3, 2 / 3, 1])


@pytest.mark.parametrize(("step", "rounded"), [(0.9, 1), (1, 1), (1.1, 2), (2.2, 2.5), (30, 50), (0.07, 0.1)])
def test_steps_are_rounded_up(step, rounded):
    assert round_step(step) == pytest.approx(rounded)


def test_numbers_written_together_have_the_same_unit():
    assert [number_text(value, 5000, 20000) for value in (5000, 10000)] == ["5K", "10K"]


# Charts


def test_a_rising_curve_rises():
    picture = line_chart({"a": ([0, 1, 2], [0, 1, 2])})
    rows, columns = where_it_has(BLUE, picture)
    assert picture.shape == (480, 760, 3) and picture.dtype == np.uint8
    assert rows[columns.argmin()] > rows[columns.argmax()] + 300


def test_nan_leaves_a_gap():
    picture = line_chart({"a": (np.arange(9), [1, 1, 1, 1, np.nan, 1, 1, 1, 1])})
    _, columns = where_it_has(BLUE, picture)
    assert np.diff(np.unique(columns)).max() > 50


def test_a_long_noisy_curve_keeps_its_single_peak():
    y = np.zeros(50_000)
    y[31_234] = 1
    rows, _ = where_it_has(BLUE, line_chart({"a": (np.arange(len(y)), y)}))
    assert rows.max() - rows.min() > 300


@pytest.mark.parametrize("series", [{}, {"a": ([], [])}, {"a": ([1], [np.nan])}, {"a": ([1], [2])}])
def test_nothing_or_a_single_point_is_still_a_chart(series):
    assert line_chart(series, "title", "x", "y").shape == (480, 760, 3)


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
    assert abs(height_b - 2 * height_a) <= 4


def test_bars_below_zero_hang_from_it():
    picture = bar_chart(["a", "b"], [-1, 1])
    rows, columns = where_it_has(BLUE, picture)
    left = columns < columns.mean()
    assert rows[left].min() >= rows[~left].max()


def test_grouped_bars_with_a_missing_value():
    picture = bar_chart(["a", "b"], {"one": [1, np.nan], "two": [2, 1]}, "title", numbers=True)
    assert len(where_it_has(BLUE, picture)[0]) and len(where_it_has(ORANGE, picture)[0])


def test_the_number_over_a_bar_that_reaches_the_limit_does_not_lie_on_the_legend():
    words = dict(y_limits=(0, 1), size_hw=(420, 760))
    plain = bar_chart(["a"], {"one": [0.1], "two": [0.1]}, "title", **words)
    legend_hw = plain[: int(where_it_has(BLUE, plain)[0].min()) + 12]  # the title, and the line of the legend's keys
    full = bar_chart(["a"], {"one": [1], "two": [1]}, "title", numbers=True, **words)
    np.testing.assert_array_equal(full[: len(legend_hw)], legend_hw)


def test_many_long_labels_are_turned_and_still_fit():
    picture = bar_chart([f"vertebra number {n}" for n in range(80)], np.arange(80), log_y=True)
    assert picture.shape == (480, 760, 3) and len(where_it_has(BLUE, picture)[0])


def test_bars_without_labels_are_refused():
    with pytest.raises(ValueError, match="2 bars of 'dice' for 1 labels"):
        bar_chart(["a"], {"dice": [1, 2]})


def test_no_bars_are_an_empty_chart():
    assert bar_chart([], []).shape == (480, 760, 3)
