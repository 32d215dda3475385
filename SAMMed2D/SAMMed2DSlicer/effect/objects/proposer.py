"""Proposals of the model that the user takes by a click, or refuses; nothing is written by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.effect.context.editor_snapshot import EditorSnapshot
from SAMMed2DSlicer.effect.objects.everything_task import EverythingTask
from SAMMed2DSlicer.effect.objects.search_task import SearchTask
from SAMMed2DSlicer.effect.objects.shown_proposal import ShownProposal
from SAMMed2DSlicer.effect.objects.similar_task import SimilarTask
from SAMMed2DSlicer.effect.updater import EffectUpdater
from SAMMed2DSlicer.inference.service import InferenceService
from SAMMed2DSlicer.inference.worker import TASK, Job
from SAMMed2DSlicer.scene import volumes
from SAMMed2DSlicer.scene.slice_views import renders_once
from SAMMed2DSlicer.widgets import messages
from SAMMed2DSlicer.widgets.messages import ERROR, INFO, WARNING

if TYPE_CHECKING:
    from SAMMed2DLib.proposals.ranking import Proposal
    from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup


class Proposer:
    """Searches in the background, shows what was found, and hands on what the user takes."""

    def __init__(
        self,
        effect: slicer.qSlicerSegmentEditorScriptedEffect,
        updater: EffectUpdater,
        service: InferenceService,
        begin_object: Callable[[Any, ShownProposal, Callable[[PromptGroup], None]], bool],
    ) -> None:
        """Begin without proposals.

        Args:
            effect: the qSlicerSegmentEditorScriptedEffect.
            updater: knows the context and shows the state.
            service: computes.
            begin_object: begins an object by a proposal in a slice view, with what gives its prompt to a group; tells
                whether it did.
        """
        self._effect, self._updater, self._service, self._begin_object = effect, updater, service, begin_object
        self._task: SearchTask | None = None
        self._job: Job | None = None
        self._place: tuple[Any, ...] = ()  # segmentation, volume and frame that the proposals are of
        self._proposals: list[ShownProposal] = []
        self._taken: dict[PromptGroup, ShownProposal] = {}  # those that are not accepted yet
        updater.display.proposals_of = self.shown

    @property
    def is_searching(self) -> bool:
        """Whether a search is going on."""
        return self._task is not None

    @property
    def proposals(self) -> list[Proposal]:
        """What was found and is neither taken nor refused, the most likely first; the first one is marked."""
        return [shown.proposal for shown in self._proposals]

    def search_similar(self) -> None:
        """Look for objects like the accepted ones, on the slice that is shown, or on all slices parallel to it."""
        self._search(SimilarTask)

    def search_all(self) -> None:
        """Look for all objects of the slice that is shown."""
        self._search(EverythingTask)

    def _search(self, kind: type[SearchTask]) -> None:
        updater = self._updater
        now = updater.begin()
        self.cancel()
        view = updater.display.last_view
        plane = now.planes.get(view.mrmlSliceNode().GetLayoutName()) if view is not None else None
        plane = plane or next(iter(now.planes.values()), None)
        if plane is None or not now.segment_id:
            updater.display.notify(_("Show a slice of the image, and choose a segment first."), WARNING)
            return
        pending = [(group.plane, shown.result.mask) for group, shown in updater.acceptance.predictions.items()]
        try:
            labelmap = self._effect.defaultModifierLabelmap()
            if labelmap is None:
                raise volumes.SceneError(_("The segmentation has no geometry: select a source volume for it."))
            self._task = kind(now, plane, labelmap, pending)
        except ValueError as error:
            updater.display.notify(messages.error_text(error), WARNING)
            return
        self._place = (now.segmentation, now.volume, now.item)
        self._advance(self._task)

    def cancel(self) -> None:
        """Search no more, and show no proposals."""
        if self._job is not None:
            self._job.cancel()
        was_searching, self._task, self._job = self._task is not None, None, None
        had_any, self._proposals = bool(self._proposals), []
        self._taken.clear()
        if had_any or was_searching:
            self._show()

    def clear(self) -> bool:
        """The same for Esc; tells whether there was anything."""
        if not (self.is_searching or self._proposals):
            return False
        was_searching = self.is_searching
        self._updater.begin()
        self.cancel()
        text = _("The search was cancelled.") if was_searching else _("The proposals were refused.")
        self._updater.display.notify(text)
        return True

    def take_at(self, widget: Any, point_world: np.ndarray) -> bool:
        """Take the proposal that a click, (3,) mm, in a slice view is on; tells whether there was one."""
        number = self._number_at(widget, point_world)
        if number is not None:
            self._take(number, widget)
        return number is not None

    def mark_at(self, widget: Any, xy: Sequence[int]) -> None:
        """Mark the proposal that the mouse is over, at view px: keys are about it, and a click takes it."""
        if not self._proposals:
            return
        number = self._number_at(widget, volumes.world_from_xy(widget.mrmlSliceNode(), xy))
        if number:
            self._updater.begin()
            self._proposals[0] = replace(self._proposals[0], is_marked=False)
            self._proposals.insert(0, self._proposals.pop(number))
            self._show()

    def _number_at(self, widget: Any, point_world: np.ndarray) -> int | None:
        """The number of the proposal at a place, the smallest one if one lies within another; None for none."""
        now = self._updater.editor.take()
        plane = now.planes.get(widget.mrmlSliceNode().GetLayoutName())
        if not self._proposals or plane is None or now.world_from_ijk is None or not self._is_here(now):
            return None
        xy = plane.project_ras(point_world[None], now.world_from_ijk)[0][0]
        x, y = (int(value) for value in np.floor(xy + 0.5))
        height, width = plane.size_hw
        if not (0 <= x < width and 0 <= y < height):
            return None
        on = [n for n, shown in enumerate(self._proposals) if shown.plane == plane and shown.proposal.mask[y, x]]
        return min(on, key=lambda n: self._proposals[n].area_px, default=None)

    def take(self) -> None:
        """Take the marked proposal."""
        if self._proposals:
            self._take(0, self._view_of_marked())
        else:
            self._say_nothing_marked()

    def refuse(self) -> None:
        """Refuse the marked proposal, and mark the next one."""
        self._updater.begin()
        if not self._proposals:
            self._say_nothing_marked()
            return
        del self._proposals[0]
        self._mark_next()

    def _take(self, number: int, widget: Any) -> None:
        shown = self._proposals.pop(number)

        def give(group: PromptGroup) -> None:
            shown.give_to(group)
            self._taken[group] = shown

        if widget is not None:
            self._begin_object(widget, shown, give)
        self._mark_next()

    def _say_nothing_marked(self) -> None:
        self._updater.begin()
        text = _("There is no proposal: J looks for all objects here, M for more like those that you have accepted.")
        self._updater.display.notify(text, WARNING)

    @renders_once
    def _mark_next(self) -> None:
        """Show the marked proposal, also if it is on another slice."""
        self._view_of_marked()
        self._show()

    def _view_of_marked(self) -> Any:
        """A view that shows the slice of the marked proposal; one is moved there if none does."""
        if not self._proposals:
            return None
        now = self._updater.editor.take()
        plane = self._proposals[0].plane
        showing = now.showing(plane)
        if showing:
            last = self._updater.display.last_view
            return last if last in showing else showing[0]
        widget = now.along(plane, self._updater.display.last_view)
        if widget is not None:
            widget.mrmlSliceNode().JumpSliceByOffsetting(*self._proposals[0].points_world[0])
            widget.sliceLogic().SnapSliceOffsetToIJK()
        return widget

    # The search

    def _advance(self, task: SearchTask) -> None:
        self._show()
        self._job = self._service.submit(task.advance, lambda more: self._advanced(task, more), self._failed, TASK)

    def _advanced(self, task: SearchTask, has_more: bool) -> None:
        if task is not self._task or not self._updater.observer.is_active:
            return
        try:
            task.check()
        except ValueError as error:
            self._failed(error)
            return
        if has_more:
            self._updater.begin()
            self._advance(task)
            return
        self._task = self._job = None
        self._updater.begin()
        world = task.world_from_ijk
        self._proposals = [ShownProposal(each, task.planes[each.slice_index], world) for each in task.found]
        self._tell(len(self._proposals), task)
        self._mark_next()

    def _tell(self, count: int, task: SearchTask) -> None:
        found = (
            _("1 proposal. Click takes it, or A; D refuses it, Esc too.")
            if count == 1
            else _("{count} proposals. A click takes one; A takes the marked one, D refuses it; Esc refuses all.")
        )
        text = found.format(count=count) if count else task.nothing_text
        self._updater.display.notify(text, INFO if count else WARNING)

    def _failed(self, error: BaseException) -> None:
        if self._task is None:
            return
        self._task = self._job = None
        self._updater.begin()
        self._updater.display.notify(messages.error_text(error), WARNING if isinstance(error, ValueError) else ERROR)

    def _show(self) -> None:
        """Hand on what is to be shown."""
        display, task = self._updater.display, self._task
        display.search_share = None if task is None else task.share
        display.search_text = "" if task is None else task.working_text
        display.publish(redraws=task is None)

    def shown(self, now: EditorSnapshot) -> list[ShownProposal]:
        """The proposals where they are now, the marked one first; none for another volume, segmentation or frame."""
        if now.world_from_ijk is None or not self._is_here(now):
            return []
        self._propose_again()
        if any(not np.array_equal(shown.world_from_ijk, now.world_from_ijk) for shown in self._proposals):
            self._proposals = [replace(shown, world_from_ijk=now.world_from_ijk) for shown in self._proposals]
        if self._proposals and not self._proposals[0].is_marked:
            self._proposals[0] = replace(self._proposals[0], is_marked=True)
        return self._proposals

    def _propose_again(self) -> None:
        """Propose anew what was taken, and taken back before it was accepted."""
        there = self._updater.groups.groups
        for group, shown in list(self._taken.items()):
            if group not in there or group.is_accepted:
                del self._taken[group]
            if group not in there:
                first = [replace(marked, is_marked=False) for marked in self._proposals[:1]]
                self._proposals[:1] = [replace(shown, is_marked=False), *first]

    def _is_here(self, now: EditorSnapshot) -> bool:
        return self._place == (now.segmentation, now.volume, now.item)
