"""Points are hard constraints: positive ones are inside the mask that comes out, negative ones outside.

The network mostly, but not always, follows a point, and it may change its mind about the rest of the mask
(docs/decisions/points-hold.md).
"""

from __future__ import annotations

import numpy as np

from SAMMed2DLib.imaging.components import label_components
from SAMMed2DLib.inference.prompts import Prompts

# How far a point that the network does not follow reaches, as a share of the longer side of what the network saw.
REACH_SHARE = 0.1
# The logit that such a point gets; around it this fades to the network's own logits.
_POINT_LOGIT = 1.0
# Half the distance of neighbouring pixels that are not of one side, and a little more than that.
_LEAST_REACH_PX = 0.75


def constrained_logits(logits_hw: np.ndarray, prompts: Prompts) -> np.ndarray:
    """Raise or lower logits around the points that they contradict, so that every point is on its side.

    A point reaches no farther than halfway to the nearest point of the other side.

    Args:
        logits_hw: (H, W) float, positive inside the object.
        prompts: points in px of the logits; none of them on the pixel of one of the other side.
    Returns:
        (H, W) float32; the logits themselves where no point contradicts them.
    """
    pixels = pixels_of(prompts.points_xy, logits_hw.shape)
    reach_px = REACH_SHARE * max(logits_hw.shape)
    constrained = logits_hw
    for pixel, label in zip(pixels, prompts.labels, strict=True):
        sign = 1 if label else -1
        if sign * constrained[pixel[1], pixel[0]] > 0:
            continue
        others = pixels[prompts.labels != label]
        nearest_px = np.sqrt(((others - pixel) ** 2.0).sum(axis=1).min(initial=np.inf))
        if constrained is logits_hw:
            constrained = logits_hw.astype(np.float32)
        _shift(constrained, pixel, max(min(reach_px, nearest_px / 2), _LEAST_REACH_PX), sign * _POINT_LOGIT)
    return constrained


def _shift(logits_hw: np.ndarray, pixel: np.ndarray, reach_px: float, target: float) -> None:
    """Bring one pixel to a logit in place, others by less with the square of their distance."""
    (x, y), whole = pixel, int(reach_px)
    window = (slice(max(y - whole, 0), y + whole + 1), slice(max(x - whole, 0), x + whole + 1))
    rows, columns = np.ogrid[: logits_hw.shape[0], : logits_hw.shape[1]]
    squared_px = (rows[window[0]] - y) ** 2 + (columns[:, window[1]] - x) ** 2
    logits_hw[window] += (target - logits_hw[y, x]) * np.clip(1 - squared_px / reach_px**2, 0, 1).astype(np.float32)


def corrected(before_hw: np.ndarray, found_hw: np.ndarray, prompts: Prompts) -> np.ndarray:
    """Take over what the newest prompt changes about a mask, so that nothing else is damaged by it.

    Args:
        before_hw: (H, W) bool, the mask before that prompt.
        found_hw: (H, W) bool, what was found with it, all points on their side.
        prompts: the last of the points is the newest prompt; without points, the box is.
    Returns:
        (H, W) bool. A positive point adds the new pixels that are connected with it, and takes nothing away. A negative
        one takes away the surplus pixels that are connected with it, and adds nothing. A box changes the pixels in it.
        Where there was nothing, a positive point adds all.
    """
    if not len(prompts.labels):
        return np.where(in_box(prompts.box_xyxy, before_hw.shape), found_hw, before_hw)
    ((x, y),) = pixels_of(prompts.points_xy[-1:], before_hw.shape)
    if prompts.labels[-1] and not before_hw.any():
        return found_hw
    if prompts.labels[-1]:
        return before_hw | _part_at(found_hw if before_hw[y, x] else found_hw & ~before_hw, x, y)
    return before_hw & ~_part_at(before_hw & ~found_hw, x, y)


def in_box(box_xyxy: np.ndarray | None, size_hw: tuple[int, ...]) -> np.ndarray:
    """The pixels of a half-open box, px: (H, W) bool; none without a box."""
    inside = np.zeros(size_hw, bool)
    if box_xyxy is not None:
        x0, y0, x1, y1 = np.clip(np.floor(box_xyxy + 0.5), 0, None).astype(int)
        inside[y0:y1, x0:x1] = True
    return inside


def pixels_of(points_xy: np.ndarray, size_hw: tuple[int, ...]) -> np.ndarray:
    """The pixels that points are on: (N, 2) int, columns and rows."""
    last_xy = np.array(size_hw[1::-1]) - 1
    return np.clip(np.floor(points_xy + 0.5), 0, last_xy).astype(np.int64)


def _part_at(mask_hw: np.ndarray, x: int, y: int) -> np.ndarray:
    """The 8-connected part of a mask that holds a pixel; empty if the pixel is outside."""
    if not mask_hw[y, x]:
        return np.zeros_like(mask_hw)
    index_hw = label_components(mask_hw).index_hw
    return index_hw == index_hw[y, x]
