"""Stands for Slicer's package SegmentEditorEffects: what effects written in Python derive from.

Left out: the base class of label effects, and what neither our effect nor the demo calls.
"""

import qt
import slicer


class AbstractScriptedSegmentEditorEffect:
    """The Python half of an effect; the other half, ``scriptedEffect``, takes and gives Qt's points and vectors."""

    def __init__(self, scriptedEffect):
        self.scriptedEffect = scriptedEffect

    def register(self):
        """Offer the effect to all editors, those that are open too."""
        effects = slicer.qSlicerSegmentEditorEffectFactory.instance()
        effects.registerEffect(self.scriptedEffect)

    def xyToRas(self, xy, viewWidget):
        """A view's pixel in the scene: [r, a, s], mm."""
        world = self.scriptedEffect.xyToRas(qt.QPoint(*xy), viewWidget)
        return list(world.toTuple())

    def xyToIjk(self, xy, viewWidget, image, parentTransformNode=None):
        """A view's pixel in an oriented image: [i, j, k], whole voxels."""
        voxel = self.scriptedEffect.xyToIjk(qt.QPoint(*xy), viewWidget, image, parentTransformNode)
        return [int(index) for index in voxel.toTuple()]
