"""A segment for each object: made with its first prompt, named after the selected one, removed with its prompts."""

from __future__ import annotations

from SAMMed2DLib.proposals.names import numbered_names
from SAMMed2DSlicer.effect.context.editor_snapshot import EditorReader, EditorSnapshot
from SAMMed2DSlicer.effect.context.group_state import PromptGroupState
from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup
from SAMMed2DSlicer.scene.segment_reader import has_voxels
from SAMMed2DSlicer.scene.segmentations import segment_names


class ObjectSegments:
    """Makes segments for objects while each object gets one of its own."""

    def __init__(self, editor: EditorReader, groups: PromptGroupState) -> None:
        """Begin without segments.

        Args:
            editor: reads the Segment Editor, and selects the segments that are made.
            groups: the prompt groups.
        """
        self._editor, self._groups = editor, groups
        self._made: set[tuple[object, str]] = set()  # segmentation and segment

    def of_next_object(self, now: EditorSnapshot) -> str:
        """The segment of an object that begins now; the selected one, unless it has an object already."""
        return self._add(now) if self.begins_another(now) else now.segment_id

    def begins_another(self, now: EditorSnapshot) -> bool:
        """Whether an object that begins now gets another segment than the selected one."""
        has_prompts = any(group.segment_id == now.segment_id for group in self._groups.groups)
        is_accepted = self._groups.starts_object and has_voxels(now.segmentation, now.segment_id)
        return has_prompts or is_accepted

    def select(self, segment_id: str) -> None:
        """Select the segment of an object that is corrected."""
        if segment_id != self._editor.segment_id:
            self._editor.open_node.SetSelectedSegmentID(segment_id)

    def discard(self, group: PromptGroup) -> None:
        """Remove the segment that was made for a group whose prompts are gone, if it is still empty."""
        key = (group.segmentation, group.segment_id)
        is_in_use = any(key == (other.segmentation, other.segment_id) for other in self._groups.groups)
        if key not in self._made or is_in_use or group.segment_id not in segment_names(group.segmentation):
            return
        if has_voxels(*key):
            return
        self._made.discard(key)
        segments = group.segmentation.GetSegmentation()
        is_selected = self._editor.segmentation is group.segmentation and self._editor.segment_id == group.segment_id
        if is_selected:
            index = segments.GetSegmentIndex(group.segment_id)
            self.select(segments.GetNthSegmentID(index - 1 if index else 1))
        segments.RemoveSegment(group.segment_id)

    def _add(self, now: EditorSnapshot) -> str:
        segments, names = now.segmentation.GetSegmentation(), segment_names(now.segmentation)
        (name,) = numbered_names(names[now.segment_id], set(names.values()), 1)
        segment_id = segments.AddEmptySegment("", name)
        self._made.add((now.segmentation, segment_id))
        self.select(segment_id)
        return segment_id
