"""Keyframes and confidences of the selected segment: read in the worker thread, shown as a strip and a list."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import qt
from slicer.i18n import tr as _

from SAMMed2DSlicer.inference.service import InferenceService
from SAMMed2DSlicer.inference.worker import Job
from SAMMed2DSlicer.propagation.keyframes import SegmentKeyframes
from SAMMed2DSlicer.propagation.segmentation_context import SegmentationContext
from SAMMed2DSlicer.propagation.slice_axis import SliceAxis
from SAMMed2DSlicer.propagation.time_axis import TimeAxis
from SAMMed2DSlicer.widgets import combo_boxes
from SAMMed2DSlicer.widgets.icons import pixmap_from_image

Axis = SliceAxis | TimeAxis

# Of the strip's image, which is stretched to its label: about a column for each of some hundred slices.
_SIZE_PX = (600, 40)
_BAND = slice(10, 32)  # rows of the confidences: keyframes stick out above, the mark of the slice shown below
_HALF_PX = 4
# Colours that colour-blind users can distinguish.
_LOW_CONFIDENCE, _HIGH_CONFIDENCE, _EMPTY = (40, 60, 160), (250, 220, 60), (70, 70, 70)
_KEYFRAME, _EDGE, _BACKGROUND, _SHOWN = (255, 255, 255), (0, 0, 0), (30, 30, 30), (255, 80, 80)


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
        if is_filled and keyframes is not None and axis is not None:
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


class ConfidenceStrip:
    """A label that shows the positions from left to right: keyframes, and the confidence of the others."""

    def __init__(self, label: qt.QLabel, on_clicked: Callable[[int], None]) -> None:
        """Draw into a QLabel; `on_clicked` gets the position of a click, from 0."""
        self._label, self._on_clicked = label, on_clicked
        self._count = 0
        self._keyframes: SegmentKeyframes | None = None
        label.setScaledContents(True)
        self._mouse = _MouseEvents()
        self._mouse.strip = self
        label.installEventFilter(self._mouse)

    def show(self, keyframes: SegmentKeyframes, count: int, position: int) -> None:
        """Draw the strip.

        Args:
            keyframes: of the segment.
            count: how many positions there are.
            position: that is shown, from 0; it gets a mark.
        """
        self._count, self._keyframes = count, keyframes
        self._label.setPixmap(pixmap_from_image(strip_image(keyframes, count, position), _SIZE_PX[0]))

    def clear(self, text: str) -> None:
        """Show a text instead of positions."""
        self._count, self._keyframes = 0, None
        self._label.setText(text)

    def number_at(self, x: float) -> int | None:
        """The position at `x` px from the left of the label; None without positions."""
        if not self._count:
            return None
        return min(max(int(x * self._count / max(self._label.width, 1)), 0), self._count - 1)

    def text_at(self, x: float) -> str:
        """The tool tip at `x` px from the left of the label; empty without positions."""
        number = self.number_at(x)
        return "" if number is None or self._keyframes is None else position_text(self._keyframes, number)

    def click(self, x: float) -> None:
        """Handle a click at `x` px from the left of the label."""
        number = self.number_at(x)
        if number is not None:
            self._on_clicked(number)


def position_text(keyframes: SegmentKeyframes, number: int) -> str:
    """A position and its state, for the user: "Slice 3: keyframe"."""
    if number in keyframes.empty:
        kind = _("keyframe, empty: the object is not here")
    elif number in keyframes.nonempty:
        kind = _("keyframe")
    elif number in keyframes.generated:
        kind = _("confidence {share} %").format(share=round(100 * keyframes.confidence.get(number, 0.0)))
    else:
        kind = _("nothing here")
    return _("{slice}: {kind}").format(slice=keyframes.title(number), kind=kind)


def strip_image(keyframes: SegmentKeyframes, count: int, position: int) -> np.ndarray:
    """Draw positions from left to right, (H, W, 3) uint8.

    Args:
        keyframes: of the segment.
        count: how many positions there are.
        position: that is shown, from 0; it gets a mark.
    """
    colors = np.array([_EMPTY] * count, np.float64)
    for n in keyframes.generated:
        share = keyframes.confidence.get(n, 0.0)
        colors[n] = (1 - share) * np.array(_LOW_CONFIDENCE) + share * np.array(_HIGH_CONFIDENCE)
    width, height = _SIZE_PX
    found = np.full((height, width, 3), _BACKGROUND, np.uint8)
    found[_BAND] = colors[np.arange(width) * count // width]
    for n in keyframes.numbers:
        left, right = _columns(n, count)
        found[: _BAND.stop, max(left - 2, 0) : right + 2] = _EDGE
        found[: _BAND.stop, left:right] = _KEYFRAME
        if n in keyframes.empty:  # hollow
            found[4 : _BAND.stop - 4, left + 2 : right - 2] = _EDGE
    left, right = _columns(position, count)
    found[_BAND.stop + 1 :, left:right] = _SHOWN
    return found


def _columns(number: int, count: int) -> tuple[int, int]:
    """First and last column of a mark at a position; wide enough to see, however many positions there are."""
    width = _SIZE_PX[0]
    left, right = number * width // count, (number + 1) * width // count
    middle = min(max((left + right) // 2, _HALF_PX), width - _HALF_PX)
    return min(left, middle - _HALF_PX), max(right, middle + _HALF_PX)


class _MouseEvents(qt.QObject):
    """An event filter that passes clicks and tool tips of a label to its strip."""

    strip: ConfidenceStrip

    def eventFilter(self, watched: Any, event: Any) -> bool:  # noqa: N802
        """Handle clicks and tool tips."""
        if event.type() == qt.QEvent.MouseButtonPress:
            self.strip.click(event.pos().x())
            return True
        text = self.strip.text_at(event.pos().x()) if event.type() == qt.QEvent.ToolTip else ""
        if text:
            qt.QToolTip.showText(event.globalPos(), text)
        return bool(text)
