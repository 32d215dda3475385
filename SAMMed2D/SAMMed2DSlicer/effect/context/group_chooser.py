"""Which prompt group a click or a box belongs to: one that is there, or a new one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from SAMMed2DLib.imaging.masks import is_on_mask
from SAMMed2DSlicer.effect.context.editor_snapshot import EditorReader, EditorSnapshot
from SAMMed2DSlicer.effect.context.group_state import PromptGroupState
from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup
from SAMMed2DSlicer.scene import volumes
from SAMMed2DSlicer.scene.edit_history import EditHistory
from SAMMed2DSlicer.scene.segment_reader import mask_on_slice


class GroupChooser:
    """Finds the prompt group for prompts that the user gives."""

    def __init__(
        self,
        effect: slicer.qSlicerSegmentEditorScriptedEffect,
        editor: EditorReader,
        groups: PromptGroupState,
        edit_history: EditHistory,
    ) -> None:
        """Prepare.

        Args:
            effect: the qSlicerSegmentEditorScriptedEffect.
            editor: reads the Segment Editor.
            groups: the groups that are there.
            edit_history: what each has added to its segment.
        """
        self._effect, self._editor, self._groups, self._edit_history = effect, editor, groups, edit_history

    def choose(
        self, now: EditorSnapshot, widget: Any, points_world: Sequence[np.ndarray], positive: bool | None = None
    ) -> PromptGroup:
        """The prompt group to which prompts in a view belong.

        It is the one that is not accepted yet; else, for a point that takes away, the one whose mask is there;
        else a new one, because what was accepted must not be lost to the next object. A new one corrects the mask that
        the segment has on the slice, of whatever origin, where a point is on it.

        Args:
            now: the context.
            widget: the slice view.
            points_world: (3,) mm each: a point, or two corners of a box.
            positive: the side of the point; None for a box.

        Raises:
            SceneError, GeometryError: there can be no prompt; the message says what to do.
        """
        _check_context(now)
        slice_node = widget.mrmlSliceNode()
        world_from_ijk = volumes.world_from_ijk(now.volume) if now.world_from_ijk is None else now.world_from_ijk
        plane = now.planes.get(slice_node.GetLayoutName()) or volumes.plane_shown(slice_node, now.volume)
        xy = plane.project_ras(np.array(points_world), world_from_ijk)[0]
        size_xy = np.array(plane.size_hw[::-1])
        low, high = (xy.min(axis=0), xy.max(axis=0)) if positive is None else (xy.max(axis=0), xy.min(axis=0))
        if (high < -0.5).any() or (low > size_xy - 0.5).any():
            raise volumes.SceneError(_("That is outside the image: click inside it."))
        if not self._is_segment_visible(now):
            raise volumes.SceneError(_("The segment is hidden: show it first."))
        segment_id = now.segment_id
        if positive is not False:
            if self._groups.starts_object and now.options.new_segments:
                self._add_segment(now)
                segment_id = self._editor.segment_id
            self._groups.starts_object = False
        self._groups.reopened = None
        owner = (now.segmentation, segment_id, now.volume, plane, now.item)
        here = [group for group in self._groups.groups if group.belongs_to(*owner)]
        still_open = next((group for group in here if not group.is_accepted), None)
        if still_open is not None:
            return still_open
        initial_mask_hw = None
        if positive is not None:
            mask_hw = mask_on_slice(now.volume, plane, now.segmentation, segment_id)
            is_on = is_on_mask(mask_hw, xy[0], widely=positive)
            accepted = None if positive else self._accepted_at(here, points_world[0], is_on)
            if accepted is not None:
                return accepted
            if not positive and mask_hw.any() and not is_on:
                raise volumes.SceneError(_("There is nothing to take away: click where the mask goes too far."))
            initial_mask_hw = mask_hw if is_on else None
        number = 1 + max((group.number for group in here), default=0)
        group = PromptGroup(*owner, number=number, initial_mask_hw=initial_mask_hw)
        group.show_in([slice_node.GetID()])
        return group

    def _accepted_at(self, groups: Sequence[PromptGroup], point_world: np.ndarray, is_on: bool) -> PromptGroup | None:
        """The accepted group that a point outside, (3,) mm, is about; None if it is about a mask of another origin.

        Beside all masks it is the nearest group; on a mask the one that wrote it, if that is as it was accepted.
        """
        if not is_on:
            return min(
                groups, key=lambda group: float(np.linalg.norm(group.middle_world() - point_world)), default=None
            )
        edits = ((group, self._edit_history.last_edit(group.key)) for group in groups)
        written = ((group, edit) for group, edit in edits if edit is not None and edit.contains(point_world))
        return next((group for group, edit in written if edit.is_unchanged()), None)

    def _is_segment_visible(self, now: EditorSnapshot) -> bool:
        display = now.segmentation.GetDisplayNode()
        if display is not None and not display.GetVisibility():
            return False
        return self._effect.confirmCurrentSegmentVisible() != self._effect.NotConfirmed

    def _add_segment(self, now: EditorSnapshot) -> None:
        segmentation = now.segmentation.GetSegmentation()
        name = segmentation.GetSegment(now.segment_id).GetName().rsplit(" #", 1)[0]
        numbers = {segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())}
        number = next(n for n in range(2, len(numbers) + 3) if f"{name} #{n}" not in numbers)
        self._editor.open_node.SetSelectedSegmentID(segmentation.AddEmptySegment("", f"{name} #{number}"))


def _check_context(now: EditorSnapshot) -> None:
    if now.volume is None or now.volume.GetImageData() is None:
        raise volumes.SceneError(_("There is no image: select a source volume."))
    if now.segmentation is None or not now.segment_id:
        raise volumes.SceneError(_("There is no segment: add one first."))
