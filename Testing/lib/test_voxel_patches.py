"""Blocks of voxels and extents, compared with whole grids."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SAMMed2DLib.imaging import voxel_patches
from SAMMed2DLib.imaging.voxel_patches import VoxelPatch

SIZE_KJI = (6, 7, 8)
WHOLE = (0, 7, 0, 6, 0, 5)


def on_grid(patch: VoxelPatch | None) -> np.ndarray:
    """A patch in a grid that has room for all of them."""
    grid = np.zeros(SIZE_KJI, bool)
    if patch is not None:
        (i, j, k), (depth, height, width) = patch.start_ijk, patch.mask_kji.shape
        grid[k : k + depth, j : j + height, i : i + width] = patch.mask_kji
    return grid


@st.composite
def patches(draw: st.DrawFn) -> VoxelPatch | None:
    """A patch within the grid, or none."""
    if draw(st.integers(0, 5)) == 0:
        return None
    low = [draw(st.integers(0, size - 1)) for size in SIZE_KJI]
    shape = [draw(st.integers(1, size - first)) for size, first in zip(SIZE_KJI, low, strict=True)]
    mask_kji = np.random.default_rng(draw(st.integers(0, 99))).random(shape) < draw(st.sampled_from([0, 0.1, 0.6]))
    return VoxelPatch((low[2], low[1], low[0]), mask_kji)


@settings(max_examples=60, deadline=None)
@given(patches(), patches())
def test_patches_combine_as_whole_grids_do(patch, other):
    one, two = on_grid(patch), on_grid(other)
    np.testing.assert_array_equal(on_grid(voxel_patches.union([patch, other])), one | two)
    np.testing.assert_array_equal(on_grid(voxel_patches.without(patch, other)), one & ~two)
    assert voxel_patches.count(patch) == one.sum()
    assert voxel_patches.difference(patch, other) == (one ^ two).sum()
    if patch is not None and other is not None:
        low, high = other.start_ijk[::-1], other.mask_kji.shape
        block = tuple(slice(first, first + size) for first, size in zip(low, high, strict=True))
        np.testing.assert_array_equal(voxel_patches.in_extent(patch, other.extent), one[block])


@settings(max_examples=60, deadline=None)
@given(patches())
def test_a_cropped_patch_has_the_same_voxels_and_no_empty_side(patch):
    if patch is None:
        return
    found = voxel_patches.cropped(patch)
    assert (found is None) == (not patch.mask_kji.any())
    if found is not None:
        np.testing.assert_array_equal(on_grid(found), on_grid(patch))
        ends = [found.mask_kji.take(at, axis) for axis in range(3) for at in (0, -1)]
        assert all(end.any() for end in ends)
        assert found.mask_kji.flags.c_contiguous


def test_the_union_is_a_copy():
    patch = VoxelPatch((1, 2, 3), np.ones((1, 2, 3), bool))
    voxel_patches.union([patch]).mask_kji[:] = False
    assert patch.mask_kji.all()


def test_nothing_joins_to_nothing():
    assert voxel_patches.union([None, None]) is None
    assert voxel_patches.without(None, VoxelPatch((0, 0, 0), np.ones((1, 1, 1), bool))) is None


def test_extents_are_those_of_vtk():
    patch = VoxelPatch((1, 2, 3), np.ones((4, 5, 6), bool))
    assert patch.extent == (1, 6, 2, 6, 3, 6)
    assert voxel_patches.shape_kji(patch.extent) == (4, 5, 6)
    assert voxel_patches.union_extent([None, patch, VoxelPatch((0, 9, 3), np.ones((1, 1, 1), bool))]) == (
        *(0, 6),
        *(2, 9),
        *(3, 6),
    )
    assert voxel_patches.joined([(0, 1, 0, 1, 0, 1), (-2, 0, 0, 3, 1, 1)]) == (-2, 1, 0, 3, 0, 1)


@pytest.mark.parametrize("axis", range(3))
def test_extents_that_touch_only_share_nothing(axis):
    beside = list(WHOLE)
    beside[2 * axis], beside[2 * axis + 1] = WHOLE[2 * axis + 1] + 1, WHOLE[2 * axis + 1] + 3
    assert voxel_patches.overlap(WHOLE, beside) is None
    beside[2 * axis] -= 1
    shared, other = voxel_patches.overlap(WHOLE, beside)
    assert np.zeros(SIZE_KJI)[shared].shape[2 - axis] == 1 and other[2 - axis] == slice(0, 1)
