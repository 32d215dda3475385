"""The stop rules of propagation: when an object, followed slice by slice beyond its outermost keyframes, has ended.

`StopRule` knows limits; it is enough along time, where objects seldom end. `LearnedStopRule` weighs evidence for the
object's presence on a slice; its weights were fitted on labelled volumes by Testing/training/fit_stop_rule.py, see
docs/decisions/propagation.md. Either makes a detector for each end of an object, which sees its slices in their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from SAMMed2DLib.imaging.metrics import dice
from SAMMed2DLib.propagation.shapes import Rectangle

# Grey values are counted in steps of eight.
_BINS, _PER_BIN = 32, 3
# Log odds of one grey value count up to this.
_MOST_GREY = 4.0
# The object is taken to end where its keyframes let expect less than this share of the outermost one's area.
_LEAST_SHARE = 0.05
_FARTHEST_END = 400
# Growing again counts up to this, a natural logarithm.
_MOST_REGROWTH = 1.5


@dataclass(frozen=True, eq=False)
class FollowedSlice:
    """An object on the next slice beyond those reached; all arrays are (H, W) of a part of the slice.

    Attributes:
        mask_hw: bool, the mask estimated there; empty says that it has ended.
        before_hw: bool, the mask on the last slice reached.
        grey_hw: uint8, the grey values.
        grey_odds_hw: float, log odds that a pixel of this grey value is the object's.
        whole_mask_hw: bool, the mask on the whole slice.
        index: the slice.
        slices_away: from the last slice reached, 1 or more.
    """

    mask_hw: np.ndarray
    before_hw: np.ndarray
    grey_hw: np.ndarray
    grey_odds_hw: np.ndarray
    whole_mask_hw: np.ndarray
    index: int
    slices_away: int


@dataclass(frozen=True, eq=False)
class Start:
    """What is known of an object where it begins to be followed.

    Attributes:
        keyframe: the slice of the keyframe from which it is followed.
        masks: this keyframe and those behind it that show the object, (H, W) bool by slice.
        grey_hw: (H, W) uint8, the keyframe's grey values.
        grey_odds: (256,) log odds that a pixel of a grey value is the object's.
        slice_px: how far slices are from each other, in pixels of a slice.
    """

    keyframe: int
    masks: Mapping[int, np.ndarray]
    grey_hw: np.ndarray
    grey_odds: np.ndarray
    slice_px: float = 1.0

    @property
    def mask_hw(self) -> np.ndarray:
        """(H, W) bool, the keyframe."""
        return self.masks[self.keyframe]


class EndDetector(Protocol):
    """Sees the slices of one end of an object, in their order."""

    def has_ended(self, followed: FollowedSlice) -> bool:
        """Whether the object does not reach this slice any more."""


class EndRule(Protocol):
    """Says when objects end."""

    def detector(self, start: Start) -> EndDetector:
        """One for an end of an object."""


@dataclass(frozen=True)
class StopRule:
    """Limits beyond which an object is taken to have ended; how they were found: docs/decisions/propagation.md.

    Attributes:
        overlap: Dice with the neighbouring slice falls below this; with one n slices away, below its n-th power.
        area: the area falls below this share of the keyframe's.
        growth: the area exceeds this multiple of the keyframe's.
        grey: the mean log odds of the grey values inside the mask fall below this.
    """

    overlap: float = 0.7
    area: float = 0.1
    growth: float = 4.0
    grey: float = 0.0

    def detector(self, start: Start) -> EndDetector:
        """One for an end of an object."""
        return _LimitDetector(self, int(np.count_nonzero(start.mask_hw)))


@dataclass(frozen=True)
class _LimitDetector:
    rule: StopRule
    keyframe_area: int

    def has_ended(self, followed: FollowedSlice) -> bool:
        mask, rule = followed.mask_hw, self.rule
        area = np.count_nonzero(mask)
        if not area or not rule.area <= area / self.keyframe_area <= rule.growth:
            return True
        least_overlap = rule.overlap**followed.slices_away
        overlap = dice(mask, followed.before_hw)
        return bool(overlap < least_overlap or followed.grey_odds_hw[mask].mean() < rule.grey)


STOP_RULE = StopRule()


@dataclass(frozen=True)
class ExtentRule:
    """An object whose extent is known reaches to the end of the range; it ends before only where nothing is left."""

    def detector(self, start: Start) -> EndDetector:
        """One for an end of an object."""
        return self

    def has_ended(self, followed: FollowedSlice) -> bool:
        """Whether nothing is left."""
        return not followed.mask_hw.any()


EXTENT_RULE = ExtentRule()


class Presence(NamedTuple):
    """Evidence for an object's presence on a slice, or what each of it counts in log odds.

    Attributes:
        one: 1 for an object that one keyframe shows.
        several: 1 for an object that several show.
        distance: how far it is from its only keyframe in radii of the keyframe, natural logarithm.
        remaining: how far it is from the outermost of several keyframes, in parts of the distance at which their areas
            let expect its end, natural logarithm.
        similar: its Dice with the keyframe.
        overlap: its least Dice with a neighbouring slice so far.
        contrast: the log odds of the grey values inside less those around, less that of the keyframe.
        greys: how much its grey values are spread as the keyframe's, 0 .. 1.
        regrowth: its area over the least so far, natural logarithm.
    """

    one: float
    several: float
    distance: float
    remaining: float
    similar: float
    overlap: float
    contrast: float
    greys: float
    regrowth: float


@dataclass(frozen=True)
class LearnedStopRule:
    """An object has ended where the weighted evidence speaks against its presence.

    Attributes:
        weights: what each piece of evidence counts.
        growth: it has ended in any case where the area exceeds this multiple of the keyframe's.
    """

    weights: Presence
    growth: float = 10.0

    def detector(self, start: Start) -> PresenceDetector:
        """One for an end of an object."""
        return PresenceDetector(self, start)


class PresenceDetector:
    """One end of an object, and what was seen of it."""

    def __init__(self, rule: LearnedStopRule, start: Start) -> None:
        """Look at the keyframe."""
        self._rule, self._start = rule, start
        rectangle = Rectangle.around(start.mask_hw)
        grey, inside = rectangle.cut(start.grey_hw), rectangle.cut(start.mask_hw)
        odds = np.clip(start.grey_odds[grey], -_MOST_GREY, _MOST_GREY)
        self._area = self._least_area = int(np.count_nonzero(inside))
        self._least_overlap = 1.0
        self._contrast = _contrast(odds, inside)
        self._greys = _spread(grey[inside])
        self._expected_end = expected_end(start.keyframe, start.masks)

    def has_ended(self, followed: FollowedSlice) -> bool:
        """Whether the object does not reach this slice any more."""
        area = np.count_nonzero(followed.mask_hw)
        if not area or area > self._rule.growth * self._area:
            return True
        return float(np.dot(self._rule.weights, self.evidence(followed))) < 0

    def evidence(self, followed: FollowedSlice) -> Presence:
        """What the next slice, whose mask is not empty, says about the object's presence on it."""
        mask = followed.mask_hw
        area = int(np.count_nonzero(mask))
        overlap = dice(mask, followed.before_hw) ** (1 / followed.slices_away)
        self._least_overlap = min(self._least_overlap, overlap)
        regrowth = min(float(np.log(area / self._least_area)), _MOST_REGROWTH)
        self._least_area = min(self._least_area, area)
        is_one = self._expected_end is None
        away = abs(followed.index - self._start.keyframe)
        return Presence(
            one=float(is_one),
            several=float(not is_one),
            distance=self._distance(away) if is_one else 0.0,
            remaining=0.0 if is_one else self._remaining(away),
            similar=dice(followed.whole_mask_hw, self._start.mask_hw),
            overlap=self._least_overlap,
            contrast=_contrast(followed.grey_odds_hw, mask) - self._contrast,
            greys=float(np.sqrt(_spread(followed.grey_hw[mask]) * self._greys).sum()),
            regrowth=regrowth,
        )

    def _distance(self, slices: int) -> float:
        radii = slices * self._start.slice_px / float(np.sqrt(self._area / np.pi))
        return float(np.log(radii + 0.1))

    def _remaining(self, slices: int) -> float:
        return float(np.clip(np.log(slices / (self._expected_end or 1.0)), -2, 2))


