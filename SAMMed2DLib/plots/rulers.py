"""Rulers around the picture of a slice: its columns and rows as prompts count them, to read coordinates off."""

from __future__ import annotations

import math

import numpy as np

from SAMMed2DLib.plots.contact_sheet import BACKGROUND, TEXT_COLOR
from SAMMed2DLib.plots.figure import (
    DPI,
    SCREEN_SCALE,
    TEXT_PT,
    draw_over,
    fitting,
    new_figure,
    own_settings,
    plain,
    text_width,
)
from SAMMed2DLib.plots.slice_view import SliceView

RULED_PX = 1600  # of the longer side of an image with rulers, so that there is room for numbers
_GRID_SHARE = 0.22  # how opaque the lines over the slice are
_NUMBER_PX = 60 * SCREEN_SCALE  # numbers are about so far apart, or farther
_TICK_PX, _PAD_PX = 6 * SCREEN_SCALE, 6 * SCREEN_SCALE
_LINE_PX = math.ceil(TEXT_PT * DPI / 72 * 1.2)
_PT = 72 / DPI  # a pixel
_CENTRE = 0.25  # px; at 0.5 rounding would decide which pixel a line is snapped to


def with_rulers(picture: np.ndarray, view: SliceView, legend: str = "") -> np.ndarray:
    """Draw rulers below and at the left of a slice, a light grid over it, and a legend above it.

    X counts the columns and Y the rows of the slice as it is stored, from 0; a number stands at the middle of its
    pixel. Where the view shows the slice turned or mirrored, so do its numbers run.

    Args:
        picture: (h, w, 3) uint8 of the view's size.
        view: that made the picture.
        legend: a line of text; what does not fit is cut.

    Returns:
        (H, W, 3) uint8, larger than the picture.

    Raises:
        PlotsError: there is no matplotlib.
    """
    across, down = marks_along(view, 0), marks_along(view, 1)
    height, width = picture.shape[:2]
    with own_settings():
        numbers_px = max(text_width(new_figure((1, 1)), str(value)) for value, _ in down)
        left, top = math.ceil(numbers_px) + _LINE_PX + _TICK_PX + 3 * _PAD_PX, _LINE_PX + 2 * _PAD_PX
        size_hw = (top + height + _TICK_PX + 2 * _LINE_PX + 3 * _PAD_PX, left + width + 4 * _PAD_PX)
        sheet = np.full((*size_hw, 3), BACKGROUND, np.uint8)
        sheet[top : top + height, left : left + width] = picture
        figure = new_figure(size_hw)
        axes = figure.add_axes(
            (left / size_hw[1], 1 - (top + height) / size_hw[0], width / size_hw[1], height / size_hw[0]),
            facecolor="none", xlim=(-_CENTRE, width - _CENTRE), ylim=(height - _CENTRE, -_CENTRE),
        )  # fmt: skip
        axes.spines[:].set_visible(False)
        axes.set_xticks([at for _, at in across], [str(value) for value, _ in across])
        axes.set_yticks([at for _, at in down], [str(value) for value, _ in down])
        axes.grid(color="white", alpha=_GRID_SHARE, linewidth=_PT)
        axes.tick_params(length=_TICK_PX * _PT, pad=_PAD_PX * _PT / 2, colors=TEXT_COLOR, labelsize=TEXT_PT, width=_PT)
        names = ("Y", "X") if view.swapped else ("X", "Y")
        axes.set_xlabel(names[0], color=TEXT_COLOR, fontsize=TEXT_PT)
        axes.set_ylabel(names[1], color=TEXT_COLOR, fontsize=TEXT_PT, rotation=0, ha="center", va="center")
        axes.yaxis.set_label_coords(-(left - _PAD_PX - _LINE_PX / 2) / width, 0.5)
        axes.xaxis.set_label_coords(0.5, -(_TICK_PX + _PAD_PX + _LINE_PX) / height)
        line = plain(fitting(figure, legend, width + 3 * _PAD_PX))
        figure.text(
            left / size_hw[1], 1 - (top - _PAD_PX) / size_hw[0], line, color=TEXT_COLOR, fontsize=TEXT_PT, va="bottom"
        )
        draw_over(sheet, figure)
        return sheet


def marks_along(view: SliceView, edge: int) -> list[tuple[int, int]]:
    """Numbers along an edge of a picture, and where each stands.

    Args:
        view: of the slice.
        edge: 0 for the lower edge, 1 for the left one.

    Returns:
        pairs of a column or row of the slice, and a column or row of the picture, px.
    """
    component = edge if not view.swapped else 1 - edge  # of slice coordinates, (x, y)
    shown_px = view.size_hw[1 - edge]
    count = round(shown_px / view.scale_xy[edge])
    step = max(1, math.ceil(_round_step(count * _NUMBER_PX / shown_px)))
    points_xy = np.zeros((-(-count // step), 2))
    points_xy[:, component] = values = np.arange(0, count, step)
    at = np.floor(view.points(points_xy)[:, edge] + 0.5).astype(int)
    return list(zip(values.tolist(), np.clip(at, 0, shown_px - 1).tolist(), strict=True))


def _round_step(step: float) -> float:
    """The smallest of 1, 2, 2.5 or 5 times a power of ten that is not less than a number."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * (1 - 1e-9))
