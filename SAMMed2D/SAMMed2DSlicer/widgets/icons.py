"""Qt pixmaps and icons from arrays and colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import qt


def pixmap_from_image(image: np.ndarray, side_px: int) -> Any:
    """A QPixmap of an image (H, W, 3) uint8, scaled to fit a square of `side_px`."""
    height, width = image.shape[:2]
    pixels = np.ascontiguousarray(image)
    pixmap = qt.QPixmap()
    pixmap.loadFromData(qt.QByteArray(b"P6 %d %d 255\n" % (width, height) + pixels.tobytes()))
    return pixmap.scaled(side_px, side_px, qt.Qt.KeepAspectRatio, qt.Qt.SmoothTransformation)


def color_icon(color: Sequence[float]) -> Any:
    """A QIcon of one colour, (3,) from 0 to 1."""
    pixmap = qt.QPixmap(12, 12)
    pixmap.fill(qt.QColor(*(int(255 * part) for part in color)))
    return qt.QIcon(pixmap)
