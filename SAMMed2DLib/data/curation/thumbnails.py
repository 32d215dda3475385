"""Small versions of pictures, to tell whether two show the same."""

from __future__ import annotations

import numpy as np

SIDE = 16


def thumbnail(image: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Average a picture down.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        side: of the thumbnail, px.
    Returns:
        (side, side) float32, 0..255.
    """
    grey = image if image.ndim == 2 else image.mean(axis=2)
    for axis in (0, 1):
        grey = _averaged(grey, axis, side)
    return grey.astype(np.float32)


def _averaged(image: np.ndarray, axis: int, count: int) -> np.ndarray:
    """Averages of `count` equal parts, whose edges may lie within pixels."""
    length = image.shape[axis]
    total = np.concatenate([np.zeros_like(image.take([0], axis), np.float64), np.cumsum(image, axis, np.float64)], axis)
    edge = np.arange(count + 1) * length / count
    low = np.minimum(edge.astype(int), length)
    share = (edge - low).reshape((-1, 1) if axis == 0 else (1, -1))
    at_edge = total.take(low, axis) * (1 - share) + total.take(np.minimum(low + 1, length), axis) * share
    return np.diff(at_edge, axis=axis) * count / length


def differ(first: np.ndarray, second: np.ndarray) -> float:
    """Mean difference of two thumbnails, as a share of the grey range."""
    return float(np.abs(first - second).mean() / 255)


def difference_hash(small: np.ndarray) -> int:
    """64 bits: where an (8, 9) version of a thumbnail gets brighter from left to right, whatever its contrast."""
    rows = _averaged(small, 0, 8)
    columns = _averaged(rows, 1, 9)
    bits = (columns[:, 1:] > columns[:, :-1]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
