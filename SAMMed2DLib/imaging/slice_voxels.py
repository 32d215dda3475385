"""Which voxels of a grid the pixels of a slice are in, in little time where the slice lies along the grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.imaging.voxel_patches import VoxelPatch, cropped, overlap

# Positions of pixels in a grid go through several 4x4 products.
_SLACK_VOXELS = 1e-3


@dataclass(frozen=True)
class AlignedSlice:
    """A slice whose pixels are voxels of a grid, one by one.

    Attributes:
        axes: the axes of the grid along x, along y and across the slice; 0 = i, 1 = j, 2 = k.
        signs: 1 where x and y grow with them, -1 where they fall.
        origin_ijk: the voxel of pixel (0, 0).
    """

    axes: tuple[int, int, int]
    signs: tuple[int, int]
    origin_ijk: tuple[int, int, int]

    @classmethod
    def of(cls, plane: SlicePlane, grid_from_plane_ijk: np.ndarray) -> AlignedSlice | None:
        """Find out how a slice lies in a grid; None if its volume has other voxels, or it is oblique.

        Args:
            plane: the slice.
            grid_from_plane_ijk: (4, 4), voxels of the slice's volume to those of the grid.
        """
        linear = grid_from_plane_ijk[:3, :3]
        whole = np.round(linear)
        is_turned_only = (np.abs(whole).sum(axis=0) == 1).all() and (np.abs(whole).sum(axis=1) == 1).all()
        if not is_turned_only or (np.abs(linear - whole) @ np.array(plane.size_ijk)).max() > _SLACK_VOXELS:
            return None
        steps = whole @ np.array([plane.column_step_ijk, plane.row_step_ijk]).T
        origin = linear @ np.array(plane.origin_ijk) + grid_from_plane_ijk[:3, 3]
        if not np.isin(steps, (-1, 0, 1)).all() or (np.abs(steps).sum(axis=0) != 1).any():
            return None
        if np.abs(origin - np.round(origin)).max() > _SLACK_VOXELS:
            return None
        x, y = (int(axis) for axis in np.abs(steps).argmax(axis=0))
        if x == y:
            return None
        i, j, k = (int(value) for value in np.round(origin))
        return cls((x, y, 3 - x - y), (int(steps[x, 0]), int(steps[y, 1])), (i, j, k))

    def patch(self, mask_hw: np.ndarray, extent: Sequence[int]) -> VoxelPatch | None:
        """The voxels of a mask on the slice.

        Args:
            mask_hw: (H, W) bool.
            extent: first and last voxel of the grid along i, j and k.
        Returns:
            the smallest block with all that are in the extent; None if none is.
        """
        rows, columns = np.flatnonzero(mask_hw.any(axis=1)), np.flatnonzero(mask_hw.any(axis=0))
        if not len(rows):
            return None
        (x, y, across), (x_sign, y_sign) = self.axes, self.signs
        part = mask_hw[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1][::y_sign, ::x_sign]
        start = list(self.origin_ijk)
        start[x] += min(x_sign * int(columns[0]), x_sign * int(columns[-1]))
        start[y] += min(y_sign * int(rows[0]), y_sign * int(rows[-1]))
        of_axis = (y, x, across)  # of the dimensions of `part` with one more
        mask_kji = part[:, :, None].transpose([of_axis.index(axis) for axis in (2, 1, 0)])
        whole = VoxelPatch((start[0], start[1], start[2]), np.ascontiguousarray(mask_kji))
        shared = overlap(extent, whole.extent)
        if shared is None:
            return None
        if tuple(part.stop - part.start for part in shared[1]) == mask_kji.shape:
            return whole
        k, j, i = (first + part.start for first, part in zip(whole.start_ijk[::-1], shared[1], strict=True))
        return cropped(VoxelPatch((i, j, k), whole.mask_kji[shared[1]]))


def nearest_voxels(
    plane: SlicePlane, grid_from_plane_ijk: np.ndarray, extent: Sequence[int]
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Find the voxel of a grid in which the middle of each pixel of a slice is.

    Args:
        plane: the slice.
        grid_from_plane_ijk: (4, 4), voxels of the slice's volume to those of the grid.
        extent: first and last voxel of the grid along i, j and k.
    Returns:
        whether it is in the extent, (H, W) bool; and indices along k, j and i into an array of the extent, which
        broadcast to (H, W); those of pixels outside are of some voxel.
    """
    linear, shift = grid_from_plane_ijk[:3, :3], grid_from_plane_ijk[:3, 3]
    steps = linear @ np.array([plane.column_step_ijk, plane.row_step_ijk]).T
    origin = linear @ np.array(plane.origin_ijk) + shift
    height, width = plane.size_hw
    y, x = np.ogrid[:height, :width]
    inside, indices = np.ones((1, 1), bool), []
    for axis in (2, 1, 0):
        low, high = extent[2 * axis], extent[2 * axis + 1]
        position = origin[axis] + np.zeros((1, 1))
        for step, pixels, count in ((steps[axis, 0], x, width), (steps[axis, 1], y, height)):
            if abs(step) * count > _SLACK_VOXELS:  # else all pixels along it are in the same voxel
                position = position + step * pixels
        index = np.floor(position + 0.5).astype(np.int32)
        inside = inside & (index >= low) & (index <= high)
        indices.append(np.clip(index, low, high) - low)
    k, j, i = indices
    return np.broadcast_to(inside, plane.size_hw), (k, j, i)
