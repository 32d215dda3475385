"""Events of views reach the active effect: observers with priority 1.0 on slice and 3D interactors and view nodes."""

import slicer
import vtk
from PySide6.QtGui import QCursor

BUTTONS = ("Left", "Right", "Middle")
CLICKS = [f"{b}Button{e}Event" for b in BUTTONS for e in ("Press", "Release")]
DOUBLE_CLICKS = [f"{b}ButtonDoubleClickEvent" for b in BUTTONS]
OTHERS = [
    "MouseMoveEvent",
    "MouseWheelForwardEvent",
    "MouseWheelBackwardEvent",
    "MouseWheelLeftEvent",
    "MouseWheelRightEvent",
    "KeyPressEvent",
    "KeyReleaseEvent",
    "EnterEvent",
    "LeaveEvent",
]
SLICE_EVENTS, THREE_D_EVENTS = CLICKS + DOUBLE_CLICKS + OTHERS, CLICKS + OTHERS
PRIORITY = 1.0


class Observations:
    """The part of qMRMLSegmentEditorWidget that watches views. Left out: touch gestures."""

    def _views(self):
        """(widget, view, view node, events) of each view of the layout that may show the segmentation."""
        manager = slicer.app.layoutManager()
        widgets = [(manager.sliceWidget(name), SLICE_EVENTS) for name in manager.sliceViewNames()]
        widgets += [(manager.threeDWidget(i), THREE_D_EVENTS) for i in range(manager.threeDViewCount)]
        found = [(widget, widget.viewWidget(), widget.mrmlAbstractViewNode(), events) for widget, events in widgets]
        return [view for view in found if self._logic.IsSegmentationDisplayableInView(view[2])]

    def setupViewObservations(self):
        self.removeViewObservations()
        for widget, view, node, events in self._views():
            for event in events:
                self._observe_interactor(view.interactor(), event, widget)
            self._observe_node(node, widget)
        self._observed_view_ids = self._view_ids()
        self._update_rotate_button()
        self._views_observed = True

    def removeViewObservations(self):
        for observed, tag in self._view_tags:
            observed.RemoveObserver(tag)
        self._view_tags, self._views_observed = [], False

    def _deaf(self):
        return not self._scene or self._scene.IsClosing() or self._node is None or self._active_effect is None

    def _observe_interactor(self, interactor, event, widget):
        tags, event_id = [], vtk.vtkCommand.GetEventIdFromString(event)

        def call(caller, name):
            if self._deaf():
                return
            with slicer.app.guard():
                if self._active_effect.processInteractionEvents(caller, event_id, widget):
                    caller.GetCommand(tags[0]).SetAbortFlag(1)

        tags.append(interactor.AddObserver(event, call, PRIORITY))
        self._view_tags.append((interactor, tags[0]))

    def _observe_node(self, node, widget):
        def call(caller, name):
            if self._deaf():
                return
            with slicer.app.guard():
                self._active_effect.processViewNodeEvents(caller, vtk.vtkCommand.ModifiedEvent, widget)

        self._view_tags.append((node, node.AddObserver("ModifiedEvent", call, PRIORITY)))
        if hasattr(node, "GetSliceToRAS"):
            pose = node.GetSliceToRAS()
            tag = pose.AddObserver("ModifiedEvent", lambda *_: self._update_rotate_button(), PRIORITY)
            self._view_tags.append((pose, tag))

    def _view_ids(self):
        """The views in which each display node of the segmentation shows it."""
        node = self._segmentation
        displays = [node.GetNthDisplayNode(i) for i in range(node.GetNumberOfDisplayNodes())] if node else []
        return {d.GetID(): tuple(d.GetViewNodeIDs() or ()) for d in displays if d}

    def _display_modified(self):
        if self._views_observed and self._segmentation and self._view_ids() != self._observed_view_ids:
            self._layout_changed()

    def _layout_changed(self, *_):
        if not self._views_observed:
            return
        self.setupViewObservations()
        if self.autoShowSourceVolumeNode:
            self.showSourceVolumeInSliceViewers()
        for effect in self._effects:
            effect.layoutChanged()

    def setEffectCursor(self, effect):
        """Give the views that show the segmentation the effect's cursor, or take it away."""
        manager = slicer.app.layoutManager()
        for widget, view, node, _events in self._views():
            in_slice = manager.sliceWidget(node.GetName()) is widget
            shows = effect and (
                effect.showEffectCursorInSliceView if in_slice else effect.showEffectCursorInThreeDView
            )
            view.setViewCursor(effect.createCursor(widget) if shows else QCursor())
            view.setDefaultViewCursor(effect.createCursor(widget) if shows else QCursor())

    # what is shown in the slice views
    def _slice_logics(self):
        logics = slicer.app.layoutManager().mrmlSliceLogics()
        found = [logics.GetItemAsObject(i) for i in range(logics.GetNumberOfItems())]
        return [logic for logic in found if self._logic.IsSegmentationDisplayableInView(logic.GetSliceNode())]

    def hideLabelLayer(self):
        for logic in self._slice_logics():
            logic.GetSliceCompositeNode().SetLabelVolumeID(None)

    def showSourceVolumeInSliceViewers(self, forceShowInBackground=False, fitSlice=False):
        volume = self._node.GetSourceVolumeNode()
        if volume is None:
            return
        for logic in self._slice_logics():
            composite = logic.GetSliceCompositeNode()
            shown = (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID())
            if forceShowInBackground or volume.GetID() not in shown:
                composite.SetBackgroundVolumeID(volume.GetID())
                composite.SetForegroundVolumeID(None)
                composite.SetLabelVolumeID(None)
            if fitSlice:
                logic.FitSliceToBackground(True)

    def _ijk_to_ras(self):
        matrix = vtk.vtkMatrix4x4()
        return matrix if self._logic.GetSegmentationIJKToRAS(matrix) else None

    def _update_rotate_button(self):
        """Shown while a slice view is not aligned with the segmentation."""
        with slicer.app.guard():
            matrix = self._ijk_to_ras() if self._node_segmentation() else None
            nodes = [view[2] for view in self._views() if hasattr(view[2], "GetSliceToRAS")] if matrix else []
            self._rotate_button.setVisible(any(not _is_aligned(node.GetSliceToRAS(), matrix) for node in nodes))

    def rotateSliceViewsToSegmentation(self):
        matrix = self._ijk_to_ras()
        if matrix is None:
            return
        for _widget, _view, node, _events in self._views():
            if hasattr(node, "RotateToAxes"):
                node.RotateToAxes(matrix)
        self._update_rotate_button()


def _is_aligned(slice_to_ras, ijk_to_ras):
    """True where both in-plane axes are parallel to axes of the volume, to 1e-3 rad."""

    def column(matrix, index):
        values = [matrix.GetElement(row, index) for row in range(3)]
        vtk.vtkMath.Normalize(values)
        return values

    axes = [column(ijk_to_ras, index) for index in range(3)]
    for index in (0, 1):
        direction = column(slice_to_ras, index)
        angles = [vtk.vtkMath.AngleBetweenVectors(direction, axis) for axis in axes]
        if not any(min(angle, vtk.vtkMath.Pi() - angle) < 1e-3 for angle in angles):
            return False
    return True
