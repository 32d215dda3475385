"""The effect's section for propagation: direction, range, a strip of confidences, progress."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer import messages, propagation_call
from SAMMed2DSlicer.effect_panel import pixmap_of
from SAMMed2DSlicer.engine import Engine
from SAMMed2DSlicer.keyframes import BOTH, DOWN, UP, SegmentKeyframes
from SAMMed2DSlicer.propagating import Propagating
from SAMMed2DSlicer.propagation_task import Settings
from SAMMed2DSlicer.segments import EffectTarget, voxels_of
from SAMMed2DSlicer.slice_stack import Stack
from SAMMed2DSlicer.slice_views import plane_in
from SAMMed2DSlicer.timers import single_shot

if TYPE_CHECKING:
    import numpy as np

    from SAMMed2DSlicer.annotator import Annotator

_UI = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "Resources", "UI", "SAMMed2DPropagation.ui"
)
_STRIP_PX = (280, 14)
_SHOW_MS = 150
# Told apart by colour-blind readers, too.
_UNSURE, _SURE, _KEYFRAME, _NOTHING = (40, 60, 160), (250, 220, 60), (255, 255, 255), (70, 70, 70)


class PropagationPanel:
    """The section; it runs propagations of the segments of a Segment Editor."""

    def __init__(
        self, effect: Any, engine: Engine, annotator: Callable[[], Annotator | None], options: Callable[[], Any]
    ) -> None:
        """Make the widgets.

        Args:
            effect: the qSlicerSegmentEditorScriptedEffect, whose options frame they go into.
            engine: answers.
            annotator: gives the work that is going on, None while the effect is not active.
            options: gives what the user has chosen, see `annotator.Options`.
        """
        self._effect, self._annotator, self._options = effect, annotator, options
        self.widget = slicer.util.loadUI(_UI)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self._later = single_shot(_SHOW_MS, self._show_strip)  # it reads the whole segment
        self._running = Propagating(engine, self._tell, self._show_progress)
        self._show_running(False)
        for button, direction in (("downButton", DOWN), ("bothButton", BOTH), ("upButton", UP)):
            getattr(self.ui, button).connect("clicked()", partial(self.propagate, direction))
        self.ui.cancelButton.connect("clicked()", self._running.cancel)
        self.ui.worstButton.connect("clicked()", self.go_to_worst)
        self.ui.keyframeButton.connect("clicked()", self.go_to_next_keyframe)
        self.ui.propagateButton.connect("contentsCollapsed(bool)", lambda collapsed: self.show())
        effect.addOptionsWidget(self.widget)

    @property
    def is_running(self) -> bool:
        """Whether a propagation is on its way."""
        return self._running.is_running

    def propagate(self, direction: str) -> None:
        """Carry the selected segment, or all visible ones, from their keyframes to the other slices."""
        annotating = self._annotator()
        if annotating is None or self.is_running:
            return
        try:
            plane, ids = self._plane(), self._segment_ids(annotating)
            options = self._options()
            ui = self.ui
            settings = Settings(
                direction,
                ui.firstSpinBox.value - 1 if ui.firstSpinBox.value else None,
                ui.lastSpinBox.value - 1 if ui.lastSpinBox.value else None,
                ui.everySpinBox.value,
                options.intensity,
                options.zoom,
            )
            target = EffectTarget(self._effect)
            task = propagation_call.task_of(annotating.volume, plane, annotating.segmentation, ids, target, settings)
        except ValueError as error:  # of the library or the scene: all say what to do
            self._tell(str(error), messages.WARNING)
            return
        self._show_running(True)
        self._running.start(task, lambda: EffectTarget(self._effect))

    def stop(self) -> None:
        """End what is going on, and write nothing; the effect goes."""
        self._running.give_up()

    def show(self) -> None:
        """Show keyframes and confidences along the slices of the view that was worked in last."""
        if self._annotator() is None or self.ui.propagateButton.collapsed or self.is_running:
            return
        self._later.start()

    def _show_strip(self) -> None:
        found = None if self._annotator() is None or self.is_running else self._looked_at()
        self.ui.worstButton.setEnabled(found is not None and bool(found[1].ours))
        self.ui.keyframeButton.setEnabled(found is not None)
        if found is None:
            self.ui.stripLabel.setText(_("Segment two or three slices first; they are the keyframes."))
            return
        self.ui.stripLabel.setPixmap(pixmap_of(strip(*found), _STRIP_PX[0]))

    def go_to_worst(self) -> None:
        """Show the propagated slice that is least sure."""
        found = self._looked_at()
        if found is not None:
            stack, now = found
            if now.ours:
                self._go_to(stack, min(now.ours, key=lambda n: now.memory.confidence.get(n, 0.0)))

    def go_to_next_keyframe(self) -> None:
        """Show the keyframe above the slice shown, or the lowest one."""
        found = self._looked_at()
        if found is not None:
            stack, now = found
            self._go_to(stack, next((n for n in now.numbers if n > stack.position), now.numbers[0]))

    def _view(self) -> Any:
        """The slice view that was worked in last."""
        return self._annotator().last_view or slicer.app.layoutManager().sliceWidget("Red")

    def _plane(self) -> Any:
        from SAMMed2DSlicer.scene import SceneError

        annotating = self._annotator()
        widget = self._view()
        plane = plane_in(widget, annotating.volume) if annotating.volume is not None and widget is not None else None
        if plane is None:
            raise SceneError(_("Move the mouse into the slice view along which to propagate."))
        return plane

    def _segment_ids(self, annotating: Annotator) -> list[str]:
        """The segments to propagate; hidden ones are left alone."""
        from SAMMed2DSlicer.scene import SceneError

        display = annotating.segmentation.GetDisplayNode() if annotating.segmentation is not None else None
        ids = [annotating.segment_id] if annotating.segment_id else []
        if self.ui.allCheckBox.checked and annotating.segmentation is not None:
            ids = list(annotating.segmentation.GetSegmentation().GetSegmentIDs())
        shown = [one for one in ids if display is None or display.GetSegmentVisibility(one)]
        if not shown:
            hidden = _("The segment is hidden: show it first.")
            raise SceneError(hidden if ids else _("There is no segment: add one first."))
        if self.ui.allCheckBox.checked:
            shown = [one for one in shown if voxels_of(annotating.segmentation, one) is not None] or shown
        return shown

    def _looked_at(self) -> tuple[Stack, SegmentKeyframes] | None:
        """The slices along the view that was worked in last, and the selected segment; None without keyframes."""
        annotating = self._annotator()
        if annotating is None or not annotating.segment_id or annotating.volume is None:
            return None
        labelmap = EffectTarget(self._effect).default_labelmap()
        if labelmap is None:
            return None
        try:
            plane = self._plane()
            stack = Stack.of(annotating.volume, plane, annotating.segmentation, labelmap)
            now = SegmentKeyframes(stack, annotating.segmentation, annotating.segment_id)
        except ValueError:
            return None
        return (stack, now) if now.numbers else None

    def _go_to(self, stack: Stack, number: int) -> None:
        widget = self._view()
        widget.mrmlSliceNode().JumpSliceByOffsetting(*stack.middle_world(number))
        widget.sliceLogic().SnapSliceOffsetToIJK()
        self.show()

    def _show_progress(self, done: int, total: int) -> None:
        self.ui.progressBar.setMaximum(max(total, 1))
        self.ui.progressBar.setValue(done)

    def _tell(self, text: str, level: str) -> None:
        messages.show(self.ui.propagationLabel, text, level)
        self._show_running(self.is_running)
        self.show()

    def _show_running(self, is_running: bool) -> None:
        ui = self.ui
        ui.progressBar.setVisible(is_running)
        ui.cancelButton.setVisible(is_running)
        tips = {
            "downButton": _("Fill the slices below the highest keyframe."),
            "bothButton": _("Fill the slices between the keyframes, and beyond them until the object ends."),
            "upButton": _("Fill the slices above the lowest keyframe."),
        }
        for name, tip in tips.items():
            getattr(ui, name).setEnabled(not is_running)
            getattr(ui, name).setToolTip(_("A propagation is running.") if is_running else tip)


def strip(stack: Stack, now: SegmentKeyframes) -> np.ndarray:
    """The slices of a stack from left to right, as a picture (H, W, 3) uint8; a mark below shows the present one."""
    import numpy as np

    count = len(stack.planes)
    colors = np.array([_NOTHING] * count, np.float64)
    for n in now.ours:
        share = now.memory.confidence.get(n, 0.0)
        colors[n] = (1 - share) * np.array(_UNSURE) + share * np.array(_SURE)
    for n in now.numbers:
        colors[n] = _KEYFRAME
    width, height = _STRIP_PX
    at = np.arange(width) * count // width
    picture = np.repeat(colors[at][None], height, axis=0)
    picture[-4:] = np.where((at == stack.position)[:, None], (255, 80, 80), (0, 0, 0))
    return picture.astype(np.uint8)
