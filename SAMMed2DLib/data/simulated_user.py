"""Simulated clicks of one object: random draws of the reference protocol, and deterministic ones of a simulated user.

Points are (x, y) in px of the mask given, labels 1 = on the object, 0 = beside it. The random draws take
numpy's Generator or its legacy RandomState; with the latter they repeat the reference protocol's numbers.
"""

from __future__ import annotations

import numpy as np

from SAMMed2DLib.imaging.components import innermost_point, label_components, largest_component

Rng = np.random.Generator | np.random.RandomState

NOT_A_POINT = -1
PUBLISHED_FALLBACK_HW = (256, 256)


class SimulationError(ValueError):
    """A click that cannot be drawn from the mask given; the message says why."""


def first_point(mask_hw: np.ndarray, rng: Rng) -> tuple[np.ndarray, int]:
    """Draw the first click of the reference protocol: any pixel of the object, each as likely.

    Args:
        mask_hw: (H, W) bool or 0/1, the object.
        rng: Source of random numbers; one draw.
    Returns:
        (2,) float64 point (x, y) and its label: 1, or 0 on any pixel where the mask is empty.
    """
    mask = _binary(mask_hw)
    points = _pixels_xy(mask if mask.any() else ~mask)
    return points[rng.choice(len(points))], int(mask.any())


def first_points(mask_hw: np.ndarray, count: int, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Draw several first clicks of the reference protocol: half on the object, half (or one more) beside it, shuffled.

    Args:
        mask_hw: (H, W) bool or 0/1, the object.
        count: Number of clicks; 1 is the draw of `first_point`.
        rng: Source of random numbers.
    Returns:
        (count, 2) float64 points (x, y) and (count,) int64 labels.
    Raises:
        SimulationError: count is below 1, or several clicks are asked for where the mask is empty or full.
    """
    if count < 1:
        raise SimulationError(f"{count} clicks cannot be drawn; ask for one or more.")
    if count == 1:
        point, label = first_point(mask_hw, rng)
        return point[None], np.array([label])
    mask = _binary(mask_hw)
    if mask.all() or not mask.any():
        raise SimulationError("Clicks on and beside the object need a mask that is neither empty nor full.")
    positive = _drawn(_pixels_xy(mask), count // 2, rng)
    negative = _drawn(_pixels_xy(~mask), count - count // 2, rng)
    order = rng.permutation(count)
    labels = np.repeat([1, 0], [len(positive), len(negative)])
    return np.concatenate([positive, negative])[order], labels[order]


def error_points(
    prediction_hw: np.ndarray,
    label_hw: np.ndarray,
    count: int,
    rng: Rng,
    fallback_hw: tuple[int, int] | None = PUBLISHED_FALLBACK_HW,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw corrective clicks of the reference protocol: pixels where prediction and object differ, with repeats.

    Args:
        prediction_hw: (H, W) bool or 0/1.
        label_hw: (H, W) bool or 0/1, the object.
        count: Number of clicks.
        rng: Source of random numbers.
        fallback_hw: Where nothing is wrong, pixels of a frame of this size are drawn; published is 256 x 256
            whatever the size of the mask. None takes the size of the mask.
    Returns:
        (count, 2) float64 points (x, y) and (count,) int64 labels: 1 where the object was missed, 0 where the
        prediction is too large, NOT_A_POINT where nothing is wrong.
    Raises:
        SimulationError: the masks differ in size.
    """
    prediction, label = _pair(prediction_hw, label_hw)
    wrong = np.flatnonzero(prediction != label)
    if not len(wrong):
        return _points_anywhere(fallback_hw or label.shape, count, rng)
    chosen = wrong[rng.choice(len(wrong), count)]
    row, column = np.divmod(chosen, label.shape[1])
    return np.stack([column, row], 1).astype(np.float64), label.ravel()[chosen].astype(np.int64)


def centre_point(mask_hw: np.ndarray) -> np.ndarray:
    """Return the first click of the simulated user: the innermost pixel of the largest region of the object.

    Args:
        mask_hw: (H, W) bool or 0/1, the object.
    Returns:
        (2,) float64 point (x, y); of several innermost pixels the one nearest to their mean.
    Raises:
        SimulationError: the mask is empty.
    """
    mask = _binary(mask_hw)
    if not mask.any():
        raise SimulationError("An empty mask has no centre; choose an object that is visible.")
    return innermost_point(largest_component(mask))


def centre_error_point(prediction_hw: np.ndarray, label_hw: np.ndarray) -> tuple[np.ndarray, int] | None:
    """Return the next click of the simulated user: the middle of the largest connected error.

    Missed and surplus pixels form regions of their own.

    Args:
        prediction_hw: (H, W) bool or 0/1.
        label_hw: (H, W) bool or 0/1, the object.
    Returns:
        (2,) float64 point (x, y) and its label (1 = missed, 0 = surplus); None where nothing is wrong.
    Raises:
        SimulationError: the masks differ in size.
    """
    prediction, label = _pair(prediction_hw, label_hw)
    errors = label_components(np.where(prediction != label, 1 + label.astype(np.uint8), 0))
    if not len(errors):
        return None
    largest = int(errors.area_px.argmax()) + 1
    return innermost_point(errors.mask(largest)), int(errors.label[largest - 1]) - 1


def _binary(mask_hw: np.ndarray) -> np.ndarray:
    mask = np.asarray(mask_hw) != 0
    if mask.ndim != 2 or not mask.size:
        raise SimulationError(f"A mask has shape (H, W) with pixels in it, not {mask.shape}; take one mask.")
    return mask


def _pair(prediction_hw: np.ndarray, label_hw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    prediction, label = _binary(prediction_hw), _binary(label_hw)
    if prediction.shape != label.shape:
        raise SimulationError(
            f"Prediction {prediction.shape} and object {label.shape} differ in size; resize one."
        )
    return prediction, label


def _pixels_xy(mask: np.ndarray) -> np.ndarray:
    """Return the pixels of a mask in row-major order as (N, 2) float64 (x, y)."""
    return np.argwhere(mask)[:, ::-1].astype(np.float64)


def _drawn(points_xy: np.ndarray, count: int, rng: Rng) -> np.ndarray:
    return points_xy[rng.choice(len(points_xy), count)]


def _points_anywhere(size_hw: tuple[int, ...], count: int, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    draw = rng.randint if isinstance(rng, np.random.RandomState) else rng.integers
    points_yx = draw(0, size_hw, (count, 2))
    return _drawn(points_yx[:, ::-1].astype(np.float64), count, rng), np.full(count, NOT_A_POINT)
