"""Prompts as nodes of the scene: a group for each object of a segment on a slice, with a point list, an ROI and curves.

They are ordinary markups: seen, dragged, deleted and saved like any others. Points that are selected are positive,
the others negative, which Slicer shows in two colours. Positions are kept in the volume's own RAS, under the same
transform as the volume, so that they move with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from SAMMed2DLib.imaging.masks import mask_of_text, mask_to_text
from SAMMed2DSlicer.prompts.prompt_history import with_history
from SAMMed2DSlicer.prompts.prompt_nodes import (
    ACCEPTED,
    BOX,
    ITEM,
    KNOWN,
    NUMBER,
    OPEN,
    PLANE,
    POINTS,
    ROLE,
    SEGMENT_ID,
    SEGMENTATION,
    STATE,
    STROKE,
    VOLUME,
    WAS_WRITTEN,
    WRITTEN,
    box_of_roi,
    flat_box,
    new_node,
    plane_of_text,
    plane_to_text,
    prompt_nodes,
    whole_number,
)
from SAMMed2DSlicer.prompts.prompt_style import show_as_mark, show_in_views, style_box, style_points
from SAMMed2DSlicer.prompts.strokes import StrokeNodes
from SAMMed2DSlicer.scene import volumes
from SAMMed2DSlicer.scene.segmentations import safe_name, segment_of

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane
    from SAMMed2DLib.inference.prompts import Prompts

    Point = Sequence[float] | np.ndarray  # (3,) mm, in the scene

# Positions go through several 4x4 products.
_SLACK_VOXELS = 1e-3


class PromptGroup:
    """The prompts of one object of a segment on one slice: a view of its nodes, which may come and go."""

    def __init__(
        self,
        segmentation: slicer.vtkMRMLSegmentationNode,
        segment_id: str,
        volume: slicer.vtkMRMLScalarVolumeNode,
        plane: SlicePlane,
        item: int = -1,
        number: int = 1,
        initial_mask_hw: np.ndarray | None = None,
    ) -> None:
        """Describe a group; nodes are made with its first prompts.

        Args:
            segmentation: the segmentation node.
            segment_id: the segment.
            volume: the volume node that the slice is of.
            plane: the slice.
            item: of the sequence that the volume is a proxy of; -1 without one.
            number: tells apart the groups of a segment on one slice.
            initial_mask_hw: (H, W) bool, the mask of the segment on the slice that the prompts are to correct, if any.
        """
        self.segmentation, self.segment_id, self.volume = segmentation, segment_id, volume
        self.plane, self.item, self.number, self.initial_mask_hw = plane, item, number, initial_mask_hw
        self.key = (segmentation, segment_id, volume, plane, item, number)  # what tells the group from others
        self.lost_points = 0  # how many points were off the slice when they were read last
        self._slice_text = ""
        self._view_ids: tuple[str, ...] = ()
        self.points: Any = None
        self.box: Any = None
        self.strokes = StrokeNodes()

    @property
    def nodes(self) -> list[Any]:
        """The nodes that are in the scene."""
        single = [node for node in (self.points, self.box) if node is not None and node.GetScene() is not None]
        return single + self.strokes.nodes

    @property
    def is_empty(self) -> bool:
        """Whether there is no prompt."""
        return not self.nodes or (self.box is None and not self.strokes and not self._placed_points())

    @property
    def state(self) -> str:
        """OPEN, WRITTEN or ACCEPTED."""
        states = {node.GetAttribute(STATE) for node in self.nodes}
        return states.pop() if len(states) == 1 and states <= {WRITTEN, ACCEPTED} else OPEN

    @property
    def is_accepted(self) -> bool:
        """Whether the user is done with the object."""
        return self.state == ACCEPTED

    @property
    def was_written(self) -> bool:
        """Whether a mask of these prompts was ever written, also if they were moved or it was undone since."""
        return any(node.GetAttribute(WAS_WRITTEN) for node in self.nodes)

    def correct(self, initial_mask_hw: np.ndarray | None) -> None:
        """Let the prompts correct another mask, (H, W) bool, from now on; None for no mask."""
        self.initial_mask_hw = initial_mask_hw
        for node in self.nodes:
            node.SetAttribute(KNOWN, None if initial_mask_hw is None else mask_to_text(initial_mask_hw))

    def set_state(self, state: str) -> None:
        """Keep the state with the nodes; those of accepted objects become small marks."""
        for node in self.nodes:
            node.SetAttribute(STATE, state)
            if state != OPEN:
                node.SetAttribute(WAS_WRITTEN, "1")
            show_as_mark(node, state == ACCEPTED)

    def belongs_to(
        self,
        segmentation: slicer.vtkMRMLSegmentationNode,
        segment_id: str,
        volume: slicer.vtkMRMLScalarVolumeNode,
        plane: SlicePlane,
        item: int,
    ) -> bool:
        """Whether this is a group of a segment on a slice.

        Args:
            segmentation: the segmentation node.
            segment_id: the segment.
            volume: the volume node that the slice is of.
            plane: the slice.
            item: of the sequence that the volume is a proxy of; -1 without one.
        """
        from SAMMed2DLib.imaging.planes import are_same_plane

        return (
            self.segmentation is segmentation
            and self.segment_id == segment_id
            and self.volume is volume
            and self.item == item
            and (self.plane == plane or are_same_plane(self.plane, plane))
        )

    def add_point(self, point_world: Point, positive: bool) -> None:
        """Add a point at the end, at (3,) mm in the scene."""

        def add(points: Any) -> None:
            number = points.AddControlPointWorld(vtk.vtkVector3d(*point_world))
            points.SetNthControlPointSelected(number, positive)
            _label_points(points)

        if self.points in self.nodes:
            _modify(self.points, add)
        else:
            self.points = self._make("vtkMRMLMarkupsFiducialNode", POINTS, add, style_points)

    def set_box(self, corner_world: Point, opposite_world: Point) -> None:
        """Draw the box anew between two corners, (3,) mm each, in the scene; it lies flat in the slice."""
        object_to_node, size_mm = flat_box(corner_world, opposite_world, self.plane, self.volume)

        def shape(box: Any) -> None:
            box.SetSize(*size_mm)
            box.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(object_to_node))
            for n in range(box.GetNumberOfControlPoints()):  # its middle would lie on the structure, in the way
                box.SetNthControlPointVisibility(n, False)

        if self.box in self.nodes:
            _modify(self.box, shape)
        else:
            self.box = self._make("vtkMRMLMarkupsROINode", BOX, shape, style_box)

    def add_stroke(self, points_world: np.ndarray, positive: bool, is_closed: bool) -> None:
        """Draw a stroke after all prompts that are there.

        Args:
            points_world: (N, 3) mm, in the scene, the corners of its line.
            positive: whether it is inside the object, or a lasso around it.
            is_closed: whether it is a lasso, or a scribble.
        """
        self.strokes.add(points_world, positive, is_closed, len(self._placed_points()), self._make)

    def remove_last_prompt(self) -> bool:
        """Take the last point or stroke away; tells whether there was one."""
        numbers = self._placed_points()
        if self.strokes.is_last(len(numbers)):
            _remove_node(self.strokes.nodes[-1])
            return True
        if numbers:
            self.points.RemoveNthControlPoint(numbers[-1])
        return bool(numbers)

    def remove(self) -> None:
        """Take the nodes out of the scene."""
        for node in self.nodes:
            _remove_node(node)
        self.points = self.box = None

    def read(self, world_from_ijk: np.ndarray | None = None) -> Prompts | None:
        """The prompts, whose points are labelled by their sides; None if there are none. For the rest see `prompts`."""
        if self.points in self.nodes:
            _label_points(self.points)
        return None if self.is_empty else self.prompts(world_from_ijk)

    def prompts(self, world_from_ijk: np.ndarray | None = None) -> Prompts:
        """The prompts in slice px, points in their order; those that were moved off the slice are left out.

        Args:
            world_from_ijk: (4, 4), mm, of the volume, from whoever has it.

        Raises:
            SceneError: the volume is bent by a transform.
            PromptError: a number is not finite.
        """
        from SAMMed2DLib.inference.prompts import Prompts

        if world_from_ijk is None:
            world_from_ijk = volumes.world_from_ijk(self.volume)
        points_world, labels = self._points_world()
        box_xyxy = box_of_roi(self.box, self.plane, world_from_ijk) if self.box in self.nodes else None
        xy, off_plane = points_world[:, :2], np.zeros(0)
        if len(labels):
            xy, off_plane = self.plane.project_ras(points_world, world_from_ijk)
        on_slice = np.abs(off_plane) <= self.plane.half_thickness + _SLACK_VOXELS
        strokes, lost = self.strokes.read(self.plane, world_from_ijk)
        self.lost_points = int((~on_slice).sum()) + lost
        prompts = Prompts(xy[on_slice], labels[on_slice], box_xyxy, strokes=tuple(strokes))
        return with_history(prompts, self.nodes)

    def counts(self) -> tuple[int, int, int]:
        """How many positive points, negative points and boxes there are."""
        numbers = self._placed_points()
        positive = sum(bool(self.points.GetNthControlPointSelected(n)) for n in numbers)
        return positive, len(numbers) - positive, int(self.box in self.nodes)

    def follow_volume(self) -> None:
        """Put the nodes under the volume's present transform."""
        for node in self.nodes:
            if node.GetTransformNodeID() != self.volume.GetTransformNodeID():
                node.SetAndObserveTransformNodeID(self.volume.GetTransformNodeID())

    def show(self, view_ids: Sequence[str], is_reopened: bool) -> None:
        """Show the prompts in these views only, as small marks where they are accepted and not reopened."""
        self.show_in(view_ids)
        for node in self.nodes:
            show_as_mark(node, self.is_accepted and not is_reopened)

    def show_in(self, view_ids: Sequence[str]) -> None:
        """Show the prompts, also those to come, in these views only; in none, if none is given."""
        self._view_ids = tuple(view_ids)
        for node in self.nodes:
            if node.GetDisplayNode() is not None:
                show_in_views(node.GetDisplayNode(), self._view_ids)

    def middle_world(self) -> np.ndarray:
        """A point to jump to, (3,) mm: the middle of the prompts."""
        points = [*self._points_world()[0], *self.strokes.points_world]
        if self.box in self.nodes:
            center = [0.0, 0.0, 0.0]
            self.box.GetCenterWorld(center)
            points.append(np.array(center))
        return np.mean(points, axis=0)

    def slice_text(self) -> str:
        """Where the slice is, for people, with the frame of a sequence."""
        if not self._slice_text:
            name = volumes.slice_name(self.plane, self.volume)
            frame = _("{slice}, frame {item}").format(slice=name, item=self.item + 1)
            self._slice_text = name if self.item < 0 else frame
        return self._slice_text

    def _make(self, class_name: str, role: str, fill: Callable[[Any], None], style: Callable[[Any], None]) -> Any:
        """Make a node with its prompts in it.

        It comes into the scene with its display: Slicer gives one of its own to markups that have none.
        """
        segment = segment_of(self.segmentation, self.segment_id)
        name = f"{segment.GetName()} {self.slice_text()} {role}"
        kind = "vtkMRMLMarkups" if role == STROKE else class_name.removesuffix("Node")  # curves have none of their own
        display = new_node(f"{kind}DisplayNode")
        style(display)
        show_in_views(display, self._view_ids)  # other views then make nothing for it
        slicer.mrmlScene.AddNode(display)
        node = new_node(class_name)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(safe_name(name)))
        attributes = {
            ROLE: role,
            SEGMENT_ID: self.segment_id,
            PLANE: plane_to_text(self.plane),
            ITEM: str(self.item),
            NUMBER: str(self.number),
            STATE: OPEN,
        }
        if self.initial_mask_hw is not None:
            attributes[KNOWN] = mask_to_text(self.initial_mask_hw)
        for key, value in attributes.items():
            node.SetAttribute(key, value)
        node.SetAndObserveDisplayNodeID(display.GetID())
        node.SetNodeReferenceID(SEGMENTATION, self.segmentation.GetID())
        node.SetNodeReferenceID(VOLUME, self.volume.GetID())
        slicer.mrmlScene.AddNode(node)
        node.SetAndObserveTransformNodeID(self.volume.GetTransformNodeID())
        _modify(node, fill)
        return node

    def _placed_points(self) -> list[int]:
        if self.points not in self.nodes:
            return []
        defined = self.points.PositionDefined
        count = self.points.GetNumberOfControlPoints()
        return [n for n in range(count) if self.points.GetNthControlPointPositionStatus(n) == defined]

    def _points_world(self) -> tuple[np.ndarray, np.ndarray]:
        numbers = self._placed_points()
        points = [self.points.GetNthControlPointPositionWorld(n) for n in numbers]
        labels = [int(self.points.GetNthControlPointSelected(n)) for n in numbers]
        return np.array(points, float).reshape(-1, 3), np.array(labels, int)


