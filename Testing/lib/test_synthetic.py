"""Synthetic images: equal for equal seeds, of the promised kind, and with visible objects."""

from __future__ import annotations

import numpy as np
import pytest

from SAMMed2DLib.data.synthetic import lesions_on, synthetic_item


@pytest.mark.parametrize("size", [64, 128])
def test_an_item_is_a_colour_image_with_a_label_map(size):
    for seed in range(12):
        image, label = synthetic_item(np.random.default_rng(seed), size)
        assert image.shape == (size, size, 3) and image.dtype == np.uint8
        assert label.shape == (size, size) and label.dtype == np.uint8
        assert label.any()


def test_equal_seeds_give_equal_items():
    first, second = (synthetic_item(np.random.default_rng(7), 64) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_items_differ_in_brightness_colour_and_number_of_objects():
    items = [synthetic_item(np.random.default_rng(seed), 64) for seed in range(40)]
    assert np.ptp([image.mean() for image, _ in items]) > 80
    coloured = [bool((image[..., 0] != image[..., 2]).any()) for image, _ in items]
    assert 0 < sum(coloured) < len(items)
    assert len({len(np.unique(label)) for _, label in items}) > 4


def test_lesions_on_a_real_image_are_labelled_where_the_image_changed():
    image = np.full((64, 64, 3), 120, np.uint8)
    label = np.zeros((64, 64), np.uint8)
    label[:4, :4] = 1
    for seed in range(20):
        changed, lesions = lesions_on(np.random.default_rng(seed), image, label)
        assert changed.dtype == np.uint8 and lesions.dtype == np.uint8
        far_from_lesions = np.ones((64, 64), bool)
        for row, column in np.argwhere(lesions > 1):
            far_from_lesions[max(row - 6, 0) : row + 7, max(column - 6, 0) : column + 7] = False
        np.testing.assert_array_equal(changed[far_from_lesions], image[far_from_lesions])
        if (lesions > 1).any():
            assert (changed != image).any()


def test_lesions_leave_the_given_arrays_alone():
    image, label = synthetic_item(np.random.default_rng(0), 64)
    before = image.copy(), label.copy()
    lesions_on(np.random.default_rng(1), image, label)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(label, before[1])


@pytest.mark.parametrize("side", [16, 40, 64])
def test_lesions_fit_on_images_of_any_size(side):
    image, label = np.full((side, side, 3), 90, np.uint8), np.zeros((side, side), np.uint8)
    changed, labels = lesions_on(np.random.default_rng(1), image, label)
    assert changed.shape == image.shape and labels.shape == label.shape
