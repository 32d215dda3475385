"""Propose all objects of a slice: clicks in grids of several scales, their masks ranked, each object once.

The grids are answered coarsely, in batches. Each mask that is sure and stable enough becomes a box, which a session
answers as any other prompt: what is proposed is the mask that somebody gets who takes it. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from SAMMed2DLib.imaging.components import largest_component
from SAMMed2DLib.inference.prompts import Prompts, box_of_mask
from SAMMed2DLib.inference.scoring.evidence import evidence_of_logits, stability_of
from SAMMed2DLib.inference.zoom import SMALLEST_CROP_PX, Crop, is_cut_off
from SAMMed2DLib.proposals.ranking import NestedMasks, Proposal
from SAMMed2DLib.proposals.steps import OnProgress, ShouldStop, Steps, take_all
from SAMMed2DLib.proposals.tiles import best_tile, tile_image, tiles_of_side

if TYPE_CHECKING:
    from SAMMed2DLib.inference.prediction import Prediction
    from SAMMed2DLib.inference.scoring.calibration import ScoreCalibration
    from SAMMed2DLib.inference.session import Session

# Views on which is clicked: their side, of the slice's longer side, and clicks along that. Chosen on validation images
# as are the other numbers: docs/everything.md.
_SCALES = ((1.0, 14), (0.5, 14), (0.3, 18))
# Without zoom all is seen in one view.
_WHOLE = ((1.0, 24),)
# A view whose grey values, of 255, have a smaller standard deviation shows air or plain background: no place to look.
_LEAST_SPREAD = 2.0
# Masks of coarse views that are less sure, or less stable, are not looked at once more.
_LEAST_GUESS = 0.35
# A plain patch of background is as stable as can be; that the network itself thinks little of it tells it apart.
_LEAST_PREDICTED = 0.4
_LEAST_STABILITY = 0.6
# Proposals that are less sure are left out.
_LEAST_SCORE = 0.7
# Of the slice's pixels: what is smaller is a speck, what is larger is the whole image or its background.
_SMALLEST_SHARE, _LARGEST_SHARE = 0.0007, 0.6
_FEWEST_PX = 12
# Clicks of one step: somebody may be waiting for the next one.
_CLICKS_AT_ONCE = 32
# The share of the work that the grids are.
_GRIDS = 0.5


def propose_objects(
    session: Session,
    image: np.ndarray,
    *,
    slice_index: int = 0,
    known: Sequence[np.ndarray] = (),
    most: int = 12,
    zoom: bool | None = None,
    on_progress: OnProgress = lambda share: None,
    should_stop: ShouldStop | None = None,
) -> list[Proposal]:
    """Propose all objects of a slice.

    Args:
        session: its model sees and answers; the masks are those that it answers to the proposals' prompts.
        image: (H, W, 3) uint8, the slice.
        slice_index: what to call it in the proposals.
        known: (H, W) bool each, objects that are there already, and not to be proposed.
        most: how many proposals there are at most.
        zoom: as in `Session.answer`; without zoom only objects that the whole slice shows well are found.
        on_progress: told the share of the work that is done, 0 .. 1.
        should_stop: ends the work early.

    Returns:
        the surest ones first; one may lie within another.

    Raises:
        Stopped: `should_stop` said so.
    """
    steps = everything_steps(
        session, image, slice_index=slice_index, known=known, most=most, zoom=zoom, should_stop=should_stop
    )
    return take_all(steps, on_progress)


def everything_steps(
    session: Session,
    image: np.ndarray,
    *,
    slice_index: int = 0,
    known: Sequence[np.ndarray] = (),
    most: int = 12,
    zoom: bool | None = None,
    should_stop: ShouldStop | None = None,
) -> Steps:
    """Do what `propose_objects` does in short steps, so that a caller may do something else between them.

    Result and errors are as there; each step yields the share of the work that is done.

    Args:
        session: as there, as are all others.
        image: see there.
        slice_index: see there.
        known: see there.
        most: see there.
        zoom: see there.
        should_stop: see there.
    """
    zoomed = session.predictor.prefers_zoom if zoom is None else zoom
    guesses = yield from _guesses(session, image, _SCALES if zoomed else _WHOLE, zoomed, should_stop)
    looked_at, boxes = NestedMasks(known), []
    for guess in guesses:
        yield _GRIDS
        mask = guess.mask()
        if is_object(mask) and looked_at.add_unless_same(mask):
            boxes.append((Prompts.of(box=box_of_mask(mask)), guess.rank))
            if len(boxes) >= most:
                break
    found = []
    for done, (box, sureness) in enumerate(boxes):
        yield _GRIDS + (1 - _GRIDS) * done / len(boxes)
        answer = session.answer(image, box, zoom=zoom, should_stop=should_stop)
        score = answer.score if answer.grade is not None else answer.score * answer.stability
        if is_object(answer.mask) and score >= _LEAST_SCORE:
            rank = sureness * score  # whether clicks agree that it is an object, and how good its outline is
            found.append(Proposal(slice_index, box, answer.mask, answer.score, rank, answer.stability, answer.grade))
    yield 1.0
    found.sort(key=lambda proposal: -proposal.rank)
    distinct = NestedMasks(known)
    return [proposal for proposal in found if distinct.add_unless_same(proposal.mask)]


@dataclass(frozen=True, eq=False)
class _Guess:
    """A mask of a coarse view, and how sure it is."""

    view: Crop
    drawn: Prediction
    rank: float

    def mask(self) -> np.ndarray:
        """Its largest region, (H, W) bool, on the slice."""
        return self.view.whole_mask(largest_component(self.drawn.mask))


def _views(size_hw: tuple[int, int], scales: Sequence[tuple[float, int]]) -> Iterator[tuple[Crop, list[np.ndarray]]]:
    """The views, the largest first, and the clicks on each, slice px, which are in the view where they lie deepest."""
    longest = max(size_hw)
    # Of a small slice several scales are the same: the first one counts.
    sides = {min(max(round(share * longest), SMALLEST_CROP_PX), longest): count for share, count in scales[::-1]}
    for side, count in sorted(sides.items(), reverse=True):
        step = max(longest / count, 1.0)
        tiles = tiles_of_side(size_hw, side)
        clicks: list[list[np.ndarray]] = [[] for _ in tiles]
        for y in _middles(size_hw[0], step):
            for x in _middles(size_hw[1], step):
                clicks[best_tile(tiles, np.array([x, y]))].append(np.array([x, y]))
        yield from ((tile, points) for tile, points in zip(tiles, clicks, strict=True) if points)


def _middles(length: int, step: float) -> np.ndarray:
    """Places along a side, px, about a step from each other, the outer ones half of that from its ends."""
    count = max(round(length / step), 1)
    return (np.arange(count) + 0.5) * length / count - 0.5


def _guesses(
    session: Session,
    image: np.ndarray,
    scales: Sequence[tuple[float, int]],
    coarse: bool,
    should_stop: ShouldStop | None,
) -> Generator[float, None, list[_Guess]]:
    """Masks of clicks on all views that are sure and stable, the surest first; yields the share of all the work."""
    views = list(_views((image.shape[0], image.shape[1]), scales))
    total, done = sum(len(points_xy) for _, points_xy in views), 0
    guesses = []
    for view, points_xy in views:
        cut = tile_image(image, view)
        is_plain = cut.std(axis=(0, 1)).max() < _LEAST_SPREAD
        drawn: list[Prediction] = []
        for start in range(0, len(points_xy), _CLICKS_AT_ONCE):
            yield _GRIDS * done / total
            clicks = [Prompts.of(positive=[point]) for point in points_xy[start : start + _CLICKS_AT_ONCE]]
            done += len(clicks)
            if not is_plain:
                inside = [view.prompts(click) for click in clicks]
                masks = session.draw_all(cut, inside, coarse=coarse, should_stop=should_stop)
                drawn += [each for of_click in masks for each in of_click]
        guesses += _sure_ones(drawn, view, session.predictor.score_calibration)
    return sorted(guesses, key=lambda guess: -guess.rank)


def _sure_ones(drawn: Sequence[Prediction], view: Crop, calibration: ScoreCalibration | None) -> list[_Guess]:
    """Masks of a view that are sure and stable, each object once."""
    guesses = []
    for prediction in drawn:
        logits = prediction.low_res_logits
        stability = stability_of(logits)
        if prediction.score < _LEAST_PREDICTED or stability < _LEAST_STABILITY or is_cut_off(logits > 0, view):
            continue
        rank = prediction.score * stability
        if calibration is not None:
            rank = calibration.expected_iou(evidence_of_logits(logits, prediction.score, is_first_click=True))
        if rank >= _LEAST_GUESS:
            guesses.append(_Guess(view, prediction, rank))
    guesses.sort(key=lambda guess: -guess.rank)
    distinct = NestedMasks()  # of small masks as the network draws them: few are left that need the slice's pixels
    return [guess for guess in guesses if distinct.add_unless_same(guess.drawn.low_res_logits > 0)]


def is_object(mask_hw: np.ndarray) -> bool:
    """Whether a mask is neither a speck nor all of the slice."""
    area = np.count_nonzero(mask_hw)
    return bool(max(_SMALLEST_SHARE * mask_hw.size, _FEWEST_PX) <= area <= _LARGEST_SHARE * mask_hw.size)
