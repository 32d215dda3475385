"""Scores of masks: what counts as evidence, and what a calibration makes of it; models without one are as before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_network import save_tiny

from SAMMed2DLib.inference.predictor import load_predictor
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.inference.scoring.calibration import EVIDENCE, ScoreCalibration
from SAMMed2DLib.inference.scoring.evidence import evidence_of
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.inference.zoom import Crop, ViewPrediction

RECORD = {"intercept": -1.0, "weights": {"stability": 2.0, "first_click": 1.0}, "good_from": 0.7, "fair_from": 0.5}
BOX = (20, 30, 60, 80)
MASK = np.zeros((128, 128), bool)
MASK[30:80, 20:60] = True


def evidence(surely: float, prompts: Prompts | None = None, score: float = 0.8) -> dict[str, float]:
    """Evidence of a mask whose logits are so far from 0, inside and outside."""
    logits = np.where(MASK[::2, ::2], surely, -surely).astype(np.float32)
    return evidence_of(ViewPrediction(MASK, score, Crop.of_slice(MASK), logits), prompts or Prompts.of(box=BOX))


def test_a_sure_mask_is_stable_and_a_wavering_one_is_not():
    sure, wavering = evidence(15), evidence(0.9)
    assert list(sure) == list(EVIDENCE)
    assert sure["stability"] == pytest.approx(np.log(99)) == -wavering["stability"]
    assert sure["predicted_iou"] == wavering["predicted_iou"] == pytest.approx(np.log(4))


@pytest.mark.parametrize("score", [-0.2, 0.0, 1.0, 1.3])
def test_a_predicted_iou_beyond_0_and_1_has_finite_log_odds(score):
    assert abs(evidence(15, score=score)["predicted_iou"]) == pytest.approx(np.log(99))


def test_a_first_click_is_one_without_a_box():
    click = [(40, 50)]
    cases = [Prompts.of(positive=click), Prompts.of(box=BOX, positive=click), Prompts.of(positive=[*click, (30, 60)])]
    assert [evidence(15, prompts)["first_click"] for prompts in cases] == [1, 0, 0]


def test_there_is_no_evidence_of_nothing_and_of_a_mask_that_no_model_made():
    nothing = np.full((64, 64), -15, np.float32)
    empty = ViewPrediction(np.zeros_like(MASK), 0.8, Crop.of_slice(MASK), nothing)
    assert evidence_of(empty, Prompts.of(box=BOX)) == {}
    assert evidence_of(replace(empty, mask=MASK), Prompts.of(box=BOX)) == {}  # a point was made to hold
    assert evidence_of(ViewPrediction.of_mask(MASK), Prompts.of(box=BOX)) == {}


def test_a_calibration_joins_evidence_and_survives_the_way_through_a_file(tmp_path):
    calibration = ScoreCalibration.of_record(RECORD)
    assert calibration.to_record() == RECORD
    assert calibration.expected_iou({"stability": 0.0, "first_click": 1.0}) == 0.5
    assert calibration.expected_iou({"stability": 1.0, "first_click": 1.0}) == pytest.approx(1 / (1 + np.exp(-2)))
    grades = [calibration.grade_of(score) for score in (0.9, 0.7, 0.6, 0.5, 0.4)]
    assert grades == ["good", "good", "fair", "fair", "check"]
    file = save_tiny(tmp_path / "tiny.pt", score_calibration=RECORD)
    assert load_predictor(file, device="cpu").score_calibration == calibration


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        {},
        {**RECORD, "weights": [1.0]},
        {**RECORD, "weights": {"of a later version": 1.0}},
        {**RECORD, "weights": {"stability": float("nan")}},
        {**RECORD, "intercept": "0"},
        {**RECORD, "good_from": True},
    ],
)
def test_what_is_no_calibration_is_none(record):
    assert ScoreCalibration.of_record(record) is None


@pytest.mark.parametrize("zoom", [True, False])
def test_a_session_calibrates_the_score_and_keeps_the_networks_own(tmp_path, zoom):
    image = np.repeat(np.where(MASK, 180, 60).astype(np.uint8)[..., None], 3, 2)
    predictor = load_predictor(save_tiny(tmp_path / "tiny.pt"), device="cpu")
    prompts = Prompts.of(box=BOX, positive=[(40, 50)])
    raw = Session(predictor).answer(image, prompts, zoom=zoom)
    assert raw.grade is None and raw.score == raw.predicted_iou
    predictor.score_calibration = ScoreCalibration.of_record(RECORD)
    calibrated = Session(predictor).answer(image, prompts, zoom=zoom)
    np.testing.assert_array_equal(calibrated.mask, raw.mask)
    assert calibrated.predicted_iou == raw.score and calibrated.mask.any()
    assert 0 < calibrated.score < 1 and calibrated.score != raw.score
    assert calibrated.grade == predictor.score_calibration.grade_of(calibrated.score)
    corrected = Session(predictor).answer(image, prompts, mask=MASK, zoom=zoom)  # not what the network draws alone
    assert corrected.grade is None and corrected.score == corrected.predicted_iou
