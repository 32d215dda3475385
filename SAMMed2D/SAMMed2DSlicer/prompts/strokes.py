"""The scribbles and lassos of a prompt group: markups curves of straight lines, each with a few corners to drag.

A curve whose points are selected lies inside the object, the others outside, which Slicer shows in two colours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import vtk

from SAMMed2DSlicer.prompts.prompt_nodes import ORDER, STROKE, whole_number
from SAMMed2DSlicer.prompts.prompt_style import style_stroke

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane
    from SAMMed2DLib.inference.prompt_parts.stroke import Stroke

CURVE, CLOSED_CURVE = "vtkMRMLMarkupsCurveNode", "vtkMRMLMarkupsClosedCurveNode"
# How far a line may be from the path of the mouse, slice px.
_TOLERANCE_PX = 0.4
# Positions go through several 4x4 products.
SLACK_VOXELS = 1e-3

# Makes a node of a class and a role in the scene, filled by one call and styled by another.
MakeNode = Callable[[str, str, Callable[[Any], None], Callable[[Any], None]], Any]


class StrokeNodes:
    """The curves of one prompt group, in the order in which they were drawn."""

    def __init__(self) -> None:
        """Begin without curves."""
        self._curves: list[Any] = []

    def __len__(self) -> int:
        """How many curves are in the scene."""
        return len(self.nodes)

    @property
    def nodes(self) -> list[Any]:
        """The curves that are in the scene."""
        return [curve for curve in self._curves if curve.GetScene() is not None]

    @nodes.setter
    def nodes(self, curves: Sequence[Any]) -> None:
        self._curves = sorted(curves, key=_order)

    @property
    def points_world(self) -> list[np.ndarray]:
        """The corners of all curves, (3,) mm each, in the scene."""
        return [point for curve in self.nodes for point in corners_world(curve)]

    def add(self, points_world: np.ndarray, positive: bool, is_closed: bool, after: int, make: MakeNode) -> None:
        """Draw a curve.

        Args:
            points_world: (N, 3) mm, in the scene, its corners.
            positive: whether it is inside the object, or around it.
            is_closed: whether it is a lasso.
            after: how many points the group has.
            make: makes the node.
        """

        def fill(curve: Any) -> None:
            curve.SetCurveTypeToLinear()
            curve.SetAttribute(ORDER, f"{after} {1 + max((_order(other)[1] for other in self.nodes), default=0)}")
            for point in points_world:
                number = curve.AddControlPointWorld(vtk.vtkVector3d(*point))
                curve.SetNthControlPointSelected(number, positive)
                curve.SetNthControlPointDescription(number, "positive" if positive else "negative")

        curve = make(CLOSED_CURVE if is_closed else CURVE, STROKE, fill, style_stroke)
        self._curves = [*self.nodes, curve]

    def lose(self, curve: Any) -> bool:
        """Know nothing more of a curve that was removed from the scene; tells whether it was one of these."""
        kept = [other for other in self._curves if other is not curve]
        is_lost = len(kept) < len(self._curves)
        self._curves = kept
        return is_lost

    def is_last(self, point_count: int) -> bool:
        """Whether the last of a group's prompts is a curve, if it has so many points."""
        return bool(self.nodes) and min(_order(self.nodes[-1])[0], point_count) == point_count

    def read(self, plane: SlicePlane, world_from_ijk: np.ndarray) -> tuple[list[Stroke], int]:
        """The strokes on a slice, and how many corners were moved off it, which do not count.

        Args:
            plane: the slice.
            world_from_ijk: (4, 4), mm, of its volume.
        """
        strokes, lost = [], 0
        for curve in self.nodes:
            stroke, off = stroke_of_curve(curve, plane, world_from_ijk)
            lost += off
            strokes += [] if stroke is None else [stroke]
        return strokes, lost


def stroke_of_curve(
    curve: Any, plane: SlicePlane, world_from_ijk: np.ndarray, is_closed: bool | None = None, label: int | None = None
) -> tuple[Stroke | None, int]:
    """What a markups curve means on a slice, and how many of its corners are off the slice.

    Args:
        curve: a vtkMRMLMarkupsCurveNode.
        plane: the slice.
        world_from_ijk: (4, 4), mm, of its volume.
        is_closed: whether it is a lasso; None: as the curve is.
        label: 1 inside or 0 outside; None: as the curve's points are selected.
    """
    from SAMMed2DLib.inference.prompt_parts.stroke import Stroke

    points_world = corners_world(curve)
    if not len(points_world):
        return None, 0
    xy, off_plane = plane.project_ras(points_world, world_from_ijk)
    is_on = np.abs(off_plane) <= plane.half_thickness + SLACK_VOXELS
    if not is_on.any():
        return None, len(xy)
    if label is None:
        label = int(curve.GetNthControlPointSelected(0))
    if is_closed is None:
        is_closed = bool(curve.IsA(CLOSED_CURVE))
    return Stroke(xy[is_on], label, is_closed, _order(curve)[0]), int((~is_on).sum())


def corners_world(curve: Any) -> np.ndarray:
    """The line of a markups curve as corners, (N, 3) mm, in the scene: its points, or points along a spline."""
    if curve.GetCurveTypeAsString(curve.GetCurveType()) == "linear" or curve.GetNumberOfControlPoints() < 3:
        count, defined = curve.GetNumberOfControlPoints(), curve.PositionDefined
        numbers = [n for n in range(count) if curve.GetNthControlPointPositionStatus(n) == defined]
        points = [curve.GetNthControlPointPositionWorld(n) for n in numbers]
        return np.array(points, float).reshape(-1, 3)
    along = curve.GetCurvePointsWorld()
    return np.array([along.GetPoint(n) for n in range(along.GetNumberOfPoints())], float).reshape(-1, 3)


def simplified(path_xy: np.ndarray, tolerance: float = _TOLERANCE_PX) -> np.ndarray:
    """Which of a path's points, (N, 2), keep it nearly the same if the others go: their numbers, first and last too.

    Args:
        path_xy: (N, 2), slice px.
        tolerance: how far a point that goes may be from the line that is left, px.
    """
    kept = {0, len(path_xy) - 1}
    parts = [(0, len(path_xy) - 1)]
    while parts:
        first, last = parts.pop()
        if last - first < 2:
            continue
        between = path_xy[first + 1 : last] - path_xy[first]
        chord = path_xy[last] - path_xy[first]
        length = float(chord @ chord)
        share = np.clip(between @ chord / length, 0, 1) if length else np.zeros(len(between))
        away = np.hypot(*(between - share[:, None] * chord).T)
        if away.max() > tolerance:
            farthest = first + 1 + int(away.argmax())
            kept.add(farthest)
            parts += [(first, farthest), (farthest, last)]
    return np.array(sorted(kept))


def _order(curve: Any) -> tuple[int, int]:
    """How many points were given before a curve, and its number among the group's curves."""
    words = (curve.GetAttribute(ORDER) or "").split()
    numbers = [whole_number(word, 0) for word in words[:2]]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (0, 0)
