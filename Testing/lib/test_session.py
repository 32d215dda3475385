"""A session answers from what it has seen, in the order of the prompts, and can be stopped."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from SAMMed2DLib.imaging import image_keys
from SAMMed2DLib.inference.prompts import PromptError, Prompts
from SAMMed2DLib.inference.session import Session, Stopped

BOX = (60, 50, 110, 120)
POINTS = [(80, 80), (95, 100), (70, 60)]


@pytest.fixture(scope="module")
def predictor(coarse_predictor):
    return coarse_predictor


@pytest.fixture
def session(predictor) -> Session:
    return Session(predictor)


def picture(seed: int = 0, radius: float = 30) -> np.ndarray:
    y, x = np.mgrid[0:160, 0:200]
    disc = (x - 85) ** 2 + (y - 85) ** 2 < radius**2
    noise = np.random.default_rng(seed).normal(0, 10, disc.shape)
    return np.repeat(np.clip(np.where(disc, 180, 60) + noise, 0, 255).astype(np.uint8)[..., None], 3, 2)


def prompts_of(labels=(1, 0, 1), box=None) -> Prompts:
    return Prompts(np.array(POINTS[: len(labels)], float), np.array(labels), box)


@pytest.mark.parametrize("zoom", [True, False])
def test_answers_are_those_of_a_user_who_adds_one_prompt_after_the_other(session, predictor, zoom):
    user = Session(predictor)
    user.answer(picture(), Prompts.of(box=BOX), zoom=zoom)
    for n in (1, 2, 3):
        found = user.answer(picture(), prompts_of((1, 0, 1)[:n], BOX), zoom=zoom)
    answer = session.answer(picture(), prompts_of(box=BOX), zoom=zoom)
    np.testing.assert_array_equal(answer.mask, found.mask)
    assert answer.score == found.score


@pytest.mark.parametrize("zoom", [True, False])
def test_the_way_to_the_prompts_leaves_no_trace(predictor, zoom):
    straight, detour = Session(predictor), Session(predictor)
    detour.answer(picture(), prompts_of((1, 1, 1)), zoom=zoom)
    detour.answer(picture(1), prompts_of((1,)), zoom=zoom)
    detour.answer(picture(), prompts_of((1, 1)), zoom=zoom)
    one, other = (s.answer(picture(), prompts_of((1, 0, 1)), zoom=zoom) for s in (straight, detour))
    np.testing.assert_array_equal(one.mask, other.mask)
    assert one.score == other.score


def test_a_slice_is_encoded_once(session):
    assert session.answer(picture(), prompts_of((1,)), zoom=False).encoded == 1
    assert session.answer(picture(), prompts_of((1, 0)), zoom=False).encoded == 0
    assert session.answer(picture(), Prompts.of(box=BOX), zoom=False).encoded == 0
    assert session.answer(picture(1), Prompts.of(box=BOX), zoom=False).encoded == 1


def test_crops_are_encoded_once_too_and_the_answer_says_what_was_seen(session):
    first = session.answer(picture(), Prompts.of(box=BOX), zoom=True)
    assert first.encoded == 1 and first.view_xyxy != (0, 0, 200, 160)
    session.answer(picture(), prompts_of((1,)), zoom=True)
    assert session.answer(picture(), Prompts.of(box=BOX), zoom=True).encoded == 0


def test_without_a_wish_the_weights_decide_about_zoom(session, predictor):
    assert predictor.prefers_zoom
    assert session.answer(picture(), Prompts.of(box=BOX)).view_xyxy != (0, 0, 200, 160)
    assert session.answer(picture(), Prompts.of(box=BOX), zoom=False).view_xyxy == (0, 0, 200, 160)


def test_encoding_ahead_leaves_nothing_to_encode(session):
    assert not session.is_encoded(picture())
    session.encode(picture())
    assert session.is_encoded(picture())
    assert session.answer(picture(), prompts_of((1,)), zoom=False).encoded == 0


def test_a_coarse_mask_is_told_before_the_answer_to_a_first_click_and_changes_nothing(session, predictor):
    seen = picture(radius=25)  # too small in the slice, too large in a quarter of it: a crop of its own is cut
    coarse: list[np.ndarray] = []
    found = session.answer(seen, prompts_of((1,)), zoom=True, on_coarse=coarse.append)
    np.testing.assert_array_equal(found.mask, Session(predictor).answer(seen, prompts_of((1,)), zoom=True).mask)
    (mask,) = coarse
    assert mask.shape == found.mask.shape and (mask & found.mask).sum() > 0.5 * (mask | found.mask).sum()
    for prompts, zoom in ((prompts_of((1,)), True), (prompts_of((1, 0)), True), (Prompts.of(box=BOX), True)):
        session.answer(seen, prompts, zoom=zoom, on_coarse=coarse.append)
    Session(predictor).answer(seen, prompts_of((1,)), zoom=False, on_coarse=coarse.append)
    Session(predictor).answer(seen, prompts_of((1, 0)), zoom=True, on_coarse=coarse.append)  # the first is over
    session.answer(picture(1), prompts_of((1,)), zoom=True)  # nobody asked
    assert len(coarse) == 1


def test_memory_is_bounded_and_the_oldest_goes_first(predictor):
    size = predictor.embed([picture()]).nbytes
    session = Session(predictor, cache_bytes=2 * size)
    for seed in (0, 1):
        session.encode(picture(seed))
    session.encode(picture(0))  # seen again: now the newest
    session.encode(picture(2))
    assert [session.is_encoded(picture(seed)) for seed in (0, 1, 2)] == [True, False, True]
    assert session.kept_bytes == 2 * size
    session.forget()
    assert session.kept_bytes == 0 and not session.is_encoded(picture(0))


def test_one_slice_is_kept_however_small_the_bound(predictor):
    session = Session(predictor, cache_bytes=1)
    session.encode(picture())
    assert session.is_encoded(picture())


@pytest.mark.parametrize("zoom", [True, False])
def test_many_objects_get_the_masks_that_each_gets_alone(session, predictor, zoom):
    asked = [Prompts.of(box=BOX), prompts_of((1, 0)), prompts_of((1,)), Prompts.of(box=(10, 10, 60, 50))]
    many = session.answer_many(picture(), asked, zoom=zoom)
    for one, prompts in zip(many, asked, strict=True):
        alone = Session(predictor).answer(picture(), prompts, zoom=zoom)
        np.testing.assert_array_equal(one.mask, alone.mask)
        assert one.score == alone.score


def test_negative_points_before_the_first_positive_one_are_taken_with_it(session):
    assert session.answer(picture(), prompts_of((0, 1, 0))).mask.any()


def test_negative_points_alone_are_refused(session):
    with pytest.raises(PromptError, match="add a point on the object"):
        session.answer(picture(), prompts_of((0, 0)))


def test_stopping_is_noticed_within_the_encoder_and_leaves_no_hook(session, predictor):
    asked = []

    def stop_at_the_third_block() -> bool:
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(Stopped):
        session.encode(picture(), stop_at_the_third_block)
    assert len(asked) == 4 and not session.is_encoded(picture())
    assert not any(block._forward_pre_hooks for block in predictor.model.image_encoder.blocks)
    session.encode(picture())
    assert session.is_encoded(picture())


def test_what_was_done_before_a_stop_is_kept(session):
    session.answer(picture(), prompts_of((1,)), zoom=False)
    with pytest.raises(Stopped):
        session.answer(picture(), prompts_of((1, 0)), zoom=False, should_stop=lambda: True)
    assert session.answer(picture(), prompts_of((1, 0)), zoom=False).encoded == 0


def test_pictures_ahead_wait_for_one_that_must_be_encoded(session):
    asked = Prompts.of(box=BOX)
    session.answer_pairs([(picture(0), asked)], ahead=[picture(1), picture(2)])
    assert session.encoded == 3
    session.answer_pairs([(picture(1), asked)], ahead=[picture(3)])
    assert session.encoded == 3
    session.answer_pairs([(picture(4), asked)], ahead=[picture(3), picture(1)])
    assert session.encoded == 5


def test_pairs_are_answered_as_each_alone_however_often_a_picture_comes(session):
    one, other = picture(0), picture(1)
    pairs = [(one, Prompts.of(box=BOX)), (other, Prompts.of(box=BOX)), (one, Prompts.of(positive=[(80, 80)]))]
    together = session.answer_pairs(pairs)
    assert session.encoded == 2
    for found, (image, prompts) in zip(together, pairs, strict=True):
        np.testing.assert_array_equal(found.logits() > 0, session.answer(image, prompts, zoom=False).mask)


def test_a_picture_that_was_changed_in_place_is_another_one(session):
    image = picture()
    shown = image.view()
    shown.flags.writeable = False
    session.encode(shown)
    assert session.is_encoded(shown)
    image[:] = picture(1)
    assert not session.is_encoded(shown)


def test_a_picture_that_cannot_change_is_read_once_and_forgotten_with_it(session, monkeypatch):
    read = []
    real = image_keys.hashlib.blake2b
    monkeypatch.setattr(image_keys.hashlib, "blake2b", lambda *a, **options: read.append(1) or real(*a, **options))
    image = picture().copy()
    image.flags.writeable = False
    session.encode(image)
    assert session.is_encoded(image)
    assert len(read) == 1
    del image
    gc.collect()
    assert not session._keys._known
