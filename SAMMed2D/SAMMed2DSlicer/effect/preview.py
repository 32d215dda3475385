"""What the effect draws into slice views: predicted masks, and the box or line while it is dragged.

Masks are brought to the view's pixels, nearest neighbour, so that what is seen is what would be written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from SAMMed2DSlicer.effect import mask_drawing
from SAMMed2DSlicer.scene.slice_views import slice_widgets

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane
    from SAMMed2DSlicer.effect.change_marks import MaskChange
    from SAMMed2DSlicer.effect.dry_run import DryRun
    from SAMMed2DSlicer.inference.request_queue import PendingPrediction
    from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup


class DrawnMask(Protocol):
    """What is drawn into the views."""

    @property
    def labels_hw(self) -> np.ndarray:
        """(H, W) uint8, see `mask_drawing`."""

    @property
    def plane(self) -> SlicePlane:
        """Its slice."""

    @property
    def world_from_ijk(self) -> np.ndarray:
        """(4, 4), mm, the voxels of its volume to the scene."""

    @property
    def color(self) -> tuple[float, float, float]:
        """Red, green and blue in 0..1."""


@dataclass(frozen=True, eq=False)
class ShownMask:
    """A mask that waits to be accepted, as it is shown.

    Attributes:
        group: the prompt group that it is of.
        prediction: what was predicted.
        dry_run: what accepting it would do; None if nothing can be written, or the group is not in view.
        world_from_ijk: (4, 4), mm, the voxels of the group's volume to the scene.
        color: red, green and blue in 0..1.
        change: what is marked as different from the mask before it; None for nothing.
    """

    group: PromptGroup
    prediction: PendingPrediction
    dry_run: DryRun | None
    world_from_ijk: np.ndarray
    color: tuple[float, float, float]
    change: MaskChange | None = None

    @property
    def plane(self) -> SlicePlane:
        """The slice."""
        return self.group.plane

    def is_same(self, other: ShownMask) -> bool:
        """Whether another one of the same group is shown alike."""
        same = self.prediction is other.prediction and self.dry_run is other.dry_run and self.change is other.change
        return same and self.color == other.color and np.array_equal(self.world_from_ijk, other.world_from_ijk)

    @cached_property
    def labels_hw(self) -> np.ndarray:
        """All of it in one image, (H, W) uint8, see `mask_drawing`."""
        mask = self.prediction.result.mask
        labels = mask.astype(np.uint8)  # WRITTEN
        if self.change is not None:
            labels[self.change.added_hw & mask] = mask_drawing.ADDED
            labels[self.change.dropped_hw & ~mask] = mask_drawing.DROPPED
        if self.dry_run is not None and self.dry_run.blocked_hw is not None:
            labels[self.dry_run.blocked_hw] = mask_drawing.BLOCKED
        if self.dry_run is not None and self.dry_run.removed_hw is not None:
            labels[self.dry_run.removed_hw] = mask_drawing.REMOVED
        return labels


@dataclass(frozen=True, eq=False)
class ObjectMask:
    """What a whole object that waits to be accepted, or a first look, has on a slice; drawn as a `ShownMask` is.

    Attributes:
        plane: the slice.
        mask_hw: (H, W) bool.
        world_from_ijk: (4, 4), mm, the voxels of the volume to the scene.
        color: red, green and blue in 0..1.
    """

    plane: SlicePlane
    mask_hw: np.ndarray
    world_from_ijk: np.ndarray
    color: tuple[float, float, float]

    @cached_property
    def labels_hw(self) -> np.ndarray:
        """All of it in one image, (H, W) uint8, see `mask_drawing`."""
        return self.mask_hw.astype(np.uint8)  # WRITTEN


class ViewPreview:
    """The actors of one slice view; `add` and `remove` come from the effect."""

    def __init__(self, effect: slicer.qSlicerSegmentEditorScriptedEffect, widget: Any) -> None:
        """Prepare for a view: `effect` is the qSlicerSegmentEditorScriptedEffect."""
        self._effect, self._widget = effect, widget
        self._masks: list[Any] = []
        self._drawn: dict[DrawnMask, Any] = {}  # actors, None for what the view does not show
        self._drawn_in: tuple[Any, ...] = ()  # the view as it was then
        self._band = _band_actor()
        self._effect.addActor2D(widget, self._band)

    @property
    def is_empty(self) -> bool:
        """Whether no mask is drawn."""
        return not self._masks

    def show(self, masks: Sequence[DrawnMask]) -> None:
        """Draw these masks instead of those before."""
        node = self._widget.mrmlSliceNode()
        view = (slicer.util.arrayFromVTKMatrix(node.GetXYToRAS()).tobytes(), node.GetDimensions())
        known = self._drawn if view == self._drawn_in else {}
        self._drawn = {mask: known[mask] if mask in known else mask_actor(mask, self._widget) for mask in masks}
        self._drawn_in = view
        actors = [actor for actor in self._drawn.values() if actor is not None]
        if actors == self._masks:
            return
        for actor in self._masks:
            self._effect.removeActor2D(self._widget, actor)
        for actor in actors:
            self._effect.addActor2D(self._widget, actor)
        self._masks = actors
        self._effect.scheduleRender(self._widget)

    def show_band(self, corners_xy: Sequence[Sequence[int]], color: Sequence[float], is_closed: bool = True) -> None:
        """Draw a line.

        Args:
            corners_xy: (x, y) each, view px.
            color: red, green and blue in 0..1.
            is_closed: whether the last corner is joined with the first.
        """
        corners = np.zeros((len(corners_xy), 3), np.float32)
        corners[:, :2] = corners_xy
        order = [*range(len(corners)), *([0] if is_closed else [])]
        points, lines, outline = vtk.vtkPoints(), vtk.vtkCellArray(), vtk.vtkPolyData()
        points.SetData(numpy_to_vtk(corners, deep=True))
        lines.InsertNextCell(len(order), order)
        outline.SetPoints(points)
        outline.SetLines(lines)
        self._band.GetMapper().SetInputData(outline)
        self._band.GetProperty().SetColor(*color)
        self._band.SetVisibility(True)
        self._effect.scheduleRender(self._widget)

    def hide_band(self) -> None:
        """Draw no line any more."""
        if self._band.GetVisibility():
            self._band.SetVisibility(False)
            self._effect.scheduleRender(self._widget)

    def close(self) -> None:
        """Leave the view as it was."""
        self.show(())
        self._effect.removeActor2D(self._widget, self._band)
        self._effect.scheduleRender(self._widget)


class SliceViews:
    """The previews in all slice views."""

    def __init__(self, effect: slicer.qSlicerSegmentEditorScriptedEffect) -> None:
        """Prepare; `effect` is the qSlicerSegmentEditorScriptedEffect that draws."""
        self._effect = effect
        self._previews: dict[str, ViewPreview] = {}
        self._masks: Sequence[DrawnMask] = ()

    def open(self) -> None:
        """Draw into the views of the present layout."""
        self.close()
        self._previews = {name: ViewPreview(self._effect, widget) for name, widget in slice_widgets().items()}

    def close(self) -> None:
        """Leave the views as they were."""
        for preview in self._previews.values():
            preview.close()
        self._previews, self._masks = {}, ()

    def preview(self, widget: Any) -> ViewPreview | None:
        """What is drawn into a view."""
        return self._previews.get(widget.mrmlSliceNode().GetLayoutName())

    def draw(self, masks: Sequence[DrawnMask]) -> None:
        """Draw these masks in all views."""
        if not masks and not self._masks:
            return
        self._masks = masks
        for preview in self._previews.values():
            preview.show(masks)


def mask_in_view(shown: DrawnMask, slice_node: slicer.vtkMRMLSliceNode) -> tuple[np.ndarray, tuple[int, int]] | None:
    """A mask in the pixels of a slice view.

    Returns:
        (H, W) uint8, see `ShownMask.labels_hw`, row 0 at the bottom, of the part of the view that has any of it, and
        the (x, y) of its first pixel in the view; None if the view shows none of it.
    """
    size_xy = slice_node.GetDimensions()[:2]
    labels_hw, to_mask = shown.labels_hw, _mask_from_view(shown, slice_node)
    window = _window(labels_hw, to_mask, size_xy)
    if window is None:
        return None
    (x0, x1), (y0, y1) = window
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(_as_image(labels_hw))
    reslice.SetResliceAxes(slicer.util.vtkMatrixFromArray(to_mask))
    reslice.SetOutputOrigin(x0, y0, 0)
    reslice.SetOutputSpacing(1, 1, 1)
    reslice.SetOutputExtent(0, x1 - x0, 0, y1 - y0, 0, 0)
    reslice.SetInterpolationModeToNearestNeighbor()
    reslice.Update()
    scalars: Any = reslice.GetOutput().GetPointData().GetScalars()
    drawn = vtk_to_numpy(scalars).reshape(y1 - y0 + 1, x1 - x0 + 1)
    return (np.ascontiguousarray(drawn), (x0, y0)) if drawn.any() else None


def _mask_from_view(shown: DrawnMask, slice_node: slicer.vtkMRMLSliceNode) -> np.ndarray:
    """(4, 4): view px to the mask's (x, y) px, and the distance from its slice in thicknesses."""
    plane, world = shown.plane, shown.world_from_ijk
    frame = np.eye(4)
    frame[:3, 0] = world[:3, :3] @ np.array(plane.column_step_ijk)
    frame[:3, 1] = world[:3, :3] @ np.array(plane.row_step_ijk)
    normal = np.cross(frame[:3, 0], frame[:3, 1])
    normal /= np.linalg.norm(normal)
    frame[:3, 2] = normal * np.abs(normal @ world[:3, :3]).sum()
    frame[:3, 3] = world[:3, :3] @ np.array(plane.origin_ijk) + world[:3, 3]
    return np.linalg.inv(frame) @ slicer.util.arrayFromVTKMatrix(slice_node.GetXYToRAS())


