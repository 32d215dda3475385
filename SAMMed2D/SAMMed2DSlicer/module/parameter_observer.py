"""What the panel follows in the scene: its parameters, the nodes that they refer to, the slice view, the layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.util import VTKObservationMixin

from SAMMed2DSlicer.module.parameters import Parameters
from SAMMed2DSlicer.prompts import slice_prompts
from SAMMed2DSlicer.widgets.timers import single_shot

# What has changed is told this much later, and once, so that scrolling through slices costs nothing.
_DELAY_MS = 50


class SceneFollower(VTKObservationMixin):
    """Tells a little later that something has changed."""

    def __init__(self, on_changed: Callable[[], None]) -> None:
        """Observe nothing yet.

        Args:
            on_changed: called after changes; a method does not keep its object alive.
        """
        VTKObservationMixin.__init__(self)
        self._telling = single_shot(_DELAY_MS, on_changed)
        self._has_begun = False

    def begin(self) -> None:
        """Follow the layout of the views; `follow` says which nodes, too."""
        self._has_begun = True
        self._follow_layout(True)

    def end(self) -> None:
        """Follow nothing, and tell nothing any more."""
        self._telling.stop()
        self.removeObservers()
        if self._has_begun:
            self._follow_layout(False)
        self._has_begun = False

    def follow(self, parameters: Parameters) -> None:
        """Observe the parameters, the nodes that they refer to now, and the slice view, and no others."""
        self.removeObservers()
        self.addObserver(parameters.node, "ModifiedEvent", self._changed)
        for node in {parameters.positive, parameters.negative, parameters.box} - {None}:
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

    def tell_soon(self) -> None:
        """Tell what is observed by nobody."""
        if not self._telling.active:
            self._telling.start()

    def _follow_layout(self, on: bool) -> None:
        manager = slicer.app.layoutManager()
        if manager is not None:  # there is none without a main window
            (manager.connect if on else manager.disconnect)("layoutChanged(int)", self._layout_changed)

    def _layout_changed(self, layout: int) -> None:
        self.tell_soon()

    def _changed(self, caller: Any = None, event: Any = None) -> None:
        self.tell_soon()
