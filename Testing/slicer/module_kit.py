"""What the tests of the module and its Python API start from: a scene with a structure, and a model that finds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from editor_fixture import BrightSession, a_volume, put_under, structure_kji


class BrightMany(BrightSession):
    """A model whose masks are what is bright, and that is asked as the module asks."""

    def __init__(self) -> None:
        super().__init__()
        self.known: set[bytes] = set()

    def answer_many(self, image, prompts, *, zoom=None, should_stop=None):
        return [self.answer(image, one, zoom=zoom, should_stop=should_stop or (lambda: False)) for one in prompts]

    def is_encoded(self, image) -> bool:
        return image.tobytes() in self.known

    def encode(self, image, should_stop=None):
        super().encode(image, should_stop)
        self.known.add(image.tobytes())


@dataclass
class Case:
    """A volume with a bright structure, and a segmentation of the same geometry with the segments A and B."""

    volume: Any
    segmentation: Any
    structure: np.ndarray  # (K, J, I) bool
    world_from_ijk: np.ndarray

    def world(self, *points_ijk) -> np.ndarray:
        """Voxels in the scene, (N, 3) mm."""
        return np.array([(self.world_from_ijk @ [*ijk, 1])[:3] for ijk in points_ijk])

    def segment(self, segment_id="A") -> np.ndarray:
        """A segment in the volume's voxels."""
        found = slicer.util.arrayFromSegmentBinaryLabelmap(self.segmentation, segment_id, self.volume)
        return np.zeros(self.structure.shape, bool) if found is None else found.astype(bool)

    def fiducials(self, *points_ijk, name="F"):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
        for point in self.world(*points_ijk):
            node.AddControlPointWorld(vtk.vtkVector3d(*point))
        return node

    def roi(self, low_ijk, high_ijk, name="R"):
        """An ROI along the volume's axes between two places, in voxels."""
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", name)
        steps = self.world_from_ijk[:3, :3]
        frame = np.eye(4)
        frame[:3, :3] = steps / np.linalg.norm(steps, axis=0)
        frame[:3, 3] = self.world((np.array(low_ijk) + high_ijk) / 2)[0]
        node.SetSize(*((np.array(high_ijk) - low_ijk) * np.linalg.norm(steps, axis=0)))
        node.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(frame))
        return node


def a_case(ijk_to_ras=None, volume_under=None, segmentation_under=None, volume_kji=None) -> Case:
    """Make a volume and a segmentation; both may be under transforms, (4, 4) mm."""
    structure = structure_kji()
    ijk_to_ras = np.eye(4) if ijk_to_ras is None else ijk_to_ras
    values = np.where(structure, 160, 40).astype(np.int16) if volume_kji is None else volume_kji
    volume = a_volume(values, ijk_to_ras)
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    world = ijk_to_ras
    if volume_under is not None:
        put_under(volume, volume_under)
        world = volume_under @ ijk_to_ras
    if segmentation_under is not None:
        put_under(segmentation, segmentation_under)
    for name in ("A", "B"):
        segmentation.GetSegmentation().AddEmptySegment(name, name)
    return Case(volume, segmentation, structure, world)


def on_slice(structure: np.ndarray, axis: int, index: int) -> np.ndarray:
    """The structure on one slice along a volume axis (0 = i), nothing elsewhere."""
    at = [slice(None)] * 3
    at[2 - axis] = index
    expected = np.zeros_like(structure)
    expected[tuple(at)] = structure[tuple(at)]
    return expected
