"""The slices of a volume that are parallel to one, and the voxels of segments that belong to each of them.

A segmentation may have a grid of its own: each of its voxels belongs to the slice that is nearest to its centre.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import slicer

from SAMMed2DSlicer import scene, segments

if TYPE_CHECKING:
    import numpy as np

    from SAMMed2DLib.geometry import SlicePlane
    from SAMMed2DLib.planes import VoxelPatch

# As in `SAMMed2DLib.planes`: rounding leaves no voxel between two layers.
_LAYER_SHIFT = 1e-6


@dataclass(frozen=True, eq=False)
class Stack:
    """Parallel slices of a volume, and the grid of a segmentation.

    Attributes:
        planes: the slices, in the IJK of the volume.
        position: which of them was asked for.
        volume_world: (4, 4), mm, the volume's voxels to the scene.
        grid_world: (4, 4), mm, the segmentation's voxels to the scene.
        grid_extent: first and last voxel of the grid along i, j and k.
        geometry: vtkMatrix4x4, the grid to the segmentation's RAS.
        volume_geometry: vtkMatrix4x4, the volume's voxels to the segmentation's RAS.
    """

    planes: tuple[SlicePlane, ...]
    position: int
    volume_world: np.ndarray
    grid_world: np.ndarray
    grid_extent: tuple[int, ...]
    geometry: Any
    volume_geometry: Any

    @classmethod
    def of(cls, volume: Any, plane: SlicePlane, segmentation: Any, labelmap: Any) -> Stack:
        """Take the slices parallel to one of a volume; `labelmap` has the grid of the segmentation.

        Raises:
            SceneError: the volume or the segmentation is under a non-linear transform.
        """
        import numpy as np

        from SAMMed2DLib.parallel_planes import planes_along

        world, geometry = scene.world_from_ijk(volume), segments.image_matrix(labelmap)
        parent = scene.world_from_local(segmentation)
        planes, position = planes_along(plane, world)
        in_segmentation = slicer.util.vtkMatrixFromArray(np.linalg.inv(parent) @ world)
        grid = parent @ slicer.util.arrayFromVTKMatrix(geometry)
        return cls(tuple(planes), position, world, grid, tuple(labelmap.GetExtent()), geometry, in_segmentation)

    def key(self) -> list[Any]:
        """What tells these slices from others, of another direction or volume; numbers and lists."""
        first, count = self.planes[0], len(self.planes)
        steps = [first.origin_ijk, first.column_step_ijk, first.row_step_ijk]
        return [[round(value, 3) for value in step] for step in steps] + [list(first.size_ijk), count]

    def middle_world(self, number: int) -> np.ndarray:
        """The middle of a slice, (3,) mm."""
        from SAMMed2DLib.geometry import ras_from_ijk

        plane = self.planes[number]
        height, width = plane.size_hw
        middle_ijk = plane.ijk_from_xy([((width - 1) / 2, (height - 1) / 2)])
        return ras_from_ijk(middle_ijk, self.volume_world)[0]

    def layers(self, extent: Sequence[int]) -> np.ndarray:
        """The slice to which each voxel of the grid belongs; to be broadcast to (K, J, I) of the extent, int."""
        import numpy as np

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
        """How a voxel's index tells its height above the first slice, in slices: (3,) for each step, and a constant."""
        import numpy as np

        first = self.planes[0]
        world, origin = self.volume_world, np.array(first.origin_ijk)
        steps = world[:3, :3] @ np.array([first.column_step_ijk, first.row_step_ijk]).T
        normal = np.cross(steps[:, 0], steps[:, 1])
        normal /= np.linalg.norm(normal)
        if len(self.planes) > 1:
            apart_mm = normal @ world[:3, :3] @ (np.array(self.planes[1].origin_ijk) - origin)
        else:
            apart_mm = np.abs(normal @ world[:3, :3]).sum()
        start = world[:3, :3] @ origin + world[:3, 3]
        slope = normal @ self.grid_world[:3, :3] / apart_mm
        return slope, float(normal @ (self.grid_world[:3, 3] - start) / apart_mm)

    def patch(self, number: int, mask_hw: np.ndarray) -> VoxelPatch | None:
        """The voxels that a mask, (H, W) bool, on a slice means; None if there is none."""
        from SAMMed2DLib.planes import voxels_of_mask

        plane = self.planes[number]
        return voxels_of_mask(mask_hw, plane, self.volume_world, self.grid_world, self.grid_extent)


class SegmentSlices:
    """The voxels of a segment as they are now, slice by slice."""

    def __init__(self, stack: Stack, segmentation: Any, segment_id: str) -> None:
        """Read the segment."""
        import numpy as np

        self._stack, self._segmentation, self._segment_id = stack, segmentation, segment_id
        self._patches: dict[int, VoxelPatch] = {}
        extent = segments.extent_of(segmentation, segment_id, stack.geometry, stack.grid_extent)
        self.numbers: list[int] = []
        if extent is None:
            return
        self._start = extent[::2]
        self._voxels = segments.segment_in(segmentation, segment_id, extent, stack.geometry)
        self._layers = stack.layers(extent)
        self._axis = next((a for a in range(3) if self._layers.size == self._layers.shape[a]), None)
        if self._axis is not None:
            others = tuple(a for a in range(3) if a != self._axis)
            found = np.unique(self._layers.ravel()[self._voxels.any(axis=others)])
        else:
            found = np.unique(np.broadcast_to(self._layers, self._voxels.shape)[self._voxels])
        self.numbers = [int(number) for number in found if 0 <= number < len(stack.planes)]

    def patch(self, number: int) -> VoxelPatch | None:
        """The voxels of a slice, in the grid; None if there is none."""
        if number not in self.numbers:
            return None
        if number not in self._patches:
            self._patches[number] = self._cut(number)
        return self._patches[number]

    def digest(self, number: int) -> str:
        """What tells the voxels of a slice from others; empty for an empty slice."""
        import numpy as np

        patch = self.patch(number)
        if patch is None:
            return ""
        text = repr((patch.start_ijk, patch.mask_kji.shape)).encode()
        return hashlib.blake2b(text + np.packbits(patch.mask_kji).tobytes(), digest_size=8).hexdigest()

    @property
    def size_hw(self) -> tuple[int, int]:
        """Rows and columns of the slices."""
        return self._stack.planes[0].size_hw

    def mask(self, number: int) -> np.ndarray:
        """The segment on a slice, (H, W) bool."""
        from SAMMed2DLib.stack import mask_on

        return mask_on(self._stack.planes[number], self._in_volume)

    @cached_property
    def _in_volume(self) -> np.ndarray:
        size = self._stack.planes[0].size_ijk
        extent = [end for length in size for end in (0, length - 1)]
        return segments.segment_in(self._segmentation, self._segment_id, extent, self._stack.volume_geometry)

    def _cut(self, number: int) -> VoxelPatch:
        import numpy as np

        from SAMMed2DLib.planes import VoxelPatch

        start = np.array(self._start)
        if self._axis is not None:
            along = np.flatnonzero(self._layers.ravel() == number)
            at = [slice(None)] * 3
            at[self._axis] = slice(along[0], along[-1] + 1)
            block = self._voxels[tuple(at)]
            start[2 - self._axis] += along[0]
        else:
            block = self._voxels & (self._layers == number)
        filled = [np.flatnonzero(block.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
        cut = np.ascontiguousarray(block[tuple(slice(one[0], one[-1] + 1) for one in filled)])
        i, j, k = (int(start[axis] + filled[2 - axis][0]) for axis in range(3))
        return VoxelPatch((i, j, k), cut)
