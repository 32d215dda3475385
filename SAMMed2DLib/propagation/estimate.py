"""From a few slices of an object to all of them: keyframes, the slices between and beyond them, when to stop.

A keyframe is a slice whose mask the user answers for; it is never altered. On every other slice three witnesses are
heard: the shape that the keyframes, or the slice before, let expect; the grey values that the object and its
surroundings have on the keyframes; and the model, which is prompted with what the first two agree on. What the model
says counts by how well it does on the keyframes themselves, where the truth is known; where the first two leave it
nothing to decide, it is not asked.

Between two keyframes the shape comes from both, blended by distance. Beyond the outermost ones the object is followed
slice by slice until it ends. The slices may be those of a volume in any direction, or the time points of a sequence.
Why it is done like this, with the measurements: docs/decisions/propagation.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from SAMMed2DLib.imaging.components import largest_component, parts_touching, squared_distance
from SAMMed2DLib.imaging.intensity import is_grey, smoothed_histogram
from SAMMed2DLib.imaging.metrics import dice
from SAMMed2DLib.inference.prompts import Prompts, box_of_mask

Picture = Callable[[int], np.ndarray]
ShouldStop = Callable[[], bool]

# The shape's distances count up to here, px: farther away a pixel is not more surely inside or outside.
_REACH_PX = 8
# Log odds of one grey value, and the model's logits, count up to these.
_MOST_GREY, _MOST_MODEL = 4.0, 6.0
# Each slice farther from a keyframe is as much less certain.
_FADING = 0.95
# Questions to the model that do not depend on each other are asked together; beyond keyframes there are no more than
# two of them for each object, one up and one down.
TOGETHER = 16
# Slices that are weighed before their questions are asked, at most: their distances and odds take memory.
_MOST_ESTIMATES = 2 * TOGETHER
# A question names the slices that will be asked about next: encoding is fast for several at once.
_AHEAD = 8


class PropagationError(ValueError):
    """Nothing can be propagated from what was given; the message says what to do."""


@dataclass(frozen=True)
class Weights:
    """How much each witness counts; found by measurement, see docs/decisions/propagation.md.

    Attributes:
        shape: log odds for each px of depth in the shape between two keyframes, right beside one of them.
        followed: the same for the shape of the slice before, beyond the keyframes.
        shrink_px: how much smaller than the slice before an object is expected to be, beyond the keyframes.
        grey: of the log odds of the grey values.
        model: of the model's logits, for a model whose Dice on the keyframes is one half.
        open_share: the model is asked where it could turn pixels, inside or outside, that are at least this share of
            the object's area; 0 asks it everywhere.
    """

    shape: float = 0.9
    followed: float = 2.0
    shrink_px: float = 0.7
    grey: float = 1.2
    model: float = 0.05
    open_share: float = 0.1


WEIGHTS = Weights()


@dataclass(frozen=True)
class Stop:
    """When an object is taken to have ended, beyond its outermost keyframes.

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


@dataclass(frozen=True, eq=False)
class Question:
    """What the model is asked about one object on one slice.

    Attributes:
        index: the slice.
        prompts: a box, slice px.
        expected: (H, W) float32, logits of what is expected, to be given as the model's mask prompt; None for none.
        ahead: slices that will probably be asked about next.
    """

    index: int
    prompts: Prompts
    expected: np.ndarray | None = None
    ahead: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Found:
    """What the model answers.

    Attributes:
        logits: (H, W) float32; 0 where it did not look.
        score: IoU that it predicts for its mask.
    """

    logits: np.ndarray
    score: float


Predict = Callable[[Sequence[Question]], Sequence[Found]]


@dataclass(frozen=True, eq=False)
class Propagated:
    """One object on one slice that is no keyframe.

    Attributes:
        number: the object, its position in the keyframes given.
        index: the slice.
        mask: (H, W) bool; empty where the object was not found between two keyframes.
        confidence: 0 .. 1, how well the witnesses agree, less for each slice away from a keyframe; it ranks slices, it
            does not promise a Dice.
        score: IoU that the model predicts; NaN where it was not asked.
    """

    number: int
    index: int
    mask: np.ndarray
    confidence: float
    score: float


