"""What shape, grey values and the model say about an object on one slice, and the mask that follows from it.

Three evidence terms are added, as log odds that a pixel is the object's: the shape that the keyframes, or the slice
before, let expect; the grey values that the object and its surroundings have on the keyframes; and the model, which is
prompted with what the first two agree on. What the model says counts by how well it does on the keyframes themselves,
where the truth is known; where the first two leave it nothing to decide, it is not asked.

Which slices are estimated, and in which order: `schedule`. Why it is done like this, with the measurements:
docs/decisions/propagation.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from SAMMed2DLib.imaging.components import largest_component
from SAMMed2DLib.imaging.intensity import is_grey, smoothed_histogram
from SAMMed2DLib.imaging.metrics import dice
from SAMMed2DLib.inference.prompts import Prompts, box_of_mask
from SAMMed2DLib.propagation.shapes import REACH_PX, Rectangle, signed_distance, widened
from SAMMed2DLib.propagation.stop_rule import Start
from SAMMed2DLib.propagation.tracks import Frontier, Interval, PropagatedSlice, SegmentTrack

# Returns a slice, (H, W, 3) uint8, by its number.
SliceImage = Callable[[int], np.ndarray]

# Log odds of one grey value, and the model's logits, count up to these.
_MOST_GREY, _MOST_MODEL = 4.0, 6.0
# Each slice farther from a keyframe is as much less certain.
_FADING = 0.95
# Queries to the model that do not depend on each other are made together; beyond keyframes there are no more than
# two of them for each object, one up and one down.
TOGETHER = 16


@dataclass(frozen=True)
class Weights:
    """How much each evidence term counts; found by measurement, see docs/decisions/propagation.md.

    Attributes:
        shape: log odds for each px of depth in the shape between two keyframes, right beside one of them.
        followed: the same for the shape of the slice before, beyond the keyframes.
        shrink_px: how much smaller than the slice before an object is expected to be, beyond the keyframes.
        grey: of the log odds of the grey values.
        model: of the model's logits, for a model whose Dice on the keyframes is one half; 0 asks no model.
        open_share: the model is asked where it could turn pixels, inside or outside, that are at least this share of
            the object's area; 0 asks it everywhere.
    """

    shape: float = 0.9
    followed: float = 2.0
    shrink_px: float = 0.7
    grey: float = 1.2
    model: float = 0.0
    open_share: float = 0.1

    def with_model(self) -> Weights:
        """The same with the model heard, at the weight that was found for it."""
        return replace(self, model=MODEL_WEIGHT)


WEIGHTS = Weights()
# The model's weight where it is asked: a user's wish, since it costs more than it gives.
MODEL_WEIGHT = 0.05


@dataclass(frozen=True, eq=False)
class ModelQuery:
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
class ModelPrediction:
    """What the model predicts for a query.

    Attributes:
        logits: (H, W) float32; 0 where it did not look.
        score: IoU that it predicts for its mask.
    """

    logits: np.ndarray
    score: float


# One prediction for each query, in their order.
Predict = Callable[[Sequence[ModelQuery]], Sequence[ModelPrediction]]


@dataclass(frozen=True, eq=False)
class Estimate:
    """What shape and grey values say about an object on a slice, before the model is heard.

    Attributes:
        track: the object.
        index: the slice.
        rectangle: where it is computed; all arrays are of its size.
        shape: bool, the shape expected.
        grey: float, log odds of the grey values.
        evidence: float32, log odds of both.
        is_open: whether the model has something to decide.
        is_followed: whether it lies beyond the keyframes.
        ahead: slices that come next.
    """

    track: SegmentTrack
    index: int
    rectangle: Rectangle
    shape: np.ndarray
    grey: np.ndarray
    evidence: np.ndarray
    is_open: bool
    is_followed: bool
    ahead: tuple[int, ...]


class Estimator:
    """Weighs the evidence for objects, slice by slice."""

    def __init__(
        self, slice_image: SliceImage, predict: Predict, size_hw: tuple[int, int], weights: Weights = WEIGHTS
    ) -> None:
        """Take hold of the slices and the model; nothing is read yet.

        Args:
            slice_image: returns a slice, (H, W, 3) uint8, by its number.
            predict: the model.
            size_hw: of the slices, px.
            weights: of the evidence terms.
        """
        self._slice_image, self._predict, self._size_hw, self._weights = slice_image, predict, size_hw, weights
        self._kept = lru_cache(TOGETHER)(lambda index: _grey(slice_image(index)))  # objects share slices

    def grey(self, index: int) -> np.ndarray:
        """The grey values of a slice, (H, W) uint8."""
        return self._kept(index)

    def track(self, number: int, keyframes: Mapping[int, np.ndarray]) -> SegmentTrack:
        """An object with the grey values that its keyframes, masks (H, W) by slice, show; one of them shows it."""
        known = {index: np.asarray(mask) != 0 for index, mask in keyframes.items()}
        shown = {index: mask for index, mask in known.items() if mask.any()}
        greys = [_grey(self._slice_image(index)) for index in shown]
        return SegmentTrack(number, known, _grey_odds(list(shown.values()), greys))

    def start(self, frontier: Frontier, slice_px: float) -> Start:
        """What is known of an object where a frontier begins: that keyframe, and those behind it; see `Start`."""
        track, key = frontier.track, frontier.key
        is_up = frontier.end > key
        masks = {n: mask for n, mask in track.keyframes.items() if mask.any() and (n == key or (n < key) == is_up)}
        return Start(key, masks, self.grey(key), track.grey_odds, slice_px)

    def learn_reliability(self, tracks: Sequence[SegmentTrack]) -> None:
        """Ask the model about the keyframes, where the truth is known."""
        if not self._weights.model:
            return
        asked = [(track, index) for track in tracks for index, mask in track.keyframes.items() if mask.any()]
        scores: dict[int, list[float]] = {}
        for chunk in _chunks(asked, TOGETHER):
            masks = [track.keyframes[index] for track, index in chunk]
            queries = [
                ModelQuery(index, Prompts.of(box=widened(box_of_mask(mask), 0.05, self._size_hw)))
                for (_, index), mask in zip(chunk, masks, strict=True)
            ]
            for (track, _), mask, prediction in zip(chunk, masks, self._predict(queries), strict=True):
                scores.setdefault(track.number, []).append(dice(prediction.logits > 0, mask))
        for track in tracks:
            track.reliability = float(np.mean(scores[track.number]))

    def between(self, interval: Interval, index: int, ahead: tuple[int, ...]) -> Estimate:
        """Estimate shape and grey values on a slice between two keyframes.

        Args:
            interval: between the two keyframes of an object.
            index: the slice.
            ahead: slices of which the image is needed soon.
        """
        rectangle, _, _ = interval.shapes
        away = min(index - interval.below, interval.above - index)
        per_px = self._weights.shape / (1 + away) ** 0.25
        distance = interval.distance(index)
        return self._estimate(interval.track, index, rectangle, distance, per_px, ahead, is_followed=False)

    def beyond(self, frontier: Frontier, every: int) -> Estimate:
        """Shape and grey values on the next slice of a frontier, each n-th one."""
        rectangle = Rectangle.around(frontier.at.mask)
        shrink_px, per_px = self._weights.shrink_px, self._weights.followed
        # Half a pixel is taken off the distance, so two more are enough for all that counts to be exact.
        reach_px = REACH_PX + int(abs(shrink_px)) + 2
        distance = signed_distance(rectangle.cut(frontier.at.mask), reach_px) - shrink_px
        index, *ahead = frontier.next(every)
        return self._estimate(frontier.track, index, rectangle, distance, per_px, tuple(ahead), is_followed=True)

    def _estimate(
        self,
        track: SegmentTrack,
        index: int,
        rectangle: Rectangle,
        distance: np.ndarray,
        per_px: float,
        ahead: tuple[int, ...],
        *,
        is_followed: bool,
    ) -> Estimate:
        """Add the shape, a signed distance in the rectangle, and the grey values."""
        odds = track.grey_odds[rectangle.cut(self.grey(index))]
        grey = np.clip(_smoothed(odds), -_MOST_GREY, _MOST_GREY)
        weighed = per_px * np.clip(distance, -REACH_PX, REACH_PX) + self._weights.grey * grey
        evidence = weighed.astype(np.float32)
        is_open = self.is_open(track, evidence)
        return Estimate(track, index, rectangle, distance > 0, grey, evidence, is_open, is_followed, ahead)

    def is_open(self, track: SegmentTrack, evidence: np.ndarray) -> bool:
        """Whether the model could turn enough pixels of what shape and grey values show, log odds."""
        area = np.count_nonzero(evidence > 0)
        if not area or not self._weights.model:
            return False
        most = self._weights.model * track.model_odds * _MOST_MODEL
        return bool(np.count_nonzero(np.abs(evidence) < most) >= self._weights.open_share * area)

    def decide(self, estimates: Sequence[Estimate]) -> list[PropagatedSlice]:
        """Hear the model about each estimate that leaves it something to decide, and decide all, in their order."""
        asked = [estimate for estimate in estimates if estimate.is_open]
        predictions = self._predict([self._query(estimate) for estimate in asked]) if asked else []
        heard = dict(zip(map(id, asked), predictions, strict=True))
        return [self._decide(estimate, heard.get(id(estimate))) for estimate in estimates]

    def _query(self, estimate: Estimate) -> ModelQuery:
        expected = estimate.rectangle.whole(estimate.evidence, self._size_hw, -float(REACH_PX))
        inside = estimate.evidence > 0
        if estimate.is_followed:  # between keyframes all parts are the object's, beyond them some have come loose
            inside = largest_component(inside)
        box = Rectangle.around(inside, 0).xyxy + np.tile(estimate.rectangle.xyxy[:2], 2)
        prompts = Prompts(box_xyxy=widened(box, 0.03, self._size_hw))
        return ModelQuery(estimate.index, prompts, expected, estimate.ahead)

    def _decide(self, estimate: Estimate, prediction: ModelPrediction | None) -> PropagatedSlice:
        evidence, track = estimate.evidence, estimate.track
        if prediction is not None:
            logits = np.clip(estimate.rectangle.cut(prediction.logits), -_MOST_MODEL, _MOST_MODEL)
            evidence = evidence + self._weights.model * track.model_odds * logits
        inside = evidence > 0
        mask = estimate.rectangle.whole(inside, self._size_hw, False)
        away = track.slices_from_keyframe(estimate.index)
        confidence = _FADING**away * _agreement(inside, estimate, prediction)
        score = float("nan") if prediction is None else prediction.score
        return PropagatedSlice(track.number, estimate.index, mask, confidence, score)


def _agreement(inside: np.ndarray, estimate: Estimate, prediction: ModelPrediction | None) -> float:
    """How well shape and model agree with what was decided, a mean Dice."""
    agreements = [dice(inside, estimate.shape)]
    if prediction is not None:
        agreements.append(dice(inside, estimate.rectangle.cut(prediction.logits) > 0))
    return float(np.mean(agreements))


# --- grey values ----------------------------------------------------------------------------------------------


def _grey(image: np.ndarray) -> np.ndarray:
    """(H, W) uint8: the mean of the channels."""
    if is_grey(image):
        return image[..., 0]
    return (image.sum(axis=-1, dtype=np.uint16) // 3).astype(np.uint8)


def _grey_odds(masks: Sequence[np.ndarray], greys: Sequence[np.ndarray]) -> np.ndarray:
    """(256,) log odds that a pixel of this grey value near the outline is inside, learned from keyframes."""
    inside, outside = np.zeros(256), np.zeros(256)
    for mask, grey in zip(masks, greys, strict=True):
        rim_px = max(3.0, 0.3 * float(np.sqrt(mask.sum())))
        rectangle = Rectangle.around(mask)
        distance = signed_distance(rectangle.cut(mask))
        near = np.abs(distance) < rim_px
        values = rectangle.cut(grey)
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


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
