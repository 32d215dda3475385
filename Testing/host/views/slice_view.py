"""qMRMLSliceView and qMRMLSliceWidget."""

import slicer
import vtk
from PySide6 import QtWidgets as W
from PySide6.QtCore import Signal

from .window import View, bar

MANAGERS = [
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLScalarBarDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
]
COLOURS = {"Red": "#f34a33", "Yellow": "#edd54c", "Green": "#6eb04b"}


class qMRMLSliceView(View):
    """Stands for qMRMLSliceView over ctkVTKSliceView. Left out: light boxes, corner annotations."""

    def __init__(self, logic, node, parent=None):
        super().__init__(2, parent)
        self._logic, self._node = logic, node
        for renderer in self._renderers:
            renderer.GetActiveCamera().ParallelProjectionOn()
        self._window.SetAlphaBitPlanes(1)
        self._interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        self._managers = self._make_managers(factory, MANAGERS)
        self._managers.SetMRMLDisplayableNode(node)
        self._style = slicer.vtkMRMLSliceViewInteractorStyle()
        self._style.SetSliceLogic(logic)
        self._style.SetDisplayableManagers(self._managers)
        self._style.SetInteractor(self._interactor)
        self._make_image_actor()
        logic.ResizeSliceNode(*self._window.GetSize())

    def _make_image_actor(self):
        """The slice's image, behind everything else, as ctkVTKSliceView draws it."""
        self._mapper, self._image = vtk.vtkImageMapper(), vtk.vtkActor2D()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._image.SetMapper(self._mapper)
        self._image.GetProperty().SetDisplayLocationToBackground()
        self._renderers[0].AddViewProp(self._image)

    def resize_view(self, width, height):
        super().resize_view(width, height)
        self._logic.ResizeSliceNode(width, height)

    def mrmlSliceNode(self):
        return self._node

    def interactorObserver(self):
        return self._style

    def forceRender(self):
        connection = self._logic.GetImageDataConnection()
        self._image.SetVisibility(connection is not None)
        if connection is not None:
            self._mapper.SetInputConnection(connection)
        super().forceRender()

    def convertDeviceToXYZ(self, xy):
        return [float(xy[0]), float(xy[1]), 0.0]

    def convertXYZToRAS(self, xyz):
        return list(self._node.GetXYToRAS().MultiplyPoint([*xyz, 1.0])[:3])

    def convertRASToXYZ(self, ras):
        inverse = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self._node.GetXYToRAS(), inverse)
        return list(inverse.MultiplyPoint([*ras, 1.0])[:3])


class qMRMLSliceWidget(W.QWidget):
    """Stands for qMRMLSliceWidget. Left out: the controller (slider, menus), of which only a coloured bar shows."""

    nodeAboutToBeEdited = Signal(object)

    def __init__(self, node, parent=None):
        super().__init__(parent)
        self.setObjectName("qMRMLSliceWidget" + node.GetLayoutName())
        self._node, app = node, slicer.app
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(app.applicationLogic())
        app.applicationLogic().GetSliceLogics().AddItem(self._logic)
        self._logic.SetMRMLScene(app.mrmlScene())
        self._logic.SetSliceNode(node)
        self._view = qMRMLSliceView(self._logic, node, self)
        self._bar = bar(node.GetLayoutLabel() or node.GetName()[0], COLOURS.get(node.GetName(), "#cccccc"))
        layout = W.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._bar)
        layout.addWidget(self._view)

    sliceViewName = property(lambda self: self._node.GetName())
    sliceViewLabel = property(lambda self: self._node.GetLayoutLabel())
    sliceOrientation = property(lambda self: self._node.GetOrientation(), lambda self, o: self._node.SetOrientation(o))

    def sliceView(self):
        return self._view

    viewWidget = sliceView

    def sliceLogic(self):
        return self._logic

    logic = sliceLogic

    def mrmlSliceNode(self):
        return self._node

    mrmlAbstractViewNode = mrmlSliceNode

    def mrmlSliceCompositeNode(self):
        return self._logic.GetSliceCompositeNode()

    def mrmlScene(self):
        return self._logic.GetMRMLScene()

    def interactorStyle(self):
        return self._view.interactorStyle()

    def imageDataConnection(self):
        return self._logic.GetImageDataConnection()

    def setSliceOrientation(self, orientation):
        self._node.SetOrientation(orientation)

    def fitSliceToBackground(self):
        self._logic.FitSliceToBackground()

    def paintEvent(self, event):
        offset = f"{self._node.GetOrientation()}   {self._logic.GetSliceOffset():.1f} mm"
        self._bar.setText(f"{self._node.GetLayoutLabel()}   {offset}")
