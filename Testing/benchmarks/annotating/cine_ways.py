"""Simulated users of a volume in time: frames that are segmented, and frames that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from annotating.editor_ways import best_limits, thresholded
from annotating.product_ways import BOX, PropagatingUser, SliceUser
from annotating.tasks import Task, regions
from annotating.work import Work
from SAMMed2DLib.imaging.metrics import dice
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.propagation.time_series import propagate_in_time

Way = Callable[[Task, Work], np.ndarray | Sequence[np.ndarray]]


def each_frame(frames: Sequence[Task], work: Work, way: Way) -> np.ndarray:
    """Every frame by itself until it reaches the target: (T, N, H, W) bool.

    Each may take as many strokes as a volume.
    """
    found = []
    for frame in frames:
        its_work = Work(work.most)
        masks = way(frame, its_work)
        found.append(masks if isinstance(masks, np.ndarray) else np.any(masks, axis=0))
        work.include(its_work)
    return np.stack(found)


def same_thresholds(frames: Sequence[Task], work: Work) -> np.ndarray:
    """The thresholds that are best for the first frame in all of them, and a click in each: (T, N, H, W) bool."""
    work.add("number", 2)
    limits = best_limits(frames[0])
    return np.stack([thresholded(frame, work, limits) for frame in frames])


def copied(frames: Sequence[Task], work: Work) -> np.ndarray:
    """The first frame by hand, and on all others the same: (T, N, H, W) bool."""
    work.add("outline", sum(regions(mask) for mask in frames[0].label))
    work.add("key", len(frames) - 1)
    return np.stack([frames[0].label] * len(frames))


def through_time(frames: Sequence[Task], session: Session, work: Work) -> np.ndarray:
    """Two frames, then the others from them, then the worst slice of all frames after the other: (T, N, H, W) bool.

    The frames are the first one, and that in which the object is smallest; in each, the user works as in a volume.
    """
    label = np.stack([frame.label for frame in frames])
    found = np.zeros_like(label)
    chosen = dict.fromkeys((0, int(label.sum(axis=(1, 2, 3)).argmin())))
    keyframes: dict[tuple[int, int], np.ndarray] = {}
    for number in chosen:
        its_work = Work(work.most)
        (found[number],) = PropagatingUser(frames[number], session, its_work, BOX).finish()
        work.include(its_work)
        keyframes |= {(number, index): mask.copy() for index, mask in enumerate(found[number])}
    work.add("key")  # Propagate along time
    _fill_in_time(frames, keyframes, found, work)
    user = SliceUser(session, work, frames[0].target, frames[0].slice_target)
    most = work.total + len(frames) * work.most  # as many as frame by frame
    while dice(found, label) < frames[0].target and work.total < most:
        wrong = (found != label).sum(axis=(2, 3))
        for pair in keyframes:
            wrong[pair] = 0
        frame, index = (int(n) for n in np.unravel_index(wrong.argmax(), wrong.shape))
        if not wrong[frame, index]:
            break
        keyframes[frame, index] = user.correct(frames[frame].image(index), label[frame, index], found[frame, index])
        work.add("key")  # Propagate
        on_slice = {pair: mask for pair, mask in keyframes.items() if pair[1] == index}
        _fill_in_time(frames, on_slice, found, work)
    return found


def _fill_in_time(
    frames: Sequence[Task], keyframes: dict[tuple[int, int], np.ndarray], found: np.ndarray, work: Work
) -> None:
    """Fill the other frames in place, on the slices of the keyframes."""

    def images(frame: int, indices: Sequence[int]) -> list[np.ndarray]:
        return [frames[frame].image(index) for index in indices]

    for _, index in keyframes:
        found[:, index] = False
    with work.computing():
        for result in propagate_in_time(None, images, [keyframes], 0, len(frames) - 1, period=len(frames)):
            found[result.frame, result.index] = result.mask
    for (frame, index), mask in keyframes.items():
        found[frame, index] = mask
