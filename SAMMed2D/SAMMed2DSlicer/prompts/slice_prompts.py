"""What scripts and the panel say about a slice and an object, turned into a `SlicePlane` and `Prompts`.

A slice is named by an axis and a number, by a slice view, or given as a plane. Points and boxes are markups nodes, or
numbers in the scene's RAS, mm.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.prompts.prompt_nodes import box_of_roi, is_prompt_node
from SAMMed2DSlicer.prompts.slice_strokes import strokes_on
from SAMMed2DSlicer.scene import volumes
from SAMMed2DSlicer.scene.volumes import SceneError

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane
    from SAMMed2DLib.inference.prompts import Prompts

_ARRAY_AXES = {"i": 2, "j": 1, "k": 0}
# Matrices leave a little rounding, voxels.
_SLACK = 1e-3


# Slices


def plane_of(volume: slicer.vtkMRMLScalarVolumeNode, plane: Any) -> SlicePlane:
    """Find the slice that is meant.

    Args:
        volume: the volume node.
        plane: (axis, number) with "axial", "coronal", "sagittal" (as the scene shows them), "i", "j" or "k"; the name
            of a slice view or its vtkMRMLSliceNode, for what it shows; or a `SlicePlane` of this volume.

    Raises:
        SceneError: no volume, no such view, or a plane of another volume.
        GeometryError: no such slice.
    """
    from SAMMed2DLib.imaging.geometry import SlicePlane

    if not is_node(volume, "vtkMRMLVolumeNode"):
        raise SceneError(_("A volume node is needed, not {volume}.").format(volume=repr(volume)))
    size = volumes.size_ijk(volume)
    if isinstance(plane, SlicePlane):
        if plane.size_ijk != size:
            message = _("The slice is one of another volume: it must be one of {name}.")
            raise SceneError(message.format(name=volume.GetName()))
        return plane
    if isinstance(plane, str):
        return volumes.plane_shown(slice_node(plane), volume)
    if is_node(plane, "vtkMRMLSliceNode"):
        return volumes.plane_shown(plane, volume)
    try:
        axis, number = plane
    except (TypeError, ValueError):
        message = _("A slice is (axis, number), the name of a slice view, a slice node or a SlicePlane, not {plane}.")
        raise SceneError(message.format(plane=repr(plane))) from None
    return SlicePlane.of_axis(size, _ARRAY_AXES.get(axis, axis), number, volumes.world_from_ijk(volume))


def slice_node(name: str) -> Any:
    """The slice node of a view.

    Raises:
        SceneError: no view has this name; the message lists those there are.
    """
    nodes = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    for node in nodes:
        if name in (node.GetLayoutName(), node.GetName()):
            return node
    names = ", ".join(node.GetLayoutName() for node in nodes) or _("none")
    raise SceneError(_("There is no slice view {name}; there are: {names}.").format(name=repr(name), names=names))


def views_shown() -> list[Any]:
    """The slice nodes of the current layout; all, where no window shows one."""
    nodes = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    return [node for node in nodes if node.IsMappedInLayout()] or nodes


# Prompts


def prompts_on(
    plane: SlicePlane,
    volume: slicer.vtkMRMLScalarVolumeNode,
    positive: Any = (),
    negative: Any = (),
    box: Any = None,
    points: Any = (),
    candidate: int | None = None,
    scribbles: Any = (),
    lassos: Any = (),
    *,
    is_correction: bool = False,
) -> Prompts:
    """Bring points, a box, scribbles and lassos of the scene to a slice.

    Args:
        plane: a slice of the volume.
        volume: the volume node.
        positive: points inside the object: (N, 3) or (3,) world RAS mm, a markups point list, or a list of such. Of a
            point list those on the slice count, plain points must be on it.
        negative: points beside the object, likewise.
        box: a markups ROI node, or two opposite corners, (2, 3) world RAS mm. Corners that are on the slice span a
            rectangle in it; others span a box along R, A and S. A box counts as its cut by the slice.
        points: points of both sides in their order, after those before: (N, 4) or (4,) world RAS mm and 1 inside or 0
            beside the object; or a point list that the effect made.
        candidate: which of the masks that they may mean, from 1, small to large; None for the best one.
        scribbles: lines over what is inside or outside the object, see `slice_strokes.strokes_on`; they come after the
            points.
        lassos: lines around the object, or around what is outside, likewise; they come before the points.
        is_correction: whether a mask that is there says where the object is, so that points beside it are enough.

    Raises:
        SceneError: nothing says where the object is, or something is not on the slice.
        PromptError: a pixel is both positive and negative.
        GeometryError: something is not made of finite numbers.
    """
    from SAMMed2DLib.inference.interaction import says_where
    from SAMMed2DLib.inference.prompts import Prompts

    inside, outside = _points_xy(positive, True, plane, volume), _points_xy(negative, False, plane, volume)
    ordered, sides = _ordered_points(points, plane, volume)
    points_xy = np.concatenate([inside, outside, ordered])
    labels = np.concatenate([np.ones(len(inside), int), np.zeros(len(outside), int), sides])
    box_xyxy = None if box is None else _box_xyxy(box, plane, volume)
    strokes = [
        *strokes_on(lassos, True, plane, volume, 0),
        *strokes_on(scribbles, False, plane, volume, len(labels)),
    ]
    prompts = Prompts(points_xy, labels, box_xyxy, strokes=tuple(strokes)).with_candidate(candidate)
    if not says_where(prompts) and not (is_correction and prompts.count):
        if prompts.count:
            raise SceneError(_("Points beside the object do not say where it is: add one on it, or a box around it."))
        raise SceneError(_("Nothing says where the object is: add a point on it, or a box around it."))
    return prompts.checked(plane.size_hw)


def points_of(node: Any, positive: bool) -> np.ndarray:
    """The placed points of a markups node, (N, 3) world RAS, mm; of a node of the effect those of this kind."""
    is_mixed = is_prompt_node(node)
    found = [
        node.GetNthControlPointPositionWorld(n)
        for n in range(node.GetNumberOfControlPoints())
        if _is_placed(node, n) and (not is_mixed or bool(node.GetNthControlPointSelected(n)) == positive)
    ]
    return np.array(found, float).reshape(-1, 3)


def _is_placed(node: Any, number: int) -> bool:
    return bool(node.GetNthControlPointPositionStatus(number) == slicer.vtkMRMLMarkupsNode.PositionDefined)


def is_node(value: Any, kind: str = "vtkMRMLNode") -> bool:
    """Whether something is a MRML node of a class."""
    return hasattr(value, "IsA") and bool(value.IsA(kind))


def _points_xy(points: Any, positive: bool, plane: SlicePlane, volume: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """All points on the slice, (N, 2) slice px."""
    found = [_some_points_xy(part, positive, plane, volume) for part in _parts(points)]
    return np.concatenate([np.empty((0, 2)), *found])


def _ordered_points(
    points: Any, plane: SlicePlane, volume: slicer.vtkMRMLScalarVolumeNode
) -> tuple[np.ndarray, np.ndarray]:
    """Points of both sides: (N, 2) slice px and (N,) int, 1 inside and 0 beside the object."""
    points = () if points is None else points
    if is_node(points):
        if not is_prompt_node(points):
            message = _("{name} does not say which points are beside the object: give it as positive or negative.")
            raise SceneError(message.format(name=points.GetName()))
        numbers = [n for n in range(points.GetNumberOfControlPoints()) if _is_placed(points, n)]
        world = np.array([points.GetNthControlPointPositionWorld(n) for n in numbers], float).reshape(-1, 3)
        xy, is_on, _off = _projected(world, plane, volume)
        return xy[is_on], np.array([int(points.GetNthControlPointSelected(n)) for n in numbers], int)[is_on]
    try:
        rows = np.asarray(points, float).reshape(-1, 4)
    except (TypeError, ValueError):
        rows = np.full((1, 4), np.nan)
    if not np.isin(rows[:, 3], (0, 1)).all():
        message = _("Points in their order are (N, 4) numbers, RAS in mm and 1 inside or 0 outside, not {points}.")
        raise SceneError(message.format(points=repr(points)))
    found = [_some_points_xy(row[:3], bool(row[3]), plane, volume) for row in rows]
    return np.concatenate([np.empty((0, 2)), *found]), rows[:, 3].astype(int)


def _parts(points: Any) -> Iterator[Any]:
    """Nodes one by one, and plain points as they are."""
    is_list = isinstance(points, (list, tuple))
    if is_list and any(is_node(part) for part in points):
        yield from points
    elif points is not None and (not is_list or len(points)):
        yield points


def _some_points_xy(
    points: Any, positive: bool, plane: SlicePlane, volume: slicer.vtkMRMLScalarVolumeNode
) -> np.ndarray:
    """The points of one node that are on the slice, or plain points, which must all be on it."""
    if is_node(points):
        if not is_node(points, "vtkMRMLMarkupsNode"):
            message = _("{name} is no markups node: points are taken from point lists.")
            raise SceneError(message.format(name=points.GetName()))
        xy, is_on, off = _projected(points_of(points, positive), plane, volume)
        if not is_on.any():
            raise SceneError(_("{name} has no point on this slice.").format(name=points.GetName()))
        return xy[is_on]
    world = _world_points(points)
    xy, is_on, off = _projected(world, plane, volume)
    if not is_on.all():
        number = int(np.argmin(is_on))
        place = ", ".join(f"{value:g}" for value in world[number])
        if abs(off[number]) > plane.half_thickness + _SLACK:
            message = _("The point ({place}) mm is {off} voxels off the slice: choose the slice that it is on.")
            raise SceneError(message.format(place=place, off=f"{abs(off[number]):.1f}"))
        raise SceneError(_("The point ({place}) mm is outside the volume.").format(place=place))
    return xy


def _projected(
    world: np.ndarray, plane: SlicePlane, volume: slicer.vtkMRMLScalarVolumeNode
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, 2) slice px, (N,) whether a point is on the slice, and (N,) how far it is off the slice, voxels."""
    xy, off = volumes.project_points(world, plane, volume)
    low, high = np.array([-0.5, -0.5]), np.array(plane.size_hw[::-1]) - 0.5
    is_within = ((xy > low - _SLACK) & (xy < high + _SLACK)).all(axis=1)
    return np.clip(xy, low, high), is_within & (np.abs(off) <= plane.half_thickness + _SLACK), off


