"""Prompts that are drawn once and read again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_evaluation import _RowsOfClicks, two_masks

from SAMMed2DLib.evaluation import EvaluationError, EvaluationOptions, evaluate_image
from SAMMed2DLib.evaluation.prompt_file import PromptFile, write_prompts

OPTIONS = EvaluationOptions(clicks=(2,), box_jitters=(0.1,), click_jitters=(0.1,))
KINDS = ["box", "box ±10 %", "1 click", "1 click ±10 %", "1 click anywhere"]
FIRST = "set/images/a.png/masks/0.png"


def unreadable():
    raise OSError("torn")


@pytest.fixture
def path(tmp_path):
    write_prompts(tmp_path / "prompts.json", [two_masks, unreadable, lambda: None], OPTIONS)
    return tmp_path / "prompts.json"


def changed(path, change) -> PromptFile:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    return PromptFile(path)


def test_prompts_that_were_written_give_the_same_results_and_other_draws_do_not_matter_any_more(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    assert list(content["objects"][FIRST]) == KINDS and len(content["objects"]) == 2
    assert content["objects"][FIRST]["box"] == [10, 4, 30, 36]
    drawn = list(evaluate_image(_RowsOfClicks(), two_masks(), OPTIONS))
    other_seed = EvaluationOptions(clicks=(2,), box_jitters=(0.1,), click_jitters=(0.1,), seed=5)
    assert list(evaluate_image(_RowsOfClicks(), two_masks(), other_seed)) != drawn
    assert list(evaluate_image(_RowsOfClicks(), two_masks(), other_seed, prompts=PromptFile(path))) == drawn


def test_the_model_and_the_baselines_are_given_what_the_file_says(path):
    prompts = changed(path, lambda c: c["objects"][FIRST].update({"box": [10, 4, 20, 36], "1 click": [12, 30]}))
    predictor = _RowsOfClicks()
    options = EvaluationOptions(clicks=(1,), box_jitters=(0.1,), baselines=True)
    result, _ = evaluate_image(predictor, two_masks(), options, prompts=prompts)
    np.testing.assert_array_equal(predictor.seen[0].box_xyxy, [10, 4, 20, 36])
    np.testing.assert_array_equal(predictor.seen[2].points_xy, [[12, 30]])
    assert result.dice["box"] == pytest.approx(2 * 160 / (640 + 160)) and result.dice["ellipse box"] < 0.6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["objects"].pop(FIRST), f"has no 'box' of {FIRST}"),
        (lambda c: c["objects"][FIRST].pop("1 click"), "has no '1 click'"),
        (lambda c: c["objects"][FIRST].update({"box": [10, 4, 41, 36]}), "'box' .* is not a box .* 40 x 40 px"),
        (lambda c: c["objects"][FIRST].update({"box": [10, 4, 10, 36]}), "is not a box"),
        (lambda c: c["objects"][FIRST].update({"1 click": [1, float("nan")]}), "is not a point"),
        (lambda c: c["objects"][FIRST].update({"1 click": [1, "2"]}), "is not a point"),
        (lambda c: c["objects"][FIRST].update({"1 click": [1, 39.6]}), "is not a point"),
    ],
)
def test_prompts_that_cannot_be_used_are_named(path, change, words):
    with pytest.raises(EvaluationError, match=words):
        list(evaluate_image(_RowsOfClicks(), two_masks(), OPTIONS, prompts=changed(path, change)))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "SAMMed2D evaluation prompts", "version": 2}', "\0"])
def test_other_files_are_refused_and_stay(tmp_path, content):
    path = tmp_path / "other.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(EvaluationError, match=r"other\.json"):
        PromptFile(path)
    assert path.read_text(encoding="utf-8") == content


def test_the_reference_protocol_takes_no_prompts(path):
    with pytest.raises(EvaluationError, match="give no file"):
        list(
            evaluate_image(
                _RowsOfClicks(), two_masks(), EvaluationOptions(protocol="published"), prompts=PromptFile(path)
            )
        )
