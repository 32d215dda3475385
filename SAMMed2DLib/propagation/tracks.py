"""An object on its way through slices: its keyframes, the intervals between them, the frontiers beyond them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from SAMMed2DLib.propagation.shapes import Rectangle, interpolated, signed_distance


@dataclass(frozen=True, eq=False)
class PropagatedSlice:
    """One object on one slice that is no keyframe.

    Attributes:
        number: the object, its position in the keyframes given.
        index: the slice.
        mask: (H, W) bool; empty where the object was not found between two keyframes.
        confidence: 0 .. 1, how well the evidence terms agree, less for each slice away from a keyframe; it ranks
            slices, it does not promise a Dice.
        score: IoU that the model predicts; NaN where it was not asked.
    """

    number: int
    index: int
    mask: np.ndarray
    confidence: float
    score: float


@dataclass(eq=False)
class SegmentTrack:
    """An object, and what its keyframes tell about it.

    Attributes:
        number: the object, its position in the keyframes given.
        keyframes: masks (H, W) bool by slice.
        grey_odds: (256,) float64, log odds that a pixel of this grey value near the outline is inside.
        reliability: the model's Dice on the keyframes, 0 .. 1.
    """

    number: int
    keyframes: dict[int, np.ndarray]
    grey_odds: np.ndarray
    reliability: float = 0.0

    @property
    def model_odds(self) -> float:
        """The model's odds of being right: one that fails on the keyframes is hardly heard elsewhere."""
        return self.reliability / (1.02 - self.reliability)

    def shown(self, index: int | None) -> int | None:
        """The same keyframe if it shows the object, else None."""
        return index if index is not None and self.keyframes[index].any() else None

    def keyframe(self, index: int) -> PropagatedSlice:
        """A keyframe, as a slice that was reached; it is certain."""
        return PropagatedSlice(self.number, index, self.keyframes[index], 1.0, float("nan"))

    def slices_from_keyframe(self, index: int) -> int:
        """How far a slice is from the next keyframe, in slices."""
        return min(abs(index - key) for key in self.keyframes)


@dataclass(frozen=True, eq=False)
class Interval:
    """Slices between two keyframes that show the object.

    Attributes:
        track: the object.
        first: lowest slice to fill.
        last: highest slice to fill.
        below: the keyframe under them.
        above: the keyframe over them.
    """

    track: SegmentTrack
    first: int
    last: int
    below: int
    above: int

    @property
    def indices(self) -> range:
        """The slices to fill."""
        return range(self.first, self.last + 1)

    @cached_property
    def shapes(self) -> tuple[Rectangle, np.ndarray, np.ndarray]:
        """A rectangle around both keyframes, and their signed distances in it, float32, px."""
        below, above = self.track.keyframes[self.below], self.track.keyframes[self.above]
        rectangle = Rectangle.around(below | above)
        return rectangle, signed_distance(rectangle.cut(below)), signed_distance(rectangle.cut(above))

    def distance(self, index: int) -> np.ndarray:
        """Signed distance of the shape expected on a slice, in the rectangle of `shapes`, float32, px."""
        _, below, above = self.shapes
        share = (index - self.below) / (self.above - self.below)
        return (1 - share) * below + share * above

    def filled(self, start: PropagatedSlice, end: PropagatedSlice) -> Iterator[PropagatedSlice]:
        """The slices of this interval between two, by shape alone."""
        return filled(start, end, self.indices)


@dataclass(eq=False)
class Frontier:
    """How far an object was followed away from its outermost keyframe.

    Attributes:
        track: the object.
        key: the keyframe.
        end: the last slice to be reached.
        at: how far it came.
    """

    track: SegmentTrack
    key: int
    end: int
    at: PropagatedSlice

    @classmethod
    def from_keyframe(cls, track: SegmentTrack, key: int, end: int) -> Frontier:
        """Start at a keyframe, towards a slice below or above it.

        Args:
            track: of the object.
            key: slice of the keyframe.
            end: the last slice to fill.
        """
        return cls(track, key, end, track.keyframe(key))

    def next(self, every: int, count: int = 4) -> list[int]:
        """The slices to ask about next, at most `count`, each n-th one."""
        step = every if self.end > self.at.index else -every
        indices = [*range(self.at.index + step, self.end, step), self.end]
        return indices[:count]


def filled(start: PropagatedSlice, end: PropagatedSlice, within: range | None = None) -> Iterator[PropagatedSlice]:
    """The slices between two of one object, by shape alone.

    Args:
        start: where it begins; it is not among the results.
        end: above or below it; not among them either.
        within: only these slices; None for all.
    """
    step = 1 if end.index > start.index else -1
    for index in range(start.index + step, end.index, step):
        if within is None or index in within:
            share = (index - start.index) / (end.index - start.index)
            mask = interpolated(start.mask, end.mask, share)
            yield PropagatedSlice(start.number, index, mask, min(start.confidence, end.confidence), float("nan"))
