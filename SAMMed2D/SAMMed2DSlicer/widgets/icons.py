"""Images and colours as Qt's pixmaps and icons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import qt


def pixmap_of(image: np.ndarray, side_px: int) -> Any:
    """An image (H, W, 3) uint8 for a label, not larger than a square of this side."""
    height, width = image.shape[:2]
    pixels = np.ascontiguousarray(image)
    pixmap = qt.QPixmap()
    pixmap.loadFromData(qt.QByteArray(b"P6 %d %d 255\n" % (width, height) + pixels.tobytes()))
    return pixmap.scaled(side_px, side_px, qt.Qt.KeepAspectRatio, qt.Qt.SmoothTransformation)


def square(color: Sequence[float]) -> Any:
    """An icon of one colour, each part from 0 to 1."""
    pixmap = qt.QPixmap(12, 12)
    pixmap.fill(qt.QColor(*(int(255 * part) for part in color)))
    return qt.QIcon(pixmap)
