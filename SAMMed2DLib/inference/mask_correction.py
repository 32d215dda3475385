"""Correct a mask that is there already, accepted before or of whatever origin, by points and boxes.

The model was never trained with a mask and a negative point alone, and then takes most of the mask away. So it is
given what it knows: a box around the mask, a point inside, and the mask itself (docs/decisions/points-hold.md). Of
whatever the model then says, a prompt changes what is within its reach, and no region that it does not touch.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from SAMMed2DLib.imaging.components import label_components, squared_depth, squared_distance
from SAMMed2DLib.imaging.masks import extent_of
from SAMMed2DLib.inference.point_constraints import in_box, newest_pixels, pixels_of
from SAMMed2DLib.inference.prompt_parts.stroke import Stroke
from SAMMed2DLib.inference.prompts import Prompts

# A point changes a mask up to so many times its distance from the outline away, and at least so far.
_REACH, _LEAST_REACH_PX = 2.0, 3.0
_STROKE_REACH = 1.0  # the same for a stroke, which shows itself how far a mistake goes


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
    pixels, extent = pixels_of(prompts.points_xy, mask_hw.shape), extent_of(meant)
    x0, y0, x1, y1 = extent.astype(int)
    room = squared_depth(meant[y0:y1, x0:x1])
    rows, columns = np.ogrid[y0:y1, x0:x1]
    for x, y in pixels[prompts.labels == 0]:
        room = np.minimum(room, (rows - y) ** 2 + (columns - x) ** 2)
    anchor = prompts
    if room.any():
        y, x = np.unravel_index(room.argmax(), room.shape)
        points = np.concatenate([[(x + x0, y + y0)], prompts.points_xy])
        anchor = replace(prompts, points_xy=points, labels=np.append(1, prompts.labels))
    if prompts.box_xyxy is not None:
        return anchor
    inside = pixels[prompts.labels == 1]
    low, high = np.vstack([extent[:2], inside]).min(axis=0), np.vstack([extent[2:], inside + 1]).max(axis=0)
    return anchor.with_box(np.concatenate([low, high]))


def within_reach(before_hw: np.ndarray, found_hw: np.ndarray, prompts: Prompts) -> np.ndarray:
    """Keep a mask as it was beyond the reach of the newest point or stroke.

    Args:
        before_hw: (H, W) bool, the mask before that.
        found_hw: (H, W) bool, what was found with it.
        prompts: the last of the points and strokes is the newest prompt; a box alone, or a lasso around the object,
            reaches everywhere, and so does a point if there is no mask.
    Returns:
        (H, W) bool.
    """
    pixels, label = newest_pixels(prompts, before_hw.shape)
    if not len(pixels) or not before_hw.any():
        return found_hw
    x, y = pixels.T
    is_wrong = before_hw[y, x] != (label == 1)
    right = before_hw if label else ~before_hw
    outline_yx = _outline_yx(right) if is_wrong.any() and right.any() else np.empty((0, 2), int)
    away_px = max((_nearest(outline_yx, *pixel)[1] for pixel in pixels[is_wrong] if len(outline_yx)), default=0.0)
    reach = _STROKE_REACH if isinstance(prompts.in_order[-1], Stroke) else _REACH
    reach_px = max(reach * away_px, _LEAST_REACH_PX)
    painted = np.zeros(before_hw.shape, bool)
    painted[y, x] = True
    is_near = squared_distance(painted, int(np.ceil(reach_px))) <= reach_px**2
    return np.where(is_near, found_hw, before_hw)


def untouched(fixed_hw: np.ndarray, prompts: Prompts) -> np.ndarray:
    """The regions of a mask that the newest prompt must not take from, however near it is to them.

    Args:
        fixed_hw: (H, W) bool, a mask that was accepted, or there before; its 8-connected parts are the regions.
        prompts: the last of the points and strokes is the newest prompt. A negative one touches the regions that it is
            on, and a box alone those that it overlaps; a positive one takes nothing away: there is nothing to keep.
    Returns:
        (H, W) bool.
    """
    pixels, label = newest_pixels(prompts, fixed_hw.shape)
    if prompts.count and label:
        return np.zeros_like(fixed_hw)
    regions = label_components(fixed_hw).index_hw
    touched = pixels if prompts.count else np.argwhere(in_box(prompts.box_xyxy, fixed_hw.shape))[:, ::-1]
    x, y = touched.T
    return fixed_hw & ~np.isin(regions, regions[y, x])


def _parts_meant(mask_hw: np.ndarray, prompts: Prompts) -> np.ndarray:
    """The parts of a mask that prompts are about: those in the box, and for each point the nearest one, (H, W) bool.

    A point that is farther away from its part than half of the longer side of that is about something else.
    """
    parts = label_components(mask_hw).index_hw
    is_meant = np.zeros(parts.max() + 1, bool)
    is_meant[parts[in_box(prompts.box_xyxy, mask_hw.shape)]] = True
    outline_yx = _outline_yx(mask_hw)
    for x, y in pixels_of(prompts.points_xy, mask_hw.shape) if mask_hw.any() else ():
        nearest, away_px = ((y, x), 0.0) if mask_hw[y, x] else _nearest(outline_yx, x, y)
        number = parts[nearest]
        x0, y0, x1, y1 = extent_of(parts == number)
        is_meant[number] |= away_px <= max(x1 - x0, y1 - y0) / 2
    is_meant[0] = False
    return is_meant[parts]


def _outline_yx(mask_hw: np.ndarray) -> np.ndarray:
    """The pixels of a mask beside which others are outside, along a row or column: (N, 2) int, rows and columns."""
    inner = mask_hw.copy()
    for here, there in ((inner, mask_hw), (inner.T, mask_hw.T)):
        here[1:] &= there[:-1]
        here[:-1] &= there[1:]
    return np.argwhere(mask_hw & ~inner)


def _nearest(pixels_yx: np.ndarray, x: int, y: int) -> tuple[tuple[int, int], float]:
    """The pixel, row and column, that is nearest to a place, and how far away it is, px."""
    squared_px = ((pixels_yx - (y, x)) ** 2).sum(axis=1)
    row, column = pixels_yx[squared_px.argmin()]
    return (int(row), int(column)), float(np.sqrt(squared_px.min()))
