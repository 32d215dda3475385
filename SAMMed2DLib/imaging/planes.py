"""Slices in any direction: the plane that a viewer shows, its image, and the voxels that a mask on it means.

A viewer's plane becomes a `SlicePlane` of the volume. Where it follows the voxel grid, that is the volume's own
slice, untouched; elsewhere it is a grid of pixels laid over the whole cut through the volume, turned as shown.
A mask on a plane goes into the voxels, of any grid, that the plane's layer of voxels passes through.

`_world` is the viewer's frame, RAS in mm after all parent transforms; `world_from_ijk` are (4, 4) matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from SAMMed2DLib.imaging.affines import checked_affine
from SAMMed2DLib.imaging.geometry import GeometryError, OutsideVolumeError, SlicePlane
from SAMMed2DLib.imaging.slice_voxels import AlignedSlice
from SAMMed2DLib.imaging.voxel_patches import VoxelPatch, count, cropped

# A plane counts as a slice of the grid while it strays from it by less than this, voxels over the whole slice.
_GRID_TOLERANCE = 0.1
# Two planes are one while the corners of one lie this close to the other, voxels.
_SAME_PLANE_TOLERANCE = 0.3
# More pixels would cost time and memory, and the model sees fewer.
_LARGEST_SIDE_PX = 1024
# All layers are shifted by this share of their thickness, so that rounding leaves no voxel between two of them.
_LAYER_SHIFT = 1e-6
# Positions of a mask's pixels in a grid go through several 4x4 products.
_SLACK_VOXELS = 1e-3


def plane_of_view(view_to_world: ArrayLike, world_from_ijk: ArrayLike, size_ijk: Sequence[int]) -> SlicePlane:
    """Find the slice of a volume that a viewer shows.

    Args:
        view_to_world: (4, 4), mm; its columns are the directions to the right, upwards and out of the plane, and
            a point of the plane, as in the SliceToRAS of 3D Slicer.
        world_from_ijk: (4, 4), mm.
        size_ijk: voxels of the volume along i, j and k.

    Returns:
        One of the volume's own slices (see `SlicePlane.of_axis`), the nearest one, where the view follows the voxel
        grid; otherwise an oblique plane with square pixels as large as the shortest voxel side, row 0 on top.

    Raises:
        OutsideVolumeError: the plane does not meet the volume.
        GeometryError: a matrix has no inverse.
    """
    view, world = checked_affine(view_to_world, "view_to_world"), checked_affine(world_from_ijk, "world_from_ijk")
    size = np.array(size_ijk)
    directions = view[:3, :3] / np.linalg.norm(view[:3, :3], axis=0)
    normal = np.cross(directions[:, 0], directions[:, 1])
    slope = normal @ world[:3, :3]  # mm off the plane, for each step along i, j and k
    axis = int(np.abs(slope).argmax())
    strays = np.abs(slope) * (size - 1) / abs(slope[axis])
    if strays.sum() - strays[axis] < _GRID_TOLERANCE:
        middle = (size - 1) / 2
        offset = normal @ (view[:3, 3] - world[:3, 3])
        position = (offset - slope @ middle) / slope[axis] + middle[axis]
        if not -0.5 <= position < size[axis] - 0.5:
            raise OutsideVolumeError("the slice shown does not meet the volume; move it into the volume")
        return SlicePlane.of_axis(tuple(size.tolist()), 2 - axis, int(np.floor(position + 0.5)))
    return _oblique_plane(view[:3, 3], directions[:, 0], np.cross(normal, directions[:, 0]), world, size)


def are_same_plane(plane: SlicePlane, other: SlicePlane) -> bool:
    """Whether two slices of one volume are the same, whatever their pixels."""
    if plane == other:
        return True
    if plane.size_ijk != other.size_ijk or is_on_grid(plane) != is_on_grid(other) or is_on_grid(plane):
        return False
    distances = [a.project(_corners_ijk(b))[1] for a, b in ((plane, other), (other, plane))]
    return bool(np.abs(distances).max() < _SAME_PLANE_TOLERANCE)


def is_on_grid(plane: SlicePlane) -> bool:
    """Whether a slice is one of the volume's own, pixels and voxels being the same."""
    steps = (plane.column_step_ijk, plane.row_step_ijk)
    are_single = all(sorted(map(abs, step)) == [0, 0, 1] for step in steps)
    return are_single and all(value == round(value) for value in plane.origin_ijk)


def grid_axis(plane: SlicePlane) -> int:
    """The volume axis along which slices like this one of the grid are stacked: 0 = i, 1 = j, 2 = k."""
    steps = zip(plane.column_step_ijk, plane.row_step_ijk, strict=True)
    return next(axis for axis, (column, row) in enumerate(steps) if not column and not row)


