"""Slices of volumes of any orientation, against element-by-element reading and against SimpleITK."""

from __future__ import annotations

import itertools
import math
import pickle
from typing import Any

import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from SAMMed2DLib.imaging.affines import array_axis_of, ijk_from_ras, ras_from_ijk
from SAMMed2DLib.imaging.geometry import (
    GeometryError,
    OutsidePlaneError,
    OutsideVolumeError,
    SlicePlane,
    nearest_index,
    voxels_of,
)

UNTYPED: Any = SlicePlane  # for what the annotations would forbid
# No limit of time for one example: a machine under load pauses where it likes.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
NAMES = ("axial", "coronal", "sagittal")
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0])


def numbered_volume(size_ijk) -> np.ndarray:
    """Return volume_kji in which each voxel holds its own number."""
    return np.arange(math.prod(size_ijk)).reshape(size_ijk[::-1])


def rotation(axis_xyz, angle) -> np.ndarray:
    """Return the rotation by Rodrigues' formula."""
    x, y, z = np.array(axis_xyz) / np.linalg.norm(axis_xyz)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def matrix_of(directions, spacing, origin) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = np.asarray(directions) * spacing
    matrix[:3, 3] = origin
    return matrix


SIZES = st.tuples(*[st.integers(1, 6)] * 3)
AXES = st.sampled_from([*NAMES, 0, 1, 2])
SPACINGS = st.tuples(*[st.floats(0.05, 9)] * 3)
ORIGINS = st.tuples(*[st.floats(-900, 900)] * 3)
PERMUTATIONS = st.permutations(range(3))
FLIPS = st.tuples(*[st.sampled_from([-1, 1])] * 3)
# Whole numbers, because ITK's inverse fails on the subnormal numbers that hypothesis likes to draw.
ROTATION_AXES = st.tuples(*[st.integers(-9, 9)] * 3).filter(any)


@st.composite
def directions(draw, largest_angle=math.pi):
    """Draw the directions of i, j and k: permuted, flipped, then rotated."""
    columns = np.eye(3)[:, draw(PERMUTATIONS)] * draw(FLIPS)
    milliradians = draw(st.integers(-int(1000 * largest_angle), int(1000 * largest_angle)))
    return rotation(draw(ROTATION_AXES), milliradians / 1000) @ columns


@st.composite
def matrices(draw, largest_angle=math.pi):
    return matrix_of(draw(directions(largest_angle)), draw(SPACINGS), draw(ORIGINS))


@st.composite
def planes(draw):
    """Draw a slice of a volume, with the volume's matrix."""
    size, axis, matrix = draw(SIZES), draw(AXES), draw(matrices())
    count = size[::-1][array_axis_of(axis, matrix)]
    return SlicePlane.of_axis(size, axis, draw(st.integers(0, count - 1)), matrix), matrix


# Which axis a name means


@pytest.mark.parametrize(
    ("axis", "array_axis"), [("axial", 0), ("coronal", 1), ("sagittal", 2), (0, 0), (1, 1), (2, 2)]
)
def test_without_a_matrix_the_axes_are_k_j_i(axis, array_axis):
    assert array_axis_of(axis) == array_axis
    assert array_axis_of(axis, np.eye(4)) == array_axis


@pytest.mark.parametrize("axis", [np.int64(1), np.uint8(1), True])
def test_numpy_integers_are_axes(axis):
    found = array_axis_of(axis)
    assert found == 1
    assert type(found) is int


@pytest.mark.parametrize(
    ("codes_of_ijk", "axial", "coronal", "sagittal"),
    [
        ("RAS", 0, 1, 2),
        ("LPS", 0, 1, 2),
        ("LAI", 0, 1, 2),
        ("ASR", 1, 2, 0),
        ("PIR", 1, 2, 0),
        ("SRA", 2, 0, 1),
        ("IPL", 2, 1, 0),
        ("RSA", 1, 0, 2),
        ("ARS", 0, 2, 1),
    ],
)
def test_names_follow_the_anatomy_of_permuted_and_flipped_volumes(codes_of_ijk, axial, coronal, sagittal):
    towards = {
        "R": (1, 0, 0),
        "L": (-1, 0, 0),
        "A": (0, 1, 0),
        "P": (0, -1, 0),
        "S": (0, 0, 1),
        "I": (0, 0, -1),
    }
    matrix = matrix_of(np.transpose([towards[code] for code in codes_of_ijk]), (5, 0.5, 2), (10, -300, 77))
    assert [array_axis_of(name, matrix) for name in NAMES] == [axial, coronal, sagittal]


