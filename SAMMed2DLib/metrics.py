"""How well two masks agree: Dice and intersection over union."""

from __future__ import annotations

import numpy as np

# The published evaluation adds this to numerator and denominator, so that two empty masks agree perfectly.
_EPSILON = 1e-7


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
