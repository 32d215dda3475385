"""How good propagation is: labelled volumes, one or three keyframes for each object, and what simpler ways give.

A keyframe is the label's own slice ("true"), or what an annotator would accept: the model's mask after a box and up to
three corrections ("clicks"); or there is none, but a box in space around the object ("box"). Keyframes count in every
measure, for propagation as for the simpler ways: what is measured is the volume that a user ends up with.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np

from SAMMed2DLib.data.simulated_user import centre_error_point
from SAMMed2DLib.evaluation.object_ways import BOX_WAYS, FOUND_KEYFRAMES, in_box
from SAMMed2DLib.imaging.intensity import Intensity, rgb_from_slice
from SAMMed2DLib.imaging.metrics import dice
from SAMMed2DLib.inference.predictor import Predictor
from SAMMed2DLib.inference.prompts import Prompts, box_of_mask
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.propagation.estimate import WEIGHTS, Weights
from SAMMed2DLib.propagation.schedule import propagate
from SAMMed2DLib.propagation.shapes import interpolated
from SAMMed2DLib.propagation.stack import StackModel
from SAMMed2DLib.propagation.tracks import PropagatedSlice
from SAMMed2DLib.propagation.whole_object import segment_object

LEAST_SLICES = 7
LEAST_AREA_PX = 60.0
CORRECTIONS = 3
# A slice with this Dice would be left as it is.
RIGHT_DICE = 0.8
# Where three keyframes lie within the object's extent.
THREE = (0.1, 0.5, 0.9)

# Where keyframes come from; "box" has none of its own, but the box in space around the object.
TRUE, CLICKS, BOX = "true", "clicks", "box"
SOURCES = (TRUE, CLICKS, BOX)
# Name of the way, number of keyframes that it starts from.
WAYS = (
    ("propagated", 1),
    (FOUND_KEYFRAMES, 1),
    ("copied", 1),
    ("propagated", 3),
    ("interpolated", 3),
    *((way, 0) for way in BOX_WAYS),
)
# The weights of each evidence term.
EVIDENCE_TERMS = {"shape": ("shape", "followed"), "grey": ("grey",), "model": ("model",)}

Masks = Mapping[int, np.ndarray]
Way = tuple[str, str, int]  # source of the keyframes, way, number of keyframes


class VolumeEvaluationError(ValueError):
    """Nothing can be measured on what was given; the message says why."""


@dataclass(frozen=True, eq=False)
class LabelledVolume:
    """A volume and its objects.

    Attributes:
        name: of the volume.
        array: (K, J, I) or (K, J, I, 3).
        objects: name and mask (K, J, I) bool, one after the other.
        axis: array axis of the slices.
        intensity: the same rule for all slices.
        slice_px: how far slices are from each other, in pixels of a slice.
        note: what a reader of the numbers should know.
    """

    name: str
    array: np.ndarray
    objects: Iterable[tuple[str, np.ndarray]]
    axis: int
    intensity: Intensity
    slice_px: float = 1.0
    note: str = ""


@dataclass(frozen=True)
class Scores:
    """How well one object was found in one way.

    Attributes:
        volume: Dice of all slices, 0..1.
        between: Dice from the lowest to the highest keyframe; NaN for a single one.
        right: share of the object's slices with a Dice of `RIGHT_DICE` or more.
        past: slices beyond each end of the object that is not the volume's own.
        seconds: that it took.
        slices: that it filled.
    """

    volume: float
    between: float
    right: float
    past: tuple[int, ...]
    seconds: float = 0.0
    slices: int = 0


@dataclass(frozen=True)
class ObjectScores:
    """One object in all ways.

    Attributes:
        volume: name of the volume.
        label: name of the object.
        slices: its number of slices.
        area_px: its mean area on them.
        scores: by way.
    """

    volume: str
    label: str
    slices: int
    area_px: float
    scores: dict[Way, Scores] = field(default_factory=dict)


def without(names: Iterable[str]) -> Weights:
    """The weights with these evidence terms silenced: "shape", "grey", "model".

    Raises:
        VolumeEvaluationError: there is no such term.
    """
    silenced: dict[str, float] = {}
    for name in names:
        if name not in EVIDENCE_TERMS:
            raise VolumeEvaluationError(f"there is no evidence term {name!r}; choose of {', '.join(EVIDENCE_TERMS)}")
        silenced |= dict.fromkeys(EVIDENCE_TERMS[name], 0.0)
    return replace(WEIGHTS, **silenced)


def evaluate_volumes(
    predictor: Predictor,
    volumes: Iterable[LabelledVolume],
    *,
    sources: Sequence[str] = SOURCES,
    weights: Weights = WEIGHTS,
    zoom: bool | None = None,
    most: int | None = None,
) -> Iterator[ObjectScores]:
    """Measure every object that is large enough, one result after the other.

    Args:
        predictor: the model.
        volumes: with their objects.
        sources: of the keyframes, of `SOURCES`.
        weights: of the evidence terms.
        zoom: look at crops; None does what the weights were trained for.
        most: objects of each volume at most, spread evenly over its labels.
    """
    for volume in volumes:
        slices = np.moveaxis(volume.array, volume.axis, 0)
        chosen = [(label, np.packbits(mask)) for label, mask in volume.objects if is_measured(_along(volume, mask))]
        if most is not None and most < len(chosen):
            chosen = [chosen[n] for n in np.linspace(0, len(chosen) - 1, most).round().astype(int)]
        for label, bits in chosen:
            whole = np.unpackbits(bits, count=math.prod(volume.array.shape[:3]))
            mask = _along(volume, whole.reshape(volume.array.shape[:3]).astype(bool))
            user = _User(predictor, slices, volume, weights, zoom)
            yield user.measured(volume.name, label, mask, sources)


def _along(volume: LabelledVolume, mask_kji: np.ndarray) -> np.ndarray:
    """A mask as slices along the axis of a volume: (N, H, W) bool."""
    return np.moveaxis(mask_kji, volume.axis, 0)


def is_measured(mask: np.ndarray) -> bool:
    """Whether an object, (N, H, W) bool, has enough slices, without a gap, and is large enough on them."""
    used = np.flatnonzero(mask.any(axis=(1, 2)))
    if len(used) < LEAST_SLICES or used[-1] - used[0] + 1 != len(used):
        return False
    return bool(mask.sum() / len(used) >= LEAST_AREA_PX)


def keyframes_of(mask: np.ndarray, count: int) -> list[int]:
    """The slices to segment: the largest one, or three at 10, 50 and 90 % of the object's extent."""
    if count == 1:
        return [int(mask.sum(axis=(1, 2)).argmax())]
    used = np.flatnonzero(mask.any(axis=(1, 2)))
    return sorted({int(used[round(share * (len(used) - 1))]) for share in THREE})


