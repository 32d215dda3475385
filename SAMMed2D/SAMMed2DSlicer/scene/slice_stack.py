"""A stack of parallel slices of a volume, and the voxels of a segment that belong to each slice.

A segmentation may have another grid than the volume: each of its voxels belongs to the slice nearest to its centre.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk

from SAMMed2DLib.imaging import voxel_patches
from SAMMed2DLib.imaging.masks import crossing_lines
from SAMMed2DLib.imaging.planes import pixels_outside
from SAMMed2DSlicer.scene import segment_reader, volumes

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane
    from SAMMed2DLib.imaging.voxel_patches import VoxelPatch

# As in `SAMMed2DLib.imaging.planes`: rounding leaves no voxel between two layers.
_LAYER_SHIFT = 1e-6


@dataclass(frozen=True, eq=False)
class SliceStack:
    """Parallel slices of a volume, and the grid of a segmentation.

    Attributes:
        planes: the slices, in the IJK of the volume.
        position: number of the slice that the stack was made from.
        world_from_ijk: (4, 4), mm, the volume's voxels to the scene.
        segmentation_from_ijk: (4, 4), mm, the volume's voxels to the segmentation's RAS.
        world_from_grid: (4, 4), mm, the segmentation's voxels to the scene.
        grid_extent: first and last voxel of the grid along i, j and k.
        geometry: vtkMatrix4x4, the segmentation's voxels to its RAS.
    """

    planes: tuple[SlicePlane, ...]
    position: int
    world_from_ijk: np.ndarray
    segmentation_from_ijk: np.ndarray
    world_from_grid: np.ndarray
    grid_extent: tuple[int, ...]
    geometry: vtk.vtkMatrix4x4

    @classmethod
    def of(
        cls,
        volume: slicer.vtkMRMLScalarVolumeNode,
        plane: SlicePlane,
        segmentation: slicer.vtkMRMLSegmentationNode,
        labelmap: slicer.vtkOrientedImageData,
    ) -> SliceStack:
        """Make the stack of all slices parallel to one.

        Args:
            volume: the volume node.
            plane: one of its slices.
            segmentation: the segmentation node.
            labelmap: has the grid of the segmentation.

        Raises:
            SceneError: the volume or the segmentation is under a non-linear transform.
        """
        from SAMMed2DLib.imaging.planes import planes_along

        world, geometry = volumes.world_from_ijk(volume), segment_reader.image_matrix(labelmap)
        parent = volumes.world_from_local(segmentation)
        planes, position = planes_along(plane, world)
        grid = parent @ slicer.util.arrayFromVTKMatrix(geometry)
        in_segmentation = np.linalg.inv(parent) @ world
        return cls(tuple(planes), position, world, in_segmentation, grid, tuple(labelmap.GetExtent()), geometry)

    @property
    def slice_px(self) -> float:
        """How far slices are from each other, in pixels of a slice."""
        from SAMMed2DLib.imaging.planes import slice_px

        return slice_px(self.planes[0], self.world_from_ijk)

    def is_in_place(self, volume: slicer.vtkMRMLScalarVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode) -> bool:
        """Whether volume and segmentation have the same relative position as before."""
        try:
            parent, world = volumes.world_from_local(segmentation), volumes.world_from_ijk(volume)
        except volumes.SceneError:  # bent by a transform
            return False
        return bool(np.allclose(np.linalg.inv(parent) @ world, self.segmentation_from_ijk, atol=1e-4))

    def key(self) -> list[Any]:
        """Numbers and lists that are equal for equal stacks; saved with the scene."""
        first, count = self.planes[0], len(self.planes)
        steps = [first.origin_ijk, first.column_step_ijk, first.row_step_ijk]
        return [[round(value, 3) for value in step] for step in steps] + [list(first.size_ijk), count]

    def center_world(self, number: int) -> np.ndarray:
        """The centre of a slice in the scene, (3,) mm."""
        from SAMMed2DLib.imaging.affines import ras_from_ijk

        plane = self.planes[number]
        height, width = plane.size_hw
        middle_ijk = plane.ijk_from_xy([((width - 1) / 2, (height - 1) / 2)])
        return ras_from_ijk(middle_ijk, self.world_from_ijk)[0]

    def layers(self, extent: Sequence[int]) -> np.ndarray:
        """The number of the slice that each voxel of the grid belongs to.

        Args:
            extent: first and last voxel along i, j and k.

        Returns:
            int32, broadcasts to (K, J, I) of the extent.
        """
        slope, offset = self._heights
        reach = [end - start for start, end in zip(self.grid_extent[::2], self.grid_extent[1::2], strict=True)]
        total = np.full((1, 1, 1), offset + 0.5 + _LAYER_SHIFT)
        for axis in range(3):
            along = np.arange(extent[2 * axis], extent[2 * axis + 1] + 1)
            if abs(slope[axis]) * (reach[axis] + 1) < 1e-3:
                along = along[:1]  # the same slice all along
            shape = [1, 1, 1]
            shape[2 - axis] = len(along)
            total = total + (slope[axis] * along).reshape(shape)
        return np.floor(total).astype(np.int32)

    @cached_property
    def _heights(self) -> tuple[np.ndarray, float]:
        """A voxel's height above the first slice, in slices, is slope @ ijk + offset: (3,) slope, and the offset."""
        first = self.planes[0]
        world, origin = self.world_from_ijk, np.array(first.origin_ijk)
        steps = world[:3, :3] @ np.array([first.column_step_ijk, first.row_step_ijk]).T
        normal = np.cross(steps[:, 0], steps[:, 1])
        normal /= np.linalg.norm(normal)
        if len(self.planes) > 1:
            apart_mm = normal @ world[:3, :3] @ (np.array(self.planes[1].origin_ijk) - origin)
        else:
            apart_mm = np.abs(normal @ world[:3, :3]).sum()
        start = world[:3, :3] @ origin + world[:3, 3]
        slope = normal @ self.world_from_grid[:3, :3] / apart_mm
        return slope, float(normal @ (self.world_from_grid[:3, 3] - start) / apart_mm)

    def patch(self, number: int, mask_hw: np.ndarray) -> VoxelPatch | None:
        """The voxels of the grid under a mask, (H, W) bool, on a slice; None if there is none."""
        from SAMMed2DLib.imaging.planes import voxels_of_mask

        plane = self.planes[number]
        return voxels_of_mask(mask_hw, plane, self.world_from_ijk, self.world_from_grid, self.grid_extent)

    def pixels_outside(self, number: int, mask_hw: np.ndarray) -> int:
        """How many pixels of a mask, (H, W) bool, on a slice lie outside the grid."""
        plane = self.planes[number]
        return pixels_outside(mask_hw, plane, self.world_from_ijk, self.world_from_grid, self.grid_extent)

    def mask(self, number: int, patch: VoxelPatch | None) -> np.ndarray:
        """The cut of a slice through voxels of the grid, (H, W) bool; the inverse of `patch`."""
        from SAMMed2DLib.imaging.planes import is_on_grid
        from SAMMed2DLib.imaging.voxel_patches import VoxelPatch

        plane = self.planes[number]
        if patch is None:
            return np.zeros(plane.size_hw, bool)
        from_volume = np.linalg.inv(self.world_from_grid) @ self.world_from_ijk
        shift = np.round(from_volume[:3, 3]).astype(int)
        if not is_on_grid(plane) or np.abs(from_volume - _shifted(shift)).max() > 1e-3:
            return self._interpolated(plane, from_volume, patch)
        i, j, k = (int(a - b) for a, b in zip(patch.start_ijk, shift, strict=True))
        whole = [end for size in plane.size_ijk for end in (0, size - 1)]
        return plane.extract(voxel_patches.in_extent(VoxelPatch((i, j, k), patch.mask_kji), whole))

    def _interpolated(self, plane: SlicePlane, from_volume: np.ndarray, patch: VoxelPatch) -> np.ndarray:
        from SAMMed2DLib.imaging.geometry import SlicePlane
        from SAMMed2DLib.imaging.planes import slice_image_of

        voxels = np.pad(patch.mask_kji, 1)
        start = np.array(patch.start_ijk) - 1
        # Not exactly on the grid: there `slice_image_of` takes whole slices only.
        origin = from_volume[:3, :3] @ plane.origin_ijk + from_volume[:3, 3] - start + 1e-6
        column_step, row_step = (from_volume[:3, :3] @ step for step in (plane.column_step_ijk, plane.row_step_ijk))
        size_ijk = voxels.shape[::-1]
        cut = SlicePlane(tuple(origin), tuple(column_step), tuple(row_step), plane.size_hw, size_ijk)
        return slice_image_of(cut, voxels.astype(np.uint8) * 255) > 127


