"""Rulers around the picture of a slice: its columns and rows as prompts count them, to read coordinates off."""

from __future__ import annotations

import numpy as np

from SAMMed2DLib.pictures import ink
from SAMMed2DLib.pictures.axes import round_step
from SAMMed2DLib.pictures.captions import GLYPH_HW, fitting
from SAMMed2DLib.pictures.overlay import BACKGROUND
from SAMMed2DLib.pictures.slice_view import SliceView

RULER_COLOR: ink.Color = (0.85, 0.85, 0.85)
_GRID_SHARE = 0.22  # how opaque the lines over the slice are
_NUMBER_PX = 60  # numbers are about so far apart, or farther
_TICK, _PAD = 6, 6


def with_rulers(picture: np.ndarray, view: SliceView, legend: str = "", scale: int = 2) -> np.ndarray:
    """Draw rulers below and at the left of a slice, a light grid over it, and a legend above it.

    X counts the columns and Y the rows of the slice as it is stored, from 0; a number stands at the middle of its
    pixel. Where the view shows the slice turned or mirrored, so do its numbers run.

    Args:
        picture: (h, w, 3) uint8 of the view's size.
        view: that made the picture.
        legend: a line of text; what does not fit is cut.
        scale: px per pixel of the font.

    Returns:
        (H, W, 3) uint8, larger than the picture.
    """
    across, down = marks_along(view, 0), marks_along(view, 1)
    height, width = picture.shape[:2]
    line = GLYPH_HW[0] * scale
    top = line + 2 * _PAD
    left = 3 * _PAD + _TICK + ink.text_width("X", scale) + max(ink.text_width(str(value), scale) for value, _ in down)
    size = (top + height + _TICK + line + 3 * _PAD, left + width + 4 * _PAD)
    sheet = np.full((*size, 3), BACKGROUND, np.float32)
    shown = sheet[top : top + height, left : left + width]
    shown[...] = picture
    for value, at in across:
        shown[:, at] += (255 - shown[:, at]) * _GRID_SHARE
        sheet[top + height : top + height + _TICK, left + at] = 255 * np.array(RULER_COLOR)
        middle = left + at - ink.text_width(str(value), scale) // 2
        _write(sheet, str(value), (top + height + _TICK + _PAD, middle), scale)
    for value, at in down:
        shown[at] += (255 - shown[at]) * _GRID_SHARE
        sheet[top + at, left - _TICK : left] = 255 * np.array(RULER_COLOR)
        right = left - _TICK - _PAD - ink.text_width(str(value), scale)
        _write(sheet, str(value), (top + at - line // 2, right), scale)
    names = ("Y", "X") if view.swapped else ("X", "Y")
    _write(sheet, names[0], (top + height + _TICK + _PAD, _PAD), scale)
    _write(sheet, names[1], (_PAD, _PAD), scale)
    _write(sheet, fitting(legend, width + 3 * _PAD, scale), (_PAD, left), scale)
    return np.clip(sheet + 0.5, 0, 255).astype(np.uint8)


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
    step = max(1, int(np.ceil(round_step(count * _NUMBER_PX / shown_px))))
    points_xy = np.zeros((-(-count // step), 2))
    points_xy[:, component] = values = np.arange(0, count, step)
    at = np.floor(view.points(points_xy)[:, edge] + 0.5).astype(int)
    return list(zip(values.tolist(), np.clip(at, 0, shown_px - 1).tolist(), strict=True))


def _write(sheet: np.ndarray, words: str, top_left: tuple[int, int], scale: int) -> None:
    ink.paint(sheet, ink.text(words, scale), RULER_COLOR, top_left)
