"""What each prompt group has written, so that corrected prompts can take it back, and nothing else."""

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
    """The last edit of each prompt group, and what it left."""

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
        known_hw: np.ndarray | None = None,
    ) -> WriteResult:
        """Write a mask in place of what the same prompts had added.

        Args:
            key: of the prompt group.
            target: the segment.
            mask_hw: (H, W) bool, on the slice.
            plane: the slice, of this volume.
            volume: the volume node.
            known_hw: (H, W) bool, the mask that this one corrects, as in `write_mask`.

        Raises:
            SceneError: as in `write_mask`.
        """
        self._drop_closed()
        untouched = [edit for edit in self._edits_of(target) if edit.is_unchanged()]
        before, replaces = self._edits.get(key), self.replaceable(key)
        was_undone = before is not None and before.is_undone()
        written = write_mask(target, mask_hw, plane, volume, replaces, known_hw)
        for edit in untouched:
            edit.after = edit.current()  # what is written here is no touch of somebody else
        is_same = written.changed == 0 and replaces is not None  # what was added before is still what undo takes back
        if written.edit is not None and not is_same:
            self._edits[key] = written.edit
        previous_edit_remains = before is not None and replaces is None and not was_undone
        return replace(written, previous_edit_remains=previous_edit_remains)

    def replaceable(self, key: Any) -> VoxelPatch | None:
        """What the prompts of a group would take back, if they were accepted again now; None for nothing."""
        before = self._edits.get(key)
        return before.added if before is not None and before.is_unchanged() else None

    def last_edit(self, key: Any) -> SegmentEdit | None:
        """What a group has written last, as far as it is known."""
        return self._edits.get(key)

    def drop(self, key: Any) -> None:
        """Take nothing back for a group any more."""
        self._edits.pop(key, None)

    def clear(self) -> None:
        """Forget everything; for another scene."""
        self._edits.clear()

    def _drop_closed(self) -> None:
        """Hold no segmentation that was removed."""
        kept = {key: edit for key, edit in self._edits.items() if edit.segmentation.GetScene() is not None}
        self._edits = kept

    def _edits_of(self, target: SegmentTarget) -> list[SegmentEdit]:
        segment = (target.segmentation, target.segment_id)
        return [edit for edit in self._edits.values() if (edit.segmentation, edit.segment_id) == segment]


_shared = EditHistory()


def shared_edit_history() -> EditHistory:
    """The one of all Segment Editors: what one has accepted, another one may correct."""
    return _shared
