"""What the user says about one object on one slice: points, a box, a previous prediction.

Coordinates are slice px (`_xy`): x = column, y = row, an integer is a pixel centre. A box is half-open as
in the published training data: it covers the columns x0 .. x1 - 1 and the rows y0 .. y1 - 1, so the box of
the whole slice is (0, 0, width, height). Two corners drawn in slice px, where the slice begins at -0.5,
become a box by adding 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from SAMMed2DLib.imaging.components import largest_component

# How prompts are drawn, red, green and blue in 0..1: told apart by colour-blind readers too, on grey and over segments.
POSITIVE_COLOR, NEGATIVE_COLOR, BOX_COLOR = (0.20, 0.90, 0.35), (1.00, 0.25, 0.55), (0.25, 0.75, 1.00)
# A click has been through several 4x4 products; a border point must not be lost to their rounding.
_SLACK_PX = 1e-6


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


@dataclass(frozen=True, eq=False)
class Prompts:
    """Prompts of one object on one slice; a value: compared by content, usable as a key, never changed.

    Attributes:
        points_xy: (N, 2) float64, slice px.
        labels: (N,) int64, 1 = positive (inside the object), 0 = negative.
        box_xyxy: (4,) float64, slice px, half-open (x0, y0, x1, y1), or None.
        low_res_logits: (L, L) float32, the logits of the previous prediction (not their sigmoid), or None.
        choices: (n, number) each: after n points, the candidate of this number was taken, from 1, small to large.
        accepted: after so many points each, the mask was accepted: points after them change it near themselves only.

    Raises:
        PromptError: an array of another shape, or that does not hold numbers. Values are judged by `checked`.
    """

    points_xy: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))
    labels: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    box_xyxy: np.ndarray | None = None
    low_res_logits: np.ndarray | None = None
    choices: tuple[tuple[int, int], ...] = ()
    accepted: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Copy the arrays and make them read-only."""
        object.__setattr__(self, "points_xy", _points(self.points_xy))
        object.__setattr__(self, "labels", _labels(self.labels, len(self.points_xy)))
        if self.box_xyxy is not None:
            object.__setattr__(self, "box_xyxy", _box(self.box_xyxy))
        if self.low_res_logits is not None:
            object.__setattr__(self, "low_res_logits", _logits(self.low_res_logits))
        object.__setattr__(self, "choices", _choices(self.choices))
        object.__setattr__(self, "accepted", _counts(self.accepted))

    @classmethod
    def of(
        cls,
        positive: ArrayLike = (),
        negative: ArrayLike = (),
        box: ArrayLike | None = None,
        low_res_logits: ArrayLike | None = None,
    ) -> Prompts:
        """Build prompts from plain sequences.

        Args:
            positive: (P, 2), slice px, points inside the object.
            negative: (Q, 2), slice px, points outside the object; they follow the positive ones.
            box: (4,), slice px, half-open (x0, y0, x1, y1).
            low_res_logits: (L, L), logits of the previous prediction.

        Raises:
            PromptError: an argument of another shape, or that does not hold numbers.
        """
        inside, outside = _points(positive), _points(negative)
        labels = np.repeat(np.array([1, 0]), [len(inside), len(outside)])
        prompts = cls(np.concatenate([inside, outside]), labels)
        return prompts.with_box(box).with_low_res_logits(low_res_logits)

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is given; a previous prediction alone counts as something."""
        return not len(self.points_xy) and self.box_xyxy is None and self.low_res_logits is None

    def with_point(self, point_xy: ArrayLike, label: int) -> Prompts:
        """Return these prompts with one more point at the end.

        Args:
            point_xy: (2,), slice px.
            label: 1 = positive, 0 = negative.

        Raises:
            PromptError: `point_xy` is not two numbers.
        """
        points = np.concatenate([self.points_xy, _points([point_xy])])
        return replace(self, points_xy=points, labels=np.append(self.labels, label))

    def with_box(self, box: ArrayLike | None) -> Prompts:
        """Return these prompts with this box, (4,) slice px, half-open; None takes theirs away.

        Raises:
            PromptError: `box` is not four numbers.
        """
        return replace(self, box_xyxy=None if box is None else _box(box))

    def with_low_res_logits(self, low_res_logits: ArrayLike | None) -> Prompts:
        """Return these prompts with this previous prediction, (L, L) logits; None takes theirs away.

        Raises:
            PromptError: `low_res_logits` is not a square of numbers.
        """
        return replace(self, low_res_logits=None if low_res_logits is None else _logits(low_res_logits))

    def with_candidate(self, number: int | None) -> Prompts:
        """Return these prompts with a candidate taken after all of them, counted from 1; None takes the default mask.

        Raises:
            PromptError: `number` is not a whole number from 1 on.
        """
        count = len(self.labels)
        earlier = [choice for choice in self.choices if choice[0] < count]
        return replace(self, choices=(*earlier, *([] if number is None else [(count, number)])))

    def with_acceptance(self) -> Prompts:
        """Return these prompts with their mask accepted: points after them change it near themselves only."""
        return replace(self, accepted=(*self.accepted, len(self.labels)))

    def first(self, count: int) -> Prompts:
        """Return these prompts as they were after so many points, before the mask of these was accepted."""
        choices = tuple(choice for choice in self.choices if choice[0] <= count)
        accepted = tuple(number for number in self.accepted if number < count)
        points = {"points_xy": self.points_xy[:count], "labels": self.labels[:count]}
        return replace(self, **points, choices=choices, accepted=accepted)

    @property
    def candidate(self) -> int | None:
        """The candidate that was taken after all of these prompts, counted from 1; None for the default mask."""
        return dict(self.choices).get(len(self.labels))

    def checked(self, size_hw: tuple[int, int]) -> Prompts:
        """Return these prompts, fit for a slice of this size, or say what is wrong with them.

        A box that is partly outside the slice is clipped to it, nothing else is changed.

        Args:
            size_hw: height and width of the slice, px.

        Raises:
            PromptError: nothing is given; a number is NaN or infinite; a point is more than half a pixel
                outside the slice; a label is not 0 or 1; one pixel is both positive and negative; the box
                is inverted, has no area or is entirely outside the slice.
        """
        size_xy = _size_xy(size_hw)
        if self.is_empty:
            raise PromptError("no prompt is given: add a point, a box or a previous prediction")
        _check_points(self.points_xy, self.labels, size_xy)
        if self.low_res_logits is not None and not np.isfinite(self.low_res_logits).all():
            raise PromptError("the previous prediction holds NaN or infinity; leave it out or predict again")
        if self.box_xyxy is None:
            return self
        return self.with_box(_clipped_box(self.box_xyxy, size_xy))

    def __eq__(self, other: object) -> bool:
        """Compare by content."""
        return self._content() == other._content() if isinstance(other, Prompts) else NotImplemented

    def __hash__(self) -> int:
        """Hash by content."""
        return hash(self._content())

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and unpickle through the constructor, which makes the arrays read-only again."""
        arrays = (self.points_xy, self.labels, self.box_xyxy, self.low_res_logits)
        return Prompts, (*arrays, self.choices, self.accepted)

    def _content(self) -> tuple[Any, ...]:
        arrays = (self.points_xy, self.labels, self.box_xyxy, self.low_res_logits)
        return (self.choices, self.accepted, *(None if array is None else array.tobytes() for array in arrays))


