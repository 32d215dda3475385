"""Charts of numbers as pictures, without a plotting library: lines and bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from SAMMed2DLib.pictures.axes import axis_for
from SAMMed2DLib.pictures.chart_frame import ChartFrame, series_colors

Numbers = Sequence[float] | np.ndarray


def line_chart(
    series: Mapping[str, tuple[Numbers, Numbers]],
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    *,
    size_hw: tuple[int, int] = (480, 760),
    x_limits: tuple[float, float] | None = None,
    y_limits: tuple[float, float] | None = None,
    log_x: bool = False,
    log_y: bool = False,
) -> np.ndarray:
    """Draw curves; few points are marked with dots, NaN leaves a gap.

    Args:
        series: name -> x and y, of the same length; a legend names them if there are several.
        title: above the chart.
        x_label: what x is.
        y_label: what y is.
        size_hw: of the picture, px.
        x_limits: ends of the x axis; None for those of the values.
        y_limits: ends of the y axis; None for those of the values.
        log_x: a logarithmic x axis.
        log_y: a logarithmic y axis.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: x and y of a series have different lengths.
    """
    curves = {name: _curve(name, *xy) for name, xy in series.items()}
    x_axis = axis_for((xy[:, 0] for xy in curves.values()), limits=x_limits, rounded=False, log=log_x, ticks=8)
    y_axis = axis_for((xy[:, 1] for xy in curves.values()), limits=y_limits, log=log_y)
    chart = ChartFrame.of(size_hw, title, x_label, y_label, list(curves), y_axis)
    chart.draw_grid(x_axis, y_axis)
    for color, xy in zip(series_colors(len(curves)), curves.values(), strict=True):
        shares = np.stack([x_axis.share(xy[:, 0]), y_axis.share(xy[:, 1])], axis=1)
        chart.draw_curve(np.where(np.isfinite(xy).all(axis=1, keepdims=True), shares, np.nan), color)
    return chart.finished()


def bar_chart(
    labels: Sequence[str],
    values: Numbers | Mapping[str, Numbers],
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    *,
    size_hw: tuple[int, int] = (480, 760),
    y_limits: tuple[float, float] | None = None,
    log_y: bool = False,
    numbers: bool = False,
) -> np.ndarray:
    """Draw bars; labels that do not fit beside each other are turned by 90 degrees.

    Args:
        labels: of the bars, or of the groups of bars.
        values: a height for each label, or name -> heights for several bars in each group; NaN leaves one out.
        title: above the chart.
        x_label: what the bars are.
        y_label: what their height is.
        size_hw: of the picture, px.
        y_limits: ends of the y axis; None for 0 and the highest bar.
        log_y: a logarithmic y axis.
        numbers: write its value over each bar, where it fits.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: a series has not one value for each label.
    """
    groups = dict(values) if isinstance(values, Mapping) else {"": values}
    heights = np.array([_heights(name, one, labels) for name, one in groups.items()]).reshape(len(groups), -1)
    room = 1.06 if numbers else 1.0  # for the number over the highest bar
    y_axis = axis_for([heights * room], limits=y_limits, from_zero=True, log=log_y)
    chart = ChartFrame.of(size_hw, title, x_label, y_label, [name for name in groups if name], y_axis, list(labels))
    if numbers and y_limits is not None:  # a bar may reach up to the limit: its number needs a line of its own
        chart.leave_line()
    chart.draw_grid(None, y_axis)
    chart.draw_bars(y_axis.share(heights), float(y_axis.share(np.zeros(1))[0]) if not log_y else 0.0)
    if numbers:
        chart.write_values(heights, y_axis)
    chart.write_labels(labels)
    return chart.finished()


def _curve(name: str, x: Numbers, y: Numbers) -> np.ndarray:
    x, y = np.asarray(x, np.float64).ravel(), np.asarray(y, np.float64).ravel()
    if x.shape != y.shape:
        raise ValueError(f"the curve {name!r} has {len(x)} x values and {len(y)} y values; give as many of each")
    return np.stack([x, y], axis=1)


def _heights(name: str, values: Numbers, labels: Sequence[str]) -> np.ndarray:
    heights = np.asarray(values, np.float64).ravel()
    if len(heights) != len(labels):
        of = f" of {name!r}" if name else ""
        raise ValueError(f"{len(heights)} bars{of} for {len(labels)} labels; give one for each")
    return heights