@PATIENT
@given(matrices(largest_angle=0.6))
def test_names_agree_with_the_orientation_codes_of_simpleitk(matrix):
    steps = LPS_FROM_RAS @ matrix[:3, :3]
    cosines = (steps / np.linalg.norm(steps, axis=0)).ravel()
    codes = SimpleITK.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(cosines)
    for name, letters in zip(NAMES, ("SI", "AP", "LR"), strict=True):
        (volume_axis,) = (axis for axis, code in enumerate(codes) if code in letters)
        assert array_axis_of(name, matrix) == 2 - volume_axis


@PATIENT
@given(matrices())
def test_a_name_means_the_closest_axis_wherever_the_three_do_not_compete(matrix):
    cosines = np.abs(matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0))
    closest = cosines.argmax(axis=1)
    assume(len(set(closest)) == 3)
    assume(np.diff(np.sort(cosines, axis=1), axis=1)[:, 1].min() > 1e-6)
    assert [2 - array_axis_of(name, matrix) for name in NAMES] == [closest[2], closest[1], closest[0]]


@PATIENT
@given(matrices())
def test_the_three_names_always_mean_three_axes(matrix):
    assert sorted(array_axis_of(name, matrix) for name in NAMES) == [0, 1, 2]


@PATIENT
@given(matrices())
def test_numbers_mean_the_same_axis_whatever_the_matrix(matrix):
    assert [array_axis_of(axis, matrix) for axis in (0, 1, 2)] == [0, 1, 2]


def test_at_45_degrees_the_last_bit_of_the_matrix_does_not_decide():
    found = set()
    for noise in (-1e-15, 0, 1e-15):
        matrix = matrix_of(rotation((1, 0, 0), math.pi / 4 + noise), (1, 1, 1), (0, 0, 0))
        found.add(tuple(array_axis_of(name, matrix) for name in NAMES))
    assert found == {(0, 1, 2)}


def test_anisotropic_voxels_do_not_change_the_axis():
    turned = rotation((-1, 2, 3), 1.3)
    for spacing in ((1, 1, 1), (10, 0.1, 0.1), (0.1, 10, 0.1), (0.1, 0.1, 10)):
        matrix = matrix_of(turned, spacing, (0, 0, 0))
        assert [array_axis_of(name, matrix) for name in NAMES] == [0, 2, 1]


@pytest.mark.parametrize("axis", ["Axial", "transverse", "", "k", 3, -1, 0.5, None])
def test_other_axes_are_refused(axis):
    with pytest.raises(GeometryError, match=r"no axis|whole number"):
        array_axis_of(axis)
    with pytest.raises(GeometryError):
        SlicePlane.of_axis((4, 4, 4), axis, 0)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(3), "shape"),
        (np.zeros((4, 4)), "last row"),
        (np.diag([1.0, 1, 0, 1]), "no inverse"),
        (np.diag([1.0, 1, 1, 2]), "last row"),
        (np.diag([1.0, np.nan, 1, 1]), "finite"),
        (np.diag([1.0, np.inf, 1, 1]), "finite"),
        ([[1, 2, 0, 0], [1, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "no inverse"),
        ("identity", "numbers"),
    ],
)
def test_matrices_that_lead_nowhere_are_refused(matrix, message):
    plane = SlicePlane.of_axis((4, 4, 4), 0, 0)
    for use in (
        lambda: array_axis_of("axial", matrix),
        lambda: array_axis_of(0, matrix),
        lambda: SlicePlane.of_axis((4, 4, 4), "axial", 0, matrix),
        lambda: ras_from_ijk([[0, 0, 0]], matrix),
        lambda: ijk_from_ras([[0, 0, 0]], matrix),
        lambda: plane.ras_from_xy([[0, 0]], matrix),
        lambda: plane.xy_from_ras([[0, 0, 0]], matrix),
    ):
        with pytest.raises(GeometryError, match=message):
            use()


