"""What happens between prompts and segments: asking, showing, accepting; no widgets.

A set of prompts is asked for when it changes or comes into view; the newest request wins. Its answer is shown until
it is accepted. All of it is kept in the prompts' nodes, so that a saved scene goes on where it was left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from SAMMed2DLib.imaging.masks import is_on_mask
from SAMMed2DSlicer.effect import status_text
from SAMMed2DSlicer.effect.dry_run import DryRun, dry_run
from SAMMed2DSlicer.effect.parameters import EffectOptions, begin_inside
from SAMMed2DSlicer.effect.preview import ShownMask, SliceViews, ViewPreview
from SAMMed2DSlicer.effect.status_text import Accepted, Status
from SAMMed2DSlicer.inference.prefetch import SlicePrefetcher
from SAMMed2DSlicer.inference.request_queue import PendingPrediction, Request, RequestQueue
from SAMMed2DSlicer.inference.service import InferenceService
from SAMMed2DSlicer.prompts import prompt_groups
from SAMMed2DSlicer.prompts.box_shapes import BoxShapes
from SAMMed2DSlicer.prompts.prompt_groups import ACCEPTED, OPEN, WRITTEN, PromptGroup
from SAMMed2DSlicer.scene import protection, segmentations, volumes
from SAMMed2DSlicer.scene.segment_reader import changed_at, has_voxels, mask_on_slice
from SAMMed2DSlicer.scene.segment_targets import EffectTarget, OneStep, SegmentTarget
from SAMMed2DSlicer.scene.segment_writer import outside_text
from SAMMed2DSlicer.scene.slice_views import drawn_once, plane_in, slice_widgets
from SAMMed2DSlicer.scene.write_history import WriteHistory
from SAMMed2DSlicer.widgets import messages
from SAMMed2DSlicer.widgets.messages import ERROR, INFO, WARNING
from SAMMed2DSlicer.widgets.timers import single_shot

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane
    from SAMMed2DLib.inference.prompts import Prompts


class EffectController(VTKObservationMixin):
    """The prompts of a segmentation while the effect is active."""

    def __init__(
        self,
        effect: slicer.qSlicerSegmentEditorScriptedEffect,
        service: InferenceService,
        options: Callable[[], EffectOptions],
        on_changed: Callable[[], None],
        on_closed: Callable[[], None],
        write_history: WriteHistory,
    ) -> None:
        """Prepare; nothing is observed before `start`.

        Args:
            effect: the qSlicerSegmentEditorScriptedEffect.
            service: answers.
            options: what the user has chosen.
            on_changed: called when the status, the sets or the answers have changed.
            on_closed: called when the scene was closed, and the work with it.
            write_history: what each set has added to its segment; it outlives this object.
        """
        VTKObservationMixin.__init__(self)
        self._effect, self._service, self._options = effect, service, options
        self._on_changed, self._on_closed = on_changed, on_closed
        self.status = Status()
        self.groups: list[PromptGroup] = []
        self.is_active = False
        self.last_view: Any = None
        self._answers: dict[PromptGroup, PendingPrediction] = {}
        self._dry_runs: dict[PromptGroup, DryRun | None] = {}  # what accepting these answers would do
        self._known: dict[PromptGroup, Any] = {}  # the prompts as they were when last looked at
        self._write_history = write_history
        self._touched: set[PromptGroup] = set()  # to be looked at
        self._undone: dict[PromptGroup, str] = {}  # what they were before their voxels were taken out of the segment
        self._in_view: dict[PromptGroup, list[Any]] = {}
        self._accepts_next = False
        self._starts_object = False
        self._selected = ""
        self._is_stale = self._is_segment_stale = True
        self._image_mtime = 0
        self._event: Status | None = None  # what has happened last, as long as it holds
        self._said_at: Any = None
        self._said_of: PromptGroup | None = None
        self._is_said_of_masking = False
        self._said_time: int | None = None  # when the segment was changed, where what was said is about that change
        self._boxes = BoxShapes()
        self._reopened: PromptGroup | None = None  # accepted, and chosen to be corrected
        self._cancelled: set[PromptGroup] = set()  # not to be asked for until they change
        self._views = SliceViews(effect)
        self._requests = RequestQueue(service, self._request_of, self._answered, self._failed)
        self._prefetcher = SlicePrefetcher(service, self._slice_to_prepare, self._picture)
        self._later = single_shot(0, self._look_at_changes)
        self._redraw = single_shot(0, self._refresh)

    # The context

    @property
    def segmentation(self) -> Any:
        """The segmentation that is edited, or None."""
        node = self._effect.parameterSetNode()
        return node.GetSegmentationNode() if node is not None else None

    @property
    def volume(self) -> Any:
        """The volume that is looked at, or None."""
        node = self._effect.parameterSetNode()
        return node.GetSourceVolumeNode() if node is not None else None

    @property
    def segment_id(self) -> str:
        """The selected segment; empty if there is none."""
        segmentation = self.segmentation
        selected = protection.editor_node(self._effect).GetSelectedSegmentID() if segmentation is not None else None
        return selected if selected and segmentation.GetSegmentation().GetSegment(selected) else ""

    @property
    def pending(self) -> list[PromptGroup]:
        """Sets of the selected segment, of the frame that the volume shows, whose answers are shown."""
        ours = [one for one in self._answers if one.segment_id == self.segment_id]
        return [one for one in ours if one.item == volumes.sequence_item(one.volume)]

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is on its way."""
        return self._requests.is_waiting

    @property
    def unfinished(self) -> list[PromptGroup]:
        """Sets of the selected segment, in view, that the user is not done with."""
        return [one for one in self._in_view if not one.is_accepted]

    def pending_of(self, one: PromptGroup) -> PendingPrediction | None:
        """The answer of a set that is shown, or None."""
        return self._answers.get(one)

    # Life

    def start(self) -> None:
        """Show the prompts and answer those in view."""
        self.is_active = True
        mrml = slicer.mrmlScene
        for event, call in (
            (mrml.NodeAddedEvent, self._node_added),
            (mrml.NodeRemovedEvent, self._node_removed),
            (mrml.StartCloseEvent, self._scene_closes),
            (mrml.EndImportEvent, self._later_refresh),
        ):
            self.addObserver(mrml, event, call)
        # Before the Segment Editor, which ends the effect then.
        self.addObserver(mrml, mrml.NodeAboutToBeRemovedEvent, self._node_goes, priority=10.0)
        self.addObserver(protection.editor_node(self._effect), vtk.vtkCommand.ModifiedEvent, self._editor_modified)
        protection.follow_masking(self._effect)
        self._selected = self.segment_id
        self.rebuild_views()
        self._refresh()

    @drawn_once
    def stop(self) -> None:
        """Hide the prompts and leave nothing behind but their nodes."""
        if not self.is_active:
            return
        self.is_active = False
        self._drop_requests()
        for timer in (self._later, self._redraw):
            timer.stop()
        self._views.close()
        self.removeObservers()
        for one in self.groups:
            one.show_in(())
        self.groups, self._answers, self._known, self._in_view, self._undone = [], {}, {}, {}, {}
        self._dry_runs = {}
        self.last_view = None

    def rebuild_views(self) -> None:
        """Draw into the views of the present layout."""
        if self.is_active:
            self._views.open()
            self._later_refresh()

    # What the user does

    def add_point(self, widget: Any, xy: Sequence[float], positive: bool) -> bool:
        """Add a point where the user clicked; False, with a status, where that is not possible."""
        point_world = volumes.world_from_xy(widget.mrmlSliceNode(), xy)
        one = self._set_for(widget, [point_world], positive)
        if one is None:
            return False
        self._give(one, widget, partial(one.add_point, point_world, positive))
        return True

    def set_box(self, widget: Any, start_xy: Sequence[float], end_xy: Sequence[float]) -> bool:
        """Set the box that the user dragged; False, with a status, where that is not possible."""
        corners = [volumes.world_from_xy(widget.mrmlSliceNode(), xy) for xy in (start_xy, end_xy)]
        one = self._set_for(widget, corners)
        if one is None:
            return False
        self._give(one, widget, partial(one.set_box, *corners))
        return True

    def preview_in(self, widget: Any) -> ViewPreview | None:
        """What is drawn into a view."""
        return self._views.preview(widget)

    @drawn_once
    def accept(self) -> None:
        """Write what is shown to the segment; waits for an answer that is on its way."""
        if self.is_waiting:
            self._accepts_next = True
            self._say(_("Accepted as soon as the answer is there."))
            return
        held = self._cancelled.intersection(self.unfinished)
        if held and not self.pending:
            self._cancelled -= held
            self._refresh()  # asks for them; their masks are seen before they are accepted
            return
        if not self.pending and not self.unfinished:
            self._say(_("There is nothing to accept: click on the structure, or drag a box around it."), WARNING)
        self._write(self.pending)
        for one in [one for one in self.unfinished if one.state == WRITTEN]:
            self._close(one)
            self._say(_("Done with this object: the next prompt begins another one."))

    def cancel(self) -> None:
        """Wait for no answer; prompts stay, and are asked for again when they change, or by `accept`."""
        unanswered = [one for one in self.groups if one.state == OPEN and one not in self._answers]
        self._cancelled.update(unanswered)
        self._drop_requests()
        kept = _("Cancelled. The prompts are still there: Enter asks again, Esc clears them.")
        self._say(kept if unanswered else _("Cancelled."))

    @drawn_once
    def clear(self) -> None:
        """Take away the prompts in view that were not accepted; else such on other slices; else all in view."""
        self._drop_requests()
        still_open = [one for one in self.groups if one.segment_id == self.segment_id and not one.is_accepted]
        for one in self.unfinished or still_open or list(self._in_view):
            self.remove(one)
        self._say(_("Prompts were cleared; the segment is as it was."))

    def remove(self, one: PromptGroup) -> None:
        """Take a set of prompts away; what was written stays."""
        self._forget(one)
        self._write_history.forget(one.key)
        one.remove()
        self._draw()
        self._tell()

    def jump_to(self, one: PromptGroup) -> None:
        """Show the slice of a set, in its frame of a sequence, and select its segment."""
        one.show_frame()
        if one.segment_id != self.segment_id:
            protection.editor_node(self._effect).SetSelectedSegmentID(one.segment_id)
        widget = self._views.along(one.plane, self.last_view)
        if widget is not None:
            middle = one.middle_world()
            logic = widget.sliceLogic()
            widget.mrmlSliceNode().JumpSliceByOffsetting(*middle)
            logic.SnapSliceOffsetToIJK()
            self.last_view = widget
        self._reopened = one if one.is_accepted else None
        self._refresh()

    def view_of(self, one: PromptGroup) -> Any:
        """The view that shows the slice of a set, best the one that was worked in last; None if none does."""
        widgets = self._in_view.get(one, [])
        return self.last_view if self.last_view in widgets else next(iter(widgets), None)

    def ask_again(self) -> None:
        """Answer all open sets anew, since the model or what it sees has changed."""
        self._requests.drop()
        self._answers.clear()
        self._cancelled.clear()
        self._is_stale = True
        self._refresh()

    def view_entered(self, widget: Any) -> None:
        """Work goes on in this slice view: its slices are those to prepare."""
        self.last_view = widget
        self._prefetcher.rest()

    def view_moved(self) -> None:
        """Follow a slice view that moved."""
        if self.is_active:
            self._redraw.start()

    # Sets and their nodes

    def _set_for(self, widget: Any, points_world: list[np.ndarray], positive: bool | None = None) -> PromptGroup | None:
        """The set to which prompts in a view belong, see `_found_set`; None, with a status, where there can be none."""
        from SAMMed2DLib.imaging.geometry import GeometryError

        try:
            return self._found_set(widget, points_world, positive)
        except (volumes.SceneError, GeometryError) as error:
            self._say(messages.text_of(error), WARNING)
            return None

    def _found_set(self, widget: Any, points_world: list[np.ndarray], positive: bool | None) -> PromptGroup:
        """The set to which prompts in a view belong.

        It is the one that is not accepted yet; else, for a point that takes away, the one whose mask is there;
        else a new one, because what was accepted must not be lost to the next object. A new one corrects the mask that
        the segment has on the slice, of whatever origin, where a point is on it.

        Args:
            widget: the slice view.
            points_world: (3,) mm each: a point, or two corners of a box.
            positive: the side of the point; None for a box.

        Raises:
            SceneError, GeometryError: there can be no prompt; the message says what to do.
        """
        problem = self._obstacle()
        if problem:
            raise volumes.SceneError(problem)
        plane = volumes.plane_shown(widget.mrmlSliceNode(), self.volume)
        xy = volumes.points_xy(np.array(points_world), plane, self.volume)[0]
        size_xy = np.array(plane.size_hw[::-1])
        low, high = (xy.min(axis=0), xy.max(axis=0)) if positive is None else (xy.max(axis=0), xy.min(axis=0))
        if (high < -0.5).any() or (low > size_xy - 0.5).any():
            raise volumes.SceneError(_("That is outside the image: click inside it."))
        if not self._is_segment_visible():
            raise volumes.SceneError(_("The segment is hidden: show it first."))
        takes_away = positive is False
        if not takes_away:
            if self._starts_object and self._options().new_segments:
                self._add_segment()
            self._starts_object = False
        self._reopened = None
        owner = (self.segmentation, self.segment_id, self.volume, plane, volumes.sequence_item(self.volume))
        here = [one for one in self.groups if one.belongs_to(*owner)]
        still_open = next((one for one in here if not one.is_accepted), None)
        if still_open is not None:
            return still_open
        known_hw = None
        if positive is not None:
            mask_hw = mask_on_slice(self.volume, plane, self.segmentation, self.segment_id)
            is_on = is_on_mask(mask_hw, xy[0], widely=positive)
            accepted = self._accepted_at(here, points_world[0], is_on) if takes_away else None
            if accepted is not None:
                return accepted
            if takes_away and mask_hw.any() and not is_on:
                raise volumes.SceneError(_("There is nothing to take away: click where the mask goes too far."))
            known_hw = mask_hw if is_on else None
        one = PromptGroup(*owner, number=1 + max((one.number for one in here), default=0), known_hw=known_hw)
        one.show_in([widget.mrmlSliceNode().GetID()])
        return one

    def _accepted_at(self, sets: Sequence[PromptGroup], point_world: np.ndarray, is_on: bool) -> PromptGroup | None:
        """The accepted set that a point outside, (3,) mm, is about; None if it is about a mask of another origin.

        Beside all masks it is the nearest set; on a mask the one that wrote it, if that is as it was accepted.
        """
        if not is_on:
            return min(sets, key=lambda one: float(np.linalg.norm(one.middle_world() - point_world)), default=None)
        edits = ((one, self._write_history.edit(one.key)) for one in sets)
        written = ((one, found) for one, found in edits if found is not None and found.has(point_world))
        return next((one for one, found in written if found.is_untouched()), None)

    def _obstacle(self) -> str:
        if self.volume is None or self.volume.GetImageData() is None:
            return _("There is no image: select a source volume.")
        if self.segmentation is None or not self.segment_id:
            return _("There is no segment: add one first.")
        return ""

    def _is_segment_visible(self) -> bool:
        display = self.segmentation.GetDisplayNode()
        if display is not None and not display.GetVisibility():
            return False
        return self._effect.confirmCurrentSegmentVisible() != self._effect.NotConfirmed

    def _add_segment(self) -> None:
        segmentation = self.segmentation.GetSegmentation()
        name = segmentation.GetSegment(self.segment_id).GetName().rsplit(" #", 1)[0]
        numbers = {segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())}
        number = next(n for n in range(2, len(numbers) + 3) if f"{name} #{n}" not in numbers)
        protection.editor_node(self._effect).SetSelectedSegmentID(segmentation.AddEmptySegment("", f"{name} #{number}"))

    @drawn_once
    def _give(self, one: PromptGroup, widget: Any, give: Callable[[], None]) -> None:
        give()
        self.last_view = widget
        if one not in self.groups:
            self.groups.append(one)
        for node in one.nodes:
            self._observe(node)
        self._touched.add(one)
        self._show_prompts()
        self._look_at_changes()

    def _observe(self, node: Any) -> None:
        points = (node.PointModifiedEvent, node.PointRemovedEvent, node.PointPositionDefinedEvent)
        for event in (vtk.vtkCommand.ModifiedEvent, *points):
            if not self.hasObserver(node, event, self._node_modified):
                self.addObserver(node, event, self._node_modified)
        if node.IsA("vtkMRMLMarkupsROINode"):
            for event, call in (
                (node.PointStartInteractionEvent, self._box_drag_begins),
                (node.PointEndInteractionEvent, self._box_drag_ends),
            ):
                if not self.hasObserver(node, event, call):
                    self.addObserver(node, event, call)

    def _box_drag_begins(self, caller: Any, event: Any) -> None:
        self._note_changes()  # what it is now is what it goes back to
        self._boxes.begin_drag(caller)

    def _box_drag_ends(self, caller: Any, event: Any) -> None:
        self._boxes.end_drag()
        self._node_modified(caller, event)

    def _node_modified(self, caller: Any, event: Any) -> None:
        self._touched.update(one for one in self.groups if caller is one.points or caller is one.box)
        self._later.start()

    def _look_at_changes(self) -> None:
        """Ask for the sets whose prompts have changed."""
        if self.is_active:
            self._note_changes()
            self._requests.go_on(self._answers)
            self._tell()

    def _note_changes(self) -> None:
        """Find the sets whose prompts are not what they were, to be asked for; an event alone says little."""
        self._later.stop()
        touched, self._touched = self._touched, set()
        for one in [one for one in self.groups if one in touched or one not in self._known]:
            if one.points in one.nodes:
                prompt_groups.label_points(one.points)
            if one.is_empty:
                self.remove(one)
                continue
            prompts: Prompts | str | None
            try:
                prompts = self._boxes.settled(one, one.prompts())
            except ValueError as error:
                prompts = str(error)
            if prompts is None:
                continue
            if self._known.get(one) != prompts:
                is_new = one not in self._known
                self._known[one] = prompts
                self._undone.pop(one, None)
                self._cancelled.discard(one)
                if not is_new:
                    one.set_state(OPEN)
                if one.state == OPEN:
                    self._requests.add(one)
            elif one.state != OPEN and one in self._answers:  # accepted in another Segment Editor
                self._drop_answer(one)

    def _note_undone(self) -> None:
        """Sets whose voxels were taken out of the segment again are open, until they are brought back."""
        for one in self.groups:
            edit = self._write_history.edit(one.key)
            if edit is None:
                continue
            if one.state != OPEN and edit.is_undone():
                self._undone[one] = one.state
                one.set_state(OPEN)
            elif one in self._undone and edit.is_there():
                one.set_state(self._undone.pop(one))
                self._drop_answer(one)

    def _renew_corrected(self) -> None:
        """Masks that are to be corrected, and were changed by somebody else before it came to that, are read anew."""
        for one in self.groups:
            if one.known_hw is None or one.state != OPEN:
                continue
            edit = self._write_history.edit(one.key)
            if one.was_written if edit is None else edit.is_untouched() or edit.is_undone():
                continue
            try:
                present_hw = mask_on_slice(one.volume, one.plane, one.segmentation, one.segment_id)
            except volumes.SceneError:  # accepting says it
                continue
            if not _is_same_mask(present_hw, one.known_hw):
                one.correct(present_hw if present_hw.any() else None)
                self._drop_answer(one)

    def _drop_answer(self, one: PromptGroup) -> None:
        """Show and ask nothing for a set."""
        self._requests.forget(one)
        if self._answers.pop(one, None) is not None:
            self._draw()
        if self._said_of is one:
            self._event = None  # it is no longer so

    def _forget(self, one: PromptGroup) -> None:
        for kept in (self._answers, self._dry_runs, self._known, self._in_view, self._undone):
            kept.pop(one, None)
        self._boxes.forget(one)
        self._cancelled.discard(one)
        self._requests.forget(one)
        self.groups = [other for other in self.groups if other is not one]

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_added(self, caller: Any, event: Any, node: Any) -> None:
        if prompt_groups.is_prompt_node(node):
            self._later_refresh()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_removed(self, caller: Any, event: Any, node: Any) -> None:
        if prompt_groups.is_prompt_node(node) and not slicer.mrmlScene.IsClosing():
            for one in [one for one in self.groups if node is one.points or node is one.box]:
                one.points = None if one.points is node else one.points
                one.box = None if one.box is node else one.box
                self._touched.add(one)
            self._later.start()
        elif node.IsA("vtkMRMLSegmentationNode") or node.IsA("vtkMRMLVolumeNode"):
            self._later_refresh()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_goes(self, caller: Any, event: Any, node: Any) -> None:
        """With a segmentation or a volume go its prompts."""
        is_volume = node.IsA("vtkMRMLVolumeNode")
        if slicer.mrmlScene.IsClosing() or not (is_volume or node is self.segmentation):
            return
        for one in [one for one in self.groups if node is one.segmentation or node is one.volume]:
            self.remove(one)
        for one in prompt_groups.groups_on(node):  # of other segmentations
            one.remove()

    def _scene_closes(self, caller: Any, event: Any) -> None:
        self.stop()
        self._write_history.clear()
        self._on_closed()

    def _later_refresh(self, caller: Any = None, event: Any = None) -> None:
        if self.is_active:
            self._is_stale = True
            self._redraw.start()

    def _editor_modified(self, caller: Any, event: Any) -> None:
        protection.follow_masking(self._effect)
        if self.segment_id != self._selected:
            self._selected = self.segment_id
            begin_inside(self._effect, unless=lambda: has_voxels(self.segmentation, self._selected))
        self._later_refresh()

    def _segment_modified(self, caller: Any, event: Any) -> None:
        self._is_segment_stale = True
        self._later_refresh()

    @drawn_once
    def _refresh(self) -> None:
        """Bring sets, views and requests in line with the scene; after a view has moved, the views only."""
        if not self.is_active or self._effect.parameterSetNode() is None:
            return
        self._redraw.stop()
        if self._is_stale or self._is_segment_stale:  # masking, or what it goes by, may have changed
            self._dry_runs.clear()
            if self._is_said_of_masking:
                self._event = None
        if self._is_stale:
            self._is_stale = False
            self._find_sets()
            self._observe_context()
        if self._is_segment_stale:
            self._is_segment_stale = False
            self._note_undone()
            self._renew_corrected()
            if self._said_time not in (None, self.changed_at):
                self._event = None  # what was written is not what is there
        self._show_prompts()
        self._touched.update(self._in_view)
        self._note_changes()
        for one in self._in_view:
            if one.state == OPEN and one not in self._answers and one not in self._cancelled:
                self._requests.add(one)
        self._requests.go_on(self._answers)
        self._draw()
        if self._options().accepts_at_once:  # answered while another segment was selected
            self._write([one for one in self.pending if one not in self._undone], closes=False)
        self._prefetcher.rest()
        self._tell()

    def _find_sets(self) -> None:
        """Take over sets whose nodes came into the scene, and drop those of other segmentations."""
        present = prompt_groups.find_groups(self.segmentation) if self.segmentation is not None else []
        known = {id(node): one for one in self.groups for node in one.nodes}
        sets: list[PromptGroup] = []
        for found in present:
            one = next((known[id(node)] for node in found.nodes if id(node) in known), found)
            one.points, one.box = found.points, found.box
            sets.append(one)
            one.follow_volume()
            for node in one.nodes:
                self._observe(node)
        for gone in [one for one in self.groups if one not in sets]:
            gone.show_in(())
            self._forget(gone)
        self.groups = sets

    def _observe_context(self) -> None:
        volume, segmentation = self.volume, self.segmentation
        wanted: list[tuple[Any, Any]] = []
        if volume is not None:
            wanted += [(volume, volume.ImageDataModifiedEvent), (volume, volume.TransformModifiedEvent)]
            if volume.GetDisplayNode() is not None:
                wanted.append((volume.GetDisplayNode(), vtk.vtkCommand.ModifiedEvent))
        for node, event in wanted:
            if not self.hasObserver(node, event, self._picture_changed):
                self.addObserver(node, event, self._picture_changed)
        if volume is not None:
            self._image_mtime = _image_mtime(volume)
            if not self.hasObserver(volume, vtk.vtkCommand.ModifiedEvent, self._volume_modified):
                self.addObserver(volume, vtk.vtkCommand.ModifiedEvent, self._volume_modified)
        if segmentation is not None:
            for event in (slicer.vtkSegmentation.SegmentRemoved, slicer.vtkSegmentation.SegmentModified):
                if not self.hasObserver(segmentation, event, self._segment_modified):
                    self.addObserver(segmentation, event, self._segment_modified)

            if not self.hasObserver(segmentation, segmentation.DisplayModifiedEvent, self._shown_otherwise):
                self.addObserver(segmentation, segmentation.DisplayModifiedEvent, self._shown_otherwise)

    def _shown_otherwise(self, caller: Any, event: Any) -> None:
        """Masking may go by which segments are visible."""
        if self._answers:
            self._dry_runs.clear()
            self._redraw.start()

    def _volume_modified(self, caller: Any, event: Any) -> None:
        """Voxels that were changed in place come with no event of their own."""
        if caller is self.volume and _image_mtime(caller) != self._image_mtime:
            self._image_mtime = _image_mtime(caller)
            self._picture_changed(caller, event)

    def _picture_changed(self, caller: Any, event: Any) -> None:
        """The model sees something else: open answers are asked for anew, if that is so."""
        for one in self.pending:
            self._requests.add(one)
        self._later_refresh()
        self._later.start()

    # Views

    def _show_prompts(self) -> None:
        """Show each set of the selected segment in the views of its slice, and no other one."""
        self._views.look(self.volume)
        shown = (self.segment_id, self.volume, volumes.sequence_item(self.volume))
        self._in_view = {}
        for one in self.groups:
            is_ours = (one.segment_id, one.volume, one.item) == shown
            widgets = self._views.showing(one.plane) if is_ours else []
            if widgets:
                self._in_view[one] = widgets
            elif one is self._reopened:
                self._reopened = None
            one.show_in([widget.mrmlSliceNode().GetID() for widget in widgets])
            one.set_grabbable(not one.is_accepted or one is self._reopened)

    def _draw(self) -> None:
        masks = []
        for one in self.pending if self.segmentation is not None else ():
            color = segmentations.segment_color(self.segmentation, one.segment_id)
            found, mask = self._dry_run_of(one), self._answers[one].answer.mask
            shown = (None, None) if found is None else (found.blocked_hw, found.removed_hw)
            masks.append(ShownMask(mask, one.plane, one.volume, color, *shown))
        self._views.draw(masks)

    # Asking

    def _request_of(self, one: PromptGroup) -> Request | None:
        if one.item != volumes.sequence_item(one.volume):
            return None  # its frame is not there to be looked at
        _check_size(one)
        options = self._options()
        image = volumes.model_image(one.volume, one.plane, options.intensity)
        return Request(one, one.prompts().checked(one.plane.size_hw), image, options.zoom, one.known_hw)

    @drawn_once
    def _answered(self, pending: PendingPrediction) -> None:
        one = pending.request.of
        if not self.is_active or one not in self.groups or one.is_empty:
            return
        try:
            _check_size(one)
        except volumes.SceneError as error:
            return self._failed(one, error)
        if one.known_hw is None and not pending.answer.mask.any():
            self._answers.pop(one, None)
            self._say(_("The model finds nothing here: add a point on the structure, or a box."), WARNING, one)
        elif _is_same_mask(pending.answer.mask, one.known_hw):
            self._answers.pop(one, None)
            self._say(_("The mask stays as it is: click farther out, or farther in."), WARNING, one)
        else:
            self._answers[one] = pending
            self._dry_runs.pop(one, None)
            self._event = None
        self._draw()
        if one in self._answers and self._options().accepts_at_once and one not in self._undone:
            self._write([one], closes=self._accepts_next)
        self._requests.go_on(self._answers)
        if self._accepts_next and not self.is_waiting:  # it was said of all that were on their way
            self._accepts_next = False
            self._write(self.pending)
        self._prefetcher.rest()
        self._tell()

    def _failed(self, one: PromptGroup, error: BaseException) -> None:
        if not self.is_active:
            return
        self._accepts_next = False
        self._answers.pop(one, None)
        self._draw()
        of = None if isinstance(error, volumes.SceneError) else one  # what is wrong with the scene is not about one set
        self._say(messages.text_of(error), WARNING if isinstance(error, ValueError) else ERROR, of)
        self._requests.go_on(self._answers)

    def _dry_run_of(self, one: PromptGroup) -> DryRun | None:
        """What accepting the answer of a set of the selected segment would do; None where nothing can be written.

        Of sets that are not in view it is not asked: there may be many, and each takes some milliseconds.
        """
        if one not in self._in_view:
            return None
        if one not in self._dry_runs:
            mask, replaces = self._answers[one].answer.mask, self._write_history.to_replace(one.key)
            try:
                found = dry_run(self._effect, mask, one.plane, one.volume, replaces, one.known_hw)
            except ValueError:  # accepting says it
                found = None
            self._dry_runs[one] = found
        return self._dry_runs[one]

    def _drop_requests(self) -> None:
        self._requests.drop()
        self._prefetcher.stop()
        self._accepts_next = False

    def _slice_to_prepare(self) -> SlicePlane | None:
        is_idle = self.is_active and self._options().prefetches and self._service.state.is_ready and not self.is_waiting
        return plane_in(self.last_view, self.volume) if is_idle and self.last_view is not None else None

    def _picture(self, plane: SlicePlane) -> np.ndarray:
        return volumes.model_image(self.volume, plane, self._options().intensity)

    # Accepting

    def _write(self, sets: Sequence[PromptGroup], closes: bool = True) -> None:
        """Write the answers of some sets, and say what came of all of them; `closes`: the user is done with them."""
        target = OneStep(EffectTarget(self._effect))  # one acceptance is one step of undo
        accepted: list[Accepted] = []
        failures: list[str] = []
        is_blocked = False
        for one in [one for one in sets if one.segment_id == self.segment_id]:
            found = self._dry_run_of(one)
            if found is not None and found.is_nothing and found.inside:  # the answer waits for another masking
                failures.append(status_text.nothing_text(self._answers[one], found))
                is_blocked = True
                continue
            try:
                accepted.append(self._write_one(one, target, closes))
            except ValueError as error:
                failures.append(messages.text_of(error))
        if accepted or failures:
            self._draw()
            self._say_status(status_text.of_acceptance(self.segmentation, accepted, failures))
            self._said_time, self._is_said_of_masking = self.changed_at, is_blocked

    def _write_one(self, one: PromptGroup, target: SegmentTarget, closes: bool) -> Accepted:
        """Write the answer of a set.

        Raises:
            SceneError: nothing can be written; the answer stays.
        """
        mask = self._answers[one].answer.mask
        written = self._write_history.write(one.key, target, mask, one.plane, one.volume, one.known_hw)
        accepted = Accepted(written, int(mask.sum()))
        if written.edit is None:
            raise volumes.SceneError(outside_text(written.outside_px, accepted.shown_px))
        self._answers.pop(one)
        self._undone.pop(one, None)
        one.set_state(WRITTEN)
        if closes:
            self._close(one)
        return accepted

    def _close(self, one: PromptGroup) -> None:
        one.set_state(ACCEPTED)
        self._starts_object = True
        if self._options().new_segments:
            begin_inside(self._effect)

    # Telling

    def _say(self, text: str, level: str = INFO, of: PromptGroup | None = None) -> None:
        """Tell the user something, of a set in view or of all."""
        self._say_status(Status(text, level), of)

    def _say_status(self, status: Status, of: PromptGroup | None = None) -> None:
        self._event = self.status = status
        self._said_time, self._is_said_of_masking = None, False
        self._said_at, self._said_of = self.place, of if of in self._in_view else None
        self._on_changed()

    def _tell(self) -> None:
        """Let the work be shown, and what was said only while it is about what is shown."""
        is_of_shown = self._said_of is None or self._said_of in self._in_view or self._said_of in self._answers
        if self._said_at != self.place or not is_of_shown:
            self._event = None
        shown = {one: (self._answers[one], self._dry_run_of(one)) for one in self.pending}
        status = self._event or status_text.of_shown(shown, self._in_view)
        if status != self.status:
            self.status = status
        self._on_changed()

    @property
    def changed_at(self) -> int:
        """When the voxels of the selected segment were changed last, a number that grows."""
        return changed_at(self.segmentation, self.segment_id) if self.segmentation is not None else 0

    @property
    def place(self) -> Any:
        """What the user works on, with the slices that are shown: what is said holds for these."""
        planes = [plane_in(widget, self.volume) for widget in slice_widgets().values()]
        return self.segmentation, self.segment_id, self.volume, volumes.sequence_item(self.volume), tuple(planes)


def _image_mtime(volume: slicer.vtkMRMLScalarVolumeNode) -> int:
    image = volume.GetImageData()
    return image.GetMTime() if image is not None else 0


def _is_same_mask(mask_hw: np.ndarray, known_hw: np.ndarray | None) -> bool:
    return known_hw is not None and bool((mask_hw == known_hw).all())


def _check_size(one: PromptGroup) -> None:
    """Raise a SceneError if the image was replaced by one of another size: the set's slice is not in it."""
    if volumes.size_ijk(one.volume) != one.plane.size_ijk:
        raise volumes.SceneError(
            _("The image has another size than when these prompts were given: clear them, and give new ones.")
        )
