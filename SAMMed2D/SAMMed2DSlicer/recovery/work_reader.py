"""What is to be kept of work in progress: a segmentation with its segments, and its prompts.

References are taken on the main thread, which takes a moment; voxels are read and packed in the worker thread, those of
segments that have not changed only once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import slicer
from vtk import reference

from SAMMed2DLib.imaging import voxel_patches
from SAMMed2DLib.imaging.voxel_patches import VoxelPatch
from SAMMed2DLib.io.saved_work import PackedVoxels, SavedSegment, SavedWork
from SAMMed2DSlicer.prompts import prompt_nodes
from SAMMed2DSlicer.scene import segment_reader, volumes
from SAMMed2DSlicer.scene.segmentations import FRAME_TAG, SLICES_TAG

# Slicer lists no tags to Python: these are of its terminology and its table of segments, and of propagation.
_TAGS = ("TerminologyEntry", "Segmentation.Status", SLICES_TAG, FRAME_TAG)
ShouldStop = Callable[[], bool]


class Unwritten(Protocol):
    """What a running propagation has found and not written yet."""

    @property
    def grid_extent(self) -> tuple[int, ...]:
        """First and last voxel of the grid along i, j and k."""

    @property
    def geometry(self) -> Any:
        """A vtkMatrix4x4, its voxels to the segmentation's RAS."""

    @property
    def patches(self) -> Mapping[str, Sequence[VoxelPatch]]:
        """The voxels, by segment."""


class Interrupted(Exception):
    """Something else is to be done first."""


def change_key(segmentation: slicer.vtkMRMLSegmentationNode) -> tuple[Any, ...]:
    """A value that changes with the segments and the prompts of a segmentation; on the main thread."""
    segments = segmentation.GetSegmentation()
    ids = segments.GetSegmentIDs()
    voxels = tuple((name, segment_reader.modified_time(segmentation, name), _described(segments, name)) for name in ids)
    return voxels, tuple((node.GetID(), node.GetMTime()) for node in prompts_of(segmentation))


def newest(key: tuple[Any, ...]) -> int:
    """VTK's time of the last change in a `change_key`."""
    voxels, prompts = key
    return max((*(entry[1] for entry in voxels), *(entry[1] for entry in prompts)), default=0)


def prompts_of(segmentation: slicer.vtkMRMLSegmentationNode) -> list[Any]:
    """The nodes of all prompts for a segmentation."""
    role = prompt_nodes.SEGMENTATION
    return [node for node in prompt_nodes.prompt_nodes() if node.GetNodeReference(role) is segmentation]


def has_work(segmentation: slicer.vtkMRMLSegmentationNode) -> bool:
    """Whether there is anything to be lost."""
    ids = segmentation.GetSegmentation().GetSegmentIDs()
    drawn = any(segment_reader.binary_labelmap(segmentation, segment_id) is not None for segment_id in ids)
    return drawn or bool(prompts_of(segmentation))


class WorkReader:
    """A segmentation and its prompts at one moment."""

    def __init__(
        self,
        segmentation: slicer.vtkMRMLSegmentationNode,
        volume: slicer.vtkMRMLScalarVolumeNode | None,
        packed: dict[str, tuple[int, PackedVoxels | None]],
        unwritten: Unwritten | None,
    ) -> None:
        """Take hold of everything, on the main thread.

        Args:
            segmentation: the segmentation node.
            volume: the volume that is segmented.
            packed: by segment, the modification time and the voxels that were read then; it is kept up to date.
            unwritten: voxels to be added; None for none.
        """
        self._packed, self._unwritten = packed, {} if unwritten is None else unwritten.patches
        self._grid_extent, geometry = grid_of(segmentation)
        if unwritten is not None and _rows(geometry) != _rows(unwritten.geometry):
            self._grid_extent, geometry, self._packed = unwritten.grid_extent, unwritten.geometry, {}
        segments = segmentation.GetSegmentation()
        ids = list(segments.GetSegmentIDs())
        self._segments = [(name, *_described(segments, name)) for name in ids]
        self._times = {name: segment_reader.modified_time(segmentation, name) for name in ids}
        self._readers = {name: segment_reader.SegmentReader(segmentation, name, geometry) for name in ids}
        parent = segmentation.GetParentTransformNode()
        self.details = {
            "saved_at": time.time(),
            "scene": slicer.mrmlScene.GetURL() or "",
            "segmentation": segmentation.GetName(),
            "ras_from_ijk": _rows(geometry),
            "reference": reference_of(segments),
            "transform": parent.GetName() if parent is not None else "",
            "volume": None if volume is None else _volume_entry(volume),
            "prompts": [_node_entry(node) for node in prompts_of(segmentation)],
        }

    def read(self, should_stop: ShouldStop) -> SavedWork:
        """Read and pack all voxels, in the worker thread.

        Raises:
            Interrupted: `should_stop` said so; what was packed is kept for the next time.
        """
        saved = []
        for name, title, color, tags in self._segments:
            known = self._packed.get(name)
            if known is None or known[0] != self._times[name]:
                known = self._times[name], self._pack(name, [], should_stop)
                self._packed[name] = known
            voxels = known[1]
            if self._unwritten.get(name):
                voxels = self._pack(name, self._unwritten[name], should_stop)
            saved.append(SavedSegment(name, title, color, dict(tags), voxels))
        return SavedWork(self.details, saved)

    def _pack(self, name: str, more: Sequence[VoxelPatch], should_stop: ShouldStop) -> PackedVoxels | None:
        pieces: list[VoxelPatch | None] = []
        for slab in self._readers[name].slabs(self._grid_extent):
            if should_stop():
                raise Interrupted
            pieces.append(voxel_patches.cropped(slab))
        whole = voxel_patches.union([*pieces, *more])
        return None if whole is None else PackedVoxels.of(whole)