def slice_image_of(plane: SlicePlane, volume_kji: np.ndarray) -> np.ndarray:
    """Take the image of a slice out of a volume; along the grid as it is, elsewhere by linear interpolation.

    Args:
        plane: a slice of this volume.
        volume_kji: (K, J, I) or (K, J, I, C), any dtype.

    Returns:
        (H, W) or (H, W, C): the volume's dtype along the grid and for uint8, else float32. What lies outside
        the volume is NaN, and 0 in uint8.

    Raises:
        GeometryError: the volume is not of the plane's size.
    """
    if is_on_grid(plane):
        return plane.extract(volume_kji)
    if volume_kji.ndim not in (3, 4) or volume_kji.shape[2::-1] != plane.size_ijk:
        raise GeometryError(f"the volume has shape {volume_kji.shape}, the slice belongs to {plane.size_ijk[::-1]}")
    height, width = plane.size_hw
    xs, ys = np.meshgrid(np.arange(width), np.arange(height))
    points_ijk = plane.ijk_from_xy(np.column_stack([xs.ravel(), ys.ravel()]))
    values = _interpolated(volume_kji, points_ijk).reshape(height, width, *volume_kji.shape[3:])
    if volume_kji.dtype != np.uint8:
        return values
    return np.floor(np.nan_to_num(values) + 0.5).astype(np.uint8)


def voxels_of_mask(
    mask_hw: np.ndarray,
    plane: SlicePlane,
    plane_world_from_ijk: ArrayLike,
    grid_world_from_ijk: ArrayLike,
    grid_extent: Sequence[int],
) -> VoxelPatch | None:
    """Find the voxels of a grid that a mask on a slice means.

    The slice stands for the layer of voxels that it passes through, in its own volume or in the grid, whichever is
    thicker: a slice along the volume's grid fills its whole thickness in a finer grid, and leaves no holes in a
    coarser or turned one.

    Args:
        mask_hw: (H, W) bool, on the slice.
        plane: the slice, in the IJK of its volume.
        plane_world_from_ijk: (4, 4), of that volume.
        grid_world_from_ijk: (4, 4), of the grid to write to.
        grid_extent: first and last voxel of the grid along i, j and k, six numbers.

    Returns:
        The smallest block of voxels with all of them; None if there is none.

    Raises:
        GeometryError: the mask is not of the plane's size, or a matrix has no inverse.
    """
    if mask_hw.dtype != bool or mask_hw.shape != plane.size_hw:
        raise GeometryError(f"the mask must be boolean of shape {plane.size_hw}, not {mask_hw.dtype} {mask_hw.shape}")
    source = checked_affine(plane_world_from_ijk, "plane_world_from_ijk")
    grid = checked_affine(grid_world_from_ijk, "grid_world_from_ijk")
    if not mask_hw.any():
        return None
    aligned = AlignedSlice.of(plane, np.linalg.inv(grid) @ source)
    if aligned is not None:
        return aligned.patch(mask_hw, grid_extent)
    layer = _Layer.of(plane, source, grid)
    block = _block_around(mask_hw, layer, grid, np.array(grid_extent).reshape(3, 2))
    return None if block is None else _filled(mask_hw, layer, grid, block)


def pixels_outside(
    mask_hw: np.ndarray,
    plane: SlicePlane,
    plane_world_from_ijk: np.ndarray,
    grid_world_from_ijk: np.ndarray,
    grid_extent: Sequence[int],
) -> int:
    """Count the pixels of a mask whose layer of voxels does not meet a grid; arguments as in `voxels_of_mask`.

    Args:
        mask_hw: (H, W) bool, on the slice.
        plane: the slice.
        plane_world_from_ijk: (4, 4) affine of the slice's own volume, voxels to mm.
        grid_world_from_ijk: (4, 4) affine of the grid, voxels to mm.
        grid_extent: first and last voxel of the grid along i, j and k, six numbers.
    """
    rows, columns = np.nonzero(mask_hw)
    if not len(rows):
        return 0
    grid_from_ijk = np.linalg.inv(grid_world_from_ijk) @ plane_world_from_ijk
    aligned = AlignedSlice.of(plane, grid_from_ijk)
    if aligned is not None:
        return len(rows) - count(aligned.patch(mask_hw, grid_extent))
    centers = plane.ijk_from_xy(np.column_stack([columns, rows])) @ grid_from_ijk[:3, :3].T + grid_from_ijk[:3, 3]
    layer = _Layer.of(plane, plane_world_from_ijk, grid_world_from_ijk)
    across = np.linalg.inv(grid_world_from_ijk[:3, :3]) @ layer.normal * layer.half_mm
    low, high = np.array(grid_extent[::2]) - 0.5 - _SLACK_VOXELS, np.array(grid_extent[1::2]) + 0.5 + _SLACK_VOXELS
    within = [((centers + side * across >= low) & (centers + side * across <= high)).all(axis=1) for side in (-1, 0, 1)]
    return int((~np.any(within, axis=0)).sum())


