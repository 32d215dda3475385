"""How good propagation is: labelled volumes, one or three keyframes for each object, and what simpler ways give.

A keyframe is the label's own slice ("true"), or what an annotator would accept: the model's mask after a box and up to
three corrections ("clicks"). Keyframes count in every measure, for propagation as for the simpler ways: what is
measured is the volume that a user ends up with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np

from SAMMed2DLib.data.simulated_user import centre_error_point
from SAMMed2DLib.imaging.intensity import Intensity, rgb_from_slice
from SAMMed2DLib.imaging.metrics import dice
from SAMMed2DLib.inference.predictor import Predictor
from SAMMed2DLib.inference.prompts import Prompts, box_of_mask
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.propagation.estimate import WEIGHTS, Weights
from SAMMed2DLib.propagation.schedule import propagate
from SAMMed2DLib.propagation.shapes import interpolated
from SAMMed2DLib.propagation.stack import StackModel

LEAST_SLICES = 7
LEAST_AREA_PX = 60.0
CORRECTIONS = 3
# A slice with this Dice would be left as it is.
RIGHT_DICE = 0.8
# Where three keyframes lie within the object's extent.
THREE = (0.1, 0.5, 0.9)

SOURCES = ("true", "clicks")
# Name of the way, number of keyframes that it starts from.
WAYS = (("propagated", 1), ("copied", 1), ("propagated", 3), ("interpolated", 3))
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
        most: objects of each volume at most.
    """
    for volume in volumes:
        count = 0
        slices = np.moveaxis(volume.array, volume.axis, 0)
        for label, mask_kji in volume.objects:
            mask = np.moveaxis(mask_kji, volume.axis, 0)
            if is_measured(mask) and (most is None or count < most):
                count += 1
                user = _User(predictor, slices, volume, weights, zoom)
                yield user.measured(volume.name, label, mask, sources)


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
            for count in (1, 3):
                indices = keyframes_of(mask, count)
                drawn = {index: self._drawn(index, mask[index], source) for index in indices}
                shown = {index: mask_hw for index, mask_hw in drawn.items() if mask_hw.any()}
                result.scores.update(self._ways(source, count, shown, mask, indices))
        return result

    def _drawn(self, index: int, mask_hw: np.ndarray, source: str) -> np.ndarray:
        if source == "true":
            return mask_hw
        return accepted_mask(Session(self._predictor), self._slice_image(index), mask_hw, self._zoom)

    def _ways(
        self, source: str, count: int, keyframes: Masks, mask: np.ndarray, indices: Sequence[int]
    ) -> Iterator[tuple[Way, Scores]]:
        nothing = np.zeros_like(mask)
        simple = "copied" if count == 1 else "interpolated"
        if not keyframes:  # the model found nothing on any of them
            yield (source, "propagated", count), score(nothing, mask, indices)
            yield (source, simple, count), score(nothing, mask, indices)
            return
        yield (source, "propagated", count), self._propagated(keyframes, mask, indices)
        only = next(iter(keyframes.values()))
        found = copied(only, mask) if count == 1 else interpolated_volume(keyframes, len(mask))
        yield (source, simple, count), score(found, mask, indices)

    def _propagated(self, keyframes: Masks, mask: np.ndarray, indices: Sequence[int]) -> Scores:
        found = np.zeros_like(mask)
        for index, keyframe in keyframes.items():
            found[index] = keyframe
        began, filled = time.perf_counter(), 0
        session = Session(self._predictor) if self._weights.model else None
        model = StackModel(session, self._slice_image, self._zoom, [keyframes])
        for result in propagate(
            self._slice_image, model, [keyframes], 0, len(mask) - 1, weights=self._weights, slice_px=self._slice_px
        ):
            found[result.index] = result.mask
            filled += 1
        seconds = time.perf_counter() - began
        return replace(score(found, mask, indices), seconds=seconds, slices=filled)


# --- tables -------------------------------------------------------------------------------------------------


def ways_of(results: Sequence[ObjectScores]) -> list[Way]:
    """The ways that were measured, in the order of the tables.

    Raises:
        VolumeEvaluationError: nothing was measured.
    """
    if not results:
        raise VolumeEvaluationError(
            f"no object was measured: one needs {LEAST_SLICES} slices without a gap and {LEAST_AREA_PX:.0f} px on "
            "average; check the labels and the axis"
        )
    return [(s, way, n) for s in SOURCES for way, n in WAYS if (s, way, n) in results[0].scores]


