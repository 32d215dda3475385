"""Correcting a mask: what the model is told about it, and how far a click reaches."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SAMMed2DLib.imaging.components import label_components
from SAMMed2DLib.inference import zoom
from SAMMed2DLib.inference.mask_correction import anchored, untouched, within_reach
from SAMMed2DLib.inference.prompts import PromptError, Prompts
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.inference.zoom import Crop, ViewPrediction


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


# What was accepted is locked


LEFT, RIGHT = disc(20, 30, 10), disc(50, 30, 8)


@pytest.mark.parametrize(
    ("prompts", "kept"),
    [
        (Prompts.of(negative=[(22, 30)]), RIGHT),  # on the left one
        (Prompts.of(negative=[(36, 30)]), LEFT | RIGHT),  # between them
        (Prompts.of(positive=[(36, 30)]), np.zeros_like(LEFT)),  # takes nothing away
        (Prompts.of(box=(45, 20, 60, 40)), LEFT),
    ],
)
def test_a_prompt_may_take_from_the_regions_only_that_it_touches(prompts, kept):
    np.testing.assert_array_equal(untouched(LEFT | RIGHT, prompts), kept)


class Scripted:
    """What a session needs of a model; its masks are given one after the other."""

    prefers_zoom, score_calibration = False, None

    def __init__(self, monkeypatch, masks) -> None:
        found = iter(masks)
        monkeypatch.setattr(
            zoom, "predict_whole", lambda model, image, *given: ViewPrediction(next(found), 0.9, Crop.of_slice(image))
        )


IMAGE = np.zeros((60, 80, 3), np.uint8)
NOTHING = np.zeros((60, 80), bool)


def test_a_click_on_what_was_added_since_takes_nothing_of_what_was_accepted(monkeypatch):
    bridge = NOTHING.copy()
    bridge[25:36, 30:43] = True
    session = Session(Scripted(monkeypatch, [LEFT | RIGHT, LEFT | RIGHT | bridge, NOTHING]))
    prompts = Prompts.of(positive=[(20, 30)]).with_acceptance().with_point((36, 30), 1)
    np.testing.assert_array_equal(session.answer(IMAGE, prompts).mask, LEFT | RIGHT | bridge)
    after = session.answer(IMAGE, prompts.with_point((37, 30), 0)).mask
    np.testing.assert_array_equal(after, LEFT | RIGHT)  # also where these are within its reach, of 12 px


def test_without_an_acceptance_the_same_clicks_go_on_with_the_object(monkeypatch):
    session = Session(Scripted(monkeypatch, [LEFT, NOTHING]))
    prompts = Prompts.of(positive=[(20, 30)]).with_point((13, 30), 0)
    assert not session.answer(IMAGE, prompts).mask.any()


def test_a_click_on_an_accepted_region_changes_it_within_reach_only(monkeypatch):
    session = Session(Scripted(monkeypatch, [LEFT, NOTHING]))
    prompts = Prompts.of(positive=[(20, 30)]).with_acceptance().with_point((13, 30), 0)
    np.testing.assert_array_equal(session.answer(IMAGE, prompts).mask, LEFT & ~disc(13, 30, 2 * 10**0.5))


def test_a_mask_that_was_there_is_locked_as_an_accepted_one(monkeypatch):
    added = disc(36, 30, 6)
    session = Session(Scripted(monkeypatch, [added, NOTHING]))
    prompts = Prompts.of(positive=[(36, 30)]).with_point((35, 31), 0)
    np.testing.assert_array_equal(session.answer(IMAGE, prompts, mask=LEFT | RIGHT).mask, LEFT | RIGHT)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 79), st.integers(0, 59), st.integers(0, 1)), min_size=2, max_size=6), st.data()
)
def test_whatever_the_model_says_later_clicks_leave_accepted_regions_alone(clicks, data):
    """Each click changes nothing beyond its reach, and takes from no accepted region but the one that it is on."""
    pixels = {(x, y): (x, y, label) for x, y, label in clicks}
    (x, y, _), *later = pixels.values()
    rng = np.random.default_rng(len(clicks))
    masks = [np.kron(rng.random((12, 16)) < 0.5, np.ones((5, 5), bool)) for _ in pixels]
    masks[0][y, x] = True
    accepted_after = data.draw(st.integers(1, len(pixels)))
    with pytest.MonkeyPatch.context() as patch:
        session, accepted = Session(Scripted(patch, masks)), None
        prompts = Prompts.of(positive=[(x, y)])
        before = session.answer(IMAGE, prompts).mask
        for n, (x, y, label) in enumerate(later, 1):
            if n == accepted_after:
                prompts, accepted = prompts.with_acceptance(), before
            prompts = prompts.with_point((x, y), label)
            after = session.answer(IMAGE, prompts).mask
            if accepted is not None:
                everywhere = within_reach(before, ~before, prompts) != before
                assert not ((after != before) & ~everywhere).any()
                regions = label_components(accepted & before).index_hw
                lost = before & ~after & (regions > 0)
                assert set(np.unique(regions[lost])) <= ({int(regions[y, x])} if not label else set())
            before = after


def test_an_acceptance_is_a_value_of_prompts_and_counts_for_later_points_only():
    prompts = Prompts.of(positive=[(1, 1)]).with_acceptance()
    later = prompts.with_point((2, 2), 0)
    assert prompts != Prompts.of(positive=[(1, 1)]) and later.accepted == (1,)
    assert prompts.first(1) == Prompts.of(positive=[(1, 1)]) and later.first(2) == later
    assert pickle.loads(pickle.dumps(later)) == later and hash(later) != hash(later.first(1))
    with pytest.raises(PromptError, match="whole numbers"):
        Prompts(accepted=(1.5,))
