"""What both kinds of view share: an off-screen render window, its picture, its cursor, and hands (gestures.py)."""

import contextlib

import numpy as np
import vtk
from PySide6 import QtWidgets as W
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QCursor, QImage, QPainter
from vtkmodules.util.numpy_support import vtk_to_numpy

from .gestures import Hands

SIZE_PX = (300, 300)


class View(Hands, W.QWidget):
    """Stands for ctkVTKAbstractView. Left out: frame rates, depth peeling, corner text set from outside.

    scheduleRender() renders nothing: a picture is made when somebody looks (image(), a grab). It is counted.
    """

    resized = Signal(object)
    _painted = False

    def __init__(self, layers, parent=None):
        super().__init__(parent)
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._renderers = [vtk.vtkRenderer() for _ in range(layers)]
        self._window.SetNumberOfLayers(layers)
        for layer, renderer in enumerate(self._renderers):
            renderer.SetLayer(layer)
            self._window.AddRenderer(renderer)
        self._interactor.SetRenderWindow(self._window)
        self._interactor.Initialize()
        self._default_cursor, self._scheduled, self._inside = QCursor(), 0, False
        self.setFixedSize(*SIZE_PX)
        self._window.SetSize(*SIZE_PX)
        self._interactor.UpdateSize(*SIZE_PX)

    def _make_managers(self, factory, names):
        """The displayable managers by name, in this order, so that markups are drawn over the segmentation."""
        import slicer

        for name in names:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        group = slicer.vtkMRMLDisplayableManagerGroup()
        group.SetRenderer(self._renderers[0])
        group.Initialize(factory, self._renderers[0])
        self._update_tag = group.AddObserver("UpdateEvent", lambda *_: self.scheduleRender())
        return group

    def resize_view(self, width, height):
        """Give the view another size in pixels, for a picture or a test."""
        self.setFixedSize(width, height)
        self._window.SetSize(width, height)
        self._interactor.UpdateSize(width, height)

    def renderWindow(self):
        return self._window

    def interactor(self):
        return self._interactor

    def interactorStyle(self):
        return self._interactor.GetInteractorStyle()

    def displayableManagerByClassName(self, name):
        return self._managers.GetDisplayableManagerByClassName(name)

    def getDisplayableManagers(self, collection):
        for index in range(self._managers.GetDisplayableManagerCount()):
            collection.AddItem(self._managers.GetNthDisplayableManager(index))

    def setViewCursor(self, cursor):
        self.setCursor(cursor)

    def unsetViewCursor(self):
        self.setCursor(self._default_cursor)

    def setDefaultViewCursor(self, cursor):
        self._default_cursor = QCursor(cursor)

    def default_cursor(self):
        """What setDefaultViewCursor was given last; ``view.cursor`` is what shows."""
        return self._default_cursor

    def scheduleRender(self):
        self._scheduled += 1

    def scheduled_renders(self):
        """How often a render was asked for."""
        return self._scheduled

    def forceRender(self):
        self._interactor.Render()

    def image(self):
        """What the view shows: (rows, columns, 3) uint8, RGB, top row first."""
        self.forceRender()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self._window)
        grab.ReadFrontBufferOff()
        grab.ShouldRerenderOff()
        grab.Update()
        data = grab.GetOutput()
        pixels = vtk_to_numpy(data.GetPointData().GetScalars()).reshape(*data.GetDimensions()[1::-1], 3)
        return np.ascontiguousarray(pixels[::-1])

    def qimage(self):
        """The same as a QImage."""
        pixels = self.image()
        height, width = pixels.shape[:2]
        rgba = np.dstack([pixels, np.full((height, width), 255, np.uint8)])
        return QImage(rgba.tobytes(), width, height, QImage.Format_RGBA8888)

    def paintEvent(self, event):
        """Qt asks for a repaint often, and rendering is slow here: only a grab really paints."""
        if not View._painted:
            return
        painter = QPainter(self)
        painter.drawImage(0, 0, self.qimage())
        painter.end()

    def finalize(self):
        """Free the render window; the desktop does that when the view is destroyed."""
        self._managers.SetMRMLDisplayableNode(None)
        self._window.Finalize()


@contextlib.contextmanager
def painted():
    """Inside, views paint themselves when Qt asks for it."""
    View._painted = True
    try:
        yield
    finally:
        View._painted = False


def bar(text, colour):
    """The coloured bar above a view. Stands for its controller, of which only the look is there."""
    label = W.QLabel(text)
    label.setAlignment(Qt.AlignLeft | Qt.AlignVCenter)
    label.setFixedHeight(18)
    label.setStyleSheet(f"background: {colour}; color: black; padding-left: 6px; font-weight: bold;")
    return label
