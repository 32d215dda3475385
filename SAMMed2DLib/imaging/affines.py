"""Voxels to millimetres and back, and which axis of a volume is axial, coronal or sagittal.

A 4x4 matrix `ijk_to_ras` brings voxel indices (i, j, k), an integer being a voxel centre, to the patient: right,
anterior and superior are positive, mm.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

# Name -> the RAS component along which its slices are stacked.
_NAMED_AXES = {"sagittal": 0, "coronal": 1, "axial": 2}


class GeometryError(ValueError):
    """Sizes, matrices or arrays that do not describe a volume and a slice of it."""


def ras_from_ijk(points_ijk: ArrayLike, ijk_to_ras: ArrayLike) -> np.ndarray:
    """Bring voxels to the patient.

    Args:
        points_ijk: (N, 3), IJK, voxels.
        ijk_to_ras: (4, 4), mm.

    Returns:
        (N, 3) float64, RAS, mm.

    Raises:
        GeometryError: the points are not (N, 3) finite numbers, or the matrix is no invertible affine.
    """
    matrix = checked_affine(ijk_to_ras)
    return checked_points(points_ijk, 3) @ matrix[:3, :3].T + matrix[:3, 3]


def ijk_from_ras(points_ras: ArrayLike, ijk_to_ras: ArrayLike) -> np.ndarray:
    """Bring points of the patient to voxels; also points outside the volume.

    Args:
        points_ras: (N, 3), RAS, mm.
        ijk_to_ras: (4, 4), mm.

    Returns:
        (N, 3) float64, IJK, voxels; not rounded.

    Raises:
        GeometryError: the points are not (N, 3) finite numbers, or the matrix is no invertible affine.
    """
    matrix = checked_affine(ijk_to_ras)
    return np.linalg.solve(matrix[:3, :3], (checked_points(points_ras, 3) - matrix[:3, 3]).T).T


def checked_affine(values: ArrayLike, name: str = "ijk_to_ras") -> np.ndarray:
    """Take a matrix that others give.

    Args:
        values: (4, 4).
        name: what errors call it.

    Returns:
        (4, 4) float64.

    Raises:
        GeometryError: it is not finite, no affine, or has no inverse.
    """
    matrix = checked_numbers(values, (4, 4), name)
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if not np.array_equal(matrix[3], [0, 0, 0, 1]):
        raise GeometryError(
            f"the last row of {name} must be 0 0 0 1, not {matrix[3].tolist()}; give an affine matrix with an inverse"
        )
    if not lengths.all() or abs(np.linalg.det(matrix[:3, :3] / lengths)) < 1e-6:
        raise GeometryError(
            f"{name} {matrix.tolist()} has no inverse; its first three columns must be three directions"
        )
    return matrix


def array_axis_of(axis: str | int, ijk_to_ras: ArrayLike | None = None) -> int:
    """Find the array axis of volume_kji along which slices of this kind are stacked.

    A name means the volume axis that runs closest to superior ("axial"), anterior ("coronal") or right
    ("sagittal"), in either direction. The three names always mean three different axes: of the six ways to
    pair them, the one with the largest sum of direction cosines. Without a matrix they are k, j and i.

    Args:
        axis: "axial", "coronal" or "sagittal"; or the array axis itself: 0 = k, 1 = j, 2 = i.
        ijk_to_ras: (4, 4), mm; without effect on a number.

    Returns:
        0, 1 or 2. There are volume_kji.shape[axis] such slices.

    Raises:
        GeometryError: `axis` is none of these, or the matrix is not an affine that can be inverted.
    """
    matrix = np.eye(4) if ijk_to_ras is None else checked_affine(ijk_to_ras)
    if axis in _NAMED_AXES:
        return 2 - _volume_axes_of_ras(matrix)[_NAMED_AXES[str(axis)]]
    if isinstance(axis, str) or whole_number(axis, "an axis") not in (0, 1, 2):
        raise GeometryError(f"no axis {axis!r}; choose 'axial', 'coronal', 'sagittal', 0 = k, 1 = j or 2 = i")
    return int(axis)


def name_of_axis(array_axis: int, ijk_to_ras: ArrayLike | None = None) -> str:
    """The patient's name for slices along an array axis: the inverse of `array_axis_of`."""
    return next(name for name in _NAMED_AXES if array_axis_of(name, ijk_to_ras) == array_axis)


def checked_points(points: ArrayLike, count: int) -> np.ndarray:
    """Take points that others give, (N, count) float64; GeometryError says what is wrong with them."""
    array = checked_numbers(points, None, "points")
    if array.size == 0:
        return np.empty((0, count))
    if array.ndim != 2 or array.shape[1] != count:
        raise GeometryError(f"points have shape (N, {count}), not {array.shape}; give a list of points")
    return array


def checked_numbers(values: Any, shape: tuple[int, ...] | None, name: str) -> np.ndarray:
    """Return finite float64 numbers of this shape; None stands for any shape.

    Args:
        values: whatever NumPy takes as an array.
        shape: that it must have; None stands for any.
        name: of the values, in messages.

    Raises:
        GeometryError: they are no numbers, of another shape, or not finite.
    """
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise GeometryError(f"{name} cannot be read as numbers: {error}") from error
    if shape is not None and array.shape != shape:
        raise GeometryError(f"{name} must have the shape {shape}, not {array.shape}")
    if not np.isfinite(array).all():
        raise GeometryError(f"{name} must be finite; NaN or infinity is nowhere in a volume")
    return array


def whole_number(value: Any, what: str) -> int:
    """Take a whole number that others give; GeometryError names it as `what`."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    try:
        return operator.index(value)
    except TypeError as error:
        raise GeometryError(f"{what} must be a whole number, not {value!r}; see nearest_index") from error


def whole_numbers(values: Sequence[Any], what: str) -> list[int]:
    """Take whole numbers that others give; GeometryError names the one that is none as `what`."""
    return [whole_number(value, what) for value in values]


def _volume_axes_of_ras(ijk_to_ras: np.ndarray) -> tuple[int, ...]:
    """Pair each RAS component with its volume axis, 0 = i, 1 = j, 2 = k."""
    steps = ijk_to_ras[:3, :3]
    cosines = np.abs(steps / np.linalg.norm(steps, axis=0))

    def closeness(axes: tuple[int, ...]) -> float:
        # Rounded, so that at 45 degrees the last bit of the matrix does not decide.
        return round(float(cosines[range(3), axes].sum()), 9)

    return max(permutations(range(3)), key=closeness)
