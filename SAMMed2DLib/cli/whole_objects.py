"""`sammed2d segment --whole`: objects that were found on a slice, or have a box in space, through all their slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Self

import numpy as np

from SAMMed2DLib.cli.common.console_report import Masks
from SAMMed2DLib.cli.common.image_job import ImageJob
from SAMMed2DLib.cli.common.prompt_options import RequestError, SegmentRequest, axis_and_index
from SAMMed2DLib.cli.common.provenance import View, image_and_view
from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.imaging.intensity import Intensity, for_all_slices, rgb_from_slice
from SAMMed2DLib.imaging.planes import slice_px
from SAMMed2DLib.io.volume_io import Volume
from SAMMed2DLib.propagation.tracks import PropagatedSlice
from SAMMed2DLib.propagation.whole_object import Boxes, asked_slices, segment_object

if TYPE_CHECKING:
    from SAMMed2DLib.cli.segment import SegmentJob
    from SAMMed2DLib.inference.prompts import Prompts
    from SAMMed2DLib.inference.session import ShouldStop

# Makes the mask of a segment that is there already, (K, J, I) bool.
KnownMask = Callable[[], np.ndarray]
# A box on so many slices, and nothing else, is one in space.
_LEAST_BOXES = 3


@dataclass(frozen=True, eq=False)
class WholeObjects:
    """The segments of a call, each along the axis of its prompts.

    Attributes:
        volume: the image.
        requests: what was asked for.
        axes: array axis of each segment; None for one that is not followed.
        boxes: the cuts of the box in space of those that have one, by segment.
    """

    volume: Volume
    requests: Sequence[SegmentRequest]
    axes: Sequence[int | None]
    boxes: Mapping[int, Boxes]

    @classmethod
    def of(cls, job: SegmentJob, volume: Volume, requests: Sequence[SegmentRequest]) -> Self:
        """Find out what each segment has.

        Args:
            job: what the call asks for.
            volume: the image.
            requests: one for each segment, with its prompts.

        Raises:
            RequestError: prompts along two axes, or an image of one slice.
        """
        axes = [_axis(job, volume, request) if job.whole or request.whole else None for request in requests]
        in_space = [n for n, request in enumerate(requests) if job.whole and not request.whole]
        return cls(volume, requests, axes, {n: found for n in in_space if (found := _boxes(requests[n]))})

    @property
    def asked(self) -> list[SegmentRequest]:
        """The prompts on which the model is asked: of a box in space those on some of its slices."""
        return [
            replace(request, prompts=_some(request, self.boxes[n])) if n in self.boxes else request
            for n, request in enumerate(self.requests)
        ]

    def followed(
        self, masks: Masks, known: Mapping[int, KnownMask], intensity: Intensity
    ) -> tuple[Masks, dict[int, KnownMask]]:
        """Follow each object from what was found of it.

        Args:
            masks: what the model answered, by slice.
            known: what is there already of segments, by their number; its other slices are keyframes, too.
            intensity: as the model saw the slices.

        Returns:
            the answers that are keyframes, and all of each segment.
        """
        best = {n: self._best_slice(n, masks) for n in self.boxes}
        masks = {
            plane: [(n, prediction) for n, prediction in pairs if best.get(n, plane) == plane]
            for plane, pairs in masks.items()
        }
        everything = dict(known)
        for n, axis in enumerate(self.axes):
            keyframes = {
                axis_and_index(plane)[1]: prediction.mask
                for plane, pairs in masks.items()
                for number, prediction in pairs
                if number == n and prediction.mask.any()
            }
            if axis is not None and keyframes:
                start = known[n]() if n in known else np.zeros(self.volume.array.shape[:3], bool)
                whole = self._followed(n, axis, start, keyframes, intensity)
                everything[n] = whole.copy
        return {plane: pairs for plane, pairs in masks.items() if pairs}, everything

    @staticmethod
    def _best_slice(number: int, masks: Masks) -> SlicePlane | None:
        """The slice of the answer with the best score for a segment; None where nothing was found."""
        pairs = [(plane, found) for plane, of_slice in masks.items() for n, found in of_slice if n == number]
        answers = [(plane, found.score) for plane, found in pairs if found.mask.any()]
        return max(answers, key=lambda answer: answer[1])[0] if answers else None

    def _followed(
        self,
        n: int,
        axis: int,
        whole: np.ndarray,
        keyframes: Mapping[int, np.ndarray],
        intensity: Intensity,
    ) -> np.ndarray:
        planes = planes_of(self.volume, axis)
        drawn = {k: plane.extract(whole) for k, plane in enumerate(planes)}
        known = {k: mask for k, mask in drawn.items() if mask.any()} | dict(keyframes)
        for result in followed_slices(self.volume, axis, known, intensity, boxes=self.boxes.get(n)):
            planes[result.index].insert(whole, result.mask, True)
        for index, mask in keyframes.items():
            planes[index].insert(whole, ~mask, False)
            planes[index].insert(whole, mask, True)
        return whole

    def more_views(self, views: Mapping[SlicePlane, View], intensity: Intensity) -> dict[SlicePlane, View]:
        """The records of slices with prompts on which the model was not asked, so that all prompts can be recorded."""
        planes = {plane for request in self.requests for plane in request.prompts} - views.keys()
        return {plane: image_and_view(plane.extract(self.volume.array), intensity)[1] for plane in planes}


def planes_of(volume: Volume, axis: int) -> list[SlicePlane]:
    """All slices of a volume along an array axis, by their numbers."""
    return [SlicePlane.of_axis(volume.size_ijk, axis, k) for k in range(volume.array.shape[axis])]


def followed_slices(
    volume: Volume,
    axis: int,
    keyframes: Mapping[int, np.ndarray],
    intensity: Intensity,
    *,
    boxes: Boxes | None = None,
    should_stop: ShouldStop | None = None,
) -> Iterator[PropagatedSlice]:
    """Follow one object from its keyframes through the slices of a volume, without the model.

    Args:
        volume: the image.
        axis: array axis of the slices.
        keyframes: (H, W) bool by slice.
        intensity: as the model saw the slices.
        boxes: the cuts of a box in space, which nothing of the object leaves.
        should_stop: ends it with `session.Stopped`.
    """
    fixed = for_all_slices(intensity, volume.array)
    planes = planes_of(volume, axis)
    return segment_object(
        None,
        lru_cache(32)(lambda k: rgb_from_slice(planes[k].extract(volume.array), fixed)),
        0,
        len(planes) - 1,
        keyframes=keyframes,
        boxes=boxes,
        slice_px=slice_px(planes[0], volume.ijk_to_ras),
        should_stop=should_stop,
    )


def _axis(job: ImageJob, volume: Volume, request: SegmentRequest) -> int | None:
    axes = {axis_and_index(plane)[0] for plane in request.prompts}
    if len(axes) > 1:
        raise RequestError(f"segment {request.name!r} has prompts along two axes; --whole follows it along one")
    axis = next(iter(axes), None)
    if axis is not None and volume.array.shape[axis] == 1:
        raise RequestError(f"{job.image}: has one slice in this direction, --whole has nothing to follow; leave it out")
    return axis


def _boxes(request: SegmentRequest) -> Boxes | None:
    """The cuts of a box in space by slice; None where the prompts are others."""
    prompts = {axis_and_index(plane)[1]: given for plane, given in request.prompts.items()}
    boxes = {index: given.box_xyxy for index, given in prompts.items() if given.box_xyxy is not None}
    has_points = any(len(given.labels) for given in prompts.values())
    if len(boxes) < max(_LEAST_BOXES, len(prompts)) or has_points or max(boxes) - min(boxes) + 1 != len(boxes):
        return None
    return boxes


def _some(request: SegmentRequest, boxes: Boxes) -> dict[SlicePlane, Prompts]:
    asked = asked_slices(boxes)
    return {plane: given for plane, given in request.prompts.items() if axis_and_index(plane)[1] in asked}
