"""What is selected in the Segment Editor effect, or in the module's panel, and how to write there; for propagation."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.inference import slice_task
from SAMMed2DSlicer.prompts import slice_prompts
from SAMMed2DSlicer.scene import volumes
from SAMMed2DSlicer.scene.segment_targets import EffectTarget, LogicTarget, SegmentTarget
from SAMMed2DSlicer.scene.slice_views import slice_widgets

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane
    from SAMMed2DSlicer.effect.context.parameters import EffectOptions
    from SAMMed2DSlicer.effect.controller import EffectController
    from SAMMed2DSlicer.module.parameters import Parameters

TargetOpener = Callable[[], AbstractContextManager[Any]]  # opens a SegmentTarget


class SegmentationContext(Protocol):
    """Selection and options for the propagation panel, as they are at each access."""

    @property
    def is_open(self) -> bool:
        """Whether the effect is active, or the module shown; the other members may be used only then."""

    @property
    def volume(self) -> Any:
        """The volume node, or None."""

    @property
    def segmentation(self) -> Any:
        """The segmentation node, or None."""

    @property
    def segment_id(self) -> str:
        """The selected segment; empty if there is none."""

    @property
    def slice_node(self) -> Any:
        """The slice view whose slices to propagate along, a vtkMRMLSliceNode; None if there is none."""

    @property
    def image_options(self) -> tuple[str, bool | None]:
        """Intensity, one of `volumes.INTENSITIES`, and zoom, as in `PropagationSettings`."""

    def default_labelmap(self) -> Any:
        """An empty labelmap in the segmentation's geometry, or None."""

    def target_opener(self) -> TargetOpener:
        """Opens, later, the segment that is selected now."""

    @property
    def has_undo(self) -> bool:
        """Whether the panel has to offer undo, because the context has no button for it."""

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo."""

    def undo(self) -> None:
        """Undo the last step."""

    def close(self) -> None:
        """Drop the undo; the scene is being closed."""


class EffectContext:
    """The Segment Editor in which the effect is active."""

    has_undo = can_undo = False  # the editor has it

    def __init__(
        self,
        effect: slicer.qSlicerSegmentEditorScriptedEffect,
        controller: Callable[[], EffectController | None],
        options: Callable[[], EffectOptions],
    ) -> None:
        """Prepare.

        Args:
            effect: the qSlicerSegmentEditorScriptedEffect.
            controller: of the effect; None while it is not active.
            options: of the effect.
        """
        self._effect, self._controller, self._options = effect, controller, options

    @property
    def is_open(self) -> bool:
        """Whether the effect is active."""
        return self._controller() is not None

    @property
    def _active_controller(self) -> EffectController:
        controller = self._controller()
        if controller is None:
            raise RuntimeError("the effect is not active")
        return controller

    @property
    def volume(self) -> Any:
        """The source volume."""
        return self._active_controller.editor.volume

    @property
    def segmentation(self) -> Any:
        """The segmentation that is edited."""
        return self._active_controller.editor.segmentation

    @property
    def segment_id(self) -> str:
        """The selected segment."""
        return self._active_controller.editor.segment_id

    @property
    def slice_node(self) -> Any:
        """The view that was worked in last."""
        widget = self._active_controller.last_view or slice_widgets().get("Red")
        return widget.mrmlSliceNode() if widget is not None else None

    @property
    def image_options(self) -> tuple[str, bool | None]:
        """As for predictions on single slices."""
        options = self._options()
        return options.intensity, options.zoom

    def default_labelmap(self) -> Any:
        """That of the editor."""
        return EffectTarget(self._effect).default_labelmap()

    def target_opener(self) -> TargetOpener:
        """Opens a target that writes through the editor, by its rules, with its undo."""
        return lambda: nullcontext(EffectTarget(self._effect))

    def undo(self) -> None:
        """Do nothing: the editor has the undo."""

    def close(self) -> None:
        """Do nothing: the editor stays."""


class ModuleContext:
    """The selection in the module's panel; it keeps the undo of the last step."""

    has_undo = True

    def __init__(self, parameters: Callable[[], Parameters | None]) -> None:
        """Read the panel's parameters; the function returns None while the module is not shown."""
        self._parameters = parameters
        self._target: LogicTarget | None = None  # of the last step, with its undo

    @property
    def is_open(self) -> bool:
        """Whether the module is shown."""
        return self._parameters() is not None

    @property
    def _shown_parameters(self) -> Parameters:
        parameters = self._parameters()
        if parameters is None:
            raise RuntimeError("the module is not shown")
        return parameters

    @property
    def volume(self) -> Any:
        """The selected volume."""
        return self._shown_parameters.volume

    @property
    def segmentation(self) -> Any:
        """The selected segmentation."""
        return self._shown_parameters.segmentation

    @property
    def segment_id(self) -> str:
        """The selected segment, if it exists."""
        segmentation, name = self.segmentation, self._shown_parameters.segment_id
        return name if name and segmentation is not None and segmentation.GetSegmentation().GetSegment(name) else ""

    @property
    def slice_node(self) -> Any:
        """The selected view."""
        try:
            return slice_prompts.slice_node(self._shown_parameters.view)
        except volumes.SceneError:
            return None

    @property
    def image_options(self) -> tuple[str, bool | None]:
        """As for predictions on single slices."""
        parameters = self._shown_parameters
        return parameters.intensity, slice_task.zoom_of(parameters.zoom)

    def default_labelmap(self) -> Any:
        """That of Slicer's segment editor logic; changes nothing."""
        with LogicTarget(self.volume, self.segmentation, self.segment_id) as target:
            return target.default_labelmap()

    def target_opener(self) -> TargetOpener:
        """Opens a target that writes without an editor; it stays open for undo until the next one."""
        chosen = (self.volume, self.segmentation, self.segment_id, self._shown_parameters.overwrite)

        def opened() -> AbstractContextManager[SegmentTarget]:
            self.close()
            self._target = LogicTarget(*chosen, keeps_undo=True)
            return nullcontext(self._target)

        return opened

    @property
    def can_undo(self) -> bool:
        """Whether no other change was made since the last step."""
        return self._target is not None and self._target.can_undo

    def undo(self) -> None:
        """Undo the last step."""
        if self._target is not None and self.can_undo:
            self._target.undo()
            self.close()

    def close(self) -> None:
        """Drop the undo."""
        if self._target is not None:
            self._target.close()
            self._target = None


def plane_shown_in(context: SegmentationContext) -> SlicePlane:
    """The slice of the volume that the view of a context shows.

    Raises:
        SceneError, GeometryError: it shows none; the message says what to do.
    """
    from SAMMed2DLib.imaging.geometry import OutsideVolumeError

    hint = _("Move the mouse into the slice view along which to propagate.")
    if context.slice_node is None:
        raise volumes.SceneError(hint)
    try:
        return volumes.plane_shown(context.slice_node, context.volume)
    except OutsideVolumeError:
        raise volumes.SceneError(hint) from None
