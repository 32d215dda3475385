"""Fit the weights of `propagation.stop_rule.LEARNED_STOP_RULE` on labelled volumes, and say what they are worth.

Development only. Every object is followed beyond its keyframes without an end, without a model, and what the stop rule
sees on each slice is kept. The weights are fitted on the slices of the volumes of "train" (label_volumes.py), where it
counts more to be right the more of the object is at stake. How strict the rule is, for objects of one keyframe and of
several, follows from "validation": as strict as it can be without ending more objects early than the limits of
`StopRule` do. Held-out volumes are measured when asked for.

    python Testing/training/label_volumes.py --output VOLUMES --clones CLONES
    OMP_NUM_THREADS=1 python Testing/training/fit_stop_rule.py --volumes VOLUMES --evidence EVIDENCE [--held-out]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from SAMMed2DLib.cli.evaluate_propagation import Entry, entries, labelled_volume
from SAMMed2DLib.evaluation.volumes import copied, interpolated_volume, is_measured, keyframes_of
from SAMMed2DLib.imaging.intensity import rgb_from_slice
from SAMMed2DLib.imaging.metrics import dice
from SAMMed2DLib.propagation.estimate import WEIGHTS, ModelPrediction, ModelQuery
from SAMMed2DLib.propagation.schedule import propagate
from SAMMed2DLib.propagation.stop_rule import (
    LEARNED_STOP_RULE,
    STOP_RULE,
    FollowedSlice,
    LearnedStopRule,
    Presence,
    PresenceDetector,
    Start,
)

# Objects are followed so many slices beyond their end; the fit looks at fewer.
FOLLOWED_BEYOND, FITTED_BEYOND = 40, 12
# A slice is worth keeping if so much of its mask is the object's.
WORTH_KEEPING = 0.35
# How much more what is at stake counts against each end counting the same, and how much large weights cost.
STAKE, RIDGE = 0.3, 0.01
STRICTNESS = np.arange(-1.0, 2.0, 0.05)
# No intercept of its own: an object has one keyframe or several.
FITTED = [name for name in Presence._fields if name != "one"]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What was seen of the objects of some volumes; arrays of one row for each object, end or slice.

    Attributes:
        volume: (objects,) number of the volume.
        keyframes: (objects,) how many.
        known: (objects, 3) voxels right, found and true, on keyframes, between them, and of the whole label.
        simple: (objects,) Dice of the keyframe copied over the true extent, or of three interpolated.
        end_object: (ends,) which object.
        true_slices: (ends,) how many slices the object goes on.
        is_border: (ends,) whether it ends with the volume.
        slice_end: (slices,) which end, in the order in which they were followed.
        presence: (slices, 9) the evidence.
        within_limits: (slices,) whether `StopRule` would go on.
        beyond: (slices,) how many slices beyond the object's end; 0 or less on the object.
        voxels: (slices, 2) right and found.
    """

    volume: np.ndarray
    keyframes: np.ndarray
    known: np.ndarray
    simple: np.ndarray
    end_object: np.ndarray
    true_slices: np.ndarray
    is_border: np.ndarray
    slice_end: np.ndarray
    presence: np.ndarray
    within_limits: np.ndarray
    beyond: np.ndarray
    voxels: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Evidence]) -> Evidence:
        """Those of several volumes, which are numbered anew."""
        columns: dict[str, list[np.ndarray]] = {field.name: [] for field in fields(cls)}
        objects = ends = 0
        for number, part in enumerate(parts):
            shifted = {
                "volume": np.full(len(part.volume), number),
                "end_object": part.end_object + objects,
                "slice_end": part.slice_end + ends,
            }
            for name, values in columns.items():
                values.append(shifted.get(name, getattr(part, name)))
            objects, ends = objects + len(part.volume), ends + len(part.end_object)
        return cls(**{name: np.concatenate(values) for name, values in columns.items()})

    def kept(self, goes_on: np.ndarray) -> np.ndarray:
        """(ends,) slices kept where a rule says of each, (slices,) bool, whether the object goes on."""
        counts = np.zeros(len(self.end_object), int)
        stopped = np.zeros(len(self.end_object), bool)
        for end, on in zip(self.slice_end, goes_on, strict=True):
            stopped[end] |= not on
            counts[end] += not stopped[end]
        return counts

    def dice(self, kept: np.ndarray) -> np.ndarray:
        """(objects,) Dice if so many slices, (ends,), are kept."""
        position = np.arange(len(self.slice_end)) - np.searchsorted(self.slice_end, self.slice_end)
        used = position < kept[self.slice_end]
        whose, count = self.end_object[self.slice_end[used]], len(self.volume)
        right, found = (np.bincount(whose, self.voxels[used, column], count) for column in (0, 1))
        return 2 * (self.known[:, 0] + right) / (self.known[:, 1] + found + self.known[:, 2])