def planes_along(plane: SlicePlane, world_from_ijk: ArrayLike) -> tuple[list[SlicePlane], int]:
    """All slices of a volume that are parallel to one, and the position of that one among them.

    Along the voxel grid these are the volume's own slices. Others are as far apart as their layers of voxels are thick
    (see `voxels_of_mask`), so that each voxel belongs to one of them, and have pixels over the whole volume.

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
    return slice_image_of(plane, mask_kji.astype(np.uint8) * 255) > 127


@dataclass(frozen=True, eq=False)
class _Layer:
    """A slice in world: pixel (0, 0), the steps, the unit normal, and half the thickness; mm."""

    origin: np.ndarray
    steps: np.ndarray  # (3, 2), columns: for x + 1 and for y + 1
    normal: np.ndarray
    half_mm: float

    @classmethod
    def of(cls, plane: SlicePlane, source: np.ndarray, grid: np.ndarray) -> _Layer:
        steps = source[:3, :3] @ np.array([plane.column_step_ijk, plane.row_step_ijk]).T
        normal = np.cross(steps[:, 0], steps[:, 1])
        normal /= np.linalg.norm(normal)
        half_mm = max(np.abs(normal @ matrix[:3, :3]).sum() for matrix in (source, grid)) / 2
        return cls(source[:3, :3] @ np.array(plane.origin_ijk) + source[:3, 3], steps, normal, half_mm)


def _block_around(mask_hw: np.ndarray, layer: _Layer, grid: np.ndarray, extent: np.ndarray) -> np.ndarray | None:
    """First and last voxel, (3, 2), of the part of the grid in which the mask's voxels are; None if there is none."""
    rows, columns = np.flatnonzero(mask_hw.any(axis=1)), np.flatnonzero(mask_hw.any(axis=0))
    sides = product((columns[0] - 0.5, columns[-1] + 0.5), (rows[0] - 0.5, rows[-1] + 0.5), (-1, 1))
    corners = np.array([layer.steps @ (x, y) + side * layer.half_mm * layer.normal for x, y, side in sides])
    corners_ijk = np.linalg.solve(grid[:3, :3], (corners + layer.origin - grid[:3, 3]).T)
    first = np.maximum(np.floor(corners_ijk.min(axis=1)), extent[:, 0])
    last = np.minimum(np.ceil(corners_ijk.max(axis=1)), extent[:, 1])
    return None if (first > last).any() else np.column_stack([first, last]).astype(int)


def _filled(mask_hw: np.ndarray, layer: _Layer, grid: np.ndarray, block: np.ndarray) -> VoxelPatch | None:
    """The voxels of the block within the layer whose nearest pixel is in the mask.

    Along the axis that is steepest to the plane only a few voxels of each column can be in the layer, so columns
    are visited instead of the whole block.
    """
    slope = layer.normal @ grid[:3, :3]
    axis = int(np.abs(slope).argmax())
    others = [other for other in range(3) if other != axis]
    spans = [np.arange(block[other, 0], block[other, 1] + 1) for other in others]
    first, second = (a.ravel() for a in np.meshgrid(*spans, indexing="ij"))
    off_origin = layer.normal @ (grid[:3, 3] - layer.origin)
    off_plane = slope[others[0]] * first + slope[others[1]] * second + off_origin
    low = -layer.half_mm * (1 + _LAYER_SHIFT)
    ends = np.stack([low - off_plane, low + 2 * layer.half_mm - off_plane]) / slope[axis]
    start = np.ceil(ends.min(axis=0)).astype(int)
    mask_kji = np.zeros(block[::-1, 1] - block[::-1, 0] + 1, bool)
    for step in range(int(2 * layer.half_mm / abs(slope[axis])) + 2):
        along = start + step
        inside = (along <= block[axis, 1]) & (along >= block[axis, 0]) & (along < ends.max(axis=0))
        voxels = np.empty((int(inside.sum()), 3), int)
        voxels[:, axis] = along[inside]
        voxels[:, others[0]], voxels[:, others[1]] = first[inside], second[inside]
        hit = voxels[_are_in_mask(mask_hw, layer, voxels @ grid[:3, :3].T + grid[:3, 3])] - block[:, 0]
        mask_kji[hit[:, 2], hit[:, 1], hit[:, 0]] = True
    i, j, k = block[:, 0].tolist()
    return cropped(VoxelPatch((i, j, k), mask_kji))


