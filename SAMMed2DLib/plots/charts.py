"""Charts of numbers as pictures: lines and bars, on white."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from SAMMed2DLib.plots.figure import (
    SCREEN_SCALE,
    TEXT_PT,
    Color,
    fitting,
    new_figure,
    own_settings,
    pixels,
    plain,
    text_width,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = Sequence[float] | np.ndarray

# Told apart also by most colour-blind readers, and on white.
SERIES_COLORS: tuple[Color, ...] = (
    (0.00, 0.45, 0.70), (0.84, 0.37, 0.00), (0.00, 0.60, 0.45), (0.80, 0.47, 0.65), (0.90, 0.62, 0.00),
    (0.34, 0.71, 0.91), (0.35, 0.35, 0.35), (0.50, 0.30, 0.70), (0.60, 0.40, 0.20), (0.55, 0.70, 0.20),
)  # fmt: skip
PAPER: Color = (1.0, 1.0, 1.0)
INK: Color = (0.20, 0.22, 0.25)
GRID: Color = (0.88, 0.89, 0.91)
_TITLE_PT, _NUMBER_PT = 12.0, 7.5
_MOST_DOTS = 40  # longer curves have none
_MOST_LETTERS = 22  # of an upright label
_KEY_EM = 4.0  # what a legend takes beside each name, in letter sizes
_PLOT_SHARE = 0.88  # of the picture's width, about


def line_chart(
    series: Mapping[str, tuple[Numbers, Numbers]],
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    *,
    size_hw: tuple[int, int] = (480, 760),
    x_limits: tuple[float, float] | None = None,
    y_limits: tuple[float, float] | None = None,
) -> np.ndarray:
    """Draw curves; few points are marked with dots, NaN leaves a gap.

    Args:
        series: name -> x and y, of the same length; a legend names them if there are several.
        title: above the chart.
        x_label: what x is.
        y_label: what y is.
        size_hw: of the chart, px of a common screen; its picture has SCREEN_SCALE times as many.
        x_limits: ends of the x axis; None for those of the values.
        y_limits: ends of the y axis; None for those of the values.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: x and y of a series have different lengths.
        PlotsError: there is no matplotlib.
    """
    curves = [_curve(name, *xy) for name, xy in series.items()]
    with own_settings():
        figure, axes = _chart(size_hw, title, x_label, y_label)
        drawn: list[Any] = []
        for number, (x, y) in enumerate(curves):
            marker = "o" if np.isfinite(x + y).sum() <= _MOST_DOTS else ""
            drawn += axes.plot(x, y, color=_color(number), linewidth=1.8, marker=marker, markersize=4.5)
        if x_limits:  # with room for the dots at the ends
            margin = (x_limits[1] - x_limits[0]) * 0.02
            axes.set_xlim(x_limits[0] - margin, x_limits[1] + margin)
        if y_limits:
            axes.set_ylim(y_limits)
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        _add_legend(figure, axes, drawn, list(series))
        return pixels(figure)


def bar_chart(
    labels: Sequence[str],
    values: Numbers | Mapping[str, Numbers],
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    *,
    size_hw: tuple[int, int] = (480, 760),
    y_limits: tuple[float, float] | None = None,
    numbers: bool = False,
) -> np.ndarray:
    """Draw bars; labels that do not fit beside each other are turned by 90 degrees.

    Args:
        labels: of the bars, or of the groups of bars.
        values: a height for each label, or name -> heights for several bars in each group; NaN leaves one out.
        title: above the chart.
        x_label: what the bars are.
        y_label: what their height is.
        size_hw: of the chart, px of a common screen; its picture has SCREEN_SCALE times as many.
        y_limits: ends of the y axis; None for 0 and the highest bar.
        numbers: write its value over each bar, where it fits.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: a series has not one value for each label.
        PlotsError: there is no matplotlib.
    """
    groups = dict(values) if isinstance(values, Mapping) else {"": values}
    heights = np.array([_heights(name, bars, labels) for name, bars in groups.items()]).reshape(len(groups), -1)
    with own_settings():
        figure, axes = _chart(size_hw, title, x_label, y_label)
        step_px = figure.bbox.width * _PLOT_SHARE / max(len(labels), 1)
        width = min(0.8 / max(len(groups), 1), 80 * SCREEN_SCALE / step_px)
        drawn = []
        for number, row in enumerate(heights):
            places = np.arange(len(labels)) + (number - (len(groups) - 1) / 2) * width
            drawn.append(axes.bar(places, row, width * 0.96, color=_color(number)))
            if numbers:
                _write_values(figure, axes, places, row, width * step_px)
        axes.set_xlim(-0.5, max(len(labels), 1) - 0.5)
        if y_limits:  # with a line above it for the number over a bar that reaches it
            axes.set_ylim(y_limits[0], y_limits[1] + (y_limits[1] - y_limits[0]) * (0.07 if numbers else 0))
        elif numbers:
            axes.margins(y=0.08)
        axes.axhline(0, color=INK, linewidth=1)
        _write_labels(figure, axes, labels, step_px)
        _add_legend(figure, axes, drawn, list(groups))
        return pixels(figure)


def _curve(name: str, x: Numbers, y: Numbers) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, np.float64).ravel(), np.asarray(y, np.float64).ravel()
    if x.shape != y.shape:
        raise ValueError(f"the curve {name!r} has {len(x)} x values and {len(y)} y values; give as many of each")
    return x, y


def _heights(name: str, values: Numbers, labels: Sequence[str]) -> np.ndarray:
    heights = np.asarray(values, np.float64).ravel()
    if len(heights) != len(labels):
        of = f" of {name!r}" if name else ""
        raise ValueError(f"{len(heights)} bars{of} for {len(labels)} labels; give one for each")
    return heights


def _color(number: int) -> Color:
    return SERIES_COLORS[number % len(SERIES_COLORS)]


def _chart(size_hw: tuple[int, int], title: str, x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """An empty chart with its title, the names of its axes, and light lines at the numbers of the y axis."""
    figure = new_figure((size_hw[0] * SCREEN_SCALE, size_hw[1] * SCREEN_SCALE), PAPER, fits_itself=True)
    if title:
        cut = fitting(figure, title, figure.bbox.width * 0.97, _TITLE_PT)
        figure.suptitle(plain(cut), x=0.01, ha="left", color=INK, fontsize=_TITLE_PT)
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_xlabel(plain(x_label), color=INK, fontsize=TEXT_PT)
    axes.set_ylabel(plain(y_label), color=INK, fontsize=TEXT_PT)
    axes.tick_params(length=0, colors=INK, labelsize=TEXT_PT - 1)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(INK)
    return figure, axes


def _add_legend(figure: Figure, axes: Axes, drawn: Sequence[Any], names: Sequence[str]) -> None:
    """Above the plot, with as many names in a row as fit."""
    if len(names) < 2:
        return
    key_px = _KEY_EM * TEXT_PT * figure.dpi / 72
    widths = [text_width(figure, name) + key_px for name in names]
    fitting_columns = (
        columns
        for columns in range(len(names), 1, -1)
        if sum(part.max() for part in np.array_split(widths, columns)) <= figure.bbox.width * _PLOT_SHARE
    )
    rows = math.ceil(len(names) / next(fitting_columns, 1))
    shown = [plain(f"\N{HAIR SPACE}{name}") for name in names]  # a name that begins with _ would be left out
    axes.legend(
        drawn, shown, loc="lower left", bbox_to_anchor=(0, 1), ncols=math.ceil(len(names) / rows), frameon=False,
        borderaxespad=0.2, labelcolor=INK, fontsize=TEXT_PT, handlelength=1.6, columnspacing=1.4,
    )  # fmt: skip


def _write_labels(figure: Figure, axes: Axes, labels: Sequence[str], step_px: float) -> None:
    """The labels of the bars, under them; upright and shortened where they are wide, and not all of very many."""
    size_pt = TEXT_PT - 1
    is_turned = max((text_width(figure, label, size_pt) for label in labels), default=0) > step_px - 6
    every = max(1, math.ceil(size_pt * figure.dpi / 72 * 1.1 / step_px)) if is_turned else 1
    shown = [_shortened(label) if is_turned else label for label in labels]
    places = range(0, len(labels), every)
    axes.set_xticks(list(places), [plain(shown[place]) for place in places], rotation=90 if is_turned else 0)


def _shortened(label: str) -> str:
    return label if len(label) <= _MOST_LETTERS else label[: _MOST_LETTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _write_values(figure: Figure, axes: Axes, places: np.ndarray, heights: np.ndarray, width_px: float) -> None:
    """The value over each bar that is wide enough."""
    for place, height in zip(places, heights, strict=True):
        words = value_text(float(height))
        if words and text_width(figure, words, _NUMBER_PT) <= width_px + 4:
            below = height < 0
            axes.annotate(
                words, (place, height), (0, -2 if below else 2), textcoords="offset points", ha="center",
                va="top" if below else "bottom", color=INK, fontsize=_NUMBER_PT,
            )  # fmt: skip


def value_text(value: float) -> str:
    """A value with two or three digits; empty for NaN."""
    if not np.isfinite(value):
        return ""
    for unit, letter in ((1e6, "M"), (1e3, "K")):
        if abs(value) >= 10 * unit:
            return f"{value / unit:.3g}{letter}"
    if value.is_integer() or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if 0.1 <= abs(value) < 1 else f"{value:.2g}"
