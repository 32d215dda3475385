"""Points and strokes are hard constraints: positive ones are inside the mask that comes out, negative ones outside.

The network mostly, but not always, follows a point, and it may change its mind about the rest of the mask
(docs/decisions/points-hold.md).
"""

from __future__ import annotations

import numpy as np

from SAMMed2DLib.imaging.components import label_components, parts_touching
from SAMMed2DLib.inference.prompt_parts.stroke import Stroke
from SAMMed2DLib.inference.prompts import Prompts, box_of_mask

# How far a point that the network does not follow reaches, as a share of the longer side of what the network saw.
REACH_SHARE = 0.1
# The same for each pixel of a stroke.
STROKE_REACH_SHARE = 0.03
# The logit that such a point gets; around it this fades to the network's own logits.
_POINT_LOGIT = 1.0
# Parts of a refined mask that are smaller, beside the largest one, are flecks.
FLECK_SHARE = 0.2
# Half the distance of neighbouring pixels that are not of one side, and a little more than that.
_LEAST_REACH_PX = 0.75


def constrained_logits(logits_hw: np.ndarray, prompts: Prompts) -> np.ndarray:
    """Raise or lower logits around the points that they contradict, so that every point is on its side.

    A point reaches no farther than halfway to the nearest point of the other side. Each pixel that a stroke holds is
    such a point.

    Args:
        logits_hw: (H, W) float, positive inside the object.
        prompts: points and strokes in px of the logits; none of them on the pixel of one of the other side.
    Returns:
        (H, W) float32; the logits themselves where no point contradicts them.
    """
    size_hw = (logits_hw.shape[0], logits_hw.shape[1])
    pixels, labels = pixels_of(prompts.points_xy, size_hw), prompts.labels
    shares = np.full(len(labels), REACH_SHARE)
    for label, painted in zip((1, 0), painted_sides(prompts, size_hw) if prompts.strokes else (), strict=False):
        found = np.argwhere(painted)[:, ::-1]
        pixels = np.concatenate([pixels, found])
        labels = np.append(labels, np.full(len(found), label))
        shares = np.append(shares, np.full(len(found), STROKE_REACH_SHARE))
    constrained = logits_hw
    for pixel, label, share in zip(pixels, labels, shares, strict=True):
        sign = 1 if label else -1
        if sign * constrained[pixel[1], pixel[0]] > 0:
            continue
        others = pixels[labels != label]
        nearest_px = np.sqrt(((others - pixel) ** 2.0).sum(axis=1).min(initial=np.inf))
        if constrained is logits_hw:
            constrained = logits_hw.astype(np.float32)
        reach_px = share * max(size_hw)
        _shift(constrained, pixel, max(min(reach_px, nearest_px / 2), _LEAST_REACH_PX), sign * _POINT_LOGIT)
    return constrained