def nothing_asked(queries: Sequence[ModelQuery]) -> list[ModelPrediction]:
    """No model."""
    raise AssertionError(f"asked about {len(queries)} slices")


class Watcher:
    """A stop rule that lets objects go on, and keeps what it sees of them."""

    def __init__(self, mask: np.ndarray) -> None:
        """Know the object, (N, H, W) bool."""
        used = np.flatnonzero(mask.any(axis=(1, 2)))
        self.mask, self.low, self.high = mask, int(used[0]), int(used[-1])
        self.ends: list[list[float]] = []
        self.slices: list[list[float]] = []

    def detector(self, start: Start) -> _Watch:
        """One for an end of the object."""
        return _Watch(self, start)


class _Watch:
    def __init__(self, watcher: Watcher, start: Start) -> None:
        self._watcher, self._start = watcher, start
        self._presence, self._limits = PresenceDetector(LEARNED_STOP_RULE, start), STOP_RULE.detector(start)
        self._number = -1

    def has_ended(self, followed: FollowedSlice) -> bool:
        watcher, start, index = self._watcher, self._start.keyframe, followed.index
        is_up = index > start
        end = watcher.high if is_up else watcher.low
        if self._number < 0:
            self._number = len(watcher.ends)
            watcher.ends.append([abs(end - start), end in (0, len(watcher.mask) - 1)])
        beyond = (index - end) * (1 if is_up else -1)
        area = np.count_nonzero(followed.mask_hw)
        most = LEARNED_STOP_RULE.growth * np.count_nonzero(self._start.mask_hw)
        if not area or area > most or beyond > FOLLOWED_BEYOND:
            return True
        right = np.count_nonzero(followed.whole_mask_hw & watcher.mask[index])
        is_within = not self._limits.has_ended(followed)
        watcher.slices.append([self._number, is_within, beyond, right, area, *self._presence.evidence(followed)])
        return False


def seen(entry: Entry) -> Evidence | None:
    """Follow all objects of a volume; None if it has none that is measured."""
    volume = labelled_volume(entry)
    pictures = np.moveaxis(volume.array, volume.axis, 0)
    picture = lru_cache(None)(lambda index: rgb_from_slice(pictures[index], volume.intensity))
    objects: list[list[float]] = []
    ends: list[list[float]] = []
    slices: list[list[float]] = []
    without_model = replace(WEIGHTS, model=0.0)
    for _, mask_kji in volume.objects:
        mask = np.moveaxis(mask_kji, volume.axis, 0)
        if not is_measured(mask):
            continue
        for count in (1, 3):
            keys = keyframes_of(mask, count)
            watcher = Watcher(mask)
            keyframes = {index: mask[index] for index in keys}
            run = propagate(
                picture,
                nothing_asked,
                [keyframes],
                0,
                len(mask) - 1,
                weights=without_model,
                stop=watcher,
                slice_px=volume.slice_px,
            )
            found = {one.index: one.mask for one in run} | keyframes
            known = [(found[index], mask[index]) for index in range(keys[0], keys[-1] + 1)]
            right = sum(np.count_nonzero(ours & true) for ours, true in known)
            area = sum(np.count_nonzero(ours) for ours, _ in known)
            way = copied(mask[keys[0]], mask) if count == 1 else interpolated_volume(keyframes, len(mask))
            for row in watcher.slices:
                row[0] += len(ends)
            ends += [[len(objects), *row] for row in watcher.ends]
            slices += sorted(watcher.slices, key=lambda row: row[0])
            objects.append([len(keys), right, area, np.count_nonzero(mask), dice(way, mask)])
    return _as_arrays(objects, ends, slices) if objects else None


