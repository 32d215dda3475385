"""Along what the section for propagation works: the slices of a volume, or the frames of a sequence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, Protocol

import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.inference.service import InferenceService
from SAMMed2DSlicer.propagation import api
from SAMMed2DSlicer.propagation.keyframe_reader import FrameReading, KeyframeReading, plane_of
from SAMMed2DSlicer.propagation.keyframes import BOTH, DOWN, UP, clear_slice
from SAMMed2DSlicer.propagation.segmentation_context import Place, Writer
from SAMMed2DSlicer.propagation.task import Settings
from SAMMed2DSlicer.propagation.time_keyframes import EARLIER, LATER, FrameMemory
from SAMMed2DSlicer.propagation.time_task import TimeSettings
from SAMMed2DSlicer.propagation.time_undo import TimeUndo
from SAMMed2DSlicer.scene import segment_reader, segment_writer, sequences


class Way(Protocol):
    """What differs between the two."""

    hint: str

    @property
    def reading(self) -> KeyframeReading:
        """What was read last."""

    def is_drawn(self, segment_id: str) -> bool:
        """Whether a segment has voxels to begin with."""

    def task(self, ids: Sequence[str], settings: dict[str, Any]) -> tuple[Any, Writer]:
        """What to do, and what opens the segments for writing."""

    def go_to(self, number: int) -> None:
        """Show one of those that were read."""

    def clear(self, number: int) -> str:
        """Take the segment off one of those that were read; says so."""

    @property
    def has_undo(self) -> bool:
        """Whether the section has to offer undo."""

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""

    def undo(self) -> Iterator[None]:
        """Take the last step back, in several short ones."""

    def forget(self) -> None:
        """Let go of what was read, and wait for nothing."""


class AlongSlices:
    """The slices parallel to the one that the view shows."""

    def __init__(self, service: InferenceService, place: Place, on_read: Callable[[], None]) -> None:
        """Prepare; see `KeyframeReading`."""
        self._place = place
        self.reading = KeyframeReading(service, place, on_read)
        self.hint = _("Segment two or three slices first; they are the keyframes.")

    def is_drawn(self, segment_id: str) -> bool:
        """Whether it is on any slice."""
        return segment_reader.voxels_of(self._place.segmentation, segment_id) is not None

    def task(self, ids: Sequence[str], settings: dict[str, Any]) -> tuple[Any, Writer]:
        """Prepare a run along the view."""
        place, writer = self._place, self._place.writer()
        chosen = Settings(**settings)
        return api.task_of(place.volume, plane_of(place), place.segmentation, ids, place, chosen), writer

    def go_to(self, number: int) -> None:
        """Let the view show a slice."""
        node = self._place.slice_node
        if node is not None:
            node.JumpSliceByOffsetting(*self.reading.course.middle_world(number))
            logic = slicer.app.applicationLogic().GetSliceLogic(node)
            if logic is not None:  # the view is shown
                logic.SnapSliceOffsetToIJK()

    def clear(self, number: int) -> str:
        """Take the segment off a slice."""
        with self._place.writer()() as target:
            clear_slice(target, self.reading.course, self.reading.now, number)
        return _("Slice {number} was cleared.").format(number=number + 1)

    @property
    def has_undo(self) -> bool:
        """The place may have one."""
        return self._place.has_undo

    @property
    def can_undo(self) -> bool:
        """The place knows."""
        return self._place.can_undo

    def undo(self) -> Iterator[None]:
        """The place does it, at once."""
        self._place.undo()
        return iter(())

    def forget(self) -> None:
        """Wait for nothing."""
        self.reading.forget()


class AlongTime:
    """The frames of the sequence that the volume shows; with an undo of its own, since Slicer's reaches one frame."""

    has_undo = True

    def __init__(self, service: InferenceService, place: Place, on_read: Callable[[], None]) -> None:
        """Prepare; see `KeyframeReading`."""
        self._place = place
        self.reading = FrameReading(service, place, on_read)
        self.hint = _("Segment the object in two or three frames first, each time on all its slices.")
        self._last: Callable[[], TimeUndo | None] = lambda: None

    @property
    def needs_sequence(self) -> bool:
        """Whether frames have no segmentation of their own yet, or what is drawn on them gets lost."""
        place = self._place
        if not place.is_open or place.segmentation is None or not sequences.has_frames(place.volume):
            return False
        if not sequences.is_played_with(place.volume, place.segmentation):
            return True
        return not sequences.FrameSeries.of(place.volume, place.segmentation).saves_changes

    def make_sequence(self) -> None:
        """Give each frame its own segmentation.

        Raises:
            SceneError: it belongs to another sequence.
        """
        sequences.make_sequence(self._place.volume, self._place.segmentation)

    def is_drawn(self, segment_id: str) -> bool:
        """Whether it is in any frame."""
        place = self._place
        if not sequences.is_played_with(place.volume, place.segmentation):
            return False
        frames = sequences.FrameSeries.of(place.volume, place.segmentation)
        drawings = [frames.drawing(number) for number in range(len(frames.values))]
        return any(one is not None and segment_reader.voxels_of(one, segment_id) is not None for one in drawings)

    def task(self, ids: Sequence[str], settings: dict[str, Any]) -> tuple[Any, Writer]:
        """Prepare a run along time."""
        place = self._place
        direction = {DOWN: EARLIER, UP: LATER, BOTH: BOTH}[settings["direction"]]
        chosen = TimeSettings(**{**settings, "direction": direction})
        task = api.task_in_time(place.volume, place.segmentation, ids, place, chosen)
        self._last = lambda: task.result.undo
        return task, lambda: nullcontext(None)

    def go_to(self, number: int) -> None:
        """Let the browser show a frame."""
        self.reading.course.frames.show(number)

    def clear(self, number: int) -> str:
        """Take the segment out of a frame, all its slices."""
        course, now = self.reading.course, self.reading.now
        node, undo = course.frames.drawing(number), TimeUndo(course.frames, course.stack)
        undo.add(number, now.segment_id, now.frames[number], "")
        segment_writer.replace_segment(node, now.segment_id, None, course.stack.geometry)
        FrameMemory().keep(node, now.segment_id)
        course.frames.refresh()
        self._last = lambda: undo
        return _("Frame {number} was cleared.").format(number=number + 1)

    @property
    def can_undo(self) -> bool:
        """Whether the last step can be taken back, and was not."""
        last = self._last()
        return last is not None and last.is_possible

    def undo(self) -> Iterator[None]:
        """Take the last step back, but for frames that were changed since."""
        last, self._last = self._last(), lambda: None
        return last.steps() if last is not None else iter(())

    def forget(self) -> None:
        """Wait for nothing; and keep nothing of frames that are gone."""
        self.reading.forget()
        if not self.can_undo:
            self._last = lambda: None