@dataclass(frozen=True)
class Span:
    """Slices in a row without keyframes.

    Attributes:
        first: its lowest slice.
        last: its highest slice.
        below: the keyframe under it, None if there is none.
        above: the keyframe over it, None if there is none.
    """

    first: int
    last: int
    below: int | None
    above: int | None


def spans_of(keyframes: Collection[int], first: int, last: int) -> list[Span]:
    """The slices of a range that are no keyframes, as spans between keyframes and beyond them, from low to high."""
    known = sorted(keyframes)
    bounds: list[int | None] = [None, *known, None]
    spans = []
    for below, above in pairwise(bounds):
        start = first if below is None else max(first, below + 1)
        end = last if above is None else min(last, above - 1)
        if start <= end:
            spans.append(Span(start, end, below, above))
    return spans


def signed_distance(mask_hw: np.ndarray, reach_px: int | None = None) -> np.ndarray:
    """Distance to the outline, px, positive inside: (H, W) float32; far outside everywhere for an empty mask.

    Args:
        mask_hw: (H, W) bool.
        reach_px: distances up to here are exact, others only known to be farther; None wants all exact.
    """
    inside = np.asarray(mask_hw) != 0
    squared = squared_distance(inside, reach_px) + squared_distance(~inside, reach_px)  # one of them is 0
    distance_px = np.sqrt(squared).astype(np.float32) - 0.5
    return np.where(inside, distance_px, -distance_px)


def interpolated(below_hw: np.ndarray, above_hw: np.ndarray, share: float) -> np.ndarray:
    """The shape between two masks by their signed distances: (H, W) bool; `share` runs from 0 (below) to 1 (above)."""
    return (1 - share) * signed_distance(below_hw) + share * signed_distance(above_hw) > 0


def propagate(
    picture: Picture,
    predict: Predict,
    objects: Sequence[Mapping[int, np.ndarray]],
    first: int,
    last: int,
    *,
    every: int = 1,
    only: Collection[int] | None = None,
    weights: Weights = WEIGHTS,
    stop: Stop = Stop(),
) -> Iterator[Propagated]:
    """Carry objects from their keyframes to the other slices of a range.

    Slices come in no particular order, each once for each object at most. Whoever has enough may stop iterating.

    Args:
        picture: returns a slice, (H, W, 3) uint8, by its number.
        predict: the model; see `Question` and `Found`.
        objects: for each object its keyframes, masks (H, W) bool by the number of their slice. An empty mask says that
            the object is not there.
        first: lowest slice to fill.
        last: highest slice to fill.
        every: the model is asked on every n-th slice; those between are interpolated.
        only: spans without any of these slices are left out; None does all.
        weights: of the witnesses.
        stop: when an object has ended.

    Raises:
        PropagationError: an object without a keyframe that shows it, keyframes of different sizes, or a range that is
            none.
    """
    if first > last or every < 1:
        raise PropagationError(f"slices {first} to {last}, every {every}, are no range: give the lowest one first")
    size_hw = _common_size(objects)
    tracked = [_Tracked.of(number, keyframes, picture) for number, keyframes in enumerate(objects)]
    run = _Run(picture, predict, size_hw, every, weights, stop)
    run.learn_reliability(tracked)
    inner: list[_Gap] = []
    fronts: list[_Front] = []
    for one in tracked:
        for span in spans_of(one.keyframes, first, last):
            if only is not None and not any(span.first <= index <= span.last for index in only):
                continue
            below, above = one.shown(span.below), one.shown(span.above)
            if below is not None and above is not None:
                inner.append(_Gap(one, span.first, span.last, below, above))
            elif below is not None:
                fronts.append(_Front.from_key(one, below, span.last))
            elif above is not None:
                fronts.append(_Front.from_key(one, above, span.first))
    yield from run.between(inner)
    yield from run.beyond(fronts)


