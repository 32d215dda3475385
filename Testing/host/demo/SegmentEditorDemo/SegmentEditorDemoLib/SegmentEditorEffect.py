"""A small effect shaped like ours: a box drawn on a slice -> a threshold inside it -> one slice of the segment."""

import numpy as np
import qt
import slicer
import vtk
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy


class SegmentEditorEffect(AbstractScriptedSegmentEditorEffect):
    def __init__(self, scriptedEffect):
        scriptedEffect.name = "Demo"
        scriptedEffect.title = _("Demo effect")
        scriptedEffect.perSegment = True
        super().__init__(scriptedEffect)
        self.start, self.calls, self.events = None, [], []

    def clone(self):
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        clone = effects.qSlicerSegmentEditorScriptedEffect(None)
        clone.setPythonSource(__file__.replace("\\", "/"))
        return clone

    def icon(self):
        return qt.QIcon()

    def helpText(self):
        return "Drag a box on a slice.<p>What is bright inside it becomes part of the segment."

    def setupOptionsFrame(self):
        self.level = slicer.qMRMLSliderWidget()
        self.level.minimum, self.level.maximum = 0, 200
        self.scriptedEffect.addLabeledOptionsWidget("Level:", self.level)
        self.level.connect("valueChanged(double)", self.updateMRMLFromGUI)
        self.button = qt.QPushButton("Clear")
        self.scriptedEffect.addOptionsWidget(self.button)
        self.button.connect("clicked()", self.onClear)

    def setMRMLDefaults(self):
        self.scriptedEffect.setParameterDefault("Level", 50.0)

    def updateGUIFromMRML(self):
        blocked = self.level.blockSignals(True)
        self.level.value = self.scriptedEffect.doubleParameter("Level")
        self.level.blockSignals(blocked)

    def updateMRMLFromGUI(self):
        self.scriptedEffect.setParameter("Level", self.level.value)

    def activate(self):
        self.calls.append("activate")

    def deactivate(self):
        self.calls.append("deactivate")

    def layoutChanged(self):
        self.calls.append("layoutChanged")

    def sourceVolumeNodeChanged(self):
        self.calls.append("sourceVolumeNodeChanged")

    def cleanup(self):
        self.calls.append("cleanup")

    def onClear(self):
        self.scriptedEffect.saveStateForUndo()
        empty = self.scriptedEffect.defaultModifierLabelmap()
        self.scriptedEffect.modifySelectedSegmentByLabelmap(empty, self.scriptedEffect.ModificationModeSet)

    def processInteractionEvents(self, callerInteractor, eventId, viewWidget):
        self.events.append((viewWidget.className(), vtk.vtkCommand.GetStringFromEventId(eventId)))
        if viewWidget.className() != "qMRMLSliceWidget" or callerInteractor.GetShiftKey():
            return False
        if eventId == vtk.vtkCommand.LeftButtonPressEvent:
            self.start = callerInteractor.GetEventPosition()
            return True
        if eventId == vtk.vtkCommand.LeftButtonReleaseEvent and self.start:
            self.apply(self.start, callerInteractor.GetEventPosition(), viewWidget)
            self.start = None
            return True
        return False

    def apply(self, first, last, viewWidget):
        image = self.scriptedEffect.defaultModifierLabelmap()
        parent = self.scriptedEffect.parameterSetNode().GetSegmentationNode().GetParentTransformNode()
        corners = [self.xyToIjk(xy, viewWidget, image, parent) for xy in (first, last)]
        low, high = np.min(corners, axis=0), np.max(corners, axis=0)
        box = tuple(slice(a, b + 1) for a, b in zip(low[::-1], high[::-1], strict=True))
        values, labels = _array(self.scriptedEffect.sourceVolumeImageData()), _array(image)
        labels[box] = values[box] > self.scriptedEffect.doubleParameter("Level")
        image.GetPointData().GetScalars().Modified()
        image.Modified()
        self.scriptedEffect.saveStateForUndo()
        extent = [int(v) for pair in zip(low, high, strict=True) for v in pair]
        self.scriptedEffect.modifySelectedSegmentByLabelmap(image, self.scriptedEffect.ModificationModeAdd, extent)


def _array(image):
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