def _are_in_mask(mask_hw: np.ndarray, layer: _Layer, points_world: np.ndarray) -> np.ndarray:
    """Whether the pixel below each point, perpendicular to the plane in mm, is in the mask."""
    xy = (points_world - layer.origin) @ np.linalg.pinv(layer.steps).T
    x, y = np.floor(xy + 0.5).astype(int).T
    height, width = mask_hw.shape
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    inside[inside] = mask_hw[y[inside], x[inside]]
    return inside


def _oblique_plane(
    point_world: np.ndarray, right: np.ndarray, up: np.ndarray, world: np.ndarray, size: np.ndarray
) -> SlicePlane:
    """Pixels over the whole cut; anchored at the volume's middle, so that panning a view does not move them."""
    normal = np.cross(right, up)
    middle_world = world[:3, :3] @ ((size - 1) / 2) + world[:3, 3]
    anchor = middle_world - normal * (normal @ (middle_world - point_world))
    cut = _cut_of_volume(anchor, normal, world, size) - anchor
    spans_mm = np.array([cut @ right, cut @ -up])
    low, high = spans_mm.min(axis=1), spans_mm.max(axis=1)
    pixel_mm = max(np.linalg.norm(world[:3, :3], axis=0).min(), (high - low).max() / (_LARGEST_SIDE_PX - 1))
    first, last = np.ceil(low / pixel_mm - 1e-6), np.floor(high / pixel_mm + 1e-6)
    width, height = np.maximum(last - first + 1, 1).astype(int).tolist()
    steps_ijk = np.linalg.solve(world[:3, :3], pixel_mm * np.column_stack([right, -up]))
    anchor_ijk = np.linalg.solve(world[:3, :3], anchor - world[:3, 3])
    origin = anchor_ijk + steps_ijk @ first
    column, row = steps_ijk.T
    return SlicePlane(tuple(origin), tuple(column), tuple(row), (height, width), tuple(size.tolist()))


def _cut_of_volume(anchor: np.ndarray, normal: np.ndarray, world: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Where the plane meets the edges of the volume, (N, 3) world, mm.

    Raises:
        OutsideVolumeError: it meets none.
    """
    corners_ijk = np.array(list(product(*[(-0.5, length - 0.5) for length in size])))
    corners = corners_ijk @ world[:3, :3].T + world[:3, 3]
    heights = (corners - anchor) @ normal
    edges = [(a, b) for a in range(8) for b in (a | 1, a | 2, a | 4) if a < b and heights[a] * heights[b] <= 0]
    points = [corners[a] + _share(heights[a], heights[b]) * (corners[b] - corners[a]) for a, b in edges]
    if not points:
        raise OutsideVolumeError("the slice shown does not meet the volume; move it into the volume")
    return np.array(points)


def _share(before: float, after: float) -> float:
    return 0.0 if before == after else before / (before - after)


def _corners_ijk(plane: SlicePlane) -> np.ndarray:
    height, width = plane.size_hw
    return plane.ijk_from_xy(list(product((0, width - 1), (0, height - 1))))


def _interpolated(volume_kji: np.ndarray, points_ijk: np.ndarray) -> np.ndarray:
    """Values at points by linear interpolation, (N,) or (N, C) float32; NaN outside the volume."""
    size = np.array(volume_kji.shape[2::-1])
    flat = np.ascontiguousarray(volume_kji).reshape(int(size.prod()), -1)
    inside = ((points_ijk >= -0.5) & (points_ijk <= size - 0.5)).all(axis=1)
    points = np.clip(points_ijk[inside], 0, size - 1)
    low = np.minimum(points.astype(np.int64), np.maximum(size - 2, 0))
    share = (points - low).astype(np.float32)
    strides = np.array([1, size[0], size[0] * size[1]])
    first = low @ strides
    total = np.zeros((len(points), flat.shape[1]), np.float32)
    for corner in product((0, 1), repeat=3):
        step = np.minimum(corner, size - 1) @ strides  # no second voxel where there is one only
        weight = np.where(corner, share, 1 - share).prod(axis=1)
        total += weight[:, None] * flat[first + step]
    values = np.full((len(points_ijk), flat.shape[1]), np.nan, np.float32)
    values[inside] = total
    return values if volume_kji.ndim == 4 else values[:, 0]


def slice_px(plane: SlicePlane, ijk_to_ras: ArrayLike) -> float:
    """How far the next slice along the voxel grid is, in pixels of this one.

    Args:
        plane: the slice.
        ijk_to_ras: (4, 4), mm.
    """
    matrix = np.asarray(ijk_to_ras, np.float64)[:3, :3]
    pixel_mm2 = np.linalg.norm(np.cross(matrix @ plane.column_step_ijk, matrix @ plane.row_step_ijk))
    return float(abs(np.linalg.det(matrix)) / pixel_mm2**1.5)
