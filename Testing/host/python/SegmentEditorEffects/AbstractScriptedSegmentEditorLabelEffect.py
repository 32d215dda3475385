"""Stands for Slicer's file of the same name: effects that draw shapes into labelmaps."""

from .AbstractScriptedSegmentEditorEffect import AbstractScriptedSegmentEditorEffect

__all__ = ["AbstractScriptedSegmentEditorLabelEffect"]


class AbstractScriptedSegmentEditorLabelEffect(AbstractScriptedSegmentEditorEffect):
    """Adds the label effect's drawing functions."""

    def appendPolyMask(self, labelmap, polygon, viewWidget, segmentationNode=None):
        self.scriptedEffect.appendPolyMask(labelmap, polygon, viewWidget, segmentationNode)

    def appendImage(self, labelmap, image):
        self.scriptedEffect.appendImage(labelmap, image)