def grid_of(segmentation: slicer.vtkMRMLSegmentationNode) -> tuple[tuple[int, ...], Any]:
    """The grid that holds all segments: its extent, and a vtkMatrix4x4 from its voxels to the segmentation's RAS."""
    segments = segmentation.GetSegmentation()
    # Without looking at voxels: a segment's labelmap is as large as its layer.
    text = segments.DetermineCommonLabelmapGeometry(segments.EXTENT_UNION_OF_SEGMENTS, None) or reference_of(segments)
    image = slicer.vtkOrientedImageData()
    if text:
        slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, image, False)
    return tuple(image.GetExtent()), segment_reader.image_matrix(image)


def reference_of(segments: slicer.vtkSegmentation) -> str:
    """The geometry in which new segments are made, as Slicer writes it; empty for none."""
    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    return str(segments.GetConversionParameter(name) or "")


def _described(segments: Any, segment_id: str) -> tuple[str, tuple[float, float, float], tuple[tuple[str, str], ...]]:
    """Name, colour and tags of a segment."""
    segment = segments.GetSegment(segment_id)
    tags = []
    for name in _TAGS:
        value = reference("")
        if segment.GetTag(name, value):
            tags.append((name, str(value)))
    red, green, blue = segment.GetColor()
    return segment.GetName(), (red, green, blue), tuple(tags)


def _volume_entry(volume: slicer.vtkMRMLScalarVolumeNode) -> dict[str, Any]:
    """What tells a volume from others, and where it came from."""
    storage = volume.GetStorageNode()
    path = storage.GetFullNameFromFileName() if storage is not None and storage.GetFileName() else ""
    return {
        "name": volume.GetName(),
        "file": path or "",
        "size_ijk": list(volumes.size_ijk(volume)) if volume.GetImageData() is not None else [0, 0, 0],
        "ras_from_ijk": volumes.local_from_ijk(volume).tolist(),
    }


def _node_entry(node: Any) -> dict[str, Any]:
    """A node of prompts, of plain types."""
    entry: dict[str, Any] = {
        "class": node.GetClassName(),
        "name": node.GetName(),
        "attributes": {name: node.GetAttribute(name) for name in node.GetAttributeNames()},
        "points": [_point_entry(node, n) for n in range(node.GetNumberOfControlPoints())],
    }
    if node.IsA("vtkMRMLMarkupsROINode"):
        entry |= {"size": list(node.GetSize()), "node_from_object": _rows(node.GetObjectToNodeMatrix())}
    return entry


def _point_entry(node: Any, number: int) -> list[Any]:
    """Position in the node's own RAS, status, and whether the point is selected."""
    status = node.GetNthControlPointPositionStatus(number)
    return [*node.GetNthControlPointPosition(number), int(status), bool(node.GetNthControlPointSelected(number))]


def _rows(matrix: Any) -> list[list[float]]:
    rows: list[list[float]] = slicer.util.arrayFromVTKMatrix(matrix).tolist()
    return rows


