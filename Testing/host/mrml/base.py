"""qMRMLWidget and what all widgets with a scene share."""

from PySide6 import QtWidgets as W
from PySide6.QtCore import Signal


class WithScene:
    """setMRMLScene(), mrmlScene() and mrmlSceneChanged."""

    _scene = None

    def setMRMLScene(self, scene):
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self):
        return self._scene


class qMRMLWidget(WithScene, W.QWidget):
    """Stands for qMRMLWidget."""

    mrmlSceneChanged = Signal(object)


class qSlicerWidget(WithScene, W.QWidget):
    """Stands for qSlicerWidget."""

    mrmlSceneChanged = Signal(object)


class Observers:
    """VTK observers of a Qt object, as ctkVTKObject keeps them; errors in them are kept for the test."""

    def __init__(self):
        self._tags = []

    def add(self, observed, event, method, priority=0.0):
        """Call ``method()`` on each event."""
        import slicer

        def call(caller, name):
            with slicer.app.guard():
                method()

        self._tags.append((observed, observed.AddObserver(event, call, priority)))

    def add_with_node(self, observed, event, method):
        """Call ``method(node)`` on each event that carries a node."""
        import slicer
        import vtk

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def call(caller, name, node):
            with slicer.app.guard():
                method(node)

        self._tags.append((observed, observed.AddObserver(event, call)))

    def clear(self):
        """Remove all."""
        for observed, tag in self._tags:
            observed.RemoveObserver(tag)
        self._tags = []
