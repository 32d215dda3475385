"""A small module that registers the demo effect, as our own module does."""

import os

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)


class SegmentEditorDemo(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Demo")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations"]
        parent.contributors = ["The SAMMed2D contributors"]
        parent.helpText = _("Registers the demo effect.") + self.getDefaultModuleDocumentationLink()
        slicer.app.connect("startupCompleted()", register_effect)


def register_effect():
    import qSlicerSegmentationsEditorEffectsPythonQt as effects

    effect = effects.qSlicerSegmentEditorScriptedEffect(None)
    path = os.path.join(os.path.dirname(__file__), "SegmentEditorDemoLib", "SegmentEditorEffect.py")
    effect.setPythonSource(path.replace("\\", "/"))
    effect.self().register()


class SegmentEditorDemoWidget(ScriptedLoadableModuleWidget):
    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.calls = ["setup"]
        panel = slicer.util.loadUI(self.resourcePath("UI/SegmentEditorDemo.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.ui.applyButton.connect("clicked(bool)", self.onApply)
        self.logic = SegmentEditorDemoLogic()

    def enter(self):
        self.calls.append("enter")

    def exit(self):
        self.calls.append("exit")

    def cleanup(self):
        self.calls.append("cleanup")

    def onApply(self):
        self.calls.append("apply")
        with slicer.util.tryWithErrorDisplay("The demo failed.", waitCursor=True):
            self.logic.threshold(self.ui.volumeSelector.currentNode(), self.ui.levelSlider.value)


class SegmentEditorDemoLogic(ScriptedLoadableModuleLogic):
    def threshold(self, volume, level):
        if volume is None:
            raise ValueError("no volume is selected")
        return slicer.util.arrayFromVolume(volume) > level


class SegmentEditorDemoTest(ScriptedLoadableModuleTest):
    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def test_Nothing(self):
        self.delayDisplay("nothing to test")
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"), 0)
