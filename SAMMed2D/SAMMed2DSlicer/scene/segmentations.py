"""Segmentation nodes: making them, their segments and names, and conversion of surfaces to labelmaps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.scene.volumes import SceneError, size_ijk

# A node's file is named after it. Slicer writes file names into the scene without escaping "&", and such a scene never
# opens again; the others are no characters of XML, or of file names on some system.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f&<>\"'`/\\:*?|%]+")

# Tags of a segment: what propagation has written of it along slices, and in a frame. Scenes are saved with them.
SLICES_TAG, FRAME_TAG = "SAMMed2D.Propagation", "SAMMed2D.PropagationInTime"


def safe_name(text: str) -> str:
    """A node name made from any text, such as the name of a segment, without characters that break saved scenes."""
    return _UNSAFE.sub("_", text)


# New segmentations and segments


def new_segmentation(volume: slicer.vtkMRMLScalarVolumeNode, name: str, segment_names: Sequence[str] = ()) -> Any:
    """Make a segmentation node with the geometry and the transform of a volume.

    Args:
        volume: the volume node.
        name: of the segmentation; what a saved scene cannot bear in it, such as "&", becomes "_".
        segment_names: of its segments, or of its only one; each has its name as its ID, made safe likewise.

    Raises:
        SceneError: the volume is empty.
    """
    size_ijk(volume)
    segment_names = [segment_names] if isinstance(segment_names, str) else segment_names
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", safe_name(name))
    set_up(segmentation, volume)
    for segment_name in segment_names:
        segmentation.GetSegmentation().AddEmptySegment(safe_name(segment_name), segment_name)
    return segmentation


def set_up(segmentation: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLScalarVolumeNode | None) -> None:
    """Give a new segmentation display nodes, and the geometry and transform of a volume, if there is one."""
    segmentation.CreateDefaultDisplayNodes()  # without, segments have no colours
    if volume is None:
        return
    segmentation.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)


def add_segment(segmentation: slicer.vtkMRMLSegmentationNode) -> str:
    """Add an empty segment with a new name, and return its ID."""
    segments = segmentation.GetSegmentation()
    taken = {segments.GetNthSegment(n).GetName() for n in range(segments.GetNumberOfSegments())}
    number = next(n for n in range(1, len(taken) + 2) if _("Segment {number}").format(number=n) not in taken)
    return segments.AddEmptySegment("", _("Segment {number}").format(number=number))


def empty_copy(segmentation: slicer.vtkMRMLSegmentationNode) -> slicer.vtkMRMLSegmentationNode:
    """A copy of a segmentation node with empty segments, in no scene."""
    copy = slicer.vtkMRMLSegmentationNode()
    copy.SetName(segmentation.GetName())
    ours, theirs = copy.GetSegmentation(), segmentation.GetSegmentation()
    ours.SetSourceRepresentationName(slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName())
    ours.CopyConversionParameters(theirs)
    for segment_id in theirs.GetSegmentIDs():
        add_segment_like(copy, segmentation, segment_id)
    return copy


def add_segment_like(
    segmentation: slicer.vtkMRMLSegmentationNode, other: slicer.vtkMRMLSegmentationNode, segment_id: str
) -> None:
    """Add an empty segment like that of another segmentation node.

    Args:
        segmentation: where to add it.
        other: has a segment with this ID, whose name, colour and terminology it gets.
        segment_id: the ID in both.
    """
    source = segment_of(other, segment_id)
    added_id = segmentation.GetSegmentation().AddEmptySegment(segment_id, source.GetName(), source.GetColor())
    segment_of(segmentation, added_id).SetTerminology(source.GetTerminology())


# Segments


def segment_of(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> slicer.vtkSegment:
    """A segment by its ID.

    Raises:
        SceneError: there is no such segment.
    """
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    if segment is None:
        message = _("{name} has no segment {id}: add it first.")
        raise SceneError(message.format(name=segmentation.GetName(), id=repr(segment_id)))
    return segment


def segment_names(segmentation: slicer.vtkMRMLSegmentationNode | None) -> dict[str, str]:
    """Names of segments by ID; empty without a node."""
    if segmentation is None:
        return {}
    return {name: segment_of(segmentation, name).GetName() for name in segmentation.GetSegmentation().GetSegmentIDs()}


def segment_color(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> tuple[float, float, float]:
    """The colour of a segment, each part from 0 to 1."""
    return segment_of(segmentation, segment_id).GetColor()


# Labelmaps, the only representation that Slicer edits


def has_labelmaps(segmentation: slicer.vtkMRMLSegmentationNode) -> bool:
    """Whether the segments are binary labelmaps, and not made of surfaces, for instance."""
    return bool(segmentation.GetSegmentation().GetSourceRepresentationName() == _labelmap())


def create_labelmaps(segmentation: slicer.vtkMRMLSegmentationNode) -> None:
    """Create the binary labelmap representation, beside the source representation."""
    if not has_labelmaps(segmentation) and _has_source(segmentation):
        segmentation.GetSegmentation().CreateRepresentation(_labelmap())


def convert_to_labelmaps(logic: Any, segmentation: slicer.vtkMRMLSegmentationNode) -> None:
    """Make binary labelmaps the source representation, as the Segment Editor does; surfaces are made from them then.

    Args:
        logic: the vtkSlicerSegmentEditorLogic that writes to the segmentation node.
        segmentation: the node.

    Raises:
        SceneError: Slicer cannot convert them.
    """
    if not has_labelmaps(segmentation):
        _convert(logic, segmentation)
    for segment in _segments(segmentation):
        if segment.GetRepresentation(_labelmap()) is None:
            segment.AddRepresentation(_labelmap(), slicer.vtkOrientedImageData())


def _convert(logic: Any, segmentation: slicer.vtkMRMLSegmentationNode) -> None:
    if not _has_source(segmentation):  # nothing to convert, which Slicer would call a failure
        segmentation.GetSegmentation().SetSourceRepresentationName(_labelmap())
        return
    if logic.CanTriviallyConvertSourceRepresentationToBinaryLabelMap():
        is_done = logic.TrivialSetSourceRepresentationToBinaryLabelmap()
    else:
        is_done = logic.SetSourceRepresentationToBinaryLabelMap()
    if not is_done:
        message = _("{name} is made of surfaces that Slicer cannot convert: make it a labelmap in Segmentations.")
        raise SceneError(message.format(name=segmentation.GetName()))


def _labelmap() -> str:
    return slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()


def _has_source(segmentation: slicer.vtkMRMLSegmentationNode) -> bool:
    """Whether any segment has the source representation."""
    name = segmentation.GetSegmentation().GetSourceRepresentationName()
    return any(segment.GetRepresentation(name) is not None for segment in _segments(segmentation))


def _segments(segmentation: slicer.vtkMRMLSegmentationNode) -> list[Any]:
    segments = segmentation.GetSegmentation()
    return [segments.GetSegment(segment_id) for segment_id in segments.GetSegmentIDs()]
