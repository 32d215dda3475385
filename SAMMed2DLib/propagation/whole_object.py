"""A whole object from one slice of it, or from a box in space around it.

From a slice, the object is followed both ways until it ends (`stop_rule`). With a model, it is asked on some slices on
the way; where it is sure of its answer, that is a keyframe, too, and the object is followed anew; this takes far longer
and is no better. From a box, the model is asked on some slices of it, the best of its masks is the keyframe, and the
object goes as far as the box. Measurements: docs/propagation-results.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from SAMMed2DLib.inference.prompts import Prompts, box_of_mask
from SAMMed2DLib.inference.session import Session, ShouldStop
from SAMMed2DLib.propagation.estimate import SliceImage
from SAMMed2DLib.propagation.schedule import PropagationError, propagate
from SAMMed2DLib.propagation.shapes import widened
from SAMMed2DLib.propagation.stack import Keyframes, StackModel, propagate_stack
from SAMMed2DLib.propagation.stop_rule import EXTENT_RULE
from SAMMed2DLib.propagation.tracks import PropagatedSlice

if TYPE_CHECKING:
    from SAMMed2DLib.inference.session import MaskPrediction

# Where more keyframes are looked for, of the way to each end of the object, and the least score of an answer to a box
# alone that is sure enough.
_STEPS, _LEAST_SCORE = (0.3, 0.6, 0.85), 0.75
# The box of a mask is given with this margin, of its longer side.
_MARGIN = 0.03
# Where in a box the model is asked, of its slices; at the ends there is little of the object.
_ASKED_SHARES = (0.2, 0.35, 0.5, 0.65, 0.8)

# (4,) float each, slice px, half-open, by the slices of a box in space.
Boxes = Mapping[int, np.ndarray]


def segment_object(
    session: Session | None,
    slice_image: SliceImage,
    first: int,
    last: int,
    *,
    keyframes: Keyframes | None = None,
    boxes: Boxes | None = None,
    zoom: bool | None = None,
    slice_px: float = 1.0,
    should_stop: ShouldStop | None = None,
) -> Iterator[PropagatedSlice]:
    """Find a whole object in a stack of slices.

    The slices given as keyframes do not come; those that are found come first.

    Args:
        session: the model; None asks none, where there are keyframes.
        slice_image: returns a slice, (H, W, 3) uint8, by its number.
        first: lowest slice of the stack.
        last: highest slice of the stack.
        keyframes: masks (H, W) bool by slice.
        boxes: the cuts of a box in space around the object; nothing outside of it is found. Without keyframes, the
            model finds one in it.
        zoom: ask on crops around the prompts; None does what the weights were trained for.
        slice_px: how far slices are from each other, in pixels of a slice.
        should_stop: asked all the time; ends the iteration with `session.Stopped`. What came before is final.

    Raises:
        PropagationError: neither keyframes nor a box, a box that is in none of the slices, or one in which the model
            finds nothing.
    """
    known = dict(keyframes or {})
    if boxes is None:
        if session is not None:
            search = KeyframeSearch(session, slice_image, known, first, last, zoom, slice_px, should_stop)
            for result in search.found():
                known[result.index] = result.mask
                yield result
        yield from propagate_stack(None, slice_image, [known], first, last, slice_px=slice_px, should_stop=should_stop)
        return
    within = {index: box for index, box in boxes.items() if first <= index <= last}
    if not within:
        raise PropagationError("the box is in none of the slices: draw it around the object")
    if not known:
        if session is None:
            raise PropagationError("the model is to be asked: give a session with one")
        index, found = keyframe_in_box(session, slice_image, within, zoom, should_stop)
        known[index] = _clipped(found.mask, within[index])
        yield PropagatedSlice(0, index, known[index], 1.0, found.score)
    model = StackModel(None, slice_image, False, [known], should_stop)
    for result in propagate(
        model.slice_image, model, [known], min(within), max(within), stop=EXTENT_RULE, slice_px=slice_px
    ):
        box = within.get(result.index)
        if box is not None:
            yield replace(result, mask=_clipped(result.mask, box))


@dataclass(frozen=True, eq=False)
class KeyframeSearch:
    """Looks for more keyframes of an object, a few steps up and down from those that are known.

    Attributes:
        session: the model.
        slice_image: returns a slice, (H, W, 3) uint8, by its number.
        keyframes: masks (H, W) bool by slice.
        first: lowest slice of the stack.
        last: highest slice of the stack.
        zoom: ask on crops around the prompts; None does what the weights were trained for.
        slice_px: how far slices are from each other, in pixels of a slice.
        should_stop: ends the work with `session.Stopped`.
    """

    session: Session
    slice_image: SliceImage
    keyframes: Keyframes
    first: int
    last: int
    zoom: bool | None = None
    slice_px: float = 1.0
    should_stop: ShouldStop | None = None

    def found(self) -> Iterator[PropagatedSlice]:
        """Follow the object without the model, then ask it on some of the slices.

        Returns:
            the keyframes found: what was followed, corrected by the model in the box around it, where its answer to
            that box alone has a high score.
        """
        followed = propagate_stack(
            None,
            self.slice_image,
            [self.keyframes],
            self.first,
            self.last,
            slice_px=self.slice_px,
            should_stop=self.should_stop,
        )
        results = {result.index: result for result in followed}
        for index in steps_between(set(self.keyframes), set(results)):
            mask = results[index].mask
            if not mask.any():
                continue
            image, prompts = self.slice_image(index), Prompts.of(box=widened(box_of_mask(mask), _MARGIN, mask.shape))
            score = self._answer(image, prompts).score
            if score < _LEAST_SCORE:
                continue
            corrected = self._answer(image, prompts, mask).mask
            if corrected.any():
                yield replace(results[index], mask=corrected, score=score)

    def _answer(self, image: np.ndarray, prompts: Prompts, mask: np.ndarray | None = None) -> MaskPrediction:
        return self.session.answer(image, prompts, mask=mask, zoom=self.zoom, should_stop=self.should_stop)


def steps_between(known: set[int], followed: set[int]) -> list[int]:
    """Slices on the way from the outermost keyframes to both ends of what was followed, from low to high."""
    ways = [(min(known), min(known | followed)), (max(known), max(known | followed))]
    return sorted({round(key + share * (end - key)) for key, end in ways for share in _STEPS} & followed - known)


def keyframe_in_box(
    session: Session,
    slice_image: SliceImage,
    boxes: Boxes,
    zoom: bool | None = None,
    should_stop: ShouldStop | None = None,
) -> tuple[int, MaskPrediction]:
    """Ask the model about some slices of a box in space, and take the answer that is probably the best.

    Args:
        session: the model.
        slice_image: returns a slice, (H, W, 3) uint8, by its number.
        boxes: the cuts of the box, one at least.
        zoom: ask on crops around the prompts; None does what the weights were trained for.
        should_stop: ends the work early.

    Returns:
        its slice, and the answer.

    Raises:
        PropagationError: the model finds nothing on any of the slices.
        Stopped: `should_stop` said so.
    """
    answers = {
        index: session.answer(slice_image(index), Prompts.of(box=boxes[index]), zoom=zoom, should_stop=should_stop)
        for index in asked_slices(boxes)
    }
    found = {index: answer for index, answer in answers.items() if answer.mask.any()}
    if not found:
        raise PropagationError("the model finds nothing in the box: draw it closer around the object")
    best = max(found, key=lambda index: found[index].score)
    return best, found[best]


def asked_slices(boxes: Boxes) -> list[int]:
    """The slices of a box in space on which the model is asked, from low to high."""
    low, high = min(boxes), max(boxes)
    wanted = {round(low + share * (high - low)) for share in _ASKED_SHARES}
    return sorted(index for index in wanted if index in boxes)


def _clipped(mask_hw: np.ndarray, box_xyxy: np.ndarray) -> np.ndarray:
    """The part of a mask, (H, W) bool, whose pixels have their centres in a box."""
    x0, y0, x1, y1 = np.maximum(np.ceil(box_xyxy - 0.5), 0).astype(int)
    clipped = np.zeros_like(mask_hw)
    clipped[y0:y1, x0:x1] = mask_hw[y0:y1, x0:x1]
    return clipped