def _label_points(points: Any) -> None:
    """Mark each point with its sign, in the view and for files (see `SAMMed2DLib.io.markups`)."""
    for n in range(points.GetNumberOfControlPoints()):
        positive = bool(points.GetNthControlPointSelected(n))
        label, description = ("+", "positive") if positive else ("\N{MINUS SIGN}", "negative")
        if points.GetNthControlPointLabel(n) != label:
            points.SetNthControlPointLabel(n, label)
        if points.GetNthControlPointDescription(n) != description:
            points.SetNthControlPointDescription(n, description)


def _remove_node(node: Any) -> None:
    """Take a node and its display out of the scene."""
    display = node.GetDisplayNode()
    slicer.mrmlScene.RemoveNode(node)
    if display is not None and display.GetScene() is not None:
        slicer.mrmlScene.RemoveNode(display)


def _modify(node: Any, change: Callable[[Any], None]) -> None:
    """Change a node with one event for all of it."""
    state = node.StartModify()
    change(node)
    node.EndModify(state)


def find_groups(segmentation: slicer.vtkMRMLSegmentationNode) -> list[PromptGroup]:
    """The prompt groups of a segmentation, as the nodes of the scene tell; incomplete nodes are left out."""
    return _groups_of(node for node in prompt_nodes() if node.GetNodeReference(SEGMENTATION) is segmentation)


