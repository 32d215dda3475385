"""Blocks of voxels of a grid: what several have together, what one has more than another, and how far they reach.

An extent is the first and the last voxel along i, j and k, six integers, both ends within, as VTK writes extents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Extent = tuple[int, int, int, int, int, int]


@dataclass(frozen=True, eq=False)
class VoxelPatch:
    """Voxels of a grid.

    Attributes:
        start_ijk: (3,) the voxel of mask_kji[0, 0, 0].
        mask_kji: (K, J, I) bool.
    """

    start_ijk: tuple[int, int, int]
    mask_kji: np.ndarray

    @property
    def extent(self) -> Extent:
        """First and last voxel along i, j and k."""
        (i, j, k), (depth, height, width) = self.start_ijk, self.mask_kji.shape
        return (i, i + width - 1, j, j + height - 1, k, k + depth - 1)


# Patches


def union(patches: Sequence[VoxelPatch | None]) -> VoxelPatch | None:
    """All voxels of some patches, as a new one; None if there is no patch."""
    found = [patch for patch in patches if patch is not None]
    if not found:
        return None
    extent = union_extent(found)
    i0, _i1, j0, _j1, k0, _k1 = extent
    mask_kji = np.zeros(shape_kji(extent), bool)
    for patch in found:
        start = [first - low for first, low in zip(patch.start_ijk[::-1], (k0, j0, i0), strict=True)]
        index = tuple(slice(first, first + size) for first, size in zip(start, patch.mask_kji.shape, strict=True))
        mask_kji[index] |= patch.mask_kji
    return VoxelPatch((i0, j0, k0), mask_kji)


def without(patch: VoxelPatch | None, other: VoxelPatch | None) -> VoxelPatch | None:
    """The patch without what the other one has; None if nothing is left."""
    if patch is None or other is None:
        return patch
    rest_kji = patch.mask_kji & ~in_extent(other, patch.extent)
    return VoxelPatch(patch.start_ijk, rest_kji) if rest_kji.any() else None


def cropped(patch: VoxelPatch) -> VoxelPatch | None:
    """The smallest patch with all voxels of this one; None if there are none."""
    mask_kji = patch.mask_kji
    filled = [np.flatnonzero(mask_kji.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]  # along k, j, i
    if not len(filled[0]):
        return None
    k, j, i = (int(start + at[0]) for start, at in zip(patch.start_ijk[::-1], filled, strict=True))
    return VoxelPatch((i, j, k), np.ascontiguousarray(mask_kji[tuple(slice(at[0], at[-1] + 1) for at in filled)]))


def count(patch: VoxelPatch | None) -> int:
    """How many voxels a patch has; 0 for none."""
    return 0 if patch is None else int(patch.mask_kji.sum())


def difference(patch: VoxelPatch | None, other: VoxelPatch | None) -> int:
    """How many voxels only one of the two has."""
    if patch is None or other is None:
        return count(patch) + count(other)
    shared = int((in_extent(patch, other.extent) & other.mask_kji).sum())
    return count(patch) + count(other) - 2 * shared


def in_extent(patch: VoxelPatch, extent: Sequence[int]) -> np.ndarray:
    """The part of a patch within an extent, (K, J, I) bool of that extent."""
    found_kji = np.zeros(shape_kji(extent), bool)
    shared = overlap(extent, patch.extent)
    if shared is not None:
        found_kji[shared[0]] = patch.mask_kji[shared[1]]
    return found_kji


# Extents


def shape_kji(extent: Sequence[int]) -> tuple[int, int, int]:
    """(K, J, I) of an extent."""
    i0, i1, j0, j1, k0, k1 = extent
    return (k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1)


def union_extent(patches: Sequence[VoxelPatch | None]) -> Extent:
    """The smallest extent with all of some patches, one at least, in it."""
    return joined([patch.extent for patch in patches if patch is not None])


def joined(extents: Sequence[Extent]) -> Extent:
    """The smallest extent with all of some extents, one at least, in it."""
    i0, i1, j0, j1, k0, k1 = zip(*extents, strict=True)
    return min(i0), max(i1), min(j0), max(j1), min(k0), max(k1)


def overlap(
    extent: Sequence[int], other: Sequence[int]
) -> tuple[tuple[slice, slice, slice], tuple[slice, slice, slice]] | None:
    """What two extents share, as indices into the (K, J, I) array of each; None if they share nothing."""
    first = [max(extent[at], other[at]) for at in (4, 2, 0)]
    last = [min(extent[at], other[at]) for at in (5, 3, 1)]
    if any(low > high for low, high in zip(first, last, strict=True)):
        return None

    def index_in(whole: Sequence[int]) -> tuple[slice, slice, slice]:
        k, j, i = (slice(first[n] - whole[4 - 2 * n], last[n] - whole[4 - 2 * n] + 1) for n in range(3))
        return k, j, i

    return index_in(extent), index_in(other)