def expected_end(keyframe: int, masks: Mapping[int, np.ndarray]) -> float | None:
    """At how many slices beyond an outermost keyframe the areas of several let expect the object's end.

    A parabola through the areas (through two of them a line, of more the best one) says where less than a twentieth of
    the keyframe's area is left.

    Args:
        keyframe: the outermost slice.
        masks: keyframes that show the object, (H, W) bool by slice.

    Returns:
        slices, 1 or more, at most 400; None for a single keyframe.
    """
    if len(masks) < 2:
        return None
    slices = np.abs(np.array(list(masks)) - keyframe)
    areas = np.array([np.count_nonzero(mask) for mask in masks.values()], float)
    curve = np.polyfit(-slices, areas, min(len(masks) - 1, 2))
    ahead = np.arange(1, _FARTHEST_END)
    ended = np.flatnonzero(np.polyval(curve, ahead) <= _LEAST_SHARE * np.count_nonzero(masks[keyframe]))
    return float(ahead[ended[0]]) if len(ended) else float(_FARTHEST_END)


def _contrast(grey_odds_hw: np.ndarray, mask_hw: np.ndarray) -> float:
    """Mean log odds of the grey values inside less those around."""
    around = ~mask_hw
    return float(grey_odds_hw[mask_hw].mean() - (grey_odds_hw[around].mean() if around.any() else 0.0))


def _spread(greys: np.ndarray) -> np.ndarray:
    """(32,) shares of the grey values, (N,) uint8, in each bin; none is zero."""
    counts = np.bincount(greys >> _PER_BIN, minlength=_BINS) + 0.2
    return counts / counts.sum()


# Fitted by Testing/training/fit_stop_rule.py.
LEARNED_STOP_RULE = LearnedStopRule(
    Presence(
        one=-4.16,
        several=-5.64,
        distance=-0.99,
        remaining=-0.64,
        similar=2.25,
        overlap=2.02,
        contrast=1.02,
        greys=2.81,
        regrowth=-0.95,
    )
)
