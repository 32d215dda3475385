"""From a few slices of an object to all of them: which slices are filled, in which order.

A keyframe is a slice whose mask the user answers for; it is never altered. Every other slice gets the mask that
`estimate` finds there. In an interval between two keyframes the shape comes from both, blended by distance. Beyond the
outermost ones a frontier follows the object slice by slice until `stop_rule` says that it has ended. The slices may be
those of a volume in any direction, or the time points of a sequence.
Why it is done like this, with the measurements: docs/decisions/propagation.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from SAMMed2DLib.imaging.components import parts_touching
from SAMMed2DLib.propagation.estimate import TOGETHER, WEIGHTS, Estimate, Estimator, Predict, SliceImage, Weights
from SAMMed2DLib.propagation.stop_rule import LEARNED_STOP_RULE, EndRule, FollowedSlice
from SAMMed2DLib.propagation.tracks import Frontier, Interval, PropagatedSlice, SegmentTrack, filled

# Slices that are estimated before the model is asked about them, at most: their distances and odds take memory.
_MOST_ESTIMATES = 2 * TOGETHER
# A query names the slices that will be asked about next: encoding is fast for several at once.
_AHEAD = 8


class PropagationError(ValueError):
    """Nothing can be propagated from what was given; the message says what to do."""


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
    """The slices of a range that are no keyframes, as spans between keyframes and beyond them.

    Args:
        keyframes: their slices, in any order.
        first: lowest slice of the range.
        last: highest slice of the range.

    Returns:
        the spans from low to high.
    """
    known = sorted(keyframes)
    bounds: list[int | None] = [None, *known, None]
    spans = []
    for below, above in pairwise(bounds):
        start = first if below is None else max(first, below + 1)
        end = last if above is None else min(last, above - 1)
        if start <= end:
            spans.append(Span(start, end, below, above))
    return spans


def propagate(
    slice_image: SliceImage,
    predict: Predict,
    objects: Sequence[Mapping[int, np.ndarray]],
    first: int,
    last: int,
    *,
    every: int = 1,
    only: Collection[int] | None = None,
    weights: Weights = WEIGHTS,
    stop: EndRule = LEARNED_STOP_RULE,
    slice_px: float = 1.0,
) -> Iterator[PropagatedSlice]:
    """Carry objects from their keyframes to the other slices of a range.

    Slices come in no particular order, each once for each object at most. Whoever has enough may stop iterating.

    Args:
        slice_image: returns a slice, (H, W, 3) uint8, by its number.
        predict: the model; see `ModelQuery` and `ModelPrediction`.
        objects: for each object its keyframes, masks (H, W) bool by the number of their slice. An empty mask says that
            the object is not there.
        first: lowest slice to fill.
        last: highest slice to fill.
        every: the model is asked on every n-th slice; those between are interpolated.
        only: spans without any of these slices are left out; None does all.
        weights: of the evidence terms.
        stop: when an object has ended.
        slice_px: how far slices are from each other, in pixels of a slice.

    Raises:
        PropagationError: an object without a keyframe that shows it, keyframes of different sizes, or a range that is
            none.
    """
    if first > last or every < 1:
        raise PropagationError(f"slices {first} to {last}, every {every}, are no range: give the lowest one first")
    size_hw = _common_size(objects)
    estimator = Estimator(slice_image, predict, size_hw, weights)
    tracks = [estimator.track(number, keyframes) for number, keyframes in enumerate(objects)]
    estimator.learn_reliability(tracks)
    intervals, frontiers = _parts(tracks, first, last, only)
    yield from _fill_intervals(estimator, intervals, every)
    yield from _follow(estimator, frontiers, every, stop, slice_px, size_hw)


def _common_size(objects: Sequence[Mapping[int, np.ndarray]]) -> tuple[int, int]:
    shapes = {np.shape(mask) for keyframes in objects for mask in keyframes.values()}
    if not objects or not all(any(mask.any() for mask in keyframes.values()) for keyframes in objects):
        raise PropagationError("there is no keyframe that shows the object: segment it on one slice at least")
    if len(shapes) > 1 or len(next(iter(shapes))) != 2:
        raise PropagationError(f"keyframes must be masks of one size, not {sorted(shapes)}")
    height, width = shapes.pop()
    return height, width


def _parts(
    tracks: Sequence[SegmentTrack], first: int, last: int, only: Collection[int] | None
) -> tuple[list[Interval], list[Frontier]]:
    """The spans of all objects that can be filled: between two keyframes that show the object, and beyond one."""
    intervals: list[Interval] = []
    frontiers: list[Frontier] = []
    for track in tracks:
        for span in spans_of(track.keyframes, first, last):
            if only is not None and not any(span.first <= index <= span.last for index in only):
                continue
            below, above = track.shown(span.below), track.shown(span.above)
            if below is not None and above is not None:
                intervals.append(Interval(track, span.first, span.last, below, above))
            elif below is not None:
                frontiers.append(Frontier.from_keyframe(track, below, span.last))
            elif above is not None:
                frontiers.append(Frontier.from_keyframe(track, above, span.first))
    return intervals, frontiers


def _fill_intervals(estimator: Estimator, intervals: Sequence[Interval], every: int) -> Iterator[PropagatedSlice]:
    """Fill the slices between two keyframes, for all objects together."""
    slices = [(index, interval) for interval in intervals for index in interval.indices]
    estimated = [(index, interval) for index, interval in slices if (index - interval.below) % every == 0]
    estimated.sort(key=lambda pair: (pair[0], pair[1].track.number))  # slice by slice, so that objects share them
    indices = sorted({index for index, _ in estimated})
    ahead = {index: tuple(indices[n : n + _AHEAD]) for n, index in enumerate(indices, 1)}
    reached = {id(interval): interval.track.keyframe(interval.below) for interval in intervals}
    estimates = ((interval, estimator.between(interval, index, ahead[index])) for index, interval in estimated)
    for group in _grouped(estimates):
        results = estimator.decide([estimate for _, estimate in group])
        for (interval, _), result in zip(group, results, strict=True):
            yield from interval.filled(reached[id(interval)], result)
            yield result
            reached[id(interval)] = result
    for interval in intervals:
        yield from interval.filled(reached[id(interval)], interval.track.keyframe(interval.above))


def _grouped(estimates: Iterable[tuple[Interval, Estimate]]) -> Iterator[list[tuple[Interval, Estimate]]]:
    """Estimates in groups with as many queries as are made together; between them, others that need none."""
    group: list[tuple[Interval, Estimate]] = []
    queries = 0
    for interval, estimate in estimates:
        group.append((interval, estimate))
        queries += estimate.is_open
        if queries == TOGETHER or len(group) == _MOST_ESTIMATES:
            yield group
            group, queries = [], 0
    if group:
        yield group


def _follow(
    estimator: Estimator,
    frontiers: list[Frontier],
    every: int,
    stop: EndRule,
    slice_px: float,
    size_hw: tuple[int, int],
) -> Iterator[PropagatedSlice]:
    """Follow objects away from their outermost keyframes, all of them at the same pace, until they end."""
    detectors = {id(frontier): stop.detector(estimator.start(frontier, slice_px)) for frontier in frontiers}
    while frontiers:
        estimates = [estimator.beyond(frontier, every) for frontier in frontiers]
        going = []
        for frontier, estimate, result in zip(frontiers, estimates, estimator.decide(estimates), strict=True):
            before = estimate.rectangle.cut(frontier.at.mask)
            inside = parts_touching(estimate.rectangle.cut(result.mask), before)
            reached = replace(result, mask=estimate.rectangle.whole(inside, size_hw, False))
            followed = FollowedSlice(
                inside,
                before,
                estimate.rectangle.cut(estimator.grey(estimate.index)),
                estimate.grey,
                reached.mask,
                index=estimate.index,
                slices_away=abs(estimate.index - frontier.at.index),
            )
            if detectors[id(frontier)].has_ended(followed):
                continue
            yield from filled(frontier.at, reached)
            yield reached
            frontier.at = reached
            if reached.index != frontier.end:
                going.append(frontier)
        frontiers = going
