"""Predictions that wait for the user, what accepting them would do, and writing them to their segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import slicer

from SAMMed2DSlicer.effect import dry_run
from SAMMed2DSlicer.effect.change_marks import ChangeMarks
from SAMMed2DSlicer.effect.context.editor_snapshot import EditorSnapshot
from SAMMed2DSlicer.effect.context.group_state import PromptGroupState, is_worked_on
from SAMMed2DSlicer.effect.context.parameters import begin_inside
from SAMMed2DSlicer.effect.dry_run import DryRun
from SAMMed2DSlicer.effect.panel import status_text
from SAMMed2DSlicer.effect.panel.status_text import Accepted, Status
from SAMMed2DSlicer.effect.preview import ShownMask
from SAMMed2DSlicer.inference.request_queue import PendingPrediction
from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup
from SAMMed2DSlicer.scene import volumes
from SAMMed2DSlicer.scene.edit_history import EditHistory
from SAMMed2DSlicer.scene.segment_reader import modified_time
from SAMMed2DSlicer.scene.segment_targets import EffectTarget, SegmentTarget, SingleUndoTarget, UndoStep
from SAMMed2DSlicer.scene.segment_writer import outside_text
from SAMMed2DSlicer.scene.segmentations import segment_color
from SAMMed2DSlicer.widgets import messages


@dataclass(frozen=True)
class AcceptanceResult:
    """What came of accepting.

    Attributes:
        status: for the user.
        is_blocked: whether masking kept a mask from being written, which waits for another masking.
    """

    status: Status
    is_blocked: bool


class Acceptance:
    """The predictions of prompt groups that are shown and not accepted yet."""

    def __init__(
        self, effect: slicer.qSlicerSegmentEditorScriptedEffect, groups: PromptGroupState, edit_history: EditHistory
    ) -> None:
        """Begin without predictions.

        Args:
            effect: the qSlicerSegmentEditorScriptedEffect.
            groups: the prompt groups.
            edit_history: what each group has added to its segment.
        """
        self._effect, self._groups, self._edit_history = effect, groups, edit_history
        self.predictions: dict[PromptGroup, PendingPrediction] = {}
        self._dry_runs: dict[PromptGroup, DryRun | None] = {}
        self._changed_at: dict[PromptGroup, int] = {}  # when the segments of these were changed last
        self._shown: dict[PromptGroup, ShownMask] = {}  # as they were shown last

    def pending(self, now: EditorSnapshot) -> list[PromptGroup]:
        """Groups that are worked on, of the frames that volumes show, whose predictions are shown.

        Those of the selected segment come last.
        """
        ours = [
            group
            for group in self.predictions
            if is_worked_on(group, now)
            and group.item == (now.item if group.volume is now.volume else volumes.sequence_item(group.volume))
        ]
        return sorted(ours, key=lambda group: group.segment_id == now.segment_id)

    def set(self, group: PromptGroup, prediction: PendingPrediction) -> None:
        """Show a prediction for a group."""
        self.predictions[group] = prediction
        self._dry_runs.pop(group, None)

    def drop(self, group: PromptGroup) -> bool:
        """Show nothing for a group; tells whether anything was."""
        self._dry_runs.pop(group, None)
        return self.predictions.pop(group, None) is not None

    def clear(self) -> None:
        """Show nothing."""
        self.predictions.clear()
        self._dry_runs.clear()
        self._shown.clear()

    def masking_changed(self) -> None:
        """Make dry runs anew when they are needed, since masking may have changed.

        Without masking those stay of which all would be written, to segments that are as they were: of many objects
        each takes its time.
        """
        kept = self._dry_runs if dry_run.is_unmasked(self._effect) else {}
        self._dry_runs = {
            group: found
            for group, found in kept.items()
            if found is not None and found.in_range == found.meant and not found.lost
            if self._changed_at[group] == _changed_at(group)
        }

    def dry_run_of(self, group: PromptGroup, world_from_ijk: np.ndarray | None = None) -> DryRun | None:
        """What accepting the prediction of a group would do; None if nothing can be written.

        Of groups that are not in view it is not found out: there may be many, and each takes some milliseconds.

        Args:
            group: its prompt group.
            world_from_ijk: (4, 4), mm, of its volume, from whoever has it.
        """
        if group not in self._groups.in_view:
            return None
        if group not in self._dry_runs:
            mask_hw, replaces = self.predictions[group].result.mask, self._edit_history.replaceable(group.key)
            try:
                place = (group.plane, group.volume, replaces, group.initial_mask_hw, world_from_ijk, group.segment_id)
                found = dry_run.dry_run(self._effect, mask_hw, *place)
            except ValueError:  # accepting says it
                found = None
            self._dry_runs[group], self._changed_at[group] = found, _changed_at(group)
        return self._dry_runs[group]

    def shown_masks(self, now: EditorSnapshot, marks: ChangeMarks) -> list[ShownMask]:
        """The masks that wait to be accepted, see `pending`, with what is marked of them."""
        masks = []
        for group in self.pending(now):
            world_from_ijk = now.world_from_ijk if group.volume is now.volume else None
            if world_from_ijk is None:
                world_from_ijk = volumes.world_from_ijk(group.volume)
            found = self.dry_run_of(group, world_from_ijk)
            color = segment_color(group.segmentation, group.segment_id)
            mask = ShownMask(group, self.predictions[group], found, world_from_ijk, color, marks.of(group))
            before = self._shown.get(group)
            masks.append(before if before is not None and before.is_same(mask) else mask)
        self._shown = {mask.group: mask for mask in masks}  # those that are the same are not drawn again
        return masks

    def write(self, groups: Sequence[PromptGroup], now: EditorSnapshot, closes: bool = True) -> AcceptanceResult | None:
        """Write the predictions of some groups, in one step of undo.

        Args:
            groups: those that are not worked on are left out.
            now: the context.
            closes: the user is done with them.

        Returns:
            What came of all of them; None if there was nothing to write.
        """
        undo_step = UndoStep(EffectTarget(self._effect))
        accepted: list[Accepted] = []
        failures: list[str] = []
        is_blocked = False
        for group in [group for group in groups if is_worked_on(group, now)]:
            found = self.dry_run_of(group)
            if found is not None and found.is_nothing and found.inside:  # it waits for another masking
                failures.append(status_text.nothing_text(self.predictions[group], found))
                is_blocked = True
                continue
            try:
                target = EffectTarget(self._effect, group.segment_id)
                accepted.append(self._write_one(group, SingleUndoTarget(target, undo_step)))
            except ValueError as error:
                failures.append(messages.error_text(error))
                continue
            self._groups.mark_written(group, closes)
            if closes:
                self.begin_next(now)
        if not accepted and not failures:
            return None
        return AcceptanceResult(status_text.of_acceptance(now.segmentation, accepted, failures), is_blocked)

    def begin_next(self, now: EditorSnapshot) -> None:
        """Let the next click be positive if the next prompts begin another object."""
        if now.options.new_segments:
            begin_inside(self._effect)

    def _write_one(self, group: PromptGroup, target: SegmentTarget) -> Accepted:
        """Write the prediction of a group.

        Raises:
            SceneError: nothing can be written; the prediction stays.
        """
        mask_hw = self.predictions[group].result.mask
        written = self._edit_history.write(group.key, target, mask_hw, group.plane, group.volume, group.initial_mask_hw)
        accepted = Accepted(written, int(mask_hw.sum()))
        if written.edit is None:
            raise volumes.SceneError(outside_text(written.outside_px, accepted.shown_px))
        self.predictions.pop(group)
        return accepted


def _changed_at(group: PromptGroup) -> int:
    return modified_time(group.segmentation, group.segment_id)
