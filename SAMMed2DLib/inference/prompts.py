"""What the user says about one object on one slice: points, a box, scribbles, lassos, a previous prediction.

Coordinates are slice px (`_xy`): x = column, y = row, an integer is a pixel centre. A box is half-open as
in the published training data: it covers the columns x0 .. x1 - 1 and the rows y0 .. y1 - 1, so the box of
the whole slice is (0, 0, width, height). Two corners drawn in slice px, where the slice begins at -0.5,
become a box by adding 0.5.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from SAMMed2DLib.imaging.components import largest_component
from SAMMed2DLib.inference.prompt_parts.checks import (
    EmptyMaskError,
    PromptError,
    box_array,
    check_points,
    check_strokes,
    choices_tuple,
    clipped_box,
    counts_tuple,
    labels_array,
    logits_array,
    points_array,
    proper_box,
    size_xy_of,
    strokes_tuple,
)
from SAMMed2DLib.inference.prompt_parts.stroke import Stroke

# How prompts are drawn, red, green and blue in 0..1: told apart by colour-blind readers too, on grey and over segments.
POSITIVE_COLOR, NEGATIVE_COLOR, BOX_COLOR = (0.20, 0.90, 0.35), (1.00, 0.25, 0.55), (0.25, 0.75, 1.00)


@dataclass(frozen=True, eq=False)
class Prompts:
    """Prompts of one object on one slice; a value: compared by content, usable as a key, never changed.

    Attributes:
        points_xy: (N, 2) float64, slice px.
        labels: (N,) int64, 1 = positive (inside the object), 0 = negative.
        box_xyxy: (4,) float64, slice px, half-open (x0, y0, x1, y1), or None.
        low_res_logits: (L, L) float32, the logits of the previous prediction (not their sigmoid), or None.
        choices: (n, number) each: after n points and strokes, the candidate of this number was taken, from 1, small to
            large.
        accepted: after so many points and strokes each, the mask was accepted: prompts after them change it near
            themselves only.
        strokes: scribbles and lassos, in their order; each knows how many points came before it.

    Raises:
        PromptError: an array of another shape, or that does not hold numbers. Values are judged by `checked`.
    """

    points_xy: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))
    labels: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    box_xyxy: np.ndarray | None = None
    low_res_logits: np.ndarray | None = None
    choices: tuple[tuple[int, int], ...] = ()
    accepted: tuple[int, ...] = ()
    strokes: tuple[Stroke, ...] = ()

    def __post_init__(self) -> None:
        """Copy the arrays and make them read-only."""
        object.__setattr__(self, "points_xy", points_array(self.points_xy))
        object.__setattr__(self, "labels", labels_array(self.labels, len(self.points_xy)))
        if self.box_xyxy is not None:
            object.__setattr__(self, "box_xyxy", box_array(self.box_xyxy))
        if self.low_res_logits is not None:
            object.__setattr__(self, "low_res_logits", logits_array(self.low_res_logits))
        object.__setattr__(self, "choices", choices_tuple(self.choices))
        object.__setattr__(self, "accepted", counts_tuple(self.accepted))
        object.__setattr__(self, "strokes", strokes_tuple(self.strokes, len(self.labels)))

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
        inside, outside = points_array(positive), points_array(negative)
        labels = np.repeat(np.array([1, 0]), [len(inside), len(outside)])
        prompts = cls(np.concatenate([inside, outside]), labels)
        return prompts.with_box(box).with_low_res_logits(low_res_logits)

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is given; a previous prediction alone counts as something."""
        return not self.count and self.box_xyxy is None and self.low_res_logits is None

    @property
    def count(self) -> int:
        """How many points and strokes there are."""
        return len(self.labels) + len(self.strokes)

    @property
    def in_order(self) -> list[int | Stroke]:
        """Points, by their numbers, and strokes, as they were given."""
        given: list[int | Stroke] = list(range(len(self.labels)))
        for number, stroke in enumerate(self.strokes):
            given.insert(stroke.after + number, stroke)
        return given

    def of_those(self, given: Iterable[int | Stroke]) -> Prompts:
        """Return these prompts with no other points and strokes than those, which are some of `in_order`."""
        numbers: list[int] = []
        strokes: list[Stroke] = []
        for each in given:
            if isinstance(each, Stroke):
                strokes.append(replace(each, after=len(numbers)))
            else:
                numbers.append(each)
        return replace(self, points_xy=self.points_xy[numbers], labels=self.labels[numbers], strokes=tuple(strokes))

    def with_point(self, point_xy: ArrayLike, label: int) -> Prompts:
        """Return these prompts with one more point at the end.

        Args:
            point_xy: (2,), slice px.
            label: 1 = positive, 0 = negative.

        Raises:
            PromptError: `point_xy` is not two numbers.
        """
        points = np.concatenate([self.points_xy, points_array([point_xy])])
        return replace(self, points_xy=points, labels=np.append(self.labels, label))

    def with_scribble(self, points_xy: ArrayLike, label: int) -> Prompts:
        """Return these prompts with one more scribble at the end: what its line runs over is inside, or outside.

        Args:
            points_xy: (N, 2), slice px, along the line.
            label: 1 = inside the object, 0 = outside.

        Raises:
            PromptError: the line is not made of points.
        """
        stroke = Stroke(points_array(points_xy), label, after=len(self.labels))
        return replace(self, strokes=(*self.strokes, stroke))

    def with_lasso(self, points_xy: ArrayLike, label: int) -> Prompts:
        """Return these prompts with one more lasso at the end: about the object, or around what is outside of it.

        Args:
            points_xy: (N, 2), slice px, around a region; the last point is joined with the first.
            label: 1 = the object is about there, 0 = all of the region is outside the object.

        Raises:
            PromptError: the line is not made of points.
        """
        stroke = Stroke(points_array(points_xy), label, is_closed=True, after=len(self.labels))
        return replace(self, strokes=(*self.strokes, stroke))

    def with_box(self, box: ArrayLike | None) -> Prompts:
        """Return these prompts with this box, (4,) slice px, half-open; None takes theirs away.

        Raises:
            PromptError: `box` is not four numbers.
        """
        return replace(self, box_xyxy=None if box is None else box_array(box))

    def with_low_res_logits(self, low_res_logits: ArrayLike | None) -> Prompts:
        """Return these prompts with this previous prediction, (L, L) logits; None takes theirs away.

        Raises:
            PromptError: `low_res_logits` is not a square of numbers.
        """
        return replace(self, low_res_logits=None if low_res_logits is None else logits_array(low_res_logits))

    def with_candidate(self, number: int | None) -> Prompts:
        """Return these prompts with a candidate taken after all of them, counted from 1; None takes the default mask.

        Raises:
            PromptError: `number` is not a whole number from 1 on.
        """
        count = self.count
        earlier = [choice for choice in self.choices if choice[0] < count]
        return replace(self, choices=(*earlier, *([] if number is None else [(count, number)])))

    def with_acceptance(self) -> Prompts:
        """Return these prompts with their mask accepted: points after them change it near themselves only."""
        return replace(self, accepted=(*self.accepted, self.count))

    def first(self, count: int) -> Prompts:
        """Return these prompts as they were after so many points and strokes, before their mask was accepted."""
        choices = tuple(choice for choice in self.choices if choice[0] <= count)
        accepted = tuple(number for number in self.accepted if number < count)
        return replace(self.of_those(self.in_order[:count]), choices=choices, accepted=accepted)

    @property
    def candidate(self) -> int | None:
        """The candidate that was taken after all of these prompts, counted from 1; None for the default mask."""
        return dict(self.choices).get(self.count)

    def checked(self, size_hw: tuple[int, int]) -> Prompts:
        """Return these prompts, fit for a slice of this size, or say what is wrong with them.

        A box that is partly outside the slice is clipped to it, nothing else is changed.

        Args:
            size_hw: height and width of the slice, px.

        Raises:
            PromptError: nothing is given; a number is NaN or infinite; a point is more than half a pixel
                outside the slice; a label is not 0 or 1; one pixel is both positive and negative; the box
                is inverted, has no area or is entirely outside the slice; a stroke is outside, or has no area.
        """
        size_xy = size_xy_of(size_hw)
        if self.is_empty:
            raise PromptError("no prompt is given: add a point, a box or a previous prediction")
        check_points(self.points_xy, self.labels, size_xy)
        check_strokes(self.strokes, size_xy)
        if self.low_res_logits is not None and not np.isfinite(self.low_res_logits).all():
            raise PromptError("the previous prediction holds NaN or infinity; leave it out or predict again")
        if self.box_xyxy is None:
            return self
        return self.with_box(clipped_box(self.box_xyxy, size_xy))

    def __eq__(self, other: object) -> bool:
        """Compare by content."""
        return self._content() == other._content() if isinstance(other, Prompts) else NotImplemented

    def __hash__(self) -> int:
        """Hash by content."""
        return hash(self._content())

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and unpickle through the constructor, which makes the arrays read-only again."""
        return Prompts, tuple(getattr(self, each.name) for each in fields(self))

    def _content(self) -> tuple[Any, ...]:
        arrays = (self.points_xy, self.labels, self.box_xyxy, self.low_res_logits)
        numbers = (self.choices, self.accepted, tuple(stroke.content for stroke in self.strokes))
        return (*numbers, *(None if array is None else array.tobytes() for array in arrays))


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
    box = proper_box(box_array(box_xyxy))
    reach_px = min(max_px, int((box[2:] - box[:2]).min() * std * 5))
    if reach_px <= 0:
        return box.copy()
    draw = rng.randint if isinstance(rng, np.random.RandomState) else rng.integers
    shift_xy = [draw(-reach_px, reach_px), draw(-reach_px, reach_px)]
    return box + np.array(shift_xy * 2)
