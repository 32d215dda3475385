"""Connected regions of a label image and how deep inside a region each pixel lies (numpy only)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Twice the square of one more than this fits into 16 bits.
_SHORT_REACH_PX = 180


@dataclass(frozen=True, eq=False)
class Components:
    """The connected regions of one label image.

    Attributes:
        index_hw: (H, W) int32, 0 = background, k = the k-th region in row-major order of first pixels.
        label: (n,) the label of region k at position k - 1.
        area_px: (n,) int64, pixels of region k at position k - 1.
    """

    index_hw: np.ndarray
    label: np.ndarray
    area_px: np.ndarray

    def __len__(self) -> int:
        """Return the number of regions."""
        return len(self.label)

    def mask(self, number: int) -> np.ndarray:
        """Return region `number` (1..n) as (H, W) bool."""
        return self.index_hw == number


def label_components(label_hw: np.ndarray) -> Components:
    """Split a label image into 8-connected regions of equal non-zero label.

    Works on horizontal runs, so that its cost follows the length of the outlines, not the number of labels.

    Args:
        label_hw: (H, W) bool or integer, 0 = background.
    Returns:
        The regions of all labels together.
    Raises:
        ValueError: the array is not two-dimensional.
    """
    if label_hw.ndim != 2:
        raise ValueError(f"A label image has two dimensions (height, width); this one has {label_hw.ndim}.")
    if label_hw.size == 0:
        return Components(
            np.zeros(label_hw.shape, np.int32), np.zeros(0, label_hw.dtype), np.zeros(0, np.int64)
        )
    start, value, length = _runs(label_hw)
    first, second = _touching_runs(start, length, value, label_hw.shape[1])
    root = _roots(len(start), first, second)
    return _from_roots(root, value, length, label_hw.shape)


def _runs(label_hw: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the start (flat index), label and length of every horizontal run, background included."""
    begins = np.ones(label_hw.shape, bool)
    np.not_equal(label_hw[:, 1:], label_hw[:, :-1], out=begins[:, 1:])
    start = np.flatnonzero(begins)
    return start, label_hw.ravel()[start], np.append(start[1:], label_hw.size) - start


