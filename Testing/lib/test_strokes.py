"""Scribbles and lassos: which pixels they mean, what the model is given of them, and that they hold."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SAMMed2DLib.inference.point_constraints import held, painted_sides
from SAMMed2DLib.inference.prompt_parts.given import POINTS_OF_STROKE, given_to_model
from SAMMed2DLib.inference.prompt_parts.stroke import Stroke
from SAMMed2DLib.inference.prompts import PromptError, Prompts
from SAMMed2DLib.inference.session import Session

SIZE = (50, 60)  # height, width
LINE = [(10, 12), (30.4, 12), (42, 33)]
SQUARE = [(9.5, 19.5), (29.5, 19.5), (29.5, 39.5), (9.5, 39.5)]


def stroke(line, **fields) -> Stroke:
    return Stroke(np.array(line, float), **fields)


def box_mask(x0, y0, x1, y1) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return mask


# The pixels of a stroke

lines = st.lists(st.tuples(*[st.floats(-20, 80, width=32)] * 2), min_size=1, max_size=7)


@given(lines)
@settings(max_examples=100, deadline=None)
def test_a_scribble_means_each_pixel_that_it_runs_through_once_and_leaves_no_gap(line):
    pixels = stroke(line).pixels(SIZE)
    assert len({tuple(pixel) for pixel in pixels}) == len(pixels)
    assert ((pixels >= 0) & (pixels < SIZE[::-1])).all()
    everywhere = stroke(np.array(line) + 20).pixels((120, 120))  # all of it is on this one
    if len(everywhere) > 1:
        away = np.abs(everywhere[:, None] - everywhere[None]).max(axis=2) + 9 * np.eye(len(everywhere))
        assert (away.min(axis=1) == 1).all()


def test_a_lasso_means_the_pixels_whose_middle_it_goes_around_in_either_direction():
    for line in (SQUARE, SQUARE[::-1]):
        np.testing.assert_array_equal(stroke(line, is_closed=True).mask(SIZE), box_mask(10, 20, 30, 40))


def test_a_lasso_that_overlaps_itself_has_no_hole():
    mask = stroke([*SQUARE, *SQUARE[:2], (29.5, 25)], is_closed=True).mask(SIZE)
    np.testing.assert_array_equal(mask, box_mask(10, 20, 30, 40))


@given(st.lists(st.tuples(*[st.floats(-70, 110, width=32)] * 2), min_size=3, max_size=3))
@settings(max_examples=100, deadline=None)
def test_a_triangle_is_filled_where_all_three_sides_say_so(corners):
    a, b, c = (np.array(corner, float) for corner in corners)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]

    def side(start, end):
        return (end[0] - start[0]) * (y - start[1]) - (end[1] - start[1]) * (x - start[0])

    sides = np.stack([side(a, b), side(b, c), side(c, a)])
    clear = (np.abs(sides) > 1e-6).all(axis=0)  # the middle of a pixel on an edge may count or not
    inside = (sides > 0).all(axis=0) | (sides < 0).all(axis=0)
    np.testing.assert_array_equal(stroke(corners, is_closed=True).mask(SIZE)[clear], inside[clear])


def test_where_the_object_is_about():
    lasso = stroke(SQUARE, is_closed=True)
    np.testing.assert_array_equal(lasso.object_mask(SIZE), box_mask(11, 21, 29, 39))  # 6 % of 20 px and more inside
    at_the_border = stroke([(-5, -5), (19.5, -5), (19.5, 19.5), (-5, 19.5)], is_closed=True)
    np.testing.assert_array_equal(at_the_border.object_mask(SIZE), box_mask(0, 0, 19, 19))
    along = stroke([(5, 10), (54, 10)]).object_mask(SIZE)
    np.testing.assert_array_equal(along[:, 10:50], box_mask(0, 7, 60, 14)[:, 10:50])
    tiny = stroke([(9.5, 9.5), (10.5, 9.5), (10.5, 10.5), (9.5, 10.5)], is_closed=True)
    np.testing.assert_array_equal(tiny.object_mask(SIZE), tiny.mask(SIZE))


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_points_of_a_scribble_are_evenly_spaced_along_it(count):
    found = stroke(LINE).interior_points(count, SIZE)
    along = [stroke(LINE).pixels(SIZE).tolist().index(point) for point in found.astype(int).tolist()]
    assert len(found) == count and along == sorted(along)
    gaps_px = np.hypot(*np.diff(stroke([(10, 12), (42, 33)]).interior_points(count, SIZE), axis=0).T)
    assert len(gaps_px) == count - 1 and (np.abs(gaps_px - gaps_px.sum() / max(count - 1, 1)) < 1.5).all()
    assert len(stroke([(5, 5), (6, 5)]).interior_points(9, SIZE)) == 1  # they would say the same


def test_points_of_a_lasso_are_deep_inside_and_apart():
    found = stroke(SQUARE, is_closed=True).interior_points(4, SIZE)
    assert len(found) == 4 and np.abs(found[0] - (19.5, 29.5)).max() <= 0.5
    inside = box_mask(12, 22, 28, 38)
    assert inside[tuple(found.astype(int).T[::-1])].all()
    away = np.hypot(*(found[:, None] - found[None]).T) + 99 * np.eye(4)
    assert away.min() > 5


# Prompts


def test_prompts_keep_the_order_of_points_and_strokes():
    prompts = Prompts().with_point((1, 2), 1).with_scribble(LINE, 0).with_point((3, 4), 0).with_lasso(SQUARE, 1)
    kinds = [each if isinstance(each, int) else each.word for each in prompts.in_order]
    assert kinds == [0, "scribble", 1, "lasso"] and prompts.count == 4
    assert prompts.first(2) == Prompts().with_point((1, 2), 1).with_scribble(LINE, 0)
    assert prompts.first(2).with_candidate(2).with_point((5, 5), 1).choices == ((2, 2),)
    for other in (copy.deepcopy(prompts), pickle.loads(pickle.dumps(prompts))):
        assert other == prompts and hash(other) == hash(prompts)
    assert prompts != Prompts().with_point((1, 2), 1).with_point((3, 4), 0).with_scribble(LINE, 0).with_lasso(SQUARE, 1)


@pytest.mark.parametrize(
    ("line", "label", "is_closed", "words"),
    [
        ([(3, 3), (np.nan, 2)], 1, False, "the scribble from 3,3 is not finite; give finite numbers"),
        ([(70, 3), (90, 3)], 1, False, "the scribble from 70,3 is outside the slice; X goes from 0 to 59"),
        ([(5, 3), (1e9, 3)], 1, False, "is outside the slice"),
        ([(5.1, 3.1), (5.2, 3.1), (5.2, 3.2)], 0, True, "the lasso from 5.1,3.1 goes around no pixel"),
        ([(5, 5), (9, 9)], 3, False, "a scribble has label 3; use 1 for inside and 0 for outside"),
        ([], 1, True, "a lasso has at least one point"),
        ([(1, 2, 3)], 1, False, r"points have shape \(N, 2\)"),
    ],
)
def test_bad_strokes_are_refused_in_one_line(line, label, is_closed, words):
    with pytest.raises(PromptError, match=words):
        add = Prompts().with_lasso if is_closed else Prompts().with_scribble
        add(line, label).checked(SIZE)


def test_what_comes_later_holds():
    across = [(20, 5), (20, 30)]
    prompts = Prompts().with_scribble(LINE, 1).with_scribble(across, 0).with_point((20, 12), 1)
    inside, outside = painted_sides(prompts, SIZE)
    assert inside[12, 19] and inside[12, 20] and outside[13, 20] and not (inside & outside).any()
    inside, outside = painted_sides(prompts.first(2), SIZE)
    assert outside[12, 20] and not inside[12, 20]
    everything, nothing = np.ones(SIZE, bool), np.zeros(SIZE, bool)
    np.testing.assert_array_equal(held(nothing, prompts.first(2)), inside)
    np.testing.assert_array_equal(held(everything, prompts.first(2)), ~outside)


def test_the_model_is_given_points_along_strokes_and_a_box_around_lassos():
    prompts = Prompts().with_lasso(SQUARE, 1).with_point((20, 30), 1).with_scribble([(2, 2), (40, 2)], 0)
    found = given_to_model(prompts, SIZE)
    assert found.box_xyxy.tolist() == [11, 21, 29, 39]  # a lasso runs beside the object
    assert found.labels.tolist() == [1] + [0] * POINTS_OF_STROKE
    assert (found.points_xy[1:, 1] == 2).all()
    crossed = Prompts().with_scribble(LINE, 1).with_lasso([(0, 0), (55, 0), (55, 45), (0, 45)], 0)
    assert not given_to_model(crossed, SIZE).labels.any()  # nothing of the scribble is left
    clicked = Prompts().with_point((20, 12), 1).with_scribble(LINE, 0)
    assert given_to_model(clicked, SIZE).labels.tolist() == [0] * POINTS_OF_STROKE  # nor of the point
    given_to_model(clicked.with_point((30, 12), 1), SIZE).checked(SIZE)
    plain = Prompts.of(positive=[(3, 3)])
    assert given_to_model(plain, SIZE) is plain


# Answers


@pytest.fixture(scope="module")
def predictor(coarse_predictor):
    return coarse_predictor


def picture() -> tuple[np.ndarray, np.ndarray]:
    """A disc and its image."""
    y, x = np.mgrid[0:160, 0:200]
    disc = (x - 85) ** 2 + (y - 85) ** 2 < 30**2
    values = np.where(disc, 180, 60) + np.random.default_rng(0).normal(0, 10, disc.shape)
    return disc, np.repeat(np.clip(values, 0, 255).astype(np.uint8)[..., None], 3, 2)


THROUGH, BESIDE = [(70, 80), (100, 95)], [(120, 60), (140, 110)]
AROUND = [(85 + 36 * np.cos(angle), 85 + 36 * np.sin(angle)) for angle in np.linspace(0, 6, 25)]
KINDS = {
    "a scribble": Prompts().with_scribble(THROUGH, 1),
    "a lasso": Prompts().with_lasso(AROUND, 1),
    "a click and a scribble outside": Prompts().with_point((85, 85), 1).with_scribble(BESIDE, 0),
    "against the model": Prompts().with_scribble([*THROUGH, *BESIDE], 1).with_lasso([(60, 60), (90, 60), (80, 110)], 0),
}


@pytest.mark.parametrize("zoom", [True, False])
@pytest.mark.parametrize("prompts", KINDS.values(), ids=KINDS)
def test_what_is_painted_holds_whatever_the_model_says(predictor, prompts, zoom):
    _disc, image = picture()
    found = Session(predictor).answer(image, prompts, zoom=zoom, candidates=True)
    inside, outside = painted_sides(prompts, image.shape[:2])
    for answer in (found, *found.candidates):
        assert answer.mask[inside].all() and not answer.mask[outside].any()
    assert found.mask.sum() > inside.sum()  # it is more than what was painted


@pytest.mark.parametrize("name", ["a scribble", "a lasso"])
def test_a_stroke_finds_the_object(predictor, name):
    disc, image = picture()
    mask = Session(predictor).answer(image, KINDS[name]).mask
    assert 2 * (mask & disc).sum() / (mask.sum() + disc.sum()) > 0.9


def test_strokes_are_steps_of_a_chain_like_points(predictor):
    _disc, image = picture()
    prompts = Prompts().with_scribble(THROUGH, 1).with_point((60, 85), 1).with_scribble(BESIDE, 0)
    user = Session(predictor)
    for count in (1, 2, 3):
        found = user.answer(image, prompts.first(count))
    np.testing.assert_array_equal(found.mask, Session(predictor).answer(image, prompts).mask)
    found = user.answer(image, prompts.first(2).with_scribble(THROUGH[::-1], 1))
    assert found.encoded == 0  # only the last step is new


def test_a_scribble_outside_takes_away_from_a_mask_that_is_there_and_adds_nothing(predictor):
    disc, image = picture()
    before = disc.copy()
    before[40:60, 70:150] = True
    prompts = Prompts().with_scribble([(100, 45), (145, 45)], 0)
    after = Session(predictor).answer(image, prompts, mask=before).mask
    assert not (after & ~before).any() and not after[45, 100:146].any()
    assert (after & disc).sum() > 0.8 * disc.sum()
    far = Prompts().with_scribble([(150, 140), (190, 150)], 0)
    np.testing.assert_array_equal(Session(predictor).answer(image, far, mask=before).mask, before)


def test_a_scribble_changes_nothing_far_from_itself(predictor):
    disc, image = picture()
    session, click = Session(predictor), Prompts().with_point((85, 85), 1)
    before = session.answer(image, click).mask
    for line, label in (([(70, 40), (100, 40)], 1), ([(85, 100), (95, 105)], 0)):
        after = session.answer(image, click.with_scribble(line, label)).mask
        painted = Stroke(np.array(line, float)).pixels(disc.shape)
        away = np.hypot(*(np.argwhere(after != before)[:, None, ::-1] - painted[None]).T).min(axis=0)
        wrong = [pixel for pixel in painted if before[pixel[1], pixel[0]] != label]
        right = np.argwhere(before == label)[:, ::-1]
        reach = max(np.hypot(*(right - pixel).T).min() for pixel in wrong)
        assert len(away) and away.max() <= max(reach, 3) + 1


def test_a_later_lasso_adds_what_is_in_it(predictor):
    disc, image = picture()
    before = disc & (np.arange(200) < 85)
    mask = Session(predictor).answer(image, Prompts().with_lasso(AROUND, 1), mask=before).mask
    assert (mask & before).sum() == before.sum()
    assert (mask & disc).sum() > 0.9 * disc.sum() and (mask & ~disc).sum() < 0.2 * disc.sum()


def test_nothing_is_found_beyond_a_lasso_until_a_prompt_leaves_it(predictor):
    disc, image = picture()
    half = [(40, 40), (85, 40), (85, 130), (40, 130)]  # goes through the disc
    prompts, session = Prompts().with_lasso(half, 1), Session(predictor)
    for more in (prompts, prompts.with_point((70, 80), 1), prompts.with_scribble([(60, 80), (75, 90)], 1)):
        mask = session.answer(image, more).mask
        assert mask.sum() > 0.3 * disc.sum() and not mask[:, 86:].any()
    assert session.answer(image, prompts.with_point((100, 85), 1)).mask[:, 86:].any()


def test_strokes_outside_alone_say_not_where_the_object_is(predictor):
    _disc, image = picture()
    with pytest.raises(PromptError, match="add a point on the object"):
        Session(predictor).answer(image, Prompts().with_scribble(THROUGH, 0))
