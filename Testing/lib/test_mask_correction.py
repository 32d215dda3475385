"""Correcting a mask: what the model is told about it, and how far a click reaches."""

from __future__ import annotations

import numpy as np
import pytest

from SAMMed2DLib.inference.mask_correction import anchored, within_reach
from SAMMed2DLib.inference.prompts import Prompts


def disc(x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.ogrid[:60, :80]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def test_an_outside_click_comes_with_a_box_around_its_part_and_a_point_inside_and_away_from_it():
    mask = disc(20, 30, 10) | disc(60, 30, 8)
    asked = anchored(mask, Prompts.of(negative=[(27, 30)]))
    np.testing.assert_array_equal(asked.box_xyxy, [10, 20, 31, 41])
    assert asked.labels.tolist() == [1, 0] and asked.points_xy[1].tolist() == [27, 30]
    x, y = asked.points_xy[0].astype(int)
    assert mask[y, x] and x < 21 and np.hypot(x - 27, y - 30) > 5


def test_the_box_holds_inside_clicks_beside_the_mask_and_a_box_of_the_user_stays():
    mask = disc(20, 30, 10)
    np.testing.assert_array_equal(anchored(mask, Prompts.of(positive=[(33, 30)])).box_xyxy, [10, 20, 34, 41])
    asked = anchored(mask, Prompts.of(box=(5, 5, 25, 50)))
    np.testing.assert_array_equal(asked.box_xyxy, [5, 5, 25, 50])
    assert asked.labels.tolist() == [1]


@pytest.mark.parametrize("prompts", [Prompts.of(positive=[(60, 10)]), Prompts.of(box=(50, 5, 70, 20))])
def test_what_is_far_from_the_mask_is_about_something_else(prompts):
    assert anchored(disc(20, 30, 10), prompts) is None


def test_a_mask_without_a_pixel_says_nothing():
    assert anchored(np.zeros((60, 80), bool), Prompts.of(positive=[(33, 30)])) is None


def test_the_only_pixel_of_a_mask_can_be_clicked_away():
    mask = np.zeros((60, 80), bool)
    mask[30, 20] = True
    asked = anchored(mask, Prompts.of(negative=[(20, 30)]))
    np.testing.assert_array_equal(asked.box_xyxy, [20, 30, 21, 31])
    assert asked.labels.tolist() == [0]


@pytest.mark.parametrize(
    ("prompts", "reach_px"),
    [
        (Prompts.of(negative=[(26, 30)]), 2 * 17**0.5),  # (30, 31) is the nearest pixel beside the mask
        (Prompts.of(positive=[(36, 30)]), 12.0),  # 6 px to the mask
        (Prompts.of(positive=[(20, 30)]), 3.0),  # it is inside already
    ],
)
def test_a_click_reaches_twice_as_far_as_it_lies_from_the_outline(prompts, reach_px):
    before, found = disc(20, 30, 10), ~disc(20, 30, 10)
    (x, y), after = prompts.points_xy[0], within_reach(before, found, prompts)
    near = disc(x, y, reach_px)
    np.testing.assert_array_equal(after[near], found[near])
    np.testing.assert_array_equal(after[~near], before[~near])


def test_a_mask_that_fills_the_slice_is_one_part():
    asked = anchored(np.ones((60, 80), bool), Prompts.of(negative=[(70, 30)]))
    np.testing.assert_array_equal(asked.box_xyxy, [0, 0, 80, 60])
    assert np.hypot(*(asked.points_xy[0] - (70, 30))) > 25


def test_a_box_reaches_everywhere():
    found = disc(50, 20, 5)
    np.testing.assert_array_equal(within_reach(disc(20, 30, 10), found, Prompts.of(box=(1, 1, 5, 5))), found)
