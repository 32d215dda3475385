"""Correct a mask that is there already, of whatever origin, by points and boxes.

The model was never trained with a mask and a negative point alone, and then takes most of the mask away. So it is
given what it knows: a box around the mask, a point inside, and the mask itself (docs/decisions/points-hold.md).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .components import label_components, squared_depth, squared_distance
from .point_constraints import in_box, pixels_of
from .prompts import Prompts

# A point changes a mask up to so many times its distance from the outline away, and at least so far.
_REACH, _LEAST_REACH_PX = 2.0, 3.0


def anchored(mask_hw: np.ndarray, prompts: Prompts) -> Prompts | None:
    """Add to prompts what tells the model which object a mask shows.

    Args:
        mask_hw: (H, W) bool, px of the slice.
        prompts: the prompts so far.
    Returns:
        the prompts with a box around the parts of the mask that they are about, and with a positive point there, as far
        inside and as far from negative points as can be. None if they are about something beside the mask.
    """
    meant = _parts_meant(mask_hw, prompts)
    if not meant.any():
        return None
    pixels = pixels_of(prompts.points_xy, mask_hw.shape)
    negative = np.zeros_like(mask_hw)
    negative[tuple(pixels[prompts.labels == 0].T[::-1])] = True
    room = np.minimum(squared_depth(meant), squared_distance(negative))
    anchor = prompts
    if room.any():
        y, x = np.unravel_index(room.argmax(), room.shape)
        points = np.concatenate([[(x, y)], prompts.points_xy])
        anchor = replace(prompts, points_xy=points, labels=np.append(1, prompts.labels))
    if prompts.box_xyxy is not None:
        return anchor
    held = meant.copy()
    held[tuple(pixels[prompts.labels == 1].T[::-1])] = True
    return anchor.with_box(_extent_of(held))


def within_reach(before_hw: np.ndarray, found_hw: np.ndarray, prompts: Prompts) -> np.ndarray:
    """Keep a mask as it was beyond the reach of the newest point.

    Args:
        before_hw: (H, W) bool, the mask before that point.
        found_hw: (H, W) bool, what was found with it.
        prompts: the last of the points is the newest prompt; a box alone reaches everywhere.
    Returns:
        (H, W) bool.
    """
    if not len(prompts.labels):
        return found_hw
    ((x, y),) = pixels_of(prompts.points_xy[-1:], before_hw.shape)
    is_wrong = before_hw[y, x] != (prompts.labels[-1] == 1)
    right = before_hw if prompts.labels[-1] else ~before_hw
    away_px = np.sqrt(squared_distance(right)[y, x]) if is_wrong else 0.0
    rows, columns = np.ogrid[: before_hw.shape[0], : before_hw.shape[1]]
    reach_px = max(_REACH * away_px, _LEAST_REACH_PX)
    return np.where((rows - y) ** 2 + (columns - x) ** 2 <= reach_px**2, found_hw, before_hw)


def _parts_meant(mask_hw: np.ndarray, prompts: Prompts) -> np.ndarray:
    """The parts of a mask that prompts are about: those in the box, and for each point the nearest one, (H, W) bool.

    A point that is farther away from its part than half of the longer side of that is about something else.
    """
    parts = label_components(mask_hw).index_hw
    is_meant = np.zeros(parts.max() + 1, bool)
    is_meant[parts[in_box(prompts.box_xyxy, mask_hw.shape)]] = True
    pixels_yx = np.argwhere(mask_hw)
    for pixel_xy in pixels_of(prompts.points_xy, mask_hw.shape) if len(pixels_yx) else ():
        squared_px = ((pixels_yx - pixel_xy[::-1]) ** 2).sum(axis=1)
        number = parts[tuple(pixels_yx[squared_px.argmin()])]
        x0, y0, x1, y1 = _extent_of(parts == number)
        is_meant[number] |= np.sqrt(squared_px.min()) <= max(x1 - x0, y1 - y0) / 2
    is_meant[0] = False
    return is_meant[parts]


def _extent_of(mask_hw: np.ndarray) -> np.ndarray:
    """The half-open box around all of a mask that is not empty: (4,) float64."""
    rows, columns = np.flatnonzero(mask_hw.any(axis=1)), np.flatnonzero(mask_hw.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)