def table_of_volumes(results: Sequence[ObjectScores]) -> str:
    """Markdown: Dice of the volume, one row for each volume, and the means over objects and over volumes."""
    ways = ways_of(results)
    groups: dict[str, list[ObjectScores]] = {}
    for result in results:
        groups.setdefault(result.volume, []).append(result)
    rows = {name: _mean_dice(group, ways) for name, group in groups.items()}
    head = ["volume", "objects", *(f"{way}, {n} {source}" for source, way, n in ways)]
    lines = [_row(head), "|---|" + "---:|" * (len(ways) + 1)]
    lines += [_row([name, str(len(groups[name])), *_digits(row)]) for name, row in rows.items()]
    overall, macro = _mean_dice(results, ways), np.mean(list(rows.values()), axis=0)
    lines.append(_row(["**mean over objects**", str(len(results)), *_digits(overall)]))
    lines.append(_row(["**mean over volumes**", str(len(results)), *_digits(macro)]))
    return "\n".join(lines)


def table_of_ways(results: Sequence[ObjectScores]) -> str:
    """Markdown: all measures, one row for each way; means over objects."""
    head = ["keyframes", "way", "volume Dice", "between keyframes", "slices right", "slices past the end: median"]
    head += ["90 %", "s per object", "slices/s"]
    lines = [_row(head), "|---|---|" + "---:|" * 7]
    for way in ways_of(results):
        scores = [result.scores[way] for result in results]
        past = [count for scored in scores for count in scored.past]
        middle, most = np.percentile(past, [50, 90]) if past else (np.nan, np.nan)
        seconds, slices = sum(scored.seconds for scored in scores), sum(scored.slices for scored in scores)
        between = [scored.between for scored in scores if not np.isnan(scored.between)]
        volume = float(np.mean([scored.volume for scored in scores]))
        dices = [volume, float(np.mean(between)) if between else float("nan")]
        words = [*_digits(dices), f"{np.mean([scored.right for scored in scores]):.0%}".replace("%", " %")]
        words += [f"{middle:.0f}", f"{most:.0f}"]
        words += [f"{seconds / len(scores):.2f}", f"{slices / seconds:.0f}"] if seconds else ["n/a", "n/a"]
        lines.append(_row([f"{way[2]} {way[0]}", way[1], *words]))
    return "\n".join(lines)


def losers(results: Sequence[ObjectScores], source: str = "true") -> list[tuple[ObjectScores, float, float]]:
    """Objects that propagation finds less well than interpolation, with both Dice, the greatest loss first."""
    pairs = [
        (result, result.scores[source, "propagated", 3].volume, result.scores[source, "interpolated", 3].volume)
        for result in results
        if (source, "interpolated", 3) in result.scores
    ]
    return sorted((pair for pair in pairs if pair[1] < pair[2]), key=lambda pair: pair[1] - pair[2])


def table_of_losers(results: Sequence[ObjectScores], source: str = "true") -> str:
    """Markdown: the objects of `losers`."""
    head = ["volume", "object", "slices", "mean px", "propagated", "interpolated"]
    lines = [_row(head), "|---|---|" + "---:|" * 4]
    for result, ours, theirs in losers(results, source):
        words = [result.volume, result.label, str(result.slices), f"{result.area_px:.0f}"]
        lines.append(_row([*words, *_digits([ours, theirs])]))
    return "\n".join(lines)


def csv_rows(results: Iterable[ObjectScores]) -> Iterator[list[str]]:
    """Every object in every way, the head first."""
    head = "volume,label,slices,area_px,keyframes,source,way,dice,dice_between,right,past,seconds,filled"
    yield head.split(",")
    for result in results:
        for (source, way, count), found in result.scores.items():
            yield [
                result.volume,
                result.label,
                str(result.slices),
                f"{result.area_px:.1f}",
                str(count),
                source,
                way,
                *(f"{value:.4f}" for value in (found.volume, found.between, found.right)),
                " ".join(map(str, found.past)),
                f"{found.seconds:.3f}",
                str(found.slices),
            ]


def _mean_dice(results: Sequence[ObjectScores], ways: Sequence[Way]) -> list[float]:
    return [float(np.mean([result.scores[way].volume for result in results])) for way in ways]


def _digits(values: Iterable[float]) -> list[str]:
    return ["n/a" if np.isnan(value) else f"{value:.3f}" for value in values]


def _row(words: Sequence[str]) -> str:
    return f"| {' | '.join(words)} |"
