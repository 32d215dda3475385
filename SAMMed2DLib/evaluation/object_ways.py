"""Ways from a box in space around an object to all of it, to be measured beside each other."""

from __future__ import annotations

import numpy as np

from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.propagation.estimate import SliceImage
from SAMMed2DLib.propagation.schedule import PropagationError
from SAMMed2DLib.propagation.whole_object import segment_object

WHOLE_OBJECT, ELLIPSOID, FILLED = "whole object", "ellipsoid", "filled box"
# From a slice, with keyframes that the model finds up and down; it is no way of the product, see the results.
FOUND_KEYFRAMES = "with found keyframes"
BOX_WAYS = (WHOLE_OBJECT, ELLIPSOID, FILLED)


def in_box(
    way: str, session: Session, slice_image: SliceImage, mask: np.ndarray, zoom: bool | None, slice_px: float
) -> np.ndarray:
    """What a way finds in the box around an object: (N, H, W) bool.

    Args:
        way: one of `BOX_WAYS`.
        session: the model.
        slice_image: returns a slice, (H, W, 3) uint8, by its number.
        mask: (N, H, W) bool, the object, for its box only.
        zoom: ask on crops around the prompts; None does what the weights were trained for.
        slice_px: how far slices are from each other, in pixels of a slice.
    """
    found = np.zeros_like(mask)
    ends = [
        (int(at[0]), int(at[-1]) + 1) for at in (np.flatnonzero(mask.any(axis=a)) for a in ((1, 2), (0, 2), (0, 1)))
    ]
    (first, last), (y0, y1), (x0, x1) = ends
    boxes = {index: np.array([x0, y0, x1, y1], float) for index in range(first, last)}
    if way == FILLED:
        found[first:last, y0:y1, x0:x1] = True
    elif way == ELLIPSOID:
        found[first:last, y0:y1, x0:x1] = _ellipsoid((last - first, y1 - y0, x1 - x0))
    else:
        try:
            for result in segment_object(
                session, slice_image, 0, len(mask) - 1, boxes=boxes, zoom=zoom, slice_px=slice_px
            ):
                found[result.index] = result.mask
        except PropagationError:  # the model found nothing
            return found
    return found


def _ellipsoid(shape: tuple[int, int, int]) -> np.ndarray:
    """The largest ellipsoid in a box of so many voxels, bool."""
    axes = [(np.arange(n) - (n - 1) / 2) / (n / 2) for n in shape]
    k, j, i = np.meshgrid(*axes, indexing="ij", sparse=True)
    return np.asarray(k**2 + j**2 + i**2 <= 1)
