"""How well two masks agree: Dice, intersection over union, and the share of the surface that is where it should be."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import floor, sqrt

import numpy as np

# The published evaluation adds this to numerator and denominator, so that two empty masks agree perfectly.
_EPSILON = 1e-7
# A distance equal to the tolerance counts as within it, also where both are rounded.
_SLACK = 1e-9


class MetricError(ValueError):
    """Two arrays that cannot be compared as masks."""


def dice(mask_a: np.ndarray, mask_b: np.ndarray) -> float:
    """Measure the overlap of two masks as 2 |a and b| / (|a| + |b|).

    Args:
        mask_a: any shape, bool, or numbers with one positive value besides 0.
        mask_b: same shape, likewise; the order of the two does not matter.

    Returns:
        0 to 1; 1 if both masks are empty.

    Raises:
        MetricError: the shapes differ, or an array is not a mask.
    """
    inside_a, inside_b = _inside(mask_a, mask_b)
    both = np.count_nonzero(inside_a & inside_b)
    total = np.count_nonzero(inside_a) + np.count_nonzero(inside_b)
    return float((2 * both + _EPSILON) / (total + _EPSILON))


def iou(mask_a: np.ndarray, mask_b: np.ndarray) -> float:
    """Measure the overlap of two masks as |a and b| / |a or b|.

    Args:
        mask_a: any shape, bool, or numbers with one positive value besides 0.
        mask_b: same shape, likewise; the order of the two does not matter.

    Returns:
        0 to 1; 1 if both masks are empty.

    Raises:
        MetricError: the shapes differ, or an array is not a mask.
    """
    inside_a, inside_b = _inside(mask_a, mask_b)
    both = np.count_nonzero(inside_a & inside_b)
    either = np.count_nonzero(inside_a | inside_b)
    return float((both + _EPSILON) / (either + _EPSILON))


def normalised_surface_distance(
    mask_a: np.ndarray, mask_b: np.ndarray, tolerance: float, spacing: float | Sequence[float] = 1.0
) -> float:
    """Measure which share of both surfaces lies within a tolerance of the other one.

    The surface of a mask is those of its pixels that touch a pixel outside it along an axis; what lies beyond the
    array is outside. Each surface pixel counts once: the sum over both masks of pixels that are near, over all.

    Args:
        mask_a: any shape, bool, or numbers with one positive value besides 0.
        mask_b: same shape, likewise; the order of the two does not matter.
        tolerance: greatest distance between pixel centres, in the unit of `spacing`.
        spacing: distance of pixels, the same along all axes or one for each.

    Returns:
        0 to 1; 1 if both masks are empty, 0 if one of them is.

    Raises:
        MetricError: the shapes differ, an array is not a mask, or tolerance or spacing is not usable.
    """
    inside_a, inside_b = _inside(mask_a, mask_b)
    steps = _checked_steps(inside_a.ndim, tolerance, spacing)
    if not (inside_a.any() and inside_b.any()):
        return float(inside_a.any() == inside_b.any())
    inside_a, inside_b = _cropped(inside_a, inside_b)
    surface_a, surface_b = _surface(inside_a), _surface(inside_b)
    near_a = surface_a & _within(surface_b, tolerance, steps)
    near_b = surface_b & _within(surface_a, tolerance, steps)
    near = np.count_nonzero(near_a) + np.count_nonzero(near_b)
    return float(near / (np.count_nonzero(surface_a) + np.count_nonzero(surface_b)))


def _checked_steps(ndim: int, tolerance: float, spacing: float | Sequence[float]) -> tuple[float, ...]:
    steps = np.broadcast_to(spacing, ndim) if np.ndim(spacing) == 0 else np.ravel(spacing)
    if len(steps) != ndim or not all(0 < step < np.inf for step in steps):
        raise MetricError(f"the spacing {spacing} is not one positive number for each of {ndim} axes")
    if not 0 <= tolerance < np.inf:
        raise MetricError(f"the tolerance {tolerance} is not a distance; give 0 or more")
    return tuple(float(step) for step in steps)


def _cropped(*masks: np.ndarray) -> list[np.ndarray]:
    """Both masks without what is empty in both around them: the surfaces stay, and there is less to look at."""
    either = np.logical_or(*masks)
    box = []
    for axis in range(either.ndim):
        filled = np.flatnonzero(either.any(axis=tuple(other for other in range(either.ndim) if other != axis)))
        box.append(slice(filled[0], filled[-1] + 1))
    return [mask[tuple(box)] for mask in masks]


def _surface(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    core = mask.copy()
    for axis in range(mask.ndim):
        for start in (0, 2):
            neighbour = [slice(1, -1)] * mask.ndim
            neighbour[axis] = slice(start, start + mask.shape[axis])
            core &= padded[tuple(neighbour)]
    return mask & ~core


def _within(surface: np.ndarray, tolerance: float, steps: tuple[float, ...]) -> np.ndarray:
    """Where the nearest surface pixel is at most `tolerance` away.

    Row by row: for each offset along the other axes, what is left of the tolerance is a window along the last one.
    """
    reaches = [min(floor(tolerance / step + _SLACK), size - 1) for step, size in zip(steps, surface.shape, strict=True)]
    near = np.zeros_like(surface)
    for offset in product(*(range(-reach, reach + 1) for reach in reaches[:-1])):
        rest = tolerance**2 * (1 + _SLACK) - sum((n * step) ** 2 for n, step in zip(offset, steps, strict=False))
        if rest >= 0:
            half = min(floor(sqrt(rest) / steps[-1] + _SLACK), surface.shape[-1] - 1)
            to, of = _shifted(offset)
            near[to] |= _widened(surface[of], half)
    return near


def _shifted(offset: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where to write and where to read, so that what is read moves by `offset`."""
    to = tuple(slice(max(n, 0), min(n, 0) or None) for n in offset)
    of = tuple(slice(max(-n, 0), min(-n, 0) or None) for n in offset)
    return to, of


def _widened(rows: np.ndarray, half: int) -> np.ndarray:
    """Each True spread by `half` pixels to both sides along the last axis."""
    if not half:
        return rows
    room = [(0, 0)] * (rows.ndim - 1)
    counts = np.cumsum(np.pad(rows, [*room, (half + 1, half)]), axis=-1, dtype=np.int32)
    return counts[..., 2 * half + 1 :] > counts[..., : -2 * half - 1]


def _inside(mask_a: np.ndarray, mask_b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inside_a, inside_b = _as_bool(mask_a), _as_bool(mask_b)
    if inside_a.shape != inside_b.shape:
        raise MetricError(
            f"the masks have different shapes, {inside_a.shape} and {inside_b.shape}; "
            "bring both to the same slice or volume first"
        )
    return inside_a, inside_b


def _as_bool(mask: np.ndarray) -> np.ndarray:
    values = np.asarray(mask)
    if values.dtype == bool:
        return values
    if values.dtype.kind not in "iuf":
        raise MetricError(f"a mask holds booleans or numbers, not {values.dtype}; give a boolean array")
    inside = values != 0
    # Logits, probabilities and label maps would otherwise count as inside wherever they are not exactly 0.
    if inside.any() and not _is_one_positive_value(values[inside]):
        raise MetricError(
            "a mask has one positive value besides 0, this array has others; "
            "threshold logits (logits > 0) or choose one label (labels == 3) first"
        )
    return inside


def _is_one_positive_value(values: np.ndarray) -> bool:
    return bool(values[0] > 0 and (values == values[0]).all())