def test_tiny_and_huge_voxels_are_fine():
    for spacing in (1e-6, 1e6):
        matrix = matrix_of(np.eye(3), (spacing,) * 3, (0, 0, 0))
        np.testing.assert_allclose(ijk_from_ras(ras_from_ijk([[1, 2, 3]], matrix), matrix), [[1, 2, 3]])


# The slice image


def test_slices_are_the_arrays_own_without_flips():
    volume = numbered_volume((3, 4, 5))
    np.testing.assert_array_equal(SlicePlane.of_axis((3, 4, 5), "axial", 2).extract(volume), volume[2])
    np.testing.assert_array_equal(SlicePlane.of_axis((3, 4, 5), "coronal", 2).extract(volume), volume[:, 2])
    np.testing.assert_array_equal(
        SlicePlane.of_axis((3, 4, 5), "sagittal", 2).extract(volume), volume[:, :, 2]
    )


@PATIENT
@given(planes())
def test_every_pixel_shows_the_voxel_that_its_coordinates_lead_to(plane_and_matrix):
    plane, _ = plane_and_matrix
    volume = numbered_volume(plane.size_ijk)
    image = plane.extract(volume)
    assert image.shape == plane.size_hw
    height, width = plane.size_hw
    for y, x in itertools.product(range(height), range(width)):
        i, j, k = (int(value) for value in plane.ijk_from_xy([[x, y]])[0])
        assert image[y, x] == volume[k, j, i]


@PATIENT
@given(planes(), st.randoms(use_true_random=False))
def test_the_matrix_and_the_volume_agree_on_where_a_pixel_is_as_simpleitk_sees_it(plane_and_matrix, random):
    plane, matrix = plane_and_matrix
    image = SimpleITK.GetImageFromArray(numbered_volume(plane.size_ijk))
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin((LPS_FROM_RAS @ matrix[:3, 3]).tolist())
    image.SetDirection((LPS_FROM_RAS @ (matrix[:3, :3] / spacing)).ravel().tolist())
    y, x = random.randrange(plane.size_hw[0]), random.randrange(plane.size_hw[1])
    (point_ras,) = plane.ras_from_xy([[x, y]], matrix)
    index = image.TransformPhysicalPointToIndex((LPS_FROM_RAS @ point_ras).tolist())
    assert image[index] == plane.extract(numbered_volume(plane.size_ijk))[y, x]
    inside = [random.uniform(-0.5, size - 0.5) for size in plane.size_ijk]
    point_lps = image.TransformContinuousIndexToPhysicalPoint(inside)
    np.testing.assert_allclose(ras_from_ijk([inside], matrix)[0], LPS_FROM_RAS @ point_lps, atol=1e-8)
    np.testing.assert_allclose(ijk_from_ras([LPS_FROM_RAS @ point_lps], matrix)[0], inside, atol=1e-7)


@PATIENT
@given(SIZES, AXES, matrices())
def test_the_slices_of_an_axis_are_the_volume(size, axis, matrix):
    volume = numbered_volume(size)
    array_axis = array_axis_of(axis, matrix)
    slices = [
        SlicePlane.of_axis(size, axis, n, matrix).extract(volume) for n in range(volume.shape[array_axis])
    ]
    np.testing.assert_array_equal(np.stack(slices, axis=array_axis), volume)


@pytest.mark.parametrize("array_axis", [0, 1, 2])
@pytest.mark.parametrize("components", [1, 3, 4])
def test_volumes_of_vectors_give_slices_of_vectors(array_axis, components):
    volume = np.random.default_rng(0).normal(size=(4, 3, 2, components))
    image = SlicePlane.of_axis((2, 3, 4), array_axis, 1).extract(volume)
    np.testing.assert_array_equal(image, volume.take(1, axis=array_axis))