def _common_size(objects: Sequence[Mapping[int, np.ndarray]]) -> tuple[int, int]:
    shapes = {np.shape(mask) for keyframes in objects for mask in keyframes.values()}
    if not objects or not all(any(mask.any() for mask in keyframes.values()) for keyframes in objects):
        raise PropagationError("there is no keyframe that shows the object: segment it on one slice at least")
    if len(shapes) > 1 or len(next(iter(shapes))) != 2:
        raise PropagationError(f"keyframes must be masks of one size, not {sorted(shapes)}")
    height, width = shapes.pop()
    return height, width


@dataclass(frozen=True)
class _Window:
    """A rectangle of a slice, to compute in; px, half-open."""

    x0: int
    y0: int
    x1: int
    y1: int

    @classmethod
    def around(cls, mask_hw: np.ndarray, margin: int = _REACH_PX + 1) -> _Window:
        """All of this mask, not empty, and with the margin everything that its shape leaves possible."""
        rows, columns = np.flatnonzero(mask_hw.any(axis=1)), np.flatnonzero(mask_hw.any(axis=0))
        height, width = mask_hw.shape
        return cls(
            max(int(columns[0]) - margin, 0),
            max(int(rows[0]) - margin, 0),
            min(int(columns[-1]) + 1 + margin, width),
            min(int(rows[-1]) + 1 + margin, height),
        )

    @property
    def xyxy(self) -> np.ndarray:
        """As a box, (4,) float64."""
        return np.array([self.x0, self.y0, self.x1, self.y1], np.float64)

    def cut(self, slice_hw: np.ndarray) -> np.ndarray:
        return slice_hw[self.y0 : self.y1, self.x0 : self.x1]

    def whole(self, part: np.ndarray, size_hw: tuple[int, int], outside: float) -> np.ndarray:
        whole = np.full(size_hw, outside, part.dtype)
        self.cut(whole)[...] = part
        return whole


