"""What the effect shows in its status line: of masks that are shown, of what was accepted, and how long it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.effect.dry_run import DryRun
from SAMMed2DSlicer.effect.preview import ShownMask
from SAMMed2DSlicer.inference.request_queue import PendingPrediction
from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup
from SAMMed2DSlicer.scene.segment_writer import WriteResult, losses_text, outside_text
from SAMMed2DSlicer.widgets.messages import INFO, WARNING
from SAMMed2DSlicer.widgets.status_line import MaskScore


@dataclass(frozen=True)
class Status:
    """One line for the user, of one of the levels of `messages`, and the score of the mask that it is about."""

    text: str = ""
    level: str = INFO
    score: MaskScore | None = None


class CurrentStatus:
    """The text of the status line, and what it is about."""

    def __init__(self) -> None:
        """Begin with nothing to tell."""
        self.shown = Status()
        self._event: Status | None = None  # what has happened last, as long as it holds
        self._place: Any = None
        self._group: PromptGroup | None = None
        self._is_of_masking = False
        self._changed_at: int | None = None

    def notify(
        self,
        status: Status,
        place: Any,
        group: PromptGroup | None = None,
        changed_at: int | None = None,
        is_of_masking: bool = False,
    ) -> None:
        """Show what has happened.

        Args:
            status: for the user.
            place: where it holds, see `EditorSnapshot.place`.
            group: the prompt group that it is about, if it is about one that is in view.
            changed_at: when the segment was changed, if it is about that change.
            is_of_masking: whether it holds for the present masking only.
        """
        self._event = self.shown = status
        self._place, self._group = place, group
        self._changed_at, self._is_of_masking = changed_at, is_of_masking

    def expire(self) -> None:
        """Drop the event that is shown."""
        self._event = None

    def masking_changed(self) -> None:
        """Drop the event if it tells about masking."""
        if self._is_of_masking:
            self._event = None

    def segment_changed(self, changed_at: int) -> None:
        """Drop the event if it tells about the segment before it was changed; `changed_at` is from `modified_time`."""
        if self._changed_at not in (None, changed_at):
            self._event = None

    def group_changed(self, group: PromptGroup) -> None:
        """Drop the event if it tells about this group."""
        if self._group is group:
            self._event = None

    def update(
        self,
        place: Any,
        masks: Sequence[ShownMask],
        in_view: Collection[PromptGroup],
        predicted: Collection[PromptGroup],
    ) -> None:
        """Show what has happened last while it is about what is shown, and else what Enter would accept.

        Args:
            place: what is worked on, see `EditorSnapshot.place`.
            masks: the masks that wait to be accepted, of the selected segment.
            in_view: prompt groups on the slices that are shown.
            predicted: those whose predictions wait to be accepted, of all segments.
        """
        group = self._group
        if self._place != place or (group is not None and group not in in_view and group not in predicted):
            self._event = None
        status = of_masks(masks, in_view) if self._event is None else self._event
        if status != self.shown:  # an equal one is kept as it is
            self.shown = status


def of_masks(masks: Sequence[ShownMask], in_view: Collection[PromptGroup]) -> Status:
    """Say what Enter would accept.

    Args:
        masks: those that wait for it, of the selected segment.
        in_view: prompt groups on the slices that are shown.
    """
    if not masks:
        return Status()
    group, pending, found = masks[-1].group, masks[-1].prediction, masks[-1].dry_run
    level, score = INFO, None
    if len(masks) > 1:
        text = _("{count} masks on {slices}. Enter accepts all of them, Esc clears.").format(
            count=len(masks), slices=_listed([mask.group for mask in masks])
        )
    elif group not in in_view:
        text = _("The mask on {slice} is not accepted yet: Enter accepts, Esc clears.").format(slice=group.slice_text())
    elif found is not None and found.is_nothing:
        text, level = nothing_text(pending, found), WARNING
    elif found is not None and found.corrects and not (found.added or found.removed):
        text = _("{size}; nothing would change. Click farther out, or farther in; Esc clears.")
        text = text.format(size=_size(pending, found))
    else:
        score = MaskScore(pending.result.score, pending.result.grade)
        about = "; ".join(filter(None, (_size(pending, found), score.word)))
        text = _("{about}. Enter accepts, Esc clears.").format(about=about)
        if len(pending.result.candidates) > 1:
            words = _("Mask {number} of {count} (others: K, L).")
            count = len(pending.result.candidates)
            text = words.format(number=pending.result.candidate, count=count) + " " + text
    taken: Counter[str] = Counter()
    for mask in masks:
        taken.update({} if mask.dry_run is None else mask.dry_run.lost)
    if taken:
        text, level = text + " " + _taken_text(group.segmentation, taken), WARNING
    lost = sum(mask.group.lost_points for mask in masks)
    if lost:
        template = (
            _("1 point was moved off this slice and does not count.")
            if lost == 1
            else _("{count} points were moved off this slice and do not count.")
        )
        text += " " + template.format(count=lost)
    return Status(text, level, score)


def _taken_text(segmentation: slicer.vtkMRMLSegmentationNode, taken: Mapping[str, int]) -> str:
    """What accepting would take from other segments: "It takes 120 voxels from B, 3 voxels from C"."""
    parts = []
    for segment_id, count in taken.items():
        text = _("{count} voxel from {name}") if count == 1 else _("{count} voxels from {name}")
        segment = segmentation.GetSegmentation().GetSegment(segment_id)
        parts.append(text.format(count=f"{count:,}", name=segment.GetName() if segment is not None else segment_id))
    return _("It takes {parts}.").format(parts=", ".join(parts))


def no_candidate_text(count: int, is_larger: bool) -> str:
    """Why there is no other mask to be shown."""
    if count <= 1:
        return _("The prompts mean one mask only: click where it goes wrong.")
    words = _("This is the largest of {count} masks.") if is_larger else _("This is the smallest of {count} masks.")
    return words.format(count=count)


def nothing_text(pending: PendingPrediction, found: DryRun) -> str:
    """Why nothing of a mask can be written, and what to do."""
    text = (
        _("{size}: nothing would be written. Change the masking, or clear the prompts with Esc.")
        if found.inside
        else _(
            "{size}: nothing would be written. Extend it with Specify geometry, beside the source volume, or clear the "
            "prompts with Esc."
        )
    )
    return text.format(size=_size(pending, found))


def _size(pending: PendingPrediction, found: DryRun | None) -> str:
    """How large a mask is, how much of it would be written and why not all, and what a correction changes."""
    pixels = int(pending.result.mask.sum())
    text = _("{pixels} px").format(pixels=f"{pixels:,}")
    limits = [] if found is None else _limits(found)
    if found is not None and limits:
        template = (
            _("{pixels} px found, {count} inside {limits}")
            if found.meant == pixels
            else _("{pixels} px found, {count} of {meant} voxels inside {limits}")
        )
        text = template.format(
            pixels=f"{pixels:,}", count=f"{found.in_range:,}", meant=f"{found.meant:,}", limits=_and(limits)
        )
    if found is not None and found.corrects:
        text += ": " + _("{added} added, {removed} removed").format(
            added=f"{found.added:,}", removed=f"{found.removed:,}"
        )
    return text


def _limits(found: DryRun) -> list[str]:
    """What keeps a part of a mask from being written."""
    limits = []
    if found.inside < found.meant:
        limits.append(_("the segmentation's geometry"))
    if found.editable < found.inside:
        limits.append(_("the editable area"))
    if found.in_range < found.editable:
        limits.append(_("the intensity range"))
    return limits


@dataclass(frozen=True)
class Accepted:
    """What came of writing one mask, and how many pixels it has."""

    written: WriteResult
    shown_px: int


def of_acceptance(
    segmentation: slicer.vtkMRMLSegmentationNode, accepted: Sequence[Accepted], failures: Sequence[str]
) -> Status:
    """Say what came of one acceptance of one or several objects.

    Args:
        segmentation: the segmentation node.
        accepted: what was written, for each of them.
        failures: why others were not.
    """
    written = [result.written for result in accepted]
    parts = [_of_written(written)] if written else []
    warnings = list(dict.fromkeys(failures))  # the same reason once
    lost: Counter[str] = Counter()
    for result in written:
        lost.update(result.lost)
    if lost:
        losses = losses_text(segmentation, lost)
        warnings.append(_("{losses}; Undo takes it back.").format(losses=losses))
    outside_px = sum(result.outside_px for result in written)
    if outside_px:
        warnings.append(outside_text(outside_px, sum(result.shown_px for result in accepted)))
    return Status(" ".join(parts + warnings), WARNING if warnings else INFO)


def _of_written(written: Sequence[WriteResult]) -> str:
    changed = sum(result.changed for result in written)
    if not changed:
        return _(
            "Accepted, but no voxel changed: the segment had them already, or masking (editable area, intensity range) "
            "excludes them."
        )
    text = (
        _("Accepted: {changed} voxels changed.")
        if len(written) == 1
        else _("Accepted {count} objects: {changed} voxels changed.")
    ).format(count=len(written), changed=f"{changed:,}")
    if any(result.previous_edit_remains for result in written):
        text += " " + _("The segment was changed in between, so nothing was taken back.")
    return text


def _listed(groups: Collection[PromptGroup]) -> str:
    """The slices of some prompt groups, each once."""
    return _and(list(dict.fromkeys(group.slice_text() for group in groups)))


def _and(parts: Sequence[str]) -> str:
    if len(parts) == 1:
        return parts[0]
    return _("{first} and {last}").format(first=", ".join(parts[:-1]), last=parts[-1])
