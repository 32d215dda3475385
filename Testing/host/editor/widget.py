"""qMRMLSegmentEditorWidget."""

import slicer
from PySide6 import QtWidgets as W
from PySide6.QtCore import Property, Signal

from ..declared import stored
from ..mrml.base import Observers, WithScene
from ..pythonqt import connections
from .effect_list import EffectList
from .factory import qSlicerSegmentEditorEffectFactory
from .masking import Masking
from .observations import Observations
from .panel import Panel
from .shortcuts import Shortcuts
from .updating import Updating

WATCHED = ("scene", "interaction", "node", "parameters", "segmentation", "source", "logic")
_living = []


class qMRMLSegmentEditorWidget(
    WithScene, Panel, Updating, EffectList, Masking, Observations, Shortcuts, W.QWidget
):
    """Stands for qMRMLSegmentEditorWidget, transcribed part by part. Left out: import and export, the geometry dialog.

    C++ order is kept where it shows: the old effect is deactivated before the new is activated, and activeEffect()
    is still the old one inside activate().
    """

    mrmlSceneChanged = Signal(object)
    segmentationNodeChanged = Signal(object)
    sourceVolumeNodeChanged = Signal(object)
    masterVolumeNodeChanged = Signal(object)
    currentSegmentIDChanged = Signal(str)
    autoShowSourceVolumeNode = stored(bool, "autoShowSourceVolumeNode", True)
    effectButtonStyle = stored(int, "effectButtonStyle", 0)
    maskingSectionVisible = Property(bool, lambda self: self._masking_visible, Updating.setMaskingSectionVisible)
    unorderedEffectsVisible = Property(bool, lambda self: self._unordered, EffectList._set_unordered)
    effectColumnCount = Property(int, lambda self: self._columns, EffectList.setEffectColumnCount)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._node = self._segmentation = self._source = self._interaction = None
        self._active_effect = self._last_effect = None
        self._effects, self._keys, self._view_tags = [], [], []
        self._views_observed, self._observed_view_ids, self._locked = False, {}, False
        self._order, self._columns, self._unordered, self._masking_visible = (), 2, True, True
        self._watch = {name: Observers() for name in WATCHED}
        self._build()
        self._fill_masking()
        self._connect_panel()
        self.updateEffectList()
        self._options_box.hide()
        self._masking_box.hide()
        self._rotate_button.hide()
        _living.append(self)

    def _connect_panel(self):
        self._segmentation_box.currentNodeChanged[object].connect(self._segmentation_chosen)
        self._source_box.currentNodeChanged[object].connect(self._source_chosen)
        self._table.selectionChanged.connect(self._segment_selected)
        self._add_button.clicked.connect(lambda *_: self._logic.AddEmptySegment("", 0))
        self._remove_button.clicked.connect(lambda *_: self._remove_segment())
        self._rotate_button.clicked.connect(lambda *_: self.rotateSliceViewsToSegmentation())
        self._show_3d_button.toggled.connect(self._logic.ToggleSegmentationSurfaceRepresentation)
        self._undo_button.clicked.connect(lambda *_: self.undo())
        self._redo_button.clicked.connect(lambda *_: self.redo())
        self._effect_group.buttonClicked.connect(lambda button: self.setActiveEffect(self._effect_of(button)))
        logic, watch = self._logic, self._watch["logic"]
        watch.add(logic, logic.SegmentationHistoryChangedEvent, self._update_undo_buttons)
        watch.add(logic, logic.PauseRenderEvent, slicer.app.pauseRender)
        watch.add(logic, logic.ResumeRenderEvent, slicer.app.resumeRender)

    def setMRMLScene(self, scene):
        if scene is self._scene:
            return
        for box in (self._segmentation_box, self._source_box):
            blocked = box.blockSignals(True)
            box.setMRMLScene(scene)
            box.blockSignals(blocked)
        super().setMRMLScene(scene)
        self._logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self._logic.SetMRMLScene(scene)
        self._logic.SetVerbose(True)
        slicer.app.layoutManager().layoutChanged.connect(self._layout_changed)
        self.setInteractionNode(scene.GetNodeByID("vtkMRMLInteractionNodeSingleton") if scene else None)
        self.updateWidgetFromMRML()
        self._watch["scene"].clear()
        if scene:
            self._watch["scene"].add(scene, scene.NodeRemovedEvent, self._forget_removed_node)
            self._watch["scene"].add(scene, scene.EndCloseEvent, self._scene_closed)
            self._watch["scene"].add(scene, scene.EndBatchProcessEvent, self._batch_ended)

    def interactionNode(self):
        return self._interaction

    def setInteractionNode(self, node):
        self._watch["interaction"].clear()
        self._interaction = node
        if node:
            self._watch["interaction"].add(node, "ModifiedEvent", self._interaction_modified)

    def _interaction_modified(self):
        if self._active_effect is not None:
            self._active_effect.interactionNodeModified(self._interaction)

    def mrmlSegmentEditorNode(self):
        return self._node

    def setMRMLSegmentEditorNode(self, node):
        if node is self._node:
            return
        for name in ("node", "parameters"):
            self._watch[name].clear()
        self._node = node
        if node:
            self._watch["node"].add(node, "ModifiedEvent", self.updateWidgetFromMRML)
        self._node_was_in_scene = node is not None and node.GetScene() is not None
        self._logic.SetSegmentEditorNode(node)
        if node:
            self._initialize_node()
            self.updateWidgetFromMRML()

    def _forget_removed_node(self):
        """The C++ holds the node weakly: removed from the scene, it is gone."""
        if self._node is not None and self._node_was_in_scene and self._node.GetScene() is None:
            for name in ("node", "parameters"):
                self._watch[name].clear()
            self._node = None

    def _initialize_node(self):
        """Give every effect the node and its defaults."""
        if self._node is None:
            return
        self._watch["parameters"].clear()
        modifying = self._node.StartModify()
        for effect in self._effects:
            effect.setParameterSetNode(self._node)
            effect.setMRMLDefaults()
            self._watch["parameters"].add(self._node, self._node.EffectParameterModified, effect.updateGUIFromMRML)
        self._node.EndModify(modifying)

    # nodes and segments
    def segmentationNode(self):
        return self._segmentation_box.currentNode()

    def setSegmentationNode(self, node):
        if node is not self._logic.GetSegmentationNode():
            self._logic.SetSegmentationNode(node)
            self.setActiveEffect(None)

    def segmentationNodeID(self):
        return self._segmentation_box.currentNodeID

    def setSegmentationNodeID(self, node_id):
        self.setSegmentationNode(self._scene.GetNodeByID(node_id) if node_id else None)

    def sourceVolumeNode(self):
        return self._logic.GetSourceVolumeNode()

    def setSourceVolumeNode(self, node):
        self._logic.SetSourceVolumeNode(node)

    def sourceVolumeNodeID(self):
        return self._source.GetID() if self._source else ""

    def setSourceVolumeNodeID(self, node_id):
        self._logic.SetSourceVolumeNodeID(node_id or "")

    def currentSegmentID(self):
        return self._logic.GetCurrentSegmentID()

    def setCurrentSegmentID(self, segment_id):
        if self._node is not None:
            self._node.SetSelectedSegmentID(segment_id)

    # history
    def saveStateForUndo(self):
        self._logic.SaveStateForUndo()

    def undo(self):
        self._logic.Undo()

    def redo(self):
        self._logic.Redo()

    def setMaximumNumberOfUndoStates(self, count):
        self._logic.SetMaximumNumberOfUndoStates(count)

    maximumNumberOfUndoStates = Property(
        int, lambda self: self._logic.GetMaximumNumberOfUndoStates(), setMaximumNumberOfUndoStates
    )

    def setUndoEnabled(self, enabled):
        if enabled:
            self._logic.ClearUndoState()
        self._undo_box.setVisible(enabled)

    undoEnabled = Property(bool, lambda self: not self._undo_box.isHidden(), setUndoEnabled)

    def setReadOnly(self, read_only):
        self._locked = read_only
        if read_only:
            self.setActiveEffect(None)
        self.updateWidgetFromMRML()

    readOnly = Property(bool, lambda self: self._locked, setReadOnly)

    def take_down(self):
        """What the C++ destructor does: views are left alone from now on, each effect is cleaned up, its options go."""
        if self in _living:
            _living.remove(self)
        self.setActiveEffect(None)
        self.uninstallKeyboardShortcuts()
        self.removeViewObservations()
        for observers in self._watch.values():
            observers.clear()
        if self._scene:
            slicer.app.layoutManager().layoutChanged.disconnect(self._layout_changed)
        self._logic.SetSegmentEditorNode(None)
        for effect in self._effects:
            effect.cleanup()
            connections.forget(effect.optionsFrame())
        self._effects, self._node, self._active_effect, self._last_effect = [], None, None, None
        self._quietly(self._table, "setSegmentationNode", None)
        for box in (self._segmentation_box, self._source_box):
            box.setMRMLScene(None)


def living():
    """Editor widgets that were made and not taken down."""
    return list(_living)


def registered_effect_names():
    """Names in the factory, for tests."""
    return [effect.name for effect in qSlicerSegmentEditorEffectFactory.instance().registeredEffects()]