@pytest.mark.parametrize("array_axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.float16, np.complex64, ">i2"])
def test_a_slice_is_a_copy_in_row_order_of_the_same_dtype(array_axis, dtype):
    volume = np.asfortranarray(numbered_volume((2, 3, 4)).astype(dtype))
    volume.flags.writeable = False
    image = SlicePlane.of_axis((2, 3, 4), array_axis, 0).extract(volume)
    assert image.dtype == volume.dtype
    assert image.flags.c_contiguous
    assert image.flags.writeable
    assert not np.shares_memory(image, volume)


def test_a_two_dimensional_image_is_a_volume_of_one_slice():
    image = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(SlicePlane.of_axis((4, 3, 1), "axial", 0).extract(image[np.newaxis]), image)


# Writing


@PATIENT
@given(planes(), st.randoms(use_true_random=False))
def test_insert_writes_under_the_mask_and_nowhere_else(plane_and_matrix, random):
    plane, _ = plane_and_matrix
    volume = numbered_volume(plane.size_ijk)
    expected = volume.copy()
    mask = np.array(
        [[random.random() < 0.5 for _ in range(plane.size_hw[1])] for _ in range(plane.size_hw[0])]
    )
    for y, x in np.argwhere(mask):
        i, j, k = plane.ijk_from_xy([[x, y]])[0].astype(int)
        expected[k, j, i] = -7
    plane.insert(volume, mask, -7)
    np.testing.assert_array_equal(volume, expected)
    np.testing.assert_array_equal(plane.extract(volume) == -7, mask)


@PATIENT
@given(planes())
def test_an_empty_mask_writes_nothing_and_a_full_one_the_slice(plane_and_matrix):
    plane, _ = plane_and_matrix
    volume = numbered_volume(plane.size_ijk)
    plane.insert(volume, np.zeros(plane.size_hw, bool), -1)
    np.testing.assert_array_equal(volume, numbered_volume(plane.size_ijk))
    plane.insert(volume, np.ones(plane.size_hw, bool), -1)
    assert np.count_nonzero(volume == -1) == math.prod(plane.size_hw)


@pytest.mark.parametrize("value", [5, (1, 2, 3)])
def test_insert_into_vectors_writes_one_value_or_one_per_component(value):
    volume = np.zeros((4, 3, 2, 3), np.uint8)
    mask = np.zeros((4, 2), bool)
    mask[1, 1] = True
    SlicePlane.of_axis((2, 3, 4), "coronal", 2).insert(volume, mask, value)
    expected = np.zeros_like(volume)
    expected[1, 2, 1] = value
    np.testing.assert_array_equal(volume, expected)


def test_insert_works_on_a_view_of_a_larger_volume():
    whole = np.zeros((6, 6, 6), np.int16)
    SlicePlane.of_axis((3, 3, 3), 2, 1).insert(whole[1:4, ::2, 3:], np.ones((3, 3), bool), 4)
    expected = np.zeros_like(whole)
    expected[1:4, ::2, 4] = 4
    np.testing.assert_array_equal(whole, expected)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (np.uint8, 255),
        (np.uint8, 3.0),
        (np.uint8, True),
        (np.uint8, np.int64(7)),
        (np.int8, -128),
        (bool, 1),
        (np.float32, 0.1),
        (np.float32, math.nan),
        (np.float16, math.inf),
        (">u2", 65535),
    ],
)
def test_values_that_the_dtype_holds_are_written(dtype, value):
    volume = np.zeros((1, 1, 2), dtype)
    SlicePlane.of_axis((2, 1, 1), "axial", 0).insert(volume, np.array([[False, True]]), value)
    np.testing.assert_array_equal(volume, np.array([[[0, value]]], dtype))


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        (np.uint8, 256, "cannot hold"),
        (np.uint8, -1, "cannot hold"),
        (np.uint8, 2.5, "cannot hold"),
        (np.int16, math.nan, "cannot hold"),
        (np.int64, math.inf, "cannot hold"),
        (bool, 2, "cannot hold"),
        (np.float16, 1e6, "cannot hold"),
        (np.uint8, "1", "cannot write"),
        (np.uint8, None, "cannot write"),
        (np.uint8, 1j, "cannot write"),
        (np.uint8, (1, 2), "cannot write"),
        (np.uint8, [[1]], "cannot write"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_values_that_the_dtype_cannot_hold_are_refused_and_nothing_is_written(dtype, value, message):
    volume = np.zeros((1, 1, 2), dtype)
    with pytest.raises(GeometryError, match=message):
        SlicePlane.of_axis((2, 1, 1), "axial", 0).insert(volume, np.ones((1, 2), bool), value)
    assert not volume.any()


@pytest.mark.parametrize(
    "mask",
    [
        np.ones((3, 2)),
        np.ones((3, 2), np.uint8),
        np.ones((2, 3), bool),
        np.ones((1, 2), bool),
        np.ones(2, bool),
        True,
    ],
)
def test_masks_of_another_dtype_or_shape_are_refused(mask):
    volume = np.zeros((4, 3, 2))
    with pytest.raises(GeometryError, match=r"must be boolean of shape \(3, 2\)"):
        SlicePlane.of_axis((2, 3, 4), "axial", 0).insert(volume, mask, 1)
    assert not volume.any()


def test_insert_needs_an_array_that_can_be_written():
    plane = SlicePlane.of_axis((1, 1, 1), "axial", 0)
    volume = np.zeros((1, 1, 1))
    volume.flags.writeable = False
    no_targets: list[Any] = [volume, [[[0]]], None]
    for no_target in no_targets:
        with pytest.raises(GeometryError, match="writeable numpy array"):
            plane.insert(no_target, np.ones((1, 1), bool), 1)


@pytest.mark.parametrize("shape", [(2, 3, 4), (4, 3), (4, 3, 2, 1, 1), (4, 3, 3), (5, 4, 3, 2), (0, 3, 2)])
def test_volumes_of_another_size_are_refused(shape):
    plane = SlicePlane.of_axis((2, 3, 4), "axial", 0)
    with pytest.raises(GeometryError, match=r"belongs to one of shape \(k, j, i\) = \(4, 3, 2\)"):
        plane.extract(np.zeros(shape))
    with pytest.raises(GeometryError, match="belongs to one of shape"):
        plane.insert(np.zeros(shape), np.ones((3, 2), bool), 1)


# Indices and sizes


@pytest.mark.parametrize("index", [-1, 4, 100])
@pytest.mark.parametrize(("axis", "letter"), [("axial", "k"), (0, "k"), ("sagittal", "j"), (1, "j")])
def test_slices_outside_are_refused_with_the_valid_range(index, axis, letter):
    turned = matrix_of([[0, 1, 0], [1, 0, 0], [0, 0, 1]], (1, 1, 1), (0, 0, 0))
    with pytest.raises(OutsideVolumeError, match=rf"no slice {index} along {letter} \(.*al\); choose one from 0 to 3"):
        SlicePlane.of_axis((9, 4, 4), axis, index, turned)


@pytest.mark.parametrize("index", [1.5, math.nan, "1", None, [1]])
def test_a_slice_index_is_a_whole_number(index):
    with pytest.raises(GeometryError, match="slice index must be a whole number"):
        SlicePlane.of_axis((4, 4, 4), 0, index)


@pytest.mark.parametrize("index", [2, 2.0, np.int16(2), np.float64(2)])
def test_whole_numbers_of_any_type_are_indices(index):
    assert SlicePlane.of_axis((4, 4, 4), 0, index) == SlicePlane.of_axis((4, 4, 4), 0, 2)


@pytest.mark.parametrize("size", [(4, 4), (4, 4, 4, 4), (0, 4, 4), (4, -1, 4), (4.0, 4, 4), 4, "abc", None])
def test_sizes_are_three_whole_numbers_of_at_least_one(size):
    with pytest.raises(GeometryError, match="size_ijk must be 3 whole numbers"):
        SlicePlane.of_axis(size, 0, 0)


# Points


@PATIENT
@given(
    planes(),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(-0.5, 0.5)), min_size=1, max_size=5),
)
def test_points_go_to_voxels_and_to_the_patient_and_back(plane_and_matrix, shares):
    plane, matrix = plane_and_matrix
    shares = np.array(shares)
    points_xy = shares[:, :2] * plane.size_hw[::-1] - 0.5
    points_ijk = plane.ijk_from_xy(points_xy)
    np.testing.assert_allclose(plane.xy_from_ijk(points_ijk), points_xy, atol=1e-12)
    np.testing.assert_allclose(
        plane.xy_from_ras(plane.ras_from_xy(points_xy, matrix), matrix), points_xy, atol=1e-7
    )
    normal = np.cross(plane.column_step_ijk, plane.row_step_ijk)
    beside = points_ijk + shares[:, 2:] * normal
    np.testing.assert_allclose(plane.xy_from_ijk(beside), points_xy, atol=1e-12)
    points, off_plane = plane.project(beside)
    np.testing.assert_allclose(points, points_xy, atol=1e-12)
    np.testing.assert_allclose(off_plane, shares[:, 2], atol=1e-12)


