"""Find further objects like given ones: likeness of features, its peaks as clicks, their masks by the model.

Nothing is decided here: what is found is a proposal, for somebody to take or refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from SAMMed2DLib.imaging.components import innermost_point, label_components, largest_component
from SAMMed2DLib.inference.prompts import EmptyMaskError, Prompts
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.inference.zoom import Crop
from SAMMed2DLib.proposals.likeness import ObjectLikeness, peaks
from SAMMed2DLib.proposals.ranking import Proposal, one_per_object, ranked
from SAMMed2DLib.proposals.steps import OnProgress, ShouldStop, Steps, take_all
from SAMMed2DLib.proposals.tiles import FeatureMap, best_tile, feature_map, tile_image, tiles_of

# Places that are less like the objects, which have 1 on average, are no peaks.
_LEAST_PEAK = 0.3
# Masks whose pixels are less like them, on average, are no proposals.
_LEAST_MASK = 0.4
# Answers of a lower rank were mostly wrong on the images that this was chosen on: docs/many-objects.md.
_LEAST_RANK = 0.45
# As small or as large, beside the smallest and the largest object that was given, by area.
_SIZE_FACTOR = 3.0
# Of the areas of the objects: how finely is looked goes by the smaller ones.
_SMALL_PERCENTILE = 25
# For each proposal that is wanted, so many peaks are answered in batches first.
_PEAKS_FOR_EACH = 2
# The rank of a peak at which no mask was drawn in a batch, beside one of the same likeness whose score is 1.
_UNSEEN = 0.5
# Slices of objects by which likeness is measured.
_MOST_SLICES = 5
# The share of the work on a slice that encoding its tiles is.
_FEATURES = 0.3


@dataclass(frozen=True, eq=False)
class ExampleObjects:
    """A slice with objects like which others are looked for.

    Attributes:
        slice_index: the slice.
        mask: (H, W) bool, the objects; regions that touch count as one.
    """

    slice_index: int
    mask: np.ndarray


def find_similar(
    session: Session,
    image_of: Callable[[int], np.ndarray],
    examples: Sequence[ExampleObjects],
    slices: Sequence[int],
    *,
    known: Mapping[int, np.ndarray] | None = None,
    most: int = 30,
    zoom: bool | None = None,
    on_progress: OnProgress = lambda share: None,
    should_stop: ShouldStop | None = None,
) -> list[Proposal]:
    """Propose objects that are like others.

    Args:
        session: its model sees and answers; the masks are those that it answers to the proposals' prompts.
        image_of: gives a slice, (H, W, 3) uint8, by its index.
        examples: slices with objects, the most important first.
        slices: where to look, in ascending order; on neighbouring slices an object is proposed once, on its best one.
        known: (H, W) bool each, objects that are there already, by slice, besides the examples.
        most: how many proposals a slice has at most.
        zoom: as in `Session.answer`.
        on_progress: told the share of the work that is done, 0 .. 1.
        should_stop: ends the work early.

    Returns:
        the most likely ones first.

    Raises:
        EmptyMaskError: no example has a pixel.
        Stopped: `should_stop` said so.
    """
    steps = similar_steps(
        session, image_of, examples, slices, known=known, most=most, zoom=zoom, should_stop=should_stop
    )
    return take_all(steps, on_progress)


def similar_steps(
    session: Session,
    image_of: Callable[[int], np.ndarray],
    examples: Sequence[ExampleObjects],
    slices: Sequence[int],
    *,
    known: Mapping[int, np.ndarray] | None = None,
    most: int = 30,
    zoom: bool | None = None,
    should_stop: ShouldStop | None = None,
) -> Steps:
    """Do what `find_similar` does in short steps, so that a caller may do something else between them.

    Result and errors are as there; each step yields the share of the work that is done.

    Args:
        session: as there, as are all others.
        image_of: see there.
        examples: see there.
        slices: see there.
        known: see there.
        most: see there.
        zoom: see there.
        should_stop: see there.
    """
    drawn = [example for example in examples if example.mask.any()]
    if not drawn:
        raise EmptyMaskError("no object is there to which others could be similar: segment one first")
    areas = [int(area) for example in drawn for area in label_components(example.mask).area_px]
    object_px = float(2 * np.sqrt(np.percentile(areas, _SMALL_PERCENTILE) / np.pi))
    maps, inside = [], []
    for example in drawn[:_MOST_SLICES]:
        image = image_of(example.slice_index)
        tiles = tiles_of((image.shape[0], image.shape[1]), object_px)
        for tile in tiles:
            session.encode(tile_image(image, tile), should_stop, coarse=False)
            yield 0.0
        seen = feature_map(session, image, tiles, object_px, should_stop)
        maps.append(seen)
        inside.append(seen.places(example.mask.astype(np.float32)))
    limits = (min(areas) / _SIZE_FACTOR, max(areas) * _SIZE_FACTOR)
    search = _Search(session, should_stop, object_px, limits, ObjectLikeness.of(maps, inside), most, zoom)
    there = _united(known or {}, drawn)
    found: list[Proposal] = []
    for number, index in enumerate(slices):
        image = image_of(index)
        steps = search.on_slice(index, image, there.get(index, np.zeros(image.shape[:2], bool)))
        while True:
            try:
                yield (number + next(steps)) / len(slices)
            except StopIteration as end:
                found += end.value
                break
    return one_per_object(found, there) if len(slices) > 1 else found


@dataclass(frozen=True, eq=False)
class _Search:
    """What is looked for, and by whom."""

    session: Session
    should_stop: ShouldStop | None
    object_px: float
    areas_px: tuple[float, float]
    likeness: ObjectLikeness
    most: int
    zoom: bool | None

    def on_slice(self, index: int, image: np.ndarray, known_hw: np.ndarray) -> Steps:
        """The proposals of one slice, the best first; yields the share of the work that is done."""
        tiles = tiles_of((image.shape[0], image.shape[1]), self.object_px)
        for done, tile in enumerate(tiles, 1):
            self.session.encode(tile_image(image, tile), self.should_stop, coarse=False)
            yield _FEATURES * done / len(tiles)
        features = feature_map(self.session, image, tiles, self.object_px, self.should_stop)
        seen = _Seen(features, self.likeness.map(features))
        points = seen.peaks_px(known_hw, self.object_px, _PEAKS_FOR_EACH * self.most)
        guesses = ranked(self._guessed(index, image, tiles, points, seen), {index: known_hw}, self.most)
        found = []
        for done, guess in enumerate(guesses):
            yield _FEATURES + (1 - _FEATURES) * done / len(guesses)
            proposal = self._answered(index, image, guess.prompts, seen)
            found += [proposal] if proposal is not None and proposal.rank >= _LEAST_RANK else []
        yield 1.0
        return ranked(found, {index: known_hw})

    def _answered(self, index: int, image: np.ndarray, click: Prompts, seen: _Seen) -> Proposal | None:
        """What a session answers to a click; the candidate that is most like an object where the answer is not."""
        answer = self.session.answer(image, click, zoom=self.zoom, should_stop=self.should_stop)
        proposal = self._judged(index, click, answer.mask, answer.score, seen)
        if proposal is not None:
            return proposal
        answer = self.session.answer(image, click, zoom=self.zoom, candidates=True, should_stop=self.should_stop)
        candidates = [
            self._judged(index, click.with_candidate(number), candidate.mask, candidate.score, seen)
            for number, candidate in enumerate(answer.candidates, 1)
        ]
        return max(filter(None, candidates), key=lambda candidate: candidate.rank, default=None)

    def _guessed(
        self, index: int, image: np.ndarray, tiles: list[Crop], points: list[np.ndarray], seen: _Seen
    ) -> Iterator[Proposal]:
        """Masks of clicks as the decoder draws them in tiles, which are encoded already, as one batch.

        Where it draws nothing like an object, which may be too small for it there, a disc stands for it.
        """
        images = [tile_image(image, tile) for tile in tiles]
        places = [best_tile(tiles, point) for point in points]
        clicks = [tiles[n].prompts(Prompts.of(positive=[point])) for n, point in zip(places, points, strict=True)]
        pairs = [(images[n], click) for n, click in zip(places, clicks, strict=True)]
        answers = self.session.answer_pairs(pairs, should_stop=self.should_stop) if pairs else []
        for n, point, answer in zip(places, points, answers, strict=True):
            mask = largest_component(answer.mask)
            if mask.any():
                whole = tiles[n].whole_mask(mask)
                found = self._judged(index, Prompts.of(positive=[innermost_point(whole)]), whole, answer.score, seen)
                if found is not None:
                    yield found
                    continue
            disc = _disc(point, self.object_px / 2, (image.shape[0], image.shape[1]))
            yield Proposal(index, Prompts.of(positive=[point]), disc, 0.0, _UNSEEN * seen.mean_in(disc))

    def _judged(self, index: int, prompts: Prompts, mask: np.ndarray, score: float, seen: _Seen) -> Proposal | None:
        """A proposal of a mask; None if it is too small, too large or not like the objects."""
        likeness = seen.mean_in(mask)
        if not self.areas_px[0] <= np.count_nonzero(mask) <= self.areas_px[1] or likeness < _LEAST_MASK:
            return None
        return Proposal(index, prompts, mask, score, min(likeness, 1.0) * max(score, 0.0))


@dataclass(frozen=True, eq=False)
class _Seen:
    """A slice, and how like the objects its places are."""

    features: FeatureMap
    like_hw: np.ndarray

    def peaks_px(self, known_hw: np.ndarray, object_px: float, most: int) -> list[np.ndarray]:
        """Points (x, y), slice px, that are most like the objects, outside of what is known."""
        step = self.features.step_px
        free = np.where(self.features.places(known_hw.astype(np.float32)) > 0, -np.inf, self.like_hw)
        found = peaks(free, max(object_px / 2 / step, 1.0), most, _LEAST_PEAK)
        return [np.array([(column + 0.5) * step - 0.5, (row + 0.5) * step - 0.5]) for row, column in found]

    def mean_in(self, mask_hw: np.ndarray) -> float:
        """How like the objects the pixels of a mask are."""
        share = self.features.places(mask_hw.astype(np.float32))
        total = float(share.sum())
        return float((share * self.like_hw).sum() / total) if total else -np.inf


def _united(known: Mapping[int, np.ndarray], examples: Sequence[ExampleObjects]) -> dict[int, np.ndarray]:
    """All objects that are there, by slice."""
    there = {index: mask.copy() for index, mask in known.items()}
    for example in examples:
        there[example.slice_index] = there.get(example.slice_index, False) | example.mask
    return there


def _disc(centre_xy: np.ndarray, radius: float, size_hw: tuple[int, int]) -> np.ndarray:
    y, x = np.ogrid[: size_hw[0], : size_hw[1]]
    return np.asarray((x - centre_xy[0]) ** 2 + (y - centre_xy[1]) ** 2 <= max(radius, 1.0) ** 2)
