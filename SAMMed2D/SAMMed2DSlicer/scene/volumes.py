"""MRML and VTK to numpy and 4x4 matrices: volumes, slices, and the input of the model.

Frames are those of `SAMMed2DLib.imaging.geometry`, and `_world` is the scene's RAS after all parent transforms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from SAMMed2DLib.imaging import intensity
from SAMMed2DLib.imaging.affines import array_axis_of
from SAMMed2DLib.imaging.intensity import Percentiles, Window, rgb_from_slice
from SAMMed2DLib.imaging.planes import grid_axis, is_on_grid, plane_of_view, slice_image_of

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane

WINDOW, PERCENTILES, FULL_RANGE = "window", "percentiles", "full"
INTENSITIES = (WINDOW, PERCENTILES, FULL_RANGE)


class SceneError(ValueError):
    """The scene does not allow an operation; the message says what to do."""


# Volumes


def volume_kji(volume: slicer.vtkMRMLScalarVolumeNode | None) -> np.ndarray:
    """The voxels of a volume node, (K, J, I) or (K, J, I, C); a view into VTK's memory, read-only by convention.

    Raises:
        SceneError: the volume is empty.
    """
    image = volume.GetImageData() if volume is not None else None
    if image is None:
        raise SceneError(_("The volume has no image: load or select one."))
    return image_kji(image)


def image_kji(image: vtk.vtkImageData) -> np.ndarray:
    """The voxels of an image, (K, J, I) or (K, J, I, C); a view.

    Raises:
        SceneError: it is empty.
    """
    scalars = image.GetPointData().GetScalars()
    if scalars is None or not scalars.GetNumberOfTuples():
        raise SceneError(_("The volume has no image: load or select one."))
    values, shape = vtk_to_numpy(scalars), image.GetDimensions()[::-1]
    return values.reshape(shape if values.ndim == 1 or values.shape[1] == 1 else (*shape, values.shape[1]))


def size_ijk(volume: slicer.vtkMRMLScalarVolumeNode | None) -> tuple[int, int, int]:
    """Voxels of a volume along i, j and k.

    Raises:
        SceneError: the volume is empty.
    """
    image = volume.GetImageData() if volume is not None else None
    if image is None or 0 in image.GetDimensions():
        raise SceneError(_("The volume has no image: load or select one."))
    return image.GetDimensions()


def world_from_ijk(volume: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """(4, 4), mm: voxels of a volume to the scene, through its parent transforms.

    Raises:
        SceneError: a parent transform is not linear.
    """
    return world_from_local(volume) @ local_from_ijk(volume)


def local_from_ijk(volume: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """(4, 4), mm: voxels of a volume to its own RAS."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def world_from_local(node: Any) -> np.ndarray:
    """(4, 4), mm: a node's own RAS to the scene, through its parent transforms.

    Raises:
        SceneError: a parent transform is not linear.
    """
    parent = node.GetParentTransformNode()
    if parent is None:
        return np.eye(4)
    if not parent.IsTransformToWorldLinear():
        raise SceneError(
            _(
                "{name} is under a non-linear transform, which bends its slices: harden the transform, or take the "
                "node out of it."
            ).format(name=node.GetName())
        )
    matrix = vtk.vtkMatrix4x4()
    parent.GetMatrixTransformToWorld(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


@dataclass(frozen=True, eq=False)
class VolumeSnapshot:
    """How a volume lies in the scene at one moment.

    Attributes:
        item: of the sequence that it is a proxy of; -1 without one.
        size_ijk: voxels along i, j and k; None if there is no image, or a transform bends it.
        world_from_ijk: (4, 4), mm, its voxels to the scene; None likewise.
    """

    item: int
    size_ijk: tuple[int, int, int] | None = None
    world_from_ijk: np.ndarray | None = None


def snapshot_of(volume: slicer.vtkMRMLScalarVolumeNode | None) -> VolumeSnapshot:
    """Look once at how a volume lies in the scene."""
    item = sequence_item(volume)
    if volume is None:
        return VolumeSnapshot(item)
    try:
        return VolumeSnapshot(item, size_ijk(volume), world_from_ijk(volume))
    except SceneError:
        return VolumeSnapshot(item)


def sequence_item(volume: slicer.vtkMRMLScalarVolumeNode | None) -> int:
    """The item of a sequence that a proxy volume shows; -1 for other volumes."""
    logic = slicer.modules.sequences.logic() if hasattr(slicer.modules, "sequences") else None
    browser = logic.GetFirstBrowserNodeForProxyNode(volume) if logic is not None and volume is not None else None
    return browser.GetSelectedItemNumber() if browser is not None else -1


def show_sequence_item(volume: slicer.vtkMRMLScalarVolumeNode, item: int) -> None:
    """Let a proxy volume show an item of its sequence; nothing happens to other volumes."""
    if sequence_item(volume) not in (-1, item):
        browser = slicer.modules.sequences.logic().GetFirstBrowserNodeForProxyNode(volume)
        browser.SetSelectedItemNumber(item)


class VolumeImage:
    """The voxels of a volume, not copied; readable in any thread.

    Attributes:
        voxels: one array, (K, J, I) or (K, J, I, C).
    """

    def __init__(self, volume: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Hold references to the voxels, on the main thread."""
        self._volume = volume
        self.voxels: list[np.ndarray] = [volume_kji(volume)]
        self._image = volume.GetImageData()  # not freed as long as the worker reads its voxels
        self._image_time = 0 if self._image is None else self._image.GetMTime()

    def are_unchanged(self) -> bool:
        """Whether the volume still has the same image; on the main thread."""
        image = self._volume.GetImageData()
        return image is not None and image is self._image and image.GetMTime() == self._image_time


# Slices, and the input of the model


def plane_shown(slice_node: slicer.vtkMRMLSliceNode, volume: slicer.vtkMRMLScalarVolumeNode) -> SlicePlane:
    """The slice of a volume that a slice view shows.

    Raises:
        OutsideVolumeError: the view does not intersect the volume.
        SceneError: the volume is empty, or under a non-linear transform.
    """
    return plane_of_view(
        slicer.util.arrayFromVTKMatrix(slice_node.GetSliceToRAS()), world_from_ijk(volume), size_ijk(volume)
    )


def world_from_xy(slice_node: slicer.vtkMRMLSliceNode, xy: Sequence[float]) -> np.ndarray:
    """A position in a slice view, px from its lower left, in the scene: (3,) mm."""
    return slicer.util.arrayFromVTKMatrix(slice_node.GetXYToRAS())[:3] @ (xy[0], xy[1], 0, 1)


def project_points(
    points_world: np.ndarray, plane: SlicePlane, volume: slicer.vtkMRMLScalarVolumeNode
) -> tuple[np.ndarray, np.ndarray]:
    """Project points of the scene onto a slice.

    Args:
        points_world: (N, 3), mm.
        plane: the slice, of this volume.
        volume: the volume node.

    Returns:
        (N, 2) slice px, and (N,) their distance from the slice, voxels.
    """
    return plane.project_ras(points_world, world_from_ijk(volume))


def slice_name(plane: SlicePlane, volume: slicer.vtkMRMLScalarVolumeNode) -> str:
    """The name of a slice for the user: "axial 12", counted from 1; "oblique" if it is not on the volume's grid."""
    if not is_on_grid(plane):
        return _("oblique")
    axis, world = grid_axis(plane), world_from_ijk(volume)
    names = {"axial": _("axial"), "coronal": _("coronal"), "sagittal": _("sagittal")}
    shown = next(text for name, text in names.items() if array_axis_of(name, world) == 2 - axis)
    return f"{shown} {int(plane.origin_ijk[axis]) + 1}"


def intensity_rule(volume: slicer.vtkMRMLScalarVolumeNode, rule: str) -> Any:
    """The rule that maps intensities to the input of the model (see `SAMMed2DLib.imaging.intensity`).

    Args:
        volume: its display node has the window.
        rule: one of INTENSITIES.

    Raises:
        SceneError: there is no such rule.
    """
    if rule not in INTENSITIES:
        raise SceneError(_("Unknown intensities {rule}: choose one of {all}.").format(rule=rule, all=INTENSITIES))
    display = volume.GetScalarVolumeDisplayNode() if rule == WINDOW else None
    if display is not None and display.GetWindow() > 0:
        return Window(width=display.GetWindow(), level=display.GetLevel())
    return intensity.FULL_RANGE if rule == FULL_RANGE else Percentiles()


def model_image(volume: slicer.vtkMRMLScalarVolumeNode, plane: SlicePlane, rule: str = WINDOW) -> np.ndarray:
    """The input of the model for a slice, (H, W, 3) uint8.

    Args:
        volume: the volume node.
        plane: the slice, of this volume.
        rule: one of INTENSITIES.

    Raises:
        SceneError: the volume is empty, or there is no such rule.
    """
    return rgb_from_slice(slice_image_of(plane, volume_kji(volume)), intensity_rule(volume, rule))
