"""The slices of a volume that are parallel to one, and what of a mask lies on them; opens without torch."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.imaging.planes import grid_axis, is_on_grid, picture_of


def planes_along(plane: SlicePlane, world_from_ijk: ArrayLike) -> tuple[list[SlicePlane], int]:
    """All slices of a volume that are parallel to one, and the position of that one among them.

    Along the voxel grid these are the volume's own slices. Others are as far apart as their layers of voxels are thick
    (see `planes.voxels_of_mask`), so that each voxel belongs to one of them, and have pixels over the whole volume.

    Args:
        plane: a slice of the volume.
        world_from_ijk: (4, 4), mm.
    """
    if is_on_grid(plane):
        axis = grid_axis(plane)
        count = plane.size_ijk[axis]
        origins = np.repeat([plane.origin_ijk], count, axis=0)
        origins[:, axis] = np.arange(count)
        return [_moved(plane, origin, plane.size_hw) for origin in origins], int(plane.origin_ijk[axis])
    world = np.asarray(world_from_ijk, np.float64)
    steps = world[:3, :3] @ np.array([plane.column_step_ijk, plane.row_step_ijk]).T  # mm, columns: for x + 1, y + 1
    normal = np.cross(steps[:, 0], steps[:, 1])
    normal /= np.linalg.norm(normal)
    thickness_mm = np.abs(normal @ world[:3, :3]).sum()
    corners_ijk = np.array(list(product(*[(-0.5, size - 0.5) for size in plane.size_ijk])))
    corners = (corners_ijk - plane.origin_ijk) @ world[:3, :3].T
    xy = corners @ np.linalg.pinv(steps).T
    heights = corners @ normal / thickness_mm
    first_xy, last_xy = np.floor(xy.min(axis=0) + 0.5), np.ceil(xy.max(axis=0) - 0.5)
    width, height = np.maximum(last_xy - first_xy + 1, 1).astype(int).tolist()
    low, high = int(np.ceil(heights.min() - 0.5 + 1e-6)), int(np.floor(heights.max() + 0.5 - 1e-6))
    up_ijk = np.linalg.solve(world[:3, :3], normal * thickness_mm)
    start = np.array(plane.origin_ijk) + np.array([plane.column_step_ijk, plane.row_step_ijk]).T @ first_xy
    return [_moved(plane, start + n * up_ijk, (height, width)) for n in range(low, high + 1)], -low


def _moved(plane: SlicePlane, origin_ijk: np.ndarray, size_hw: tuple[int, int]) -> SlicePlane:
    i, j, k = (float(value) for value in origin_ijk)
    return SlicePlane((i, j, k), plane.column_step_ijk, plane.row_step_ijk, size_hw, plane.size_ijk)


def mask_on(plane: SlicePlane, mask_kji: np.ndarray) -> np.ndarray:
    """The cut of a slice through voxels, (K, J, I) bool of its volume: (H, W) bool."""
    if is_on_grid(plane):
        return plane.extract(mask_kji)
    return picture_of(plane, mask_kji.astype(np.uint8) * 255) > 127