def _as_arrays(objects: list[list[float]], ends: list[list[float]], slices: list[list[float]]) -> Evidence:
    of_object, of_end = np.array(objects, float), np.array(ends, float).reshape(-1, 3)
    of_slice = np.array(slices, float).reshape(-1, 5 + len(Presence._fields))
    return Evidence(
        volume=np.zeros(len(objects), int),
        keyframes=of_object[:, 0].astype(int),
        known=of_object[:, 1:4],
        simple=of_object[:, 4],
        end_object=of_end[:, 0].astype(int),
        true_slices=of_end[:, 1].astype(int),
        is_border=of_end[:, 2] > 0,
        slice_end=of_slice[:, 0].astype(int),
        within_limits=of_slice[:, 1] > 0,
        beyond=of_slice[:, 2].astype(int),
        voxels=of_slice[:, 3:5],
        presence=of_slice[:, 5:],
    )


def evidence_of(volumes: Path, part: str, kept: Path) -> Evidence:
    """What is seen in all volumes of a part; kept on disk, since following takes minutes."""
    listed = entries(argparse.Namespace(volume=None, volumes=volumes / f"{part}.tsv"))
    kept.mkdir(parents=True, exist_ok=True)
    parts = []
    for entry in listed:
        path = kept / f"{entry.name}.npz"
        if not path.exists():
            found = seen(entry)
            np.savez_compressed(path, **({} if found is None else vars(found)))
        with np.load(path) as arrays:
            if arrays.files:
                parts.append(Evidence(**arrays))
    return Evidence.joined(parts)


def fitted(evidence: Evidence) -> Presence:
    """The weights under which slices with and without the object differ most: logistic regression."""
    own = np.where(evidence.beyond <= FITTED_BEYOND, 1.0, 0.0)
    of_end = np.bincount(evidence.slice_end, own, len(evidence.end_object))
    objects = evidence.end_object[evidence.slice_end]
    ends_of_volume = np.bincount(evidence.volume[evidence.end_object])[evidence.volume[objects]]
    alike = own / np.sqrt(ends_of_volume * np.maximum(of_end[evidence.slice_end], 1))
    at_stake = np.abs(evidence.voxels[:, 0] - WORTH_KEEPING * evidence.voxels[:, 1]) / evidence.known[objects, 2]
    at_stake = at_stake / np.sqrt(ends_of_volume)
    weights = alike / alike.mean() + STAKE * at_stake / at_stake.mean()
    columns = evidence.presence[:, [Presence._fields.index(name) for name in FITTED]]
    intercept, *slopes = regression(columns, evidence.beyond <= 0, weights)
    found = dict(zip(FITTED, slopes, strict=True))
    found["several"] += intercept
    return Presence(one=intercept, **found)


