"""Stands for Slicer's file of the same name: the base class of Python effects."""

import math

import qt
import slicer

__all__ = ["AbstractScriptedSegmentEditorEffect"]


class AbstractScriptedSegmentEditorEffect:
    """Holds its C++ half, ``scriptedEffect``, and turns its Qt values into lists."""

    def __init__(self, scriptedEffect):
        self.scriptedEffect = scriptedEffect

    def register(self):
        slicer.qSlicerSegmentEditorEffectFactory.instance().registerEffect(self.scriptedEffect)

    def cleanup(self):
        pass

    def rasToXy(self, ras, viewWidget):
        point = self.scriptedEffect.rasToXy(qt.QVector3D(*ras), viewWidget)
        return [point.x(), point.y()]

    def xyzToRas(self, xyz, viewWidget):
        return _list(self.scriptedEffect.xyzToRas(qt.QVector3D(*xyz), viewWidget))

    def xyToRas(self, xy, viewWidget):
        return _list(self.scriptedEffect.xyToRas(qt.QPoint(xy[0], xy[1]), viewWidget))

    def xyzToIjk(self, xyz, viewWidget, image, parentTransformNode=None):
        ijk = self.scriptedEffect.xyzToIjk(qt.QVector3D(*xyz), viewWidget, image, parentTransformNode)
        return [int(v) for v in _list(ijk)]

    def xyToIjk(self, xy, viewWidget, image, parentTransformNode=None):
        ijk = self.scriptedEffect.xyToIjk(qt.QPoint(xy[0], xy[1]), viewWidget, image, parentTransformNode)
        return [int(v) for v in _list(ijk)]

    def setWidgetMinMaxStepFromImageSpacing(self, spinbox, imageData):
        if not imageData:
            return
        unit = slicer.qMRMLSpinBox
        spinbox.unitAwareProperties &= ~(unit.MinimumValue | unit.MaximumValue | unit.Precision)
        smallest, largest = min(imageData.GetSpacing()), max(imageData.GetSpacing())
        step = 10 ** math.floor(math.log10(smallest / 10))
        spinbox.minimum, spinbox.singleStep = step, step
        spinbox.maximum = 10 ** math.ceil(math.log10(largest * 100))
        spinbox.decimals = max(0, int(-math.floor(math.log10(step))))


def _list(vector):
    return [vector.x(), vector.y(), vector.z()]
