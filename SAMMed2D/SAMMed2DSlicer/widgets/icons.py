"""Qt pixmaps and icons from arrays and colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import qt


def pixmap_from_image(image: np.ndarray, side_px: int, size: tuple[float, float] | None = None) -> Any:
    """A QPixmap of an image, scaled to fit a square.

    Args:
        image: (H, W, 3) uint8.
        side_px: of the square.
        size: width and height of the image in any one unit, where its pixels are no squares.
    """
    height, width = image.shape[:2]
    pixels = np.ascontiguousarray(image)
    pixmap = qt.QPixmap()
    pixmap.loadFromData(qt.QByteArray(b"P6 %d %d 255\n" % (width, height) + pixels.tobytes()))
    wide, high = size or (width, height)
    scale = side_px / max(wide, high)
    scaled_px = (max(round(wide * scale), 1), max(round(high * scale), 1))
    return pixmap.scaled(*scaled_px, qt.Qt.IgnoreAspectRatio, qt.Qt.SmoothTransformation)


def color_icon(color: Sequence[float]) -> Any:
    """A QIcon of one colour, (3,) from 0 to 1."""
    pixmap = qt.QPixmap(12, 12)
    pixmap.fill(qt.QColor(*(int(255 * part) for part in color)))
    return qt.QIcon(pixmap)