def groups_on(volume: slicer.vtkMRMLScalarVolumeNode) -> list[PromptGroup]:
    """The prompt groups on the slices of a volume, of any segmentation."""
    return _groups_of(node for node in prompt_nodes() if node.GetNodeReference(VOLUME) is volume)


def _groups_of(nodes: Iterator[Any]) -> list[PromptGroup]:
    groups: dict[tuple[str, ...], PromptGroup] = {}
    for node in nodes:
        segmentation = node.GetNodeReference(SEGMENTATION)
        volume, plane = node.GetNodeReference(VOLUME), plane_of_text(node.GetAttribute(PLANE) or "")
        if segmentation is None or volume is None or plane is None:
            continue
        names = (SEGMENT_ID, PLANE, ITEM, NUMBER)
        key = (segmentation.GetID(), volume.GetID(), *(node.GetAttribute(name) or "" for name in names))
        if key not in groups:
            item, number = whole_number(node.GetAttribute(ITEM), -1), whole_number(node.GetAttribute(NUMBER), 1)
            initial_mask_hw = mask_of_text(node.GetAttribute(KNOWN) or "", plane.size_hw)
            segment_id = node.GetAttribute(SEGMENT_ID) or ""
            groups[key] = PromptGroup(segmentation, segment_id, volume, plane, item, number, initial_mask_hw)
        role = node.GetAttribute(ROLE)
        if role == STROKE:
            groups[key].strokes.nodes = [*groups[key].strokes.nodes, node]
        else:
            setattr(groups[key], POINTS if role == POINTS else BOX, node)
    return list(groups.values())
