"""Reading the voxels of segments, in a geometry or on a slice, and when they were modified."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk

from SAMMed2DLib.imaging.slice_voxels import nearest_voxels
from SAMMed2DLib.imaging.voxel_patches import VoxelPatch, overlap, shape_kji
from SAMMed2DSlicer.scene.segmentations import segment_of
from SAMMed2DSlicer.scene.volumes import image_kji, world_from_ijk, world_from_local

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane

# A segment is read in pieces of about so many voxels, which takes a few milliseconds each.
_SLAB_VOXELS = 1_000_000


def segment_array(
    segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, extent: Sequence[int], geometry: vtk.vtkMatrix4x4
) -> np.ndarray:
    """Read a segment within an extent of a geometry: (K, J, I) bool.

    Args:
        segmentation: the segmentation node.
        segment_id: the segment; one without a labelmap is empty.
        extent: first and last voxel along i, j and k.
        geometry: vtkMatrix4x4, voxels to the segmentation's RAS.
    """
    return SegmentReader(segmentation, segment_id, geometry).array_within(extent)


class SegmentReader:
    """Reads a segment's voxels in a geometry, in any thread, while the segment may be changed in another one.

    Slicer allocates new voxels when it enlarges a labelmap, so that held ones stay valid; `is_stale` tells whether
    voxels were changed in place.
    """

    def __init__(
        self, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, geometry: vtk.vtkMatrix4x4
    ) -> None:
        """Hold a reference to the voxels, on the main thread; nothing is read yet.

        Args:
            segmentation: the segmentation node.
            segment_id: the segment; one without a labelmap is empty.
            geometry: vtkMatrix4x4, voxels to the segmentation's RAS.
        """
        self._source = segmentation, segment_id
        image = binary_labelmap(segmentation, segment_id)
        self._time = _mtime(image)
        self.is_empty = image is None
        if image is None:
            return
        self._extent, self._own_from_geometry = image.GetExtent(), _other_from_geometry(geometry, image_matrix(image))
        self._shift = _whole_shift(self._own_from_geometry)
        self._values = image_kji(image)
        self._label = segment_of(segmentation, segment_id).GetLabelValue()

    def is_stale(self) -> bool:
        """Whether the segment was changed since; on the main thread."""
        return _mtime(binary_labelmap(*self._source)) != self._time

    def extent_within(self, within: Sequence[int]) -> tuple[int, ...] | None:
        """The part of an extent of the geometry where the segment may have voxels; None if there is none."""
        if self.is_empty or self._shift is None:
            return None if self.is_empty else tuple(within)
        own = [end - self._shift[n // 2] for n, end in enumerate(self._extent)]
        found = tuple((min if n % 2 else max)(own[n], within[n]) for n in range(6))
        return found if all(found[n] <= found[n + 1] for n in (0, 2, 4)) else None

    def slabs(self, within: Sequence[int]) -> Iterator[VoxelPatch]:
        """The voxels within an extent in small pieces, so that other threads can run in between."""
        extent_within = self.extent_within(within)
        if extent_within is None:
            return
        i0, i1, j0, j1, first, last = extent_within
        thick = max(1, _SLAB_VOXELS // ((i1 - i0 + 1) * (j1 - j0 + 1)))
        for k in range(first, last + 1, thick):
            yield VoxelPatch((i0, j0, k), self.array_within((i0, i1, j0, j1, k, min(k + thick - 1, last))))

    def array_within(self, extent: Sequence[int]) -> np.ndarray:
        """The voxels within an extent of the geometry, (K, J, I) bool."""
        found = np.zeros(shape_kji(extent), bool)
        if self.is_empty:
            return found
        if self._shift is None:
            return self._nearest(extent)
        shifted = [end - self._shift[n // 2] for n, end in enumerate(self._extent)]
        shared = overlap(extent, shifted)
        if shared is not None:
            found[shared[0]] = self._values[shared[1]] == self._label
        return found

    def _nearest(self, extent: Sequence[int]) -> np.ndarray:
        """`array_within` for a segment with another grid, by nearest neighbour."""
        i0, i1, j0, j1, k0, k1 = extent
        k, j, i = np.ogrid[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1]
        inside = np.ones(shape_kji(extent), bool)
        at = []
        for axis in (2, 1, 0):
            step = self._own_from_geometry[axis]
            index = np.floor(step[0] * i + step[1] * j + step[2] * k + step[3] + 0.5).astype(np.int32)
            low, high = self._extent[2 * axis], self._extent[2 * axis + 1]
            inside &= (index >= low) & (index <= high)
            at.append(np.clip(index, low, high) - low)
        return inside & (self._values[tuple(at)] == self._label)


def binary_labelmap(
    segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str
) -> slicer.vtkOrientedImageData | None:
    """The binary labelmap of a segment; None if there is no such segment, or it is empty."""
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    image = segment.GetRepresentation(name) if segment is not None else None
    if not isinstance(image, slicer.vtkOrientedImageData) or image.IsEmpty():
        return None
    return None if image.GetPointData().GetScalars() is None else image


def has_voxels(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> bool:
    """Whether a segment has any voxel; a new one shares the labelmap of others."""
    image = binary_labelmap(segmentation, segment_id)
    if image is None:
        return False
    label = segment_of(segmentation, segment_id).GetLabelValue()
    values = image_kji(image).reshape(-1)
    pieces = (values[start : start + _SLAB_VOXELS] for start in range(0, len(values), _SLAB_VOXELS))
    return any((piece == label).any() for piece in pieces)


def modified_time(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> int:
    """VTK's modification time of the voxels of a segment; 0 for none."""
    return _mtime(binary_labelmap(segmentation, segment_id))


