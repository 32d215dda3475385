"""The mask that a click would give, shown at the mouse while Ctrl and Shift are held; nothing is changed by it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk

from SAMMed2DSlicer.effect.context.parameters import BOX, NEGATIVE
from SAMMed2DSlicer.effect.preview import ShownMask, mask_actor
from SAMMed2DSlicer.inference.request_queue import PendingPrediction, Request, predict
from SAMMed2DSlicer.inference.service import InferenceService
from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup
from SAMMed2DSlicer.scene import volumes

if TYPE_CHECKING:
    from SAMMed2DSlicer.effect.context.editor_snapshot import EditorSnapshot
    from SAMMed2DSlicer.effect.context.group_chooser import GroupChooser
    from SAMMed2DSlicer.inference.worker import Job

    Place = tuple[Any, tuple[int, int], bool]  # slice view, px of it, whether a click would be inside

_OPACITY = 0.6  # of what a click would give, beside a mask that is there


class HoverPreview:
    """Follows the mouse with one request at a time: a place that it has left meanwhile is never asked about."""

    def __init__(
        self,
        effect: slicer.qSlicerSegmentEditorScriptedEffect,
        service: InferenceService,
        chooser: GroupChooser,
        begin: Callable[[], EditorSnapshot],
    ) -> None:
        """Prepare.

        Args:
            effect: the qSlicerSegmentEditorScriptedEffect, which draws.
            service: predicts; a model that is not there is not loaded for this.
            chooser: tells which prompt group a click belongs to.
            begin: takes the snapshot for the present event.
        """
        self._effect, self._service, self._chooser, self._begin = effect, service, chooser, begin
        self._wanted: Place | None = None
        self._job: Job | None = None
        self._drawn: tuple[Any, Any] | None = None  # slice view and actor

    @property
    def is_shown(self) -> bool:
        """Whether a mask is drawn."""
        return self._drawn is not None

    def see(self, event_id: int, interactor: vtk.vtkRenderWindowInteractor, widget: Any, tool: str) -> None:
        """Look at an event of a slice view.

        Args:
            event_id: of vtkCommand.
            interactor: of the view.
            widget: the slice view.
            tool: what a click is taken for; with the box tool it gives nothing.
        """
        is_held = bool(interactor.GetControlKey() and interactor.GetShiftKey()) and tool != BOX
        if event_id == vtk.vtkCommand.MouseMoveEvent and is_held:
            place = (widget, interactor.GetEventPosition(), tool != NEGATIVE)
            if place != self._wanted:
                self._wanted = place
                self._ask()
        elif self._wanted is not None and event_id not in (vtk.vtkCommand.EnterEvent, vtk.vtkCommand.KeyPressEvent):
            self.leave()

    def leave(self) -> None:
        """Show nothing, and wait for nothing."""
        self._wanted = None
        if self._job is not None:
            self._job.cancel()
            self._job = None
        self._draw(None, None)

    def _ask(self) -> None:
        """Ask about the place of the mouse, unless an answer is on its way."""
        if self._wanted is None or self._is_waiting() or not self._service.state.is_ready:
            return
        place, now = self._wanted, self._begin()
        try:
            request = self._request_at(now, *place)
        except ValueError:  # of the library or the scene: a click there would say why
            self._draw(None, None)
            return
        self._job = self._service.submit(
            partial(predict, request),
            partial(self._answered, place, now, request),
            lambda error: self.leave(),
            owner=self,
        )

    def _is_waiting(self) -> bool:
        """Whether an answer is on its way; one that had to stop for something else never comes."""
        job = self._job
        return job is not None and not (job.finished.is_set() and (job.is_cancelled or job.has_stopped))

    def _request_at(self, now: EditorSnapshot, widget: Any, xy: tuple[int, int], positive: bool) -> Request:
        """What a click would ask; `now` is the context.

        Raises:
            ValueError: there can be no prompt.
        """
        from SAMMed2DLib.inference.prompts import Prompts

        point_world = volumes.world_from_xy(widget.mrmlSliceNode(), xy)
        group: PromptGroup = self._chooser.group_at(now, widget, point_world, positive)
        prompts = Prompts() if group.is_empty else group.prompts(now.world_from_ijk)
        world = volumes.world_from_ijk(group.volume) if now.world_from_ijk is None else now.world_from_ijk
        point_xy = group.plane.project_ras(np.array([point_world]), world)[0][0]
        prompts = prompts.with_point(point_xy, int(positive)).checked(group.plane.size_hw)
        image = volumes.model_image(group.volume, group.plane, now.options.intensity)
        return Request(group, prompts, image, now.options.zoom, group.initial_mask_hw)

    def _answered(self, place: Place, now: EditorSnapshot, request: Request, result: Any) -> None:
        self._job = None
        if self._wanted is None:
            return
        if now.world_from_ijk is not None:
            prediction = PendingPrediction(result, request)
            mask = ShownMask(request.group, prediction, None, now.world_from_ijk, now.color)
            self._draw(place[0], mask_actor(mask, place[0], _OPACITY))
        if self._wanted != place:
            self._ask()

    def _draw(self, widget: Any, actor: Any) -> None:
        """Draw an actor in place of the one before; None for nothing."""
        if self._drawn is not None:
            self._effect.removeActor2D(*self._drawn)
            self._effect.scheduleRender(self._drawn[0])
        self._drawn = None if actor is None else (widget, actor)
        if actor is not None:
            self._effect.addActor2D(widget, actor)
            self._effect.scheduleRender(widget)
