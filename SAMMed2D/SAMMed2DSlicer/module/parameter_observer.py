"""Observes what the panel shows: its parameter node, the nodes it refers to, the slice view, and the layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.util import VTKObservationMixin

from SAMMed2DSlicer.module.parameters import Parameters
from SAMMed2DSlicer.prompts import slice_prompts
from SAMMed2DSlicer.widgets.timers import single_shot

# Events within this time lead to one call, so that scrolling through slices stays fast.
_DELAY_MS = 50


class ParameterObserver(VTKObservationMixin):
    """Calls a function once, shortly after one or more observed events."""

    def __init__(self, on_changed: Callable[[], None]) -> None:
        """Observe nothing yet.

        Args:
            on_changed: called after events; a method does not keep its object alive.
        """
        VTKObservationMixin.__init__(self)
        self._timer = single_shot(_DELAY_MS, on_changed)
        self._is_started = False

    def start(self) -> None:
        """Observe the layout of the views; `observe` adds nodes."""
        self._is_started = True
        self._observe_layout(True)

    def stop(self) -> None:
        """Remove all observers, and call nothing any more."""
        self._timer.stop()
        self.removeObservers()
        if self._is_started:
            self._observe_layout(False)
        self._is_started = False

    def observe(self, parameters: Parameters) -> None:
        """Observe the parameter node, the nodes that it refers to now, and the slice view; removes other observers."""
        self.removeObservers()
        self.addObserver(parameters.node, "ModifiedEvent", self._changed)
        for node in set(parameters.prompt_nodes):
            for event in (node.PointModifiedEvent, "ModifiedEvent", node.TransformModifiedEvent):
                self.addObserver(node, event, self._changed)
        if parameters.segmentation is not None:
            segments = parameters.segmentation.GetSegmentation()
            kinds = (segments.SegmentAdded, segments.SegmentRemoved, segments.SegmentModified)
            for event in (*kinds, segments.SourceRepresentationModified):
                self.addObserver(segments, event, self._changed)
        if parameters.volume is not None:
            for event in (parameters.volume.ImageDataModifiedEvent, parameters.volume.TransformModifiedEvent):
                self.addObserver(parameters.volume, event, self._changed)
        for node in slice_prompts.views_shown():
            if node.GetLayoutName() == parameters.view:
                self.addObserver(node, "ModifiedEvent", self._changed)

    def notify_later(self) -> None:
        """Call `on_changed` as after an event."""
        if not self._timer.active:
            self._timer.start()

    def _observe_layout(self, on: bool) -> None:
        manager = slicer.app.layoutManager()
        if manager is not None:  # there is none without a main window
            (manager.connect if on else manager.disconnect)("layoutChanged(int)", self._layout_changed)

    def _layout_changed(self, layout: int) -> None:
        self.notify_later()

    def _changed(self, caller: Any = None, event: Any = None) -> None:
        self.notify_later()
