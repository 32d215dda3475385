"""What the effect shows: masks in slice views, the status, and the state that its panel gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import slicer

from SAMMed2DSlicer.effect.acceptance import Acceptance
from SAMMed2DSlicer.effect.change_marks import ChangeMarks
from SAMMed2DSlicer.effect.context.editor_snapshot import EditorReader, EditorSnapshot
from SAMMed2DSlicer.effect.context.group_chooser import ShownObject
from SAMMed2DSlicer.effect.context.group_state import PromptGroupState
from SAMMed2DSlicer.effect.panel.status_text import CurrentStatus, Status
from SAMMed2DSlicer.effect.preview import DrawnMask, ObjectMask, ShownMask, SliceViews
from SAMMed2DSlicer.inference.request_queue import CoarseMask, PendingPrediction, RequestQueue
from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup
from SAMMed2DSlicer.prompts.prompt_nodes import OPEN
from SAMMed2DSlicer.scene.segment_reader import modified_time
from SAMMed2DSlicer.scene.segmentations import segment_color
from SAMMed2DSlicer.scene.slice_views import renders_once
from SAMMed2DSlicer.widgets.messages import INFO


@dataclass(frozen=True, eq=False)
class EffectState:
    """What the effect has to show, handed to its panel as one value.

    Attributes:
        status: the status line's text.
        place: where it holds, see `EditorSnapshot.place`.
        groups: the prompt groups of the segmentation.
        predictions: those that wait to be accepted, of all segments.
        pending: the masks of the selected segment among them.
        pending_view: a view that shows the last of these; None if there is none.
        unfinished: groups of the selected segment, in view, that the user is not done with.
        can_clear: whether there are prompts in view, or such that are not accepted, that could be cleared.
        is_waiting: whether a prediction is on its way.
        has_coarse: whether its coarse mask is shown.
        has_new_prompts: whether there are prompts whose mask was never written, or that were changed since.
        has_object: whether a whole object waits to be accepted.
        proposals: how many objects are proposed.
        search_share: how much of the search for them is done, 0 .. 1; None while there is none.
        search_text: what is looked for, for the user.
    """

    status: Status
    place: Any
    groups: Sequence[PromptGroup]
    predictions: Mapping[PromptGroup, PendingPrediction]
    pending: Sequence[ShownMask]
    pending_view: Any
    unfinished: Sequence[PromptGroup]
    can_clear: bool
    is_waiting: bool
    has_coarse: bool
    has_new_prompts: bool
    has_object: bool = False
    proposals: int = 0
    search_share: float | None = None
    search_text: str = ""

    @property
    def has_open_work(self) -> bool:
        """Whether there is anything that Esc would end."""
        is_searching = self.search_share is not None
        return any((self.is_waiting, self.unfinished, self.pending, self.proposals, is_searching))


class EffectDisplay:
    """Draws predictions and shows the status, in the context of the present event.

    Attributes:
        now: the snapshot of the editor by which all goes in the present event.
        last_view: the slice view that was worked in last, or None.
        changes: marks what the last prompts have changed.
        proposals_of: gives objects that are proposed, to be drawn, for a snapshot.
        search_share: see `EffectState`.
        search_text: see `EffectState`.
        whole_object: one that waits to be accepted, or None.
    """

    def __init__(
        self,
        effect: slicer.qSlicerSegmentEditorScriptedEffect,
        editor: EditorReader,
        groups: PromptGroupState,
        acceptance: Acceptance,
        requests: RequestQueue,
        on_changed: Callable[[EffectState], None],
    ) -> None:
        """Begin without views.

        Args:
            effect: the qSlicerSegmentEditorScriptedEffect.
            editor: takes snapshots.
            groups: the prompt groups.
            acceptance: the predictions that wait to be accepted.
            requests: those that are on their way.
            on_changed: called with the state when the status, the groups or the predictions have changed.
        """
        self._editor, self._groups, self._acceptance, self._requests = editor, groups, acceptance, requests
        self._on_changed = on_changed
        self.now = editor.take()
        self.status = CurrentStatus()
        self.views = SliceViews(effect)
        self.changes = ChangeMarks(self._draw_without_marks)
        self.last_view: Any = None
        self.proposals_of: Callable[[EditorSnapshot], Sequence[DrawnMask]] = lambda now: ()
        self.search_share: float | None = None
        self.search_text = ""
        self.whole_object: ShownObject | None = None
        self._coarse: CoarseMask | None = None  # as it is drawn
        self._masks: list[ShownMask] | None = None  # those that wait to be accepted; None before they are looked at

    def close(self) -> None:
        """Leave the views as they were."""
        self.changes.clear()
        self.views.close()
        self.last_view = self._coarse = None

    def begin(self) -> EditorSnapshot:
        """Take the snapshot for the present event."""
        self.now, self._masks = self._editor.take(), None
        return self.now

    def write(self, groups: Sequence[PromptGroup], closes: bool = True) -> None:
        """Write the predictions of some groups, and tell what came of it; `closes`: the user is done with them."""
        result = self._acceptance.write(groups, self.now, closes)
        if result is not None:
            self.draw()
            self.status.notify(
                result.status, self.now.place, changed_at=changed_at(self.now), is_of_masking=result.is_blocked
            )
            self._hand_on()

    def draw(self) -> None:
        """Draw the predictions into the views."""
        self._masks = self._acceptance.shown_masks(self.now, self.changes)
        self._coarse = self._coarse_in_view()
        self.views.draw([*self._object_masks(), *self._coarse_masks(), *self._masks, *self.proposals_of(self.now)])

    @renders_once
    def show_coarse(self) -> None:
        """Show the coarse mask of what is being predicted, see `RequestQueue.coarse`."""
        self.begin()
        self.publish()

    def _coarse_in_view(self) -> CoarseMask | None:
        """The coarse mask to be drawn; none where a mask of the same prompts is shown."""
        found = self._requests.coarse
        if found is None or found.request.group in self._acceptance.predictions:
            return None
        return found if found.request.group in self._groups.in_view else None

    def _coarse_masks(self) -> list[ObjectMask]:
        if self._coarse is None or self.now.world_from_ijk is None:
            return []
        group = self._coarse.request.group
        color = segment_color(group.segmentation, group.segment_id)
        return [ObjectMask(group.plane, self._coarse.mask_hw, self.now.world_from_ijk, color)]

    def _object_masks(self) -> list[ObjectMask]:
        """What a whole object that waits to be accepted has on the slices shown."""
        now, found = self.now, self.whole_object
        if found is None or now.world_from_ijk is None:
            return []
        planes = dict.fromkeys(now.planes.values())
        return [ObjectMask(plane, found.mask_on(plane), now.world_from_ijk, now.color) for plane in planes]

    @renders_once
    def _draw_without_marks(self) -> None:
        self.begin()
        self.draw()

    def notify(
        self, text: str, level: str = INFO, group: PromptGroup | None = None, *, is_of_segment: bool = False
    ) -> None:
        """Show a text in the status line.

        Args:
            text: for the user.
            level: INFO, WARNING or ERROR.
            group: whom it is about; None, and groups that are not in view, for all.
            is_of_segment: it holds only until the selected segment is changed.
        """
        of = group if group in self._groups.in_view else None
        time = changed_at(self.now) if is_of_segment else None
        self.status.notify(Status(text, level), self.now.place, of, changed_at=time)
        self._hand_on()

    def publish(self, redraws: bool = False) -> None:
        """Show the state, and what has happened last only while it is about what is shown; draw it where it is new."""
        if redraws:
            self.draw()
        self.status.update(self.now.place, self._pending(), self._groups.in_view, self._acceptance.predictions)
        self._hand_on()

    def _pending(self) -> list[ShownMask]:
        """The masks that wait to be accepted; they are drawn anew whenever they change."""
        if self._masks is None:
            self._masks = self._acceptance.shown_masks(self.now, self.changes)
        return self._masks

    def _hand_on(self) -> None:
        if self._coarse is not self._coarse_in_view():  # it has come, or what it was of is waited for no longer
            self.draw()
        pending = self._pending()
        widgets = self._groups.in_view.get(pending[-1].group, []) if pending else []
        self._on_changed(
            EffectState(
                status=self.status.shown,
                place=self.now.place,
                groups=tuple(self._groups.groups),
                predictions=dict(self._acceptance.predictions),
                pending=pending,
                pending_view=self.last_view if self.last_view in widgets else next(iter(widgets), None),
                unfinished=self._groups.unfinished,
                can_clear=bool(self._groups.in_view or self._groups.still_open(self.now)),
                is_waiting=self._requests.running is not None,
                has_coarse=self._coarse is not None,
                has_new_prompts=any(self._is_new(group) for group in self._groups.still_open(self.now)),
                has_object=self.whole_object is not None,
                proposals=len(self.proposals_of(self.now)),
                search_share=self.search_share,
                search_text=self.search_text,
            )
        )

    def _is_new(self, group: PromptGroup) -> bool:
        return group.state == OPEN and not self._groups.is_undone(group)


def changed_at(now: EditorSnapshot) -> int:
    """When the voxels of the selected segment were changed last, a number that grows."""
    return modified_time(now.segmentation, now.segment_id) if now.segmentation is not None else 0
