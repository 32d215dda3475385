"""Connected regions and depth against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from SAMMed2DLib.imaging.components import (
    innermost_point,
    label_components,
    largest_component,
    parts_touching,
    squared_depth,
    squared_distance,
)

LABELS = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 2))


@settings(max_examples=80, deadline=None)
@given(LABELS)
def test_regions_equal_those_of_scipy(label):
    parts = label_components(label)
    count = 0
    for value in (1, 2):
        expected, found = ndimage.label(label == value, np.ones((3, 3)))
        count += found
        for k in range(1, found + 1):
            numbers = np.unique(parts.index_hw[expected == k])
            assert len(numbers) == 1
            assert parts.label[numbers[0] - 1] == value
            assert parts.area_px[numbers[0] - 1] == (expected == k).sum()
    assert len(parts) == count
    np.testing.assert_array_equal(parts.index_hw == 0, label == 0)


@settings(max_examples=80, deadline=None)
@given(LABELS)
def test_depth_equals_the_euclidean_distance_transform(label):
    expected = ndimage.distance_transform_edt(np.pad(label > 0, 1))[1:-1, 1:-1] ** 2
    np.testing.assert_allclose(squared_depth(label > 0), expected, atol=1e-9)


def test_a_spiral_is_one_region():
    spiral = np.zeros((41, 41), bool)
    t = np.linspace(0, 6 * np.pi, 4000)
    spiral[(20 + t * np.sin(t)).astype(int), (20 + t * np.cos(t)).astype(int)] = True
    assert len(label_components(spiral)) == 1


def test_the_first_of_equally_large_regions_is_the_largest():
    mask = np.array([[1, 1, 0, 1, 1]])
    np.testing.assert_array_equal(largest_component(mask), [[True, True, False, False, False]])


def test_an_empty_mask_has_no_largest_region():
    assert not largest_component(np.zeros((3, 3))).any()


def test_a_volume_is_refused():
    with pytest.raises(ValueError, match="two dimensions"):
        label_components(np.zeros((2, 2, 2), np.uint8))


def test_parts_that_touch_another_mask_are_kept_whole():
    mask = np.array([[1, 1, 0, 1], [0, 0, 0, 1], [1, 0, 0, 0]], bool)
    seed = np.array([[0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]], bool)
    np.testing.assert_array_equal(parts_touching(mask, seed), [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert not parts_touching(mask, ~mask).any()


def test_squared_distance_is_that_of_brute_force():
    mask = np.random.default_rng(3).random((13, 17)) < 0.05
    inside = np.argwhere(mask)
    everywhere = np.argwhere(np.ones_like(mask))
    expected = ((everywhere[:, None] - inside[None]) ** 2).sum(-1).min(1).reshape(mask.shape)
    np.testing.assert_array_equal(squared_distance(mask), expected)


def test_an_empty_mask_is_farther_than_any_pixel():
    assert (squared_distance(np.zeros((3, 4), bool)) == 49).all()


def test_the_innermost_point_of_a_ring_lies_in_it():
    row, column = np.mgrid[:41, :60]
    distance = np.hypot(row - 20, column - 30)
    ring = (distance < 15) & (distance > 6)
    x, y = innermost_point(ring)
    assert ring[int(y), int(x)]
    assert abs(np.hypot(y - 20, x - 30) - 10.5) < 1.5


def test_of_several_innermost_pixels_the_middle_one_is_taken():
    mask = np.zeros((9, 30), bool)
    mask[3:6, 5:24] = True
    np.testing.assert_array_equal(innermost_point(mask), [14, 4])


def test_distances_within_reach_are_the_same_as_without():
    mask = np.zeros((40, 50), bool)
    mask[12:17, 20:31] = True
    whole, near = squared_distance(mask), squared_distance(mask, reach_px=5)
    close = whole <= 25
    np.testing.assert_array_equal(near[close], whole[close])
    assert (near[~close] > 25).all()