def score(found: np.ndarray, mask: np.ndarray, keyframes: Sequence[int]) -> Scores:
    """Compare a volume with the object's, both (N, H, W) bool.

    Args:
        found: of all slices.
        mask: the object's own, not empty.
        keyframes: indices of the slices that were segmented before.
    """
    used = np.flatnonzero(mask.any(axis=(1, 2)))
    right = np.mean([dice(found[index], mask[index]) >= RIGHT_DICE for index in used])
    low, high = min(keyframes), max(keyframes)
    between = dice(found[low : high + 1], mask[low : high + 1]) if high > low else float("nan")
    return Scores(dice(found, mask), between, float(right), slices_past(found, mask))


def slices_past(found: np.ndarray, mask: np.ndarray) -> tuple[int, ...]:
    """How many slices beyond each of the object's ends are not empty; an end at the volume's border does not count."""
    used = np.flatnonzero(mask.any(axis=(1, 2)))
    shown = np.flatnonzero(found.any(axis=(1, 2)))
    past = []
    if used[0] > 0:
        past.append(max(int(used[0] - shown[0]), 0) if len(shown) else 0)
    if used[-1] < len(mask) - 1:
        past.append(max(int(shown[-1] - used[-1]), 0) if len(shown) else 0)
    return tuple(past)


