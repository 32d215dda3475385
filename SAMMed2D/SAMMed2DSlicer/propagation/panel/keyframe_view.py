"""Keyframes and confidences of the selected segment: read in the worker thread, shown as a strip and a list."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from slicer.i18n import tr as _

from SAMMed2DSlicer.inference.service import InferenceService
from SAMMed2DSlicer.inference.worker import Job
from SAMMed2DSlicer.propagation.keyframes import SegmentKeyframes
from SAMMed2DSlicer.propagation.panel.confidence_strip import ConfidenceStrip, position_text
from SAMMed2DSlicer.propagation.segmentation_context import SegmentationContext
from SAMMed2DSlicer.propagation.slice_axis import SliceAxis
from SAMMed2DSlicer.propagation.time_axis import TimeAxis
from SAMMed2DSlicer.widgets import combo_boxes

Axis = SliceAxis | TimeAxis


class KeyframeReader:
    """Reads the keyframes of the selected segment in the worker thread.

    Attributes:
        axis: that was read along last; None for none.
        keyframes: that were read last; None for none.
    """

    def __init__(self, service: InferenceService, context: SegmentationContext, on_read: Callable[[], None]) -> None:
        """Prepare.

        Args:
            service: has the worker thread.
            context: has the selection.
            on_read: called when `axis` and `keyframes` are up to date.
        """
        self._service, self._context, self._on_read = service, context, on_read
        self.axis: Axis | None = None
        self.keyframes: SegmentKeyframes | None = None
        self._key: Any = None
        self._job: Any = None

    @property
    def position(self) -> int:
        """The slice or frame that is shown; -1 without an axis."""
        return -1 if self.axis is None else self.axis.position

    @property
    def is_current(self) -> bool:
        """Whether the segment is unchanged since it was read."""
        return self.keyframes is not None and not self.keyframes.is_stale()

    def read(self, axis_type: type[Axis]) -> None:
        """Read the selected segment along such an axis, unless what was read last is current."""
        axis = self._axis_of_context(axis_type)
        if axis is None:
            self.forget()
            self._on_read()
            return
        context, segment_id = self._context, self._context.segment_id
        key = (context.segmentation.GetID(), segment_id, context.volume.GetID(), axis.kind, axis.cache_key(segment_id))
        if key == self._key and self.is_current:
            self.axis = axis
            self._on_read()
            return
        keyframes = axis.keyframes(segment_id)
        self._job = Job(
            lambda should_stop: keyframes.read(), partial(self._read_done, key, axis, keyframes), owner=self
        )
        self._service.worker.submit(self._job)

    def forget(self) -> None:
        """Drop what was read, and cancel the job."""
        if self._job is not None:
            self._job.cancel()
        self.axis = self.keyframes = self._key = self._job = None

    def _read_done(self, key: Any, axis: Axis, keyframes: SegmentKeyframes, result: Any) -> None:
        self._job, self._key, self.axis, self.keyframes = None, key, axis, keyframes
        self._on_read()

    def _axis_of_context(self, axis_type: type[Axis]) -> Axis | None:
        context = self._context
        if not context.is_open or context.volume is None or not context.segment_id:
            return None
        try:
            return axis_type.of_context(context)
        except ValueError:  # of the library or the scene; shown when the user propagates
            return None


class KeyframeView:
    """The strip, the list of keyframes, and the buttons that go to a position."""

    def __init__(self, ui: Any, reader: KeyframeReader, show_position: Callable[[int], None]) -> None:
        """Connect the widgets.

        Args:
            ui: the named widgets of the propagation panel.
            reader: has the keyframes.
            show_position: shows a position, from 0.
        """
        self._ui, self._reader, self._show_position = ui, reader, show_position
        self.strip = ConfidenceStrip(ui.stripLabel, show_position)
        self.preview: Any = None  # shown instead of what was read: an object that waits to be accepted
        ui.worstButton.connect("clicked()", self.go_to_worst)
        ui.keyframeButton.connect("clicked()", self.go_to_next_keyframe)
        ui.keyframeComboBox.connect("activated(int)", self._keyframe_chosen)

    @property
    def can_clear(self) -> bool:
        """Whether the position that is shown is a keyframe, or filled by a propagation."""
        keyframes = self._reader.keyframes
        return keyframes is not None and self._reader.position in {*keyframes.numbers, *keyframes.generated}

    def show(self, hint: str) -> None:
        """Show what was read; a hint where the segment is empty."""
        reader, ui = self._reader, self._ui
        keyframes, axis = reader.keyframes, reader.axis
        is_filled = keyframes is not None and bool(keyframes.numbers or keyframes.generated)
        if self.preview is not None and axis is not None:
            self.strip.show(self.preview, axis.count, axis.position)
        elif is_filled and keyframes is not None and axis is not None:
            self.strip.show(keyframes, axis.count, axis.position)
        else:
            self.strip.clear(hint)
        ui.worstButton.setEnabled(keyframes is not None and bool(keyframes.generated))
        ui.keyframeButton.setEnabled(keyframes is not None and bool(keyframes.numbers))
        self._show_list(keyframes)

    def _show_list(self, keyframes: SegmentKeyframes | None) -> None:
        """Fill the list of keyframes; its first item is their number."""
        box, numbers = self._ui.keyframeComboBox, keyframes.numbers if keyframes is not None else []
        count = _("1 keyframe") if len(numbers) == 1 else _("{count} keyframes").format(count=len(numbers))
        names = {"": count}
        if keyframes is not None:
            names |= {str(n): position_text(keyframes, n) for n in numbers}
        shown = self._reader.position
        combo_boxes.fill(box, names, str(shown) if shown in numbers else "")
        box.setEnabled(bool(numbers))

    def go_to_worst(self) -> None:
        """Show the propagated position with the lowest confidence."""
        keyframes = self._reader.keyframes
        if keyframes is not None and keyframes.generated:
            self._show_position(min(keyframes.generated, key=lambda n: keyframes.confidence.get(n, 0.0)))

    def go_to_next_keyframe(self) -> None:
        """Show the keyframe after the position that is shown; after the last one, the first."""
        keyframes = self._reader.keyframes
        if keyframes is not None and keyframes.numbers:
            self._show_position(next((n for n in keyframes.numbers if n > self._reader.position), keyframes.numbers[0]))

    def _keyframe_chosen(self, index: int) -> None:
        number = combo_boxes.current_value(self._ui.keyframeComboBox)
        if number:
            self._show_position(int(number))