def _touching_runs(
    start: np.ndarray, length: np.ndarray, value: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of runs in neighbouring rows that touch (also diagonally) and carry the same label."""
    row, column = start // width, start % width
    begin_key = row * (width + 2) + column
    end_key = begin_key + length
    low = np.searchsorted(end_key, begin_key + width + 2, "left")
    high = np.searchsorted(begin_key, end_key + width + 2, "right")
    count = np.where(value != 0, np.maximum(high - low, 0), 0)
    first = np.repeat(np.arange(len(start)), count)
    second = np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count) + low[first]
    same = value[first] == value[second]
    return first[same], second[same]


def _roots(n: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the smallest run reachable from each run over the given pairs."""
    root = np.arange(n)
    while (root[first] != root[second]).any():
        smallest = np.minimum(root[first], root[second])
        np.minimum.at(root, root[first], smallest)
        np.minimum.at(root, root[second], smallest)
        root = _followed(root)
    return root


def _followed(root: np.ndarray) -> np.ndarray:
    """Return the end of the way that begins at each run."""
    further = root[root]
    while (further != root).any():
        root, further = further, further[further]
    return root


def _from_roots(
    root: np.ndarray, value: np.ndarray, length: np.ndarray, shape: tuple[int, ...]
) -> Components:
    """Number the regions and paint them."""
    is_root = (root == np.arange(len(root))) & (value != 0)
    number = np.where(is_root, np.cumsum(is_root), 0).astype(np.int32)[root]
    n = int(is_root.sum())
    area = np.bincount(number, weights=length, minlength=n + 1)[1:].astype(np.int64)
    return Components(np.repeat(number, length).reshape(shape), value[is_root], area)


def largest_component(mask_hw: np.ndarray) -> np.ndarray:
    """Return the largest 8-connected region of a mask, the first one where several are equal.

    Args:
        mask_hw: (H, W) bool or 0/1.
    Returns:
        (H, W) bool; all False for an empty mask.
    """
    parts = label_components(np.asarray(mask_hw) != 0)
    if not len(parts):
        return np.zeros(np.shape(mask_hw), bool)
    return parts.mask(int(np.argmax(parts.area_px)) + 1)


def parts_touching(mask_hw: np.ndarray, seed_hw: np.ndarray) -> np.ndarray:
    """Return the 8-connected regions of a mask that overlap another one.

    Args:
        mask_hw: (H, W) bool.
        seed_hw: (H, W) bool.
    Returns:
        (H, W) bool.
    """
    parts = label_components(mask_hw)
    is_kept = np.zeros(len(parts) + 1, bool)
    is_kept[parts.index_hw[seed_hw & mask_hw]] = True
    return is_kept[parts.index_hw]


def innermost_point(mask_hw: np.ndarray) -> np.ndarray:
    """Return the pixel of a mask, not empty, that is farthest from its outline.

    Args:
        mask_hw: (H, W) bool, one region.
    Returns:
        (2,) float64 point (x, y), px; of several innermost pixels the one nearest to their mean.
    """
    rows, columns = np.flatnonzero(mask_hw.any(axis=1)), np.flatnonzero(mask_hw.any(axis=0))
    depth = squared_depth(mask_hw[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    deepest = np.argwhere(depth == depth.max())[:, ::-1].astype(np.float64)
    nearest = ((deepest - deepest.mean(axis=0)) ** 2).sum(axis=1).argmin()
    return deepest[nearest] + (columns[0], rows[0])


def squared_depth(mask_hw: np.ndarray) -> np.ndarray:
    """Return the squared distance of every pixel to the nearest pixel outside the mask.

    What lies beyond the image counts as outside.

    Args:
        mask_hw: (H, W) bool.
    Returns:
        (H, W) int32, square pixels between pixel centres; 0 outside the mask.
    """
    return squared_distance(np.pad(np.asarray(mask_hw) == 0, 1, constant_values=True))[1:-1, 1:-1]


def squared_distance(mask_hw: np.ndarray, reach_px: int | None = None) -> np.ndarray:
    """Return the squared distance of every pixel to the nearest pixel of the mask.

    Args:
        mask_hw: (H, W) bool.
        reach_px: distances up to here are exact, of greater ones it is only known that they are greater, which is
            faster; None wants all exact.
    Returns:
        (H, W) int32, square pixels between pixel centres; 0 in the mask; (H + W)^2 everywhere for an empty mask, if all
        are to be exact.
    """
    columns = np.ascontiguousarray(_distance_in_columns(np.asarray(mask_hw) != 0).T)
    last_shift = len(columns) - 1
    if reach_px is not None:
        last_shift = min(last_shift, reach_px)
        columns = np.minimum(columns, reach_px + 1)
    is_short = reach_px is not None and reach_px <= _SHORT_REACH_PX
    columns = columns.astype(np.uint16 if is_short else np.int32)
    columns *= columns
    distance, shifted = columns.copy(), np.empty_like(columns)  # (W, H): a shift by columns moves whole rows of memory
    for shift in range(1, last_shift + 1):
        if reach_px is None and shift * shift >= distance.max():
            break
        np.add(columns, columns.dtype.type(shift * shift), out=shifted)
        np.minimum(distance[shift:], shifted[:-shift], out=distance[shift:])
        np.minimum(distance[:-shift], shifted[shift:], out=distance[:-shift])
    return distance.T.astype(np.int32)


def _distance_in_columns(mask: np.ndarray) -> np.ndarray:
    """Return the distance to the nearest pixel of the mask in the same column; H + W where there is none."""
    dtype = np.int16 if 3 * sum(mask.shape) <= np.iinfo(np.int16).max else np.int32
    far = dtype(sum(mask.shape))
    rows = np.arange(mask.shape[0], dtype=dtype)[:, None]
    above = np.maximum.accumulate(np.where(mask, rows, -far), axis=0)
    below = np.minimum.accumulate(np.where(mask, rows, 2 * far)[::-1], axis=0)[::-1]
    return np.minimum(np.minimum(rows - above, below - rows), far)
