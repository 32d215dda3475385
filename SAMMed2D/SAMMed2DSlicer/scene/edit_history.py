"""The last edit that each prompt group has written, so that changed prompts replace it and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from SAMMed2DSlicer.scene.segment_writer import SegmentEdit, WriteResult, write_mask

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane
    from SAMMed2DLib.imaging.voxel_patches import VoxelPatch
    from SAMMed2DSlicer.scene.segment_targets import SegmentTarget


class EditHistory:
    """The last `SegmentEdit` of each prompt group, by the key of the group."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._edits: dict[Any, SegmentEdit] = {}

    def write(
        self,
        key: Any,
        target: SegmentTarget,
        mask_hw: np.ndarray,
        plane: SlicePlane,
        volume: slicer.vtkMRMLScalarVolumeNode,
        initial_mask_hw: np.ndarray | None = None,
    ) -> WriteResult:
        """Write a mask in place of the voxels that the same prompt group had added.

        Args:
            key: of the prompt group.
            target: the segment.
            mask_hw: (H, W) bool, on the slice.
            plane: the slice, of this volume.
            volume: the volume node.
            initial_mask_hw: (H, W) bool, the mask that this one corrects, as in `write_mask`.

        Raises:
            SceneError: as in `write_mask`.
        """
        self._drop_closed()
        untouched = [edit for edit in self._edits_of(target) if edit.is_unchanged()]
        before, replaces = self._edits.get(key), self.replaceable(key)
        was_undone = before is not None and before.is_undone()
        written = write_mask(target, mask_hw, plane, volume, replaces, initial_mask_hw)
        for edit in untouched:
            edit.after = edit.current()  # a write through this history is not a change by others
        is_same = written.changed == 0 and replaces is not None  # undo still removes what was added before
        if written.edit is not None and not is_same:
            self._edits[key] = written.edit
        previous_edit_remains = before is not None and replaces is None and not was_undone
        return replace(written, previous_edit_remains=previous_edit_remains)

    def replaceable(self, key: Any) -> VoxelPatch | None:
        """The voxels that a new mask of a group would replace; None if there are none, or others changed them."""
        before = self._edits.get(key)
        return before.added if before is not None and before.is_unchanged() else None

    def last_edit(self, key: Any) -> SegmentEdit | None:
        """The last edit of a group; None if unknown."""
        return self._edits.get(key)

    def drop(self, key: Any) -> None:
        """Drop the edit of a group: it is not replaced any more."""
        self._edits.pop(key, None)

    def clear(self) -> None:
        """Drop all edits; for another scene."""
        self._edits.clear()

    def _drop_closed(self) -> None:
        """Drop edits of segmentations that were removed."""
        kept = {key: edit for key, edit in self._edits.items() if edit.segmentation.GetScene() is not None}
        self._edits = kept

    def _edits_of(self, target: SegmentTarget) -> list[SegmentEdit]:
        segment = (target.segmentation, target.segment_id)
        return [edit for edit in self._edits.values() if (edit.segmentation, edit.segment_id) == segment]


_shared = EditHistory()


def shared_edit_history() -> EditHistory:
    """The history of all Segment Editors: one may correct what another has accepted."""
    return _shared