def _shifted(shift: Sequence[int]) -> np.ndarray:
    """(4, 4): a translation by (3,) voxels."""
    matrix = np.eye(4)
    matrix[:3, 3] = shift
    return matrix


def digest_of(patch: VoxelPatch | None) -> str:
    """A hash of voxels, the same in whatever direction they were read; empty for none."""
    if patch is None:
        return ""
    text = repr((tuple(patch.start_ijk), patch.mask_kji.shape)).encode()
    return hashlib.blake2b(text + np.packbits(patch.mask_kji).tobytes(), digest_size=8).hexdigest()


class SegmentSlices:
    """The voxels of a segment slice by slice, as they are when `read` is called."""

    def __init__(self, stack: SliceStack, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> None:
        """Hold references to the voxels, on the main thread; `read` reads them.

        Args:
            stack: the slices, and the grid to read in.
            segmentation: the segmentation node.
            segment_id: the segment; it may be empty.
        """
        self._stack = stack
        self._reader = segment_reader.SegmentReader(segmentation, segment_id, stack.geometry)
        self._pieces: dict[int, list[VoxelPatch]] = {}
        self.numbers: list[int] = []
        self.crossed: set[int] = set()  # that show only lines, of masks on slices across them

    def read(self) -> None:
        """Read the segment, in any thread; in small pieces, so that other threads get their turn."""
        self._pieces = {}
        for slab in self._reader.slabs(self._stack.grid_extent):
            found = voxel_patches.cropped(slab)
            if found is not None:
                self._sort(found)
        self.numbers = sorted(number for number in self._pieces if 0 <= number < len(self._stack.planes))
        lines = {n: self.mask(n) for n in self.numbers if _may_be_line(self.patch(n))}
        self.crossed = crossing_lines(lines, are_flat=self._are_flat(lines))

    def _are_flat(self, numbers: Collection[int]) -> bool:
        """Whether the voxels of these slices are a mask on a slice of the grid: oblique ones show lines that move."""
        if not numbers:
            return False
        ends = voxel_patches.joined([patch.extent for patch in map(self.patch, numbers) if patch is not None])
        return min(last - first for first, last in zip(ends[::2], ends[1::2], strict=True)) < 2

    def is_stale(self) -> bool:
        """Whether the segment was changed since; on the main thread."""
        return self._reader.is_stale()

    def patch(self, number: int) -> VoxelPatch | None:
        """The voxels of a slice, in the grid; None if there is none."""
        pieces = self._pieces.get(number, [])
        if len(pieces) > 1:
            pieces[:] = filter(None, [voxel_patches.union(pieces)])
        return pieces[0] if pieces else None

    def digest(self, number: int) -> str:
        """`digest_of` the voxels of a slice; empty for an empty slice."""
        return digest_of(self.patch(number))

    def slices_per_position(self, nonempty: Collection[int]) -> int:
        """How many slices each position has: 1; 0 without a keyframe that has voxels."""
        return int(bool(nonempty))

    def masks(self, nonempty: Collection[int], empty: Collection[int]) -> dict[int, np.ndarray]:
        """Masks, (H, W) bool, by slice: of slices with voxels, and of empty ones."""
        size_hw = self._stack.planes[0].size_hw
        return {n: self.mask(n) for n in sorted(nonempty)} | {n: np.zeros(size_hw, bool) for n in empty}

    def mask(self, number: int) -> np.ndarray:
        """The segment on a slice, (H, W) bool."""
        beside = (number - 1, number, number + 1)  # where the grid is another one, a slice lies between its voxels
        return self._stack.mask(number, voxel_patches.union([self.patch(neighbour) for neighbour in beside]))

    def _sort(self, found: VoxelPatch) -> None:
        """Split voxels by slice."""
        layers = self._stack.layers(found.extent)
        if layers.size == 1:
            self._add(layers.item(), found)
        elif layers.size == max(layers.shape):
            self._sort_along(layers, found)
        else:
            self._sort_across(layers, found)

    def _sort_along(self, layers: np.ndarray, found: VoxelPatch) -> None:
        """Split where the slices are perpendicular to an axis of the grid."""
        from SAMMed2DLib.imaging.voxel_patches import VoxelPatch

        axis, numbers = int(np.argmax(layers.shape)), layers.ravel()
        for number in np.unique(numbers):
            along = np.flatnonzero(numbers == number)
            i, j, k = (start + int(along[0]) * (n == 2 - axis) for n, start in enumerate(found.start_ijk))
            block = found.mask_kji[(slice(None),) * axis + (slice(along[0], along[-1] + 1),)]
            self._add(int(number), voxel_patches.cropped(VoxelPatch((i, j, k), block)))

    def _sort_across(self, layers: np.ndarray, found: VoxelPatch) -> None:
        """Split where the slices are oblique; goes through the segment's voxels only, since extents overlap."""
        from SAMMed2DLib.imaging.voxel_patches import VoxelPatch

        shape = found.mask_kji.shape
        at = np.flatnonzero(found.mask_kji)
        numbers = np.broadcast_to(layers, shape).reshape(-1)[at]
        order = np.argsort(numbers, kind="stable")
        at, numbers = at[order], numbers[order]
        edges = np.flatnonzero(np.diff(numbers)) + 1
        for number, part in zip(numbers[[0, *edges]], np.split(at, edges), strict=True):
            kji = np.array(np.unravel_index(part, shape))
            low = kji.min(axis=1)
            mask = np.zeros(kji.max(axis=1) - low + 1, bool)
            mask[tuple(kji - low[:, None])] = True
            i, j, k = (int(a + b) for a, b in zip(found.start_ijk, low[::-1], strict=True))
            self._add(int(number), VoxelPatch((i, j, k), mask))

    def _add(self, number: int, patch: VoxelPatch | None) -> None:
        if patch is not None:
            self._pieces.setdefault(number, []).append(patch)


def _may_be_line(patch: VoxelPatch | None) -> bool:
    """Whether a slice has no more voxels than lines of two voxels' width along the sides of their box."""
    return patch is not None and int(np.count_nonzero(patch.mask_kji)) <= 4 * sum(patch.mask_kji.shape)
