"""Evaluation with a stand-in predictor whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from SAMMed2DLib import evaluation
from SAMMed2DLib.dataset import LabelledImage


class _Answer:
    def __init__(self, mask: np.ndarray) -> None:
        self.mask = mask
        self.low_res_logits = np.zeros((16, 16), np.float32)


class _RowsOfClicks:
    """Marks the rows of the positive clicks within 2 px; for a box, the box without its right half."""

    prefers_zoom = False

    def __init__(self) -> None:
        self.seen: list = []

    def embed(self, images):
        return images[0].shape[:2]

    def predict(self, embedding, prompts):
        self.seen.append(prompts)
        mask = np.zeros(embedding, bool)
        if prompts.box_xyxy is not None:
            x0, y0, x1, y1 = prompts.box_xyxy.astype(int)
            mask[y0:y1, x0 : (x0 + x1) // 2] = True
        for (_, y), label in zip(prompts.points_xy, prompts.labels, strict=True):
            if label:
                mask[int(y) - 2 : int(y) + 3, 10:30] = True
        return _Answer(mask)


@pytest.fixture
def rectangle() -> LabelledImage:
    label = np.zeros((40, 40), np.uint8)
    label[4:36, 10:30] = 3
    return LabelledImage(np.zeros((40, 40, 3), np.uint8), label, "case", "set", "CT")


def test_scores_of_box_and_clicks_are_those_of_the_masks(rectangle):
    (result,) = evaluation.evaluate(_RowsOfClicks(), [rectangle])
    assert (result.dataset, result.label, result.area_px) == ("set", 3, 32 * 20)
    assert result.dice["filled box"] == pytest.approx(1)
    assert result.dice["box"] == pytest.approx(2 / 3, abs=1e-6)
    assert result.dice["1 click"] < result.dice["3 clicks"] < result.dice["5 clicks"] < 1


def test_jitter_scores_a_moved_box_besides_the_exact_one(rectangle):
    (exact,) = evaluation.evaluate(_RowsOfClicks(), [rectangle])
    (result,) = evaluation.evaluate(_RowsOfClicks(), [rectangle], box_jitter=0.1)
    moved = dict(result.dice)
    assert list(moved) == ["filled box", "box", "box ±10 %", "1 click", "3 clicks", "5 clicks"]
    assert moved.pop("box ±10 %") != moved["box"]
    assert moved == exact.dice


def test_a_jittered_box_stays_near_the_object_and_in_the_image():
    mask = np.zeros((30, 50), bool)
    mask[0:10, 20:40] = True
    rng = np.random.default_rng(0)
    boxes = np.stack([evaluation.jittered_box(mask, 0.1, rng) for _ in range(100)])
    assert np.abs(boxes - [20, 0, 40, 10]).max(axis=0) == pytest.approx([2, 1, 2, 1], rel=0.1)
    assert (boxes >= 0).all() and (boxes[:, :2] + 1 <= boxes[:, 2:]).all()


def test_clicks_answer_the_largest_error_and_all_are_kept(rectangle):
    predictor = _RowsOfClicks()
    list(evaluation.evaluate(predictor, [rectangle]))
    clicks = predictor.seen[1:]
    assert [len(p.labels) for p in clicks] == [1, 2, 3, 4, 5]
    assert all(p.labels.all() for p in clicks)
    assert clicks[0].low_res_logits is None and clicks[1].low_res_logits is not None
    np.testing.assert_array_equal(clicks[4].points_xy[:4], clicks[3].points_xy)


def test_specks_are_left_out():
    label = np.zeros((100, 100), np.uint8)
    label[5:7, 5:7] = 1
    label[20:40, 20:40] = 2
    assert [kind for kind, _ in evaluation.single_objects(label)] == [2]


def test_the_macro_mean_weighs_data_sets_not_objects():
    def result(dataset: str, value: float) -> evaluation.ObjectResult:
        return evaluation.ObjectResult(dataset, "image", 1, 10, {"box": value})

    by_dataset = evaluation.mean_by_dataset([result("a", 1.0), result("a", 0.8), result("b", 0.5)])
    assert evaluation.macro_mean(by_dataset) == {"objects": 3, "box": pytest.approx(0.7)}
    assert evaluation.markdown_table(by_dataset).splitlines()[-1] == "| **macro mean** | 3 | 0.700 |"


def test_a_table_of_nothing_says_why():
    with pytest.raises(ValueError, match="large enough"):
        evaluation.markdown_table({})