@PATIENT
@given(st.tuples(*[st.integers(1, 50)] * 3), matrices(), st.tuples(*[st.floats(0, 1)] * 3), AXES)
def test_a_click_finds_its_voxel_through_every_hop(size, matrix, share, axis):
    point_ijk = np.array(share) * size - 0.5
    assume(np.abs(point_ijk + 0.5 - np.round(point_ijk + 0.5)).min() > 1e-6)
    voxel = [math.floor(value + 0.5) for value in point_ijk]
    clicked_ijk = ijk_from_ras(ras_from_ijk([point_ijk], matrix), matrix)
    (found,) = voxels_of(clicked_ijk, size)
    assert found.tolist() == voxel
    plane = SlicePlane.of_axis(size, axis, int(found[2 - array_axis_of(axis, matrix)]), matrix)
    x, y = nearest_index(plane.xy_from_ijk(clicked_ijk))[0]
    mask = np.zeros(plane.size_hw, bool)
    mask[y, x] = True
    volume = np.zeros(size[::-1], np.uint8)
    plane.insert(volume, mask, 1)
    assert np.argwhere(volume).tolist() == [voxel[::-1]]


@pytest.mark.parametrize(
    "beyond", [(-0.6, 0, 0), (2.6, 0, 0), (0, -0.6, 0), (0, 3.6, 0), (0, 0, -0.6), (0, 0, 4.6)]
)
def test_points_outside_the_volume_are_refused_with_the_valid_range(beyond):
    valid = "point 1 .* outside the volume; i goes from 0 to 2, j from 0 to 3, k from 0 to 4"
    for axis in range(3):
        plane = SlicePlane.of_axis((3, 4, 5), axis, 0)
        with pytest.raises(OutsideVolumeError, match=valid):
            plane.xy_from_ijk([(0, 0, 0), beyond])
        with pytest.raises(OutsideVolumeError, match=valid):
            plane.xy_from_ras([(0, 0, 0), beyond], np.eye(4))
    with pytest.raises(OutsideVolumeError, match=valid):
        voxels_of([(0, 0, 0), beyond], (3, 4, 5))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("offset", [-0.6, 0.6, 1.5])
