"""The section for propagation: direction, range, a strip of confidences, keyframes, progress.

The effect and the module have the same one; a `Place` tells it what is selected there, and a `Way` along what it works.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer import resources
from SAMMed2DSlicer.inference.service import InferenceService
from SAMMed2DSlicer.propagation.axis import AlongSlices, AlongTime, Way
from SAMMed2DSlicer.propagation.keyframe_reader import KeyframeReading
from SAMMed2DSlicer.propagation.keyframes import BOTH, DOWN, UP
from SAMMed2DSlicer.propagation.run_controller import Propagating
from SAMMed2DSlicer.propagation.segmentation_context import Place
from SAMMed2DSlicer.propagation.strip import Strip, text_of
from SAMMed2DSlicer.scene import sequences
from SAMMed2DSlicer.scene.segment_reader import changed_at
from SAMMed2DSlicer.scene.volumes import SceneError
from SAMMed2DSlicer.widgets import combo_boxes, messages
from SAMMed2DSlicer.widgets.status_line import RUN, StatusLine, running_text
from SAMMed2DSlicer.widgets.timers import single_shot

_SHOW_MS = 150
SLICES, TIME = "slices", "time"


class PropagationPanel:
    """The section; it runs propagations of the segments of a place."""

    def __init__(self, service: InferenceService, place: Place, status_line: StatusLine) -> None:
        """Make the widgets; `widget` is to be put somewhere, and the line shows progress and what came of it."""
        self._place, self.status_line = place, status_line
        self._doing = ""
        self.widget = slicer.util.loadUI(resources.ui_path("SAMMed2DPropagation"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self._later = single_shot(_SHOW_MS, self._look)  # edits come in bursts
        self._time = AlongTime(service, place, self._show_slices)
        self._ways: dict[str, Way] = {SLICES: AlongSlices(service, place, self._show_slices), TIME: self._time}
        self._way = self._ways[SLICES]
        self._texts = {SLICES: _texts_of(self.ui), TIME: _time_texts()}
        self._undoing: Iterator[None] | None = None
        self._undo_step = single_shot(0, self._undo_on)
        self._running = Propagating(service, self._tell, self._show_progress)
        self.strip = Strip(self.ui.stripLabel, self.go_to)
        combo_boxes.fill(self.ui.alongComboBox, {SLICES: _("Slices"), TIME: _("Time")}, SLICES)
        self._show_way()
        self._show_running(False)
        self._connect()

    @property
    def is_running(self) -> bool:
        """Whether a propagation is on its way."""
        return self._running.is_running

    @property
    def is_along_time(self) -> bool:
        """Whether the section works along time."""
        return self._way is self._time

    @property
    def _reading(self) -> KeyframeReading:
        return self._way.reading

    # Life

    def stop(self) -> None:
        """End what is going on, and write nothing; the place goes."""
        self._later.stop()
        self._running.give_up()
        self._undo_step.stop()
        self._undoing = None
        for way in self._ways.values():
            way.forget()

    def show(self) -> None:
        """Show keyframes and confidences along the slices of the view, soon; something has changed."""
        if self._place.is_open and not self.ui.propagateButton.collapsed and not self.is_running:
            self._later.start()

    # Propagating

    def propagate(self, direction: str) -> None:
        """Carry the selected segment, or all visible ones, from their keyframes to the other slices."""
        place = self._place
        if not place.is_open or self.is_running:
            return
        try:
            self.choose_way()  # what is selected may have changed a moment ago
            if place.volume is None:
                raise SceneError(_("There is no image: select a source volume."))
            ids = self._segment_ids()
            task, writer = self._way.task(ids, self._settings(direction))
        except ValueError as error:  # of the library or the scene: all say what to do
            self._tell(messages.text_of(error), messages.WARNING)
            return
        self._show_running(True)
        tip = _("Find no more slices; those that were found are written.")
        self.status_line.begin(RUN, _("Propagating..."), self._running.cancel, tip)
        self._running.start(task, writer)
        self.status_line.bring_into_sight()

    def _settings(self, direction: str) -> dict[str, Any]:
        ui = self.ui
        intensity, zoom = self._place.seen
        settings = {
            "direction": direction,
            "first": ui.firstSpinBox.value - 1 if ui.firstSpinBox.value else None,
            "last": ui.lastSpinBox.value - 1 if ui.lastSpinBox.value else None,
            "every": ui.everySpinBox.value,
            "intensity": intensity,
            "zoom": zoom,
        }
        return settings | ({"loop": ui.loopCheckBox.checked} if self.is_along_time else {})

    def _segment_ids(self) -> list[str]:
        """The segments to propagate; hidden ones are left alone."""
        segmentation, selected = self._place.segmentation, self._place.segment_id
        ids = [selected] if selected else []
        if self.ui.allCheckBox.checked and segmentation is not None:
            ids = list(segmentation.GetSegmentation().GetSegmentIDs())
        if not ids:
            raise SceneError(_("There is no segment: add one first."))
        shown = [one for one in ids if self._is_visible(one)]
        if not shown:
            raise SceneError(_("The segment is hidden: show it first."))
        if self.ui.allCheckBox.checked:
            shown = [one for one in shown if self._way.is_drawn(one)] or shown
        return shown

    def _is_visible(self, segment_id: str) -> bool:
        display = self._place.segmentation.GetDisplayNode()
        return display is None or bool(display.GetVisibility() and display.GetSegmentVisibility(segment_id))

    # Keyframes

    def go_to(self, number: int) -> None:
        """Show a slice, or a frame."""
        if self._place.is_open and self._reading.course is not None:
            self._way.go_to(number)
            self.show()

    def go_to_worst(self) -> None:
        """Show what was propagated and is least sure."""
        now = self._reading.now
        if now is not None and now.ours:
            self.go_to(min(now.ours, key=lambda n: now.confidence.get(n, 0.0)))

    def go_to_next_keyframe(self) -> None:
        """Show the keyframe after what is shown, or the first one."""
        now = self._reading.now
        if now is not None and now.numbers:
            self.go_to(next((n for n in now.numbers if n > self._reading.position), now.numbers[0]))

    def _keyframe_chosen(self, index: int) -> None:
        number = combo_boxes.chosen(self.ui.keyframeComboBox)
        if number:
            self.go_to(int(number))

    def clear_slice(self) -> None:
        """Take the segment off the slice, or out of the frame, that is shown."""
        reading = self._reading
        if not self._place.is_open or self.is_running or reading.now is None:
            return
        if not reading.is_fresh:
            self._tell(_("The segment has just changed: try again."), messages.WARNING)
        elif not self._is_visible(reading.now.segment_id):
            self._tell(_("The segment is hidden: show it first."), messages.WARNING)
        else:
            self._tell(self._way.clear(reading.position), messages.INFO)

    def undo(self) -> None:
        """Take the last propagation, or what was cleared last, back."""
        if not self.is_running and self._undoing is None:
            self._undoing = self._way.undo()
            self._undo_on()

    def _undo_on(self) -> None:
        """Take back for a moment; in between the window goes on."""
        if self._undoing is not None and next(self._undoing, self) is not self:
            self._undo_step.start()
            return
        self._undoing = None
        self._tell(_("The last step was taken back."), messages.INFO)

    # Along what

    def choose_way(self) -> None:
        """Work along what is chosen; along time only where there is more than one frame."""
        place, ui = self._place, self.ui
        can_choose = place.is_open and sequences.has_frames(place.volume)
        ui.alongComboBox.setVisible(can_choose)
        ui.alongLabel.setVisible(can_choose)
        way = self._ways[combo_boxes.chosen(ui.alongComboBox) if can_choose else SLICES]
        if way is not self._way:
            self._way.forget()
            self._way = way
            ui.firstSpinBox.value = ui.lastSpinBox.value = 0
            self._show_way()
        ui.sequenceButton.setVisible(self.is_along_time and self._time.needs_sequence)

    def make_sequence(self) -> None:
        """Give each frame its own segmentation."""
        try:
            self._time.make_sequence()
        except ValueError as error:
            self._tell(messages.text_of(error), messages.WARNING)
        else:
            self._tell(_("Each frame has its own segmentation now: draw in some of them."), messages.INFO)

    def _way_chosen(self, index: int) -> None:
        self.choose_way()
        self.show()

    def _show_way(self) -> None:
        for name, (text, tip) in self._texts[TIME if self.is_along_time else SLICES].items():
            widget = getattr(self.ui, name)
            if text:
                widget.setText(text)
            widget.setToolTip(tip)
        for widget in (self.ui.loopCheckBox, self.ui.sequenceButton):
            widget.setVisible(self.is_along_time)

    # Showing

    def _look(self) -> None:
        if not self.is_running and self._undoing is None:
            self.choose_way()
            self._reading.look()

    def _show_slices(self) -> None:
        """Show what was read."""
        reading, ui = self._reading, self.ui
        now = reading.now
        is_filled = now is not None and bool(now.numbers or now.ours)
        if is_filled:
            self.strip.show(now, reading.count, reading.position)
        else:
            self.strip.clear(self._way.hint)
        ui.worstButton.setEnabled(is_filled and bool(now.ours))
        ui.keyframeButton.setEnabled(is_filled and bool(now.numbers))
        self._show_keyframes(now.numbers if is_filled else [])
        can_clear = is_filled and reading.position in {*now.numbers, *now.ours}
        ui.clearSliceButton.setEnabled(can_clear and not self.is_running)
        self._show_undo()

    def _show_keyframes(self, numbers: list[int]) -> None:
        """The list: how many there are, and each of them."""
        box, reading = self.ui.keyframeComboBox, self._reading
        count = _("1 keyframe") if len(numbers) == 1 else _("{count} keyframes").format(count=len(numbers))
        names = {"": count}
        names |= {str(n): text_of(reading.now, n) for n in numbers}
        shown = reading.position if numbers else -1
        combo_boxes.fill(box, names, str(shown) if shown in numbers else "")
        box.setEnabled(bool(numbers))

    def _show_undo(self) -> None:
        self.ui.undoButton.setVisible(self._way.has_undo)
        self.ui.undoButton.setEnabled(self._way.can_undo and not self.is_running)

    def _show_progress(self, done: int, total: int) -> None:
        self.status_line.go_on(RUN, running_text(self._doing, done, total), done, total)

    def _tell(self, text: str, level: str) -> None:
        if self.is_running:
            self._doing = text
            self.status_line.go_on(RUN, text)
        else:
            self.status_line.end(RUN)
            now = self._changed_at()
            # 0: the segment has gone, and what was said of it stays until work goes on elsewhere.
            self.status_line.say(text, level, lambda: self._changed_at() in (0, now))
        self._show_running(self.is_running)
        self.show()

    def _changed_at(self) -> int:
        """When the voxels of the selected segment were changed last: what a run has done holds until then."""
        place = self._place
        return changed_at(place.segmentation, place.segment_id) if place.is_open and place.segmentation else 0

    def _show_running(self, is_running: bool) -> None:
        ui = self.ui
        ui.alongComboBox.setEnabled(not is_running)
        ui.sequenceButton.setEnabled(not is_running)
        texts = self._texts[TIME if self.is_along_time else SLICES]
        for name in ("downButton", "bothButton", "upButton"):
            getattr(ui, name).setEnabled(not is_running)
            getattr(ui, name).setToolTip(_("A propagation is running.") if is_running else texts[name][1])
        if is_running:
            ui.clearSliceButton.setEnabled(False)
        self._show_undo()

    def _connect(self) -> None:
        ui = self.ui
        for button, call in (
            (ui.downButton, partial(self.propagate, DOWN)),
            (ui.bothButton, partial(self.propagate, BOTH)),
            (ui.upButton, partial(self.propagate, UP)),
            (ui.worstButton, self.go_to_worst),
            (ui.keyframeButton, self.go_to_next_keyframe),
            (ui.clearSliceButton, self.clear_slice),
            (ui.undoButton, self.undo),
            (ui.sequenceButton, self.make_sequence),
        ):
            button.connect("clicked()", call)
        ui.keyframeComboBox.connect("activated(int)", self._keyframe_chosen)
        ui.alongComboBox.connect("activated(int)", self._way_chosen)
        ui.propagateButton.connect("contentsCollapsed(bool)", lambda collapsed: self.show())


def _texts_of(ui: Any) -> dict[str, tuple[str, str]]:
    """Texts and tool tips of the widgets whose words differ between slices and frames, as they are."""
    return {
        name: (getattr(ui, name).text if text else "", getattr(ui, name).toolTip)
        for name, (text, _tip) in _time_texts().items()
    }


def _time_texts() -> dict[str, tuple[str, str]]:
    """The same for frames; no text where there is none."""
    return {
        "downButton": (_("Earlier"), _("Fill the frames before the last keyframe.")),
        "bothButton": (_("Both ways"), _("Fill the frames between the keyframes, before and after them.")),
        "upButton": (_("Later"), _("Fill the frames after the first keyframe.")),
        "worstButton": (_("Worst frame"), _("Show the propagated frame that is least sure.")),
        "keyframeButton": (_("Next keyframe"), _("Show the next keyframe; after the last one, the first.")),
        "clearSliceButton": (
            _("Clear frame"),
            _(
                "Take the segment out of the frame shown, on all slices. It is no keyframe then, and the next "
                "propagation fills it anew. (A propagated frame that you erase by hand says instead that the object is "
                "not there.)"
            ),
        ),
        "undoButton": (
            _("Undo"),
            _("Take the last propagation along time, or cleared frame, back in all frames but those changed since."),
        ),
        "firstLabel": (_("From frame:"), ""),
        "lastLabel": (_("To frame:"), ""),
        "everyLabel": (_("Every n-th frame:"), ""),
        "firstSpinBox": ("", _("Earliest frame to fill, counted from 1.")),
        "lastSpinBox": ("", _("Latest frame to fill, counted from 1.")),
        "everySpinBox": (
            "",
            _("The model looks at every n-th frame; those between are interpolated, which is faster."),
        ),
        "allCheckBox": (
            _("All visible segments"),
            _("Propagate every visible segment that is drawn in some frame, not only the selected one."),
        ),
        "keyframeComboBox": ("", _("The frames that you have segmented or corrected. Choose one to see it.")),
        "stripLabel": (
            "",
            _(
                "The frames from the first to the last; click to see one. White bars: keyframes, which stay as they "
                "are; hollow: emptied ones. From blue to yellow: how sure a propagated frame is. Grey: nothing there. "
                "Red, below: the frame shown."
            ),
        ),
    }


class ModulePropagation(PropagationPanel):
    """The section of the module's panel, with the life of its other sections."""

    def enter(self, node: Any) -> None:
        """Show what is selected now."""
        self.show()

    def exit(self) -> None:
        """A run goes on, and is written; nothing else is looked at."""
        self._later.stop()
        self._reading.forget()

    def refresh(self) -> None:
        """Show what is selected now."""
        self.show()

    def forget(self) -> None:
        """Give up what is going on: its nodes go."""
        self.stop()
        self._place.close()

    def cleanup(self) -> None:
        """End everything."""
        self.forget()
