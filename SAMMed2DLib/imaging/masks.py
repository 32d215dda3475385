"""Masks of slices: whether a click is meant for one, boxes around them, and masks as text."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from SAMMed2DLib.imaging.components import label_components

# A click counts as one on a mask up to so far beside it: px, and a share of the longer side of that part of the mask.
_BESIDE_PX, _BESIDE_SHARE = 2.0, 0.1
# A mask crosses others if it shows as lines on so many slices at least, on which they are so long at least, px.
_LEAST_LINES, _LINE_PX = 3, 8


def is_on_mask(mask_hw: np.ndarray, xy: Sequence[float], *, widely: bool = False) -> bool:
    """Whether a click is meant for a mask: on it, or just beside it.

    Args:
        mask_hw: (H, W) bool, on the slice.
        xy: the click, slice px.
        widely: whether beside is more for a large mask.
    """
    pixels_yx = np.argwhere(mask_hw)
    if not len(pixels_yx):
        return False
    distances_px = np.hypot(*(pixels_yx - np.array([xy[1], xy[0]])).T)
    nearest = int(distances_px.argmin())
    beside_px = _BESIDE_PX
    if widely:
        parts = label_components(mask_hw).index_hw
        part_yx = np.argwhere(parts == parts[tuple(pixels_yx[nearest])])
        beside_px = max(beside_px, _BESIDE_SHARE * float((np.ptp(part_yx, axis=0) + 1).max()))
    return bool(distances_px[nearest] <= beside_px)


def without_lines(mask_hw: np.ndarray) -> np.ndarray:
    """The parts of a mask, (H, W) bool, that are 3 px or more wide: masks of other slices cross this one as lines."""
    inner_hw = _spread(mask_hw, np.logical_and)
    spread_hw: np.ndarray = _spread(inner_hw, np.logical_or)
    return spread_hw


def crossing_lines(masks: Mapping[int, np.ndarray], are_flat: bool = False) -> set[int]:
    """Which slices show only what was drawn on slices across them: the same thin lines on several of them.

    Args:
        masks: (H, W) bool, by slice.
        are_flat: whether together they are known to be a mask on a slice, so that they may move from slice to slice.
    """
    lines = {n: mask_hw for n, mask_hw in masks.items() if not without_lines(mask_hw).any()}
    drawn_hw = [mask_hw for mask_hw in lines.values() if mask_hw.any()]  # a cut may miss the centres of few voxels
    long_hw = [mask_hw for mask_hw in drawn_hw if np.ptp(np.argwhere(mask_hw), axis=0).max() + 1 >= _LINE_PX]
    if len(long_hw) < _LEAST_LINES:
        return set()
    if are_flat:
        return set(lines)
    all_hw = np.logical_or.reduce(long_hw)
    if without_lines(all_hw).any():  # they move from slice to slice, as a thin structure does
        return set()
    return {n for n, mask_hw in lines.items() if not (mask_hw & ~all_hw).any()}


def _spread(mask_hw: np.ndarray, joined: np.ufunc) -> np.ndarray:
    """Each pixel joined with its eight neighbours; there is no mask beyond the edge."""
    height, width = mask_hw.shape
    padded = np.pad(np.asarray(mask_hw, bool), 1)
    found: np.ndarray = joined.reduce([padded[y : y + height, x : x + width] for y in range(3) for x in range(3)])
    return found


def extent_of(mask_hw: np.ndarray) -> np.ndarray:
    """The half-open box (x0, y0, x1, y1) around all of a mask that is not empty: (4,) float64, px."""
    rows, columns = np.flatnonzero(mask_hw.any(axis=1)), np.flatnonzero(mask_hw.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)


def mask_to_text(mask_hw: np.ndarray) -> str:
    """A mask, (H, W) bool, as compressed bits in base64."""
    return base64.b64encode(zlib.compress(np.packbits(mask_hw).tobytes(), 9)).decode()


def mask_of_text(text: str, size_hw: tuple[int, int]) -> np.ndarray | None:
    """The mask, (H, W) bool, from such a text; None if it is not one of this size."""
    size = -(-size_hw[0] * size_hw[1] // 8)
    try:
        packed = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), size + 1)  # not more than that
    except (ValueError, zlib.error):
        return None
    if len(packed) != size:
        return None
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=size_hw[0] * size_hw[1])
    return bits.astype(bool).reshape(size_hw)
