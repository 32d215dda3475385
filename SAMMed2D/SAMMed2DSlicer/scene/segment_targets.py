"""Targets to write masks to: the segment of a Segment Editor, or any segment; with Slicer's masking and undo."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.scene import overwrite_mode, segmentations
from SAMMed2DSlicer.scene.segment_reader import modified_time
from SAMMed2DSlicer.scene.volumes import SceneError

_OVERWRITE = {"none": "OverwriteNone", "visible": "OverwriteVisibleSegments", "all": "OverwriteAllSegments"}


class SegmentTarget(Protocol):
    """What the segment writer needs; `EffectTarget` writes through an effect, `LogicTarget` through editor logic."""

    @property
    def segmentation(self) -> Any:
        """The segmentation node."""

    @property
    def segment_id(self) -> str:
        """The segment that is written to."""

    def make_editable(self) -> None:
        """Make labelmaps the source representation; to be called before writing."""

    def save_state(self) -> None:
        """Begin an undo step."""

    def default_labelmap(self) -> Any:
        """An image of the geometry to write in, which may have no voxels; None without one."""

    def modify(self, labelmap: slicer.vtkOrientedImageData, adds: bool, segment_id: str | None = None) -> None:
        """Add to the segment, or to another one, or remove from it, by the editor's rules.

        Args:
            labelmap: the voxels, in the segmentation's RAS.
            adds: whether they are added; else they are removed.
            segment_id: of the other segment.
        """

    @property
    def overwrites(self) -> bool:
        """Whether added voxels are taken from other segments."""


@dataclass(frozen=True, eq=False)
class EffectTarget:
    """A segment of a Segment Editor, written through an effect.

    Attributes:
        effect: the qSlicerSegmentEditorScriptedEffect.
        own_segment_id: the segment; empty for the one that is selected.
    """

    effect: slicer.qSlicerSegmentEditorScriptedEffect
    own_segment_id: str = ""

    @property
    def segmentation(self) -> Any:
        """The segmentation node."""
        return overwrite_mode.segment_editor_node(self.effect).GetSegmentationNode()

    @property
    def segment_id(self) -> str:
        """The segment that is written to."""
        return self.own_segment_id or self._selected

    @property
    def _selected(self) -> str:
        return overwrite_mode.segment_editor_node(self.effect).GetSelectedSegmentID() or ""

    @property
    def overwrites(self) -> bool:
        """Whether added voxels are taken from other segments."""
        return overwrite_mode.overwrites(self.effect)

    def make_editable(self) -> None:
        """Do nothing: the Segment Editor has done so when the effect became active."""

    def save_state(self) -> None:
        """Begin an undo step."""
        self.effect.saveStateForUndo()

    def default_labelmap(self) -> Any:
        """The editor's geometry, without voxels: to fill as many as a large volume has would be felt."""
        return self.effect.referenceGeometryImage()

    def modify(self, labelmap: slicer.vtkOrientedImageData, adds: bool, segment_id: str | None = None) -> None:
        """Add to the segment, or to another one, or remove from it, by the editor's rules.

        Args:
            labelmap: the voxels, in the segmentation's RAS.
            adds: whether they are added; else they are removed.
            segment_id: of the other segment; None for that of this target.
        """
        modes = slicer.qSlicerSegmentEditorAbstractEffect
        mode = modes.ModificationModeAdd if adds else modes.ModificationModeRemove
        written_id = segment_id or self.segment_id
        with nullcontext() if self.overwrites else overwrite_mode.overwriting_disabled(self.effect):
            if written_id != self._selected:
                self.effect.modifySegmentByLabelmap(self.segmentation, written_id, labelmap, mode)
            else:
                self.effect.modifySelectedSegmentByLabelmap(labelmap, mode, list(labelmap.GetExtent()))


