"""An effect's way into views: renderers, actors, cursors, and points between view and patient."""

import slicer
import vtk
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QCursor, QVector3D

from ..views.slice_view import qMRMLSliceWidget
from ..views.three_d_view import qMRMLThreeDWidget


def view_of(widget):
    """The view inside a slice widget or a 3D widget.

    Raises:
        TypeError: it is neither (the desktop says so with qCritical).
    """
    if isinstance(widget, qMRMLSliceWidget):
        return widget.sliceView()
    if isinstance(widget, qMRMLThreeDWidget):
        return widget.threeDView()
    raise TypeError(f"unsupported view widget: {widget!r}")


def _slice_node(widget):
    if not isinstance(widget, qMRMLSliceWidget):
        raise TypeError(f"a slice widget is needed, not {type(widget).__name__}")
    return widget.mrmlSliceNode()


def _vector(values):
    return QVector3D(*[float(v) for v in values])  # single precision, as on the desktop


class Views:
    """The part of qSlicerSegmentEditorAbstractEffect that knows views."""

    @staticmethod
    def renderWindow(widget):
        return view_of(widget).renderWindow()

    @staticmethod
    def renderer(widget):
        return view_of(widget).renderWindow().GetRenderers().GetItemAsObject(0)

    @staticmethod
    def viewNode(widget):
        view_of(widget)
        return widget.mrmlAbstractViewNode()

    @staticmethod
    def scheduleRender(widget):
        view_of(widget).scheduleRender()

    @staticmethod
    def forceRender(widget):
        view_of(widget).forceRender()

    def addActor2D(self, widget, actor):
        if not isinstance(actor, vtk.vtkActor2D):
            raise TypeError(f"addActor2D takes a vtkActor2D, not {actor!r}")
        self.renderer(widget).AddViewProp(actor)
        self.scheduleRender(widget)

    def removeActor2D(self, widget, actor):
        self.renderer(widget).RemoveViewProp(actor)
        self.scheduleRender(widget)

    def addActor3D(self, widget, actor):
        if not isinstance(actor, vtk.vtkProp3D):
            raise TypeError(f"addActor3D takes a vtkProp3D, not {actor!r}")
        self.renderer(widget).AddViewProp(actor)
        self.scheduleRender(widget)

    def removeActor3D(self, widget, actor):
        self.removeActor2D(widget, actor)

    def segmentationDisplayableInView(self, node):
        return self._logic.IsSegmentationDisplayableInView(node)

    @staticmethod
    def sliceSpacing(widget):
        return slicer.vtkSlicerSegmentEditorLogic.GetSliceSpacing(_slice_node(widget), widget.sliceLogic())

    @staticmethod
    def rasToXy(ras, widget):
        """Truncates, as vtkSlicerSegmentEditorLogic::RasToXy does (it returns std::array, which does not wrap)."""
        inverse = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(_slice_node(widget).GetXYToRAS(), inverse)
        x, y = inverse.MultiplyPoint([ras.x(), ras.y(), ras.z(), 1])[:2]
        return QPoint(int(x), int(y))

    @staticmethod
    def xyzToRas(xyz, widget):
        out = [0.0, 0.0, 0.0]
        slicer.vtkSlicerSegmentEditorLogic.XyzToRas([xyz.x(), xyz.y(), xyz.z()], out, _slice_node(widget))
        return _vector(out)

    @classmethod
    def xyToRas(cls, xy, widget):
        return cls.xyzToRas(QVector3D(xy.x(), xy.y(), 0), widget)

    @staticmethod
    def xyzToIjk(xyz, widget, image, parentTransform=None):
        out, node = [0, 0, 0], _slice_node(widget)
        slicer.vtkSlicerSegmentEditorLogic.XyzToIjk([xyz.x(), xyz.y(), xyz.z()], out, node, image, parentTransform)
        return _vector(out)

    @classmethod
    def xyToIjk(cls, xy, widget, image, parentTransform=None):
        return cls.xyzToIjk(QVector3D(xy.x(), xy.y(), 0), widget, image, parentTransform)

    def cursorOff(self, widget):
        self._saved_cursor = QCursor(widget.cursor)
        view_of(widget).setDefaultViewCursor(QCursor(Qt.BlankCursor))

    def cursorOn(self, widget):
        view_of(widget).setDefaultViewCursor(self._saved_cursor)
