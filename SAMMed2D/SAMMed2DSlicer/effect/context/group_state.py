"""The prompt groups of the segmentation while the effect is active: which are in view, changed, undone, cancelled."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from SAMMed2DSlicer.prompts import prompt_groups
from SAMMed2DSlicer.prompts.box_shapes import BoxShapes
from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup
from SAMMed2DSlicer.prompts.prompt_history import note_acceptance
from SAMMed2DSlicer.prompts.prompt_nodes import ACCEPTED, OPEN, WRITTEN
from SAMMed2DSlicer.scene import volumes
from SAMMed2DSlicer.scene.edit_history import EditHistory
from SAMMed2DSlicer.scene.segment_reader import mask_on_slice

if TYPE_CHECKING:
    from SAMMed2DLib.inference.prompts import Prompts
    from SAMMed2DSlicer.effect.context.editor_snapshot import EditorSnapshot


@dataclass(frozen=True, eq=False)
class GroupChanges:
    """What has become of prompt groups since the last look.

    Attributes:
        empty: groups without prompts.
        to_predict: groups that are open, and whose prompts are new, with these; None where they cannot be read.
        settled: groups that are not open, and whose prompts are as they were.
    """

    empty: list[PromptGroup]
    to_predict: dict[PromptGroup, Prompts | None]
    settled: list[PromptGroup]


def is_worked_on(group: PromptGroup, now: EditorSnapshot) -> bool:
    """Whether a group is of the selected segment; with a segment for each object, also one that is not accepted."""
    if group.segment_id == now.segment_id:
        return True
    is_other_object = now.options.new_segments and group.segmentation is now.segmentation and not group.is_accepted
    return is_other_object and now.segmentation.GetSegmentation().GetSegment(group.segment_id) is not None


class PromptGroupState:
    """Knows each prompt group of the edited segmentation, and what the effect has to know of it."""

    def __init__(self, edit_history: EditHistory) -> None:
        """Begin without groups; `edit_history` knows what each has added to its segment."""
        self.groups: list[PromptGroup] = []
        self.in_view: dict[PromptGroup, list[Any]] = {}  # the widgets of the views that show each
        self.are_hidden = False  # the user wants to see none of them
        self.boxes = BoxShapes()
        self.starts_object = False  # the next prompt begins another object
        self.reopened: PromptGroup | None = None  # accepted, and chosen to be corrected
        self._edit_history = edit_history
        self._known: dict[PromptGroup, Prompts | str] = {}  # the prompts as they were when last looked at
        self._touched: set[PromptGroup] = set()  # to be looked at
        self._undone: dict[PromptGroup, str] = {}  # what they were before their voxels were taken out of the segment
        self._cancelled: set[PromptGroup] = set()  # not to be predicted until they change

    @property
    def unfinished(self) -> list[PromptGroup]:
        """Groups in view that the user is not done with; those of the selected segment come last."""
        return [group for group in self.in_view if not group.is_accepted]

    def still_open(self, now: EditorSnapshot) -> list[PromptGroup]:
        """Groups that are worked on and not accepted, in view or not."""
        return [group for group in self.groups if is_worked_on(group, now) and not group.is_accepted]

    def clear(self) -> None:
        """Hide all groups and forget them; their nodes stay."""
        for group in self.groups:
            group.show_in(())
        self.groups, self.in_view, self._known, self._undone = [], {}, {}, {}

    def add(self, group: PromptGroup) -> None:
        """Add a group, whose prompts have changed."""
        if group not in self.groups:
            self.groups.append(group)
        self._touched.add(group)

    def forget(self, group: PromptGroup) -> None:
        """Remove a group from the state; its nodes stay."""
        self.in_view.pop(group, None)
        self._known.pop(group, None)
        self._undone.pop(group, None)
        self.boxes.forget(group)
        self._cancelled.discard(group)
        self.groups = [other for other in self.groups if other is not group]

    def touch(self, groups: Iterable[PromptGroup]) -> None:
        """Let the next `take_changes` look at these groups, too."""
        self._touched.update(groups)

    def lose_node(self, node: Any) -> None:
        """Take a node that was removed from the scene out of its group."""
        for group in self.groups:
            if node is group.points or node is group.box or group.strokes.lose(node):
                group.points = None if group.points is node else group.points
                group.box = None if group.box is node else group.box
                self._touched.add(group)

    def find(self, segmentation: Any) -> list[PromptGroup]:
        """Take over groups whose nodes came into the scene; returns those that were known and are gone."""
        present = prompt_groups.find_groups(segmentation) if segmentation is not None else []
        known = {id(node): group for group in self.groups for node in group.nodes}
        groups: list[PromptGroup] = []
        for found in present:
            group = next((known[id(node)] for node in found.nodes if id(node) in known), found)
            group.points, group.box, group.strokes.nodes = found.points, found.box, found.strokes.nodes
            groups.append(group)
            group.follow_volume()
        gone = [group for group in self.groups if group not in groups]
        for group in gone:
            group.show_in(())
            self.forget(group)
        self.groups = groups
        return gone

    def show(self, now: EditorSnapshot) -> None:
        """Show each group that is worked on in the views of its slice, and no other one; see `is_worked_on`."""
        self.in_view = {}
        for group in sorted(self.groups, key=lambda group: group.segment_id == now.segment_id):
            is_ours = (group.volume, group.item) == (now.volume, now.item) and is_worked_on(group, now)
            widgets = now.showing(group.plane) if is_ours else []
            if widgets:
                self.in_view[group] = widgets
            elif group is self.reopened:
                self.reopened = None
            view_ids = [] if self.are_hidden else [widget.mrmlSliceNode().GetID() for widget in widgets]
            group.show(view_ids, group is self.reopened)

    def take_changes(self, now: EditorSnapshot, nodes: Collection[Any]) -> GroupChanges:
        """Find the groups whose prompts are not what they were; events also come where nothing has changed.

        Args:
            now: the context.
            nodes: nodes of prompts that have changed.
        """
        changes = GroupChanges([], {}, [])
        touched, self._touched = self._touched, set()
        touched.update(group for group in self.groups if any(node in nodes for node in group.nodes))
        for group in [group for group in self.groups if group in touched or group not in self._known]:
            prompts: Prompts | str | None
            try:
                prompts = group.read(now.world_from_ijk if group.volume is now.volume else None)
                if prompts is None:
                    changes.empty.append(group)
                elif prompts.box_xyxy is not None:
                    prompts = self.boxes.settled(group, prompts)
            except ValueError as error:
                prompts = str(error)
            if prompts is None:
                continue
            if self._known.get(group) != prompts:
                is_new = group not in self._known
                self._known[group] = prompts
                self._undone.pop(group, None)
                self._cancelled.discard(group)
                if not is_new:
                    group.set_state(OPEN)
                if not is_new or group.state == OPEN:
                    changes.to_predict[group] = None if isinstance(prompts, str) else prompts
            elif group.state != OPEN:
                changes.settled.append(group)
        return changes

    def unpredicted(self, predicted: Collection[PromptGroup]) -> list[PromptGroup]:
        """Groups in view that wait for a prediction."""
        return [
            group
            for group in self.in_view
            if group.state == OPEN and group not in predicted and group not in self._cancelled
        ]

    def cancel(self, predicted: Collection[PromptGroup]) -> list[PromptGroup]:
        """Predict no open group that has no prediction until it changes; returns these."""
        unanswered = [group for group in self.groups if group.state == OPEN and group not in predicted]
        self._cancelled.update(unanswered)
        return unanswered

    def resume(self, groups: Iterable[PromptGroup] | None = None) -> bool:
        """Predict cancelled groups again, all of them by default; tells whether there were any."""
        held = self._cancelled.copy() if groups is None else self._cancelled.intersection(groups)
        self._cancelled -= held
        return bool(held)

    def is_undone(self, group: PromptGroup) -> bool:
        """Whether a group's voxels were taken out of the segment again."""
        return group in self._undone

    def mark_written(self, group: PromptGroup, closes: bool) -> None:
        """Mark a group whose mask was written; with `closes` as accepted, too."""
        self._undone.pop(group, None)
        group.set_state(WRITTEN)
        if closes:
            self.close(group)
        elif group.strokes.is_last(sum(group.counts()[:2])):
            # As with a brush, the next stroke leaves alone what it does not touch.
            note_acceptance(group, True)

    def close(self, group: PromptGroup) -> None:
        """Mark a group as accepted; the next prompts begin another object."""
        group.set_state(ACCEPTED)
        note_acceptance(group, True)
        self.starts_object = True

    def follow_segment(self) -> list[PromptGroup]:
        """Compare groups with voxels that were changed elsewhere; returns groups whose predictions hold no longer."""
        return self._note_undone() + self._renew_corrected()

    def _note_undone(self) -> list[PromptGroup]:
        """Open groups whose voxels were removed from the segment; returns closed ones, whose voxels are back."""
        restored = []
        for group in self.groups:
            edit = self._edit_history.last_edit(group.key)
            if edit is None:
                continue
            if group.state != OPEN and edit.is_undone():
                self._undone[group] = group.state
                group.set_state(OPEN)
                note_acceptance(group, False)
            elif group in self._undone and edit.is_applied():
                group.set_state(self._undone.pop(group))
                note_acceptance(group, group.is_accepted)
                restored.append(group)
        return restored

    def _renew_corrected(self) -> list[PromptGroup]:
        """Read masks that are to be corrected anew if they were changed elsewhere before; returns their groups."""
        renewed = []
        for group in self.groups:
            if group.initial_mask_hw is None or group.state != OPEN:
                continue
            edit = self._edit_history.last_edit(group.key)
            if group.was_written if edit is None else edit.is_unchanged() or edit.is_undone():
                continue
            try:
                present_hw = mask_on_slice(group.volume, group.plane, group.segmentation, group.segment_id)
            except volumes.SceneError:  # accepting says it
                continue
            if not np.array_equal(present_hw, group.initial_mask_hw):
                group.correct(present_hw if present_hw.any() else None)
                renewed.append(group)
        return renewed
