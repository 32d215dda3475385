"""qMRMLThreeDView and qMRMLThreeDWidget."""

import slicer
import vtk
from PySide6 import QtWidgets as W

from .window import View, bar

MANAGERS = [
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager3D",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
]


class qMRMLThreeDView(View):
    """Stands for qMRMLThreeDView over ctkVTKRenderView. Left out: shadows, stereo, spinning, slices in 3D."""

    def __init__(self, node, parent=None):
        super().__init__(1, parent)
        self._node = node
        self._interactor.SetInteractorStyle(vtk.vtkInteractorStyle3D())
        self._renderers[0].SetBackground(0.7568, 0.7647, 0.9098)
        self._renderers[0].SetBackground2(0.4549, 0.4705, 0.7450)
        self._renderers[0].SetGradientBackground(True)
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        self._managers = self._make_managers(factory, MANAGERS)
        self._managers.SetMRMLDisplayableNode(node)
        self._style = slicer.vtkMRMLThreeDViewInteractorStyle()
        self._style.SetDisplayableManagers(self._managers)
        self._style.SetInteractor(self._interactor)

    def mrmlViewNode(self):
        return self._node

    def interactorObserver(self):
        return self._style

    def cameraNode(self):
        manager = self.displayableManagerByClassName("vtkMRMLCameraDisplayableManager")
        return manager.GetCameraNode()

    def resetFocalPoint(self):
        self._renderers[0].ResetCamera()

    def resetCamera(self, *_):
        self._renderers[0].ResetCamera()


class qMRMLThreeDWidget(W.QWidget):
    """Stands for qMRMLThreeDWidget. Left out: the controller."""

    def __init__(self, node, parent=None):
        super().__init__(parent)
        self.setObjectName("ThreeDWidget" + node.GetLayoutName())
        self._node, self._logic = node, slicer.vtkMRMLViewLogic()
        self._logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        slicer.app.applicationLogic().GetViewLogics().AddItem(self._logic)
        self._logic.SetMRMLScene(slicer.mrmlScene)
        self._view = qMRMLThreeDView(node, self)
        layout = W.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(bar(node.GetLayoutLabel() or "1", "#9191c8"))
        layout.addWidget(self._view)

    def threeDView(self):
        return self._view

    viewWidget = threeDView

    def mrmlViewNode(self):
        return self._node

    mrmlAbstractViewNode = mrmlViewNode

    def viewLogic(self):
        return self._logic

    logic = viewLogic

    def mrmlScene(self):
        return slicer.mrmlScene