def _mtime(image: vtk.vtkImageData | None) -> int:
    """VTK's modification time of an image; 0 for none."""
    return 0 if image is None else image.GetMTime()


def _other_from_geometry(geometry: vtk.vtkMatrix4x4, other: Any) -> np.ndarray:
    """(4, 4): voxels of `geometry` to those of `other`; both are vtkMatrix4x4 from voxels to the same RAS."""
    return np.linalg.inv(slicer.util.arrayFromVTKMatrix(other)) @ slicer.util.arrayFromVTKMatrix(geometry)


def _whole_shift(own_from_geometry: np.ndarray) -> tuple[int, int, int] | None:
    """The shift between two geometries, voxels, if they differ by a whole number of voxels only; None otherwise."""
    shift = np.round(own_from_geometry[:3, 3])
    same = (
        np.abs(own_from_geometry[:3, :3] - np.eye(3)).max() < 1e-4
        and np.abs(own_from_geometry[:3, 3] - shift).max() < 1e-2
    )
    return (int(shift[0]), int(shift[1]), int(shift[2])) if same else None


def image_matrix(image: slicer.vtkOrientedImageData) -> vtk.vtkMatrix4x4:
    """vtkMatrix4x4 from an image's voxels to its RAS, mm."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return matrix


def mask_on_slice(
    volume: slicer.vtkMRMLScalarVolumeNode,
    plane: SlicePlane,
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
) -> np.ndarray:
    """Read a segment on a slice, by nearest neighbour.

    Args:
        volume: the volume node.
        plane: a slice of it.
        segmentation: the segmentation node; it may have another geometry and transform.
        segment_id: the segment; one without voxels is empty.

    Returns:
        (H, W) bool.

    Raises:
        SceneError: one of them is under a non-linear transform.
    """
    image = binary_labelmap(segmentation, segment_id)
    if image is None:
        return np.zeros(plane.size_hw, bool)
    own_world = world_from_local(segmentation) @ slicer.util.arrayFromVTKMatrix(image_matrix(image))
    own_from_volume = np.linalg.inv(own_world) @ world_from_ijk(volume)
    inside, at = nearest_voxels(plane, own_from_volume, image.GetExtent())
    return inside & (image_kji(image)[at] == segment_of(segmentation, segment_id).GetLabelValue())
