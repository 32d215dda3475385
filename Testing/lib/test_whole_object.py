"""A whole object from one slice of it, or from a box in space around it."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import SAMMed2DLib
from SAMMed2DLib.inference.session import Stopped
from SAMMed2DLib.propagation.schedule import PropagationError
from SAMMed2DLib.propagation.whole_object import asked_slices, keyframe_in_box, segment_object

COUNT, SIDE = 24, 48


def a_ball(radius: float = 9.0) -> np.ndarray:
    k, y, x = np.ogrid[:COUNT, :SIDE, :SIDE]
    return (k - 11) ** 2 + (y - 24) ** 2 + (x - 22) ** 2 < radius**2


BALL = a_ball()
NOISE = np.random.default_rng(0).integers(0, 30, (COUNT, SIDE, SIDE))
IMAGES = (NOISE + 150 * BALL).astype(np.uint8)[..., None].repeat(3, -1)


class Knowing:
    """A model that knows the ball; `scores` by slice, and what it was asked."""

    def __init__(self, score: float = 0.9, truth: np.ndarray = BALL) -> None:
        self.score, self.truth = score, truth
        self.asked: list[tuple[int, bool]] = []
        self.scores: dict[int, float] = {}

    def answer(self, image: np.ndarray, prompts: Any, *, mask: Any = None, zoom: Any = None, should_stop: Any = None):
        if should_stop is not None and should_stop():
            raise Stopped
        index = next(n for n in range(COUNT) if np.array_equal(IMAGES[n], image))
        self.asked.append((index, mask is not None))
        return SimpleNamespace(mask=self.truth[index].copy(), score=self.scores.get(index, self.score))


def boxes_of(mask: np.ndarray) -> dict[int, np.ndarray]:
    (k, y, x) = (np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    return {int(n): np.array([x[0], y[0], x[-1] + 1, y[-1] + 1], float) for n in k}


def volume_of(results: Iterator[Any], **keyframes: Any) -> np.ndarray:
    found = np.zeros_like(BALL)
    for result in results:
        assert not found[result.index].any(), "each slice comes once"
        found[result.index] = result.mask
    return found


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def test_keyframes_are_found_on_both_sides_and_the_rest_is_followed() -> None:
    model = Knowing()
    results = list(segment_object(model, IMAGES.__getitem__, 0, COUNT - 1, keyframes={11: BALL[11]}))
    found = volume_of(results)
    found[11] |= BALL[11]
    assert dice(found, BALL) > 0.97
    asked = {index for index, _ in model.asked}
    assert min(asked) < 11 < max(asked) and 11 not in {result.index for result in results}
    assert {result.index for result in results if result.score == 0.9} == asked
    for index in asked:
        np.testing.assert_array_equal(found[index], BALL[index])


def test_answers_with_a_low_score_are_no_keyframes() -> None:
    nothing = np.zeros_like(BALL)
    unsure = Knowing(score=0.6, truth=nothing)
    with_model = volume_of(segment_object(unsure, IMAGES.__getitem__, 0, COUNT - 1, keyframes={11: BALL[11]}))
    without = volume_of(segment_object(None, IMAGES.__getitem__, 0, COUNT - 1, keyframes={11: BALL[11]}))
    np.testing.assert_array_equal(with_model, without)
    assert unsure.asked and not any(has_mask for _, has_mask in unsure.asked)


def test_in_a_box_the_best_answer_is_the_keyframe_and_nothing_is_outside() -> None:
    model = Knowing(0.5)
    model.scores[9] = 0.8
    boxes = boxes_of(BALL)
    boxes[9][2] -= 3  # a box that is too narrow there
    results = list(segment_object(model, IMAGES.__getitem__, 0, COUNT - 1, boxes=boxes))
    assert results[0].index == 9 and results[0].score == 0.8
    found = volume_of(results)
    for index in range(COUNT):
        allowed = np.zeros((SIDE, SIDE), bool)
        if index in boxes:
            x0, y0, x1, y1 = boxes[index].astype(int)
            allowed[y0:y1, x0:x1] = True
        assert not (found[index] & ~allowed).any()
    assert dice(found, BALL) > 0.9
    assert [index for index, _ in model.asked] == asked_slices(boxes)


def test_the_box_ends_an_object_that_goes_on() -> None:
    column = np.zeros_like(BALL)
    column[:, 15:30, 15:30] = True
    images = (NOISE + 150 * column).astype(np.uint8)[..., None].repeat(3, -1)
    boxes = {index: np.array([15.0, 15.0, 30.0, 30.0]) for index in range(6, 14)}
    results = segment_object(None, images.__getitem__, 0, COUNT - 1, keyframes={10: column[10]}, boxes=boxes)
    found = volume_of(results)
    assert sorted(np.flatnonzero(found.any(axis=(1, 2)))) == [6, 7, 8, 9, 11, 12, 13]


def test_what_cannot_be_done_is_said() -> None:
    with pytest.raises(PropagationError, match="no keyframe"):
        list(segment_object(None, IMAGES.__getitem__, 0, COUNT - 1))
    with pytest.raises(PropagationError, match="in none of the slices"):
        list(segment_object(None, IMAGES.__getitem__, 0, 1, boxes=boxes_of(BALL)))
    with pytest.raises(PropagationError, match="give a session"):
        list(segment_object(None, IMAGES.__getitem__, 0, COUNT - 1, boxes=boxes_of(BALL)))
    with pytest.raises(PropagationError, match="finds nothing in the box"):
        keyframe_in_box(Knowing(truth=np.zeros_like(BALL)), IMAGES.__getitem__, boxes_of(BALL))
    with pytest.raises(Stopped):
        list(
            segment_object(
                Knowing(), IMAGES.__getitem__, 0, COUNT - 1, boxes=boxes_of(BALL), should_stop=lambda: True
            )
        )


def test_it_is_part_of_the_face() -> None:
    assert SAMMed2DLib.segment_object is segment_object
