"""The short way from a slice along the grid to its voxels gives what the general way gives, bit for bit."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SAMMed2DLib.imaging import planes
from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.imaging.planes import pixels_outside, voxels_of_mask
from SAMMed2DLib.imaging.slice_voxels import AlignedSlice, nearest_voxels
from SAMMed2DLib.imaging.voxel_patches import count

SIZE = (14, 11, 9)
WORLDS = {
    "plain": np.eye(4),
    "anisotropic": np.diag([0.7, -0.9, 3.0, 1.0]),
    "sheared": np.array([[1, 0.2, 0, 3], [0, 1, 0.1, 4], [0, 0, 2.0, 5], [0, 0, 0, 1]]),
}
TURNS = [
    np.array([[sign * (column == axis) for column in range(3)] for axis, sign in zip(axes, signs, strict=True)], float)
    for axes in permutations(range(3))
    for signs in product((1, -1), repeat=3)
]


def moved(linear: np.ndarray, shift) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, shift
    return matrix


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from(sorted(WORLDS)),
    st.sampled_from(range(len(TURNS))),
    st.tuples(*[st.integers(-6, 6)] * 3),
    st.integers(0, 2),
    st.integers(0, 10**6),
)
def test_the_short_way_is_the_general_way(world, turn, shift, axis, seed):
    """Any storage order, direction and origin of the grid, and any extent."""
    rng = np.random.default_rng(seed)
    grid_from_source = moved(TURNS[turn], shift)
    grid = WORLDS[world] @ np.linalg.inv(grid_from_source)
    plane = SlicePlane.of_axis(SIZE, axis, int(rng.integers(SIZE[2 - axis])))
    mask = rng.random(plane.size_hw) > 0.7
    mask[: rng.integers(4), :] = False
    low = rng.integers(-20, 5, 3)
    extent = np.column_stack([low, low + rng.integers(1, 30, 3)]).ravel().tolist()
    place = (mask, plane, WORLDS[world], grid, extent)
    short, outside = voxels_of_mask(*place), pixels_outside(*place)
    assert AlignedSlice.of(plane, np.linalg.inv(grid) @ WORLDS[world]) is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planes.AlignedSlice, "of", lambda *given: None)
        general = voxels_of_mask(*place)
        assert outside == mask.sum() - count(general)
    assert (short is None) == (general is None)
    if short is not None:
        assert short.start_ijk == general.start_ijk
        np.testing.assert_array_equal(short.mask_kji, general.mask_kji)


@pytest.mark.parametrize(
    "grid_from_source",
    [
        moved(np.diag([2.0, 2, 2]), (0, 0, 0)),  # finer
        moved(np.eye(3), (0.3, 0, 0)),  # shifted by a part of a voxel
        moved(np.diag([1.0, 1, 1.001]), (0, 0, 0)),  # a hundredth of a voxel at the far end
    ],
)
def test_a_grid_with_other_voxels_is_none_for_the_short_way(grid_from_source):
    assert AlignedSlice.of(SlicePlane.of_axis(SIZE, 0, 3), grid_from_source) is None


def test_an_oblique_slice_is_none_for_the_short_way():
    plane = SlicePlane((0.0, 0.0, 3.0), (0.8, 0.6, 0.0), (-0.6, 0.8, 0.0), (9, 9), SIZE)
    assert AlignedSlice.of(plane, np.eye(4)) is None
    plane = SlicePlane((0.0, 0.0, 3.5), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (9, 9), SIZE)
    assert AlignedSlice.of(plane, np.eye(4)) is None


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.booleans())
def test_the_voxel_of_each_pixel_is_the_nearest_one(seed, is_turned):
    rng = np.random.default_rng(seed)
    linear = TURNS[rng.integers(len(TURNS))] @ np.diag(rng.uniform(0.4, 2, 3))
    if is_turned:
        linear = linear @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    grid_from_source = moved(linear, rng.uniform(-5, 5, 3))
    plane = SlicePlane.of_axis(SIZE, int(rng.integers(3)), 4)
    extent = (-3, 8, 0, 9, 1, 6)
    inside, at = nearest_voxels(plane, grid_from_source, extent)
    height, width = plane.size_hw
    y, x = np.mgrid[:height, :width]
    ijk = plane.ijk_from_xy(np.column_stack([x.ravel(), y.ravel()]))
    voxels = np.floor(ijk @ linear.T + grid_from_source[:3, 3] + 0.5).astype(int)
    low, high = np.array(extent[::2]), np.array(extent[1::2])
    expected = ((voxels >= low) & (voxels <= high)).all(axis=1)
    np.testing.assert_array_equal(inside.ravel(), expected)
    found = np.column_stack([np.broadcast_to(index, plane.size_hw).ravel() for index in at[::-1]]) + low
    np.testing.assert_array_equal(found[expected], voxels[expected])
