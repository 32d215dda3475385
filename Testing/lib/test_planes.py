"""Planes of views, their pictures, and the voxels that masks on them mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from SAMMed2DLib.imaging.geometry import GeometryError, OutsideVolumeError, SlicePlane
from SAMMed2DLib.imaging.planes import (
    are_same_plane,
    is_on_grid,
    plane_of_view,
    slice_image_of,
    slice_px,
    voxels_of_mask,
)

SIZE = (30, 24, 18)


def turned(x_deg: float = 0, y_deg: float = 0, z_deg: float = 0) -> np.ndarray:
    matrices = []
    for axis, angle in enumerate(np.radians([x_deg, y_deg, z_deg])):
        matrix = np.eye(3)
        a, b = [other for other in range(3) if other != axis]
        matrix[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        matrices.append(matrix)
    return matrices[2] @ matrices[1] @ matrices[0]


def affine(linear: np.ndarray, origin=(0.0, 0.0, 0.0)) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, origin
    return matrix


GRIDS = {
    "plain": affine(np.eye(3)),
    "anisotropic": affine(np.diag([0.7, 0.9, 3.0]), (10, -20, 30)),
    "flipped": affine(np.diag([-0.7, -0.9, 3.0]), (100, 50, -20)),
    "turned": affine(turned(11, -23, 40) @ np.diag([0.7, 0.9, 3.0]), (11, -7, 33)),
    "permuted": affine(np.array([[0, 0, 2.0], [0.5, 0, 0], [0, -1.0, 0]]), (3, 4, 5)),
    "sheared": affine(np.array([[1, 0.2, 0], [0, 1, 0.1], [0, 0, 2.0]]), (3, 4, 5)),
}


def view_of_slice(world_from_ijk: np.ndarray, axis: int, index: float, spin_deg: float = 0) -> np.ndarray:
    """What a viewer aligned with the grid shows: axis 0 = i, 1 = j, 2 = k."""
    a, b = [other for other in range(3) if other != axis]
    linear = world_from_ijk[:3, :3]
    right = linear[:, a] / np.linalg.norm(linear[:, a])
    up = -linear[:, b] + right * (right @ linear[:, b])
    up /= np.linalg.norm(up)
    c, s = np.cos(np.radians(spin_deg)), np.sin(np.radians(spin_deg))
    right, up = c * right + s * up, c * up - s * right
    middle = (np.array(SIZE) - 1) / 2
    middle[axis] = index
    return affine(np.column_stack([right, up, np.cross(right, up)]), linear @ middle + world_from_ijk[:3, 3])


def oblique_view(world: np.ndarray, *angles: float, off_mm: float = 0) -> np.ndarray:
    linear = turned(*angles)
    middle = world[:3, :3] @ ((np.array(SIZE) - 1) / 2) + world[:3, 3]
    return affine(linear, middle + off_mm * linear[:, 2])


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("spin_deg", [0, 33])
def test_a_view_along_the_grid_shows_the_volumes_own_slice(name, axis, spin_deg):
    for index in (0, 7, SIZE[axis] - 1):
        plane = plane_of_view(view_of_slice(GRIDS[name], axis, index, spin_deg), GRIDS[name], SIZE)
        assert plane == SlicePlane.of_axis(SIZE, 2 - axis, index)


def test_a_view_between_two_slices_shows_the_nearer_one():
    for position, index in ((6.4, 6), (6.6, 7), (-0.4, 0)):
        plane = plane_of_view(view_of_slice(GRIDS["turned"], 2, position), GRIDS["turned"], SIZE)
        assert plane == SlicePlane.of_axis(SIZE, 0, index)


@pytest.mark.parametrize("position", [-0.6, 17.6, 400])
def test_a_view_beside_the_volume_is_refused(position):
    with pytest.raises(OutsideVolumeError, match="move it into the volume"):
        plane_of_view(view_of_slice(GRIDS["turned"], 2, position), GRIDS["turned"], SIZE)
    with pytest.raises(OutsideVolumeError):
        plane_of_view(oblique_view(np.eye(4), 30, 30, off_mm=60), np.eye(4), SIZE)


def test_rounding_in_a_direction_matrix_leaves_the_slice_on_the_grid():
    view = view_of_slice(GRIDS["turned"], 2, 5)
    view[:3, :3] = np.round(view[:3, :3], 5)
    assert plane_of_view(view, GRIDS["turned"], SIZE) == SlicePlane.of_axis(SIZE, 0, 5)


def test_a_degree_of_rotation_makes_a_slice_oblique():
    view = view_of_slice(GRIDS["plain"], 2, 5)
    view[:3, :3] = view[:3, :3] @ turned(1)
    assert not is_on_grid(plane_of_view(view, GRIDS["plain"], SIZE))


def test_an_oblique_plane_covers_the_cut_and_keeps_its_pixels_while_the_view_pans():
    view = oblique_view(GRIDS["anisotropic"], 20, 30, 10)
    plane = plane_of_view(view, GRIDS["anisotropic"], SIZE)
    panned = view.copy()
    panned[:3, 3] += 3.3 * view[:3, 0] - 1.7 * view[:3, 1]
    again = plane_of_view(panned, GRIDS["anisotropic"], SIZE)
    assert plane.size_hw == again.size_hw
    np.testing.assert_allclose(plane.origin_ijk, again.origin_ijk, atol=1e-9)
    corners = plane.ijk_from_xy([[0, 0], [plane.size_hw[1] - 1, plane.size_hw[0] - 1]])
    step_mm = np.linalg.norm(GRIDS["anisotropic"][:3, :3] @ np.array(plane.column_step_ijk))
    assert step_mm == pytest.approx(0.7)
    assert (corners.max(axis=0) - corners.min(axis=0) > 0.5 * np.array(SIZE)).any()


def test_an_oblique_picture_is_turned_as_the_view_shows_it():
    world = GRIDS["plain"]
    view = oblique_view(world, 0, 30)
    plane = plane_of_view(view, world, SIZE)
    to_the_right = world[:3, :3] @ np.array(plane.column_step_ijk)
    downwards = world[:3, :3] @ np.array(plane.row_step_ijk)
    np.testing.assert_allclose(to_the_right, view[:3, 0], atol=1e-9)
    np.testing.assert_allclose(downwards, -view[:3, 1], atol=1e-9)


@pytest.mark.parametrize("name", GRIDS)
def test_a_linear_ramp_is_interpolated_exactly(name):
    k, j, i = np.mgrid[0 : SIZE[2], 0 : SIZE[1], 0 : SIZE[0]]
    ramp = (2 * i - 3 * j + 5 * k).astype(np.int16)
    plane = plane_of_view(oblique_view(GRIDS[name], 17, 29, 5), GRIDS[name], SIZE)
    picture = slice_image_of(plane, ramp)
    ys, xs = np.nonzero(np.isfinite(picture))
    points = np.clip(plane.ijk_from_xy(np.column_stack([xs, ys])), 0, np.array(SIZE) - 1)
    np.testing.assert_allclose(picture[ys, xs], points @ (2, -3, 5), atol=1e-3)
    assert len(xs) > 100


def test_colour_stays_eight_bit_and_outside_is_black():
    volume = np.full((*SIZE[::-1], 3), 200, np.uint8)
    picture = slice_image_of(plane_of_view(oblique_view(GRIDS["plain"], 40, 30), GRIDS["plain"], SIZE), volume)
    assert picture.dtype == np.uint8 and set(np.unique(picture)) == {0, 200}


def test_along_the_grid_the_picture_is_the_slice():
    volume = np.random.default_rng(0).integers(0, 99, SIZE[::-1])
    np.testing.assert_array_equal(slice_image_of(SlicePlane.of_axis(SIZE, 1, 4), volume), volume[:, 4])


def test_a_flat_volume_can_be_cut_obliquely():
    size = (20, 20, 1)
    plane = plane_of_view(affine(turned(50, 20), (9.5, 9.5, 0)), np.eye(4), size)
    assert np.isfinite(slice_image_of(plane, np.ones((1, 20, 20)))).any()


def test_planes_are_the_same_up_to_a_fraction_of_a_voxel():
    view = oblique_view(GRIDS["plain"], 20, 30)
    plane = plane_of_view(view, GRIDS["plain"], SIZE)
    for off_mm, same in ((0.1, True), (0.5, False)):
        other = plane_of_view(oblique_view(GRIDS["plain"], 20, 30, off_mm=off_mm), GRIDS["plain"], SIZE)
        assert are_same_plane(plane, other) is same
    spun = view.copy()
    spun[:3, :3] = view[:3, :3] @ turned(0, 0, 25)
    assert are_same_plane(plane, plane_of_view(spun, GRIDS["plain"], SIZE))
    assert not are_same_plane(plane, SlicePlane.of_axis(SIZE, 0, 9))
    assert not are_same_plane(SlicePlane.of_axis(SIZE, 0, 8), SlicePlane.of_axis(SIZE, 0, 9))


def written(mask: np.ndarray, plane: SlicePlane, source: np.ndarray, grid: np.ndarray, size_ijk) -> np.ndarray:
    """The whole grid with the mask in it."""
    extent = [value for length in size_ijk for value in (0, length - 1)]
    volume = np.zeros(tuple(size_ijk)[::-1], bool)
    patch = voxels_of_mask(mask, plane, source, grid, extent)
    if patch is not None:
        i0, i1, j0, j1, k0, k1 = patch.extent
        volume[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1] = patch.mask_kji
    return volume


def blob(size_hw, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(size_hw) > 0.6


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_in_its_own_grid_a_mask_fills_exactly_its_slice(name, axis):
    for index in (0, 5, SIZE[axis] - 1):
        plane = SlicePlane.of_axis(SIZE, 2 - axis, index)
        mask = blob(plane.size_hw)
        expected = np.zeros(SIZE[::-1], bool)
        plane.insert(expected, mask, True)
        np.testing.assert_array_equal(written(mask, plane, GRIDS[name], GRIDS[name], SIZE), expected)


@pytest.mark.parametrize("name", GRIDS)
def test_in_a_finer_grid_each_slice_fills_its_thickness(name):
    fine_from_coarse = affine(np.eye(3) / 2, (-0.25, -0.25, -0.25))
    grid, size = GRIDS[name] @ fine_from_coarse, tuple(2 * length for length in SIZE)
    total = np.zeros(size[::-1], int)
    for k in range(SIZE[2]):
        plane = SlicePlane.of_axis(SIZE, 0, k)
        mask = blob(plane.size_hw, k)
        volume = written(mask, plane, GRIDS[name], grid, size)
        if name != "sheared":  # there the nearest pixel is not the one along the slanted axis
            expected = np.repeat(np.repeat(mask, 2, 0), 2, 1)
            np.testing.assert_array_equal(volume[2 * k], expected)
            np.testing.assert_array_equal(volume[2 * k + 1], expected)
            assert volume.sum() == 2 * expected.sum()
        total += written(np.ones_like(mask), plane, GRIDS[name], grid, size)
    assert total.min() >= (1 if name != "sheared" else 0) and total.max() == 1


def test_in_a_coarser_grid_no_slice_is_lost():
    grid = GRIDS["plain"] @ affine(np.diag([1, 1, 3.0]), (0, 0, 1))
    plane = SlicePlane.of_axis(SIZE, 0, 8)
    volume = written(np.ones(plane.size_hw, bool), plane, GRIDS["plain"], grid, (30, 24, 6))
    assert volume[2].all() and volume.sum() == 30 * 24


def test_a_mask_goes_into_the_voxels_that_an_oblique_plane_passes_through():
    world = GRIDS["anisotropic"]
    plane = plane_of_view(oblique_view(world, 35, 20, 15, off_mm=0.123), world, SIZE)
    volume = written(np.ones(plane.size_hw, bool), plane, world, world, SIZE)
    k, j, i = np.mgrid[0 : SIZE[2], 0 : SIZE[1], 0 : SIZE[0]]
    corner_signs = []
    for shift in np.array(np.meshgrid([-0.5, 0.5], [-0.5, 0.5], [-0.5, 0.5])).reshape(3, -1).T:
        points = np.stack([i, j, k], -1).reshape(-1, 3) + shift
        corner_signs.append(plane.project(points)[1] > 0)
    crossed = np.ptp(np.array(corner_signs).astype(int), axis=0).reshape(SIZE[::-1]) > 0
    border = np.zeros_like(crossed)
    border[2:-2, 2:-2, 2:-2] = True  # near the border pixels of the cut end before voxels do
    np.testing.assert_array_equal(volume & border, crossed & border)


@settings(max_examples=60, deadline=None)
@example((15.07695555907, 0.0, 0.0), 0.0, "anisotropic", "anisotropic")
@given(
    st.tuples(*[st.floats(-80, 80)] * 3),
    st.floats(-4, 4),
    st.sampled_from(sorted(GRIDS)),
    st.sampled_from(sorted(GRIDS)),
)
def test_every_written_voxel_lies_below_a_pixel_of_the_mask(angles, off_mm, source_name, grid_name):
    source, grid = GRIDS[source_name], GRIDS[grid_name]
    plane = plane_of_view(oblique_view(source, *angles, off_mm=off_mm), source, SIZE)
    mask = blob(plane.size_hw)
    volume = written(mask, plane, source, grid, SIZE)
    k, j, i = np.nonzero(volume)
    points_world = np.column_stack([i, j, k]) @ grid[:3, :3].T + grid[:3, 3]
    steps = source[:3, :3] @ np.array([plane.column_step_ijk, plane.row_step_ijk]).T
    origin = source[:3, :3] @ np.array(plane.origin_ijk) + source[:3, 3]
    normal = np.cross(*steps.T)
    normal /= np.linalg.norm(normal)
    flat = points_world - origin - np.outer((points_world - origin) @ normal, normal)
    xy = np.linalg.lstsq(steps, flat.T, rcond=None)[0]
    found = np.zeros(len(i), bool)
    for slack_x in (-1e-6, 1e-6):  # a voxel above the border of two pixels may count as either
        for slack_y in (-1e-6, 1e-6):
            x, y = np.floor(xy + np.array([[slack_x], [slack_y]]) + 0.5).astype(int)
            inside = (x >= 0) & (y >= 0) & (x < mask.shape[1]) & (y < mask.shape[0])
            found[inside] |= mask[y[inside], x[inside]]
    assert found.all()


def test_an_empty_mask_and_a_mask_outside_the_grid_mean_no_voxel():
    plane = SlicePlane.of_axis(SIZE, 0, 3)
    nothing = np.zeros(plane.size_hw, bool)
    away = affine(np.eye(3), (500, 0, 0))
    extent = (0, 29, 0, 23, 0, 17)
    assert voxels_of_mask(nothing, plane, np.eye(4), np.eye(4), extent) is None
    assert voxels_of_mask(~nothing, plane, np.eye(4), away, extent) is None


def test_a_grid_may_begin_at_any_voxel():
    plane = SlicePlane.of_axis(SIZE, 0, 3)
    mask = np.ones(plane.size_hw, bool)
    patch = voxels_of_mask(mask, plane, np.eye(4), np.eye(4), (-5, 3, 10, 40, 2, 3))
    assert patch.start_ijk == (0, 10, 3) and patch.extent == (0, 3, 10, 23, 3, 3)


def test_wrong_masks_and_matrices_are_refused():
    plane = SlicePlane.of_axis(SIZE, 0, 3)
    with pytest.raises(GeometryError, match="boolean of shape"):
        voxels_of_mask(np.ones((3, 3), bool), plane, np.eye(4), np.eye(4), (0, 1, 0, 1, 0, 1))
    with pytest.raises(GeometryError, match="with an inverse"):
        plane_of_view(np.zeros((4, 4)), np.eye(4), SIZE)
    with pytest.raises(GeometryError, match=r"world_from_ijk .* has no inverse"):
        plane_of_view(np.eye(4), np.diag([1.0, 1, 0, 1]), SIZE)


def test_voxels_may_be_of_any_size():
    tiny = np.diag([1e-5, 1e-5, 1e-5, 1])
    assert plane_of_view(np.eye(4), tiny, SIZE) == SlicePlane.of_axis(SIZE, 0, 0)


@pytest.mark.parametrize(("axis", "distance_px"), [(0, 5.0), (1, 1 / 5**0.5), (2, 1 / 5**0.5)])
def test_the_distance_of_slices_is_told_in_their_pixels(axis, distance_px):
    turned = np.array([[0, -2, 0, 7], [2, 0, 0, -3], [0, 0, 10, 1], [0, 0, 0, 1.0]])
    assert slice_px(SlicePlane.of_axis((6, 5, 4), axis, 1), turned) == pytest.approx(distance_px)
