"""What the section for propagation knows about the selected segment; read in the worker thread when it changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.inference.service import InferenceService
from SAMMed2DSlicer.inference.worker import Job
from SAMMed2DSlicer.propagation import keyframes, time_keyframes
from SAMMed2DSlicer.propagation.keyframes import SegmentKeyframes
from SAMMed2DSlicer.propagation.segmentation_context import Place
from SAMMed2DSlicer.propagation.slice_stack import Stack
from SAMMed2DSlicer.propagation.time_keyframes import SegmentInTime
from SAMMed2DSlicer.propagation.time_task import stack_of
from SAMMed2DSlicer.scene import volumes
from SAMMed2DSlicer.scene.sequences import FrameSeries


class Keyframes(Protocol):
    """A segment on the slices of a stack, or in the frames of a sequence, all by their numbers."""

    segment_id: str
    ours: set[int]
    shown: set[int]
    empty: set[int]

    @property
    def numbers(self) -> Sequence[int]:
        """The keyframes, from low to high."""

    @property
    def confidence(self) -> dict[int, float]:
        """Of those that a propagation has left as they are, 0 .. 1."""

    def title(self, number: int) -> str:
        """What people call it."""

    def read(self) -> None:
        """Look at the segment, in any thread."""

    def is_stale(self) -> bool:
        """Whether it was changed since."""


class KeyframeReading:
    """What was read last of a segment along a stack of slices, and what it was read of."""

    def __init__(self, service: InferenceService, place: Place, on_read: Callable[[], None]) -> None:
        """Prepare; `on_read` is called when something was read, or nothing is there to read."""
        self._service, self._place, self._on_read = service, place, on_read
        self.course: Any = None
        self.now: Any = None
        self._key: Any = None
        self._job: Any = None

    @property
    def position(self) -> int:
        """The slice that the view shows."""
        return self.course.position

    @property
    def count(self) -> int:
        """How many slices there are."""
        return len(self.course.planes)

    @property
    def is_fresh(self) -> bool:
        """Whether the segment is still as it was read."""
        return self.now is not None and not self.now.is_stale()

    def look(self) -> None:
        """Read what the place has selected, unless that is known already."""
        course = self._found()
        if course is None:
            self.forget()
            self._on_read()
            return
        segmentation, segment_id = self._place.segmentation, self._place.segment_id
        key = (segmentation.GetID(), segment_id, self._place.volume.GetID(), self._state(course))
        if key == self._key and self.is_fresh:
            self.course = course
            self._on_read()
            return
        now = self._taken(course)
        self._job = Job(lambda should_stop: now.read(), partial(self._take, key, course, now), owner=self)
        self._service.worker.submit(self._job)

    def forget(self) -> None:
        """Know nothing, and wait for nothing."""
        if self._job is not None:
            self._job.cancel()
        self.course = self.now = self._key = self._job = None

    def _take(self, key: Any, course: Any, now: Keyframes, result: Any) -> None:
        self._job, self._key, self.course, self.now = None, key, course, now
        self._on_read()

    def _found(self) -> Any:
        place = self._place
        if not place.is_open or place.volume is None or not place.segment_id:
            return None
        try:
            labelmap = place.default_labelmap()
            return self._course(labelmap) if labelmap else None
        except ValueError:  # of the library or the scene; a propagation would say it
            return None

    # Along what

    def _course(self, labelmap: slicer.vtkOrientedImageData) -> Any:
        place = self._place
        return Stack.of(place.volume, plane_of(place), place.segmentation, labelmap)

    def _state(self, course: Any) -> Any:
        """What else tells it from others."""
        return keyframes.tag_of(self._place.segmentation, self._place.segment_id), course.key()

    def _taken(self, course: Any) -> Keyframes:
        """Take hold of the segment."""
        return SegmentKeyframes(course, self._place.segmentation, self._place.segment_id)


@dataclass(frozen=True, eq=False)
class Course:
    """The frames of a sequence, and the slices that all of them have."""

    frames: FrameSeries
    stack: Stack


class FrameReading(KeyframeReading):
    """What was read last of a segment along time."""

    @property
    def position(self) -> int:
        """The frame that is shown."""
        return self.course.frames.position

    @property
    def count(self) -> int:
        """How many frames there are."""
        return len(self.course.frames.values)

    def _course(self, labelmap: slicer.vtkOrientedImageData) -> Course:
        frames = FrameSeries.of(self._place.volume, self._place.segmentation)
        return Course(frames, stack_of(frames, labelmap))

    def _state(self, course: Course) -> Any:
        drawings = [course.frames.drawing(number) for number in range(len(course.frames.values))]
        tags = [one and keyframes.tag_of(one, self._place.segment_id, time_keyframes.TAG) for one in drawings]
        return course.frames.browser.GetID(), course.frames.values, tags, course.stack.key()

    def _taken(self, course: Course) -> Keyframes:
        return SegmentInTime(course.stack, course.frames, self._place.segment_id)


def plane_of(place: Place) -> Any:
    """The slice that the view of a place shows.

    Raises:
        SceneError, GeometryError: it shows none; the message says what to do.
    """
    from SAMMed2DLib.imaging.geometry import OutsideVolumeError

    hint = _("Move the mouse into the slice view along which to propagate.")
    if place.slice_node is None:
        raise volumes.SceneError(hint)
    try:
        return volumes.plane_shown(place.slice_node, place.volume)
    except OutsideVolumeError:
        raise volumes.SceneError(hint) from None
