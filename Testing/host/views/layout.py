"""qSlicerLayoutManager: Red, Yellow and Green slice views and one 3D view."""

import slicer
from PySide6 import QtWidgets as W
from PySide6.QtCore import Property, QObject, Signal

from ..application.errors import guard
from .slice_view import qMRMLSliceWidget
from .three_d_view import qMRMLThreeDWidget

SLICE_VIEWS = ("Red", "Green", "Yellow")
PLACES = {"View1": (0, 1), "Red": (0, 0), "Green": (1, 0), "Yellow": (1, 1)}


class qSlicerLayoutManager(QObject):
    """Stands for qSlicerLayoutManager over qMRMLLayoutManager; which views a layout has, vtkMRMLLayoutLogic says.

    Left out: layouts with further views (they raise), tables, plots, maximized views.
    """

    layoutChanged = Signal(int)

    def __init__(self):
        super().__init__(slicer.app)
        self.setObjectName("LayoutManager")
        self._logic = slicer.vtkMRMLLayoutLogic()
        self._logic.SetMRMLScene(slicer.mrmlScene)
        self._logic.GetLayoutNode().SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        self._views, self._last = {}, self._arrangement()
        self._logic.GetLayoutNode().AddObserver("ModifiedEvent", self._modified)
        slicer.mrmlScene.AddObserver(slicer.mrmlScene.EndBatchProcessEvent, self._modified)

    def build(self, viewport):
        """Make the widgets of the layout's views inside the window's central widget."""
        grid = W.QGridLayout(viewport)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(2)
        self._viewport = viewport
        for name, place in PLACES.items():
            self._views[name] = self._make(name)
            grid.addWidget(self._views[name], *place)
        self._show()

    def _make(self, name):
        scene = slicer.mrmlScene
        if name == "View1":
            return qMRMLThreeDWidget(scene.GetNodeByID("vtkMRMLViewNode1"), self._viewport)
        return qMRMLSliceWidget(scene.GetNodeByID("vtkMRMLSliceNode" + name), self._viewport)

    def _arrangement(self):
        return self._logic.GetLayoutNode().GetViewArrangement()

    def _mapped(self):
        nodes = self._logic.GetViewNodes()
        return [nodes.GetItemAsObject(i).GetLayoutName() for i in range(nodes.GetNumberOfItems())]

    def _show(self):
        names = {"View1" if name == "1" else name for name in self._mapped()}
        unknown = names - set(self._views)
        if unknown:
            raise NotImplementedError(f"the host has no views {sorted(unknown)} of layout {self._arrangement()}")
        for name, widget in self._views.items():
            widget.mrmlAbstractViewNode().SetMappedInLayout(name in names)  # as qMRMLLayoutViewFactory does
            widget.setVisible(name in names)

    def _modified(self, *_):
        """As on the desktop nothing happens while the scene closes or loads; the layout logic restores the layout."""
        if slicer.mrmlScene.IsBatchProcessing() or self._arrangement() == self._last or not self._views:
            return
        self._last = self._arrangement()
        with guard():
            self._show()
            self.layoutChanged.emit(self._last)

    def setLayout(self, layout):
        self._logic.GetLayoutNode().SetViewArrangement(layout)

    layout = Property(int, lambda self: self._arrangement(), setLayout)
    threeDViewCount = Property(int, lambda self: 1)
    tableViewCount = plotViewCount = Property(int, lambda self: 0)

    def layoutLogic(self):
        return self._logic

    def viewport(self):
        return self._viewport

    def mrmlScene(self):
        return slicer.mrmlScene

    def sliceViewNames(self):
        return SLICE_VIEWS

    def sliceWidget(self, name):
        return self._views[name] if name in SLICE_VIEWS else None

    def threeDWidget(self, index):
        return self._views["View1"] if index in (0, "1", "View1") else None

    def viewWidget(self, node):
        return next((w for w in self._views.values() if w.mrmlAbstractViewNode() is node), None)

    def mrmlSliceLogics(self):
        return slicer.app.applicationLogic().GetSliceLogics()

    def mrmlViewLogics(self):
        return slicer.app.applicationLogic().GetViewLogics()

    def activeMRMLThreeDViewNode(self):
        return self._views["View1"].mrmlViewNode()

    def resetSliceViews(self):
        for name in self.sliceViewNames():
            self._views[name].fitSliceToBackground()

    def resetThreeDViews(self):
        self._views["View1"].threeDView().resetFocalPoint()

    def setRenderPaused(self, paused):
        slicer.app.setRenderPaused(paused)

    def pauseRender(self):
        slicer.app.pauseRender()

    def resumeRender(self):
        slicer.app.resumeRender()
