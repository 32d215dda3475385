"""What the section knows of the selected segment, and how it shows it: by a strip, and a list of keyframes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import qt
from slicer.i18n import tr as _

from SAMMed2DSlicer.inference.service import InferenceService
from SAMMed2DSlicer.inference.worker import Job
from SAMMed2DSlicer.propagation.frame_axis import FrameAxis
from SAMMed2DSlicer.propagation.keyframes import SegmentKeyframes
from SAMMed2DSlicer.propagation.segmentation_context import SegmentationContext
from SAMMed2DSlicer.propagation.slice_axis import SliceAxis
from SAMMed2DSlicer.widgets import combo_boxes
from SAMMed2DSlicer.widgets.icons import pixmap_of

Axis = SliceAxis | FrameAxis

# The picture is stretched to its label; of a thousand slices each still has its column or nearly so.
_SIZE_PX = (600, 40)
_BAND = slice(10, 32)  # rows of the confidences: keyframes stick out above, the mark of the slice shown below
_HALF_PX = 4
# Told apart by colour-blind readers, too.
_UNSURE, _SURE, _NOTHING = (40, 60, 160), (250, 220, 60), (70, 70, 70)
_KEYFRAME, _EDGE, _BACKGROUND, _SHOWN = (255, 255, 255), (0, 0, 0), (30, 30, 30), (255, 80, 80)


class KeyframeReader:
    """What was read last of the selected segment, in the worker thread, and along what.

    Attributes:
        axis: the positions; None for none.
        now: the segment at them; None for none.
    """

    def __init__(self, service: InferenceService, context: SegmentationContext, on_read: Callable[[], None]) -> None:
        """Prepare; `on_read` is called when something was read, or nothing is there to read."""
        self._service, self._context, self._on_read = service, context, on_read
        self.axis: Axis | None = None
        self.now: SegmentKeyframes | None = None
        self._key: Any = None
        self._job: Any = None

    @property
    def position(self) -> int:
        """The slice that the view shows, or the frame; -1 without an axis."""
        return -1 if self.axis is None else self.axis.position

    @property
    def is_fresh(self) -> bool:
        """Whether the segment is still as it was read."""
        return self.now is not None and not self.now.is_stale()

    def look(self, axis_type: type[Axis]) -> None:
        """Read what the context has selected along such an axis, unless that is known already."""
        axis = self._axis_of_context(axis_type)
        if axis is None:
            self.forget()
            self._on_read()
            return
        context, segment_id = self._context, self._context.segment_id
        key = (context.segmentation.GetID(), segment_id, context.volume.GetID(), axis.kind, axis.identity(segment_id))
        if key == self._key and self.is_fresh:
            self.axis = axis
            self._on_read()
            return
        now = axis.keyframes(segment_id)
        self._job = Job(lambda should_stop: now.read(), partial(self._take, key, axis, now), owner=self)
        self._service.worker.submit(self._job)

    def forget(self) -> None:
        """Know nothing, and wait for nothing."""
        if self._job is not None:
            self._job.cancel()
        self.axis = self.now = self._key = self._job = None

    def _take(self, key: Any, axis: Axis, now: SegmentKeyframes, result: Any) -> None:
        self._job, self._key, self.axis, self.now = None, key, axis, now
        self._on_read()

    def _axis_of_context(self, axis_type: type[Axis]) -> Axis | None:
        context = self._context
        if not context.is_open or context.volume is None or not context.segment_id:
            return None
        try:
            return axis_type.of_context(context)
        except ValueError:  # of the library or the scene; a propagation would say it
            return None


class KeyframeView:
    """The strip, the list of keyframes, and the buttons that go from one position to another."""

    def __init__(self, ui: Any, reader: KeyframeReader, go_to: Callable[[int], None]) -> None:
        """Use widgets of the section; `go_to` shows a position."""
        self._ui, self._reader, self._go_to = ui, reader, go_to
        self.strip = ConfidenceStrip(ui.stripLabel, go_to)
        ui.worstButton.connect("clicked()", self.go_to_worst)
        ui.keyframeButton.connect("clicked()", self.go_to_next_keyframe)
        ui.keyframeComboBox.connect("activated(int)", self._keyframe_chosen)

    @property
    def can_clear(self) -> bool:
        """Whether the position that is shown has something of the segment, or a keyframe."""
        now = self._reader.now
        return now is not None and self._reader.position in {*now.numbers, *now.generated}

    def show(self, hint: str) -> None:
        """Show what was read; the hint where there is nothing to see."""
        reader, ui = self._reader, self._ui
        now, axis = reader.now, reader.axis
        is_filled = now is not None and bool(now.numbers or now.generated)
        if is_filled and now is not None and axis is not None:
            self.strip.show(now, axis.count, axis.position)
        else:
            self.strip.clear(hint)
        ui.worstButton.setEnabled(now is not None and bool(now.generated))
        ui.keyframeButton.setEnabled(now is not None and bool(now.numbers))
        self._show_list(now)

    def _show_list(self, now: SegmentKeyframes | None) -> None:
        """The list: how many there are, and each of them."""
        box, numbers = self._ui.keyframeComboBox, now.numbers if now is not None else []
        count = _("1 keyframe") if len(numbers) == 1 else _("{count} keyframes").format(count=len(numbers))
        names = {"": count}
        if now is not None:
            names |= {str(n): text_of(now, n) for n in numbers}
        shown = self._reader.position
        combo_boxes.fill(box, names, str(shown) if shown in numbers else "")
        box.setEnabled(bool(numbers))

    def go_to_worst(self) -> None:
        """Show what was propagated and is least sure."""
        now = self._reader.now
        if now is not None and now.generated:
            self._go_to(min(now.generated, key=lambda n: now.confidence.get(n, 0.0)))

    def go_to_next_keyframe(self) -> None:
        """Show the keyframe after what is shown, or the first one."""
        now = self._reader.now
        if now is not None and now.numbers:
            self._go_to(next((n for n in now.numbers if n > self._reader.position), now.numbers[0]))

    def _keyframe_chosen(self, index: int) -> None:
        number = combo_boxes.chosen(self._ui.keyframeComboBox)
        if number:
            self._go_to(int(number))


class ConfidenceStrip:
    """A label that shows slices or frames from left to right: keyframes, and how sure the others are."""

    def __init__(self, label: qt.QLabel, on_clicked: Callable[[int], None]) -> None:
        """Draw into a QLabel; a click on it gives the number of a slice."""
        self._label, self._on_clicked = label, on_clicked
        self._count = 0
        self._now: SegmentKeyframes | None = None
        label.setScaledContents(True)
        self._mouse = _Mouse()
        self._mouse.strip = self
        label.installEventFilter(self._mouse)

    def show(self, now: SegmentKeyframes, count: int, position: int) -> None:
        """Show a segment on `count` slices (or in frames), one of which is shown."""
        self._count, self._now = count, now
        self._label.setPixmap(pixmap_of(strip_image(now, count, position), _SIZE_PX[0]))

    def clear(self, text: str) -> None:
        """Show a text instead."""
        self._count, self._now = 0, None
        self._label.setText(text)

    def number_at(self, x: float) -> int | None:
        """The slice at a place, px from the label's left."""
        if not self._count:
            return None
        return min(max(int(x * self._count / max(self._label.width, 1)), 0), self._count - 1)

    def text_at(self, x: float) -> str:
        """What there is to know about the slice at a place; empty without slices."""
        number = self.number_at(x)
        return "" if number is None or self._now is None else text_of(self._now, number)

    def click(self, x: float) -> None:
        """Go to the slice at a place."""
        number = self.number_at(x)
        if number is not None:
            self._on_clicked(number)