def test_points_of_another_slice_are_refused_with_their_distance(axis, offset):
    plane = SlicePlane.of_axis((5, 5, 5), axis, 2)
    beside = np.full(3, 2.0)
    beside[2 - axis] += offset
    with pytest.raises(
        OutsidePlaneError, match=rf"point 0 .* not on this slice: it is -?{abs(offset)} voxels off"
    ):
        plane.xy_from_ijk([beside])


def test_half_a_voxel_off_belongs_to_both_slices():
    for index in (1, 2):
        plane = SlicePlane.of_axis((5, 5, 5), 0, index)
        np.testing.assert_array_equal(plane.xy_from_ijk([[1, 3, 1.5]]), [[1, 3]])


def test_a_click_on_the_border_survives_the_rounding_of_its_way():
    corner = [[-0.5 - 1e-9, 3.5 + 1e-9, 4.5 + 1e-9]]
    assert voxels_of(corner, (3, 4, 5)).tolist() == [[0, 3, 4]]
    np.testing.assert_allclose(
        SlicePlane.of_axis((3, 4, 5), 0, 4).xy_from_ijk(corner), [[-0.5, 3.5]], atol=1e-8
    )


def test_box_corners_beyond_the_slice_can_be_brought_to_voxels():
    plane = SlicePlane.of_axis((3, 4, 5), "coronal", 1)
    np.testing.assert_array_equal(plane.ijk_from_xy([[-2, -3], [8, 9]]), [[-2, 1, -3], [8, 1, 9]])