def painted_sides(prompts: Prompts, size_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels strokes hold inside the object, and which outside; what was given later counts.

    Args:
        prompts: a lasso around the object holds no pixel; a point that comes after a stroke takes its pixel from it.
        size_hw: of the slice, px.

    Returns:
        two (H, W) bool.
    """
    sides = np.full(size_hw, -1, np.int8)
    pixels = pixels_of(prompts.points_xy, size_hw)
    for each in prompts.in_order:
        if not isinstance(each, Stroke):
            x, y = pixels[each]
            sides[y, x] = prompts.labels[each] if sides[y, x] >= 0 else -1
        elif not each.is_lasso_around:
            x, y = each.pixels(size_hw).T
            sides[y, x] = each.label
    return sides == 1, sides == 0


def held(mask_hw: np.ndarray, prompts: Prompts) -> np.ndarray:
    """A mask, (H, W) bool, with what strokes hold inside, and without what they hold outside."""
    if not prompts.strokes:
        return mask_hw
    inside, outside = painted_sides(prompts, (mask_hw.shape[0], mask_hw.shape[1]))
    return (mask_hw | inside) & ~outside


def within_lassos(mask_hw: np.ndarray, prompts: Prompts) -> np.ndarray:
    """The part of a mask, (H, W) bool, in the lassos around the object; all of it if the newest prompt leaves them."""
    lassos = [stroke for stroke in prompts.strokes if stroke.is_lasso_around]
    if not lassos:
        return mask_hw
    size_hw = (mask_hw.shape[0], mask_hw.shape[1])
    around = np.any([lasso.mask(size_hw) for lasso in lassos], axis=0)
    x, y = newest_pixels(prompts, size_hw)[0].T
    return mask_hw & around if around[y, x].all() else mask_hw


def newest_pixels(prompts: Prompts, size_hw: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """The pixels of the newest point or stroke, (N, 2) int, and its label; none if it is a box, or around the object.

    Args:
        prompts: in slice px.
        size_hw: of the slice, px.
    """
    newest = prompts.in_order[-1] if prompts.count else None
    if newest is None or (isinstance(newest, Stroke) and newest.is_lasso_around):
        return np.empty((0, 2), np.int64), 1
    if isinstance(newest, Stroke):
        return newest.pixels((size_hw[0], size_hw[1])), newest.label
    return pixels_of(prompts.points_xy[newest : newest + 1], size_hw), int(prompts.labels[newest])


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
        prompts: the last of the points and strokes is the newest prompt; without any, the box is.
    Returns:
        (H, W) bool. A positive point or scribble adds the new pixels that are connected with it, and takes nothing
        away. A negative one takes away the surplus pixels that are connected with it, and adds nothing. A box changes
        the pixels in it; a lasso around the object adds to them. Where there was nothing, a positive prompt adds all.
    """
    pixels, label = newest_pixels(prompts, before_hw.shape)
    if not len(pixels) and prompts.count:
        around = prompts.strokes[-1].extent((before_hw.shape[0], before_hw.shape[1]))
        return before_hw | (found_hw & in_box(around, before_hw.shape)) if before_hw.any() else found_hw
    if not len(pixels):
        return np.where(in_box(prompts.box_xyxy, before_hw.shape), found_hw, before_hw)
    x, y = pixels.T
    if not label:
        return before_hw & ~_parts_at(before_hw & ~found_hw, x, y)
    if not before_hw.any():
        return found_hw
    is_new = ~before_hw[y, x]
    if is_new.any():
        return before_hw | _parts_at(found_hw & ~before_hw, x[is_new], y[is_new])
    return before_hw | _parts_at(found_hw, x, y)


def without_flecks(mask: np.ndarray, prompts: Prompts) -> np.ndarray:
    """The parts of a mask (H, W) that are no flecks beside its largest part, and those with a positive prompt."""
    if not mask.any():
        return mask
    parts = label_components(mask)
    kept = parts.area_px >= FLECK_SHARE * parts.area_px.max()
    for (x, y), label in zip(np.round(prompts.points_xy).astype(int), prompts.labels, strict=True):
        is_within = 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1]
        if label == 1 and is_within and mask[y, x]:
            kept[parts.index_hw[y, x] - 1] = True
    if prompts.strokes:
        inside, _outside = painted_sides(prompts, (mask.shape[0], mask.shape[1]))
        kept[np.unique(parts.index_hw[inside & mask]) - 1] = True
    return mask & np.isin(parts.index_hw, np.flatnonzero(kept) + 1)


def region_of(mask_hw: np.ndarray | None, prompts: Prompts, size_hw: tuple[int, ...]) -> np.ndarray:
    """The smallest half-open box around the largest part of a mask, all points and strokes, and the box.

    Args:
        mask_hw: (H, W) bool; None or an empty one counts for nothing.
        prompts: in px of the slice, at least one of them.
        size_hw: of the slice, px.

    Returns:
        (4,) float64, px.
    """
    boxes = [np.concatenate([point, point + 1]) for point in prompts.points_xy]
    boxes += [stroke.extent((size_hw[0], size_hw[1])) for stroke in prompts.strokes]
    if prompts.box_xyxy is not None:
        boxes.append(prompts.box_xyxy)
    if mask_hw is not None and mask_hw.any():
        boxes.append(box_of_mask(mask_hw))
    stacked = np.stack(boxes)
    return np.concatenate([stacked[:, :2].min(axis=0), stacked[:, 2:].max(axis=0)])


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


def _parts_at(mask_hw: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The 8-connected parts of a mask that hold one of some pixels; empty if all of these are outside."""
    seed = np.zeros_like(mask_hw)
    seed[y, x] = True
    return parts_touching(mask_hw, seed)
