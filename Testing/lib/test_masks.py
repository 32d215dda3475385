"""Masks of slices: whether a click is meant for one, and masks as text."""

from __future__ import annotations

import numpy as np
import pytest

from SAMMed2DLib.imaging.masks import crossing_lines, is_on_mask, mask_of_text, mask_to_text, without_lines


def a_mask(*blocks: tuple[int, int, int, int]) -> np.ndarray:
    """(60, 100) bool; blocks are (x0, y0, x1, y1), the last pixel excluded."""
    mask_hw = np.zeros((60, 100), bool)
    for x0, y0, x1, y1 in blocks:
        mask_hw[y0:y1, x0:x1] = True
    return mask_hw


def test_a_click_is_on_a_mask_or_just_beside_it():
    mask_hw = a_mask((10, 20, 15, 25))
    assert is_on_mask(mask_hw, (12, 22)) and is_on_mask(mask_hw, (16, 22))
    assert not is_on_mask(mask_hw, (17, 22)) and not is_on_mask(mask_hw, (22, 12))
    assert not is_on_mask(a_mask(), (12, 22))


def test_beside_a_large_part_is_farther_than_beside_a_small_one():
    mask_hw = a_mask((0, 0, 40, 10), (60, 0, 64, 4))
    assert is_on_mask(mask_hw, (20, 13), widely=True) and not is_on_mask(mask_hw, (20, 13))
    assert not is_on_mask(mask_hw, (20, 14), widely=True)
    assert not is_on_mask(mask_hw, (62, 6), widely=True)  # the other part is large, not this one


@pytest.mark.parametrize("text", ["", "x", "eJw=", "AAAA" * 9, "Größe"])
def test_a_damaged_text_is_no_mask(text):
    assert mask_of_text(text, (50, 60)) is None


@pytest.mark.parametrize("size_hw", [(3, 7), (1, 1), (8, 8), (50, 61)])
def test_a_mask_comes_back_from_its_text(size_hw):
    mask_hw = np.arange(size_hw[0] * size_hw[1]).reshape(size_hw) % 5 == 0
    np.testing.assert_array_equal(mask_of_text(mask_to_text(mask_hw), size_hw), mask_hw)


def test_the_text_of_a_larger_mask_is_no_mask():
    assert mask_of_text(mask_to_text(np.ones((500, 600), bool)), (50, 60)) is None


def test_lines_are_left_out_and_what_is_wider_stays():
    wide_hw = np.zeros((20, 30), bool)
    wide_hw[0:3, 25:30] = True  # at the edge
    wide_hw[10:16, 4:9] = True
    lines_hw = np.zeros_like(wide_hw)
    lines_hw[7] = lines_hw[:, 12:14] = True
    np.testing.assert_array_equal(without_lines(wide_hw | lines_hw), wide_hw)
    assert not without_lines(lines_hw).any()


def crossed_by(y: int, half_lengths: dict[int, int]) -> dict[int, np.ndarray]:
    masks = {number: np.zeros((40, 40), bool) for number in half_lengths}
    for number, half in half_lengths.items():
        masks[number][y, 20 - half : 21 + half] = True
    return masks


def test_slices_that_another_one_crosses_are_told_from_what_was_drawn_on_them():
    masks = crossed_by(18, {3: 1, 4: 6, 5: 9, 7: 6, 8: 1})
    drawn_hw = np.zeros((40, 40), bool)
    drawn_hw[10:30, 10:30] = True
    tip_hw = np.zeros((40, 40), bool)
    tip_hw[30:32, 20:22] = True
    assert crossing_lines(masks | {6: drawn_hw, 9: tip_hw}) == {3, 4, 5, 7, 8}


def test_thin_structures_are_no_crossing_lines():
    few, short = crossed_by(18, {4: 9, 5: 9}), crossed_by(18, dict.fromkeys(range(9), 2))
    moving = {y: crossed_by(y, {y: 9})[y] for y in range(10, 20)}
    assert crossing_lines(few) == crossing_lines(short) == crossing_lines(moving) == crossing_lines({}) == set()
    assert crossing_lines(moving, are_flat=True) == set(moving)  # a mask that oblique slices cross
    assert crossing_lines(few, are_flat=True) == crossing_lines(short, are_flat=True) == set()
