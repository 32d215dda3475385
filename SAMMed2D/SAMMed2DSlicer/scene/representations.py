"""Segments that came as surfaces: Slicer edits labelmaps only."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.scene.volumes import SceneError


def make_readable(segmentation: Any) -> None:
    """Give the segments of a segmentation node labelmaps to read, beside what they are made of."""
    if segmentation.GetSegmentation().GetSourceRepresentationName() != _labelmap() and _has_source(segmentation):
        segmentation.GetSegmentation().CreateRepresentation(_labelmap())


def make_editable(logic: Any, segmentation: Any) -> None:
    """Let labelmaps be what the segments are made of, as the Segment Editor does; surfaces follow them from now on.

    Args:
        logic: the vtkSlicerSegmentEditorLogic that writes to the segmentation node.
        segmentation: the node.

    Raises:
        SceneError: Slicer cannot convert them.
    """
    if segmentation.GetSegmentation().GetSourceRepresentationName() != _labelmap():
        _convert(logic, segmentation)
    for segment in _segments(segmentation):
        if segment.GetRepresentation(_labelmap()) is None:
            segment.AddRepresentation(_labelmap(), slicer.vtkOrientedImageData())


def _convert(logic: Any, segmentation: Any) -> None:
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


def _has_source(segmentation: Any) -> bool:
    """Whether any segment has what the segmentation says that its segments are made of."""
    name = segmentation.GetSegmentation().GetSourceRepresentationName()
    return any(segment.GetRepresentation(name) is not None for segment in _segments(segmentation))


def _segments(segmentation: Any) -> list[Any]:
    segments = segmentation.GetSegmentation()
    return [segments.GetSegment(segment_id) for segment_id in segments.GetSegmentIDs()]
