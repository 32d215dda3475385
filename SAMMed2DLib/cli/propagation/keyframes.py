"""Segments that were drawn by hand, to be carried on: what is asked for of them, and where it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SAMMed2DLib.cli.common.prompt_options import RequestError
from SAMMed2DLib.io.seg_nrrd import Segmentation


def chosen_masks(drawn: Segmentation, names: Sequence[str] | None, path: str) -> dict[int, np.ndarray]:
    """Choose the masks of some segments.

    Args:
        drawn: the segmentation that holds the keyframes.
        names: of the segments; None for all.
        path: of its file, for messages.

    Returns:
        (K, J, I) bool each, by the segment's position in the file.

    Raises:
        RequestError: a name is not there, or every segment is empty.
    """
    there = [segment.name for segment in drawn.segments]
    missing = [name for name in names or () if name not in there]
    if missing:
        raise RequestError(f"{path}: no segment {missing[0]!r}; there are: {', '.join(there)}")
    masks = {
        n: drawn.layers_lkji[layer] == value
        for n, (layer, value) in enumerate(drawn.places)
        if names is None or there[n] in names
    }
    if not any(mask.any() for mask in masks.values()):
        raise RequestError(f"{path}: all segments are empty; segment one slice at least")
    return masks


def fewest_slices(masks: Sequence[np.ndarray], spacing_mm: np.ndarray) -> int:
    """The array axis along which the fewest slices have a mask; of several the one with the thickest slices."""
    counts = [sum(int(slices_shown(mask, axis).sum()) for mask in masks) for axis in range(3)]
    return min(range(3), key=lambda axis: (counts[axis], -float(spacing_mm[2 - axis])))


def slices_shown(mask_kji: np.ndarray, axis: int) -> np.ndarray:
    """Which slices along an array axis are not empty: (N,) bool."""
    return np.asarray(mask_kji.any(axis=tuple(a for a in range(3) if a != axis)))