def text_of(now: SegmentKeyframes, number: int) -> str:
    """A slice, counted from 1, and what it is."""
    if number in now.empty:
        kind = _("keyframe, empty: the object is not here")
    elif number in now.shown:
        kind = _("keyframe")
    elif number in now.generated:
        kind = _("confidence {share} %").format(share=round(100 * now.confidence.get(number, 0.0)))
    else:
        kind = _("nothing here")
    return _("{slice}: {kind}").format(slice=now.title(number), kind=kind)


def strip_image(now: SegmentKeyframes, count: int, position: int) -> np.ndarray:
    """Slices from left to right, (H, W, 3) uint8."""
    colors = np.array([_NOTHING] * count, np.float64)
    for n in now.generated:
        share = now.confidence.get(n, 0.0)
        colors[n] = (1 - share) * np.array(_UNSURE) + share * np.array(_SURE)
    width, height = _SIZE_PX
    found = np.full((height, width, 3), _BACKGROUND, np.uint8)
    found[_BAND] = colors[np.arange(width) * count // width]
    for n in now.numbers:
        left, right = _columns(n, count)
        found[: _BAND.stop, max(left - 2, 0) : right + 2] = _EDGE
        found[: _BAND.stop, left:right] = _KEYFRAME
        if n in now.empty:  # hollow
            found[4 : _BAND.stop - 4, left + 2 : right - 2] = _EDGE
    left, right = _columns(position, count)
    found[_BAND.stop + 1 :, left:right] = _SHOWN
    return found


def _columns(number: int, count: int) -> tuple[int, int]:
    """The columns of a slice that must be seen, however many slices there are."""
    width = _SIZE_PX[0]
    left, right = number * width // count, (number + 1) * width // count
    middle = min(max((left + right) // 2, _HALF_PX), width - _HALF_PX)
    return min(left, middle - _HALF_PX), max(right, middle + _HALF_PX)


class _Mouse(qt.QObject):
    """Clicks and tool tips of a label, for a strip."""

    strip: ConfidenceStrip

    def eventFilter(self, watched: Any, event: Any) -> bool:  # noqa: N802
        """Take what is meant for the strip."""
        if event.type() == qt.QEvent.MouseButtonPress:
            self.strip.click(event.pos().x())
            return True
        text = self.strip.text_at(event.pos().x()) if event.type() == qt.QEvent.ToolTip else ""
        if text:
            qt.QToolTip.showText(event.globalPos(), text)
        return bool(text)