def _window(
    labels_hw: np.ndarray, to_mask: np.ndarray, size_xy: Sequence[int]
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """First and last pixel along x and y of the part of the view to look at; None if it cannot have any."""
    rows, columns = np.flatnonzero(labels_hw.any(axis=1)), np.flatnonzero(labels_hw.any(axis=0))
    if not len(rows):
        return None
    in_plane = to_mask[:2, :2]
    if abs(np.linalg.det(in_plane)) < 1e-9 * np.abs(in_plane).max() ** 2 or np.abs(to_mask[2, :2]).max() > 1e-3:
        return (0, size_xy[0] - 1), (0, size_xy[1] - 1)  # the view cuts through the mask's slice
    corners = np.array([[x, y] for x in (columns[0] - 1, columns[-1] + 1) for y in (rows[0] - 1, rows[-1] + 1)])
    corners_xy = np.linalg.solve(in_plane, (corners - to_mask[:2, 3]).T).T
    first = np.maximum(np.floor(corners_xy.min(axis=0)), 0).astype(int)
    last = np.minimum(np.ceil(corners_xy.max(axis=0)), np.array(size_xy) - 1).astype(int)
    return None if (first > last).any() else ((first[0], last[0]), (first[1], last[1]))


def _as_image(labels_hw: np.ndarray) -> Any:
    image = vtk.vtkImageData()
    image.SetDimensions(labels_hw.shape[1], labels_hw.shape[0], 1)
    image.GetPointData().SetScalars(numpy_to_vtk(labels_hw.ravel(), deep=True))
    return image


def mask_actor(shown: DrawnMask, widget: Any, opacity: float = 1.0) -> Any:
    """An actor that draws a mask over a view; None where the view shows none of it.

    Args:
        shown: the mask.
        widget: the slice view.
        opacity: of all of it, 0..1.
    """
    found = mask_in_view(shown, widget.mrmlSliceNode())
    if found is None:
        return None
    labels, first_xy = found
    drawn = mask_drawing.image_of(labels, shown.color, first_xy)
    if opacity < 1:
        drawn[..., 3] = np.round(opacity * drawn[..., 3])
    image = vtk.vtkImageData()
    image.SetDimensions(labels.shape[1], labels.shape[0], 1)
    image.GetPointData().SetScalars(numpy_to_vtk(drawn.reshape(-1, 4), deep=True))
    mapper = vtk.vtkImageMapper()
    mapper.SetInputData(image)
    mapper.SetColorWindow(255)
    mapper.SetColorLevel(127.5)
    actor = vtk.vtkActor2D()
    actor.SetMapper(mapper)
    actor.SetPosition(*first_xy)
    return actor


def _band_actor() -> Any:
    mapper = vtk.vtkPolyDataMapper2D()
    mapper.SetInputData(vtk.vtkPolyData())
    actor = vtk.vtkActor2D()
    actor.SetMapper(mapper)
    actor.GetProperty().SetLineWidth(2)
    actor.SetVisibility(False)
    return actor