def copied(keyframe: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The keyframe on every slice of the object: (N, H, W) bool; that its extent is known is generous."""
    found = np.zeros_like(mask)
    found[mask.any(axis=(1, 2))] = keyframe
    return found


def interpolated_volume(keyframes: Masks, count: int) -> np.ndarray:
    """The shapes between keyframes, nothing beyond them: (N, H, W) bool."""
    known = sorted(keyframes)
    found = np.zeros((count, *keyframes[known[0]].shape), bool)
    for index in known:
        found[index] = keyframes[index]
    for low, high in pairwise(known):
        for index in range(low + 1, high):
            found[index] = interpolated(keyframes[low], keyframes[high], (index - low) / (high - low))
    return found


def accepted_mask(session: Session, image: np.ndarray, mask_hw: np.ndarray, zoom: bool | None = None) -> np.ndarray:
    """What an annotator would accept: the best mask after a box and up to `CORRECTIONS` clicks, (H, W) bool.

    Args:
        session: answers the prompts.
        image: (H, W, 3) uint8, the slice.
        mask_hw: (H, W) bool, the object on it, not empty.
        zoom: look at crops; None does what the weights were trained for.
    """
    prompts = Prompts.of(box=box_of_mask(mask_hw))
    found = [session.answer(image, prompts, zoom=zoom).mask]
    for _ in range(CORRECTIONS):
        correction = centre_error_point(found[-1], mask_hw)
        if correction is None:
            break
        prompts = prompts.with_point(*correction)
        found.append(session.answer(image, prompts, zoom=zoom).mask)
    return max(found, key=lambda mask: dice(mask, mask_hw))


class _User:
    """Somebody who segments objects of one volume."""

    def __init__(
        self, predictor: Predictor, slices: np.ndarray, volume: LabelledVolume, weights: Weights, zoom: bool | None
    ) -> None:
        self._predictor, self._weights, self._slice_px = predictor, weights, volume.slice_px
        self._zoom = predictor.prefers_zoom if zoom is None else zoom
        self._slice_image: Callable[[int], np.ndarray] = lru_cache(64)(
            lambda index: rgb_from_slice(slices[index], volume.intensity)
        )

    def measured(self, volume: str, label: str, mask: np.ndarray, sources: Sequence[str]) -> ObjectScores:
        slices = int(mask.any(axis=(1, 2)).sum())
        result = ObjectScores(volume, label, slices, float(mask.sum() / slices))
        for source in sources:
            if source == BOX:
                result.scores.update(self._box_ways(mask))
                continue
            for count in (1, 3):
                indices = keyframes_of(mask, count)
                drawn = {index: self._drawn(index, mask[index], source) for index in indices}
                shown = {index: mask_hw for index, mask_hw in drawn.items() if mask_hw.any()}
                result.scores.update(self._ways(source, count, shown, mask, indices))
        return result

    def _box_ways(self, mask: np.ndarray) -> Iterator[tuple[Way, Scores]]:
        keyframe = keyframes_of(mask, 1)
        for way in BOX_WAYS:
            began = time.perf_counter()
            found = in_box(way, Session(self._predictor), self._slice_image, mask, self._zoom, self._slice_px)
            seconds = time.perf_counter() - began
            scored = replace(score(found, mask, keyframe), seconds=seconds, slices=int(found.any(axis=(1, 2)).sum()))
            yield (BOX, way, 0), scored

    def _drawn(self, index: int, mask_hw: np.ndarray, source: str) -> np.ndarray:
        if source == TRUE:
            return mask_hw
        return accepted_mask(Session(self._predictor), self._slice_image(index), mask_hw, self._zoom)

    def _ways(
        self, source: str, count: int, keyframes: Masks, mask: np.ndarray, indices: Sequence[int]
    ) -> Iterator[tuple[Way, Scores]]:
        nothing = np.zeros_like(mask)
        simple = "copied" if count == 1 else "interpolated"
        if not keyframes:  # the model found nothing on any of them
            yield (source, "propagated", count), score(nothing, mask, indices)
            if count == 1:
                yield (source, FOUND_KEYFRAMES, 1), score(nothing, mask, indices)
            yield (source, simple, count), score(nothing, mask, indices)
            return
        yield (source, "propagated", count), self._propagated(keyframes, mask, indices)
        if count == 1:
            yield (source, FOUND_KEYFRAMES, 1), self._with_found_keyframes(keyframes, mask, indices)
        only = next(iter(keyframes.values()))
        found = copied(only, mask) if count == 1 else interpolated_volume(keyframes, len(mask))
        yield (source, simple, count), score(found, mask, indices)

    def _with_found_keyframes(self, keyframes: Masks, mask: np.ndarray, indices: Sequence[int]) -> Scores:
        session = Session(self._predictor)
        results = segment_object(
            session,
            self._slice_image,
            0,
            len(mask) - 1,
            keyframes=keyframes,
            zoom=self._zoom,
            slice_px=self._slice_px,
        )
        return self._scored(results, keyframes, mask, indices)

    def _propagated(self, keyframes: Masks, mask: np.ndarray, indices: Sequence[int]) -> Scores:
        session = Session(self._predictor) if self._weights.model else None
        model = StackModel(session, self._slice_image, self._zoom, [keyframes])
        results = propagate(
            self._slice_image, model, [keyframes], 0, len(mask) - 1, weights=self._weights, slice_px=self._slice_px
        )
        return self._scored(results, keyframes, mask, indices)

    @staticmethod
    def _scored(
        results: Iterable[PropagatedSlice], keyframes: Masks, mask: np.ndarray, indices: Sequence[int]
    ) -> Scores:
        found = np.zeros_like(mask)
        for index, keyframe in keyframes.items():
            found[index] = keyframe
        began, filled = time.perf_counter(), 0
        for result in results:
            found[result.index] = result.mask
            filled += 1
        seconds = time.perf_counter() - began
        return replace(score(found, mask, indices), seconds=seconds, slices=filled)
