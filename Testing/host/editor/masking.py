"""The masking section: where editing is allowed, and which other segments may change."""

import slicer


class Masking:
    """The part of qMRMLSegmentEditorWidget that shows and sets mask and overwrite modes."""

    def _fill_masking(self):
        segmentation, editor = slicer.vtkMRMLSegmentationNode, slicer.vtkMRMLSegmentEditorNode
        for text, mode in (
            ("Everywhere", segmentation.EditAllowedEverywhere),
            ("Inside all segments", segmentation.EditAllowedInsideAllSegments),
            ("Inside all visible segments", segmentation.EditAllowedInsideVisibleSegments),
            ("Outside all segments", segmentation.EditAllowedOutsideAllSegments),
            ("Outside all visible segments", segmentation.EditAllowedOutsideVisibleSegments),
        ):
            self._mask_mode.addItem(text, mode)
        self._mask_mode.insertSeparator(self._mask_mode.count)
        self._fixed_masks = self._mask_mode.count
        for text, mode in (
            ("Overwrite all", editor.OverwriteAllSegments),
            ("Overwrite visible", editor.OverwriteVisibleSegments),
            ("Allow overlap", editor.OverwriteNone),
        ):
            self._overwrite.addItem(text, mode)
        self._mask_mode.currentIndexChanged.connect(self._mask_mode_chosen)
        self._overwrite.currentIndexChanged.connect(self._overwrite_chosen)
        self._intensity.toggled.connect(lambda on: self._with_node("SetSourceVolumeIntensityMask", on))
        self._intensity_range.valuesChanged.connect(
            lambda low, high: self._with_node("SetSourceVolumeIntensityMaskRange", low, high)
        )

    def _with_node(self, method, *arguments):
        if self._node is None:
            raise RuntimeError("the editor has no parameter node")
        getattr(self._node, method)(*arguments)

    def _mask_mode_chosen(self, index):
        if index < self._fixed_masks:
            self._with_node("SetMaskMode", self._mask_mode.itemData(index))
        else:
            self._with_node("SetMaskSegmentID", self._mask_mode.itemData(index))
            self._with_node("SetMaskMode", slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)

    def _overwrite_chosen(self, index):
        self._with_node("SetOverwriteMode", self._overwrite.itemData(index))

    def _update_masking(self):
        if not self._scene or self._scene.IsClosing() or self._node is None:
            return
        node = self._node
        if node.GetMaskMode() == slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment:
            shown = self._mask_mode.findData(node.GetMaskSegmentID())
        else:
            shown = self._mask_mode.findData(node.GetMaskMode())
        self._quietly(self._mask_mode, "setCurrentIndex", shown)
        self._quietly(self._intensity, "setChecked", bool(node.GetSourceVolumeIntensityMask()))
        self._update_intensity_range()
        self._quietly(self._overwrite, "setCurrentIndex", self._overwrite.findData(node.GetOverwriteMode()))

    def _update_intensity_range(self):
        node, image = self._node, self._source.GetImageData() if self._source else None
        low, high = node.GetSourceVolumeIntensityMaskRange()
        if node.GetSourceVolumeIntensityMask() and low == high:
            first, last = image.GetScalarRange() if image else (0.0, 0.0)
            low, high = first + 0.25 * (last - first), first + 0.75 * (last - first)
            node.SetSourceVolumeIntensityMaskRange(low, high)
        self._intensity_range.setVisible(bool(node.GetSourceVolumeIntensityMask()))
        self._quietly(self._intensity_range, "setValues", low, high)

    def _source_image_modified(self):
        image = self._source.GetImageData() if self._source else None
        if image is not None:
            self._intensity_range.setRange(*image.GetScalarRange())
        self._intensity_range.setEnabled(image is not None)

    def _segments_changed(self):
        """Keep the list of segments to mask with."""
        chosen = self._mask_mode.currentIndex
        kept = self._mask_mode.itemData(chosen) if chosen >= self._fixed_masks else None
        blocked = self._mask_mode.blockSignals(True)
        while self._mask_mode.count > self._fixed_masks:
            self._mask_mode.removeItem(self._mask_mode.count - 1)
        segmentation = self._node.GetSegmentationNode().GetSegmentation() if self._node_segmentation() else None
        for segment_id in segmentation.GetSegmentIDs() if segmentation else ():
            self._mask_mode.addItem("Inside " + segmentation.GetSegment(segment_id).GetName(), segment_id)
        if segmentation and kept:
            self._mask_mode.setCurrentIndex(self._mask_mode.findData(kept))
        self._mask_mode.blockSignals(blocked)
        if segmentation and self._mask_mode.currentIndex < 0:
            self._mask_mode.setCurrentIndex(0)

    def _node_segmentation(self):
        return self._node.GetSegmentationNode() if self._node else None

    @staticmethod
    def _quietly(widget, method, *arguments):
        blocked = widget.blockSignals(True)
        getattr(widget, method)(*arguments)
        widget.blockSignals(blocked)

    def toggleSourceVolumeIntensityMaskEnabled(self):
        self._logic.ToggleSourceVolumeIntensityMask()
