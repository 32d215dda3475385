"""A mask from a box alone comes nearer to the sides of the box."""

from __future__ import annotations

import numpy as np
import pytest

from SAMMed2DLib.imaging.masks import extent_of
from SAMMed2DLib.inference.outlines.box_sides import LARGEST_SHARE, reaching
from SAMMed2DLib.inference.prompts import Prompts

SIZE_HW = (120, 160)


def ellipse_logits(x0: float, y0: float, x1: float, y1: float, steepness: float = 20) -> np.ndarray:
    """Logits that fall off evenly from an ellipse inscribed in a box: so much over the length of the box."""
    rows, columns = np.ogrid[: SIZE_HW[0], : SIZE_HW[1]]
    x = (columns + 0.5 - (x0 + x1) / 2) / (x1 - x0)
    y = (rows + 0.5 - (y0 + y1) / 2) / (y1 - y0)
    return (steepness * (0.5 - np.hypot(x, y))).astype(np.float32)


def box_of(logits: np.ndarray) -> np.ndarray:
    return extent_of(logits > 0)


@pytest.mark.parametrize("gaps", [(10, 10, -10, -10), (-10, -10, 10, 10), (10, 0, 0, 0), (0, -10, 10, 0)])
def test_each_side_moves_half_its_way_where_the_network_is_unsure(gaps):
    logits = ellipse_logits(40, 30, 100, 90)
    sides = box_of(logits)
    found = reaching(logits, Prompts.of(box=sides - gaps))
    np.testing.assert_allclose(box_of(found), sides - LARGEST_SHARE * np.array(gaps), atol=0.51)
    assert found.shape == SIZE_HW and found.dtype == np.float32


def test_a_side_that_the_network_is_sure_of_stays_and_one_in_doubt_moves():
    sharp, soft = ellipse_logits(40, 30, 100, 90, steepness=4000), ellipse_logits(40, 30, 100, 90)
    half_soft = np.where(np.arange(SIZE_HW[1]) < 70, sharp, soft)
    sides = box_of(half_soft)
    found = box_of(reaching(half_soft, Prompts.of(box=sides + np.array([-10, 0, 10, 0]))))
    assert found[0] == sides[0] and found[2] >= sides[2] + 4


def test_nothing_that_the_network_is_sure_of_moves_half_its_way():
    logits = 0.2 * ellipse_logits(40, 30, 100, 90)
    found = reaching(logits, Prompts.of(box=(30, 20, 110, 100)))
    np.testing.assert_allclose(box_of(found), (35, 25, 105, 95), atol=1.01)


def test_a_box_that_is_reached_leaves_the_logits_as_they_are():
    logits = ellipse_logits(40, 30, 100, 90)
    assert reaching(logits, Prompts.of(box=box_of(logits))) is logits


def test_a_mask_of_something_else_or_of_a_part_stays_as_it_is():
    logits = ellipse_logits(40, 30, 80, 90)
    assert reaching(logits, Prompts.of(box=(40, 30, 110, 90))) is logits


@pytest.mark.parametrize(
    "prompts",
    [
        Prompts.of(positive=[(60, 60)], box=(30, 20, 110, 100)),
        Prompts.of(box=(30, 20, 110, 100)).with_scribble([(50, 60), (70, 60)], 1),
        Prompts.of(box=(30, 20, 110, 100), low_res_logits=np.zeros((16, 16), np.float32)),
        Prompts.of(positive=[(60, 60)]),
    ],
    ids=["a point", "a scribble", "an earlier mask", "no box"],
)
def test_what_says_more_than_a_box_leaves_the_mask_alone(prompts):
    logits = ellipse_logits(40, 30, 100, 90)
    assert reaching(logits, prompts) is logits


def test_nothing_found_stays_nothing():
    nothing = np.full(SIZE_HW, -1, np.float32)
    assert reaching(nothing, Prompts.of(box=(30, 20, 110, 100))) is nothing


def test_flecks_do_not_count_as_sides():
    logits = ellipse_logits(40, 30, 100, 90)
    expected = box_of(reaching(logits, Prompts.of(box=(30, 20, 110, 100))))
    logits[110:112, 150:152] = 5
    found = reaching(logits, Prompts.of(box=(30, 20, 110, 100))) > 0
    found[105:] = False
    np.testing.assert_array_equal(extent_of(found), expected)


def test_a_box_that_goes_beyond_the_picture_is_no_trouble():
    logits = ellipse_logits(-20, -20, 60, 60)
    found = reaching(logits, Prompts.of(box=(-5, -5, 66, 66)))
    assert np.isfinite(found).all() and box_of(found)[2] > box_of(logits)[2]