def test_points_anywhere_can_be_projected():
    points, off_plane = SlicePlane.of_axis((3, 4, 5), "sagittal", 1).project([[9, 20, -7]])
    np.testing.assert_array_equal(points, [[20, -7]])
    np.testing.assert_array_equal(np.abs(off_plane), [8])


@pytest.mark.parametrize("nothing", [[], np.empty((0, 2)), np.empty((0, 3))])
def test_no_points_stay_no_points(nothing):
    plane = SlicePlane.of_axis((3, 4, 5), "axial", 0)
    assert plane.ijk_from_xy(nothing).shape == (0, 3)
    assert plane.xy_from_ijk(nothing).shape == (0, 2)
    assert plane.ras_from_xy(nothing, np.eye(4)).shape == (0, 3)
    assert plane.xy_from_ras(nothing, np.eye(4)).shape == (0, 2)
    assert voxels_of(nothing, (3, 4, 5)).shape == (0, 3)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([1, 2], "shape"),
        ([[1]], "shape"),
        ([[[1, 2, 3]]], "shape"),
        (5, "shape"),
        ([[math.nan, 0, 0]], "finite"),
        ([[0, math.inf]], "finite"),
        ([["a", "b"]], "numbers"),
        ([[1, 2], [3]], "numbers"),
    ],
)
def test_what_are_no_points_is_refused(points, message):
    plane = SlicePlane.of_axis((3, 4, 5), "axial", 0)
    for use in (
        plane.ijk_from_xy,
        plane.xy_from_ijk,
        plane.project,
        lambda p: ras_from_ijk(p, np.eye(4)),
        lambda p: ijk_from_ras(p, np.eye(4)),
        lambda p: plane.ras_from_xy(p, np.eye(4)),
        lambda p: plane.xy_from_ras(p, np.eye(4)),
        lambda p: voxels_of(p, (3, 4, 5)),
    ):
        with pytest.raises(GeometryError, match=f"{message}|shape"):
            use(points)


@pytest.mark.parametrize(
    ("value", "index"),
    [(-1.4, -1), (-0.5, 0), (-0.6, -1), (0.49, 0), (0.5, 1), (1.5, 2), (2.5, 3), (-1.5, -1)],
)
def test_rounding_is_to_the_nearest_and_halves_go_up(value, index):
    assert nearest_index(value) == index
    assert nearest_index([[value, value]]).tolist() == [[index, index]]
    assert nearest_index([value]).dtype == np.int64


def test_nan_has_no_index():
    with pytest.raises(GeometryError, match="NaN"):
        nearest_index([1, math.nan])


# Planes that are no array slices


def test_planes_are_values():
    plane = SlicePlane.of_axis((3, 4, 5), "axial", 2)
    other = UNTYPED(np.array([0, 0, 2]), [1, 0, 0], (0.0, 1, -0.0), [4, 3], np.array([3, 4, 5]))
    assert plane == other
    assert len({plane, other, pickle.loads(pickle.dumps(plane))}) == 1
    assert plane != SlicePlane.of_axis((3, 4, 5), "axial", 1)
    assert plane != SlicePlane.of_axis((3, 4, 6), "axial", 2)


@st.composite
def mirrored_planes(draw):
    """Draw any slice along the voxel grid: part of the slice, mirrored, rows and columns swapped."""
    size = draw(SIZES)
    x_axis, y_axis, normal = draw(PERMUTATIONS)
    origin, steps, counts = [0, 0, 0], [[0, 0, 0], [0, 0, 0]], []
    origin[normal] = draw(st.integers(0, size[normal] - 1))
    for step, axis in zip(steps, (x_axis, y_axis), strict=True):
        first, last = draw(st.integers(0, size[axis] - 1)), draw(st.integers(0, size[axis] - 1))
        origin[axis], step[axis] = first, 1 if last >= first else -1
        counts.append(abs(last - first) + 1)
    return UNTYPED(origin, *steps, counts[::-1], size)


