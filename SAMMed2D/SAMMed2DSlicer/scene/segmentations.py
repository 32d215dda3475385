"""New segmentations and segments, in the geometry of a volume."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.scene.node_names import safe_name
from SAMMed2DSlicer.scene.volumes import size_ijk


def new_segmentation(volume: Any, name: str, segment_names: Sequence[str] = ()) -> Any:
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
    prepare(segmentation, volume)
    for segment_name in segment_names:
        segmentation.GetSegmentation().AddEmptySegment(safe_name(segment_name), segment_name)
    return segmentation


def prepare(segmentation: Any, volume: Any) -> None:
    """Let a new segmentation be seen, and give it the geometry and the transform of a volume, if there is one."""
    segmentation.CreateDefaultDisplayNodes()  # without, segments have no colours
    if volume is None:
        return
    segmentation.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)


def add_segment(segmentation: Any) -> str:
    """Add an empty segment with a new name, and return its ID."""
    segments = segmentation.GetSegmentation()
    taken = {segments.GetNthSegment(n).GetName() for n in range(segments.GetNumberOfSegments())}
    number = next(n for n in range(1, len(taken) + 2) if _("Segment {number}").format(number=n) not in taken)
    return segments.AddEmptySegment("", _("Segment {number}").format(number=number))


def segment_names(segmentation: Any) -> dict[str, str]:
    """The segments of a segmentation node, by their IDs; none without a node."""
    segments = segmentation.GetSegmentation() if segmentation is not None else None
    return {name: segments.GetSegment(name).GetName() for name in segments.GetSegmentIDs()} if segments else {}


def segment_color(segmentation: Any, segment_id: str) -> tuple[float, float, float]:
    """The colour of a segment, each part from 0 to 1."""
    return tuple(segmentation.GetSegmentation().GetSegment(segment_id).GetColor())
