"""From the segment editor node to the widget."""

import slicer
from PySide6 import QtWidgets as W

from .effect_list import NULL_EFFECT


class Updating:
    """The part of qMRMLSegmentEditorWidget that follows MRML: updateWidgetFromMRML and what it calls."""

    def updateWidgetFromMRML(self):
        scene = self._scene
        if not scene or scene.IsClosing() or scene.IsBatchProcessing():
            return
        enabled = self._node is not None
        self._segmentation_box.setEnabled(enabled)
        if not enabled:
            for widget in (self._effects_box, self._masking_box, self._options, self._source_box):
                widget.setEnabled(False)
            return
        modifying = self._node.StartModify()
        try:
            self._update_segmentation()
            self._update_source()
            self._update_rotate_button()
            for widget in (self._effects_box, self._masking_box, self._options, self._source_box):
                widget.setEnabled(self._segmentation is not None)
            self._update_selected_segment()
            self._update_effects()
            self._update_undo_buttons()
            self._update_masking()
            self._segments_changed()
        finally:
            self._node.EndModify(modifying)

    def _update_segmentation(self):
        segmentation = self._logic.GetSegmentationNode()
        if segmentation is not self._segmentation_box.currentNode():
            self._quietly(self._segmentation_box, "setCurrentNode", segmentation)
        if segmentation is not self._segmentation:
            self._watch_segmentation(segmentation)
            self._quietly(self._table, "setSegmentationNode", segmentation)
            if segmentation:
                self._show_segmentation(segmentation)
            self.segmentationNodeChanged.emit(segmentation)
        self._segments_changed()

    def _watch_segmentation(self, node):
        watch = self._watch["segmentation"]
        watch.clear()
        self._segmentation = node
        if node is None:
            return
        events = node.GetSegmentation()
        watch.add(node, "ModifiedEvent", self.updateWidgetFromMRML)
        for event in (events.ContainedRepresentationNamesModified, events.SegmentAdded, events.SegmentRemoved):
            watch.add(node, event, self._segments_changed)
        watch.add(node, events.SegmentModified, self._update_masking)
        watch.add(node, node.DisplayModifiedEvent, self._display_modified)
        watch.add(node, events.SourceRepresentationModified, self._update_rotate_button)

    def _show_segmentation(self, node):
        self._source_box.setCurrentNode(node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()))
        node.CreateDefaultDisplayNodes()
        names, display = slicer.vtkSegmentationConverter, node.GetDisplayNode()
        for name, method in (
            (names.GetSegmentationClosedSurfaceRepresentationName(), display.SetPreferredDisplayRepresentationName3D),
            (names.GetSegmentationBinaryLabelmapRepresentationName(), display.SetPreferredDisplayRepresentationName2D),
        ):
            if node.GetSegmentation().ContainsRepresentation(name):
                method(name)
        ids = node.GetSegmentation().GetSegmentIDs()
        if ids:
            self._table.setSelectedSegmentIDs([ids[0]])
        self.hideLabelLayer()

    def _update_source(self):
        if self._node_segmentation() is None:
            return
        source = self._logic.GetSourceVolumeNode()
        if source is self._source:
            return
        self._watch["source"].clear()
        self._source = source
        if source:
            self._watch["source"].add(source, source.ImageDataModifiedEvent, self._source_image_modified)
        self._quietly(self._source_box, "setCurrentNode", source)
        if source and self.autoShowSourceVolumeNode:
            self.showSourceVolumeInSliceViewers()
        self._source_image_modified()
        self.sourceVolumeNodeChanged.emit(source)
        self.masterVolumeNodeChanged.emit(source)
        for effect in self._effects:
            effect.sourceVolumeNodeChanged()
            effect.masterVolumeNodeChanged()

    def _valid_segment_id(self):
        segment_id = self._node.GetSelectedSegmentID() or ""
        segmentation = self._segmentation.GetSegmentation() if self._segmentation else None
        return segment_id if segmentation and segmentation.GetSegmentIndex(segment_id) >= 0 else ""

    def _update_selected_segment(self):
        segment_id = self._valid_segment_id()
        self._add_button.setEnabled(self._logic.CanAddSegments())
        self._remove_button.setEnabled(bool(segment_id) and not self._locked)
        if not segment_id:
            self._table.clearSelection()
        elif self._logic.GetSegmentationNode():
            self._table.setSelectedSegmentIDs([segment_id])
        self._table.setReadOnly(self._locked)

    def _update_effects(self):
        """Deactivate the old effect, activate the new; only now is the new one the active effect."""
        self._enable_effects()
        effect = self.effectByName(self._node.GetActiveEffectName())
        if effect is self._active_effect:
            return
        if self._active_effect:
            self._active_effect.deactivate()
        if effect and not self._make_labelmap_the_source():
            effect = None
        if effect:
            self.setupViewObservations()
            self._leave_placing()
            effect.activate()
        else:
            self.removeViewObservations()
        self._show_options(effect)
        if self._interaction is None or self._in_view_mode():
            self.setEffectCursor(effect)
        self._last_effect, self._active_effect = self._active_effect, effect

    def _enable_effects(self):
        overall = self._node.GetSourceVolumeNode() is not None and not self._locked
        self._effects_box.setEnabled(overall)
        self._options_box.setEnabled(overall)
        segmentation = self._node.GetSegmentationNode()
        available = bool(segmentation and segmentation.GetSegmentation().GetNumberOfSegments())
        selected = bool(self._node.GetSelectedSegmentID())
        for button in self._effect_group.buttons() if overall else ():
            effect = self._effect_of(button)
            if effect:
                usable = available and (selected or not effect.perSegment)
                button.setEnabled(not effect.requireSegments or usable)

    def _in_view_mode(self):
        return self._interaction.GetCurrentInteractionMode() == self._interaction.ViewTransform

    def _leave_placing(self):
        if self._interaction and not self._in_view_mode():
            self._interaction.SetCurrentInteractionMode(self._interaction.ViewTransform)

    def _show_options(self, effect):
        self._options_box.setVisible(effect is not None)
        self._options_box.setTitle(effect.title if effect else "")
        self._help.setCollapsibleText(effect.helpText() if effect else "")
        self._masking_box.setVisible(effect is not None and self._masking_visible)
        name = effect.name if effect else NULL_EFFECT
        for button in self._effect_group.buttons():
            self._quietly(button, "setChecked", button.objectName == name)

    def _make_labelmap_the_source(self):
        logic = self._logic
        if logic.CanTriviallyConvertSourceRepresentationToBinaryLabelMap():
            return logic.TrivialSetSourceRepresentationToBinaryLabelmap()
        if self._segmentation is None:
            return False
        name = self._segmentation.GetSegmentation().GetSourceRepresentationName()
        question = f"Only labelmaps can be edited; this segmentation's source is {name}. Make it a labelmap?"
        answer = _ask("Make it a labelmap?", question)
        return answer and logic.SetSourceRepresentationToBinaryLabelMap()

    def _update_undo_buttons(self):
        self._undo_button.setEnabled(not self._locked and self._logic.CanUndo())
        self._redo_button.setEnabled(not self._locked and self._logic.CanRedo())

    # what the user or the scene changes
    def _segmentation_chosen(self, node):
        if self._scene and not self._scene.IsBatchProcessing():
            self.setSegmentationNode(node)

    def _source_chosen(self, node):
        if self._scene and not self._scene.IsBatchProcessing():
            self.setSourceVolumeNode(node)

    def _segment_selected(self, *_):
        """Raises: RuntimeError: there is no parameter node."""
        if self._node is None:
            raise RuntimeError("the editor has no parameter node")
        selected = self._table.selectedSegmentIDs()
        segment_id = selected[0] if selected else ""
        if segment_id == (self._node.GetSelectedSegmentID() or ""):
            return
        self._node.SetSelectedSegmentID(segment_id or None)
        if not segment_id and self._active_effect and self._active_effect.perSegment:
            self.setActiveEffect(None)
        self.updateWidgetFromMRML()
        self.currentSegmentIDChanged.emit(segment_id)

    def _remove_segment(self):
        selected = self._logic.RemoveSelectedSegment()
        if selected:
            self._table.setSelectedSegmentIDs([selected])

    def _scene_closed(self):
        self._initialize_node()
        self.updateWidgetFromMRML()

    def _batch_ended(self):
        if self._scene is None:
            return
        if self._node is not None:
            if self._node.GetSegmentationNode() is not self._segmentation_box.currentNode():
                self.setSegmentationNode(self._segmentation_box.currentNode())
            if self._node.GetSourceVolumeNode() is not self._source_box.currentNode():
                self.setSourceVolumeNode(self._source_box.currentNode())
        self.updateWidgetFromMRML()

    def setMaskingSectionVisible(self, visible):
        self._masking_visible = visible
        if self._node is not None:
            self._update_effects()

def _ask(title, question):
    box = W.QMessageBox
    return box.question(None, title, question, box.Yes | box.No, box.No) == box.Yes
