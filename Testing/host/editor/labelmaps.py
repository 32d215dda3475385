"""An effect's images, and the one way in which it changes a segment."""

import slicer

MODES = ("Set", "Add", "Remove", "RemoveAll")
WHOLE = (0, -1, 0, -1, 0, -1)


class Labelmaps:
    """The part of qSlicerSegmentEditorAbstractEffect with images.

    vtkSlicerSegmentEditorLogic::UpdateVolume(void*) does not wrap, so each image is brought up to date by its name.
    """

    ModificationModeSet, ModificationModeAdd, ModificationModeRemove, ModificationModeRemoveAll = range(4)

    def modifierLabelmap(self):
        return self._logic.GetModifierLabelmap()

    def defaultModifierLabelmap(self):
        return self._logic.GetModifierLabelmap() if self._logic.ResetModifierLabelmapToDefault() else None

    def maskLabelmap(self):
        return self._logic.GetMaskLabelmap() if self._logic.UpdateMaskLabelmap() else None

    def selectedSegmentLabelmap(self):
        return self._logic.GetSelectedSegmentLabelmap() if self._logic.UpdateSelectedSegmentLabelmap() else None

    def referenceGeometryImage(self):
        return self._logic.GetReferenceGeometryImage() if self._logic.UpdateReferenceGeometryImage() else None

    def sourceVolumeImageData(self):
        return self._logic.GetAlignedSourceVolume() if self._logic.UpdateAlignedSourceVolume() else None

    def masterVolumeImageData(self):
        raise AttributeError("masterVolumeImageData is deprecated: use sourceVolumeImageData")

    def saveStateForUndo(self):
        self._logic.SaveStateForUndo()

    @staticmethod
    def applyImageMask(image, mask, fill, not_mask=False):
        slicer.vtkOrientedImageDataResample.ApplyImageMask(image, mask, fill, not_mask)

    def modifySelectedSegmentByLabelmap(self, labelmap, mode, *rest):
        """(labelmap, mode[, bypassMasking]) or (labelmap, mode, extent of six ints[, bypassMasking])."""
        extent, bypass = self._extent_and_bypass(rest)
        node = self._node.GetSegmentationNode()
        self._modify(node, self._node.GetSelectedSegmentID() or "", labelmap, mode, extent, bypass)

    def modifySegmentByLabelmap(self, node, segment_id, labelmap, mode, bypassMasking=False):
        """As PythonQt shows it: the C++ overload with an extent takes an int array, which Python cannot give."""
        self._modify(node, segment_id, labelmap, mode, WHOLE, bypassMasking)

    @staticmethod
    def _extent_and_bypass(rest):
        extent = WHOLE
        if rest and isinstance(rest[0], list | tuple):
            extent, rest = rest[0], rest[1:]
        if len(extent) != 6 or not all(isinstance(e, int) for e in extent):
            raise TypeError(f"modifySelectedSegmentByLabelmap: extent must have six ints: {extent!r}")
        if len(rest) > 1 or not all(isinstance(value, bool) for value in rest):
            raise TypeError(f"modifySelectedSegmentByLabelmap: bypassMasking must be a bool: {rest!r}")
        return list(extent), bool(rest and rest[0])

    def _modify(self, node, segment_id, labelmap, mode, extent, bypass):
        if isinstance(mode, bool) or not isinstance(mode, int) or not 0 <= mode < len(MODES):
            raise TypeError(f"not a ModificationMode: {mode!r}")
        if labelmap is None:
            raise TypeError("the modifier labelmap is None")
        constant = getattr(slicer.vtkSlicerSegmentEditorLogic, "ModificationMode" + MODES[mode])
        self._logic.ModifySegmentByLabelmap(
            node, segment_id, labelmap, constant, list(extent), self.perSegment, bool(bypass)
        )
