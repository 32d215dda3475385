"""Segments carried along time: the slices stay where they are, and the frames of a 4D image follow one another.

Each slice of the volume is a stack of its own, of frames instead of slices, and is filled by the rules of
`schedule.propagate`, but for two: nobody expects an object to become smaller from frame to frame, and the limits of
`stop_rule.StopRule` say when it has ended. Objects that are drawn on the same slice share what the model encodes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from SAMMed2DLib.propagation.estimate import Weights
from SAMMed2DLib.propagation.schedule import PropagationError, propagate, spans_of
from SAMMed2DLib.propagation.stop_rule import STOP_RULE
from SAMMed2DLib.propagation.tracks import PropagatedSlice
from SAMMed2DLib.system.formatting import counted, times

if TYPE_CHECKING:
    from SAMMed2DLib.inference.session import Session, ShouldStop

# Beyond the keyframes of a volume objects end, and so are expected smaller; beyond those of a sequence they do not.
WEIGHTS = Weights(shrink_px=0.0)
# Images of one slice that are kept, since several objects and steps look at them.
_KEPT_IMAGES = 32
# Images of several slices are kept while a frame is at hand, so that it need not be read once for each of them.
_KEPT_BYTES = 512 * 1024**2

# (frame, slice), both from 0
FrameAndSlice = tuple[int, int]
# The images of some slices of a frame, each (H, W, 3) uint8, in the order asked for.
FrameImages = Callable[[int, Sequence[int]], Sequence[np.ndarray]]
# Masks (H, W) bool of one object; an empty one says that it is not there.
TimeKeyframes = Mapping[FrameAndSlice, np.ndarray]


@dataclass(frozen=True, eq=False)
class FrameResult:
    """One object on one slice of a frame that is no keyframe there.

    Attributes:
        number: the object, its position in the keyframes given.
        frame: the time point.
        index: the slice.
        mask: (H, W) bool; empty where the object was not found between two keyframes.
        confidence: 0 .. 1, see `tracks.PropagatedSlice`.
        score: IoU that the model predicts; NaN where it was not asked.
    """

    number: int
    frame: int
    index: int
    mask: np.ndarray
    confidence: float
    score: float


def propagate_in_time(
    session: Session | None,
    images: FrameImages,
    objects: Sequence[TimeKeyframes],
    first: int,
    last: int,
    *,
    period: int | None = None,
    zoom: bool | None = None,
    every: int = 1,
    only: Collection[int] | None = None,
    asks_model: bool = False,
    should_stop: ShouldStop | None = None,
    kept_bytes: int = _KEPT_BYTES,
) -> Iterator[FrameResult]:
    """Carry objects from the frames in which they are drawn to other frames, each slice on its own.

    All frames of a slice come before those of the next slices; within a slice in no particular order, each once for
    each object at most. Whoever has enough may stop iterating. A slice on which an object has no keyframe that shows it
    is left alone.

    Args:
        session: the model; None where it is not asked.
        images: called with a frame and the slices that are needed of it; frames may be read from a disk then.
        objects: keyframes of each object.
        first: lowest frame to fill.
        last: highest frame to fill.
        period: for a cycle, such as one heart beat: the number of its frames; the last one is followed by the first.
        zoom: look at a crop around all objects of a slice; None does what the weights were trained for.
        every: every n-th frame is found, and those between are interpolated.
        only: spans without any of these frames are left out; None does all. A span across the end of a cycle is one.
        asks_model: whether the model is heard too; else shape and grey values decide.
        should_stop: asked all the time; ends the iteration with `session.Stopped`. What came before is final.
        kept_bytes: the most that images take which are kept for the next slices.

    Raises:
        PropagationError: there is no keyframe that shows an object, keyframes of different sizes, a range that is none
            or is not within the period; or the model is to be asked, and there is none.
    """
    from SAMMed2DLib.propagation.stack import StackModel, needed_session

    _check_period(period, first, last)
    slices = shown_slices(objects)
    if not slices:
        raise PropagationError("there is no keyframe that shows an object: segment it in one frame at least")
    store = _ImageStore(images, slices, last - first + 1, _image_bytes(objects), kept_bytes)
    weights = WEIGHTS.with_model() if asks_model else WEIGHTS
    session = needed_session(session, weights)
    for index in slices:
        numbers, stacks = _stacks(objects, index, period)
        slice_image = lru_cache(_KEPT_IMAGES)(store.stack(index, period))
        nearby = only if only is None or period is None else _with_spans(only, stacks, period)
        model = StackModel(session, slice_image, zoom, stacks, should_stop)
        results = propagate(
            model.slice_image, model, stacks, first, last, every=every, only=nearby, weights=weights, stop=STOP_RULE
        )
        for result in results:
            yield _on_frame(result, numbers[result.number], index)


def check_memory(session: Session | None, size_hw: tuple[int, int], frames: int, slices: int, objects: int) -> None:
    """Refuse a run before it begins where it would take more memory than there is.

    Args:
        session: the model; None where it is not asked.
        size_hw: of the slices, px.
        frames: how many there are to fill.
        slices: of each frame, at most.
        objects: how many objects are filled; their masks are taken to be kept as bits, or cropped.

    Raises:
        PropagationError: the message says what to do.
    """
    from SAMMed2DLib.propagation.stack import memory_of_run, refuse_beyond_memory

    needed = memory_of_run(session, size_hw, frames * slices, objects, mask_bytes=1 / 8)
    needed += min(_KEPT_BYTES, 3 * size_hw[0] * size_hw[1] * frames * slices)
    what = f"{counted(frames, 'frame')} of {counted(slices, 'slice')} of {times(size_hw[::-1])} px"
    refuse_beyond_memory(needed, what, objects)


def shown_slices(objects: Iterable[TimeKeyframes]) -> list[int]:
    """The slices on which a keyframe shows an object, from low to high."""
    return sorted({index for keyframes in objects for (_, index), mask in keyframes.items() if np.any(mask)})


def confidence_of_frame(slices: Iterable[tuple[int, float]]) -> float:
    """How sure an object is in one frame: the mean over its slices, weighed by area.

    Args:
        slices: for each slice that was filled in this frame the pixels of its mask, and its confidence.

    Returns:
        0 .. 1; 1 for none, because then all of it was drawn.
    """
    both = [(max(pixels, 1), confidence) for pixels, confidence in slices]  # one that was lost counts, too
    if not both:
        return 1.0
    return float(np.average([confidence for _, confidence in both], weights=[pixels for pixels, _ in both]))


def _on_frame(result: PropagatedSlice, number: int, index: int) -> FrameResult:
    """A result of the stack of one slice, whose "slices" are frames."""
    return FrameResult(number, result.index, index, result.mask, result.confidence, result.score)


def _check_period(period: int | None, first: int, last: int) -> None:
    if period is not None and not 0 <= first <= last < period:
        raise PropagationError(f"frames {first} to {last} are not within a cycle of {period} frames, lowest first")


def _with_spans(only: Collection[int], stacks: Sequence[Mapping[int, np.ndarray]], period: int) -> set[int]:
    """Frames, and all others of their spans: of a span across the end of the cycle, the range cuts off either part."""
    wanted = {frame + shift for frame in only for shift in (-period, 0, period)}
    spans = [span for masks in stacks for span in spans_of(masks, min(masks), max(masks))]
    near = [range(span.first, span.last + 1) for span in spans]
    return wanted.union(*(frames for frames in near if not wanted.isdisjoint(frames)))


def _stacks(
    objects: Sequence[TimeKeyframes], index: int, period: int | None
) -> tuple[list[int], list[dict[int, np.ndarray]]]:
    """The objects that a keyframe shows on a slice, and their masks on it by frame."""
    drawn = [{frame: mask for (frame, at), mask in keyframes.items() if at == index} for keyframes in objects]
    numbers = [n for n, masks in enumerate(drawn) if any(np.any(mask) for mask in masks.values())]
    return numbers, [_unrolled(drawn[n], period) for n in numbers]


def _unrolled(masks: dict[int, np.ndarray], period: int | None) -> dict[int, np.ndarray]:
    """Keyframes, in a cycle with the last of the turn before and the first of the next, so that all lie between two."""
    if period is None:
        return masks
    low, high = min(masks), max(masks)
    return {high - period: masks[high], **masks, low + period: masks[low]}


def _image_bytes(objects: Sequence[TimeKeyframes]) -> int:
    """What the image of one slice takes, the masks having its size."""
    return 3 * next(int(np.size(mask)) for keyframes in objects for mask in keyframes.values())


class _ImageStore:
    """The images of the slice at work, and of as many of the next ones as may be kept."""

    def __init__(
        self, read: FrameImages, slices: Sequence[int], frames: int, image_bytes: int, kept_bytes: int
    ) -> None:
        """Take hold of the frames; nothing is read yet."""
        self._read, self._slices = read, slices
        self._at_once = max(1, kept_bytes // (frames * image_bytes))
        self._block: Sequence[int] = ()
        self._kept: dict[int, Sequence[np.ndarray]] = {}

    def stack(self, index: int, period: int | None) -> Callable[[int], np.ndarray]:
        """The images of one slice by frame; of a cycle also those before and after its frames."""
        return lambda frame: self._image(frame if period is None else frame % period, index)

    def _image(self, frame: int, index: int) -> np.ndarray:
        if index not in self._block:
            start = self._slices.index(index)
            self._block, self._kept = self._slices[start : start + self._at_once], {}
        if len(self._block) == 1:  # the stack itself keeps those that it needs again
            return self._read(frame, self._block)[0]
        if frame not in self._kept:
            self._kept[frame] = self._read(frame, self._block)
        return self._kept[frame][self._block.index(index)]
