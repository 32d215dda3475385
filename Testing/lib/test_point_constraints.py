"""Points are hard constraints, and a click changes a mask only where it was made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SAMMed2DLib.inference.point_constraints import constrained_logits, corrected, pixels_of
from SAMMed2DLib.inference.prompts import PromptError, Prompts
from SAMMed2DLib.inference.session import Session

SIZE_HW = (40, 50)


def disc(x: float, y: float, radius: float, size_hw: tuple[int, int] = SIZE_HW) -> np.ndarray:
    rows, columns = np.ogrid[: size_hw[0], : size_hw[1]]
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


def logits_of(mask: np.ndarray, sure: float = 5.0) -> np.ndarray:
    return np.where(mask, np.float32(sure), np.float32(-sure))


# Logits


def test_logits_that_agree_with_the_points_stay_the_same_array():
    logits = logits_of(disc(20, 20, 8))
    assert constrained_logits(logits, Prompts.of(positive=[(20, 20)], negative=[(40, 5)])) is logits


def test_a_point_that_is_not_followed_takes_its_surroundings_along_and_nothing_beyond_its_reach():
    logits = logits_of(disc(20, 20, 8), sure=0.5)
    found = constrained_logits(logits, Prompts.of(negative=[(20, 20)])) > 0
    assert not found[20, 20] and not found[20, 21] and not found[19, 20]
    np.testing.assert_array_equal((found != (logits > 0)) & ~disc(20, 20, 5), False)  # a tenth of 50 px
    assert found.any()


def test_where_the_model_is_surer_a_point_reaches_less_far():
    inside, prompts = disc(20, 20, 8), Prompts.of(negative=[(20, 20)])
    areas = [(constrained_logits(logits_of(inside, sure), prompts) <= 0)[inside].sum() for sure in (0.5, 2.0, 8.0)]
    assert areas[0] > areas[1] > areas[2] >= 1


def test_points_of_both_sides_may_be_neighbours():
    prompts = Prompts.of(positive=[(30, 20), (32, 20)], negative=[(31, 20), (20, 20)])
    found = constrained_logits(logits_of(disc(20, 20, 8)), prompts) > 0
    assert found[20, 30] and found[20, 32] and not found[20, 31] and not found[20, 20]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(-0.5, 49.5), st.floats(-0.5, 39.5), st.integers(0, 1)), min_size=1, max_size=8))
def test_every_point_is_on_its_side_whatever_the_logits(points):
    prompts = Prompts(np.array([(x, y) for x, y, _ in points]), np.array([label for *_, label in points]))
    try:
        prompts = prompts.checked(SIZE_HW)
    except PromptError:  # both sides on one pixel
        return
    logits = np.random.default_rng(len(points)).normal(0, 3, SIZE_HW).astype(np.float32)
    found = constrained_logits(logits, prompts) > 0
    columns, rows = pixels_of(prompts.points_xy, SIZE_HW).T
    np.testing.assert_array_equal(found[rows, columns], prompts.labels == 1)


# What a click changes


def test_a_positive_point_adds_the_part_that_holds_it_and_takes_nothing_away():
    before = disc(10, 20, 5)
    found = disc(30, 20, 5) | disc(45, 5, 3)
    after = corrected(before, found, Prompts.of(positive=[(10, 20), (30, 20)]))
    np.testing.assert_array_equal(after, before | disc(30, 20, 5))


def test_a_negative_point_takes_away_the_part_that_holds_it_and_adds_nothing():
    before = disc(10, 20, 5) | disc(30, 20, 5)
    after = corrected(before, disc(45, 5, 3), Prompts.of(positive=[(10, 20)], negative=[(30, 20)]))
    np.testing.assert_array_equal(after, disc(10, 20, 5))


def test_a_box_changes_what_is_in_it():
    before, found = disc(10, 20, 5), disc(12, 20, 5) | disc(40, 20, 5)
    after = corrected(before, found, Prompts.of(box=(12, 0, 25, 40)))
    np.testing.assert_array_equal(after[:, 12:25], found[:, 12:25])
    np.testing.assert_array_equal(after[:, :12], before[:, :12])
    np.testing.assert_array_equal(after[:, 25:], before[:, 25:])


# With the built-in network


@pytest.fixture(scope="module")
def predictor(coarse_predictor):
    return coarse_predictor


def a_case(seed: int) -> tuple[np.ndarray, Prompts]:
    """A picture of a few blobs, and clicks that make little sense."""
    rng = np.random.default_rng(seed)
    size_hw = tuple(rng.integers(70, 140, 2))
    values = np.full(size_hw, 70.0)
    for _ in range(4):
        x, y = rng.uniform(0, 1, 2) * size_hw[::-1]
        values[disc(x, y, rng.uniform(6, 22), size_hw)] = rng.uniform(60, 200)
    values += rng.normal(0, 12, size_hw)
    count = int(rng.integers(3, 7))
    points = rng.choice(size_hw[0] * size_hw[1], count, replace=False)
    labels = np.r_[1, rng.integers(0, 2, count - 1)]
    box = None if seed % 3 else np.r_[0.2 * np.array(size_hw[::-1]), 0.7 * np.array(size_hw[::-1])]
    prompts = Prompts(np.stack([points % size_hw[1], points // size_hw[1]], 1), labels, box)
    return np.repeat(np.clip(values, 0, 255).astype(np.uint8)[..., None], 3, 2), prompts


@pytest.mark.parametrize("zoom", [True, False])
def test_in_the_mask_of_any_clicks_each_point_is_on_its_side_and_each_step_goes_one_way(predictor, zoom):
    violations, grown, cut = [], [], []
    for seed in range(8):
        image, prompts = a_case(seed)
        session, before = Session(predictor), None
        for n in range(1, len(prompts.labels) + 1):
            asked = Prompts(prompts.points_xy[:n], prompts.labels[:n], prompts.box_xyxy)
            mask = session.answer(image, asked, zoom=zoom).mask
            columns, rows = pixels_of(asked.points_xy, mask.shape).T
            if mask.any() and (mask[rows, columns] != (asked.labels == 1)).any():
                violations.append((seed, n))
            if before is not None and before.any():
                grown += [(seed, n)] if not asked.labels[-1] and (mask & ~before).any() else []
                cut += [(seed, n)] if asked.labels[-1] and (before & ~mask).any() else []
            before = mask
    assert (violations, grown, cut) == ([], [], [])


@pytest.mark.parametrize("zoom", [True, False])
def test_a_mask_from_elsewhere_is_corrected_where_it_was_clicked_and_stays_the_same_elsewhere(predictor, zoom):
    image = np.full((120, 160), 60, np.uint8)
    image[disc(70, 60, 22, image.shape)] = 180
    image = np.repeat(image[..., None], 3, 2)
    true = image[..., 0] > 100
    bump, hole, far = disc(92, 60, 9, true.shape), disc(52, 60, 9, true.shape), disc(140, 100, 6, true.shape)
    mask = (true | bump) & ~hole | far
    session = Session(predictor)
    less = session.answer(image, Prompts.of(negative=[(97, 60)]), mask=mask, zoom=zoom).mask
    assert not less[60, 97] and not (less & ~mask).any()
    both = session.answer(image, Prompts(np.array([(97, 60), (54, 60)]), np.array([0, 1])), mask=mask, zoom=zoom).mask
    assert both[60, 54] and not both[60, 97]
    errors = [int((one != (true | far)).sum()) for one in (mask, less, both)]
    assert errors[0] > errors[1] > errors[2]
    np.testing.assert_array_equal(both[90:, 120:], mask[90:, 120:])


@pytest.mark.parametrize("zoom", [True, False])
def test_a_mask_that_was_clicked_away_begins_anew_and_negative_points_still_hold(predictor, zoom):
    image = np.full((100, 120), 60, np.uint8)
    image[disc(50, 50, 20, image.shape)] = 180
    image, mask = np.repeat(image[..., None], 3, 2), np.zeros((100, 120), bool)
    mask[10, 10] = True
    session = Session(predictor)
    points, labels = [(10, 10), (90, 80), (66, 50), (50, 50)], [0, 0, 0, 1]
    for n in (1, 2, 3):
        nothing = session.answer(image, Prompts(np.array(points[:n]), np.array(labels[:n])), mask=mask, zoom=zoom).mask
        assert not nothing.any()
    found = session.answer(image, Prompts(np.array(points), np.array(labels)), mask=mask, zoom=zoom).mask
    assert found[50, 50] and found.sum() > 50
    assert not found[10, 10] and not found[80, 90] and not found[50, 66]


def test_a_mask_of_another_slice_is_refused_and_an_empty_one_is_none(predictor):
    image, prompts = a_case(1)
    session = Session(predictor)
    with pytest.raises(PromptError, match="same slice"):
        session.answer(image, prompts, mask=np.ones((3, 3), bool))
    nothing = np.zeros(image.shape[:2], bool)
    with pytest.raises(PromptError, match="negative points only"):
        session.answer(image, Prompts.of(negative=[(5, 5)]), mask=nothing)
    one, other = (session.answer(image, prompts, mask=mask).mask for mask in (None, nothing))
    np.testing.assert_array_equal(one, other)