def _world_points(points: Any) -> np.ndarray:
    try:
        world = np.atleast_2d(np.asarray(points, float))
    except (TypeError, ValueError):
        world = np.empty(0)
    if world.ndim != 2 or world.shape[1] != 3:
        message = _("Points are (N, 3) numbers in RAS, mm, or point lists, not {points}.")
        raise SceneError(message.format(points=repr(points)))
    return world


def _box_xyxy(box: Any, plane: SlicePlane, volume: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """A box on the slice, (4,) slice px, half-open.

    Raises:
        SceneError: it is not placed yet, or does not meet the slice.
    """
    from SAMMed2DLib.io.markups import box_on_slice

    if is_node(box):
        _check_roi(box)
        found, name = box_of_roi(box, plane, volumes.world_from_ijk(volume)), box.GetName()
    else:
        corners = _corners_of_pair(box, plane, volume)
        found, name = box_on_slice(*volumes.project_points(corners, plane, volume)), _("The box")
    if found is None:
        raise SceneError(_("{name} is not on this slice.").format(name=name))
    height, width = plane.size_hw
    if (found[:2] >= (width, height)).any() or (found[2:] <= 0).any():
        raise SceneError(_("{name} is outside the volume.").format(name=name))
    return found


def _check_roi(node: Any) -> None:
    if not is_node(node, "vtkMRMLMarkupsROINode"):
        raise SceneError(_("{name} is no ROI node: draw the box as an ROI.").format(name=node.GetName()))
    if not node.GetNumberOfDefinedControlPoints() or np.count_nonzero(node.GetSize()) < 2:
        raise SceneError(_("The box {name} is not placed yet: draw it in a slice view.").format(name=node.GetName()))


def _corners_of_pair(box: Any, plane: SlicePlane, volume: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """The eight corners that two opposite ones mean: in the slice where both are on it, else along R, A and S."""
    from SAMMed2DLib.imaging.affines import ras_from_ijk

    pair = _world_points(box)
    if len(pair) != 2:
        message = _("A box is an ROI node, or two opposite corners in RAS, mm, not {box}.")
        raise SceneError(message.format(box=repr(box)))
    xy, off = volumes.project_points(pair, plane, volume)
    if (np.abs(off) > plane.half_thickness + _SLACK).any():
        return _corners(*pair)
    flat = list(product(*xy.T))
    return ras_from_ijk(plane.ijk_from_xy(flat + flat), volumes.world_from_ijk(volume))


def _corners(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The corners of a box, (8, 3); those that differ in one bit of their number share an edge."""
    return np.array(list(product(*zip(low, high, strict=True))))