def box_of_mask(mask_hw: np.ndarray) -> np.ndarray:
    """Find the bounding box of the largest 8-connected component.

    Of components of equal area, the one whose first pixel comes first in row order is taken.

    Args:
        mask_hw: (H, W), any dtype; what is not 0 is inside.

    Returns:
        (4,) float64, slice px, half-open (x0, y0, x1, y1).

    Raises:
        EmptyMaskError: no pixel is inside.
        PromptError: the mask is not two-dimensional.
    """
    mask = np.asarray(mask_hw)
    if mask.ndim != 2:
        raise PromptError(f"a mask of a slice has shape (H, W), not {mask.shape}; take one slice first")
    if not mask.any():
        raise EmptyMaskError("an empty mask has no box; choose a slice in which the object is visible")
    largest = largest_component(mask)
    rows, columns = np.flatnonzero(largest.any(axis=1)), np.flatnonzero(largest.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)


def shift_box(
    box_xyxy: ArrayLike,
    rng: np.random.Generator | np.random.RandomState,
    std: float = 0.1,
    max_px: int = 5,
) -> np.ndarray:
    """Shift a box at random, as the published training does; the box keeps its size and is not clipped.

    The shift is a whole number of pixels, uniform in [-m, m - 1], drawn for x, then for y, where
    m = min(max_px, int(shorter side * std * 5)). With m = 0 nothing is drawn.

    Args:
        box_xyxy: (4,), slice px, half-open (x0, y0, x1, y1).
        rng: numpy's Generator, or the legacy RandomState to repeat published draws.
        std: the noise as a share of the shorter side.
        max_px: the largest m, px; 0 gives no noise.

    Returns:
        (4,) float64, slice px, half-open (x0, y0, x1, y1).

    Raises:
        PromptError: the box is not four finite numbers, is inverted or has no area.
    """
    box = _proper_box(_box(box_xyxy))
    reach_px = min(max_px, int((box[2:] - box[:2]).min() * std * 5))
    if reach_px <= 0:
        return box.copy()
    draw = rng.randint if isinstance(rng, np.random.RandomState) else rng.integers
    shift_xy = [draw(-reach_px, reach_px), draw(-reach_px, reach_px)]
    return box + np.array(shift_xy * 2)


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


