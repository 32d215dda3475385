"""What a mask looks like in a slice view: the colours and patterns of what is kept, added, taken away and forbidden."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# What a pixel of a preview is; 0 is nothing.
WRITTEN, BLOCKED, REMOVED, ADDED, DROPPED, PROPOSED, MARKED = range(1, 8)
# A light fill and a bright, broad outline: a preview is told from a segment, which Slicer draws in the same colour.
# Around it a dark line, for bright structures.
_FILL_ALPHA, _OUTLINE_PX, _OUTLINE_WHITE, _DARK_PX, _DARK_ALPHA = 70, 2, 0.5, 1, 200
# What a correction takes away: black and white stripes, seen on bright and dark images and over the segment, which
# Slicer still draws there. What masking keeps from being written: an outline of black and white dots.
_STRIPE_PX, _GAP_PX, _DOT_PX = 2, 6, 3
# What the last prompt has changed, for a moment: a brighter fill within a white line, and where the mask was before,
# stripes that run the other way than those of what a segment loses.
_DASH_PX = 4
_ADDED_ALPHA, _ADDED_WHITE = 210, 0.5
_NOTHING, _DARK, _OUTLINE, _CORE, _WHITE, _BLACK, _BRIGHT = range(7)


def image_of(labels: np.ndarray, color: Sequence[float], first_xy: Sequence[int] = (0, 0)) -> np.ndarray:
    """Draw the labels of a view's pixels.

    Args:
        labels: (H, W) uint8, WRITTEN and so on, row 0 at the bottom.
        color: of the segment, red, green and blue in 0..1.
        first_xy: which pixel of the view is the first one; patterns lie still in the view.
    Returns:
        (H, W, 4) uint8, red, green, blue and opacity.
    """
    return _palette(color)[_ink(labels, first_xy)].view(np.uint8).reshape(*labels.shape, 4)


def _palette(color: Sequence[float]) -> np.ndarray:
    """The colour of each ink, as 4 bytes in one number."""
    plain = np.array(color)
    colors = np.zeros((7, 4), np.uint8)
    colors[_DARK] = 0, 0, 0, _DARK_ALPHA
    colors[_OUTLINE] = [*np.round(255 * (plain + _OUTLINE_WHITE * (1 - plain))), 255]
    colors[_CORE] = [*np.round(255 * plain), _FILL_ALPHA]
    colors[_WHITE], colors[_BLACK] = (255, 255, 255, 255), (0, 0, 0, 255)
    colors[_BRIGHT] = [*np.round(255 * (plain + _ADDED_WHITE * (1 - plain))), _ADDED_ALPHA]
    return colors.view(np.uint32).ravel()


def _ink(labels: np.ndarray, first_xy: Sequence[int]) -> np.ndarray:
    """Which colour of the palette each pixel has, (H, W) uint8."""
    added = labels == ADDED
    filled = added | (labels == WRITTEN)
    bright = eroded(filled, _DARK_PX)
    core = eroded(bright, _OUTLINE_PX)
    ink = filled.view(np.uint8) + bright.view(np.uint8) + core.view(np.uint8)  # _DARK, _OUTLINE or _CORE
    if added.any():
        inner = eroded(added, 1)
        ink[core & inner], ink[core & added & ~inner] = _BRIGHT, _WHITE
    y, x = np.ogrid[first_xy[1] : first_xy[1] + labels.shape[0], first_xy[0] : first_xy[0] + labels.shape[1]]
    blocked = labels == BLOCKED
    if blocked.any():
        edge = blocked & ~eroded(blocked, 1)
        ink[edge] = np.where(((x + y) // _DOT_PX) % 2 == 0, np.uint8(_WHITE), np.uint8(_BLACK))[edge]
    for label, is_dashed in ((PROPOSED, True), (MARKED, False)):
        is_there = labels == label
        if is_there.any():  # an outline alone: it is nothing yet; dashes, but of the one that keys are about
            edge = is_there & ~eroded(is_there, _OUTLINE_PX)
            is_light = ((x + y) // _DASH_PX) % 3 != 0
            ink[edge] = np.where(is_light | (not is_dashed), np.uint8(_OUTLINE), np.uint8(_BLACK))[edge]
    for label, direction, light in ((REMOVED, 1, _WHITE), (DROPPED, -1, _OUTLINE)):
        is_there = labels == label
        if is_there.any():
            step = (x + direction * y) % (2 * _STRIPE_PX + _GAP_PX)
            edge = is_there & ~eroded(is_there, 1)
            ink[is_there & (step >= _STRIPE_PX) & (step < 2 * _STRIPE_PX)] = _BLACK
            ink[is_there & ((step < _STRIPE_PX) | edge)] = light
    return ink


def eroded(mask: np.ndarray, count: int) -> np.ndarray:
    """A mask without its outermost pixels, some deep; what lies beyond the image is outside.

    Args:
        mask: (H, W) bool.
        count: how deep, px.
    """
    for _px in range(count):
        inner = np.zeros_like(mask)
        middle = mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
        inner[1:-1, 1:-1] = middle
        mask = inner
    return mask
