"""A whole object from one slice or a box, shown before it is written: Enter writes it, Esc drops it, clicks correct."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from slicer.i18n import tr as _

from SAMMed2DLib.imaging import voxel_patches
from SAMMed2DLib.imaging.slice_voxels import nearest_voxels
from SAMMed2DSlicer.inference import service
from SAMMed2DSlicer.propagation.object_task import ObjectTask, boxes_of_roi, user_rois
from SAMMed2DSlicer.propagation.results import PropagationSettings, UnwrittenResults
from SAMMed2DSlicer.propagation.run_controller import PropagationController
from SAMMed2DSlicer.propagation.segmentation_context import SegmentationContext
from SAMMed2DSlicer.propagation.slice_axis import SliceAxis
from SAMMed2DSlicer.scene import segment_reader, segmentations
from SAMMed2DSlicer.scene.volumes import SceneError
from SAMMed2DSlicer.widgets import messages
from SAMMed2DSlicer.widgets.status_line import PROPAGATION, StatusLine, running_text

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane
    from SAMMed2DLib.imaging.voxel_patches import VoxelPatch
    from SAMMed2DSlicer.propagation.panel.propagation_panel import PropagationPanel


@dataclass(frozen=True, eq=False)
class ObjectPreview:
    """A whole object that waits to be written; for the strip it is like `SegmentKeyframes`.

    Attributes:
        task: that found it.
        nonempty: slices that stay as they are.
        confidence: of the slices that were found, 0 .. 1.
    """

    task: ObjectTask
    nonempty: frozenset[int]
    confidence: Mapping[int, float]
    empty: frozenset[int] = frozenset()

    @classmethod
    def of(cls, task: ObjectTask) -> ObjectPreview:
        """Take over what a task has found."""
        keyframes = frozenset(task.keyframe_numbers)
        found = {n: share for n, share in task.confidence.items() if n not in keyframes}
        return cls(task, keyframes, found)

    @property
    def generated(self) -> set[int]:
        """The slices that were found."""
        return set(self.confidence)

    @property
    def numbers(self) -> list[int]:
        """The slices that stay as they are, from low to high."""
        return sorted(self.nonempty)

    def title(self, number: int) -> str:
        """The name of a slice for the user."""
        return self.task.axis.texts.title.format(number=number + 1)

    @cached_property
    def _patch(self) -> VoxelPatch | None:
        return voxel_patches.union(self.task.patches)

    def mask_on(self, plane: SlicePlane) -> np.ndarray:
        """What was found on any slice of the volume, (H, W) bool."""
        patch, stack = self._patch, self.task.axis.stack
        if patch is None:
            return np.zeros(plane.size_hw, bool)
        grid_from_volume = np.linalg.inv(stack.world_from_grid) @ stack.world_from_ijk
        inside, at = nearest_voxels(plane, grid_from_volume, patch.extent)
        return np.asarray(inside & patch.mask_kji[at])

    def number_of(self, plane: SlicePlane) -> int | None:
        """The number of a slice; None for one that lies otherwise."""
        from SAMMed2DLib.imaging.planes import are_same_plane

        planes = self.task.axis.stack.planes
        return next((n for n, other in enumerate(planes) if other == plane or are_same_plane(other, plane)), None)


class WholeObject:
    """Finds an object, shows it, and writes it when it is accepted."""

    def __init__(
        self, context: SegmentationContext, status_line: StatusLine, on_changed: Callable[[ObjectPreview | None], None]
    ) -> None:
        """Prepare.

        Args:
            context: has the selection.
            status_line: shows progress and results.
            on_changed: called with what is to be shown; None for nothing.
        """
        self._context, self._status_line, self._on_changed = context, status_line, on_changed
        self._controller = PropagationController(service.shared(), self._notify, self._show_progress, self._found)
        self._phase = ""
        self.preview: ObjectPreview | None = None
        self._is_found = self._accepts_next = False

    @property
    def is_open(self) -> bool:
        """Whether an object is looked for, or waits to be accepted."""
        return self._controller.is_running

    def unwritten(self) -> UnwrittenResults | None:
        """What was found and is not written yet; None if there is nothing."""
        return self._controller.unwritten()

    def start(self) -> None:
        """Look for the object of the selected segment, from its slices; where there are none, in the box of an ROI."""
        if self.is_open or not self._context.is_open:
            return
        try:
            self._begin(self._task({}))
        except ValueError as error:  # of the library or the scene; its message is for the user
            self._status_line.show_message(messages.error_text(error), messages.WARNING)

    def correct(self, plane: SlicePlane, mask_hw: np.ndarray) -> bool:
        """Take a slice as it was corrected, and find the others anew.

        Returns:
            whether the slice belongs to the object that waits to be accepted, and is not one that stays as it is.
        """
        if self.preview is None:
            return False
        number, task = self.preview.number_of(plane), self.preview.task
        if number is None or (number in self.preview.nonempty and number not in task.corrections):
            return False
        self._controller.forget()
        self._begin(self._task({**task.corrections, number: mask_hw}, task))
        return True

    def accept(self) -> bool:
        """Write the object, once it is found; False if there is none."""
        if not self.is_open:
            return False
        if not self._is_found:
            self._accepts_next = True
            return True
        self._show(None)
        self._status_line.begin(PROPAGATION, _("Writing..."))
        self._controller.write()
        return True

    def discard(self) -> bool:
        """Drop the object that is looked for, or shown; False if there is none."""
        was_open = self.is_open
        self._controller.abort()
        self._show(None)
        return was_open

    def _end(self) -> None:
        self.discard()

    def _task(self, corrections: Mapping[int, np.ndarray], before: ObjectTask | None = None) -> ObjectTask:
        context = self._context
        if context.volume is None or context.segmentation is None or not context.segment_id:
            raise SceneError(_("There is no image, or no segment: select them first."))
        intensity, zoom = context.image_options
        settings = PropagationSettings(intensity=intensity, zoom=zoom)
        segmentations.create_labelmaps(context.segmentation)
        axis = before.slice_axis if before is not None else SliceAxis.of_context(context)
        boxes = before.boxes if before is not None else self._boxes(axis)
        model = service.shared().choice.model
        return ObjectTask(axis, context.segment_id, settings, model, boxes, corrections)

    def _boxes(self, axis: SliceAxis) -> Mapping[int, np.ndarray] | None:
        if segment_reader.has_voxels(self._context.segmentation, self._context.segment_id):
            return None
        rois = user_rois()
        return boxes_of_roi(axis, rois[0]) if rois else None

    def _begin(self, task: ObjectTask) -> None:
        self._is_found = self._accepts_next = False
        tip = _("Look no further; nothing is changed.")
        self._status_line.begin(PROPAGATION, _("Looking for the object..."), self._end, tip)
        self._controller.start(task, self._context.target_opener())

    def _found(self, task: ObjectTask) -> None:
        preview = ObjectPreview.of(task)
        if not preview.confidence and not task.corrections:
            self._controller.end(_("The object was found nowhere else."), messages.WARNING)
            return
        self._show(preview)
        text = _("{count} slices found. Enter writes them, Esc drops them, a click corrects a slice.")
        self._status_line.end(PROPAGATION)
        self._status_line.show_message(text.format(count=len(preview.confidence)), messages.INFO)
        self._is_found = True
        if self._accepts_next:
            self.accept()

    def _show(self, preview: ObjectPreview | None) -> None:
        self.preview = preview
        self._on_changed(preview)

    def _show_progress(self, done: int, total: int) -> None:
        if self.preview is None:
            self._status_line.update(PROPAGATION, running_text(self._phase, done, total), done, total)

    def _notify(self, text: str, level: str) -> None:
        if self.is_open:
            self._phase = text
            self._status_line.update(PROPAGATION, text)
            return
        self._status_line.end(PROPAGATION)
        # An error ends an object that is shown, such as another frame, and while frames play it must be seen.
        self._status_line.show_message(text, level, lasts=level == messages.ERROR)
        if self.preview is not None:
            self._show(None)


class EffectPrompts(Protocol):
    """What the effect has to do for a whole object: its controller."""

    updater: Any

    @property
    def pending(self) -> Sequence[Any]:
        """Prompt groups whose masks are shown and not accepted."""

    def accept(self) -> None:
        """Write what is shown."""

    def show_object(self, found: Any) -> None:
        """Show an `ObjectPreview`; None for nothing."""


class WholeObjectTool:
    """*Whole object* in the effect: begins with what is shown there, and shows what was found.

    Attributes:
        whole: the object.
        on_changed: called when an object begins or ends to be shown.
    """

    def __init__(
        self,
        context: SegmentationContext,
        status_line: StatusLine,
        controller: Callable[[], EffectPrompts | None],
        panel: PropagationPanel,
    ) -> None:
        """Prepare.

        Args:
            context: has the selection.
            status_line: shows progress and results.
            controller: of the effect; None while it is not active.
            panel: of propagation, with the strip.
        """
        self.whole = WholeObject(context, status_line, self._show)
        self._context, self._controller, self._panel = context, controller, panel
        self.on_changed: Callable[[], None] = lambda: None

    @property
    def is_open(self) -> bool:
        """Whether an object is looked for, or waits to be accepted."""
        return self.whole.is_open

    def begin(self) -> None:
        """Accept what is shown, and look for all of the object."""
        controller = self._controller()
        if controller is None or self.is_open or self._panel.is_running:
            return
        if controller.pending:
            controller.accept()
        controller.updater.takes_correction = self.whole.correct
        self.whole.start()
        self.on_changed()

    def accept(self) -> bool:
        """Write the object that is shown; False if there is none."""
        controller, has_object = self._controller(), self.whole.accept()
        if controller is not None and has_object and self.whole.preview is None:
            controller.updater.end_corrections()
        return has_object

    def discard(self) -> bool:
        """Drop the object; False if there is none."""
        return self.whole.discard()

    def unwritten(self) -> UnwrittenResults | None:
        """What was found and is not written yet, here or by a propagation; None if there is nothing."""
        return self.whole.unwritten() or self._panel.unwritten()

    def keep_work(self) -> None:
        """Keep what is worked on in case of a crash."""
        from SAMMed2DSlicer.recovery import autosave

        autosave.shared().follow(self._context.segmentation, self._context.volume, self.unwritten)

    def _show(self, preview: ObjectPreview | None) -> None:
        controller = self._controller()
        if controller is not None:
            controller.show_object(preview)
            self._panel.show_preview(preview)
        self.on_changed()