def _grey(picture: np.ndarray) -> np.ndarray:
    """(H, W) uint8: the mean of the channels."""
    if is_grey(picture):
        return picture[..., 0]
    return (picture.sum(axis=-1, dtype=np.uint16) // 3).astype(np.uint8)


def _grey_odds(masks: Sequence[np.ndarray], greys: Sequence[np.ndarray]) -> np.ndarray:
    """(256,) log odds that a pixel of this grey value near the outline is inside, learned from keyframes."""
    inside, outside = np.zeros(256), np.zeros(256)
    for mask, grey in zip(masks, greys, strict=True):
        rim_px = max(3.0, 0.3 * float(np.sqrt(mask.sum())))
        window = _Window.around(mask)
        distance = signed_distance(window.cut(mask))
        near = np.abs(distance) < rim_px
        values = window.cut(grey)
        inside += np.bincount(values[near & (distance > 0)], minlength=256)
        outside += np.bincount(values[near & (distance < 0)], minlength=256)
    return np.log(_density(inside) / _density(outside))


def _density(counts: np.ndarray, width: float = 6.0) -> np.ndarray:
    """Counts to a smooth density without zeros; `width` is the standard deviation of the smoothing."""
    smooth = smoothed_histogram(counts, width) + 4e-5 * counts.sum() + 1e-9
    return smooth / smooth.sum()


def _smoothed(values: np.ndarray, side: float = 0.04) -> np.ndarray:
    """A little of the four neighbours, against single pixels of noise."""
    for axis in (0, 1):
        count = values.shape[axis]
        before, after = np.arange(count) - 1, np.arange(count) + 1
        low, high = (values.take(at, axis, mode="clip") for at in (before, after))
        values = (1 - 2 * side) * values + side * (low + high)
    return values


@dataclass(eq=False)
class _Tracked:
    """An object, and what its keyframes tell about it."""

    number: int
    keyframes: dict[int, np.ndarray]
    odds: np.ndarray  # (256,), of its grey values
    reliability: float = 0.0  # the model's Dice on the keyframes

    @property
    def model_odds(self) -> float:
        """The model's odds of being right: one that fails on the keyframes is hardly heard elsewhere."""
        return self.reliability / (1.02 - self.reliability)

    @classmethod
    def of(cls, number: int, keyframes: Mapping[int, np.ndarray], picture: Picture) -> _Tracked:
        known = {index: np.asarray(mask) != 0 for index, mask in keyframes.items()}
        shown = {index: mask for index, mask in known.items() if mask.any()}
        greys = [_grey(picture(index)) for index in shown]
        return cls(number, known, _grey_odds(list(shown.values()), greys))

    def shown(self, index: int | None) -> int | None:
        """The same keyframe if it shows the object, else None."""
        return index if index is not None and self.keyframes[index].any() else None


@dataclass(frozen=True, eq=False)
class _Gap:
    """A span between two keyframes that show the object."""

    of: _Tracked
    first: int
    last: int
    below: int
    above: int

    @cached_property
    def shapes(self) -> tuple[_Window, np.ndarray, np.ndarray]:
        """A window around both keyframes, and their signed distances in it."""
        below, above = self.of.keyframes[self.below], self.of.keyframes[self.above]
        window = _Window.around(below | above)
        return window, signed_distance(window.cut(below)), signed_distance(window.cut(above))


@dataclass(eq=False)
class _Front:
    """An object that is followed away from a keyframe; `at` is how far it came, `end` the last slice."""

    of: _Tracked
    key: int
    end: int
    at: Propagated

    @classmethod
    def from_key(cls, one: _Tracked, key: int, end: int) -> _Front:
        return cls(one, key, end, _exact(one, key))

    def next(self, every: int, count: int = 4) -> list[int]:
        """The slices to ask about next, at most `count`."""
        step = every if self.end > self.at.index else -every
        indices = [*range(self.at.index + step, self.end, step), self.end]
        return indices[:count]


@dataclass(frozen=True, eq=False)
class _Estimate:
    """What shape and grey values say about an object on a slice, before the model is heard; all in the window."""

    of: _Tracked
    index: int
    window: _Window
    shape: np.ndarray  # bool
    grey: np.ndarray  # log odds of the grey values
    evidence: np.ndarray  # log odds, float32
    is_open: bool  # whether the model has something to decide
    is_followed: bool  # beyond the keyframes
    ahead: tuple[int, ...]  # slices that come next


class _Run:
    """One propagation: the pictures, the model, and how they are weighed."""

    def __init__(
        self,
        picture: Picture,
        predict: Predict,
        size_hw: tuple[int, int],
        every: int,
        weights: Weights,
        stop: Stop,
    ) -> None:
        self._predict, self._size_hw = predict, size_hw
        self._grey = lru_cache(TOGETHER)(lambda index: _grey(picture(index)))  # objects share slices
        self._every, self._weights, self._stop = every, weights, stop

    def learn_reliability(self, tracked: Sequence[_Tracked]) -> None:
        """Ask the model about the keyframes, where the truth is known."""
        if not self._weights.model:
            return
        asked = [(one, index) for one in tracked for index, mask in one.keyframes.items() if mask.any()]
        scores: dict[int, list[float]] = {}
        for chunk in _chunks(asked, TOGETHER):
            masks = [one.keyframes[index] for one, index in chunk]
            questions = [
                Question(index, Prompts.of(box=_widened(box_of_mask(mask), 0.05, self._size_hw)))
                for (_, index), mask in zip(chunk, masks, strict=True)
            ]
            for (one, _), mask, found in zip(chunk, masks, self._predict(questions), strict=True):
                scores.setdefault(one.number, []).append(dice(found.logits > 0, mask))
        for one in tracked:
            one.reliability = float(np.mean(scores[one.number]))

    def between(self, gaps: Sequence[_Gap]) -> Iterator[Propagated]:
        """Fill spans between two keyframes."""
        tasks = [(index, gap) for gap in gaps for index in range(gap.first, gap.last + 1)]
        asked = [(index, gap) for index, gap in tasks if (index - gap.below) % self._every == 0]
        asked.sort(key=lambda task: (task[0], task[1].of.number))  # slice by slice, so that objects share them
        indices = sorted({index for index, _ in asked})
        ahead = {index: tuple(indices[n : n + _AHEAD]) for n, index in enumerate(indices, 1)}
        at = {id(gap): _exact(gap.of, gap.below) for gap in gaps}
        estimates = ((gap, self._between(gap, index, ahead[index])) for index, gap in asked)
        for group in _answered_together(estimates):
            found = self._decided([estimate for _, estimate in group])
            for (gap, _), result in zip(group, found, strict=True):
                yield from _filled(at[id(gap)], result, gap)
                yield result
                at[id(gap)] = result
        for gap in gaps:
            yield from _filled(at[id(gap)], _exact(gap.of, gap.above), gap)

    def beyond(self, fronts: list[_Front]) -> Iterator[Propagated]:
        """Follow objects away from their outermost keyframes, all of them at the same pace, until they end."""
        while fronts:
            estimates = [self._beyond(front) for front in fronts]
            going = []
            for front, estimate, result in zip(fronts, estimates, self._decided(estimates), strict=True):
                before = estimate.window.cut(front.at.mask)
                inside = parts_touching(estimate.window.cut(result.mask), before)
                if self._has_ended(front, inside, estimate):
                    continue
                reached = replace(result, mask=estimate.window.whole(inside, self._size_hw, False))
                yield from _filled(front.at, reached)
                yield reached
                front.at = reached
                if reached.index != front.end:
                    going.append(front)
            fronts = going

    def _between(self, gap: _Gap, index: int, ahead: tuple[int, ...]) -> _Estimate:
        window, below, above = gap.shapes
        share = (index - gap.below) / (gap.above - gap.below)
        distance = (1 - share) * below + share * above
        away = min(index - gap.below, gap.above - index)
        per_px = self._weights.shape / (1 + away) ** 0.25
        return self._estimate(gap.of, index, window, distance, per_px, ahead, is_followed=False)

    def _beyond(self, front: _Front) -> _Estimate:
        window = _Window.around(front.at.mask)
        shrink_px = self._weights.shrink_px
        # Half a pixel is taken off the distance, so two more are enough for all that counts to be exact.
        reach_px = _REACH_PX + int(abs(shrink_px)) + 2
        distance = signed_distance(window.cut(front.at.mask), reach_px) - shrink_px
        index, *ahead = front.next(self._every)
        return self._estimate(front.of, index, window, distance, self._weights.followed, tuple(ahead), is_followed=True)

    def _estimate(
        self,
        one: _Tracked,
        index: int,
        window: _Window,
        distance: np.ndarray,
        per_px: float,
        ahead: tuple[int, ...],
        *,
        is_followed: bool,
    ) -> _Estimate:
        """Weigh the shape, a signed distance in the window, and the grey values."""
        odds = one.odds[window.cut(self._grey(index))]
        grey = np.clip(_smoothed(odds), -_MOST_GREY, _MOST_GREY)
        weighed = per_px * np.clip(distance, -_REACH_PX, _REACH_PX) + self._weights.grey * grey
        evidence = weighed.astype(np.float32)
        is_open = self._is_open(one, evidence)
        return _Estimate(one, index, window, distance > 0, grey, evidence, is_open, is_followed, ahead)

    def _is_open(self, one: _Tracked, evidence: np.ndarray) -> bool:
        """Whether the model could turn enough pixels of what shape and grey values show."""
        area = np.count_nonzero(evidence > 0)
        if not area or not self._weights.model:
            return False
        most = self._weights.model * one.model_odds * _MOST_MODEL
        return bool(np.count_nonzero(np.abs(evidence) < most) >= self._weights.open_share * area)

    def _decided(self, estimates: Sequence[_Estimate]) -> list[Propagated]:
        """Hear the model about each estimate that leaves it something to decide, and decide."""
        asked = [one for one in estimates if one.is_open]
        answers = self._predict([self._question(one) for one in asked]) if asked else []
        heard = dict(zip(map(id, asked), answers, strict=True))
        return [self._decide(one, heard.get(id(one))) for one in estimates]

    def _question(self, estimate: _Estimate) -> Question:
        expected = estimate.window.whole(estimate.evidence, self._size_hw, -float(_REACH_PX))
        inside = estimate.evidence > 0
        if estimate.is_followed:  # between keyframes all parts are the object's, beyond them some have come loose
            inside = largest_component(inside)
        box = _Window.around(inside, 0).xyxy + np.tile(estimate.window.xyxy[:2], 2)
        return Question(estimate.index, Prompts(box_xyxy=_widened(box, 0.03, self._size_hw)), expected, estimate.ahead)

    def _decide(self, estimate: _Estimate, found: Found | None) -> Propagated:
        evidence = estimate.evidence
        if found is not None:
            logits = np.clip(estimate.window.cut(found.logits), -_MOST_MODEL, _MOST_MODEL)
            evidence = evidence + self._weights.model * estimate.of.model_odds * logits
        inside = evidence > 0
        mask = estimate.window.whole(inside, self._size_hw, False)
        away = min(abs(estimate.index - key) for key in estimate.of.keyframes)
        confidence = _FADING**away * _agreement(inside, estimate, found)
        score = float("nan") if found is None else found.score
        return Propagated(estimate.of.number, estimate.index, mask, confidence, score)

    def _has_ended(self, front: _Front, inside: np.ndarray, estimate: _Estimate) -> bool:
        area, key_area = np.count_nonzero(inside), np.count_nonzero(front.of.keyframes[front.key])
        if not area or not self._stop.area <= area / key_area <= self._stop.growth:
            return True
        least = self._stop.overlap ** abs(estimate.index - front.at.index)
        before = estimate.window.cut(front.at.mask)
        return dice(inside, before) < least or estimate.grey[inside].mean() < self._stop.grey


def _answered_together(estimates: Iterable[tuple[_Gap, _Estimate]]) -> Iterator[list[tuple[_Gap, _Estimate]]]:
    """Estimates in groups with as many questions as are asked together; between them, others that need no answer."""
    group: list[tuple[_Gap, _Estimate]] = []
    questions = 0
    for gap, estimate in estimates:
        group.append((gap, estimate))
        questions += estimate.is_open
        if questions == TOGETHER or len(group) == _MOST_ESTIMATES:
            yield group
            group, questions = [], 0
    if group:
        yield group


def _exact(one: _Tracked, index: int) -> Propagated:
    """A keyframe, as something that was reached."""
    return Propagated(one.number, index, one.keyframes[index], 1.0, float("nan"))


def _filled(start: Propagated, end: Propagated, gap: _Gap | None = None) -> Iterator[Propagated]:
    """The slices between two, by shape alone; only those in the gap, if there is one."""
    step = 1 if end.index > start.index else -1
    for index in range(start.index + step, end.index, step):
        if gap is None or gap.first <= index <= gap.last:
            share = (index - start.index) / (end.index - start.index)
            mask = interpolated(start.mask, end.mask, share)
            yield Propagated(start.number, index, mask, min(start.confidence, end.confidence), float("nan"))


def _agreement(inside: np.ndarray, estimate: _Estimate, found: Found | None) -> float:
    """How well the witnesses agree with what was decided."""
    agreements = [dice(inside, estimate.shape)]
    if found is not None:
        agreements.append(dice(inside, estimate.window.cut(found.logits) > 0))
    return float(np.mean(agreements))


def _widened(box_xyxy: np.ndarray, margin: float, size_hw: tuple[int, int]) -> np.ndarray:
    """A box, wider on all sides by a share of its longer side, within the slice."""
    reach = margin * (box_xyxy[2:] - box_xyxy[:2]).max()
    height, width = size_hw
    return np.clip(box_xyxy + reach * np.array([-1, -1, 1, 1]), 0, [width, height, width, height])


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
