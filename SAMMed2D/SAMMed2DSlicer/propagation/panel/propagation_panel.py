"""The propagation panel: direction, range, a strip of confidences, keyframes, progress.

Effect and module use the same panel; a `SegmentationContext` gives it the selection of either.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer import resources
from SAMMed2DSlicer.inference.service import InferenceService
from SAMMed2DSlicer.propagation import api
from SAMMed2DSlicer.propagation.axis import BOTH, SLICES, TIME
from SAMMed2DSlicer.propagation.panel import axis_texts
from SAMMed2DSlicer.propagation.panel.confidence_strip import legend_html
from SAMMed2DSlicer.propagation.panel.keyframe_view import Axis, KeyframeReader, KeyframeView
from SAMMed2DSlicer.propagation.results import PropagationSettings, UnwrittenResults
from SAMMed2DSlicer.propagation.run_controller import PropagationController
from SAMMed2DSlicer.propagation.segmentation_context import SegmentationContext, TargetOpener, plane_shown_in
from SAMMed2DSlicer.propagation.slice_axis import DOWN, UP, SliceAxis
from SAMMed2DSlicer.propagation.task import PropagationTask
from SAMMed2DSlicer.propagation.time_axis import TimeAxis
from SAMMed2DSlicer.propagation.undo import PropagationUndo
from SAMMed2DSlicer.scene import sequences
from SAMMed2DSlicer.scene.segment_reader import modified_time
from SAMMed2DSlicer.scene.volumes import SceneError
from SAMMed2DSlicer.widgets import combo_boxes, messages
from SAMMed2DSlicer.widgets.scrolling import follow_section
from SAMMed2DSlicer.widgets.status_line import PROPAGATION, StatusLine, running_text
from SAMMed2DSlicer.widgets.timers import single_shot

_SHOW_MS = 150
_AXES: dict[str, type[Axis]] = {SLICES: SliceAxis, TIME: TimeAxis}


class PropagationPanel:
    """Widgets that run propagations of the segments of a context."""

    def __init__(self, service: InferenceService, context: SegmentationContext, status_line: StatusLine) -> None:
        """Make the widgets; the caller puts `widget` into a layout.

        Args:
            service: has the model and the worker thread.
            context: has the selection.
            status_line: shows progress and results.
        """
        self._context, self.status_line = context, status_line
        self._phase = ""
        self._volume_of_range = ""  # the volume that the slices to fill are counted in
        self.widget = slicer.util.loadUI(resources.ui_path("SAMMed2DPropagation"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self._refresh_timer = single_shot(_SHOW_MS, self._read_keyframes)  # edits come in bursts
        self._axis_type: type[Axis] = SliceAxis
        self._texts = {SLICES: axis_texts.of_slices(self.ui), TIME: axis_texts.of_time()}
        taken_back = _("The last step was taken back.")
        self._undo = PropagationUndo(context, lambda: self._notify(taken_back, messages.INFO))
        self._controller = PropagationController(service, self._notify, self._show_progress)
        self._reader = KeyframeReader(service, context, self._show_keyframes)
        self._keyframe_view = KeyframeView(self.ui, self._reader, self.show_position)
        self.strip = self._keyframe_view.strip
        self.ui.legendLabel.setText(legend_html())
        combo_boxes.fill(self.ui.alongComboBox, {SLICES: _("Slices"), TIME: _("Time")}, SLICES)
        self._show_axis()
        self._show_running(False)
        self._connect()

    @property
    def is_running(self) -> bool:
        """Whether a propagation is going on."""
        return self._controller.is_running

    @property
    def is_along_time(self) -> bool:
        """Whether the axis is time."""
        return self._axis_type is TimeAxis

    def unwritten(self) -> UnwrittenResults | None:
        """What a run has found and not written yet; None if none is going on."""
        return self._controller.unwritten()

    # Lifetime

    def stop(self) -> None:
        """End a run without writing, and drop what was read; the effect is deactivated, or the scene closed."""
        self._refresh_timer.stop()
        self._controller.abort()
        self._undo.stop()
        self._drop_keyframes()

    def _drop_keyframes(self) -> None:
        self._reader.forget()
        self._undo.drop_if_impossible()

    def show(self) -> None:
        """Read and show the keyframes after a short delay; to be called when anything has changed."""
        if not self.ui.propagateButton.collapsed and self._context.is_open and not self.is_running:
            self._refresh_timer.start()

    def show_preview(self, preview: Any) -> None:
        """Show an `ObjectPreview` in the strip; None shows the segment again."""
        self._keyframe_view.preview = preview
        if self._reader.axis is not None:
            self._show_keyframes()
        self.show()

    # Propagating

    def propagate(self, direction: str) -> None:
        """Propagate the selected segment, or all visible ones.

        Args:
            direction: "down", "both" or "up"; along time "down" means earlier, and "up" later.
        """
        context = self._context
        if not context.is_open or self.is_running:
            return
        try:
            self.update_axis()  # the selection may have changed since the panel was shown
            if context.volume is None:
                raise SceneError(_("There is no image: select a source volume."))
            task, writer = self._task(self._segment_ids(), self._settings(direction))
        except ValueError as error:  # of the library or the scene; its message is for the user
            self._notify(messages.error_text(error), messages.WARNING)
            return
        self._show_running(True)
        tip = _("Find no more slices; those that were found are written.")
        self.status_line.begin(PROPAGATION, _("Propagating..."), self._controller.cancel, tip)
        self._controller.start(task, writer)

    def _settings(self, direction: str) -> PropagationSettings:
        ui = self.ui
        intensity, zoom = self._context.image_options
        return PropagationSettings(
            self._axis_type.directions[SliceAxis.directions.index(direction)],
            ui.firstSpinBox.value - 1 if ui.firstSpinBox.value else None,
            ui.lastSpinBox.value - 1 if ui.lastSpinBox.value else None,
            ui.everySpinBox.value,
            intensity,
            zoom,
            loop=self.is_along_time and ui.loopCheckBox.checked,
            asks_model=ui.modelCheckBox.checked,
        )

    def _task(self, ids: Sequence[str], settings: PropagationSettings) -> tuple[PropagationTask, TargetOpener]:
        """The task, and what opens the segments for writing."""
        context = self._context
        volume, segmentation = context.volume, context.segmentation
        if self.is_along_time:
            task = api.frame_task(volume, segmentation, ids, context, settings)
            self._undo.set_frame_undo(lambda: task.result.undo)
            return task, lambda: nullcontext(None)
        return api.slice_task(
            volume, plane_shown_in(context), segmentation, ids, context, settings
        ), context.target_opener()

    def _segment_ids(self) -> list[str]:
        """The segments to propagate; hidden ones are not propagated."""
        segmentation, selected = self._context.segmentation, self._context.segment_id
        ids = [selected] if selected else []
        if self.ui.allCheckBox.checked and segmentation is not None:
            ids = list(segmentation.GetSegmentation().GetSegmentIDs())
        if not ids:
            raise SceneError(_("There is no segment: add one first."))
        shown = [segment_id for segment_id in ids if _is_visible(self._context, segment_id)]
        if not shown:
            raise SceneError(_("The segment is hidden: show it first."))
        if self.ui.allCheckBox.checked:
            volume, is_drawn = self._context.volume, self._axis_type.is_drawn
            shown = [segment_id for segment_id in shown if is_drawn(volume, segmentation, segment_id)] or shown
        return shown

    # Keyframes

    def show_position(self, number: int) -> None:
        """Let the scene show a slice or a frame, from 0."""
        if self._context.is_open and self._reader.axis is not None:
            self._reader.axis.show(number, self._context.slice_node)
            self.show()

    def clear_position(self) -> None:
        """Empty the segment on the slice, or in the frame, that is shown."""
        reader = self._reader
        if not self._context.is_open or self.is_running or reader.keyframes is None or reader.axis is None:
            return
        if not reader.is_current:
            self._notify(_("The segment has just changed: try again."), messages.WARNING)
        elif not _is_visible(self._context, reader.keyframes.segment_id):
            self._notify(_("The segment is hidden: show it first."), messages.WARNING)
        else:
            number = reader.position
            undo = reader.axis.clear(reader.keyframes, number, self._context.target_opener())
            if undo is not None:
                self._undo.set_frame_undo(lambda: undo)
            self._notify(reader.axis.texts.cleared.format(number=number + 1), messages.INFO)

    def undo(self) -> None:
        """Undo the last propagation or clearing."""
        if not self.is_running and not self._undo.is_running:
            self._undo.start()

    # Axis

    def update_axis(self) -> None:
        """Take the axis that is chosen; time only where there is more than one frame."""
        context, ui = self._context, self.ui
        can_choose = context.is_open and sequences.has_frames(context.volume)
        ui.alongComboBox.setVisible(can_choose)
        ui.alongLabel.setVisible(can_choose)
        axis_type = _AXES[combo_boxes.current_value(ui.alongComboBox) if can_choose else SLICES]
        if axis_type is not self._axis_type:
            self._drop_keyframes()
            self._axis_type = axis_type
            ui.firstSpinBox.value = ui.lastSpinBox.value = 0
            self._show_axis()
        if context.volume is not None:
            # The scene gives the same ids again after it was closed, hence the address.
            volume = context.volume.GetAddressAsString("") + context.volume.GetID()
            if self._volume_of_range not in ("", volume):
                ui.firstSpinBox.value = ui.lastSpinBox.value = 0
            self._volume_of_range = volume
        needs_sequence = self.is_along_time and sequences.needs_sequence(context.volume, context.segmentation)
        ui.sequenceButton.setVisible(needs_sequence)

    def make_sequence(self) -> None:
        """Give each frame a segmentation of its own."""
        try:
            sequences.make_sequence(self._context.volume, self._context.segmentation)
        except ValueError as error:
            self._notify(messages.error_text(error), messages.WARNING)
        else:
            self._notify(_("Each frame has its own segmentation now: draw in some of them."), messages.INFO)

    def _show_axis(self) -> None:
        self._undo.is_along_time = self.is_along_time
        for name, (text, tip) in self._texts[self._axis_type.kind].items():
            widget = getattr(self.ui, name)
            if text:
                widget.setText(text)
            widget.setToolTip(tip)
        for widget in (self.ui.loopCheckBox, self.ui.sequenceButton):
            widget.setVisible(self.is_along_time)

    # Showing

    def _read_keyframes(self) -> None:
        if self._context.is_open and not self.is_running and not self._undo.is_running:
            self.update_axis()
            self._reader.read(self._axis_type)

    def _show_keyframes(self) -> None:
        """Show what was read."""
        self._keyframe_view.show(axis_texts.hint(self._axis_type))
        self.ui.clearSliceButton.setEnabled(self._keyframe_view.can_clear and not self.is_running)
        self._show_undo()

    def _show_undo(self) -> None:
        self.ui.undoButton.setVisible(self._undo.is_offered)
        self.ui.undoButton.setEnabled(self._undo.is_possible and not self.is_running)

    def _show_progress(self, done: int, total: int) -> None:
        self.status_line.update(PROPAGATION, running_text(self._phase, done, total), done, total)

    def _notify(self, text: str, level: str) -> None:
        if self.is_running:
            self._phase = text
            self.status_line.update(PROPAGATION, text)
        else:
            self.status_line.end(PROPAGATION)
            now = _modified_time(self._context)
            # 0: the segment was removed; the message stays until another one is selected.
            self.status_line.show_message(text, level, lambda: _modified_time(self._context) in (0, now))
        self._show_running(self.is_running)
        self.show()

    def _show_running(self, is_running: bool) -> None:
        ui = self.ui
        ui.alongComboBox.setEnabled(not is_running)
        ui.sequenceButton.setEnabled(not is_running)
        texts = self._texts[self._axis_type.kind]
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
            (ui.clearSliceButton, self.clear_position),
            (ui.undoButton, self.undo),
            (ui.sequenceButton, self.make_sequence),
        ):
            button.connect("clicked()", call)
        for follow in (self.update_axis, self.show):
            ui.alongComboBox.connect("activated(int)", lambda index, follow=follow: follow())
        follow_section(ui.propagateButton)
        ui.propagateButton.connect("contentsCollapsed(bool)", lambda collapsed: self.show())


def _is_visible(context: SegmentationContext, segment_id: str) -> bool:
    """Whether a segment is visible."""
    display = context.segmentation.GetDisplayNode()
    return display is None or bool(display.GetVisibility() and display.GetSegmentVisibility(segment_id))


def _modified_time(context: SegmentationContext) -> int:
    """When the voxels of the selected segment were changed last; 0 for none. A result's message holds until then."""
    if not context.is_open or context.segmentation is None:
        return 0
    return modified_time(context.segmentation, context.segment_id)
