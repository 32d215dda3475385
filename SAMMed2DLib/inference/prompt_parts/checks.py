"""The numbers that prompts are made of: their shapes and types at once, their values once the slice is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from SAMMed2DLib.inference.prompt_parts.stroke import Stroke

# A click has been through several 4x4 products; a border point must not be lost to their rounding.
_SLACK_PX = 1e-6
# A line between pixels must not go over other ones because it has been through matrices or a file.
_STROKE_DECIMALS = 3


class PromptError(ValueError):
    """Prompts that do not say where the object is."""


class OutsideSliceError(PromptError):
    """A point or a box that is not on the slice."""


class NoAreaError(PromptError):
    """A box without an area."""


class ContradictionError(PromptError):
    """A pixel that is said to be inside and outside."""


class EmptyMaskError(PromptError):
    """A mask without a single pixel inside."""


def _numbers(values: Any, what: str) -> np.ndarray:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise PromptError(f"{what} cannot be read as one array of numbers: {error}") from error
    if array.size and array.dtype.kind not in "biuf":
        raise PromptError(f"{what} must hold numbers, not {array.dtype}")
    return array


def _frozen(values: np.ndarray, dtype: type[np.number]) -> np.ndarray:
    array: np.ndarray = np.array(values, dtype, order="C")
    array += dtype(0)  # -0.0 becomes 0.0: equal prompts must have equal bytes
    array.flags.writeable = False
    return array


def points_array(points_xy: Any) -> np.ndarray:
    """Points, (N, 2) float64, read-only; a PromptError where they are none."""
    array = _numbers(points_xy, "points")
    if array.size == 0:
        return _frozen(np.empty((0, 2)), np.float64)
    if array.ndim != 2 or array.shape[1] != 2:
        raise PromptError(f"points have shape (N, 2), not {array.shape}; give a list of (x, y)")
    return _frozen(array, np.float64)


def labels_array(labels: Any, count: int) -> np.ndarray:
    """Labels, (count,) int64, read-only; a PromptError where they are no whole numbers, or not so many."""
    array = _numbers(labels, "labels")
    if array.size != count or (count and array.ndim != 1):
        raise PromptError(f"{count} points need labels of shape ({count},), not {array.shape}")
    if not np.isfinite(array).all() or (array != np.rint(array)).any():
        raise PromptError(f"labels are whole numbers, 1 = positive and 0 = negative, not {array.tolist()}")
    return _frozen(array.reshape(count), np.int64)


def box_array(box_xyxy: Any) -> np.ndarray:
    """A box, (4,) float64, read-only; a PromptError where it is not four numbers."""
    array = _numbers(box_xyxy, "a box")
    if array.shape != (4,):
        raise PromptError(f"a box is four numbers (x0, y0, x1, y1), not an array of shape {array.shape}")
    return _frozen(array, np.float64)


def logits_array(low_res_logits: Any) -> np.ndarray:
    """A previous prediction, (L, L) float32, read-only; a PromptError where it is none."""
    array = _numbers(low_res_logits, "a previous prediction")
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.size == 0:
        raise PromptError(f"a previous prediction has shape (L, L), not {array.shape}; give the low_res_logits of one")
    return _frozen(array, np.float32)


def choices_tuple(choices: Any) -> tuple[tuple[int, int], ...]:
    """Pairs of how many prompts came before, and the number of the candidate; a PromptError otherwise."""
    found = dict(choices)
    for count, number in found.items():
        if not all(isinstance(n, int | np.integer) for n in (count, number)) or count < 0:
            raise PromptError(f"a choice is (number of points, number of the candidate), not ({count}, {number})")
        if number < 1:
            raise PromptError(f"candidates are counted from 1, not {number}")
    return tuple(sorted((int(count), int(number)) for count, number in found.items()))


def counts_tuple(counts: Any) -> tuple[int, ...]:
    """Numbers of prompts after which a mask was accepted, each once; a PromptError where they are no whole numbers."""
    if not all(isinstance(n, int | np.integer) and n >= 0 for n in counts):
        raise PromptError(f"masks are accepted after so many points, whole numbers from 0 on, not {tuple(counts)}")
    return tuple(sorted({int(n) for n in counts}))


def size_xy_of(size_hw: tuple[int, int]) -> np.ndarray:
    """Width and height of a slice, (2,); a PromptError where it has none."""
    size = np.asarray(size_hw)
    if size.shape != (2,) or size.dtype.kind not in "iu" or (size < 1).any():
        raise PromptError(f"the size of a slice is (height, width) of at least (1, 1), not {size_hw}")
    return size[::-1]


def check_points(points_xy: np.ndarray, labels: np.ndarray, size_xy: np.ndarray) -> None:
    """See that points are on the slice and agree with each other.

    Args:
        points_xy: (N, 2), slice px.
        labels: (N,), 1 = positive, 0 = negative.
        size_xy: width and height of the slice.

    Raises:
        PromptError: one is not finite or outside, has another label, or is on the pixel of one of the other side.
    """
    for point, label in zip(points_xy, labels, strict=True):
        name = f"the point {_written(point)}"
        if not np.isfinite(point).all():
            raise PromptError(f"{name} is not finite; give two finite numbers")
        if (point < -0.5 - _SLACK_PX).any() or (point > size_xy - 0.5 + _SLACK_PX).any():
            last_x, last_y = size_xy - 1
            raise OutsideSliceError(f"{name} is outside the slice; X goes from 0 to {last_x}, Y from 0 to {last_y}")
        if label not in (0, 1):
            raise PromptError(f"{name} has label {label}; use 1 for positive and 0 for negative")
    pixels = np.clip(np.floor(points_xy + 0.5), 0, size_xy - 1).astype(np.int64)
    positive, negative = ({tuple(pixel) for pixel in pixels[labels == label].tolist()} for label in (1, 0))
    if contradictory := sorted(positive & negative):
        x, y = contradictory[0]
        raise ContradictionError(f"the pixel {x},{y} is both positive and negative; remove one point")


def strokes_tuple(strokes: Any, points: int) -> tuple[Stroke, ...]:
    """Strokes in their order, with lines of their own, read-only; a PromptError where they are none.

    Args:
        strokes: of class `Stroke`.
        points: how many points there are among them.
    """
    found = []
    for stroke in strokes:
        if not isinstance(stroke, Stroke):
            raise PromptError(f"strokes are of class Stroke, not {type(stroke).__name__}")
        line = _frozen(np.round(points_array(stroke.points_xy), _STROKE_DECIMALS), np.float64)
        if not len(line):
            raise PromptError(f"a {stroke.word} has at least one point; leave out the one that has none")
        if stroke.label not in (0, 1):
            raise PromptError(f"a {stroke.word} has label {stroke.label}; use 1 for inside and 0 for outside")
        after = min(max(int(stroke.after), 0), points)
        found.append(replace(stroke, points_xy=line, label=int(stroke.label), after=after))
    return tuple(sorted(found, key=lambda stroke: stroke.after))


def check_strokes(strokes: Sequence[Stroke], size_xy: np.ndarray) -> None:
    """See that each stroke means a part of the slice, whose width and height are given; a PromptError otherwise."""
    for stroke in strokes:
        name = f"the {stroke.word} from {_written(stroke.points_xy[0])}"
        if not np.isfinite(stroke.points_xy).all():
            raise PromptError(f"{name} is not finite; give finite numbers")
        low, high = stroke.points_xy.min(axis=0), stroke.points_xy.max(axis=0)
        if (low < -size_xy).any() or (high > 2 * size_xy).any() or (high < -0.5).any() or (low > size_xy - 0.5).any():
            last_x, last_y = size_xy - 1
            raise OutsideSliceError(f"{name} is outside the slice; X goes from 0 to {last_x}, Y from 0 to {last_y}")
        if not len(stroke.pixels((int(size_xy[1]), int(size_xy[0])))):
            raise NoAreaError(f"{name} goes around no pixel of the slice; draw it larger")


def _written(coordinates: np.ndarray) -> str:
    """As people write them: "30,6.5"."""
    return ",".join(f"{round(number, 2):g}" for number in coordinates.tolist())


def proper_box(box_xyxy: np.ndarray) -> np.ndarray:
    """The box itself; a PromptError where it is not finite or has no area."""
    name = f"the box {_written(box_xyxy)}"
    if not np.isfinite(box_xyxy).all():
        raise PromptError(f"{name} is not finite; give four finite numbers")
    if (box_xyxy[2:] <= box_xyxy[:2]).any():
        raise NoAreaError(f"{name} is inverted or has no area; X0 must be less than X1, and Y0 less than Y1")
    return box_xyxy


def clipped_box(box_xyxy: np.ndarray, size_xy: np.ndarray) -> np.ndarray:
    """The part of a box that is on a slice of this width and height; a PromptError where there is none."""
    box = proper_box(box_xyxy)
    clipped = np.clip(box, 0, np.tile(size_xy, 2))
    if (clipped[2:] <= clipped[:2]).any():
        width, height = size_xy
        raise OutsideSliceError(
            f"the box {_written(box)} is outside the slice; X goes from 0 to {width} and Y from 0 to {height}"
        )
    return clipped
