"""The nodes of prompts: names of their attributes, and slices and boxes in them.

Attributes and references are saved with scenes: their names must stay.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from SAMMed2DSlicer.scene import volumes

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane

    Point = Sequence[float] | np.ndarray  # (3,) mm, in the scene

_PREFIX = "SAMMed2D."
ROLE, SEGMENT_ID, PLANE, ITEM, NUMBER, STATE, KNOWN, WAS_WRITTEN = (
    _PREFIX + name
    for name in ("Role", "SegmentID", "Plane", "Item", "Number", "State", "KnownMask", "WasWritten")
)
CHOICES, ACCEPTANCES = _PREFIX + "Candidates", _PREFIX + "Acceptances"
SEGMENTATION, VOLUME = _PREFIX + "Segmentation", _PREFIX + "Volume"
POINTS, BOX, STROKE = "points", "box", "stroke"
ORDER = _PREFIX + "Order"  # of a stroke: how many points were given before it, and its number
# A group is open until its mask is written; it is accepted, and closed, once the user goes on to the next object.
OPEN, WRITTEN, ACCEPTED = "open", "written", "accepted"


def prompt_nodes() -> list[slicer.vtkMRMLMarkupsNode]:
    """All nodes of the scene that hold prompts."""
    points = slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")
    boxes = slicer.util.getNodesByClass("vtkMRMLMarkupsROINode")
    curves = slicer.util.getNodesByClass("vtkMRMLMarkupsCurveNode")
    return [node for node in [*points, *boxes, *curves] if node.GetAttribute(ROLE) in (POINTS, BOX, STROKE)]


def hide_prompts() -> None:
    """Show no prompts of the scene."""
    for node in prompt_nodes():
        display = node.GetDisplayNode()
        if display is not None:
            display.SetVisibility(False)


def is_prompt_node(node: Any) -> bool:
    """Whether a node holds prompts."""
    return node is not None and node.IsA("vtkMRMLMarkupsNode") and node.GetAttribute(ROLE) in (POINTS, BOX, STROKE)


def plane_to_text(plane: SlicePlane) -> str:
    """A slice as JSON, for a node's attribute."""
    from dataclasses import asdict

    return json.dumps(asdict(plane))


@lru_cache(4096)
def plane_of_text(text: str) -> SlicePlane | None:
    """A slice from its JSON; None if it is not one."""
    from SAMMed2DLib.imaging.geometry import SlicePlane

    try:
        fields = json.loads(text)
        return SlicePlane(**{name: tuple(values) for name, values in fields.items()})
    except (TypeError, ValueError, AttributeError):
        return None


def whole_number(text: str | None, default: int) -> int:
    """A whole number from an attribute; scenes come from elsewhere too."""
    try:
        return int(text or default)
    except ValueError:
        return default


def new_node(class_name: str) -> Any:
    """Make a node that is not in the scene yet."""
    node = slicer.mrmlScene.CreateNodeByClass(class_name)
    node.UnRegister(None)
    return node


def box_of_roi(
    roi: slicer.vtkMRMLMarkupsROINode, plane: SlicePlane, world_from_ijk: np.ndarray
) -> np.ndarray | None:
    """Find the box that an ROI node has on a slice.

    Args:
        roi: the ROI node.
        plane: the slice.
        world_from_ijk: (4, 4), mm, of its volume.

    Returns:
        (4,) slice px, half-open, not clipped; None if the box does not meet the slice.
    """
    from SAMMed2DLib.io.markups import CORNER_SIGNS, box_on_slice

    size = np.array(roi.GetSize())
    matrix = slicer.util.arrayFromVTKMatrix(roi.GetObjectToWorldMatrix())
    corners_world = (CORNER_SIGNS * size) @ matrix[:3, :3].T + matrix[:3, 3]
    return box_on_slice(*plane.project_ras(corners_world, world_from_ijk))


def flat_box(
    corner_world: Point, opposite_world: Point, plane: SlicePlane, volume: slicer.vtkMRMLScalarVolumeNode
) -> tuple[np.ndarray, np.ndarray]:
    """The ROI between two corners, flat in a slice.

    Args:
        corner_world: (3,) mm, in the scene.
        opposite_world: (3,) mm, in the scene.
        plane: the slice.
        volume: its volume.

    Returns:
        (4, 4) the ROI's frame in the volume's RAS, and (3,) its size, mm.
    """
    ras_from_world = np.linalg.inv(volumes.world_from_local(volume))
    corners = np.array([corner_world, opposite_world]) @ ras_from_world[:3, :3].T + ras_from_world[:3, 3]
    world = ras_from_world @ volumes.world_from_ijk(volume)
    right = world[:3, :3] @ np.array(plane.column_step_ijk)
    down = world[:3, :3] @ np.array(plane.row_step_ijk)
    normal = np.cross(right, down)
    axes = [right / np.linalg.norm(right), normal / np.linalg.norm(normal)]
    frame = np.eye(4)
    frame[:3, :3] = np.column_stack([axes[0], np.cross(axes[1], axes[0]), axes[1]])
    frame[:3, 3] = corners.mean(axis=0)
    size_mm = np.abs((corners[1] - corners[0]) @ frame[:3, :3])
    pixel_mm = [np.linalg.norm(right), np.linalg.norm(down)]
    size_mm[:2] = np.maximum(size_mm[:2], pixel_mm)  # a line means a row of pixels
    size_mm[2] = np.abs(axes[1] @ world[:3, :3]).sum()
    return frame, size_mm
