"""Simulated clicks: the published draws number by number, and the deterministic click."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from SAMMed2DLib.data.simulated_user import (
    NOT_A_POINT,
    SimulationError,
    centre_error_point,
    centre_point,
    error_points,
    first_point,
    first_points,
)

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "pieces.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as pieces:
        return {name: pieces[name] for name in pieces if name.startswith(("box.masks", "point."))}


@pytest.fixture(scope="module")
def masks(golden: dict[str, np.ndarray]) -> np.ndarray:
    shape = golden["box.masks_shape"]
    return np.unpackbits(golden["box.masks_bits"])[: np.prod(shape)].reshape(shape).astype(bool)


def test_the_first_click_repeats_the_published_draws(golden, masks):
    rng = np.random.RandomState(5)
    drawn = [first_point(mask, rng) for mask in masks]
    np.testing.assert_array_equal([point for point, _ in drawn], golden["point.init1_seed5"])
    assert [label for _, label in drawn] == golden["point.init1_lab"].ravel().tolist()


def test_five_first_clicks_repeat_the_published_draws(golden, masks):
    rng = np.random.RandomState(5)
    usable = [mask for mask in masks if not mask.all()]
    drawn = [first_points(mask, 5, rng) for mask in usable]
    np.testing.assert_array_equal([points for points, _ in drawn], golden["point.init5_seed5"])
    np.testing.assert_array_equal([labels for _, labels in drawn], golden["point.init5_lab"])


def test_corrective_clicks_repeat_the_published_draws(golden, masks):
    predictions = np.roll(masks, 6, axis=2)
    predictions[:, :5] = False
    rng = np.random.RandomState(9)
    drawn = [error_points(p, m, 5, rng) for p, m in zip(predictions, masks, strict=True)]
    np.testing.assert_array_equal([points for points, _ in drawn], golden["point.error5_seed9"])
    np.testing.assert_array_equal([labels for _, labels in drawn], golden["point.error5_lab"])


def test_a_perfect_prediction_gets_the_published_points_that_are_none(golden, masks):
    points, labels = error_points(masks[0], masks[0], 3, np.random.RandomState(9))
    np.testing.assert_array_equal(points, golden["point.perfect3_seed9"][0])
    np.testing.assert_array_equal(labels, golden["point.perfect3_lab"][0])


def test_points_after_a_perfect_prediction_can_stay_inside_the_mask():
    mask = np.ones((3, 40), bool)
    points, labels = error_points(mask, mask, 50, np.random.default_rng(0), fallback_hw=None)
    assert (points < [40, 3]).all() and set(labels) == {NOT_A_POINT}


def test_the_first_click_on_an_empty_mask_is_negative():
    point, label = first_point(np.zeros((4, 6), bool), np.random.default_rng(1))
    assert label == 0 and (point >= 0).all() and (point < [6, 4]).all()


def test_several_clicks_on_an_empty_or_full_mask_are_refused():
    for mask in (np.zeros((4, 4), bool), np.ones((4, 4), bool)):
        with pytest.raises(SimulationError, match="neither empty nor full"):
            first_points(mask, 3, np.random.default_rng(0))


def test_masks_of_different_size_are_refused():
    with pytest.raises(SimulationError, match="differ in size"):
        error_points(np.ones((4, 4)), np.ones((4, 5)), 1, np.random.default_rng(0))


def test_the_simulated_users_click_is_the_middle_of_the_largest_region():
    mask = np.zeros((20, 30), bool)
    mask[2:4, 2:4] = True
    mask[5:16, 10:21] = True
    np.testing.assert_array_equal(centre_point(mask), [15, 10])


def test_the_simulated_users_click_lies_inside_a_ring():
    y, x = np.mgrid[:41, :41]
    radius = np.hypot(x - 20, y - 20)
    ring = (radius < 18) & (radius > 11)
    column, row = centre_point(ring).astype(int)
    assert ring[row, column]
    assert 14 <= radius[row, column] <= 15


def test_the_simulated_users_correction_takes_the_larger_of_a_miss_and_a_surplus():
    label = np.zeros((20, 40), bool)
    label[5:16, 2:13] = True
    prediction = np.zeros_like(label)
    prediction[8:13, 25:30] = True
    point, sign = centre_error_point(prediction, label)
    np.testing.assert_array_equal(point, [7, 10])
    assert sign == 1
    point, sign = centre_error_point(prediction | label, label)
    np.testing.assert_array_equal(point, [27, 10])
    assert sign == 0
    assert centre_error_point(label, label) is None


def test_a_miss_and_a_surplus_that_touch_are_two_errors():
    label = np.zeros((9, 20), bool)
    label[:, :10] = True
    point, sign = centre_error_point(~label, label)
    assert sign == 1 and point[0] < 10
