"""Candidates: other masks that prompts may mean, without another encoding, and what follows from taking one."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from tiny_network import CONFIG

from SAMMed2DLib.inference.candidates import MOST, SAME_IOU, CandidateError
from SAMMed2DLib.inference.predictor import Predictor
from SAMMed2DLib.inference.prompts import PromptError, Prompts
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.model.build import build_model

CLICK = Prompts.of(positive=[(50, 40)])
NEXT = ((60, 50), 1)


def predictor(**options) -> Predictor:
    torch.manual_seed(3)
    return Predictor(build_model(CONFIG), "tiny", device="cpu", precision="float32", **options)


@pytest.fixture(params=["whole", "zoom", "scales"])
def session(request) -> Session:
    """A session that looks at the whole slice, at a crop after a first pass, and at crops of several scales."""
    scales = (1.0, 0.5, 0.25) if request.param == "scales" else (1.0,)
    return Session(predictor(prefers_zoom=request.param != "whole", click_scales=scales))


@pytest.fixture
def image() -> np.ndarray:
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[:90, :120]
    blobs = 80 * np.cos(rows / 9) * np.sin(columns / 14) + 120
    return np.repeat(np.clip(blobs + rng.normal(0, 8, blobs.shape), 0, 255).astype(np.uint8)[..., None], 3, 2)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return (one & other).sum() / (one | other).sum()


def answered(session: Session, image: np.ndarray, prompts: Prompts, **options):
    return session.answer(image, prompts, candidates=True, **options)


def test_candidates_differ_grow_and_hold_the_default_mask_as_it_is(session, image):
    for prompts in (CLICK, CLICK.with_point(*NEXT), Prompts.of(box=(30, 20, 80, 70))):
        plain = Session(session.predictor).answer(image, prompts)
        found = answered(session, image, prompts)
        np.testing.assert_array_equal(found.mask, plain.mask)
        assert found.score == plain.score and found.view_xyxy == plain.view_xyxy
        assert plain.candidates == () and plain.candidate == 0
        chosen = found.candidates[found.candidate - 1]
        assert chosen.mask is found.mask and chosen.score == found.score
        masks = [candidate.mask for candidate in found.candidates]
        assert 1 <= len(masks) <= MOST and masks[0].any()
        assert all(small.sum() <= large.sum() for small, large in pairwise(masks))
        assert all(iou(a, b) <= SAME_IOU for n, a in enumerate(masks) for b in masks[:n])


def test_a_first_click_has_several_and_no_picture_is_encoded_for_them(session, image):
    encoded = session.answer(image, CLICK).encoded
    assert encoded == session.encoded > 0
    found = answered(session, image, CLICK)
    assert len(found.candidates) >= 2 and found.encoded == 0
    for number in range(1, len(found.candidates) + 1):
        taken = session.answer(image, CLICK.with_candidate(number))
        assert taken.candidate == number and taken.encoded == 0
        np.testing.assert_array_equal(taken.mask, found.candidates[number - 1].mask)
    assert session.encoded == encoded


def test_whole_slices_give_the_masks_of_the_network(image):
    session = Session(predictor())
    found = answered(session, image, CLICK)
    drawn = session.predictor.predict_all(session.predictor.embed([image]), CLICK)
    assert {candidate.score for candidate in found.candidates} <= {prediction.score for prediction in drawn}
    with_point = {prediction.score: prediction.mask for prediction in drawn if prediction.mask[40, 50]}
    for candidate in found.candidates:
        if candidate.score in with_point:  # else the click moved the outline
            np.testing.assert_array_equal(candidate.mask, with_point[candidate.score])


def test_every_point_is_on_its_side_in_every_candidate(session, image):
    prompts = CLICK.with_point((20, 70), 0).with_point(*NEXT)
    for candidate in answered(session, image, prompts).candidates:
        assert candidate.mask[40, 50] and candidate.mask[50, 60] and not candidate.mask[70, 20]


def test_the_next_click_goes_on_from_the_candidate_and_its_logits(session, image, monkeypatch):
    found = answered(session, image, CLICK)
    other = next(n for n in range(1, len(found.candidates) + 1) if n != found.candidate)
    asked, predict = [], Predictor.predict

    def listening(self, embedding, prompts):
        asked.append(prompts)
        return predict(self, embedding, prompts)

    monkeypatch.setattr(Predictor, "predict", listening)
    default = session.answer(image, CLICK.with_point(*NEXT))
    taken = session.answer(image, CLICK.with_candidate(other).with_point(*NEXT))
    assert (found.candidates[other - 1].mask <= taken.mask).all()  # a point on the object takes nothing away
    assert (default.mask != taken.mask).any()
    logits = [prompts.low_res_logits for prompts in asked]
    assert all(each is not None for each in logits) and (logits[0] != logits[-1]).any()


def test_the_way_to_a_candidate_leaves_no_trace(session, image):
    prompts = CLICK.with_candidate(2).with_point(*NEXT)
    for number in (1, 2, None):
        session.answer(image, CLICK.with_candidate(number))
    session.answer(image, CLICK.with_candidate(1).with_point(*NEXT))
    straight = Session(session.predictor).answer(image, prompts)
    np.testing.assert_array_equal(session.answer(image, prompts).mask, straight.mask)


def test_a_mask_that_is_there_has_candidates_that_change_it_only_at_the_point(session, image):
    known = np.zeros(image.shape[:2], bool)
    known[20:60, 30:70] = known[5:10, 100:115] = True
    found = answered(session, image, Prompts.of(negative=[(66, 40)]), mask=known)
    for candidate in found.candidates:
        assert (candidate.mask <= known).all() and candidate.mask[5:10, 100:115].all() and not candidate.mask[40, 66]


def test_a_number_beyond_the_candidates_is_refused_with_how_many_there_are(session, image):
    count = len(answered(session, image, CLICK).candidates)
    with pytest.raises(CandidateError, match=f"no candidate {count + 1}: there are {count} candidates, 1 to {count}"):
        session.answer(image, CLICK.with_candidate(count + 1))
    with pytest.raises(CandidateError):
        session.answer(image, CLICK.with_candidate(count + 1).with_point(*NEXT))
    session.answer(image, CLICK.with_candidate(count).with_point(*NEXT))  # the session is as good as before


def test_choices_are_values_of_prompts():
    chosen = CLICK.with_candidate(2).with_point(*NEXT).with_candidate(3)
    assert chosen.choices == ((1, 2), (2, 3)) and chosen.candidate == 3
    assert chosen.first(1) == CLICK.with_candidate(2) != CLICK
    assert chosen.with_candidate(None).choices == ((1, 2),)
    assert chosen.with_candidate(1).candidate == 1
    assert pickle.loads(pickle.dumps(chosen)) == chosen and hash(chosen) == hash(chosen.with_candidate(3))
    assert Prompts.of(box=(0, 0, 4, 4)).with_candidate(2).choices == ((0, 2),)
    with pytest.raises(PromptError, match="counted from 1, not 0"):
        CLICK.with_candidate(0)
    with pytest.raises(PromptError, match="a choice is"):
        Prompts(choices=((1, 1.5),))
