"""A Segment Editor at work on one volume, for tests: what a user has on the screen after opening the module."""

import numpy as np
import slicer
import vtk

from .volumes import world_from_ijk


class Editing:
    """An editor with its nodes, and the way from voxels to pixels.

    Attributes: editor, node (vtkMRMLSegmentEditorNode), segmentation, segment_ids, volume, views (by name: "Red",
    "Yellow", "Green", "3D").
    """

    def __init__(self, volume, segments=("A", "B")):
        scene = slicer.mrmlScene
        self.volume = volume
        self.segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
        self.segmentation.CreateDefaultDisplayNodes()
        self.segmentation.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        self.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        add = self.segmentation.GetSegmentation().AddEmptySegment
        self.segment_ids = [add(name, name) for name in segments]
        self._make_editor(scene)
        manager = slicer.app.layoutManager()
        self.widgets = {name: manager.sliceWidget(name) for name in manager.sliceViewNames()}
        self.views = {name: widget.sliceView() for name, widget in self.widgets.items()}
        self.views["3D"] = manager.threeDWidget(0).threeDView()
        self.centre()

    def _make_editor(self, scene):
        self.editor = slicer.qMRMLSegmentEditorWidget()
        self.node = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
        self.editor.setMRMLSegmentEditorNode(self.node)
        self.editor.setMRMLScene(scene)
        self.editor.setSegmentationNode(self.segmentation)
        self.editor.setSourceVolumeNode(self.volume)
        if self.segment_ids:
            self.editor.setCurrentSegmentID(self.segment_ids[0])

    def centre(self, ijk=None):
        """Turn the slice views to the volume's axes, fit it, and show the slice through this voxel (or the middle)."""
        if ijk is None:
            ijk = [n // 2 for n in self.volume.GetImageData().GetDimensions()]
        for widget in self.widgets.values():
            widget.sliceLogic().RotateSliceToLowestVolumeAxes(False)
            widget.fitSliceToBackground()
            widget.mrmlSliceNode().JumpSliceByCentering(*self.world(ijk))

    def view_across(self, axis=2):
        """The name of the slice view whose slices are those of a voxel axis (0: i, 1: j, 2: k)."""
        direction = world_from_ijk(self.volume)[:3, axis]

        def alignment(name):
            normal = [self.views[name].mrmlSliceNode().GetSliceToRAS().GetElement(row, 2) for row in range(3)]
            return abs(np.dot(normal, direction))

        return max(self.widgets, key=alignment)

    def world(self, ijk):
        """A voxel's centre in the scene: (3,) float, mm."""
        return tuple((world_from_ijk(self.volume) @ [*ijk, 1])[:3])

    def xy(self, ijk, view="Red"):
        """A voxel's centre in a slice view: two ints, px from its lower left."""
        inverse = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.views[view].mrmlSliceNode().GetXYToRAS(), inverse)
        return tuple(round(v) for v in inverse.MultiplyPoint((*self.world(ijk), 1.0))[:2])

    def mask(self, segment_id=None):
        """A segment in the volume's voxels: (K, J, I) bool."""
        segment_id = segment_id or self.segment_ids[0]
        labels = slicer.util.arrayFromSegmentBinaryLabelmap(self.segmentation, segment_id, self.volume)
        return np.zeros(self.array().shape[:3], bool) if labels is None else labels.astype(bool)

    def array(self):
        """The volume's voxels: (K, J, I) or (K, J, I, 3)."""
        return slicer.util.arrayFromVolume(self.volume)

    def activate(self, name):
        """Make an effect the active one, and give its Python object."""
        self.editor.setActiveEffectByName(name)
        return self.editor.activeEffect().self()
