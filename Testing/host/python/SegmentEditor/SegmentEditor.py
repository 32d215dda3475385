"""Stands for Slicer's Segment Editor module: a panel that holds one qMRMLSegmentEditorWidget, which has a node.

Callers reach the widget as ``slicer.modules.SegmentEditorWidget.editor``. Left out: all else that Slicer's panel has
(import, export, the subject hierarchy's plug-in, saving which effect was active).
"""

import slicer
from host.mrml.base import Observers
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleWidget


class SegmentEditor(ScriptedLoadableModule):
    """The module's entry in the list of modules."""

    def __init__(self, parent):
        super().__init__(parent)
        parent.title = "Segment Editor"
        parent.categories = ["Segmentation"]


class SegmentEditorWidget(ScriptedLoadableModuleWidget):
    """The panel. While it is shown, its editor has keys and something to edit."""

    def setup(self):
        self.editor = slicer.qMRMLSegmentEditorWidget()
        self.layout.addWidget(self.editor)
        self.editor.maximumNumberOfUndoStates = 10
        _attach_node(self.editor)
        self.editor.setMRMLScene(slicer.mrmlScene)
        factory = slicer.qSlicerSegmentEditorEffectFactory.instance()
        factory.effectRegistered.connect(lambda _name: self.editor.updateEffectList())
        self._scene_events = Observers()
        for event, follow in {
            slicer.vtkMRMLScene.StartCloseEvent: self._let_go,
            slicer.vtkMRMLScene.EndCloseEvent: self._take_up,
            slicer.vtkMRMLScene.EndImportEvent: self._take_up,
        }.items():
            self._scene_events.add(slicer.mrmlScene, event, follow)

    def enter(self):
        self._take_up()
        if self.editor.segmentationNode() is None:
            self.editor.setSegmentationNode(_first_segmentation() or _new_segmentation())
            if self.editor.sourceVolumeNode() is None:
                self.editor.setSourceVolumeNode(_shown_volume())
        self.editor.installKeyboardShortcuts()

    def exit(self):
        self.editor.uninstallKeyboardShortcuts()
        self._stop_editing()

    def cleanup(self):
        self._scene_events.clear()

    def _take_up(self):
        """Show what the scene has now; a hidden panel does so when it is entered."""
        if self.parent.isEntered:
            _attach_node(self.editor)
            self.editor.updateWidgetFromMRML()

    def _let_go(self):
        """Before the nodes go: no effect may act on them any more."""
        self._stop_editing()
        self.editor.setSegmentationNode(None)

    def _stop_editing(self):
        self.editor.setActiveEffect(None)
        self.editor.removeViewObservations()


def _attach_node(editor):
    """Give the editor the scene's one node of this module; closing a scene keeps it, or it is made again."""
    tag, kind = "SegmentEditor", "vtkMRMLSegmentEditorNode"
    node = slicer.mrmlScene.GetSingletonNode(tag, kind)
    if node is None:
        unique = slicer.vtkMRMLSegmentEditorNode()
        unique.SetSingletonTag(tag)
        node = slicer.mrmlScene.AddNode(unique)
    editor.setMRMLSegmentEditorNode(node)


def _first_segmentation():
    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode")


def _new_segmentation():
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")


def _shown_volume():
    """The volume in the background of a slice view, else one in a foreground, else None."""
    layers = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    ids = [layer.GetBackgroundVolumeID() for layer in layers] + [layer.GetForegroundVolumeID() for layer in layers]
    return next((slicer.mrmlScene.GetNodeByID(node_id) for node_id in ids if node_id), None)