def regression(columns: np.ndarray, is_true: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Logistic regression with a ridge on the standardized columns, by Newton's method: intercept and slopes."""
    weights = weights / weights.sum()
    mean = weights @ columns
    spread = np.sqrt(weights @ (columns - mean) ** 2) + 1e-9
    design = np.column_stack([np.ones(len(columns)), (columns - mean) / spread])
    ridge = RIDGE * np.eye(design.shape[1])
    ridge[0, 0] = 0.0
    slopes = np.zeros(design.shape[1])
    for _ in range(20):
        chance = 1 / (1 + np.exp(-np.clip(design @ slopes, -30, 30)))
        gradient = design.T @ (weights * (chance - is_true)) + ridge @ slopes
        curvature = (design.T * (weights * chance * (1 - chance))) @ design + ridge
        slopes = slopes - np.linalg.solve(curvature, gradient)
    own = slopes[1:] / spread
    return np.array([slopes[0] - own @ mean, *own])


def stricter(weights: Presence, evidence: Evidence) -> Presence:
    """As strict as can be without ending more objects early than the limits do, for one keyframe and for several."""
    chosen = weights
    by_limits = evidence.kept(evidence.within_limits)
    for name, is_one in (("one", True), ("several", False)):
        ends = (evidence.keyframes == 1)[evidence.end_object] == is_one
        most = np.mean((by_limits < evidence.true_slices)[ends])
        for strictness in STRICTNESS:
            tried = weights._replace(**{name: getattr(weights, name) - float(strictness)})
            kept = evidence.kept(goes_on(tried, evidence))
            if np.mean((kept < evidence.true_slices)[ends]) <= most:
                chosen = chosen._replace(**{name: getattr(tried, name)})
    return Presence(*(round(float(value), 2) for value in chosen))


def goes_on(weights: Presence, evidence: Evidence) -> np.ndarray:
    """(slices,) bool: whether the object is there by these weights."""
    return evidence.presence @ np.array(weights) >= 0


def table(part: str, evidence: Evidence, rule: LearnedStopRule) -> Iterator[str]:
    """Markdown rows: Dice, slices past the end, and early stops of simple ways, the limits, the rule, and the truth."""
    limits = evidence.kept(evidence.within_limits)
    ways: Mapping[str, np.ndarray] = {
        "limits": limits,
        "learned": evidence.kept(goes_on(rule.weights, evidence)),
        "limits, told the extent": np.minimum(limits, evidence.true_slices),
    }
    for count in (1, 3):
        objects = evidence.keyframes == 1 if count == 1 else evidence.keyframes > 1
        ends = objects[evidence.end_object]
        head = f"| {part} | {count} |"
        simple = "copied, told the extent" if count == 1 else "interpolated"
        yield f"{head} {simple} | {_means(evidence, evidence.simple, objects)} | | | |"
        for name, kept in ways.items():
            past = np.maximum(kept - evidence.true_slices, 0)[ends & ~evidence.is_border]
            far = np.zeros(len(objects), bool)
            far[evidence.end_object[ends & ~evidence.is_border][past > 5]] = True
            yield (
                f"{head} {name} | {_means(evidence, evidence.dice(kept), objects)} | {np.median(past):.0f} / "
                f"{np.percentile(past, 90):.0f} | {far[objects].mean():.0%} | "
                f"{np.mean((kept < evidence.true_slices)[ends]):.0%} |"
            )


def _means(evidence: Evidence, values: np.ndarray, objects: np.ndarray) -> str:
    """Mean over volumes, and over objects."""
    volumes = evidence.volume[objects]
    of_volume = [values[objects][volumes == number].mean() for number in np.unique(volumes)]
    return f"{np.mean(of_volume):.3f} | {values[objects].mean():.3f}"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--volumes", type=Path, required=True, help="folder written by label_volumes.py")
    parser.add_argument("--evidence", type=Path, required=True, help="folder to keep what was seen, for the next time")
    parser.add_argument("--held-out", action="store_true", help="measure the rule of the library on held-out volumes")
    options = parser.parse_args()
    head = ["part", "keyframes", "way", "Dice, volumes", "Dice, objects", "past the end", "over 5 past", "early"]
    rows = [f"| {' | '.join(head)} |", "|---|---:|---|---:|---:|---:|---:|---:|"]
    if options.held_out:
        rows += table("held out", evidence_of(options.volumes, "held_out", options.evidence), LEARNED_STOP_RULE)
    else:
        train, validation = (evidence_of(options.volumes, part, options.evidence) for part in ("train", "validation"))
        weights = stricter(fitted(train), validation)
        print(weights)
        rows += table("train", train, LearnedStopRule(weights))
        rows += table("validation", validation, LearnedStopRule(weights))
    print("\n".join(rows))


if __name__ == "__main__":
    main()
