"""Where a slice lies in its volume.

The frames, as everywhere in this library:

| suffix | frame | unit |
|---|---|---|
| `_ras` | patient: right, anterior and superior are positive | mm |
| `_ijk` | voxel index (i, j, k) of the volume, an integer is a voxel centre | voxels |
| `_xy` | slice image, x = column, y = row, an integer is a pixel centre | px |
| `_xyxy` | a box in it: x0, y0, x1, y1, half-open | px |
| `_model` | image as the network sees it, resized, x = column, y = row | px |
| `_world` | Slicer's scene: `_ras` after the volume's transforms | mm |
| `_hw`, `_kji` | order of the axes of an array: rows, columns; slices, rows, columns | |

A volume is an array `volume_kji`, whose first axis is k. A slice is an affine from (x, y) to (i, j, k), a
4x4 matrix `ijk_to_ras` leads on to the patient. Points stay floats on the whole way; `nearest_index` is the
only rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from SAMMed2DLib.imaging.affines import (
    GeometryError,
    array_axis_of,
    checked_numbers,
    checked_points,
    ijk_from_ras,
    name_of_axis,
    ras_from_ijk,
    whole_number,
    whole_numbers,
)

# A click has been through several 4x4 products; a border point must not be lost to their rounding.
_SLACK = 1e-6

_Triple = tuple[float, float, float]


class OutsideVolumeError(GeometryError):
    """A slice or a point that is not in the volume."""


class OutsidePlaneError(GeometryError):
    """A point of the volume that is not on the slice."""


@dataclass(frozen=True)
class SlicePlane:
    """One slice of a volume, as the affine ijk = origin + x * column_step + y * row_step.

    A value: compared by content, usable as a key. Any affine can be described and all conversions of points
    work for it; `extract` and `insert` work for slices along the voxel grid, mirrored ones included.

    Attributes:
        origin_ijk: the voxel under the centre of pixel (0, 0).
        column_step_ijk: from one column to the next, i.e. for x + 1.
        row_step_ijk: from one row to the next, i.e. for y + 1.
        size_hw: rows and columns of the slice, px.
        size_ijk: voxels of the volume along i, j and k, i.e. volume_kji.shape[2::-1].

    Raises:
        GeometryError: a number is not finite, a size is less than 1, or the two steps are parallel.
    """

    origin_ijk: _Triple
    column_step_ijk: _Triple
    row_step_ijk: _Triple
    size_hw: tuple[int, int]
    size_ijk: tuple[int, int, int]

    def __post_init__(self) -> None:
        """Turn the numbers into plain ones and refuse what is no plane."""
        for name in ("origin_ijk", "column_step_ijk", "row_step_ijk"):
            object.__setattr__(self, name, tuple(checked_numbers(getattr(self, name), (3,), name).tolist()))
        for name, length in (("size_hw", 2), ("size_ijk", 3)):
            object.__setattr__(self, name, _sizes(getattr(self, name), length, name))
        if _are_parallel(self.column_step_ijk, self.row_step_ijk):
            raise GeometryError(
                f"the column step {self.column_step_ijk} and the row step {self.row_step_ijk} are parallel; "
                "give two different directions"
            )

    @classmethod
    def of_axis(
        cls,
        size_ijk: Sequence[int],
        axis: str | int,
        index: int,
        ijk_to_ras: ArrayLike | None = None,
    ) -> SlicePlane:
        """Describe one of the volume's own slices.

        The image is the array slice as it is, never flipped: x is the faster of the two remaining indices, y
        the slower. Axis 0 gives volume_kji[index] with (x, y) = (i, j), axis 1 volume_kji[:, index] with
        (x, y) = (i, k), and axis 2 volume_kji[:, :, index] with (x, y) = (j, k).

        Args:
            size_ijk: voxels of the volume along i, j and k, i.e. volume_kji.shape[2::-1].
            axis: "axial", "coronal", "sagittal", or 0 = k, 1 = j, 2 = i; see `array_axis_of`.
            index: number of the slice along its axis, from 0.
            ijk_to_ras: (4, 4), mm; which axis a name means depends on it.

        Raises:
            OutsideVolumeError: there is no slice of this number.
            GeometryError: a size, the axis, the index or the matrix is not one.
        """
        size = _sizes(size_ijk, 3, "size_ijk")
        normal = 2 - array_axis_of(axis, ijk_to_ras)
        number = whole_number(index, "a slice index")
        if not 0 <= number < size[normal]:
            raise OutsideVolumeError(
                f"there is no slice {number} along {'ijk'[normal]} ({name_of_axis(2 - normal, ijk_to_ras)}); "
                f"choose one from 0 to {size[normal] - 1}"
            )
        x_axis, y_axis = (other for other in range(3) if other != normal)
        step = np.eye(3)
        return cls(number * step[normal], step[x_axis], step[y_axis], (size[y_axis], size[x_axis]), size)

    def extract(self, volume_kji: np.ndarray) -> np.ndarray:
        """Copy this slice out of a volume.

        Args:
            volume_kji: (K, J, I), or (K, J, I, C) with C components per voxel; any dtype.

        Returns:
            (H, W) or (H, W, C), the volume's dtype, a new C-contiguous array.

        Raises:
            GeometryError: the volume is not of this plane's size, or the plane is oblique.
            OutsideVolumeError: the plane reaches out of the volume.
        """
        return np.array(self._view(np.asarray(volume_kji)), order="C")

    def insert(self, volume_kji: np.ndarray, mask_hw: np.ndarray, value: ArrayLike) -> None:
        """Write a value into the volume, in place, where the mask is True; nothing else is touched.

        Args:
            volume_kji: (K, J, I), or (K, J, I, C) with C components per voxel; writeable.
            mask_hw: (H, W) bool.
            value: a number, or (C,) numbers for the components, that the volume's dtype can hold.

        Raises:
            GeometryError: the volume or the mask is not of this plane's size; the mask is not boolean; the
                volume is no array, is read-only or cannot hold the value; the plane is oblique.
            OutsideVolumeError: the plane reaches out of the volume.
        """
        if not isinstance(volume_kji, np.ndarray) or not volume_kji.flags.writeable:
            raise GeometryError("the volume is not a writeable numpy array; write to a copy of it")
        mask = np.asarray(mask_hw)
        if mask.dtype != bool or mask.shape != self.size_hw:
            raise GeometryError(
                f"the mask of this slice must be boolean of shape {self.size_hw}, not {mask.dtype} of shape "
                f"{mask.shape}; compare it (mask > 0), or take the mask of this slice"
            )
        view = self._view(volume_kji)
        view[mask] = _held(value, view)

    def ijk_from_xy(self, points_xy: ArrayLike) -> np.ndarray:
        """Bring points of the slice image to voxels; also points outside the slice.

        Args:
            points_xy: (N, 2), slice px.

        Returns:
            (N, 3) float64, IJK, voxels; not rounded.

        Raises:
            GeometryError: the points are not (N, 2) finite numbers.
        """
        return self._ijk_from_xy(checked_points(points_xy, 2))

    def xy_from_ijk(self, points_ijk: ArrayLike) -> np.ndarray:
        """Bring points of the volume that are on this slice to the slice image.

        Args:
            points_ijk: (N, 3), IJK, voxels.

        Returns:
            (N, 2) float64, slice px; not rounded.

        Raises:
            OutsideVolumeError: a point is more than half a voxel outside the volume.
            OutsidePlaneError: a point is more than half a voxel off this slice, or beyond its edges.
            GeometryError: the points are not (N, 3) finite numbers.
        """
        points = checked_points(points_ijk, 3)
        _check_inside(points, self.size_ijk)
        points_xy, off_plane = self.project(points)
        beyond = _are_beyond(points_xy, self.size_hw[::-1]) | (np.abs(off_plane) > 0.5 + _SLACK)
        if beyond.any():
            number = int(beyond.argmax())
            raise OutsidePlaneError(
                f"point {number} at ijk {_text(points[number])} is not on this slice: it is "
                f"{off_plane[number]:g} voxels off, above (x, y) = {_text(points_xy[number])}; "
                "choose the slice that it is in"
            )
        return points_xy

    def project(self, points_ijk: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Project any points perpendicularly (in voxels) onto this slice; they may be anywhere.

        Args:
            points_ijk: (N, 3), IJK, voxels.

        Returns:
            (N, 2) float64, slice px, also outside the slice; and (N,) float64, the signed distance from the
            plane, voxels.

        Raises:
            GeometryError: the points are not (N, 3) finite numbers.
        """
        return self._projected(checked_points(points_ijk, 3))

    def project_ras(self, points_ras: ArrayLike, ijk_to_ras: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Project any points of the patient perpendicularly (in voxels) onto this slice; they may be anywhere.

        Args:
            points_ras: (N, 3), RAS, mm.
            ijk_to_ras: (4, 4), mm.

        Returns:
            (N, 2) float64, slice px, also outside the slice; and (N,) float64, the signed distance from the
            plane, voxels.

        Raises:
            GeometryError: the points or the matrix are not such.
        """
        return self._projected(ijk_from_ras(points_ras, ijk_to_ras))

    @cached_property
    def half_thickness(self) -> float:
        """How far off this slice its voxels reach, voxels: half a voxel, more where it is oblique."""
        normal = np.cross(self.column_step_ijk, self.row_step_ijk)
        return float(np.abs(normal).sum() / np.linalg.norm(normal) / 2)

    def _ijk_from_xy(self, points_xy: np.ndarray) -> np.ndarray:
        return np.array(self.origin_ijk) + points_xy @ np.array([self.column_step_ijk, self.row_step_ijk])

    def _projected(self, points_ijk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        normal = np.cross(self.column_step_ijk, self.row_step_ijk)
        steps = np.column_stack([self.column_step_ijk, self.row_step_ijk, normal / np.linalg.norm(normal)])
        x, y, off_plane = np.linalg.solve(steps, (points_ijk - np.array(self.origin_ijk)).T)
        return np.column_stack([x, y]), off_plane

    def ras_from_xy(self, points_xy: ArrayLike, ijk_to_ras: ArrayLike) -> np.ndarray:
        """Bring points of the slice image to the patient; also points outside the slice.

        Args:
            points_xy: (N, 2), slice px.
            ijk_to_ras: (4, 4), mm.

        Returns:
            (N, 3) float64, RAS, mm.

        Raises:
            GeometryError: the points or the matrix are not such.
        """
        return ras_from_ijk(self.ijk_from_xy(points_xy), ijk_to_ras)

    def xy_from_ras(self, points_ras: ArrayLike, ijk_to_ras: ArrayLike) -> np.ndarray:
        """Bring points of the patient that are on this slice to the slice image.

        Args:
            points_ras: (N, 3), RAS, mm.
            ijk_to_ras: (4, 4), mm.

        Returns:
            (N, 2) float64, slice px; not rounded.

        Raises:
            OutsideVolumeError: a point is more than half a voxel outside the volume.
            OutsidePlaneError: a point is more than half a voxel off this slice, or beyond its edges.
            GeometryError: the points or the matrix are not such.
        """
        return self.xy_from_ijk(ijk_from_ras(points_ras, ijk_to_ras))

    def _view(self, volume_kji: np.ndarray) -> np.ndarray:
        """Return the (H, W) or (H, W, C) view of the volume that this slice is."""
        if volume_kji.ndim not in (3, 4) or volume_kji.shape[2::-1] != self.size_ijk:
            raise GeometryError(
                f"the volume has shape {volume_kji.shape}, this slice belongs to one of shape (k, j, i) = "
                f"{self.size_ijk[::-1]}, with or without components; make the slice from this volume's size"
            )
        height, width = self.size_hw
        x_axis, x_step = _grid_step(self.column_step_ijk)
        y_axis, y_step = _grid_step(self.row_step_ijk)
        start = whole_numbers(self.origin_ijk, "the origin of a slice along the voxel grid")
        _check_inside(self._ijk_from_xy(np.array([[0, 0], [width - 1, height - 1]])), self.size_ijk)
        index_ijk: list[int | slice] = list(start)
        index_ijk[x_axis] = _run(start[x_axis], x_step, width)
        index_ijk[y_axis] = _run(start[y_axis], y_step, height)
        view = volume_kji[tuple(reversed(index_ijk))]
        return view if y_axis > x_axis else view.swapaxes(0, 1)


def nearest_index(points: ArrayLike) -> np.ndarray:
    """Round coordinates to the voxel or pixel that they are in, floor(x + 0.5).

    Args:
        points: any shape, finite, voxels or px.

    Returns:
        Same shape, int64.

    Raises:
        GeometryError: a number is not finite.
    """
    return np.floor(checked_numbers(points, None, "points") + 0.5).astype(np.int64)


def voxels_of(points_ijk: ArrayLike, size_ijk: Sequence[int]) -> np.ndarray:
    """Find the voxels that points are in.

    Args:
        points_ijk: (N, 3), IJK, voxels.
        size_ijk: voxels of the volume along i, j and k.

    Returns:
        (N, 3) int64, each from 0 to size - 1.

    Raises:
        OutsideVolumeError: a point is more than half a voxel outside the volume.
        GeometryError: the points are not (N, 3) finite numbers, or a size is less than 1.
    """
    points, size = checked_points(points_ijk, 3), _sizes(size_ijk, 3, "size_ijk")
    _check_inside(points, size)
    # The far border belongs to the volume but would round up, out of it.
    return np.clip(nearest_index(points), 0, np.array(size) - 1)


def _are_parallel(step: _Triple, other: _Triple) -> bool:
    """Whether the cross product of two vectors is zero; NumPy's takes so long that it is felt for a stack of slices."""
    (a, b, c), (u, v, w) = step, other
    return b * w == c * v and c * u == a * w and a * v == b * u


def _sizes(values: Any, length: int, name: str) -> Any:
    array = np.asarray(values)
    if array.shape != (length,) or array.dtype.kind not in "iu" or (array < 1).any():
        raise GeometryError(f"{name} must be {length} whole numbers of at least 1, not {values}")
    return tuple(array.tolist())


def _are_beyond(points: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Tell which points are more than half a voxel or pixel beyond the edges."""
    beyond = (points < -0.5 - _SLACK) | (points > np.array(size) - 0.5 + _SLACK)
    return np.asarray(beyond.any(axis=1))


def _check_inside(points_ijk: np.ndarray, size_ijk: tuple[int, int, int]) -> None:
    outside = _are_beyond(points_ijk, size_ijk)
    if outside.any():
        number = int(outside.argmax())
        i, j, k = (size - 1 for size in size_ijk)
        raise OutsideVolumeError(
            f"point {number} at ijk {_text(points_ijk[number])} is outside the volume; "
            f"i goes from 0 to {i}, j from 0 to {j}, k from 0 to {k}"
        )


def _grid_step(step_ijk: _Triple) -> tuple[int, int]:
    """Return the volume axis that a step follows and its direction, 1 or -1."""
    axes = np.flatnonzero(step_ijk)
    if len(axes) != 1 or abs(step_ijk[axes[0]]) != 1:
        raise GeometryError(
            f"the step {step_ijk} does not follow the voxel grid; extract and insert need a slice of of_axis"
        )
    return int(axes[0]), int(step_ijk[axes[0]])


def _run(start: int, step: int, count: int) -> slice:
    stop = start + step * count
    return slice(start, stop if stop >= 0 else None, step)


def _held(value: ArrayLike, view: np.ndarray) -> np.ndarray:
    """Return the value in the view's dtype, which must be able to hold it."""
    wanted = np.asarray(value)
    if wanted.dtype.kind not in "biuf" or wanted.shape not in ((), view.shape[2:]):
        raise GeometryError(f"cannot write {value!r}; give one number, or one for each component of a voxel")
    with np.errstate(invalid="ignore", over="ignore"):
        held = wanted.astype(view.dtype)
    compare = np.asarray if view.dtype.kind in "biu" else np.isfinite  # a float may round, but not overflow
    if not np.array_equal(compare(held), compare(wanted)):
        raise GeometryError(f"a volume of {view.dtype} cannot hold {value!r}; convert the volume first")
    return held


def _text(point: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:g}" for value in point) + ")"
