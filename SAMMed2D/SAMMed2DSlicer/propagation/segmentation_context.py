"""Where propagation works: what is selected, and the writer, of the Segment Editor effect or of the module's panel."""

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
    from SAMMed2DSlicer.effect.controller import EffectController
    from SAMMed2DSlicer.effect.parameters import EffectOptions
    from SAMMed2DSlicer.module.parameters import Parameters

Writer = Callable[[], AbstractContextManager[Any]]  # of a SegmentTarget


class SegmentationContext(Protocol):
    """What the section for propagation needs to know; read anew whenever it is asked."""

    @property
    def is_open(self) -> bool:
        """Whether there is anything to work on now; the rest is asked only then."""

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
        """The view along whose slices to work, a vtkMRMLSliceNode; None if there is none."""

    @property
    def seen(self) -> tuple[str, bool | None]:
        """What the model sees: one of `scene.INTENSITIES`, and whether it zooms."""

    def default_labelmap(self) -> Any:
        """An empty labelmap in the segmentation's geometry, or None."""

    def writer(self) -> Writer:
        """What opens the selected segment for writing, later, whatever is selected then."""

    @property
    def has_undo(self) -> bool:
        """Whether the section has to offer undo, because nobody else does."""

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""

    def undo(self) -> None:
        """Take the last step back."""

    def close(self) -> None:
        """Take nothing back any more; the scene goes."""


class EffectContext:
    """The Segment Editor in which the effect is active."""

    has_undo = can_undo = False  # the editor has it

    def __init__(
        self,
        effect: slicer.qSlicerSegmentEditorScriptedEffect,
        controller: Callable[[], EffectController | None],
        options: Callable[[], EffectOptions],
    ) -> None:
        """Use a qSlicerSegmentEditorScriptedEffect, its work that is going on, and what the user has chosen."""
        self._effect, self._controller, self._options = effect, controller, options

    @property
    def is_open(self) -> bool:
        """Whether the effect is active."""
        return self._controller() is not None

    @property
    def _work(self) -> EffectController:
        controller = self._controller()
        if controller is None:
            raise RuntimeError("the effect is not active")
        return controller

    @property
    def volume(self) -> Any:
        """The source volume."""
        return self._work.editor.volume

    @property
    def segmentation(self) -> Any:
        """The segmentation that is edited."""
        return self._work.editor.segmentation

    @property
    def segment_id(self) -> str:
        """The selected segment."""
        return self._work.editor.segment_id

    @property
    def slice_node(self) -> Any:
        """The view that was worked in last."""
        widget = self._work.last_view or slice_widgets().get("Red")
        return widget.mrmlSliceNode() if widget is not None else None

    @property
    def seen(self) -> tuple[str, bool | None]:
        """As for single slices."""
        options = self._options()
        return options.intensity, options.zoom

    def default_labelmap(self) -> Any:
        """The editor's."""
        return EffectTarget(self._effect).default_labelmap()

    def writer(self) -> Writer:
        """Writes through the editor, by its rules, with its undo."""
        return lambda: nullcontext(EffectTarget(self._effect))

    def undo(self) -> None:
        """The editor does it."""

    def close(self) -> None:
        """Nothing: the editor goes on."""


class ModuleContext:
    """What is selected in the module's panel; it has an undo of its own, for the last step."""

    has_undo = True

    def __init__(self, parameters: Callable[[], Parameters | None]) -> None:
        """Use the panel's parameters; None while the module is not shown."""
        self._parameters = parameters
        self._target: LogicTarget | None = None  # of the last step, with its undo

    @property
    def is_open(self) -> bool:
        """Whether the module is shown."""
        return self._parameters() is not None

    @property
    def _chosen(self) -> Parameters:
        parameters = self._parameters()
        if parameters is None:
            raise RuntimeError("the module is not shown")
        return parameters

    @property
    def volume(self) -> Any:
        """The selected volume."""
        return self._chosen.volume

    @property
    def segmentation(self) -> Any:
        """The selected segmentation."""
        return self._chosen.segmentation

    @property
    def segment_id(self) -> str:
        """The selected segment, if it is there."""
        segmentation, name = self.segmentation, self._chosen.segment_id
        return name if name and segmentation is not None and segmentation.GetSegmentation().GetSegment(name) else ""

    @property
    def slice_node(self) -> Any:
        """The selected view."""
        try:
            return slice_prompts.slice_node(self._chosen.view)
        except volumes.SceneError:
            return None

    @property
    def seen(self) -> tuple[str, bool | None]:
        """As for single slices."""
        parameters = self._chosen
        return parameters.intensity, slice_task.zoom_of(parameters.zoom)

    def default_labelmap(self) -> Any:
        """By Slicer's rules, without changing anything."""
        with LogicTarget(self.volume, self.segmentation, self.segment_id) as target:
            return target.default_labelmap()

    def writer(self) -> Writer:
        """Writes without an editor, and stays open for its undo until something else is written."""
        chosen = (self.volume, self.segmentation, self.segment_id, self._chosen.overwrite)

        def opened() -> AbstractContextManager[SegmentTarget]:
            self.close()
            self._target = LogicTarget(*chosen, keeps_undo=True)
            return nullcontext(self._target)

        return opened

    @property
    def can_undo(self) -> bool:
        """Whether the last step is still the last: what others have done since must not be lost."""
        return self._target is not None and self._target.can_undo

    def undo(self) -> None:
        """Take the last step back."""
        if self._target is not None and self.can_undo:
            self._target.undo()
            self.close()

    def close(self) -> None:
        """Take nothing back any more."""
        if self._target is not None:
            self._target.close()
            self._target = None


def plane_shown_in(context: SegmentationContext) -> SlicePlane:
    """The slice that the view of a context shows.

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
