"""Brings prompt groups, views, predictions and the status in line with the scene, from events to what is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.effect.acceptance import Acceptance
from SAMMed2DSlicer.effect.candidate_chooser import CandidateChooser
from SAMMed2DSlicer.effect.context.editor_snapshot import EditorReader, EditorSnapshot
from SAMMed2DSlicer.effect.context.group_state import PromptGroupState
from SAMMed2DSlicer.effect.context.scene_observer import SceneObserver
from SAMMed2DSlicer.effect.display import EffectDisplay, EffectState, changed_at
from SAMMed2DSlicer.effect.objects.object_segments import ObjectSegments
from SAMMed2DSlicer.effect.panel.status_text import no_candidate_text
from SAMMed2DSlicer.inference.prefetch import SlicePrefetcher
from SAMMed2DSlicer.inference.request_queue import PendingPrediction, Request, RequestQueue
from SAMMed2DSlicer.inference.service import InferenceService
from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup
from SAMMed2DSlicer.scene import volumes
from SAMMed2DSlicer.scene.edit_history import EditHistory
from SAMMed2DSlicer.scene.slice_views import renders_once
from SAMMed2DSlicer.widgets import messages
from SAMMed2DSlicer.widgets.messages import ERROR, INFO, WARNING

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane
    from SAMMed2DLib.inference.prompts import Prompts


class EffectUpdater:
    """Looks at what has changed, has it predicted, and shows what came of it.

    It is the listener of its `SceneObserver`.
    """

    def __init__(
        self,
        effect: slicer.qSlicerSegmentEditorScriptedEffect,
        service: InferenceService,
        edit_history: EditHistory,
        on_changed: Callable[[EffectState], None],
        on_closed: Callable[[], None],
    ) -> None:
        """Prepare; nothing is observed before `start`.

        Args:
            effect: the qSlicerSegmentEditorScriptedEffect.
            service: predicts.
            edit_history: what each group has added to its segment; it outlives this object.
            on_changed: called with the state when the status, the groups or the predictions have changed.
            on_closed: called when the scene was closed.
        """
        self._service, self._edit_history, self._on_closed = service, edit_history, on_closed
        self.editor = EditorReader(effect)
        self._prompts: dict[PromptGroup, Prompts | None] = {}  # those that were read in this event
        self.groups = PromptGroupState(edit_history)
        self.acceptance = Acceptance(effect, self.groups, edit_history)
        self.requests = RequestQueue(
            service, self._request_of, self._predicted, self._failed, lambda: self.display.show_coarse()
        )
        self.display = EffectDisplay(effect, self.editor, self.groups, self.acceptance, self.requests, on_changed)
        self.candidates = CandidateChooser(
            self.requests, self._present_request_of, self._candidates_found, self._candidate_chosen
        )
        self.prefetcher = SlicePrefetcher(
            service,
            self._slice_to_prefetch,
            lambda plane: _image_of(plane, self.editor.take()),
            lambda: self.editor.take().options.zoom,
        )
        self.observer = SceneObserver(effect, self.editor, self.groups, self)
        self.segments = ObjectSegments(self.editor, self.groups)
        # Whether a mask corrects a whole object that waits to be accepted, and the groups that did.
        self.takes_correction: Callable[[SlicePlane, np.ndarray], bool] = lambda plane, mask_hw: False
        self.corrections: dict[PromptGroup, None] = {}
        self.accepts_next = False  # as soon as the predictions are there

    def start(self) -> None:
        """Show the prompts and predict those in view."""
        self.observer.start()
        self.display.views.open()
        self.observer.is_stale = True
        self.refresh()

    @renders_once
    def stop(self) -> None:
        """Hide the prompts and leave nothing behind but their nodes."""
        if not self.observer.is_active:
            return
        self.observer.stop()
        self.drop_requests()
        self.display.close()
        self.groups.clear()
        self.acceptance.clear()
        self.candidates.clear()

    def close(self) -> None:
        """Stop, and forget what was written, since the scene closes."""
        self.stop()
        self._edit_history.clear()
        self._on_closed()

    # What the scene tells

    def begin(self) -> EditorSnapshot:
        """Take the snapshot of the editor by which all else goes in the present event."""
        self._prompts = {}
        now = self.display.begin()
        self.requests.in_order = now.options.new_segments
        return now

    @renders_once
    def refresh(self) -> None:
        """Bring groups, views and requests in line with the scene; after a view has moved, the views only."""
        if not self.observer.is_active or self.editor.node is None:
            return
        self.observer.refresh_begins()
        now = self.begin()
        observer = self.observer
        if observer.is_stale or observer.is_segment_stale:  # masking, or what it goes by, may have changed
            self.acceptance.masking_changed()
            self.display.status.masking_changed()
        if observer.is_stale:
            observer.is_stale = False
            for group in self.groups.find(now.segmentation):
                self._forget(group)
            for group in self.groups.groups:
                observer.observe_group(group)
            observer.observe_context(now)
        if observer.is_segment_stale:
            observer.is_segment_stale = False
            for group in self.groups.follow_segment():
                self._drop_prediction(group)
            self.display.status.segment_changed(changed_at(self.display.now))
        self.groups.show(now)
        self.groups.touch(self.groups.in_view)
        self.note_changes()
        for group in self.groups.unpredicted(self.acceptance.predictions):
            self.requests.add(group)
        self.requests.submit_next(self.acceptance.predictions)
        self.display.draw()
        if now.options.accepts_at_once:  # predicted while another segment was selected
            pending = self.acceptance.pending(now)
            self.display.write([group for group in pending if not self.groups.is_undone(group)], closes=False)
        self.prefetcher.restart()
        self.display.publish()

    def look_at_changes(self) -> None:
        """Predict the groups whose prompts have changed."""
        if self.observer.is_active:
            self.begin()
            self.predict_changes()

    def predict_changes(self) -> None:
        """The same in the context of the present event."""
        self.note_changes()
        self.requests.submit_next(self.acceptance.predictions)
        self.display.publish()

    def image_changed(self) -> None:
        """Predict the shown predictions anew if the model sees another image."""
        for group in self.acceptance.pending(self.editor.take()):
            self.requests.add(group)

    def display_changed(self) -> bool:
        """Make dry runs anew, since masking may go by what is visible; returns whether a prediction is shown."""
        if self.acceptance.predictions:
            self.acceptance.masking_changed()
        return bool(self.acceptance.predictions)

    def end_corrections(self) -> None:
        """Take the prompts away that have corrected a whole object, which is written."""
        for group in list(self.corrections):
            self.remove(group)
        self.corrections.clear()

    def remove(self, group: PromptGroup) -> None:
        """Take a group of prompts away; what was written stays."""
        self.begin()
        self._remove(group)

    def note_changes(self) -> None:
        """Take over what has become of the prompts since the last call."""
        changes = self.groups.take_changes(self.display.now, self.observer.take_changed_nodes())
        self._prompts |= changes.to_predict
        for group in changes.empty:
            self._remove(group)
        for group in changes.to_predict:
            self.requests.add(group)
        for group in changes.settled:
            if group in self.acceptance.predictions:  # accepted in another Segment Editor
                self._drop_prediction(group)

    def _remove(self, group: PromptGroup) -> None:
        self._forget(group)
        self._edit_history.drop(group.key)
        group.remove()
        self.segments.discard(group)
        self.display.draw()
        self.display.publish()

    def _forget(self, group: PromptGroup) -> None:
        self.groups.forget(group)
        self.candidates.forget(group)
        self.display.changes.forget(group)
        self.acceptance.drop(group)
        self.requests.forget(group)

    def _drop_prediction(self, group: PromptGroup) -> None:
        """Show no prediction of a group, and wait for none."""
        self.requests.forget(group)
        if self.acceptance.drop(group):
            self.display.draw()
        self.display.status.group_changed(group)

    # Predictions

    def drop_requests(self) -> None:
        """Wait for no prediction."""
        self.requests.drop()
        self.prefetcher.stop()
        self.accepts_next = False

    def _request_of(self, group: PromptGroup) -> Request | None:
        now = self.display.now
        is_selected = group.volume is now.volume
        item = now.item if is_selected else volumes.sequence_item(group.volume)
        if group.item != item:
            return None  # its frame is not there to be looked at
        _check_size(group, now)
        image = volumes.model_image(group.volume, group.plane, now.options.intensity)
        prompts = self._prompts.get(group) or group.prompts(now.world_from_ijk if is_selected else None)
        return Request(group, prompts.checked(group.plane.size_hw), image, now.options.zoom, group.initial_mask_hw)

    @renders_once
    def _predicted(self, prediction: PendingPrediction) -> None:
        group = prediction.request.group
        if not self.observer.is_active or group not in self.groups.groups or group.is_empty:
            return
        now = self.begin()
        try:
            _check_size(group, now)
        except volumes.SceneError as error:
            self._failed(group, error)
            return
        if group.initial_mask_hw is None and not prediction.result.mask.any():
            self.acceptance.drop(group)
            text = _("The model finds nothing here: add a point on the structure, or a box.")
            self.display.notify(text, WARNING, group)
        elif group.initial_mask_hw is not None and np.array_equal(prediction.result.mask, group.initial_mask_hw):
            self.acceptance.drop(group)
            self.display.notify(_("The mask stays as it is: click farther out, or farther in."), WARNING, group)
        else:
            self.acceptance.set(group, prediction)
            if group.segment_id == now.segment_id and self.takes_correction(group.plane, prediction.result.mask):
                self.corrections[group] = None
            self.display.changes.note(group, prediction.result.mask)
            self.display.status.expire()
        is_shown = group in self.acceptance.predictions
        if is_shown and now.options.accepts_at_once and not self.groups.is_undone(group):
            self.display.write([group], closes=self.accepts_next)
        self.requests.submit_next(self.acceptance.predictions)
        if self.accepts_next and self.requests.running is None:  # for all predictions that were on their way
            self.accepts_next = False
            self.display.write(self.acceptance.pending(now))
        if is_shown:
            self.candidates.request(prediction)
        self.prefetcher.restart()
        self.display.publish(redraws=True)

    def _present_request_of(self, group: PromptGroup) -> Request | None:
        self.begin()
        return self._request_of(group)

    def _candidates_found(self, shown: PendingPrediction, prediction: PendingPrediction) -> None:
        if self.observer.is_active and self.acceptance.predictions.get(shown.request.group) is shown:
            self.acceptance.predictions[shown.request.group] = prediction
            self.begin()
            self.display.publish()

    @renders_once
    def take_candidate(self, steps: int) -> bool:
        """Show a larger one of the masks that the newest prompts in view may mean; a smaller one for negative steps.

        Returns:
            whether there are prompts in view that the user is not done with.
        """
        self.begin()
        last = self.candidates.step(self.groups.unfinished, steps)
        if last is not None:
            self.display.notify(no_candidate_text(len(last.result.candidates), steps > 0), INFO, last.request.group)
        return bool(self.groups.unfinished)

    def _candidate_chosen(self, prediction: PendingPrediction) -> None:
        self.note_changes()
        self.requests.forget(prediction.request.group)  # its prediction is there already
        self._predicted(prediction)

    def _failed(self, group: PromptGroup, error: BaseException) -> None:
        if not self.observer.is_active:
            return
        self.begin()
        self.accepts_next = False
        self.acceptance.drop(group)
        self.display.draw()
        of = None if isinstance(error, volumes.SceneError) else group  # what is wrong with the scene is of no group
        self.display.notify(messages.error_text(error), WARNING if isinstance(error, ValueError) else ERROR, of)
        self.requests.submit_next(self.acceptance.predictions)

    def _slice_to_prefetch(self) -> SlicePlane | None:
        if not (self.observer.is_active and self._service.state.is_ready and self.requests.running is None):
            return None
        now = self.editor.take()
        if not now.options.prefetches or self.display.last_view is None:
            return None
        return now.planes.get(self.display.last_view.mrmlSliceNode().GetLayoutName())


def _image_of(plane: SlicePlane, now: EditorSnapshot) -> np.ndarray:
    """What the model sees of a slice, (H, W, 3) uint8."""
    return volumes.model_image(now.volume, plane, now.options.intensity)


def _check_size(group: PromptGroup, now: EditorSnapshot) -> None:
    """Raise a SceneError if the image was replaced by one of another size: the group's slice is not in it."""
    size_ijk = now.size_ijk if group.volume is now.volume else None
    if (size_ijk or volumes.size_ijk(group.volume)) != group.plane.size_ijk:
        raise volumes.SceneError(
            _("The image has another size than when these prompts were given: clear them, and give new ones.")
        )
