"""Contact sheets: pictures in rows, each under its caption."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from SAMMed2DLib.plots.figure import DPI, SCREEN_SCALE, draw_over, fitting, new_figure, own_settings, plain

BACKGROUND = 24  # grey around pictures, and that of the text on it: seen in light and in dark surroundings
TEXT_COLOR = (0.92, 0.92, 0.92)
_CAPTION_PT = 8.0
_LINE_PX = math.ceil(_CAPTION_PT * DPI / 72 * 1.25)
_GAP_PX = 4 * SCREEN_SCALE


def contact_sheet(
    pictures: Sequence[np.ndarray], captions: Sequence[str] = (), columns: int | None = None
) -> np.ndarray:
    """Lay pictures out in rows, from left to right, each under its caption.

    Args:
        pictures: (h, w, 3) uint8 each, of any sizes; at least one.
        captions: one for each picture, or none; several lines are allowed, too long ones are cut.
        columns: pictures in a row; None makes the sheet about square.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: no picture, or captions of another number.
        PlotsError: there is no matplotlib.
    """
    if not pictures:
        raise ValueError("a contact sheet needs at least one picture")
    if captions and len(captions) != len(pictures):
        raise ValueError(f"{len(captions)} captions for {len(pictures)} pictures; give one for each, or none")
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    head = max((caption.count("\n") + 1 for caption in captions), default=0) * _LINE_PX
    columns = min(len(pictures), columns or math.ceil(math.sqrt(len(pictures) * (height + head) / width)))
    step_y, step_x = height + head + _GAP_PX, width + _GAP_PX
    size_hw = (math.ceil(len(pictures) / columns) * step_y + _GAP_PX, columns * step_x + _GAP_PX)
    sheet = np.full((*size_hw, 3), BACKGROUND, np.uint8)
    with own_settings():
        figure = new_figure(size_hw)
        for number, picture in enumerate(pictures):
            top, left = _GAP_PX + number // columns * step_y, _GAP_PX + number % columns * step_x
            for line, words in enumerate(captions[number].split("\n") if captions else ()):
                middle = 1 - (top + (line + 0.5) * _LINE_PX) / size_hw[0]
                cut = plain(fitting(figure, words, width, _CAPTION_PT))
                figure.text(
                    left / size_hw[1], middle, cut, va="center_baseline", color=TEXT_COLOR, fontsize=_CAPTION_PT
                )
            top, left = top + head, left + (width - picture.shape[1]) // 2
            sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        draw_over(sheet, figure)
    return sheet