class LogicTarget:
    """Any segment, written through Slicer's segment editor logic without a Segment Editor; for scripts."""

    def __init__(
        self,
        volume: slicer.vtkMRMLScalarVolumeNode,
        segmentation: slicer.vtkMRMLSegmentationNode,
        segment_id: str,
        overwrite: str = "none",
        *,
        keeps_undo: bool = False,
    ) -> None:
        """Prepare to write.

        Args:
            volume: gives the geometry where the segmentation has none yet.
            segmentation: the segmentation node.
            segment_id: of an existing segment.
            overwrite: which other segments may be overwritten: "none", "visible" or "all".
            keeps_undo: whether the last step can be undone, as long as this object is open.

        Raises:
            SceneError: there is no such segment, or overwrite mode.
        """
        if not segmentation.GetSegmentation().GetSegment(segment_id):
            raise SceneError(
                _("{name} has no segment {id}: add it first.").format(name=segmentation.GetName(), id=repr(segment_id))
            )
        if overwrite not in _OVERWRITE:
            raise SceneError(_("Unknown overwrite mode {mode}: choose none, visible or all.").format(mode=overwrite))
        self.segmentation, self.segment_id = segmentation, segment_id
        self._keeps_undo = keeps_undo
        self._modified_times: dict[str, int] = {}  # of the segments written, after the last write
        self._node = slicer.vtkMRMLSegmentEditorNode()
        self._node.SetSaveWithScene(False)
        self._node.SetHideFromEditors(True)
        self._node.SetOverwriteMode(getattr(self._node, _OVERWRITE[overwrite]))
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._logic.SetMRMLScene(slicer.mrmlScene)
        slicer.mrmlScene.AddNode(self._node)
        self._logic.SetSegmentEditorNode(self._node)
        self._logic.SetSegmentationNode(segmentation)
        self._logic.SetSourceVolumeNode(volume)
        self._node.SetSelectedSegmentID(segment_id)

    def __enter__(self) -> LogicTarget:
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the target."""
        self.close()

    def close(self) -> None:
        """Remove the vtkMRMLSegmentEditorNode from the scene, if the scene was not closed itself."""
        self._logic.SetSegmentEditorNode(None)
        if self._node.GetScene() is not None:
            slicer.mrmlScene.RemoveNode(self._node)

    @property
    def overwrites(self) -> bool:
        """Whether added voxels are taken from other segments."""
        return self._node.GetOverwriteMode() != self._node.OverwriteNone

    def make_editable(self) -> None:
        """Make labelmaps the source representation; see `segmentations.convert_to_labelmaps`."""
        segmentations.convert_to_labelmaps(self._logic, self.segmentation)

    def save_state(self) -> None:
        """Begin an undo step, if undo is kept."""
        if self._keeps_undo:
            self._logic.SaveStateForUndo()

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo, and its segments were not changed otherwise since."""
        if self._node.GetScene() is None or self.segmentation.GetScene() is None or not self._logic.CanUndo():
            return False
        return all(modified_time(self.segmentation, name) == time for name, time in self._modified_times.items())

    def undo(self) -> None:
        """Undo the last step."""
        self._logic.Undo()

    def default_labelmap(self) -> Any:
        """An empty labelmap in the segmentation's geometry."""
        return self._logic.GetModifierLabelmap() if self._logic.ResetModifierLabelmapToDefault() else None

    def modify(self, labelmap: slicer.vtkOrientedImageData, adds: bool, segment_id: str | None = None) -> None:
        """Add to the segment, or to another one, or remove from it.

        Args:
            labelmap: the voxels, in the segmentation's RAS.
            adds: whether they are added; else they are removed.
            segment_id: of the other segment; None for that of this target.
        """
        mode = self._logic.ModificationModeAdd if adds else self._logic.ModificationModeRemove
        self._logic.ModifySegmentByLabelmap(
            self.segmentation, segment_id or self.segment_id, labelmap, mode, list(labelmap.GetExtent()), True, False
        )
        changed = {*self._modified_times, segment_id or self.segment_id}
        self._modified_times = {name: modified_time(self.segmentation, name) for name in changed}


class UndoStep:
    """Saves the state for undo once, before the first of several changes."""

    def __init__(self, target: SegmentTarget) -> None:
        """Save nothing yet."""
        self._target, self._is_saved = target, False

    def begin(self) -> bool:
        """Save the state if it was not saved; returns whether it was saved now."""
        if self._is_saved:
            return False
        self._is_saved = True
        self._target.save_state()
        return True


class SingleUndoTarget:
    """A target to which several masks are written as one undo step, maybe together with other targets."""

    def __init__(self, target: SegmentTarget, step: UndoStep | None = None) -> None:
        """Save nothing before the first change; `step` is that of all targets together."""
        self._target, self._step = target, step or UndoStep(target)
        self.segmentation, self.segment_id = target.segmentation, target.segment_id

    def save_state(self) -> None:
        """Begin the undo step, if it has not begun."""
        self._step.begin()

    def __getattr__(self, name: str) -> Any:
        """Get any other attribute from the target."""
        return getattr(self._target, name)
