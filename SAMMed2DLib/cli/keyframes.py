"""Segments that were drawn by hand, to be carried on: whether they fit the image, and what is asked for of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..segmentation_io import Segmentation
from ..volume_io import Volume
from .prompts import RequestError
from .words import times

# Two geometries are the same if no corner is farther off than this share of the smallest voxel side.
_SAME_GEOMETRY = 0.05


def check_geometry(path: str, drawn: Segmentation, volume: Volume) -> None:
    """Refuse masks of another geometry than the image's.

    Raises:
        RequestError: the message says what to do.
    """
    advice = (
        "give the image that it was drawn on, or resample it to this image (in 3D Slicer: Segmentations, export "
        "to a labelmap with this image as reference volume)"
    )
    size = drawn.layers_lkji.shape[:0:-1]
    if size != volume.size_ijk:
        raise RequestError(
            f"{path}: has {times(size)} voxels and the image {times(volume.size_ijk)}, so it is of another "
            f"image; {advice}"
        )
    corners = np.array([[*np.array(c) * (np.array(size) - 1), 1] for c in np.ndindex(2, 2, 2)], float)
    off = np.linalg.norm(corners @ (drawn.ijk_to_ras - volume.ijk_to_ras).T, axis=1).max()
    if off > _SAME_GEOMETRY * volume.spacing_mm.min():
        raise RequestError(f"{path}: lies up to {off:.3g} mm away from the image; {advice}")


def chosen_masks(drawn: Segmentation, names: Sequence[str] | None, path: str) -> dict[int, np.ndarray]:
    """Masks (K, J, I) bool of the segments of these names, None for all, by their position in the file.

    Raises:
        RequestError: a name is not there, or every segment is empty.
    """
    there = [one.name for one in drawn.segments]
    missing = [name for name in names or () if name not in there]
    if missing:
        raise RequestError(f"{path}: no segment {missing[0]!r}; there are: {', '.join(there)}")
    masks = {
        n: drawn.layers_lkji[layer] == value
        for n, (layer, value) in enumerate(drawn.places)
        if names is None or there[n] in names
    }
    if not any(mask.any() for mask in masks.values()):
        raise RequestError(f"{path}: there is no keyframe, all segments are empty; segment one slice at least")
    return masks


def fewest_slices(masks: Sequence[np.ndarray], spacing_mm: np.ndarray) -> int:
    """The array axis along which the fewest slices have a mask; of several the one with the thickest slices."""
    counts = [sum(int(slices_shown(mask, axis).sum()) for mask in masks) for axis in range(3)]
    return min(range(3), key=lambda axis: (counts[axis], -float(spacing_mm[2 - axis])))


def slices_shown(mask_kji: np.ndarray, axis: int) -> np.ndarray:
    """Which slices along an array axis are not empty: (N,) bool."""
    return np.asarray(mask_kji.any(axis=tuple(a for a in range(3) if a != axis)))
