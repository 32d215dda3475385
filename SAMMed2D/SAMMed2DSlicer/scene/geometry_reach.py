"""What of a mask lies outside the geometry of a segmentation, where Slicer writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from slicer.i18n import tr as _

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane

# Positions go through several 4x4 products.
_SLACK_VOXELS = 1e-3


def pixels_outside(
    mask_hw: np.ndarray,
    plane: SlicePlane,
    plane_world: np.ndarray,
    grid_world: np.ndarray,
    grid_extent: Sequence[int],
) -> int:
    """Count the pixels of a mask whose layer of voxels does not meet the grid.

    Args:
        mask_hw: (H, W) bool, on the slice.
        plane: the slice, in the IJK of its volume.
        plane_world: (4, 4), mm, of that volume's voxels.
        grid_world: (4, 4), mm, of the grid's voxels.
        grid_extent: first and last voxel of the grid along i, j and k.
    """
    rows, columns = np.nonzero(mask_hw)
    if not len(rows):
        return 0
    to_grid = np.linalg.inv(grid_world) @ plane_world
    centers = plane.ijk_from_xy(np.column_stack([columns, rows])) @ to_grid[:3, :3].T + to_grid[:3, 3]
    steps = plane_world[:3, :3] @ np.array([plane.column_step_ijk, plane.row_step_ijk]).T
    normal = np.cross(steps[:, 0], steps[:, 1])
    normal /= np.linalg.norm(normal)
    half_mm = max(np.abs(normal @ matrix[:3, :3]).sum() for matrix in (plane_world, grid_world)) / 2
    across = np.linalg.inv(grid_world[:3, :3]) @ normal * half_mm
    low, high = np.array(grid_extent[::2]) - 0.5 - _SLACK_VOXELS, np.array(grid_extent[1::2]) + 0.5 + _SLACK_VOXELS
    within = [((centers + side * across >= low) & (centers + side * across <= high)).all(axis=1) for side in (-1, 0, 1)]
    return int((~np.any(within, axis=0)).sum())


def outside_text(outside_px: int, shown_px: int) -> str:
    """What is said of a mask that the geometry cuts."""
    text = _(
        "{outside} of {shown} px lie outside the segmentation's geometry and were not written: extend it with Specify "
        "geometry, beside the source volume."
    )
    return text.format(outside=f"{outside_px:,}", shown=f"{shown_px:,}")