def _points(points_xy: Any) -> np.ndarray:
    array = _numbers(points_xy, "points")
    if array.size == 0:
        return _frozen(np.empty((0, 2)), np.float64)
    if array.ndim != 2 or array.shape[1] != 2:
        raise PromptError(f"points have shape (N, 2), not {array.shape}; give a list of (x, y)")
    return _frozen(array, np.float64)


def _labels(labels: Any, count: int) -> np.ndarray:
    array = _numbers(labels, "labels")
    if array.size != count or (count and array.ndim != 1):
        raise PromptError(f"{count} points need labels of shape ({count},), not {array.shape}")
    if not np.isfinite(array).all() or (array != np.rint(array)).any():
        raise PromptError(f"labels are whole numbers, 1 = positive and 0 = negative, not {array.tolist()}")
    return _frozen(array.reshape(count), np.int64)


def _box(box_xyxy: Any) -> np.ndarray:
    array = _numbers(box_xyxy, "a box")
    if array.shape != (4,):
        raise PromptError(f"a box is four numbers (x0, y0, x1, y1), not an array of shape {array.shape}")
    return _frozen(array, np.float64)


def _logits(low_res_logits: Any) -> np.ndarray:
    array = _numbers(low_res_logits, "a previous prediction")
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.size == 0:
        raise PromptError(f"a previous prediction has shape (L, L), not {array.shape}; give the low_res_logits of one")
    return _frozen(array, np.float32)


def _choices(choices: Any) -> tuple[tuple[int, int], ...]:
    found = dict(choices)
    for count, number in found.items():
        if not all(isinstance(n, int | np.integer) for n in (count, number)) or count < 0:
            raise PromptError(f"a choice is (number of points, number of the candidate), not ({count}, {number})")
        if number < 1:
            raise PromptError(f"candidates are counted from 1, not {number}")
    return tuple(sorted((int(count), int(number)) for count, number in found.items()))


def _counts(counts: Any) -> tuple[int, ...]:
    if not all(isinstance(n, int | np.integer) and n >= 0 for n in counts):
        raise PromptError(f"masks are accepted after so many points, whole numbers from 0 on, not {tuple(counts)}")
    return tuple(sorted({int(n) for n in counts}))


def _size_xy(size_hw: tuple[int, int]) -> np.ndarray:
    size = np.asarray(size_hw)
    if size.shape != (2,) or size.dtype.kind not in "iu" or (size < 1).any():
        raise PromptError(f"the size of a slice is (height, width) of at least (1, 1), not {size_hw}")
    return size[::-1]


def _check_points(points_xy: np.ndarray, labels: np.ndarray, size_xy: np.ndarray) -> None:
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


def _written(coordinates: np.ndarray) -> str:
    """As people write them: "30,6.5"."""
    return ",".join(f"{round(number, 2):g}" for number in coordinates.tolist())


def _proper_box(box_xyxy: np.ndarray) -> np.ndarray:
    name = f"the box {_written(box_xyxy)}"
    if not np.isfinite(box_xyxy).all():
        raise PromptError(f"{name} is not finite; give four finite numbers")
    if (box_xyxy[2:] <= box_xyxy[:2]).any():
        raise NoAreaError(f"{name} is inverted or has no area; X0 must be less than X1, and Y0 less than Y1")
    return box_xyxy


def _clipped_box(box_xyxy: np.ndarray, size_xy: np.ndarray) -> np.ndarray:
    box = _proper_box(box_xyxy)
    clipped = np.clip(box, 0, np.tile(size_xy, 2))
    if (clipped[2:] <= clipped[:2]).any():
        width, height = size_xy
        raise OutsideSliceError(
            f"the box {_written(box)} is outside the slice; X goes from 0 to {width} and Y from 0 to {height}"
        )
    return clipped