@PATIENT
@given(mirrored_planes())
def test_mirrored_and_partial_slices_are_read_and_written_where_their_affine_says(plane):
    volume = numbered_volume(plane.size_ijk)
    expected, written = np.zeros(plane.size_hw, int), volume.copy()
    for y, x in np.ndindex(*plane.size_hw):
        i, j, k = (int(value) for value in plane.ijk_from_xy([[x, y]])[0])
        expected[y, x] = volume[k, j, i]
        written[k, j, i] = -1
    np.testing.assert_array_equal(plane.extract(volume), expected)
    plane.insert(volume, np.ones(plane.size_hw, bool), -1)
    np.testing.assert_array_equal(volume, written)


OBLIQUE = SlicePlane((1, 1, 1), (0.6, 0.8, 0), (0, 0, 0.5), (4, 3), (9, 9, 9))


@PATIENT
@given(st.floats(-0.5, 2.5), st.floats(-0.5, 3.5), st.floats(-0.5, 0.5))
def test_points_of_oblique_planes_go_both_ways(x, y, off):
    on_plane = np.array([1 + 0.6 * x, 1 + 0.8 * x, 1 + 0.5 * y])
    np.testing.assert_allclose(OBLIQUE.ijk_from_xy([[x, y]]), [on_plane], atol=1e-12)
    beside = on_plane + off * np.array([0.8, -0.6, 0])
    np.testing.assert_allclose(OBLIQUE.xy_from_ijk([beside]), [[x, y]], atol=1e-12)
    np.testing.assert_allclose(OBLIQUE.project([beside])[1], [off], atol=1e-12)


def test_points_of_the_volume_beyond_the_edges_of_an_oblique_plane_are_refused():
    with pytest.raises(OutsidePlaneError, match=r"\(x, y\) = \(4, 0\)"):
        OBLIQUE.xy_from_ijk([[1 + 4 * 0.6, 1 + 4 * 0.8, 1]])


def test_oblique_planes_do_not_pretend_to_be_read():
    with pytest.raises(GeometryError, match="does not follow the voxel grid"):
        OBLIQUE.extract(np.zeros((9, 9, 9)))
    with pytest.raises(GeometryError, match="does not follow the voxel grid"):
        OBLIQUE.insert(np.zeros((9, 9, 9)), np.ones((4, 3), bool), 1)


def test_a_plane_between_voxels_is_not_read():
    plane = SlicePlane((0, 0, 0.5), (1, 0, 0), (0, 1, 0), (3, 3), (3, 3, 3))
    with pytest.raises(GeometryError, match="whole number"):
        plane.extract(np.zeros((3, 3, 3)))


@pytest.mark.parametrize("origin", [(1, 0, 0), (0, -1, 0), (0, 0, 3)])
def test_a_plane_that_reaches_out_of_the_volume_is_not_read(origin):
    plane = SlicePlane(origin, (1, 0, 0), (0, 1, 0), (3, 3), (3, 3, 3))
    with pytest.raises(OutsideVolumeError, match="k from 0 to 2"):
        plane.extract(np.zeros((3, 3, 3)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"row_step_ijk": (2, 0, 0)}, "parallel"),
        ({"row_step_ijk": (0, 0, 0)}, "parallel"),
        ({"origin_ijk": (0, 0)}, "origin_ijk must have the shape"),
        ({"origin_ijk": (0, math.nan, 0)}, "origin_ijk must be finite"),
        ({"column_step_ijk": "abc"}, "column_step_ijk cannot be read"),
        ({"size_hw": (0, 3)}, "size_hw must be 2 whole numbers"),
        ({"size_hw": (3, 3, 3)}, "size_hw must be 2 whole numbers"),
        ({"size_ijk": (3, 3)}, "size_ijk must be 3 whole numbers"),
    ],
)
def test_what_is_no_plane_is_refused(change, message):
    good = {
        "origin_ijk": (0, 0, 0),
        "column_step_ijk": (1, 0, 0),
        "row_step_ijk": (0, 1, 0),
        "size_hw": (3, 3),
        "size_ijk": (3, 3, 3),
    }
    with pytest.raises(GeometryError, match=message):
        SlicePlane(**(good | change))


def test_errors_are_value_errors_of_their_own_kind():
    assert issubclass(GeometryError, ValueError)
    assert issubclass(OutsideVolumeError, GeometryError)
    assert issubclass(OutsidePlaneError, GeometryError)
    assert not issubclass(OutsidePlaneError, OutsideVolumeError)
