"""What the user does with prompts: adds, accepts, clears and removes them, and goes to their slices; no widgets.

A prompt group is predicted when it changes or comes into view; the newest request wins. Its prediction is shown until
it is accepted. All of it is kept in the groups' nodes, so that a saved scene goes on where it was left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.effect.context.group_chooser import GroupChooser, ShownObject
from SAMMed2DSlicer.effect.display import EffectState
from SAMMed2DSlicer.effect.hover import HoverPreview
from SAMMed2DSlicer.effect.objects.prompt_undo import PromptUndo
from SAMMed2DSlicer.effect.objects.proposer import Proposer
from SAMMed2DSlicer.effect.panel.status_text import Status
from SAMMed2DSlicer.effect.preview import ViewPreview
from SAMMed2DSlicer.effect.updater import EffectUpdater
from SAMMed2DSlicer.inference.service import InferenceService
from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup
from SAMMed2DSlicer.prompts.prompt_nodes import WRITTEN
from SAMMed2DSlicer.scene import volumes
from SAMMed2DSlicer.scene.edit_history import EditHistory
from SAMMed2DSlicer.scene.slice_views import renders_once
from SAMMed2DSlicer.widgets import messages
from SAMMed2DSlicer.widgets.messages import WARNING


class EffectController:
    """The prompts of a segmentation while the effect is active."""

    def __init__(
        self,
        effect: slicer.qSlicerSegmentEditorScriptedEffect,
        service: InferenceService,
        on_changed: Callable[[EffectState], None],
        on_closed: Callable[[], None],
        edit_history: EditHistory,
    ) -> None:
        """Prepare; nothing is observed before `start`.

        Args:
            effect: the qSlicerSegmentEditorScriptedEffect.
            service: predicts.
            on_changed: called with the state when the status, the groups or the predictions have changed.
            on_closed: called when the scene was closed, and the work with it.
            edit_history: what each group has added to its segment; it outlives this object.
        """
        self.updater = EffectUpdater(effect, service, edit_history, on_changed, on_closed)
        self.editor, self.acceptance = self.updater.editor, self.updater.acceptance
        self.display = self.updater.display
        shown = self.acceptance.predictions
        self._chooser = GroupChooser(effect, self.updater.groups, edit_history, self.updater.segments, shown)
        self.hover = HoverPreview(effect, service, self._chooser, self.updater.begin)
        self.prompt_undo = PromptUndo(self.updater)
        self.proposer = Proposer(
            effect,
            self.updater,
            service,
            lambda widget, taken, give: self.add(widget, taken.points_world, taken.side, give, True),
        )

    @property
    def is_active(self) -> bool:
        """Whether prompts are shown."""
        return self.updater.observer.is_active

    @property
    def last_view(self) -> Any:
        """The slice view that was worked in last, or None."""
        return self.display.last_view

    @property
    def status(self) -> Status:
        """What the user is told."""
        return self.display.status.shown

    @property
    def groups(self) -> list[PromptGroup]:
        """The prompt groups of the segmentation."""
        return self.updater.groups.groups

    @property
    def pending(self) -> list[PromptGroup]:
        """Groups that are worked on, of the frame that the volume shows, whose predictions are shown."""
        return self.acceptance.pending(self.editor.take())

    @property
    def is_waiting(self) -> bool:
        """Whether a prediction is on its way."""
        return self.updater.requests.running is not None

    # Life

    def start(self) -> None:
        """Show the prompts and predict those in view."""
        self.updater.start()

    def stop(self) -> None:
        """Hide the prompts and leave nothing behind but their nodes."""
        self.hover.leave()
        self.proposer.cancel()
        self.updater.stop()

    def show_object(self, found: ShownObject | None) -> None:
        """Show a whole object that waits to be accepted; None for none."""
        self.display.whole_object = self._chooser.whole_object = found
        if self.is_active:
            self.updater.begin()
            self.display.publish(redraws=True)

    def rebuild_views(self) -> None:
        """Draw into the views of the present layout."""
        self.hover.leave()
        if self.is_active:
            self.display.views.open()
            self.updater.observer.schedule_refresh()

    def view_entered(self, widget: Any) -> None:
        """Prefetch the slices of a slice view from now on."""
        self.display.last_view = widget
        self.updater.prefetcher.restart()

    def view_moved(self) -> None:
        """Follow a slice view that moved."""
        self.hover.leave()
        self.updater.observer.schedule_redraw()

    def preview_in(self, widget: Any) -> ViewPreview | None:
        """What is drawn into a view."""
        return self.display.views.preview(widget)

    # What the user does

    def add_point(self, widget: Any, xy: Sequence[float], positive: bool) -> bool:
        """Add a point where the user clicked.

        Args:
            widget: the slice view.
            xy: where, in px of the view.
            positive: whether the point lies on the object.

        Returns:
            whether it was added; if not, the status says why.
        """
        point_world = volumes.world_from_xy(widget.mrmlSliceNode(), xy)
        if positive and self.proposer.take_at(widget, point_world):
            return True
        with slicer.util.RenderBlocker():
            return self.add(widget, [point_world], positive, lambda group: group.add_point(point_world, positive))

    def set_box(self, widget: Any, start_xy: Sequence[float], end_xy: Sequence[float]) -> bool:
        """Set the box that the user dragged.

        Args:
            widget: the slice view.
            start_xy: one corner, in px of the view.
            end_xy: the opposite corner, likewise.

        Returns:
            whether it was set; if not, the status says why.
        """
        corners = [volumes.world_from_xy(widget.mrmlSliceNode(), xy) for xy in (start_xy, end_xy)]
        with slicer.util.RenderBlocker():
            return self.add(widget, corners, None, lambda group: group.set_box(*corners))

    def add(
        self,
        widget: Any,
        points_world: Sequence[np.ndarray] | np.ndarray,
        positive: bool | None,
        add_to: Callable[[PromptGroup], None],
        begins_object: bool = False,
    ) -> bool:
        """Add a prompt to its group, and have it predicted.

        Args:
            widget: the slice view.
            points_world: (3,) mm each, in the scene: a point, the corners of a box, or the path of a stroke.
            positive: its side; None for a box, and for a lasso around the object.
            add_to: adds it to its group.
            begins_object: whether it begins another object, whatever is there.

        Returns:
            whether it was added; if not, the status says why.
        """
        from SAMMed2DLib.imaging.geometry import GeometryError

        updater = self.updater
        now = updater.begin()
        try:
            group = self._chooser.choose(now, widget, points_world, positive, begins_object)
        except (volumes.SceneError, GeometryError) as error:
            self.display.notify(messages.error_text(error), WARNING)
            return False
        if group.segment_id != now.segment_id:  # that of another object
            now = updater.begin()
        nodes = group.nodes
        add_to(group)
        self.display.last_view = widget
        self.prompt_undo.note(group)
        updater.groups.add(group)
        if group.nodes != nodes:
            updater.observer.observe_group(group)
        updater.groups.show(now)
        updater.predict_changes()
        if updater.accepts_next and not now.options.accepts_at_once:  # nobody has seen what this prompt gives
            updater.accepts_next = False
            text = _("Not accepted, as another prompt came: look at the mask, and press Enter again.")
            self.display.notify(text, WARNING)
        return True

    @renders_once
    def accept(self) -> None:
        """Write what is shown to the segment; waits for a prediction that is on its way."""
        updater = self.updater
        now = updater.begin()
        if self.is_waiting:
            updater.accepts_next = True
            self.display.notify(_("Accepted as soon as the answer is there."))
            return
        pending, unfinished = updater.acceptance.pending(now), updater.groups.unfinished
        if not pending and updater.groups.resume(unfinished):
            updater.refresh()  # predicts them; their masks are seen before they are accepted
            return
        if not pending and not unfinished:
            text = _("There is nothing to accept: click on the structure, or drag a box around it.")
            self.display.notify(text, WARNING)
        self.display.write(pending)
        for group in [group for group in updater.groups.unfinished if group.state == WRITTEN]:
            updater.groups.close(group)
            updater.acceptance.begin_next(now)
            self.display.notify(_("Done with this object: the next prompt begins another one."))

    def take_candidate(self, steps: int) -> bool:
        """Show a larger mask that the prompts may mean, a smaller one for -1; False where nothing is to be chosen."""
        return self.is_active and self.updater.take_candidate(steps)

    def cancel(self) -> None:
        """Wait for no prediction; prompts stay, and are predicted when they change, or by `accept`."""
        self.updater.begin()
        cancelled = self.updater.groups.cancel(self.acceptance.predictions)
        self.updater.drop_requests()
        kept = _("Cancelled. The prompts are still there: Enter asks again, Esc clears them.")
        self.display.notify(kept if cancelled else _("Cancelled."))

    @renders_once
    def clear(self) -> None:
        """Take away the prompts in view that were not accepted; else such on other slices; else all in view."""
        if self.proposer.clear():
            return
        now = self.updater.begin()
        self.updater.drop_requests()
        groups = self.updater.groups
        for group in groups.unfinished or groups.still_open(now) or list(groups.in_view):
            self.updater.remove(group)
        self.display.notify(_("Prompts were cleared; the segment is as it was."), is_of_segment=True)

    @renders_once
    def toggle_prompts(self) -> None:
        """Hide all prompts, or show them again; their masks stay as they are shown."""
        groups = self.updater.groups
        groups.are_hidden = not groups.are_hidden
        groups.show(self.updater.begin())
        self.display.notify(_("Prompts are hidden; H shows them.") if groups.are_hidden else _("Prompts are shown."))

    def remove(self, group: PromptGroup) -> None:
        """Take a group of prompts away; what was written stays."""
        self.updater.remove(group)

    def jump_to(self, group: PromptGroup) -> None:
        """Show the slice of a group, in its frame of a sequence, and select its segment."""
        volumes.show_sequence_item(group.volume, group.item)
        if group.segment_id != self.editor.segment_id:
            self.editor.open_node.SetSelectedSegmentID(group.segment_id)
        widget = self.editor.take().along(group.plane, self.last_view)
        if widget is not None:
            widget.mrmlSliceNode().JumpSliceByOffsetting(*group.middle_world())
            widget.sliceLogic().SnapSliceOffsetToIJK()
            self.display.last_view = widget
        self.updater.groups.reopened = group if group.is_accepted else None
        self.updater.refresh()

    def predict_again(self) -> None:
        """Predict all open groups anew, since the model or what it sees has changed."""
        self.proposer.cancel()
        self.updater.requests.drop()
        self.acceptance.clear()
        self.updater.candidates.clear()
        self.updater.groups.resume()
        self.updater.observer.is_stale = True
        self.updater.refresh()
