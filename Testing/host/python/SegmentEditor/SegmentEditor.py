"""Stands for Slicer's Segment Editor module where its own file is not at hand: the editor in a module's panel.

Left out: subject hierarchy plug-ins.
"""

import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

TAG = "SegmentEditor"


class SegmentEditor(ScriptedLoadableModule):
    def __init__(self, parent):
        super().__init__(parent)
        parent.title, parent.categories = "Segment Editor", ["", "Segmentation"]
        parent.dependencies = ["Segmentations", "SubjectHierarchy"]


class SegmentEditorWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.parameterSetNode = self.editor = None

    def setup(self):
        super().setup()
        self.layout.setContentsMargins(4, 0, 4, 0)
        self.editor = slicer.qMRMLSegmentEditorWidget()
        self.editor.setMaximumNumberOfUndoStates(10)
        self.selectParameterNode()
        self.editor.setMRMLScene(slicer.mrmlScene)
        self.layout.addWidget(self.editor)
        self.effectFactorySingleton = slicer.qSlicerSegmentEditorEffectFactory.instance()
        self.effectFactorySingleton.connect("effectRegistered(QString)", self.editorEffectRegistered)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndClose)

    def editorEffectRegistered(self):
        self.editor.updateEffectList()

    def selectParameterNode(self):
        scene = slicer.mrmlScene
        node = scene.GetSingletonNode(TAG, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = scene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(TAG)
            node = scene.AddNode(node)
        if node is not self.parameterSetNode:
            self.parameterSetNode = node
            self.editor.setMRMLSegmentEditorNode(node)

    def getDefaultSourceVolumeNodeID(self):
        manager = slicer.app.layoutManager()
        nodes = [manager.sliceWidget(name).mrmlSliceCompositeNode() for name in manager.sliceViewNames()]
        shown = [node.GetBackgroundVolumeID() for node in nodes] + [node.GetForegroundVolumeID() for node in nodes]
        return next(filter(None, shown), None)

    def enter(self):
        self.editor.installKeyboardShortcuts()
        self.selectParameterNode()
        self.editor.updateWidgetFromMRML()
        if self.editor.segmentationNodeID():
            return
        scene = slicer.mrmlScene
        node = scene.GetFirstNode(None, "vtkMRMLSegmentationNode")
        self.editor.setSegmentationNode(node or scene.AddNewNodeByClass("vtkMRMLSegmentationNode"))
        if not self.editor.sourceVolumeNodeID():
            self.editor.setSourceVolumeNodeID(self.getDefaultSourceVolumeNodeID())

    def exit(self):
        self.editor.setActiveEffect(None)
        self.editor.uninstallKeyboardShortcuts()
        self.editor.removeViewObservations()

    def onSceneStartClose(self, caller, event):
        self.parameterSetNode = None
        self.editor.setSegmentationNode(None)
        self.editor.removeViewObservations()

    def onSceneEndClose(self, caller, event):
        if self.parent.isEntered:
            self.selectParameterNode()
            self.editor.updateWidgetFromMRML()

    def cleanup(self):
        self.removeObservers()
        self.effectFactorySingleton.disconnect("effectRegistered(QString)", self.editorEffectRegistered)
